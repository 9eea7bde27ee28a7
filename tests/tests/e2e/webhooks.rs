//! People who are told what waits for an approval, and decide by a link.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sluice_tests::approvals::waiting;
use sluice_tests::http::{Answer, post_with, send};
use sluice_tests::sluice::{Rules, Session, Sluice, Upstream};
use sluice_tests::upstream;
use sluice_tests::webhook::{Told, Webhook};
use tokio::task::JoinHandle;

const SECRET: &str = "a secret of this test, long enough";

const RULES: &str = r#"language 1
pack tests.webhooks "1.0.0" { owner "tests" reviewed 2026-08-01 }
rule drop_is_approved {
  on request
  when tool.name == "drop"
  then approve by ["dba"] count 1 ttl 5m wait 1m
}
"#;

/// A gateway that tells these webhooks: each its URL and further lines.
async fn scene(webhooks: &[(&Webhook, &str)]) -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let tables = webhooks.iter().map(|(webhook, lines)| format!("\n[[webhook]]\nurl = {:?}\n{lines}\n", webhook.url));
    let setting = Sluice::new().rules(Rules::Text(RULES.to_owned()));
    let setting = setting.connection("db", Upstream::Http(upstream.url.clone()));
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), SECRET).unwrap();
    let tables = tables.collect::<String>().replace("SECRET", &format!("secret = \"file:{}\"", key.path().display()));
    (upstream, setting.tables(&tables).start().await)
}

fn begin(sluice: &Sluice, session: &Session) -> JoinHandle<Answer> {
    let params = json!({ "name": "drop", "arguments": { "table": "<b>people</b>" } });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    tokio::spawn(send(post_with(&sluice.mcp("db"), Some(&session.token), &message, &session.headers())))
}

async fn get(url: &str) -> Answer {
    send(Request::get(url).body(Full::default()).unwrap()).await
}

async fn submit(url: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    send(request.body(Full::new(body.into())).unwrap()).await
}

/// Checks the signature as Standard Webhooks has it.
fn assert_signed(told: &Told) {
    let text = format!(
        "{}.{}.{}",
        told.header("webhook-id"),
        told.header("webhook-timestamp"),
        String::from_utf8_lossy(&told.body)
    );
    let tag = BASE64.decode(told.header("webhook-signature").strip_prefix("v1,").unwrap().as_bytes()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes(), &tag).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_is_told_again_and_in_order() {
    let (webhook, other) = (Webhook::start(2).await, Webhook::start(0).await);
    let (upstream, sluice) =
        scene(&[(&webhook, "SECRET\ngroups = [\"dba\"]"), (&other, "SECRET\ngroups = [\"sales\"]")]).await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session);
    let view = waiting(&sluice, &grace).await;
    let first = webhook.told(1).await.remove(0);
    let refused = webhook.refused();
    assert!(refused.iter().all(|told| told.header("webhook-id") == first.header("webhook-id")), "the same one again");
    assert_signed(&first);
    let news = first.json();
    assert_eq!((&news["type"], &news["data"]["approval"]), (&json!("approval.requested"), &view["approval"]));
    assert!(!first.json().to_string().contains("people"), "the command stays here: {news}");
    assert!(news["data"]["url"].as_str().unwrap().ends_with(view["approval"].as_str().unwrap()), "{news}");
    assert_eq!(sluice_tests::approvals::decide(&sluice, &grace, &view, "approve").await.0, 200);
    call.await.unwrap();
    let all: Vec<Value> = webhook.told(3).await.iter().map(Told::json).collect();
    let states: Vec<&Value> = all.iter().map(|news| &news["data"]["state"]).collect();
    assert_eq!(states, [&json!("pending"), &json!("approved"), &json!("used")]);
    assert!(other.refused().is_empty() && upstream.calls().len() == 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_decides_by_a_link_once_and_looking_at_it_decides_nothing() {
    let webhook = Webhook::start(0).await;
    let lines = "format = \"slack\"\ngroups = [\"dba\"]\napprover = \"grace@example.org\"";
    let (upstream, sluice) = scene(&[(&webhook, lines)]).await;
    let session = sluice.open_session("db").await;
    let call = begin(&sluice, &session);
    let told = webhook.told(1).await.remove(0).json();
    let text = told["text"].as_str().unwrap();
    let link = text.split('<').nth(1).unwrap().split('|').next().unwrap().to_owned();
    let page = get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("&lt;b&gt;people&lt;/b&gt;") && !page.text().contains("<b>people"), "{}", page.text());
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let view = waiting(&sluice, &grace).await;
    assert_eq!(view["state"], "pending");
    let hash = view["hash"].as_str().unwrap();
    assert!(page.text().contains(&format!("<th>Hash<td>{hash}")), "{}", page.text());
    for (fields, status) in [
        (vec![("decision", "approve"), ("justification", " "), ("hash", hash)], 400),
        (vec![("decision", "approve"), ("justification", "yes"), ("hash", "sha256:00")], 409),
    ] {
        assert_eq!(submit(&link, &fields).await.status, status);
    }
    let (last, forged) = (link.chars().last().unwrap(), &link[..link.len() - 1]);
    let forged = format!("{forged}{}", if last == 'A' { 'B' } else { 'A' });
    assert_eq!(get(&forged).await.status, 404);
    assert!(upstream.calls().is_empty());
    let fields = [("decision", "approve"), ("justification", "CHG-7"), ("hash", hash)];
    assert_eq!(submit(&link, &fields).await.status, 200);
    assert!(call.await.unwrap().text().contains("all is well"));
    assert_eq!(submit(&link, &fields).await.status, 409, "once");
    let record = sluice.session_record("ada@example.org").await;
    let decided = record.as_array().unwrap().iter().find(|record| record["event"] == "approval_decided").unwrap();
    assert_eq!(decided["approver"]["user"], "grace@example.org");
    assert_eq!(decided["approver"]["issuer"], "webhook");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_does_not_let_anybody_decide_about_their_own() {
    let webhook = Webhook::start(0).await;
    let lines = "format = \"teams\"\ngroups = [\"dba\"]\napprover = \"Ada@example.org\"";
    let (upstream, sluice) = scene(&[(&webhook, lines)]).await;
    let session = sluice.open_session("db").await;
    let call = begin(&sluice, &session);
    let card = webhook.told(1).await.remove(0).json();
    let link = card["attachments"][0]["content"]["actions"][0]["url"].as_str().unwrap();
    assert!(!get(link).await.text().contains("<form"));
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let view = waiting(&sluice, &grace).await;
    let fields = [("decision", "approve"), ("justification", "mine"), ("hash", view["hash"].as_str().unwrap())];
    assert_eq!(submit(link, &fields).await.status, 403);
    assert!(upstream.calls().is_empty());
    call.abort();
    sluice.stop().await;
}
