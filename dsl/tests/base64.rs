//! The clause `base64` of a pattern: what it finds, that it is inherited, laid out, and given once.

mod common;

use common::{code, file, run, text};

const RULES: &str = r#"language 1
pattern staff_id = /\bEMP-[0-9]{6}\b/ base64
pattern near_id = detect staff_id near ["badge"] within 20
pattern plain = /\bPLAIN-[0-9]{3}\b/
rule mask_staff {
  on response
  match staff_id, plain
  then mask redact(with: "[staff]")
}
rule mask_near {
  on response
  match near_id
  then alert
}
"#;

/// A test of the language that sends this and expects that.
fn with_test(send: &str, expect: &str) -> String {
    format!("{RULES}test \"t\" {{ given response {{ protocol mcp target \"a\" }} send {send:?} expect {expect} }}\n")
}

/// `rulec test` on this: its exit code and what it says.
fn tested(rules: &str) -> (i32, String) {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "a.rules", rules);
    let output = run(&["test", &path], b"");
    (code(&output), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_test_of_the_language_finds_a_value_in_base64_under_every_cut() {
    // `id EMP-004711.`, and `id [staff]  .`: spaces fill the last quantum up.
    let (exit, said) = tested(&with_test(
        "{\"blob\":\"aWQgRU1QLTAwNDcxMS4=\"}",
        "mask \"{\\\"blob\\\":\\\"aWQgW3N0YWZmXSAu\\\"}\" by mask_staff",
    ));
    assert_eq!(exit, 0, "{said}");
}

#[test]
fn a_pattern_that_does_not_ask_is_not_looked_for_in_base64() {
    // `it is PLAIN-123.`
    let (exit, said) = tested(&with_test("aXQgaXMgUExBSU4tMTIzLg==", "pass"));
    assert_eq!(exit, 0, "{said}");
}

#[test]
fn a_pattern_that_detects_one_asks_as_that_one_does() {
    // `badge EMP-004711`
    let rules = RULES.replace("match staff_id, plain", "match plain");
    let test = "test \"t\" { given response { protocol mcp target \"a\" } send \"YmFkZ2UgRU1QLTAwNDcxMQ==\" expect alert by mask_near }";
    let (exit, said) = tested(&format!("{rules}{test}\n"));
    assert_eq!(exit, 0, "{said}");
}

#[test]
fn the_scan_writes_base64_that_is_valid() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "a.rules", RULES);
    let sent = data_encoding::BASE64.encode("name;id\nBob;EMP-004711\nAnn;EMP-004712\n".as_bytes());
    let output =
        run(&["scan", "--rules", &path, "--protocol", "json", "-"], format!("{{\"blob\":\"{sent}\"}}").as_bytes());
    let out: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON stays JSON");
    let said = data_encoding::BASE64.decode(out["blob"].as_str().expect("a string").as_bytes()).expect("base64");
    let lines: Vec<String> = text(&said).lines().map(|line| line.trim_end().to_owned()).collect();
    assert_eq!(lines, ["name;id", "Bob;[staff]", "Ann;[staff]"]);
}

#[test]
fn the_clause_is_kept_by_the_formatter_and_given_once() {
    let laid = run(&["fmt", "-"], b"language 1\npattern a = words [\"x y\"]   nocase  base64 # why\n");
    assert_eq!(text(&laid.stdout), "language 1\npattern a = words [\"x y\"] nocase base64 # why\n");
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "a.rules", "language 1\npattern a = /x{8}/ base64 base64\n");
    let checked = run(&["check", &path], b"");
    assert_eq!(code(&checked), 1);
    assert!(text(&checked.stdout).contains("`base64`"), "{}", text(&checked.stdout));
}
