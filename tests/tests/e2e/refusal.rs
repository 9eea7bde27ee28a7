//! A refused command: an error that names the rule, nothing upstream, and evidence of both.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::http::{post_with, send};
use sluice_tests::sluice::{PURPOSE, Rules, Sluice, Upstream, response_bodies};
use sluice_tests::upstream::{self, Reply};

/// A response is recorded when it has ended, which the client may see a moment before the record is there.
async fn assert_recorded(sluice: &Sluice, seen: &str) {
    let mut bodies = Vec::new();
    for _ in 0..20 {
        bodies = response_bodies(&sluice.session_record("ada@example.org").await);
        if bodies.iter().any(|body| body == seen) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the client saw {seen} and the record has {bodies:?}");
}

fn call(tool: &str, sql: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": "drop-1", "method": "tools/call", "params": { "name": tool, "arguments": { "sql": sql } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_database_through_the_demo_connection_is_refused_and_recorded() {
    let sluice = Sluice::demo().await;
    let session = sluice.open_session("demo").await;
    let url = sluice.mcp("demo");
    let answer =
        send(post_with(&url, Some(&session.token), &call("query", "DROP DATABASE crm"), &session.headers())).await;
    let message = answer.message();
    assert_eq!(message["id"], "drop-1", "{message}");
    assert!(message.get("result").is_none(), "{message}");
    let error = message["error"].to_string();
    assert!((-32019..=-32000).contains(&message["error"]["code"].as_i64().unwrap()), "{error}");

    let record = sluice.session_record("ada@example.org").await;
    let shown = record.to_string();
    for part in ["ada@example.org", "engineering", "nightly report", "sha256:", "refused", "DROP DATABASE crm"] {
        assert!(shown.contains(part), "{part} isn't in the record: {record:#}");
    }
    let refused =
        record.as_array().unwrap().iter().find(|event| event["outcome"] == "refused").expect("a refused request");
    let rule = refused["hits"][0]["rule"].as_str().unwrap();
    assert!(error.contains(rule), "the error names the rule {rule}: {error}");
    assert_recorded(&sluice, &answer.text()).await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_call_and_a_refused_one_are_shown_with_who_asked_what_for_and_by_which_rule() {
    let sluice = Sluice::demo().await;
    let session = sluice.open_session("demo").await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "list_customers", "arguments": {} } });
    for message in [list, call("query", "DROP DATABASE crm")] {
        let url = sluice.mcp("demo");
        let answer = send(post_with(&url, Some(&session.token), &message, &session.headers())).await;
        assert_recorded(&sluice, &answer.text()).await;
    }
    let Value::Array(records) = sluice.session_record("ada@example.org").await else { panic!("records are listed") };

    let opened = &records[0];
    assert_eq!(opened["event"], "session_opened");
    assert_eq!((&opened["user"], &opened["groups"]), (&json!("ada@example.org"), &json!(["engineering"])));
    assert_eq!(opened["purpose"], PURPOSE);
    let digest = opened["rules_digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");

    let request = |name: &str| records.iter().find(|r| r["event"] == "request" && r["name"] == name).unwrap();
    let (masked, refused) = (request("list_customers"), request("query"));
    let answer = records.iter().find(|r| r["event"] == "response" && r["exchange"] == masked["exchange"]).unwrap();
    let mail = answer["decisions"].as_array().unwrap().iter().find(|d| d["rule"] == "mask_email").unwrap();
    assert_eq!((&mail["action"], &mail["pattern"]), (&json!("mask"), &json!("std.pii.email")));
    assert!(mail["count"].as_u64().unwrap() > 0, "{mail}");
    assert_eq!((&masked["outcome"], &refused["outcome"]), (&json!("forwarded"), &json!("refused")));
    assert_eq!(refused["hits"][0]["rule"], "no_destructive_sql");
    assert_eq!(refused["hits"][0]["pack"], "std.sql");
    // Each says of itself whose it is and what for.
    for record in [masked, answer, refused] {
        assert_eq!(record["session"], opened["session"]);
    }
    for record in [masked, refused] {
        assert_eq!(record["purpose"], PURPOSE);
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_refused_command_reaches_the_server_and_the_session_goes_on() {
    let upstream = upstream::Upstream::start().await;
    let sluice =
        Sluice::new().rules(Rules::Standard).connection("db", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("db").await;
    let url = sluice.mcp("db");
    for sql in [
        "DROP DATABASE crm",
        "drop table people",
        "SELECT 1; DROP DATABASE crm",
        "DELETE FROM people",
        "DROP DATABASE \u{0} nonsense (",
    ] {
        let answer = send(post_with(&url, Some(&session.token), &call("query", sql), &session.headers())).await;
        assert!(answer.message().get("error").is_some(), "{sql}: {}", answer.text());
    }
    assert!(upstream.calls().is_empty(), "{:?}", upstream.calls());

    upstream.reply(Reply::json(&upstream::result(json!("drop-1"), "3 rows")));
    let answer =
        send(post_with(&url, Some(&session.token), &call("query", "SELECT count(*) FROM people"), &session.headers()))
            .await;
    assert_eq!(answer.message()["result"]["content"][0]["text"], "3 rows");
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_what_the_client_saw() {
    let upstream = upstream::Upstream::start().await;
    upstream.reply(Reply::json(&upstream::result(json!("drop-1"), "mail bob@example.com now")));
    let sluice =
        Sluice::new().rules(Rules::Standard).connection("db", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("db").await;
    let answer =
        send(post_with(&sluice.mcp("db"), Some(&session.token), &call("query", "SELECT 1"), &session.headers())).await;
    assert!(!answer.text().contains("bob@example.com"));
    assert_recorded(&sluice, &answer.text()).await;
    let record = sluice.session_record("ada@example.org").await;
    assert!(!record.to_string().contains("bob@example.com"), "{record:#}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_credential_goes_upstream_and_the_clients_token_does_not() {
    let upstream = upstream::Upstream::start().await;
    let sluice = Sluice::new().connection("db", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("db").await;
    upstream.reply(Reply::json(&upstream::result(json!("drop-1"), "ok")));
    send(post_with(&sluice.mcp("db"), Some(&session.token), &call("query", "SELECT 1"), &session.headers())).await;
    let received = upstream.received();
    assert!(!received.is_empty());
    for request in received {
        assert!(!format!("{:?}", request.headers).contains(&session.token), "the token was passed through");
        assert!(!String::from_utf8_lossy(&request.body).contains(&session.token));
    }
    sluice.stop().await;
}
