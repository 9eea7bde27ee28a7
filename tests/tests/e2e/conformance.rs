//! Transparency: the official suite ends check by check as it does without us.

use serde_json::json;
use sluice_tests::conformance::{Checks, Suite, differences, fixture_over_http, fixture_over_stdio, run_suite};
use sluice_tests::http::{post_with, send};
use sluice_tests::proxy;
use sluice_tests::sluice::{Rules, Sluice, Upstream};

fn failures(checks: &Checks) -> Vec<String> {
    let failed = checks.iter().filter(|(_, status)| *status == "FAILURE");
    failed.map(|((scenario, id, nth), _)| format!("{scenario}: {id} #{nth}")).collect()
}

async fn directly(suite: Suite) -> Checks {
    let server = fixture_over_http(suite).await;
    run_suite(suite, &server.address).await
}

async fn through(suite: Suite, upstream: Upstream, rules: Rules) -> Checks {
    let sluice = Sluice::new().rules(rules).connection("suite", upstream).start().await;
    let token = sluice.token("ada@example.org", &["engineering"]).await;
    let proxy = proxy::with_token(&sluice.address, Some(&token)).await;
    let checks = run_suite(suite, &format!("{}/mcp/suite", proxy.address)).await;
    sluice.stop().await;
    checks
}

async fn over_http(suite: Suite, rules: Rules) -> Vec<String> {
    let server = fixture_over_http(suite).await;
    let checks = through(suite, Upstream::Http(server.address.clone()), rules).await;
    differences(&directly(suite).await, &checks)
}

async fn over_stdio(suite: Suite, rules: Rules) -> Vec<String> {
    let checks = through(suite, Upstream::Stdio(fixture_over_stdio(suite)), rules).await;
    differences(&directly(suite).await, &checks)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_server_passes_the_suite_without_us() {
    assert_eq!(failures(&directly(Suite::Stable).await), [""; 0]);
    assert_eq!(failures(&directly(Suite::Next("2025-11-25")).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_ends_the_same_over_http_without_rules() {
    assert_eq!(over_http(Suite::Stable, Rules::None).await, [""; 0]);
    assert_eq!(over_http(Suite::Next("2025-11-25"), Rules::None).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_ends_the_same_over_http_with_rules_that_match_nothing() {
    assert_eq!(over_http(Suite::Stable, Rules::Standard).await, [""; 0]);
    assert_eq!(over_http(Suite::Next("2025-11-25"), Rules::Standard).await, [""; 0]);
}

/// Of this revision our server offers what the protocol requires, without the extension for tasks; what it lacks fails on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_newest_revision_ends_the_same_over_http() {
    let suite = Suite::Next("2026-07-28");
    let passed = directly(suite).await.values().filter(|status| *status == "SUCCESS").count();
    assert!(passed >= 148, "only {passed} checks pass without us");
    assert_eq!(over_http(suite, Rules::Standard).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_ends_the_same_over_stdio_with_rules_that_match_nothing() {
    assert_eq!(over_stdio(Suite::Stable, Rules::Standard).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_newest_revision_ends_the_same_over_stdio() {
    assert_eq!(over_stdio(Suite::Next("2026-07-28"), Rules::Standard).await, [""; 0]);
}

/// Refuses every request on which `when` holds.
fn deny(when: &str) -> Rules {
    Rules::Text(format!(
        r#"language 1
pack tests.deny "1.0.0" {{ owner "tests" reviewed 2026-08-01 }}
rule deny_all {{
  on request
  when {when}
  then block "Nothing passes here."
}}
"#
    ))
}

const EVERYTHING: &str = "protocol == mcp";
/// A session opens, and then nothing passes.
const ALL_BUT_OPENING: &str = r#"not mcp.method in ["initialize", "notifications/initialized", "server/discover"]"#;

/// What still passes under a policy, besides that every refusal is a valid message (which it is).
async fn passed_under(suite: Suite, policy: &str) -> Vec<String> {
    let server = fixture_over_http(suite).await;
    let checks = through(suite, Upstream::Http(server.address.clone()), deny(policy)).await;
    let passed = checks.iter().filter(|((_, id, _), status)| *status == "SUCCESS" && id != "wire-schema-valid");
    passed.map(|((scenario, id, _), _)| format!("{scenario}: {id}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_that_denies_all_only_checks_pass_that_want_no_answer() {
    // A host that isn't ours is refused as ever, and one that is gets an answer, if only a refusal.
    let guarded = [
        "dns-rebinding-protection: localhost-host-rebinding-rejected",
        "dns-rebinding-protection: localhost-host-valid-accepted",
    ];
    assert_eq!(passed_under(Suite::Stable, EVERYTHING).await, guarded);
    let mut opened = guarded.to_vec();
    opened.push("server-initialize: server-initialize");
    // Posts are accepted, whatever is said to them.
    opened.push("server-sse-multiple-streams: server-accepts-multiple-post-streams");
    assert_eq!(passed_under(Suite::Stable, ALL_BUT_OPENING).await, opened);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_that_denies_all_the_newest_revision_gets_no_answer_either() {
    let passed = passed_under(Suite::Next("2026-07-28"), EVERYTHING).await;
    // Each wants a refusal, a message of the right form, or that something is absent.
    let expected = [
        "dns-rebinding-protection: localhost-host-rebinding-rejected",
        "dns-rebinding-protection: localhost-host-valid-accepted",
        "input-required-result-unsupported-methods: sep-2322-not-on-unsupported-requests",
        "input-required-result-validate-input: sep-2322-error-on-protocol-error",
        "input-required-result-validate-input: sep-2322-validate-input-responses",
        "sep-2164-resource-not-found: sep-2164-no-empty-contents",
        "server-sse-multiple-streams: server-accepts-multiple-post-streams",
        "server-stateless: sep-2575-http-server-error-jsonrpc-id",
        "server-stateless: sep-2575-http-server-header-mismatch-400",
        "server-stateless: sep-2575-server-honors-notification-filter",
        "tasks-request-headers: tasks-headers-reject-mismatched-method",
    ];
    assert_eq!(passed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_that_denies_all_no_content_of_the_server_is_seen() {
    let steps = [
        ("tools/list", json!({}), "test_simple_text"),
        ("tools/call", json!({ "name": "test_simple_text" }), "This is a simple text response for testing."),
        ("tools/call", json!({ "name": "test_error_handling" }), "This tool intentionally returns an error"),
        ("resources/list", json!({}), "static-text"),
        ("resources/read", json!({ "uri": "test://static-text" }), "This is the content"),
        ("prompts/list", json!({}), "test_simple_prompt"),
        ("prompts/get", json!({ "name": "test_simple_prompt" }), "This is a simple prompt"),
    ];
    let server = fixture_over_http(Suite::Stable).await;
    for (policy, denies) in [(ALL_BUT_OPENING, true), ("protocol == postgres", false)] {
        let upstream = Upstream::Http(server.address.clone());
        let sluice = Sluice::new().rules(deny(policy)).connection("suite", upstream).start().await;
        let session = sluice.open_session("suite").await;
        for (method, params, content) in &steps {
            let message = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
            let request = post_with(&sluice.mcp("suite"), Some(&session.token), &message, &session.headers());
            let answer = send(request).await;
            assert_eq!(answer.text().contains(content), !denies, "{method}: {}", answer.text());
            if denies {
                let message = answer.message();
                assert_eq!(message["id"], "a");
                assert_eq!(message["error"]["data"]["rule"], "deny_all", "{message}");
                assert_eq!(message["error"]["message"], "refused by rule `deny_all`: Nothing passes here.");
            }
        }
        sluice.stop().await;
    }
}
