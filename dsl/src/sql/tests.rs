//! What the facts of SQL are, case by case.

use super::*;

fn verbs_of(sql: &str) -> String {
    facts(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).verbs.join(" ")
}

fn tables_of(sql: &str) -> String {
    facts(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).tables.join(" ")
}

fn has_where(sql: &str) -> bool {
    facts(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).has_where
}

#[test]
fn every_kind_of_statement_has_its_verb() {
    for (sql, verbs) in [
        ("SELECT 1", "select"),
        ("TABLE users", "select"),
        ("VALUES (1)", "select"),
        ("SELECT * INTO copy FROM users", "select create"),
        ("INSERT INTO t VALUES (1)", "insert"),
        ("INSERT INTO t SELECT * FROM u", "insert"),
        ("UPDATE t SET a = 1", "update"),
        ("DELETE FROM t", "delete"),
        ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE", "merge delete"),
        ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = 1", "merge update"),
        ("TRUNCATE t", "truncate"),
        ("DROP TABLE t", "drop"),
        ("DROP DATABASE d", "drop"),
        ("DROP ROLE r", "drop"),
        ("DROP OWNED BY r", "drop"),
        ("DROP FUNCTION f(int)", "drop"),
        ("CREATE TABLE t (id int)", "create"),
        ("CREATE TABLE t AS SELECT 1", "create select"),
        ("CREATE VIEW v AS SELECT 1", "create select"),
        ("CREATE INDEX ON t (a)", "create"),
        ("CREATE EXTENSION dblink", "create"),
        ("CREATE ROLE r SUPERUSER", "create"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'", "create"),
        ("CREATE TYPE c AS (a int)", "create"),
        ("ALTER TABLE t ADD COLUMN a int", "alter"),
        ("ALTER TABLE t RENAME TO u", "alter"),
        ("ALTER TABLE t OWNER TO r", "alter"),
        ("ALTER SYSTEM SET archive_command = 'x'", "alter alter_system"),
        ("ALTER USER u PASSWORD 'x'", "alter"),
        ("GRANT ALL ON t TO r", "grant"),
        ("REVOKE ALL ON t FROM r", "revoke"),
        ("GRANT r TO s", "grant"),
        ("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO r", "alter grant"),
        ("COPY t TO STDOUT", "copy"),
        ("COPY (SELECT 1) TO STDOUT", "copy select"),
        ("COPY t TO PROGRAM 'sh'", "copy copy_program"),
        ("COPY t FROM PROGRAM 'sh'", "copy copy_program"),
        ("COPY t FROM '/etc/passwd'", "copy copy_file"),
        ("DO $$ BEGIN NULL; END $$", "do"),
        ("CALL p()", "call"),
        ("EXPLAIN DELETE FROM t", "explain"),
        ("EXPLAIN ANALYZE DELETE FROM t", "explain delete"),
        ("EXPLAIN (COSTS off, ANALYZE) UPDATE t SET a = 1", "explain update"),
        ("EXPLAIN ANALYZE SELECT 1", "explain select"),
        ("PREPARE p AS DELETE FROM t", "prepare delete"),
        ("PREPARE p AS SELECT 1", "prepare select"),
        ("EXECUTE p", "execute"),
        ("CREATE TABLE t AS EXECUTE p", "create execute"),
        ("DECLARE c CURSOR FOR SELECT 1", "declare select"),
        ("FETCH ALL FROM c", "fetch"),
        ("CLOSE c", "close"),
        ("CREATE RULE r AS ON SELECT TO t DO INSTEAD DELETE FROM u", "create delete"),
        ("BEGIN", "begin"),
        ("COMMIT", "commit"),
        ("ROLLBACK", "rollback"),
        ("SET ROLE postgres", "set"),
        ("RESET ALL", "reset"),
        ("SHOW ALL", "show"),
        ("VACUUM", "vacuum"),
        ("ANALYZE", "analyze"),
        ("LOCK t", "lock"),
        ("REINDEX TABLE t", "reindex"),
        ("LISTEN c", "listen"),
        ("NOTIFY c", "notify"),
        ("LOAD 'lib'", "load"),
        ("CHECKPOINT", "checkpoint"),
        ("COMMENT ON TABLE t IS 'x'", "comment"),
        ("REFRESH MATERIALIZED VIEW v", "refresh"),
        ("DISCARD ALL", "discard"),
        ("REASSIGN OWNED BY a TO b", "reassign"),
        ("IMPORT FOREIGN SCHEMA s FROM SERVER v INTO w", "import"),
        ("SECURITY LABEL ON TABLE t IS 'x'", "security_label"),
    ] {
        assert_eq!(verbs_of(sql), verbs, "{sql}");
    }
}

#[test]
fn a_change_inside_a_with_or_after_another_statement_is_seen() {
    assert_eq!(verbs_of("WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone"), "select delete");
    assert_eq!(verbs_of("SELECT (WITH x AS (SELECT 1) SELECT * FROM x); DROP TABLE t"), "select drop");
    assert_eq!(
        verbs_of("WITH a AS (SELECT 1), b AS (UPDATE t SET x = 1 RETURNING 1) INSERT INTO u SELECT 1"),
        "insert update"
    );
    assert_eq!(facts("SELECT 1; SELECT 2;; SELECT 3").map(|f| f.statements), Ok(3));
    assert_eq!(facts("").map(|f| f.statements), Ok(0));
    assert_eq!(facts("-- nothing").map(|f| f.statements), Ok(0));
}

#[test]
fn comments_case_and_escapes_hide_nothing() {
    assert_eq!(verbs_of("dRoP/**/tAbLe t"), "drop");
    assert_eq!(verbs_of("/* SELECT 1 /* nested */ */ DROP -- x\n TABLE t"), "drop");
    assert_eq!(verbs_of("SELECT '; DROP TABLE t'"), "select");
    assert_eq!(verbs_of("SELECT $q$; DROP TABLE t$q$"), "select");
    assert_eq!(verbs_of("SELECT E'\\'; DROP TABLE t -- '"), "select");
    assert_eq!(tables_of(r#"DELETE FROM U&"\0075sers""#), "users");
    assert_eq!(tables_of(r#"DELETE FROM U&"!0075sers" UESCAPE '!'"#), "users");
    assert_eq!(tables_of(r#"SELECT * FROM "Users", USERS"#), "Users users");
}

#[test]
fn tables_are_named_wherever_they_stand() {
    assert_eq!(tables_of("SELECT * FROM public.users u JOIN orders USING (id)"), "users public.users orders");
    assert_eq!(tables_of("SELECT (SELECT max(x) FROM a), ARRAY(SELECT 1 FROM b) ORDER BY (SELECT 1 FROM c)"), "a b c");
    assert_eq!(tables_of("DROP TABLE a, s.b"), "a b s.b");
    assert_eq!(tables_of("TRUNCATE a, b"), "a b");
    assert_eq!(tables_of("SELECT 1 LIMIT (SELECT 1 FROM secrets)"), "secrets");
    assert_eq!(tables_of("SELECT row_number() OVER (ORDER BY (SELECT 1 FROM secrets))"), "secrets");
    assert_eq!(tables_of("GRANT SELECT ON a TO r"), "a");
    assert_eq!(tables_of("COPY s.t TO STDOUT"), "t s.t");
}

#[test]
fn functions_are_named_with_and_without_their_schema() {
    let functions = |sql: &str| facts(sql).expect("valid").functions.join(" ");
    assert_eq!(functions("SELECT pg_catalog.PG_READ_FILE('/etc/passwd')"), "pg_read_file pg_catalog.pg_read_file");
    assert_eq!(functions("SELECT * FROM dblink('x', 'DROP TABLE t') AS t(a int)"), "dblink");
    assert_eq!(functions("CALL p(f(1))"), "p f");
}

#[test]
fn a_change_needs_a_condition_that_rows_decide() {
    assert!(has_where("DELETE FROM t WHERE id = 1"));
    assert!(has_where("DELETE FROM t WHERE id = $1"));
    assert!(has_where("DELETE FROM t WHERE CURRENT OF c"));
    assert!(has_where("UPDATE t SET a = 1 WHERE b IN (SELECT 1)"));
    assert!(has_where("DELETE FROM t WHERE id = 1 AND true"));
    for open in [
        "DELETE FROM t",
        "UPDATE t SET a = 1",
        "DELETE FROM t WHERE true",
        "DELETE FROM t WHERE 1 = 1",
        "DELETE FROM t WHERE id = 1 OR 1 = 1",
        "DELETE FROM t WHERE id = id",
        "DELETE FROM t WHERE NOT false",
        "DELETE FROM a WHERE id = 1; DELETE FROM b",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1 FROM u WHERE u.id = 1",
        "EXPLAIN ANALYZE DELETE FROM t",
        "PREPARE p AS UPDATE t SET a = 1",
    ] {
        assert!(!has_where(open), "{open}");
    }
}

#[test]
fn a_select_from_a_table_tells_whether_it_has_a_condition() {
    assert!(has_where("SELECT * FROM t WHERE id = 1"));
    assert!(has_where("SELECT 1"));
    assert!(!has_where("SELECT * FROM t"));
    assert!(!has_where("SELECT 1 FROM t WHERE a = 1 UNION SELECT 2 FROM t"));
    assert!(has_where("DELETE FROM t WHERE id = 1; SELECT * FROM t"));
}

#[test]
fn what_is_not_sql_is_an_error_without_the_text() {
    for sql in ["DROP TABEL users", "SELECT 'open", "\\d users", "SELECT 1; oops", "SELECT\u{0}1"] {
        let error = facts(sql).expect_err(sql);
        assert_eq!(error, SqlError::Syntax, "{sql:?}");
        assert!(!error.to_string().contains("users"));
    }
    assert_eq!(facts(&" ".repeat(MAX_SQL + 1)), Err(SqlError::TooLong(MAX_SQL + 1)));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash_on_a_small_stack_and_on_one_for_the_parser() {
    let on_stack = |sql: String, size: usize| {
        std::thread::Builder::new()
            .stack_size(size)
            .spawn(move || {
                if size == STACK {
                    parse_on_this_thread();
                }
                // Each is read anew.
                worker::run(&sql).map(|facts| facts.verbs)
            })
            .expect("thread")
            .join()
            .expect("no panic")
    };
    let answer = |sql: String| {
        let answers = [64 * 1024, STACK].map(|size| on_stack(sql.clone(), size));
        assert_eq!(answers[0], answers[1]);
        answers[0].clone()
    };
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("ARRAY[", "1", "]"),
        ("(SELECT ", "1", ")"),
        ("CASE WHEN true THEN ", "1", " END"),
        ("f(", "1", ")"),
        ("", "1", " + 1"),
        ("", "1", "::int"),
        ("", "a", "[1]"),
    ] {
        for target in [512, 4 * 1024, MAX_SQL - 8] {
            let depth = (target - 8 - inner.len()) / (open.len() + close.len());
            let sql = format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth));
            assert!(sql.len() <= MAX_SQL);
            // Either answer is fine; what matters is that there is one, and no verb is missing from it.
            if let Ok(verbs) = answer(sql) {
                assert_eq!(verbs, ["select"], "{open}");
            }
        }
    }
    let unions = format!("SELECT 1{}", " UNION SELECT 1".repeat(MAX_SQL / 16));
    assert_eq!(answer(unions), Err(SqlError::TooDeep));
    assert!(facts(&format!("SELECT {}", "1 + ".repeat(30) + "1")).is_ok());
}

#[test]
fn many_threads_parse_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..50 {
                    assert_eq!(tables_of(&format!("DELETE FROM t{i} WHERE id = 1")), format!("t{i}"));
                }
            });
        }
    });
}

#[test]
fn constants_are_told_as_the_server_reads_them() {
    let facts = facts(r#"SELECT E'bob\x40example.com', U&'a\0040b', 'it''s', $$d$$, 4111111111111111, 7 AS "bob@x.y""#)
        .unwrap();
    assert_eq!(facts.constants, ["bob@example.com", "a@b", "it's", "d", "4111111111111111", "7"]);
}

#[test]
fn what_copy_moves_and_how_is_told() {
    let copy = |sql: &str| facts(sql).unwrap().copies[0].clone();
    let plain = CopyFacts { format: "text".into(), ..CopyFacts::default() };
    assert_eq!(copy("COPY t TO STDOUT"), plain);
    assert_eq!(copy("COPY t FROM STDIN"), CopyFacts { from: true, ..plain.clone() });
    let columns = vec!["id".to_owned(), "E mail".to_owned()];
    assert_eq!(copy(r#"COPY t (id, "E mail") TO STDOUT"#), CopyFacts { columns, ..plain.clone() });
    let csv = CopyFacts {
        format: "csv".into(),
        delimiter: Some(";".into()),
        quote: Some("'".into()),
        escape: Some("\\".into()),
        null: Some("-".into()),
        header: true,
        ..plain
    };
    assert_eq!(
        copy(r"COPY (SELECT 1) TO STDOUT (FORMAT CSV, HEADER, DELIMITER ';', QUOTE '''', ESCAPE '\', NULL '-')"),
        csv
    );
    assert!(copy("COPY t TO STDOUT CSV HEADER").header);
    assert!(!copy("COPY t TO STDOUT (FORMAT csv, HEADER false)").header);
    assert!(!copy("COPY t TO STDOUT (FORMAT csv, HEADER 0)").header);
    assert_eq!(copy("COPY BINARY t TO STDOUT").format, "binary");
}

#[test]
fn settings_are_told_by_name_and_value_wherever_they_stand() {
    let settings = |sql: &str| -> Vec<String> {
        let settings = facts(sql).unwrap().settings.clone().into_iter();
        settings.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("(reset)"))).collect()
    };
    assert_eq!(settings("SET Client_Encoding TO 'SJIS'"), ["client_encoding=SJIS"]);
    assert_eq!(settings("SET NAMES 'latin1'"), ["client_encoding=latin1"]);
    assert_eq!(settings("SET standard_conforming_strings = off"), ["standard_conforming_strings=off"]);
    assert_eq!(settings("RESET work_mem"), ["work_mem=(reset)"]);
    assert_eq!(settings("ALTER ROLE bob SET a.b = 1"), ["a.b=1"]);
}
