//! A value cut anywhere on its way: between HTTP chunks, lines of an event, escapes of a string, events of a stream. Never a raw value, and
//! the same bytes for every cut.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sluice_tests::http::{Answer, post_with, send};
use sluice_tests::sluice::{Rules, Session, Sluice, Upstream};
use sluice_tests::upstream::{self, Reply};

const MAIL: &str = "bob@example.com";

struct Scene {
    upstream: upstream::Upstream,
    sluice: Sluice,
    session: Session,
}

impl Scene {
    async fn new() -> Self {
        let upstream = upstream::Upstream::start().await;
        let sluice =
            Sluice::new().rules(Rules::Standard).connection("cut", Upstream::Http(upstream.url.clone())).start().await;
        let session = sluice.open_session("cut").await;
        Self { upstream, sluice, session }
    }

    async fn call(&self, reply: Reply) -> Answer {
        self.upstream.reply(reply);
        let message =
            json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "say", "arguments": {} } });
        let (url, token) = (self.sluice.mcp("cut"), &self.session.token);
        send(post_with(&url, Some(token), &message, &self.session.headers())).await
    }

    /// The body through the gateway in one piece, in two pieces for each place to cut it, and byte by byte: always equal, never raw.
    async fn every_cut(&self, content_type: &str, body: &str) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let whole = self.call(Reply::new(content_type, [body.clone()])).await;
        assert!(whole.whole && whole.status.is_success(), "{whole:?}");
        assert_hidden(&whole.text());
        for at in 1..body.len() {
            let pieces = [body.slice(..at), body.slice(at..)];
            let cut = self.call(Reply::new(content_type, pieces).paused(Duration::from_millis(1))).await;
            assert_eq!(cut.text(), whole.text(), "cut after {at} bytes");
        }
        let bytes = (0..body.len()).map(|at| body.slice(at..=at));
        let cut = self.call(Reply::new(content_type, bytes).paused(Duration::from_micros(200))).await;
        assert_eq!(cut.text(), whole.text(), "byte by byte");
        whole.text()
    }
}

fn assert_hidden(text: &str) {
    assert!(!text.contains(MAIL), "a raw value: {text}");
    assert!(!text.contains("example.com"), "half a raw value: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_cut_at_every_byte_of_a_json_body_is_masked() {
    let scene = Scene::new().await;
    let body = upstream::result(json!(7), &format!("mail {MAIL} now")).to_string();
    let masked = scene.every_cut("application/json", &body).await;
    let (before, after) = body.split_once(MAIL).unwrap();
    assert!(masked.starts_with(before) && masked.ends_with(after), "the bytes around it stay: {masked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_cut_at_every_byte_of_an_event_stream_is_masked() {
    let scene = Scene::new().await;
    let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": format!("saw {MAIL}") } });
    let result = upstream::result(json!(7), &format!("mail {MAIL} now"));
    let body = format!(
        ": a comment\n\nid: 1\nretry: 500\ndata: \n\nid: 2\nevent: message\ndata: {log}\n\nid: 3\ndata: {result}\n\n"
    );
    let masked = scene.every_cut("text/event-stream", &body).await;
    for kept in [": a comment\n", "id: 1\n", "retry: 500\n", "id: 2\n", "event: message\n", "id: 3\n"] {
        assert!(masked.contains(kept), "{kept:?} is gone: {masked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_behind_escapes_cut_at_every_byte_is_masked() {
    let scene = Scene::new().await;
    let escaped: String = MAIL.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"mail {escaped} now"}}]}}}}"#);
    let masked = scene.every_cut("application/json", &body).await;
    let message: serde_json::Value = serde_json::from_str(&masked).unwrap();
    assert_hidden(&message.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_json_inside_a_json_string_cut_at_every_byte_is_masked() {
    let scene = Scene::new().await;
    let inner = json!([{ "name": "Bob \"B\"", "mail": "bob\u{40}example.com" }]).to_string().replace('@', "\\u0040");
    let body = upstream::result(json!(7), &inner).to_string();
    let masked = scene.every_cut("application/json", &body).await;
    let message: serde_json::Value = serde_json::from_str(&masked).unwrap();
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    let rows: serde_json::Value = serde_json::from_str(text).expect("the inner JSON stays valid");
    assert_eq!(rows[0]["name"], "Bob \"B\"");
    assert_hidden(&rows.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_in_the_middle_of_a_value_gives_away_none_of_it() {
    let scene = Scene::new().await;
    let body = Bytes::from(upstream::result(json!(7), &format!("mail {MAIL} now")).to_string());
    for at in 1..body.len() {
        let cut = scene.call(Reply::new("application/json", [body.slice(..at)]).broken()).await;
        assert_hidden(&cut.text());
        assert!(!cut.text().contains("bob@"), "cut after {at} bytes: {}", cut.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_understood_or_refused_but_never_passed_unread() {
    let scene = Scene::new().await;
    for encoding in ["gzip", "br", "zstd", "x-unknown"] {
        let mut reply = Reply::new("application/json", [Bytes::from_static(b"\x1f\x8b\x08 opaque")]);
        reply.headers.push(("content-encoding", encoding.into()));
        let answer = scene.call(reply).await;
        assert!(!answer.body.windows(6).any(|window| window == b"opaque"), "{encoding}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_answer_that_no_rule_touches_are_equal() {
    let scene = Scene::new().await;
    let odd = r#"{ "id" :7,"jsonrpc": "2.0", "result": {"b":1.0e+2,"a":1E400, "a":-0.0, "s":"\u0041\/é","content":[] , "n":null} } "#;
    let answer = scene.call(Reply::new("application/json", [Bytes::from_static(odd.as_bytes())])).await;
    assert_eq!(answer.text(), odd);
}
