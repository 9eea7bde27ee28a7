//! What scopes cost, by the library and by `rulec explain PATH`.

use sluice_dsl::cost::{ScopeCost, costs};
use sluice_dsl::{CompileOptions, compile_source};
use std::process::Command;

const RULES: &str = r#"language 1
scope db { protocol in [postgres, mysql] }
pattern staff = /EMP-[0-9]{6}/
pattern note = /NOTE-[a-z]{1,40}/ near ["memo"] within 100
rule stop { on request in db when sql.verb == drop then block }
rule mask_staff { on response in db match staff then mask redact }
rule notes { on both match note, staff then block }
"#;

fn found(text: &str) -> Vec<ScopeCost> {
    let compilation = compile_source("test.rules", text, &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    costs(&compilation)
}

fn of<'c>(costs: &'c [ScopeCost], scope: Option<&str>, response: bool) -> &'c ScopeCost {
    costs.iter().find(|cost| cost.scope.as_deref() == scope && cost.response == response).expect("its cost")
}

#[test]
fn a_scope_holds_back_the_longest_match_and_the_largest_window_of_the_rules_that_hold_there() {
    let costs = found(RULES);
    assert_eq!(costs.len(), 4);
    let everywhere = of(&costs, None, true);
    assert_eq!((everywhere.held, everywhere.window, everywhere.patterns), (145, 100, 2));
    assert_eq!(
        everywhere.longest.as_ref().map(|longest| (longest.pattern.as_str(), longest.bytes)),
        Some(("note", 45))
    );
    let db = of(&costs, Some("db"), false);
    assert_eq!((db.facts.as_slice(), db.searching.as_slice()), (&["stop".to_owned()][..], &["notes".to_owned()][..]));
    assert!(db.parses_sql && !of(&costs, Some("db"), true).parses_sql);
    assert_eq!(of(&costs, Some("db"), true).searching, ["mask_staff", "notes"]);
    // A pattern that two rules search for is searched for once.
    assert_eq!(of(&costs, Some("db"), true).patterns, 2);
}

#[test]
fn rules_for_one_direction_cost_the_other_nothing() {
    let costs = found("language 1\npattern p = /EMP-[0-9]{6}/\nrule a { on response match p then mask redact }");
    assert_eq!(costs.len(), 1);
    assert!(costs[0].response && costs[0].held == 10 && costs[0].scope.is_none());
}

#[test]
fn the_command_says_it_in_a_line_for_each_direction() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("test.rules");
    std::fs::write(&path, RULES).expect("written");
    let run = |more: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_rulec")).arg("explain").arg(&path).args(more).output().expect("rulec");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = run(&[]);
    let line = "  requests:  1 rule by facts, 1 rule on 2 patterns; SQL is parsed; \
        up to 145 bytes wait: 45 of `note` and a window of 100\n";
    assert!(shown.contains(line), "{shown}");
    assert_eq!(run(&["--format", "json"]).lines().count(), 4);
    std::fs::write(&path, RULES.replace("staff", "stuff").replacen("stuff", "staff", 1)).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_rulec")).arg("explain").arg(&path).output().expect("rulec");
    assert_eq!(output.status.code(), Some(2), "rules with errors have no cost");
}
