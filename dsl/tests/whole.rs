//! What the checker says about a rule set as a whole, and what it must not say.

use sluice_dsl::{Code, CompileOptions, Diagnostic, compile_packs, compile_source};

/// What is found beside the rules that have no test.
fn found(text: &str) -> Vec<Diagnostic> {
    let compilation = compile_source("test.rules", &format!("language 1\n{text}"), &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    compilation.diagnostics.into_iter().filter(|d| d.code != Code::UntestedRule).collect()
}

fn codes(text: &str) -> Vec<&'static str> {
    found(text).iter().map(|d| d.code.id()).collect()
}

/// The place of the message, as it is written.
fn at<'t>(text: &'t str, diagnostic: &Diagnostic) -> &'t str {
    let header = "language 1\n".len();
    &text[diagnostic.span.start - header..diagnostic.span.end - header]
}

const STAFF: &str = "pattern staff = /EMP-[0-9]{6}/\n";

#[test]
fn a_rule_that_asks_for_two_names_at_once_never_acts() {
    let text = r#"rule a { on request when target == "x" and size > 1 and target == "y" then block }"#;
    let found = found(text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code.id(), at(text, &found[0])), ("W006", r#"target == "y""#));
    assert_eq!(found[0].related.len(), 1, "the size has no part in it");
}

#[test]
fn a_scope_and_a_condition_that_exclude_each_other_are_both_shown() {
    let text = r#"scope people { user.kind == person }
rule a { on request in people when not user.kind == person then block }"#;
    let found = found(text);
    assert_eq!((found[0].code.id(), at(text, &found[0])), ("W006", "not user.kind == person"));
}

#[test]
fn globs_hours_and_messages_of_two_kinds_exclude_each_other() {
    for never in [
        r#"target matches "a*" and target matches "b*""#,
        "time.hour >= 23 and time.hour < 23",
        r#"tool.name matches "*" and resource.uri matches "*""#,
        r#"protocol == mcp and protocol in [postgres, mysql]"#,
        "sql.has_where and not sql.has_where",
    ] {
        assert_eq!(codes(&format!("rule a {{ on request when {never} then block }}")), ["W006"], "{never}");
    }
    for sometimes in [
        r#"target matches "a*" and target matches "*b""#,
        "time.hour >= 22 and time.hour < 23",
        r#"user.group has "a" and user.group has "b" and not user.group has "c""#,
        r#"tool.name matches "*" or resource.uri matches "*""#,
        "sql.verb == select and not sql.verb == select",
    ] {
        assert_eq!(codes(&format!("rule a {{ on request when {sometimes} then block }}")), [""; 0], "{sometimes}");
    }
}

#[test]
fn a_condition_that_always_relaxes_makes_the_rule_void() {
    let text = r#"rule a { on request when target == "prod-1" unless target matches "prod-*" then block }"#;
    assert_eq!(codes(text), ["W006"]);
    let rule = r#"rule a { on request when target == "x" then block }"#;
    let except =
        |when: &str| format!("{rule}\nexcept a {{ when {when} until 2027-01-01 reason \"r\" approved_by \"a\" }}");
    assert_eq!(codes(&except(r#"target matches "*""#)), ["W012"]);
    assert_eq!(codes(&except(r#"target == "y""#)), ["W011"]);
    assert_eq!(codes(&except(r#"user.id == "u""#)), [""; 0]);
}

#[test]
fn two_exceptions_may_switch_a_rule_off_together() {
    let text = r#"rule a { on request when target == "x" then block }
except a { when user.kind == person until 2027-01-01 reason "r" approved_by "a" }
except a { when user.kind == service until 2027-01-01 reason "r" approved_by "a" }"#;
    assert_eq!(codes(text), ["W012"]);
}

#[test]
fn an_approval_under_a_block_is_never_asked_for() {
    let text = r#"rule ask { on request when sql.verb in [drop, truncate] then approve by ["dba"] }
rule stop { on request when sql.verb in [drop, truncate, delete] then block }"#;
    let found = found(text);
    assert_eq!((found[0].code.id(), at(text, &found[0])), ("W007", "ask"));
    assert_eq!(found[0].related.len(), 1);
    // Where the block doesn't always hold, the approval has its say.
    assert_eq!(codes(&text.replace("drop, truncate, delete", "drop")), [""; 0]);
    assert_eq!(codes(&text.replace("delete] then", "delete] unless user.group has \"dba\" then")), [""; 0]);
    assert_eq!(codes(&text.replace("delete] then", "delete] and size > 10 then")), [""; 0]);
    assert_eq!(codes(&text.replace("rule stop {", "rule stop { mode audit")), [""; 0]);
}

#[test]
fn an_exception_to_the_stronger_rule_gives_the_weaker_one_its_say() {
    let text = r#"rule ask { on request when sql.verb == drop then approve by ["dba"] }
rule stop { on request when sql.verb == drop then block }
except stop { when user.id == "u" until 2027-01-01 reason "r" approved_by "a" }"#;
    assert_eq!(codes(text), [""; 0]);
}

#[test]
fn a_mask_under_a_mask_of_higher_priority_never_shows() {
    let text = format!(
        r#"{STAFF}rule weak {{ on response match staff then mask hash(key: "k") }}
rule strong {{ on both match staff then mask redact priority 60 }}"#
    );
    assert_eq!(codes(&text), ["W007"]);
    assert_eq!(codes(&text.replace("on both", "on response when target == \"x\"")), [""; 0]);
    assert_eq!(codes(&text.replace("on both", "on request")), [""; 0]);
}

#[test]
fn masks_of_one_pattern_at_equal_priority_are_shown_with_a_value() {
    let text = format!(
        r#"{STAFF}rule one {{ on response when target == "hr" match staff then mask hash(key: "k") }}
rule two {{ on response match staff then mask redact(with: "[staff]") }}"#
    );
    let found = found(&text);
    let conflict = found.iter().find(|d| d.code.id() == "W008").expect("a conflict");
    let help = conflict.help.as_deref().expect("an example");
    assert!(help.contains(r#"target "hr""#) && help.contains("send \"EMP-"), "{help}");
    assert!(help.contains("`two` wins, because its mask is stricter"), "{help}");
    assert_eq!(conflict.fixes.len(), 2);
    // Said by priority, the same text twice, or for two targets: no conflict.
    let quiet = |from: &str, to: &str| {
        let codes = codes(&text.replace(from, to));
        assert!(!codes.contains(&"W008"), "{to}: {codes:?}");
    };
    quiet("hash(key: \"k\") }", "hash(key: \"k\") priority 60 }");
    quiet("redact(with: \"[staff]\")", "hash(key: \"k\")");
    quiet("response match", "response when target == \"crm\" match");
    quiet("response match", "request match");
}

#[test]
fn a_column_and_a_pattern_meet_over_the_protocol_of_a_database() {
    let text = r#"import std.pii "1"
scope db { protocol in [postgres, mysql] }
pattern card = detect std.pii.credit_card near ["card"] within 40
rule cards { meta { gdpr ["Art. 32"] } on response in db match card then mask partial(keep_last: 4) }
rule columns { on response in db match column ["pan"] then mask redact }"#;
    let found = found(text);
    assert_eq!(found.iter().map(|d| d.code.id()).collect::<Vec<_>>(), ["W008"]);
    let help = found[0].help.as_deref().expect("an example");
    assert!(help.contains("protocol postgres") && help.contains("column \"pan\""), "{help}");
}

#[test]
fn two_approvals_at_once_are_a_conflict_unless_priority_says_which() {
    let text = r#"rule leads { on request when sql.verb in [alter, grant] then approve by ["leads"] }
rule dba { on request when target == "prod" and sql.verb == alter then approve by ["dba"] }"#;
    let first = &found(text)[0];
    let help = first.help.as_deref().expect("a request");
    assert_eq!((first.code.id(), first.fixes.len()), ("W017", 2));
    assert!(help.contains("target \"prod\"") && help.contains("`dba` is asked for"), "{help}");
    assert_eq!(codes(&text.replace("[\"dba\"] }", "[\"dba\"] priority 60 }")), [""; 0]);
    assert_eq!(codes(&text.replace("[\"dba\"]", "[\"leads\"]")), [""; 0]);
    assert_eq!(codes(&text.replace("== alter", "== drop")), [""; 0]);
    assert_eq!(codes(&text.replace("rule dba {", "rule dba { mode audit")), [""; 0]);
}

#[test]
fn what_a_conflict_shows_can_be_pasted_as_a_test_that_passes() {
    let text = format!(
        r#"{STAFF}rule one {{ on response when user.kind == service match staff then mask hash(key: "k") }}
rule two {{ on response match staff then mask redact(with: "[staff]") }}"#
    );
    let found = found(&text);
    let help = found.iter().find(|d| d.code.id() == "W008").and_then(|d| d.help.clone()).expect("an example");
    let given = help.split('`').nth(1).expect("in back ticks");
    let test = format!("{text}\ntest \"shown\" {{ {given} expect mask \"[staff]\" by two }}");
    let compilation = compile_source("test.rules", &format!("language 1\n{test}"), &CompileOptions::for_tests());
    let outcomes = sluice_dsl::testing::run(&compilation, None);
    assert!(outcomes.len() == 1 && outcomes[0].passed, "{outcomes:?}");
}

#[test]
fn a_mask_for_tools_leaves_resources_open_unless_another_one_covers_them() {
    let text = format!(r#"{STAFF}rule a {{ on response when tool.name matches "*" match staff then mask redact }}"#);
    let first = &found(&text)[0];
    assert_eq!((first.code.id(), at(&text, first)), ("W009", "tool.name"));
    assert!(first.message.contains("resources and prompts"), "{}", first.message);
    let more = |direction: &str| format!("{text}\nrule b {{ {direction} match staff then mask redact }}");
    assert_eq!(codes(&more("on response when resource.uri matches \"*\" or prompt.name matches \"*\"")), [""; 0]);
    // A mask for some tools doesn't cover the others for a mask of all else.
    let rest = more("on response when resource.uri matches \"*\" or prompt.name matches \"*\"");
    assert_eq!(codes(&rest.replace("tool.name matches \"*\"", "tool.name == \"crm\"")), ["W009"]);
    assert!(found(&more("on response when resource.uri matches \"*\""))[0].message.contains("reach prompts"));
    assert_eq!(codes(&text.replace("when tool.name matches \"*\"", "")), [""; 0]);
}

#[test]
fn a_mask_for_one_method_says_that_it_never_holds_for_the_others() {
    let text =
        format!(r#"{STAFF}rule a {{ on response when mcp.method == "tools/call" match staff then mask redact }}"#);
    let first = &found(&text)[0];
    assert_eq!((first.code.id(), first.label.as_str()), ("W009", "never holds for resources and prompts"));
}

#[test]
fn a_pattern_that_is_only_reported_is_told() {
    let text = format!("{STAFF}rule a {{ on response match staff then alert }}");
    assert_eq!(codes(&text), ["W010"]);
    assert_eq!(codes(&format!("{text}\nrule b {{ on request match staff then block }}")), [""; 0]);
    // A trial is no oversight.
    let trial = "rule a { mode audit on response match staff then mask redact }";
    assert_eq!(codes(&format!("{STAFF}{trial}")), [""; 0]);
}

#[test]
fn what_can_not_be_decided_is_not_claimed_and_said_to_be_unknown() {
    let groups: Vec<String> = (0..12).map(|n| format!("user.group has \"g{n}\"")).collect();
    let text =
        format!("rule a {{ on request when {} and not user.group has \"g0\" then block }}", groups.join(" and "));
    assert_eq!(codes(&text), [""; 0]);
    let compilation = compile_source("test.rules", &format!("language 1\n{text}"), &CompileOptions::for_tests());
    let unknown: Vec<_> =
        compilation.undecided.iter().map(|u| (u.line, u.rule.as_str(), u.question.as_str())).collect();
    assert_eq!(unknown, [(2, "a", "whether it ever acts")]);
}

#[test]
fn the_standard_packs_have_nothing_to_be_said_about() {
    let compilation = compile_packs(&["std.pii", "std.secrets", "std.sql"], &CompileOptions::for_tests());
    let found: Vec<_> = compilation.diagnostics.iter().map(|d| (d.code.id(), &d.message)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_test_that_is_offered_for_a_rule_can_be_pasted_and_passes() {
    let text = r#"language 1
import std.pii "1"
scope db { protocol in [postgres, mysql] and target in ["db-1", "db-2"] }
scope agents { protocol == mcp and user.kind == service }
pattern staff = /\bEMP-[0-9]{6}\b/
pattern card = detect std.pii.credit_card near ["card"] within 40
pattern names = words ["project titan"] nocase
rule drop { on request in db when sql.verb in [drop, truncate] then block }
rule change { on request in db when sql.verb == alter unless user.group has "dba" then approve by ["dba"] }
rule shell { on request in agents when tool.name == "shell" and tool.arg("$.command") matches "rm *" then block }
rule night { on request when session.purpose == "test" then alert }
rule cards { meta { gdpr ["Art. 32"] } on response in db match card then mask partial(keep_last: 4) }
rule columns { on response in db match column ["pan"] then mask redact priority 60 }
rule people { on response in agents match staff, json "$.customer.*.name" then mask hash(key: "pii") }
rule secret { on both match names then block "no" }
"#;
    let before = compile_source("test.rules", text, &CompileOptions::for_tests());
    let mut after = text.to_owned();
    let untested: Vec<_> = before.diagnostics.iter().filter(|d| d.code == Code::UntestedRule).collect();
    assert_eq!(untested.len(), 8);
    for found in untested {
        let help = found.help.as_deref().expect("a test");
        after += help.trim_start_matches("add one, as in `").trim_end_matches('`');
        after.push('\n');
    }
    let compilation = compile_source("test.rules", &after, &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    let outcomes = sluice_dsl::testing::run(&compilation, None);
    assert_eq!(outcomes.len(), 8);
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{after}");
    assert!(compilation.diagnostics.iter().all(|d| d.code != Code::UntestedRule), "{}", compilation.render(false));
}

#[test]
fn anchors_of_one_branch_are_told_and_those_of_all_are_not() {
    let rule = "rule a { on response match p then mask redact }";
    let said = |regex: &str| codes(&format!("pattern p = /{regex}/\n{rule}"));
    for one in [r"\bEMP-[0-9]{6}|STAFF-[0-9]{6}\b", "^a1|b2", "a1|b2$", "(?i)^a1|b2"] {
        assert_eq!(said(one), ["W013"], "{one}");
    }
    for all in [r"\b(?:a1|b2)\b", r"\ba1\b|\bb2\b", "a1|b2", r"(?:^a1|b2)x", r"\ba1"] {
        assert_eq!(said(all), [""; 0], "{all}");
    }
}

#[test]
fn personal_data_is_known_through_detect_and_tags() {
    let text = |meta: &str, found: &str| {
        format!(
            "import std.pii \"1\"\npattern card = detect std.pii.credit_card near [\"card\"] within 40\n\
            pattern mine = detect card max 30B\npattern other = /EMP-[0-9]{{6}}/\nrule u {{ meta {{ gdpr [\"Art. 6\"] }} on request match mine, card, other then block }}\n\
            rule a {{ {meta} on response match {found} then mask redact }}"
        )
    };
    assert_eq!(codes(&text("", "mine")), ["W014"]);
    assert_eq!(codes(&text("", "std.pii.any")), ["W014"]);
    assert_eq!(codes(&text("meta { tags [pii] }", "other")), ["W014"]);
    assert_eq!(codes(&text("", "other")), [""; 0]);
    assert_eq!(codes(&text("meta { gdpr [\"Art. 25\"] }", "mine")), [""; 0]);
}
