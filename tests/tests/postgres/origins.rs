//! Rules on columns of tables, against those who call them something else: aliases, views, schemas, renaming, expressions.

use super::scene::{Scene, client};
use sluice_tests::sluice::Rules;

const CLAIMS: &str = r#"language 1
pack tests.pg "1.0.0" { owner "tests" reviewed 2026-08-01 }
scope db { protocol == postgres }
rule mask_pan {
  meta { severity low gdpr ["Art. 25"] }
  on response in db
  match column ["customer.pan", "public.card.number", "part.pan"]
  then mask redact(with: "[pan]")
}
"#;

const CONTENT: &str = "
CREATE VIEW renamed AS SELECT id AS pan, pan AS note, upper(pan) AS loud, id + 1 AS next FROM customer;
CREATE VIEW again AS SELECT note AS remark, next AS n FROM renamed;
CREATE MATERIALIZED VIEW kept AS SELECT pan AS x FROM customer;
CREATE SCHEMA other;
CREATE TABLE other.customer (pan text);
INSERT INTO other.customer VALUES ('4222');
CREATE TABLE card (n text);
INSERT INTO card VALUES ('4333');
CREATE TABLE other.card (number text);
INSERT INTO other.card VALUES ('4444');
CREATE TABLE part (id int, pan text) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
INSERT INTO part VALUES (1, '4555');
";

async fn scene() -> Scene {
    let scene = Scene::with(Rules::Text(CLAIMS.to_owned())).await;
    let done = scene.direct(&["-v", "ON_ERROR_STOP=1"], CONTENT).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    scene
}

/// What psql shows of a script, on one line.
async fn shown(scene: &Scene, script: &str) -> String {
    let done = scene.psql(&["-qAt"], script).await;
    assert_eq!(done.stderr, "", "{script}");
    done.text().trim_end().replace('\n', ";")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_masked_whatever_the_query_calls_it() {
    let scene = scene().await;
    for (sql, seen) in [
        ("SELECT pan FROM customer WHERE id = 1", "[pan]"),
        ("SELECT pan AS x, id AS pan FROM customer WHERE id = 1", "[pan]|1"),
        (r#"SELECT "pan" AS "a ""b" FROM "public"."customer" AS "C" WHERE "C".id = 1"#, "[pan]"),
        ("SELECT c.pan AS x FROM numbers n JOIN customer c ON c.id = n.n WHERE n.n = 1", "[pan]"),
        ("SELECT * FROM (SELECT id, pan FROM customer) AS s (a, b) WHERE a = 1", "1|[pan]"),
        ("WITH w AS (SELECT pan AS p FROM customer WHERE id = 1) SELECT p AS q FROM w", "[pan]"),
        ("COPY customer (id, pan) TO STDOUT (FORMAT csv)", "1,\"[pan]\";2,;3,\"\""),
        ("UPDATE customer SET name = name WHERE id = 1 RETURNING pan AS x", "[pan]"),
        // Views: the names are theirs, the values are not.
        ("SELECT pan, note, next FROM renamed WHERE pan = 1", "1|[pan]|2"),
        ("SELECT remark, n FROM again WHERE n = 2", "[pan]|2"),
        ("SELECT loud FROM renamed WHERE pan = 1", "[pan]"),
        ("SELECT x AS y FROM kept LIMIT 1", "[pan]"),
        // Of a table's name without a schema any will do; with one, that alone.
        ("SET search_path = other, public; SELECT pan AS x FROM customer", "[pan]"),
        ("SELECT number AS x FROM other.card", "4444"),
        ("SELECT pan AS x FROM part_1", "[pan]"),
        (
            "CREATE TEMP TABLE customer (pan text); INSERT INTO customer VALUES ('1'); SELECT pan AS x FROM customer",
            "[pan]",
        ),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT pan AS x FROM customer WHERE id = 1; FETCH c", "[pan]"),
        ("PREPARE p AS SELECT pan AS x FROM customer WHERE id = 1; EXECUTE p", "[pan]"),
    ] {
        assert_eq!(shown(&scene, &format!("{sql};\n")).await, seen, "{sql}");
    }
    let client = client(&scene).await;
    for _ in 0..2 {
        let row = client.query_one("SELECT pan AS x, id FROM customer WHERE id = $1", &[&1_i32]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("[pan]", 1));
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_counts_as_the_columns_that_it_is_made_of() {
    let scene = scene().await;
    for (sql, seen) in [
        ("SELECT upper(pan) AS x, count(*), now() IS NULL FROM customer WHERE id = 1 GROUP BY pan", "[pan]|1|f"),
        ("SELECT (SELECT pan FROM customer WHERE id = 1) AS x", "[pan]"),
        ("SELECT pan AS x FROM customer WHERE id = 1 UNION SELECT pan FROM customer WHERE id = 1", "[pan]"),
        ("SELECT c::text FROM customer c WHERE id = 1", "[pan]"),
        ("SELECT x || '' FROM customer AS c (a, b, c, x) WHERE a = 1", "[pan]"),
        ("SELECT lower(y) FROM (SELECT pan || '' AS y FROM customer WHERE id = 1) AS s", "[pan]"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT upper(pan) AS x FROM customer WHERE id = 1; FETCH c", "[pan]"),
        ("SELECT upper(name), id + 1 FROM customer WHERE id = 1", "ADA|2"),
        ("SELECT sum(n) FROM numbers WHERE n < 4", "6"),
    ] {
        assert_eq!(shown(&scene, &format!("{sql};\n")).await, seen, "{sql}");
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_renames_a_column_or_makes_a_view_gains_nothing() {
    let scene = scene().await;
    for (script, seen) in [
        // Nobody else can see these yet.
        ("BEGIN; CREATE VIEW w AS SELECT pan AS x FROM customer WHERE id = 1; SELECT x FROM w; ROLLBACK;", "[pan]"),
        ("BEGIN; ALTER TABLE customer RENAME pan TO z; SELECT z AS y FROM customer WHERE id = 1; ROLLBACK;", "[pan]"),
        ("CREATE TEMP VIEW w AS SELECT pan AS x FROM customer WHERE id = 1;\nSELECT x FROM w;", "[pan]"),
        // A column keeps the names that it had, and gets the new one at once.
        (
            "ALTER TABLE customer RENAME pan TO z;\nSELECT z AS y FROM customer WHERE id = 1;\nALTER TABLE customer RENAME z TO pan;",
            "[pan]",
        ),
        ("SELECT n AS x FROM card;\nALTER TABLE card RENAME n TO number;\nSELECT number AS x FROM card;", "4333;[pan]"),
    ] {
        assert_eq!(shown(&scene, script).await, seen, "{script}");
    }
    scene.sluice.stop().await;
}
