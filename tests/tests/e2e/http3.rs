//! MCP over HTTP/3, asked by a client of other hands (aioquic).

use serde_json::{Value, json};
use sluice_tests::http::{post_with, send};
use sluice_tests::place;
use sluice_tests::program::{PATIENCE, command, run};
use sluice_tests::sluice::{Rules, Session, Sluice, Upstream};
use sluice_tests::upstream::{self, Reply};

/// The answers to these requests, all of one connection; None where it doesn't come about.
async fn ask(sluice: &Sluice, requests: &[Value]) -> Option<Vec<Value>> {
    let mut client = command(place::python("quic", "python"), [place::clients("h3_client.py")]);
    client.args([&sluice.tunnel, "ca.pem"]).current_dir(sluice.folder());
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let done = run(client, lines, PATIENCE).await;
    (done.code == Some(0)).then(|| done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn post(session: &Session, message: &Value) -> Value {
    let mut headers = json!({
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": format!("Bearer {}", session.token),
    });
    session.headers().iter().for_each(|(name, value)| headers[*name] = (*value).into());
    json!({ "method": "POST", "path": "/mcp/x", "headers": headers, "body": message.to_string() })
}

fn call(sql: &str) -> Value {
    let params = json!({ "name": "say", "arguments": { "sql": sql } });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_http3_are_those_over_http1_masked_and_refused_alike() {
    let upstream = upstream::Upstream::start().await;
    let sluice = Sluice::new()
        .rules(Rules::Standard)
        .connection("x", Upstream::Http(upstream.url.clone()))
        .tunnel("http3 = true")
        .start()
        .await;
    let session = sluice.open_session("x").await;
    let text = json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [
        { "type": "text", "text": "write to bob@example.com \u{1F600}".repeat(2000) },
    ] } });
    upstream.reply(Reply::json(&text));
    let before = send(post_with(&sluice.mcp("x"), Some(&session.token), &call("SELECT 1"), &session.headers())).await;
    assert!(before.text().contains("[email]") && !before.text().contains("bob@"));

    let mut stranger = post(&session, &call("SELECT 1"));
    stranger["authority"] = "evil.example:443".into();
    let mut anonymous = post(&session, &call("SELECT 1"));
    anonymous["headers"].as_object_mut().unwrap().remove("authorization");
    let requests = [
        post(&session, &call("SELECT 1")),
        post(&session, &call("DROP DATABASE crm")),
        anonymous,
        stranger,
        json!({ "method": "GET", "path": "/nowhere" }),
        json!({ "method": "GET", "path": "/.well-known/oauth-protected-resource/mcp/x" }),
        post(&session, &json!("no message of JSON-RPC")),
    ];
    let answers = ask(&sluice, &requests).await.expect("the gateway speaks HTTP/3");
    let body = |at: usize| answers[at]["body"].as_str().unwrap_or_default();
    assert_eq!(answers[0]["status"], 200);
    assert!(body(0) == before.text(), "another answer, of {} bytes and of {}", body(0).len(), before.text().len());
    let refusal = body(1).chars().take(300).collect::<String>();
    assert!(refusal.contains("no_destructive_sql"), "{refusal}");
    assert_eq!(answers[2]["status"], 401);
    let challenge = answers[2]["headers"]["www-authenticate"].as_str().unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("resource_metadata"), "{challenge}");
    assert_eq!(answers[3]["status"], 403, "a page of a stranger");
    assert_eq!(answers[4]["status"], 404);
    assert!(body(5).contains("authorization_servers"), "{}", answers[5]);
    assert_eq!(answers[6]["status"], 400);

    let record = sluice.session_record("ada@example.org").await;
    let requests = record.as_array().unwrap().iter().filter(|record| record["event"] == "request");
    let outcomes: Vec<&str> = requests.filter_map(|record| record["outcome"].as_str()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "refused").count(), 1, "{outcomes:?}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_no_more_of_an_answer_harms_nobody() {
    let upstream = upstream::Upstream::start().await;
    let sluice =
        Sluice::new().connection("x", Upstream::Http(upstream.url.clone())).tunnel("http3 = true").start().await;
    let session = sluice.open_session("x").await;
    upstream.reply(Reply::json(&json!({ "jsonrpc": "2.0", "id": 7, "result": { "long": "x".repeat(1 << 20) } })));
    let mut stopped = post(&session, &call("SELECT 1"));
    stopped["until"] = 10_000.into();
    let requests = [stopped, post(&session, &call("SELECT 1"))];
    let answers = ask(&sluice, &requests).await.expect("the gateway speaks HTTP/3");
    let length = |at: usize| answers[at]["body"].as_str().unwrap_or_default().len();
    assert!(length(0) < 1 << 20 && length(1) > 1 << 20, "{} and {}", length(0), length(1));
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_asked_for_it_is_not_spoken() {
    let upstream = upstream::Upstream::start().await;
    let sluice = Sluice::new().connection("x", Upstream::Http(upstream.url.clone())).tunnel("").start().await;
    assert_eq!(ask(&sluice, &[json!({ "method": "GET", "path": "/" })]).await, None);
    sluice.stop().await;
}
