//! Who may come in: tokens that are good, and the many that aren't.

use serde_json::{Value, json};
use sluice_tests::client::{self, Target, step};
use sluice_tests::http::{post, post_with, send};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::upstream;

async fn scene() -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let sluice = Sluice::new().rules(Rules::None).connection("db", Upstream::Http(upstream.url.clone())).start().await;
    (upstream, sluice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_good_token_gets_401_and_where_to_get_one() {
    let (upstream, sluice) = scene().await;
    let good = sluice.token("ada@example.org", &[]).await;
    let mut tampered = good.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    let middle = good.split('.').collect::<Vec<_>>();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", middle[1]);
    let foreign = Sluice::new().connection("db", Upstream::Http(upstream.url.clone())).start().await;
    let of_another = foreign.token("ada@example.org", &[]).await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let url = sluice.mcp("db");
    for token in
        [None, Some(""), Some("nonsense"), Some(tampered.as_str()), Some(unsigned.as_str()), Some(of_another.as_str())]
    {
        let answer = send(post(&url, token, &list)).await;
        assert_eq!(answer.status, 401, "{token:?}: {}", answer.text());
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer") && challenge.contains("resource_metadata="), "{challenge}");
    }
    assert!(upstream.received().is_empty(), "nothing went upstream");
    sluice.stop().await;
    foreign.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_past_its_time_gets_401() {
    let (_upstream, sluice) = scene().await;
    let token = sluice.issuer().token("ada@example.org", &[], -60, &Value::Null);
    let answer =
        send(post(&sluice.mcp("db"), Some(&token), &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_is_no_token() {
    let (_upstream, sluice) = scene().await;
    let token = sluice.token("ada@example.org", &[]).await;
    let url = format!("{}?access_token={token}", sluice.mcp("db"));
    let answer = send(post(&url, None, &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))).await;
    assert_eq!(answer.status, 401);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_is_no_credential_for_another_user() {
    let (_upstream, sluice) = scene().await;
    let session = sluice.open_session("db").await;
    let mallory = sluice.token("mallory@example.org", &[]).await;
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let answer = send(post_with(&sluice.mcp("db"), Some(&mallory), &list, &session.headers())).await;
    assert!(answer.status.is_client_error(), "{}: {}", answer.status, answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_are_refused_without_a_token() {
    let (_upstream, sluice) = scene().await;
    for client in client::ALL {
        let answers =
            client.carry_out(&[step("tools/list", json!({}))], &Target::url(&sluice.mcp("db"), Some("nonsense"))).await;
        assert!(answers[0].get("refused").is_some(), "{client:?}: {answers:?}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_a_connection_names_it_and_its_issuer() {
    let (_upstream, sluice) = scene().await;
    let url = format!("{}/.well-known/oauth-protected-resource/mcp/db", sluice.address);
    let request = http::Request::get(&url).body(http_body_util::Full::default()).unwrap();
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metadata: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(metadata["resource"].as_str().unwrap().ends_with("/mcp/db"), "{metadata}");
    assert_eq!(metadata["authorization_servers"].as_array().unwrap().len(), 1, "{metadata}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_host_or_origin_is_refused() {
    let (upstream, sluice) = scene().await;
    let token = sluice.token("ada@example.org", &[]).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for header in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let answer = send(post_with(&sluice.mcp("db"), Some(&token), &ping, &[header])).await;
        assert!(answer.status.is_client_error(), "{header:?}: {}", answer.status);
    }
    assert!(upstream.received().is_empty());
    sluice.stop().await;
}
