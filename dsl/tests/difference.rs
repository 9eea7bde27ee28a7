//! `rulec diff` from outside: what got weaker is found, shown with a request, and makes the exit code 1.

mod common;

use common::{code, file, run, std_rules, text};
use serde_json::Value;

const OLD: &str = r#"language 1
pack acme.old "1.0.0"
pattern staff_id = /\bEMP-[0-9]{4,6}\b/
pattern card = /\b4[0-9]{15}\b/ validate luhn near ["card", "pan"] within 20
pattern codename = words ["project titan", "falcon merger"] nocase
list prod = ["db-1", "db-2"]
decode tool "query*" arg "$.sql" as sql
scope sql_prod { protocol in [postgres, mysql] and target in prod }
rule no_drop {
  on request in sql_prod
  when sql.verb in [drop, truncate] or (sql.verb == delete and not sql.has_where)
  then block "no"
}
rule no_tool_drop {
  on request
  when protocol == mcp and sql.verb == drop
  then block "no"
}
rule mask_staff {
  on response
  match staff_id
  then mask redact(with: "[staff]")
}
rule mask_cards {
  on response
  match card
  then mask redact(with: "[card]")
}
rule no_codes {
  on both
  match codename
  then block "secret"
}
rule columns {
  on response
  match column ["pan", "iban"]
  then mask partial(keep_last: 4, with: "*")
}
rule ddl {
  on request in sql_prod
  when sql.verb == alter
  unless user.group has "dba"
  then approve by ["leads"] count 2 ttl 30m wait 10m
}
except mask_staff {
  when user.group has "hr"
  until 2099-03-31 reason "payroll" approved_by "dpo@example.org"
}
test "a staff id is masked" {
  given response { protocol mcp target "hr" }
  send "EMP-00471 ok"
  expect mask "[staff] ok" by mask_staff
}
"#;

/// The comparison of two texts, and the exit code.
fn diff(old: &str, new: &str) -> (Value, i32) {
    let directory = tempfile::tempdir().expect("directory");
    let (old, new) = (file(&directory, "old.rules", old), file(&directory, "new.rules", new));
    let output = run(&["diff", &old, &new, "--format", "json"], b"");
    let found = serde_json::from_str(&text(&output.stdout));
    let found: Value = found.unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)));
    (found, code(&output))
}

/// The same with one replacement, and the one rule that it changes.
fn change(from: &str, to: &str) -> (Value, i32) {
    assert!(OLD.contains(from), "`{from}` is not in the rules");
    let (found, code) = diff(OLD, &OLD.replace(from, to));
    let rules = found["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), 1, "{found:#}");
    (rules[0].clone(), code)
}

#[track_caller]
fn weaker(from: &str, to: &str, send: &str, old: &str, new: &str) {
    let (rule, code) = change(from, to);
    let example = &rule["examples"][0];
    let seen = [&example["send"], &example["old"], &example["new"]].map(|part| part.as_str().unwrap_or_default());
    assert_eq!((&rule["verdict"], code), (&"weaker".into(), 1), "{rule:#}");
    assert_eq!(seen, [send, old, new], "{rule:#}");
}

#[test]
fn a_verb_less_is_weaker() {
    weaker("[drop, truncate]", "[drop]", "TRUNCATE t", "block by no_drop", "pass");
}

#[test]
fn a_shorter_range_is_weaker_and_shown_with_the_shortest_value_it_loses() {
    weaker("{4,6}", "{5,6}", "EMP-0000", "mask \"[staff]\" by mask_staff", "pass");
}

#[test]
fn a_word_less_is_weaker() {
    weaker(", \"falcon merger\"", "", "falcon merger", "block by no_codes", "pass");
}

#[test]
fn a_column_less_is_weaker() {
    let send = "{\"iban\":\"any value\"}";
    weaker("[\"pan\", \"iban\"]", "[\"pan\"]", send, "mask \"{\\\"iban\\\":\\\"*** *alue\\\"}\" by columns", "pass");
}

#[test]
fn more_characters_kept_is_weaker() {
    let (rule, code) = change("keep_last: 4", "keep_last: 6");
    assert_eq!((rule["verdict"].as_str(), code), (Some("weaker"), 1));
    let (rule, code) = change("keep_last: 4", "keep_last: 2");
    assert_eq!((rule["verdict"].as_str(), code), (Some("stronger"), 0));
}

#[test]
fn a_smaller_window_is_weaker() {
    let (rule, code) = change("within 20", "within 10");
    assert_eq!((rule["verdict"].as_str(), code), (Some("weaker"), 1), "{rule:#}");
    assert_eq!(rule["examples"][0]["new"], "pass");
}

#[test]
fn an_approval_that_fewer_must_give_is_weaker() {
    let send = "ALTER TABLE t ADD more int";
    let (old, new) = ("approve by ddl, 2 of leads for 1800 s", "approve by ddl, 1 of leads for 1800 s");
    weaker("count 2", "count 1", send, old, new);
}

#[test]
fn an_approval_that_lets_go_on_for_a_time_is_weaker() {
    let send = "ALTER TABLE t ADD more int";
    let (old, new) =
        ("approve by ddl, 2 of leads for 1800 s", "approve by ddl, 2 of leads for 1800 s, and then for 3600 s");
    weaker("wait 10m", "wait 10m grant 1h", send, old, new);
}

#[test]
fn an_exception_that_holds_longer_is_weaker_on_the_days_that_it_gains() {
    let (rule, code) = change("2099-03-31", "2099-06-30");
    assert_eq!((rule["verdict"].as_str(), code), (Some("weaker"), 1), "{rule:#}");
    let verdicts: Vec<_> = rule["examples"].as_array().expect("a list").iter().map(|e| &e["verdict"]).collect();
    assert_eq!(verdicts, ["weaker"]);
}

#[test]
fn an_exception_less_is_stronger() {
    let (rule, code) = change("  unless user.group has \"dba\"\n", "");
    assert_eq!((rule["verdict"].as_str(), code), (Some("stronger"), 0));
}

#[test]
fn a_rule_less_is_weaker_and_a_rule_more_is_stronger() {
    let start = OLD.find("rule no_codes").expect("it is there");
    let end = start + OLD[start..].find("}\n").expect("it ends") + 2;
    let without = format!("{}{}", &OLD[..start], &OLD[end..]);
    let (found, exit) = diff(OLD, &without);
    assert_eq!((&found["rules"][0]["change"], &found["verdict"]), (&"removed".into(), &"weaker".into()));
    assert_eq!(exit, 1);
    let (found, exit) = diff(&without, OLD);
    assert_eq!((&found["rules"][0]["change"], &found["verdict"]), (&"added".into(), &"stronger".into()));
    assert_eq!(exit, 0);
}

#[test]
fn sql_that_is_no_longer_looked_for_in_tools_is_weaker() {
    let (found, exit) = diff(OLD, &OLD.replace("decode tool \"query*\"", "decode tool \"run*\""));
    assert_eq!((&found["verdict"], exit), (&"weaker".into(), 1), "{found:#}");
    let rule = found["rules"].as_array().expect("a list").iter().find(|rule| rule["rule"] == "no_tool_drop");
    let example = &rule.expect("it changed")["examples"][0];
    assert_eq!((&example["old"], &example["new"]), (&"block by no_tool_drop".into(), &"pass".into()), "{found:#}");
}

#[test]
fn another_spelling_of_a_condition_is_the_same() {
    let (from, to) = ("sql.verb == delete and not sql.has_where", "not sql.has_where and sql.verb == delete");
    let (rule, code) = change(from, to);
    assert_eq!((rule["verdict"].as_str(), code), (Some("same"), 0));
}

#[test]
fn another_spelling_of_an_expression_is_unknown_and_says_so() {
    let (rule, code) = change("EMP-[0-9]{4,6}", "EMP-(?:[0-9]{4}|[0-9]{5,6})");
    assert_eq!((rule["verdict"].as_str(), code), (Some("unknown"), 0));
}

#[test]
fn a_test_that_is_decided_differently_is_named() {
    let (found, exit) = diff(OLD, &OLD.replace("redact(with: \"[staff]\")", "partial(keep_last: 2, with: \"*\")"));
    assert_eq!(exit, 1);
    let test = &found["tests"][0];
    assert_eq!((&test["name"], &test["verdict"]), (&"a staff id is masked".into(), &"weaker".into()));
    assert!(!test.to_string().contains("EMP-00471"), "{test}");
}

#[test]
fn rules_are_the_same_as_themselves_wherever_they_lie_and_however_they_are_laid_out() {
    let packs = std_rules("").display().to_string();
    let output = run(&["diff", &packs, &packs], b"");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("same: "), "{}", text(&output.stdout));
    let (found, exit) = diff(OLD, &OLD.replace("  then", "\n # why\n then"));
    assert_eq!((&found["verdict"], &found["same_rules"], exit), (&"same".into(), &7.into(), 0));
}

#[test]
fn what_is_written_names_the_rule_its_place_and_both_outcomes() {
    let directory = tempfile::tempdir().expect("directory");
    let (old, new) = (file(&directory, "a.rules", OLD), file(&directory, "b.rules", &OLD.replace(", truncate", "")));
    let full = text(&run(&["diff", &old, &new], b"").stdout);
    let shown = format!(
        "weaker    rule no_drop of acme.old changed\n  {new}:9\n  given request {{ protocol postgres target \"db-1\" }} \
         send \"TRUNCATE t\"\n  old: block by no_drop\n  new: pass\n\nsame: 6 rules, 1 tests; "
    );
    assert!(full.starts_with(&shown), "{full}");
    let concise = text(&run(&["diff", &old, &new, "--format", "concise"], b"").stdout);
    assert_eq!(concise, format!("{new}:9: weaker: rule `no_drop` changed\n"));
    let github = text(&run(&["diff", &old, &new, "--format", "github"], b"").stdout);
    assert!(
        github.starts_with(&format!("::error file={new},line=9,title=weaker::rule `no_drop` changed: ")),
        "{github}"
    );
}

#[test]
fn a_side_that_can_not_be_compiled_exits_with_2() {
    let directory = tempfile::tempdir().expect("directory");
    let (old, new) = (file(&directory, "a.rules", OLD), file(&directory, "b.rules", "language 1\nrule oops"));
    for args in [["diff", &old, &new], ["diff", &new, &old], ["diff", &old, "no/such.rules"]] {
        let output = run(&args, b"");
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}
