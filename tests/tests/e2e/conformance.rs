//! Transparency: the official suite ends check by check as it does without us.

use sluice_tests::conformance::{Checks, Suite, differences, fixture_over_http, fixture_over_stdio, run_suite};
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
