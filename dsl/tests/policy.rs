//! What policies decide: the example of the language as a whole, and its laws one by one.

use serde_json::json;
use sluice_dsl::{
    Compilation, CompileOptions, HitAction, Policy, RequestFacts, SessionFacts, UserKind, compile_files, compile_packs,
    compile_source,
};
use std::path::Path;

fn fixture(name: &str) -> Compilation {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    compile_files(&[path], &CompileOptions::for_tests())
}

fn policy(text: &str) -> Policy {
    let compilation = compile_source("test.rules", &format!("language 1\n{text}"), &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    compilation.policy.expect("no errors")
}

fn postgres() -> SessionFacts {
    SessionFacts {
        protocol: "postgres".into(),
        target: "db-prod-1".into(),
        user_id: "bob".into(),
        ..SessionFacts::default()
    }
}

fn mcp() -> SessionFacts {
    SessionFacts { protocol: "mcp".into(), target: "crm".into(), user_id: "bob".into(), ..SessionFacts::default() }
}

fn sql(text: &str) -> RequestFacts {
    RequestFacts { sql: Some(text.into()), now: Some(noon()), ..RequestFacts::default() }
}

fn tool(name: &str, args: serde_json::Value) -> RequestFacts {
    RequestFacts {
        mcp_method: Some("tools/call".into()),
        tool_name: Some(name.into()),
        tool_args: Some(args),
        now: Some(noon()),
        ..RequestFacts::default()
    }
}

fn noon() -> jiff::ZonedDateTime {
    "2026-11-23T12:00:00+00:00[UTC]".parse().expect("a time")
}

fn names(policy: &Policy, session: &SessionFacts, request: &RequestFacts) -> Vec<String> {
    policy.specialise(session).decide(request).into_iter().map(|hit| hit.rule.name).collect()
}

#[test]
fn the_example_of_the_language_compiles() {
    let compilation = fixture("payments.rules");
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    let policy = compilation.policy.expect("no errors");
    assert_eq!(policy.rules().len(), 7);
    assert!(policy.digest().starts_with("sha256:"));
}

#[test]
fn a_limit_is_counted_by_the_value_of_its_field() {
    let policy = fixture("payments_with_limit.rules").policy.expect("no errors");
    let limits = |user: &str| {
        let session = policy.specialise(&SessionFacts { user_id: user.to_owned(), ..postgres() });
        session.limits()
    };
    let (ada, bob) = (limits("ada"), limits("bob"));
    assert_eq!((ada.len(), ada[0].limit.count, ada[0].limit.per.as_secs()), (1, 500, 600));
    assert!(ada[0].key.ends_with(".bulk_export 600 ada") && ada[0].key != bob[0].key, "{}", ada[0].key);
    assert_eq!(ada, limits("ada"));
}

#[test]
fn destructive_sql_is_blocked_and_a_change_needs_approval() {
    let policy = fixture("payments.rules").policy.expect("no errors");
    assert_eq!(names(&policy, &postgres(), &sql("DROP TABLE users")), ["no_destructive_sql"]);
    assert_eq!(names(&policy, &postgres(), &sql("DELETE FROM users")), ["no_destructive_sql"]);
    assert!(names(&policy, &postgres(), &sql("DELETE FROM users WHERE id = 1")).is_empty());
    let hits = policy.specialise(&postgres()).decide(&sql("ALTER TABLE users ADD x int"));
    let HitAction::Approve { by, count: 1, .. } = &hits[0].action else { panic!("{hits:?}") };
    assert_eq!(by, &["dba-leads"]);
    let sre = SessionFacts { user_groups: vec!["sre-breakglass".into()], ..postgres() };
    assert!(names(&policy, &sre, &sql("ALTER TABLE users ADD x int")).is_empty());
    let elsewhere = SessionFacts { target: "db-dev".into(), ..postgres() };
    assert!(names(&policy, &elsewhere, &sql("DROP TABLE users")).is_empty());
}

#[test]
fn what_an_approval_says_beside_who_gives_it_is_read_in_its_order_and_within_its_limits() {
    let compile = |approve: &str| {
        let text = format!(
            "language 1\npack t \"1.0.0\" {{ owner \"t\" reviewed 2026-01-01 }}\n\
             rule r {{ on request when sql.verb == alter then approve by [\"leads\"] {approve} }}\n"
        );
        sluice_dsl::compile_source("t.rules", &text, &sluice_dsl::CompileOptions::for_tests())
    };
    for (approve, expected) in
        [("count 2 ttl 5m wait 1m grant 1h", Some(3600)), ("grant 1d", Some(86_400)), ("count 2", None)]
    {
        let policy = compile(approve).policy.unwrap_or_else(|| panic!("{approve}"));
        let hits = policy.specialise(&postgres()).decide(&sql("ALTER TABLE users ADD x int"));
        let HitAction::Approve { grant, .. } = &hits[0].action else { panic!("{hits:?}") };
        assert_eq!(grant.map(|grant| grant.as_secs()), expected, "{approve}");
    }
    for (approve, expected) in [("estimate", true), ("wait 1m grant 1h estimate", true), ("wait 1m", false)] {
        let policy = compile(approve).policy.unwrap_or_else(|| panic!("{approve}"));
        let hits = policy.specialise(&postgres()).decide(&sql("ALTER TABLE users ADD x int"));
        let HitAction::Approve { estimate, .. } = &hits[0].action else { panic!("{hits:?}") };
        assert_eq!(*estimate, expected, "{approve}");
    }
    for wrong in ["grant 0s", "grant 2d", "grant 1h wait 1m", "estimate wait 1m", "estimate estimate"] {
        let compiled = compile(wrong);
        assert!(compiled.has_errors() && compiled.policy.is_none(), "{wrong}: {}", compiled.render(false));
    }
    assert!(compile("grant 2d").render(false).contains("a time from a second to a day"));
}

#[test]
fn sql_that_can_not_be_parsed_is_a_match_of_all_that_guards() {
    let policy = fixture("payments.rules").policy.expect("no errors");
    let hits = policy.specialise(&postgres()).decide(&sql("DORP TABLE users"));
    let found: Vec<_> = hits.iter().map(|hit| hit.rule.name.as_str()).collect();
    assert_eq!(found, ["no_destructive_sql", "ddl_needs_approval"]);
    assert!(hits[0].detail.as_deref().is_some_and(|d| d.contains("can't be parsed")), "{hits:?}");
}

#[test]
fn an_exception_holds_until_its_last_day_and_for_whom_it_says() {
    let policy = fixture("payments.rules").policy.expect("no errors");
    let fraud = SessionFacts { user_groups: vec!["fraud-desk".into()], purpose: Some("fraud-77".into()), ..postgres() };
    let masks = |session: &SessionFacts, now: &str| {
        let request = RequestFacts { now: Some(now.parse().expect("a time")), ..sql("SELECT 1") };
        let set = policy.specialise(session).response_rules(&request);
        policy.program().rules().any(|id| set.contains(id) && policy.rule(id).name == "mask_cards")
    };
    assert!(masks(&postgres(), "2026-11-23T12:00:00+00:00[UTC]"));
    assert!(!masks(&fraud, "2026-11-23T12:00:00+00:00[UTC]"));
    assert!(!masks(&fraud, "2027-03-31T23:59:00+00:00[UTC]"));
    assert!(masks(&fraud, "2027-04-01T00:00:00+00:00[UTC]"));
}

#[test]
fn what_a_tool_would_run_is_decoded() {
    let policy = compile_packs(&["std.sql"], &CompileOptions::for_tests());
    assert!(!policy.has_errors(), "{}", policy.render(false));
    let policy = policy.policy.expect("no errors");
    let found = |request: &RequestFacts| names(&policy, &mcp(), request);
    assert_eq!(found(&tool("query_db", json!({"sql": "DROP TABLE users"}))), ["no_destructive_sql"]);
    assert!(found(&tool("query_db", json!({"sql": "SELECT 1"}))).is_empty());
    assert_eq!(found(&tool("query_db", json!({"sql": ["SELECT 1", "DROP TABLE users"]}))), ["no_destructive_sql"]);
    assert!(!found(&tool("query_db", json!({"sql": {"text": "DROP TABLE users"}}))).is_empty());
    assert!(found(&tool("weather", json!({"city": "DROP TABLE"}))).is_empty());
    assert!(found(&RequestFacts { mcp_method: Some("tools/list".into()), ..RequestFacts::default() }).is_empty());
}

#[test]
fn the_standard_packs_compile() {
    let compilation = compile_packs(&["std.pii", "std.secrets", "std.sql"], &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
}

#[test]
fn a_harmless_statement_hides_no_other_one() {
    let policy = policy(
        r#"rule reads { on request when not sql.verb == select then block }
rule writes { on request when sql.verb in [select, drop] unless sql.verb == select then block }"#,
    );
    assert_eq!(names(&policy, &postgres(), &sql("SELECT 1; DROP TABLE t")), ["reads", "writes"]);
    assert!(names(&policy, &postgres(), &sql("SELECT 1")).is_empty());
}

#[test]
fn what_does_not_apply_is_no_match_and_neither_is_its_negation() {
    let policy = policy(
        r#"rule named { on request when not tool.name == "echo" then block }
rule purpose { on request when not session.purpose == "support" then alert }"#,
    );
    let list = RequestFacts { mcp_method: Some("tools/list".into()), ..RequestFacts::default() };
    assert_eq!(names(&policy, &mcp(), &list), ["purpose"]);
    assert_eq!(names(&policy, &mcp(), &tool("rm", json!({}))), ["named", "purpose"]);
}

#[test]
fn arguments_sizes_and_times_are_compared() {
    let policy = policy(
        r#"rule arg { on request when tool.arg("$.env") in ["prod"] then block }
rule big { on request when size > 1KiB then block }
rule night { on request when time.hour >= 12 and time.weekday == mon then alert }"#,
    );
    let request = RequestFacts { size: 2000, ..tool("deploy", json!({"env": "prod"})) };
    assert_eq!(names(&policy, &mcp(), &request), ["arg", "big", "night"]);
}

#[test]
fn audit_records_and_does_nothing() {
    let policy = policy(
        r#"pattern p = /secret/
rule a { mode audit on request when user.kind == person then block "no" }
rule b { mode audit on both match p then block }"#,
    );
    let session = policy.specialise(&SessionFacts { user_kind: UserKind::Person, ..mcp() });
    let hits = session.decide(&RequestFacts::default());
    assert_eq!(hits[0].action, HitAction::Alert);
    assert!(hits[0].rule.audit);
    assert!(!session.request_rules(&RequestFacts::default()).is_empty());
}

#[test]
fn an_imported_pack_gives_names_and_no_rules() {
    let policy = policy(
        r#"import std.pii "1"
rule a { on response match std.pii.any then mask hash(key: "pii"), alert }"#,
    );
    assert_eq!(policy.rules().len(), 1);
}

#[test]
fn the_digest_changes_with_the_rules_alone() {
    let one = r#"rule a { on request when target == "x" then block }"#;
    assert_eq!(policy(one).digest(), policy(one).digest());
    assert_ne!(policy(one).digest(), policy(&one.replace("\"x\"", "\"y\"")).digest());
}
