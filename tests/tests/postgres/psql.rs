//! psql: what no rule touches is the same as directly, what rules touch is masked or refused, and all of it is on record.

use super::scene::{ADA, RULES, Scene};
use sluice_tests::postgres::psql;
use sluice_tests::sluice::{Rules, response_bodies};

/// Statements of every kind whose output says nothing about the moment or the process.
const STATEMENTS: &str = r#"
\echo queries
SELECT * FROM customer ORDER BY id;
TABLE customer;
SELECT count(*), sum(n), min(hash) FROM numbers;
SELECT n, hash FROM numbers ORDER BY n LIMIT 300;
VALUES (1, 'a'), (NULL, E'b\tc');
SELECT 1 AS "odd ""name""", ARRAY[1, NULL, 3], ROW(1, 'x'), '{"a": [1, 2]}'::jsonb, '\xdeadbeef'::bytea, 1.5::numeric, true;
SELECT ''; SELECT NULL; SELECT;
SELECT 1; SELECT 2\; SELECT 3;
\echo errors
SELECT 1/0;
SELECT * FROM nowhere;
INSERT INTO customer VALUES (1, 'Twice');
SELECT 'x'::int;
\echo transactions
BEGIN; INSERT INTO customer VALUES (9, 'Nina', 'nina@example.org'); SELECT 1/0; SELECT 1; ROLLBACK;
BEGIN; SAVEPOINT a; SELECT 1/0; ROLLBACK TO a; SELECT name FROM customer WHERE id = 1; COMMIT;
CREATE TEMP TABLE scratch (a int, b text); INSERT INTO scratch SELECT g, 'row ' || g FROM generate_series(1, 5) g; SELECT * FROM scratch;
UPDATE scratch SET b = upper(b) WHERE a > 3 RETURNING a, b; DELETE FROM scratch WHERE a = 1;
DROP TABLE scratch;
\echo cursors and statements
BEGIN; DECLARE c CURSOR FOR SELECT n FROM numbers ORDER BY n; FETCH 3 FROM c; MOVE 2 FROM c; FETCH 1 FROM c; CLOSE c; COMMIT;
PREPARE p (int) AS SELECT name FROM customer WHERE id = $1; EXECUTE p (2); DEALLOCATE p;
\set FETCH_COUNT 100
SELECT n FROM numbers ORDER BY n LIMIT 250;
\unset FETCH_COUNT
\echo copies
COPY customer TO STDOUT;
COPY (SELECT id, name, doc FROM customer ORDER BY id) TO STDOUT (FORMAT csv, HEADER);
CREATE TEMP TABLE taken (a int, b text);
COPY taken FROM STDIN;
1	one
2	tw\to
\.
COPY taken FROM STDIN (FORMAT csv);
3,"three, ""3"""
\.
COPY taken FROM STDIN;
x	y
\.
SELECT * FROM taken ORDER BY a;
\copy taken to stdout
\echo the rest
SELECT shout();
DO $$ BEGIN RAISE NOTICE 'hello'; END $$;
EXPLAIN (COSTS off) SELECT * FROM customer WHERE id = 1;
SHOW server_version; SET work_mem = '8MB'; SHOW work_mem; RESET work_mem;
\d customer
\dt
\df shout
LISTEN nothing; UNLISTEN *;
SELECT repeat('x', 100000) AS long;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_everything_is_as_it_is_directly() {
    let scene = Scene::with(Rules::None).await;
    for args in [&["-e"][..], &["-At", "-v", "VERBOSITY=verbose"]] {
        let (direct, through) = (scene.direct(args, STATEMENTS).await, scene.psql(args, STATEMENTS).await);
        assert_eq!(through.text(), direct.text());
        assert_eq!(through.stderr, direct.stderr);
        assert_eq!(through.code, direct.code);
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_mask_every_way_out_and_refuse_what_destroys() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let rows = scene.psql(&["-At", "-c", "SELECT email, pan, doc, tags FROM customer ORDER BY id"], "").await;
    assert_eq!(
        rows.text(),
        "[email]|**** **** **** 1111|{\"n\": 1, \"mail\": \"[email]\"}|{\"[email]\",vip}\n[email]||[]|{}\n|||\n",
        "{}",
        rows.stderr
    );
    let copied = scene.psql(&["-c", "COPY customer (id, email, pan) TO STDOUT"], "").await;
    assert_eq!(copied.text(), "1\t[email]\t**** **** **** 1111\n2\t[email]\t\\N\n3\t\\N\t\n", "{}", copied.stderr);
    let csv =
        scene.psql(&["-c", "COPY (SELECT 'to \"x\", ada@example.org' AS a) TO STDOUT (FORMAT csv, HEADER)"], "").await;
    assert!(csv.stderr.contains("masks columns by name"), "its columns have no names that are known: {}", csv.stderr);
    let attempts: [(&str, &[&str]); 7] = [
        ("INSERT INTO customer VALUES (7, 'x', 'ada@example.org')", &["23505", "customer_email_key"]),
        ("SELECT shout()", &["noticed [email]"]),
        ("SELECT pan::int FROM customer WHERE id = 1", &["22P02"]),
        ("COPY customer TO STDOUT", &["names none"]),
        ("SELECT note FROM (VALUES ('fine'), ('SECRET-1234')) v (note)", &["42501", "no_secret"]),
        ("SELECT E'SECRET-\\x31234'", &["42501", "no_secret"]),
        ("SELECT set_config('standard_conforming_strings', 'off', false)", &["standard_conforming_strings"]),
    ];
    for (sql, parts) in attempts {
        let told = scene.psql(&["-v", "VERBOSITY=verbose", "-c", sql], "").await;
        let said = format!("{}{}", told.text(), told.stderr);
        parts.iter().for_each(|part| assert!(said.contains(part), "{sql}: {part} in {said}"));
        for hidden in ["ada@", "4111", "SECRET-1234"] {
            assert!(!said.contains(hidden), "{sql}: {said}");
        }
    }
    let script = "BEGIN; INSERT INTO customer VALUES (8, 'Kay');\n\
                  DROP TABLE customer;\nSELECT 1 \\; TRUNCATE numbers;\nCOPY numbers TO PROGRAM 'true';\nDROP TABEL x;\n\
                  SELECT count(*) FROM customer;\nCOMMIT;\n";
    let refused = scene.psql(&["-At"], script).await;
    assert_eq!(refused.text(), "BEGIN\nINSERT 0 1\n4\nCOMMIT\n", "the transaction is intact: {}", refused.stderr);
    assert_eq!(refused.stderr.matches("refused by rule `no_destructive_sql`: Nothing is destroyed here.").count(), 3);
    assert!(refused.stderr.contains("HINT:  Rule no_destructive_sql (T-1) of pack tests.pg."), "{}", refused.stderr);
    assert!(refused.stderr.contains("syntax error"), "{}", refused.stderr);
    assert_eq!(scene.postgres.value("SELECT count(*) FROM numbers").await, "20000");
    let log = scene.postgres.log();
    assert!(!log.contains("DROP TAB") && !log.contains("TRUNCATE"), "nothing of it reached the server: {log}");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_on_record_as_the_user_saw_it() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let script = "SELECT id, email FROM customer WHERE id = 1;\nDROP TABLE customer;\nSELECT 1/0;\n";
    let options = "sslmode=disable application_name=report options='-c sluice.purpose=nightly\\\\ report'";
    let done = sluice_tests::postgres::psql(&scene.target(options), &scene.token().await, &["-At"], script).await;
    assert_eq!(done.text(), "1|[email]\n", "{}", done.stderr);
    let record = scene.record().await;
    let events = record.as_array().unwrap();
    let opened = &events[0];
    assert_eq!((&opened["purpose"], &opened["client"]), (&"nightly report".into(), &"report".into()), "{opened}");
    assert_eq!((&opened["protocol"], &opened["connection"]), (&"postgres".into(), &"crm".into()));
    let requests: Vec<_> = events.iter().filter(|event| event["event"] == "request").collect();
    let told: Vec<_> = requests
        .iter()
        .map(|request| (request["body"].as_str().unwrap(), request["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("SELECT id, email FROM customer WHERE id = 1;", "forwarded"),
            ("DROP TABLE customer;", "refused"),
            ("SELECT 1/0;", "forwarded")
        ]
    );
    assert_eq!(requests[1]["hits"][0]["rule"], "no_destructive_sql");
    let bodies = response_bodies(&record);
    assert!(bodies.contains(&"id\temail\n1\t[email]\nSELECT 1\n".to_owned()), "{bodies:#?}");
    assert!(bodies.iter().any(|body| body.contains("22012: division by zero")), "{bodies:#?}");
    assert!(bodies.iter().all(|body| !body.contains("ada@")), "no value that was masked is stored: {bodies:#?}");
    assert_eq!(events.last().unwrap()["event"], "session_closed", "{record}");
    let show = record.to_string();
    assert!(!show.contains("correct horse"));
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_to_show_a_good_token_over_a_good_line() {
    let scene = Scene::configured(
        Rules::Text(RULES.to_owned()),
        "CERTIFICATE",
        "require_purpose = true\ngroups = [\"engineering\"]",
    )
    .await;
    let (token, select) = (scene.token().await, ["-Atc", "SELECT 1"]);
    let verified =
        format!("sslmode=verify-full sslrootcert={} options='-c sluice.purpose=x'", scene.authority_file.display());
    let connect = async |more: &str, token: &str| {
        let done = sluice_tests::postgres::psql(&scene.target(more), token, &select, "").await;
        (done.text().to_owned(), done.stderr)
    };
    assert_eq!(connect(&verified, &token).await, ("1\n".to_owned(), String::new()));
    let issuer = scene.sluice.issuer();
    let foreign = issuer.token(ADA, &["engineering"], 60, &serde_json::json!({ "aud": "else" }));
    let expired = issuer.token(ADA, &["engineering"], -60, &serde_json::Value::Null);
    let outside = issuer.token(ADA, &["sales"], 60, &serde_json::Value::Null);
    let attempts: [(&str, &str, &str); 10] = [
        (&verified, "nonsense", "the token was not accepted"),
        (&verified, &format!("{token}x"), "the token was not accepted"),
        (&verified, &foreign, "the token was not accepted"),
        (&verified, &expired, "the token was not accepted"),
        (&verified, &outside, "not allowed to open this connection"),
        ("sslmode=disable", &token, "over TLS alone"),
        ("sslmode=require", &token, "requires a purpose"),
        ("sslmode=require dbname=other options='-c sluice.purpose=x'", &token, "no such connection"),
        ("sslmode=require replication=database", &token, "replication is not let through"),
        (
            "sslmode=require client_encoding=SJIS options='-c sluice.purpose=x'",
            &token,
            "`client_encoding` stays as it is",
        ),
    ];
    for (more, token, part) in attempts {
        let (out, said) = connect(more, token).await;
        assert!(out.is_empty() && said.contains(part), "{more}: {part} in {said}");
        assert!(!said.contains(token), "{more}: {said}");
    }
    assert_eq!(scene.backends().await, "0", "none of them reached the server");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_as_it_is() {
    let authority = sluice_tests::authority::Authority::new();
    let postgres = sluice_tests::postgres::Postgres::start(&authority).await;
    let port = sluice_tests::postgres::free_port();
    let (listen, server) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}/crm", postgres.port));
    let replaced = [("127.0.0.1:5433", listen.as_str()), ("127.0.0.1:5432/crm", &server)];
    let sluice = sluice_tests::sluice::Sluice::example(
        "postgres",
        &replaced,
        &[("CRM_PASSWORD", sluice_tests::postgres::PASSWORD)],
    )
    .await;
    let token = sluice.token(ADA, &["support"]).await;
    let target = format!("host=127.0.0.1 port={port} dbname=crm user=me options='-c sluice.purpose=TICKET-1'");
    let script = "SELECT email FROM customer WHERE id = 1;\nDROP TABLE customer;\n";
    let done = sluice_tests::postgres::psql(&target, &token, &["-At"], script).await;
    assert_eq!(done.text(), "[email]\n", "{}", done.stderr);
    assert!(done.stderr.contains("refused by rule `no_destructive_sql`"), "{}", done.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_masked_in_place_ends_the_result_where_the_connection_says_so() {
    let rules = r#"language 1
pack tests.pg "1.0.0" { owner "tests" reviewed 2026-08-01 }
pattern digits = /\b[0-9]{16}\b/
scope db { protocol == postgres }
rule mask_digits { meta { severity low } on response in db match digits then mask partial(keep_last: 4, with: "*") }
"#;
    let scene =
        Scene::configured(Rules::Text(rules.to_owned()), "plaintext = true", "on_unmaskable = \"refuse\"").await;
    for sql in ["SELECT 4111111111111111", "SELECT ARRAY[7, 4111111111111111]"] {
        let script = format!("BEGIN;\n{sql};\nSELECT 'on';\nCOMMIT;\nSELECT 'and on';\n");
        let done = scene.psql(&["-qAt", "-v", "VERBOSITY=verbose"], &script).await;
        assert_eq!(done.text(), "on\nand on\n", "{sql}: {}", done.stderr);
        assert!(done.stderr.contains("ERROR:  42501: a value that a rule masks"), "{}", done.stderr);
        assert!(done.stderr.contains("HINT:  Rule mask_digits of pack tests.pg. Cast the column"), "{}", done.stderr);
    }
    let done = scene.psql(&["-qAt"], "SELECT '4111111111111111';\n").await;
    assert_eq!((done.text(), done.stderr.as_str()), ("************1111\n", ""));
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_over_the_sessions_of_a_user() {
    let rules = r#"language 1
pack tests.pg "1.0.0" { owner "tests" reviewed 2026-08-01 }
import std.pii "1"
scope db { protocol == postgres }
rule bulk_export {
  meta { id "T-9" severity high gdpr ["Art. 33"] }
  on response in db
  match std.pii.email
  limit 500 records per 10m by user.id
  then block "Bulk export stopped."
}
"#;
    let scene = Scene::with(Rules::Text(rules.to_owned())).await;
    let rows = |count: u32| format!("SELECT 'u' || n || '@example.org' FROM generate_series(1, {count}) AS n;\n");
    let args = ["-qAt", "-v", "VERBOSITY=verbose", "-v", "FETCH_COUNT=0"];
    let done = scene.psql(&args, &rows(300)).await;
    assert_eq!((done.text().lines().count(), done.stderr.as_str()), (300, ""));
    let record = scene.record().await.to_string();
    assert!(record.contains("\"counted\"") && record.contains("bulk_export"), "{record}");
    // Another session of the same user: psql shows no row of a result that ends in an error.
    let done = scene.psql(&args, &format!("BEGIN;\n{}SELECT 'on';\nCOMMIT;\n", rows(300))).await;
    assert_eq!(done.text(), "on\n");
    assert!(
        done.stderr.contains("ERROR:  42501: refused by rule `bulk_export`: Bulk export stopped."),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("Rule bulk_export (T-9)"), "{}", done.stderr);
    // Who has no more left still reads what the rule is not about; another user has all of it.
    assert_eq!(scene.psql(&args, "SELECT count(*) FROM numbers;\n").await.text(), "20000\n");
    let token = scene.sluice.token("bob@example.org", &["engineering"]).await;
    let done = psql(&scene.target("sslmode=disable"), &token, &args, &rows(500)).await;
    assert_eq!((done.text().lines().count(), done.stderr.as_str()), (500, ""));
    scene.sluice.stop().await;
}
