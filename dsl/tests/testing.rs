//! `rulec test` from outside: filters, coverage, JUnit, and what a failing test shows.

mod common;

use common::{STAFF, code, file, run, text};
use serde_json::Value;

/// A rule with a scope, a condition, an exception to it and two patterns; its tests reach a part.
const SQL: &str = r#"language 1
pattern staff_id = /\bEMP-[0-9]{6}\b/
pattern badge = /\bB-[0-9]{4}\b/
scope prod { protocol == postgres and target == "prod" }
rule no_drop {
  on request in prod
  when sql.verb == drop or (sql.verb == delete and not sql.has_where)
  unless user.group has "dba"
  then block "no"
}
rule mask_staff {
  on response in prod
  match staff_id, badge
  then mask redact(with: "[staff]")
}
rule alert_all {
  on request
  when size > 1MiB
  then alert
}
test "drop is refused" {
  given request { protocol postgres target "prod" }
  send "DROP TABLE users"
  expect block by no_drop
}
test "an id is masked" {
  given response { protocol postgres target "prod" }
  send "EMP-004711"
  expect mask "[staff]" by mask_staff
}
"#;

fn coverage(rules: &str, more: &[&str]) -> Value {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "sql.rules", rules);
    let output = run(&[&["test", &path, "--coverage", "--format", "json"], more].concat(), b"");
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    let line = text(&output.stdout).lines().last().expect("a line").to_owned();
    serde_json::from_str::<Value>(&line).expect("JSON")["coverage"].clone()
}

fn missed(coverage: &Value) -> Vec<(u64, String)> {
    let missed = coverage["missed"].as_array().expect("a list").iter();
    let missed = missed.map(|m| (m["line"].as_u64().expect("a line"), m["message"].as_str().expect("text").to_owned()));
    missed.collect()
}

#[test]
fn coverage_names_the_rules_patterns_and_branches_that_no_test_reaches() {
    let coverage = coverage(SQL, &[]);
    assert_eq!(coverage["rules"], serde_json::json!({"reached": 2, "of": 3}));
    assert_eq!(coverage["patterns"], serde_json::json!({"reached": 1, "of": 2}));
    let expected = [
        (4, "`protocol == postgres` is never seen not to hold in a test"),
        (4, "`target == \"prod\"` is never seen not to hold in a test"),
        (7, "`sql.verb == drop` is never seen not to hold in a test"),
        (7, "`sql.verb == delete` is never reached in a test"),
        (7, "`sql.has_where` is never reached in a test"),
        (8, "`user.group has \"dba\"` is never seen to hold in a test"),
        (13, "no test makes rule `mask_staff` find `badge`"),
        (16, "no test makes rule `alert_all` act"),
        (18, "`size > 1MiB` is never seen to hold in a test"),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(line, message)| (line, message.to_owned())).collect();
    assert_eq!(missed(&coverage), expected);
    // Seven comparisons; three were seen to hold, two not to.
    assert_eq!(coverage["branches"], serde_json::json!({"reached": 5, "of": 14}));
}

#[test]
fn a_test_more_covers_what_it_reaches() {
    let more = r#"
test "a delete with a condition passes" {
  given request { protocol postgres target "prod" }
  send "DELETE FROM users WHERE id = 1"
  expect pass
}
test "the dba may drop" {
  given request { protocol postgres target "prod" user.group ["dba"] }
  send "DROP TABLE users"
  expect pass
}
test "elsewhere nothing is masked" {
  given response { protocol mcp target "prod" }
  send "B-1234"
  expect pass
}
"#;
    let messages: Vec<String> = missed(&coverage(&format!("{SQL}{more}"), &[])).into_iter().map(|(_, m)| m).collect();
    let left = [
        "`target == \"prod\"` is never seen not to hold in a test",
        "`sql.verb == delete` is never seen not to hold in a test",
        "`sql.has_where` is never seen not to hold in a test",
        "no test makes rule `mask_staff` find `badge`",
        "no test makes rule `alert_all` act",
        "`size > 1MiB` is never seen to hold in a test",
    ];
    assert_eq!(messages, left);
}

#[test]
fn coverage_counts_the_tests_of_the_filter_alone() {
    let coverage = coverage(SQL, &["--filter", "an id"]);
    assert_eq!(coverage["rules"], serde_json::json!({"reached": 1, "of": 3}));
}

#[test]
fn coverage_in_text_says_where_and_how_much() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "sql.rules", SQL);
    let output = text(&run(&["test", &path, "--coverage"], b"").stdout);
    assert!(output.contains(&format!("{path}:13:19: no test makes rule `mask_staff` find `badge`")), "{output}");
    assert!(output.ends_with("tests reach 2 of 3 rules, 1 of 2 patterns and 5 of 14 branches\n"), "{output}");
}

#[test]
fn the_filter_runs_the_tests_of_that_name_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "sql.rules", SQL);
    let output = text(&run(&["test", &path, "--filter", "refused"], b"").stdout);
    assert_eq!(output, "ok      drop is refused\n1 passed, 0 failed\n");
}

#[test]
fn a_failing_test_shows_the_difference_and_no_value() {
    let directory = tempfile::tempdir().expect("directory");
    let rules = STAFF.replace("badge EMP-004711 ok", "badge EMP-004711 and badge EMP-4712 ok");
    let rules = rules.replace("badge [staff] ok", "badge [staff] and badge [other] ok");
    let path = file(&directory, "staff.rules", &rules);
    for format in ["full", "concise", "json", "github"] {
        let junit = directory.path().join("junit.xml").display().to_string();
        let output = run(&["test", &path, "--format", format, "--junit", &junit], b"");
        assert_eq!(code(&output), 1);
        let junit = std::fs::read_to_string(&junit).expect("written");
        for shown in [text(&output.stdout), text(&output.stderr), junit] {
            assert!(!shown.contains("4711") && !shown.contains("4712"), "{shown}");
        }
    }
    let output = text(&run(&["test", &path], b"").stdout);
    let change = "change:   badge [staff] and badge [-[other]-]{+‹8 bytes of the input›+} ok\n";
    assert!(output.contains(change), "{output}");
    let output = text(&run(&["test", &path, "--format", "json"], b"").stdout);
    let outcome: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(outcome["diff"][1], serde_json::json!({"change": "expected", "text": "[other]"}));
    assert_eq!(outcome["diff"][2], serde_json::json!({"change": "hidden", "text": "‹8 bytes of the input›"}));
}

#[test]
fn junit_counts_tests_and_failures_by_file() {
    let directory = tempfile::tempdir().expect("directory");
    let good = file(&directory, "good.rules", SQL);
    let bad = file(&directory, "staff.rules", &STAFF.replace("[staff] ok\" by", "<b> & \\\" ok\" by"));
    let path = directory.path().join("out.xml").display().to_string();
    let output = run(&["test", &good, &bad, "--junit", &path], b"");
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let xml = std::fs::read_to_string(&path).expect("written");
    let report = quick_junit::Report::deserialize_from_str(&xml).expect("JUnit");
    let counts: Vec<_> = report.test_suites.iter().map(|s| (s.name.to_string(), s.tests, s.failures)).collect();
    assert_eq!(counts, [(good, 2, 0), (bad, 1, 1)]);
    let unwritable = directory.path().join("no/such/out.xml").display().to_string();
    assert_eq!(code(&run(&["test", &path, "--junit", &unwritable], b"")), 2);
}
