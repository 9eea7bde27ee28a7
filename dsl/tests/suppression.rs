//! `# suppress: NAME -- reason`: what it takes away, and where.

use sluice_dsl::{CompileOptions, compile_source};

fn codes(text: &str) -> Vec<&'static str> {
    let compilation = compile_source("test.rules", &format!("language 1\n{text}"), &CompileOptions::for_tests());
    compilation.diagnostics.iter().map(|d| d.code.id()).collect()
}

const RULE: &str = r#"rule a { on request when target == "x" then block }"#;

#[test]
fn behind_code_it_stands_for_its_line() {
    assert_eq!(codes(&format!("{RULE} # suppress: W004 -- tried by hand")), [""; 0]);
    let other = RULE.replace("rule a", "rule b");
    assert_eq!(codes(&format!("{RULE} # suppress: W004 -- tried by hand\n{other}")), ["W004"]);
}

#[test]
fn above_an_item_it_stands_for_all_of_it() {
    let long = "rule a {\n  on request\n  when target == \"x\"\n    and target == \"y\"\n  then block\n}";
    assert_eq!(codes(long), ["W004", "W006"]);
    assert_eq!(codes(&format!("# suppress: W004, W006 -- an example\n# of a rule\n\n{long}")), [""; 0]);
    assert_eq!(codes(&format!("# suppress: unreachable rule -- an example\n{long}")), ["W004"]);
}

#[test]
fn inside_an_item_it_stands_for_the_next_line() {
    let long = "rule a {\n  on request\n  when target == \"x\"\n  # suppress: W006 -- an example\n    and target == \"y\"\n  then block\n}";
    assert_eq!(codes(long), ["W004"]);
}

#[test]
fn without_a_reason_or_with_the_code_of_an_error_it_does_nothing() {
    assert_eq!(codes(&format!("{RULE} # suppress: W004")), ["W004", "W016"]);
    assert_eq!(codes(&format!("{RULE} # suppress: W004 --  ")), ["W004", "W016"]);
    let wrong = RULE.replace("\"x\"", "x");
    assert_eq!(codes(&format!("{wrong} # suppress: E021 -- later")), ["E021", "W016"]);
}

#[test]
fn what_suppresses_nothing_is_told_once_there_are_no_errors() {
    let tested =
        format!("{RULE}\ntest \"t\" {{ given request {{ protocol mcp target \"x\" }} send \"\" expect block by a }}");
    let text = format!("# suppress: W004 -- tried by hand\n{tested}");
    assert_eq!(codes(&text), ["W015"]);
    let compilation = compile_source("test.rules", &format!("language 1\n{text}"), &CompileOptions::for_tests());
    let fix = &compilation.diagnostics[0].fixes[0];
    let mut fixed = compilation.sources[0].text.clone();
    fixed.replace_range(fix.edits[0].span.clone(), &fix.edits[0].text);
    assert_eq!(fixed, format!("language 1\n{tested}"));
    let windows = format!("language 1\r\n{} # suppress: W007 -- no\r\n", tested.replace('\n', "\r\n"));
    let compilation = compile_source("test.rules", &windows, &CompileOptions::for_tests());
    let fix = &compilation.diagnostics[0].fixes[0];
    let mut fixed = windows.clone();
    fixed.replace_range(fix.edits[0].span.clone(), &fix.edits[0].text);
    assert_eq!(fixed, windows.replace(" # suppress: W007 -- no", ""));
    assert_eq!(codes(&text.replace("\"x\"", "x").replacen("{ protocol mcp target x", "{ protocol mcp", 1)), ["E021"]);
}

#[test]
fn other_comments_are_comments() {
    assert_eq!(codes(&format!("# suppress nothing\n# we suppress: nothing\n{RULE}")), ["W004"]);
}
