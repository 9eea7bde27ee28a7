//! What of a message is data and gets masked, wherever it stands, and what is the protocol's own and stays.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use sluice_tests::http::{Answer, post_with, send};
use sluice_tests::sluice::{Rules, Session, Sluice, Upstream};
use sluice_tests::upstream::{self, Reply};

const MAIL: &str = "bob@example.com";
const CARD: &str = "4111111111111111";

/// Masks addresses and cards on their way in both directions.
const BOTH_WAYS: &str = r#"language 1
pack tests.both "1.0.0" { owner "tests" reviewed 2026-08-01 }
pattern mail = /[a-z]{1,20}@example\.com/
pattern card = /[0-9]{16}/
rule mask_mail {
  on both
  match mail
  then mask redact(with: "[mail]")
}
rule mask_card {
  on both
  match card
  then mask redact(with: "[card]")
}
"#;

struct Scene {
    upstream: upstream::Upstream,
    sluice: Sluice,
    session: Session,
}

impl Scene {
    async fn new() -> Self {
        let upstream = upstream::Upstream::start().await;
        let rules = Rules::Text(BOTH_WAYS.to_owned());
        let sluice = Sluice::new().rules(rules).connection("x", Upstream::Http(upstream.url.clone())).start().await;
        let session = sluice.open_session("x").await;
        Self { upstream, sluice, session }
    }

    async fn ask(&self, message: &Value, reply: Reply) -> Answer {
        self.upstream.reply(reply);
        let (url, token) = (self.sluice.mcp("x"), &self.session.token);
        send(post_with(&url, Some(token), message, &self.session.headers())).await
    }

    async fn ask_json(&self, message: &Value, answer: &Value) -> Answer {
        self.ask(message, Reply::json(answer)).await
    }
}

fn call(id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "say", "arguments": {} } })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_looks_like_personal_data_stays_and_keeps_its_type() {
    let scene = Scene::new().await;
    for id in [json!(CARD), json!(4_111_111_111_111_111_i64), json!(MAIL)] {
        let text = format!("{MAIL} {CARD}");
        let answer = scene.ask_json(&call(id.clone()), &upstream::result(id.clone(), &text)).await;
        let message = answer.message();
        assert_eq!(message["id"], id, "{}", answer.text());
        assert_eq!(message["result"]["content"][0]["text"], "[mail] [card]", "what is data is masked");
        let sent: Value = serde_json::from_slice(&scene.upstream.calls().last().unwrap().body).unwrap();
        assert_eq!(sent["id"], id, "the server sees the id as the client wrote it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_states_that_must_come_back_unchanged_stay() {
    let scene = Scene::new().await;
    let meta = json!({ "progressToken": MAIL, "note": MAIL });
    let mut asked = call(json!(1));
    asked["params"]["_meta"] = meta;
    asked["params"]["requestState"] = json!(MAIL);
    let result = json!({ "resultType": "input_required", "requestState": MAIL, "content": [] });
    let answer = scene.ask_json(&asked, &json!({ "jsonrpc": "2.0", "id": 1, "result": result })).await;
    assert_eq!(answer.message()["result"]["requestState"], MAIL);
    let sent: Value = serde_json::from_slice(&scene.upstream.calls()[0].body).unwrap();
    assert_eq!(sent["params"]["_meta"], json!({ "progressToken": MAIL, "note": "[mail]" }));
    assert_eq!(sent["params"]["requestState"], MAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_masked_wherever_an_answer_carries_it() {
    let scene = Scene::new().await;
    let text = format!("of {MAIL}");
    let named = |members: Value| json!({ "jsonrpc": "2.0", "id": 1, "result": members });
    let answers = [
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": text, "data": { "who": [text] } } }),
        named(json!({ "content": [], "_meta": { "example.org/trace": { "of": text } } })),
        named(
            json!({ "content": [{ "type": "resource_link", "uri": format!("mailto:{MAIL}"), "name": text, "description": text }] }),
        ),
        named(json!({ "content": [{ "type": "resource", "resource": { "uri": "test://a", "text": text } }] })),
        named(
            json!({ "content": [{ "type": "image", "data": "", "mimeType": "image/png", "_meta": { "by": text } }] }),
        ),
        named(json!({ "content": [], "structuredContent": { text.clone(): [text, { "deep": text }] } })),
        named(json!({ "tools": [{ "name": "t", "title": text, "description": text, "annotations": { "title": text },
            "inputSchema": { "type": "object", "properties": { "a": { "description": text, "default": MAIL, "enum": [MAIL] } } } }] })),
        named(json!({ "completion": { "values": [MAIL, text], "total": 2 } })),
        named(json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] })),
        named(json!({ "resultType": "input_required", "inputRequests": { "who": {
            "method": "elicitation/create", "params": { "message": text, "requestedSchema": { "default": MAIL } } } } })),
        named(json!({ "taskId": "1", "status": "working", "statusMessage": text })),
    ];
    for answer in &answers {
        let seen = scene.ask_json(&call(json!(1)), answer).await;
        assert!(seen.status.is_success() && !seen.text().contains(MAIL), "{answer} became {}", seen.text());
        let expected = answer.to_string().replace(MAIL, "[mail]");
        assert_eq!(seen.message(), serde_json::from_str::<Value>(&expected).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_masked_in_what_a_stream_carries_besides_its_answer() {
    let scene = Scene::new().await;
    let text = format!("of {MAIL}");
    let messages = [
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": CARD, "progress": 1, "message": text } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "logger": text, "data": { "row": [text] } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": format!("crm://{MAIL}") } }),
        json!({ "jsonrpc": "2.0", "id": CARD, "method": "elicitation/create", "params": { "message": text } }),
        json!({ "jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": { "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] } }),
        upstream::result(json!(1), &text),
    ];
    let stream: String = messages.iter().map(|message| format!("event: message\ndata: {message}\n\n")).collect();
    let seen = scene.ask(&call(json!(1)), Reply::new("text/event-stream", [Bytes::from(stream.clone())])).await;
    assert_eq!(seen.text(), stream.replace(MAIL, "[mail]"), "masked, and the ids and tokens stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_masked_in_the_stream_that_answers_no_request() {
    let scene = Scene::new().await;
    let log =
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": MAIL } });
    let stream = format!("id: 7\nretry: 20\ndata:\n\nid: 8\ndata: {log}\n\n");
    scene.upstream.reply_to(Method::GET, Reply::new("text/event-stream", [Bytes::from(stream.clone())]));
    let mut get = post_with(&scene.sluice.mcp("x"), Some(&scene.session.token), &Value::Null, &scene.session.headers());
    *get.method_mut() = Method::GET;
    let seen = send(get).await;
    assert_eq!(seen.text(), stream.replace(MAIL, "[mail]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_repeats_a_masked_name_is_masked_as_the_body_is() {
    let scene = Scene::new().await;
    let uri = format!("crm://people/{MAIL}");
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": uri } });
    scene.upstream.reply(Reply::json(&upstream::result(json!(1), "ok")));
    let mut headers = scene.session.headers();
    let encoded = format!("=?base64?{}?=", data_encoding::BASE64.encode(uri.as_bytes()));
    for name in [uri.as_str(), encoded.as_str()] {
        headers.push(("mcp-method", "resources/read"));
        headers.push(("mcp-name", name));
        let answer = send(post_with(&scene.sluice.mcp("x"), Some(&scene.session.token), &message, &headers)).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        let seen = scene.upstream.received().pop().unwrap();
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(body["params"]["uri"], "crm://people/[mail]");
        assert_eq!(seen.headers["mcp-name"], "crm://people/[mail]", "the two agree upstream as well");
        headers.truncate(headers.len() - 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_repeats_an_argument_says_what_the_masked_argument_says_or_is_refused() {
    let scene = Scene::new().await;
    let mut message = call(json!(1));
    message["params"]["arguments"] =
        json!({ "who": MAIL, "where": { "region": "eu" }, "card": 4_111_111_111_111_111_i64 });
    let ask = async |params: &[(&'static str, &'static str)]| {
        let headers = [scene.session.headers(), params.to_vec()].concat();
        send(post_with(&scene.sluice.mcp("x"), Some(&scene.session.token), &message, &headers)).await
    };
    // The second line is the address in base64.
    let params = [
        ("mcp-param-who", MAIL),
        ("mcp-param-again", "=?base64?Ym9iQGV4YW1wbGUuY29t?="),
        ("mcp-param-card", CARD),
        ("mcp-param-region", "eu"),
    ];
    let answer = ask(&params).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let seen = scene.upstream.calls().pop().unwrap();
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["params"]["arguments"], json!({ "who": "[mail]", "where": { "region": "eu" }, "card": "[card]" }));
    for (name, value) in [("who", "[mail]"), ("again", "[mail]"), ("card", "[card]"), ("region", "eu")] {
        assert_eq!(seen.headers[format!("mcp-param-{name}")], value);
    }
    for wrong in ["us", "alice@example.com", "=?base64?!?=", ""] {
        let answer = ask(&[("mcp-param-region", wrong)]).await;
        assert_eq!((answer.status.as_u16(), &answer.message()["error"]["code"]), (400, &json!(-32020)), "{wrong}");
    }
    assert_eq!(scene.upstream.calls().len(), 1, "nothing that disagrees goes upstream");
}

/// The answers to the same request of two people, of whom the first is spared the rule on cards.
async fn lists_of_two(reply: impl Fn(&str) -> Reply) -> impl AsyncFn(&str, &str) -> String {
    let upstream = upstream::Upstream::start().await;
    let rules = BOTH_WAYS.replace("match card", "unless user.group has \"auditors\"\n  match card");
    let sluice =
        Sluice::new().rules(Rules::Text(rules)).connection("x", Upstream::Http(upstream.url.clone())).start().await;
    async move |group: &str, text: &str| {
        upstream.reply(reply(text));
        let token = sluice.token(&format!("{group}@example.org"), &[group]).await;
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/list" });
        let answer = send(post_with(&sluice.mcp("x"), Some(&token), &list, &[])).await;
        assert!(answer.whole && answer.status.is_success(), "{}", answer.text());
        answer.text()
    }
}

fn listed(scope: &str, text: &str) -> String {
    // The scope stands first: nothing of what follows is known when it passes.
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"cacheScope":"{scope}","ttlMs":9,"resources":[{{"name":"{text}"}}]}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_answer_is_never_said_to_be_public() {
    let json = lists_of_two(|text| Reply::new("application/json", [Bytes::from(listed("public", text))])).await;
    assert_eq!(json("staff", MAIL).await, listed("private", "[mail]"));
    assert_eq!(json("staff", "clean").await, listed("public", "clean"), "it would be the same for everybody");
    assert_eq!(json("auditors", CARD).await, listed("private", CARD), "others would see it masked");
    let long = "clean ".repeat(20_000);
    assert_eq!(json("staff", &long).await, listed("private", &long), "its head leaves before its end is known");

    let events = lists_of_two(|text| {
        Reply::new("text/event-stream", [Bytes::from(format!("id: 1\ndata: {}\n\n", listed("public", text)))])
    })
    .await;
    assert_eq!(events("staff", MAIL).await, format!("id: 1\ndata: {}\n\n", listed("private", "[mail]")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_masked_on_both_sides_of_every_buffers_end() {
    let scene = Scene::new().await;
    // The gateway holds a JSON body back until 64 KiB of it have come: an address before, over and after that place.
    for size in [64 * 1024, 256 * 1024] {
        for shift in 0..MAIL.len() + 2 {
            let mut text = "x".repeat(size);
            let around = size - 100 - shift;
            text.replace_range(around..around + MAIL.len() + 2, &format!(" {MAIL} "));
            text.push_str(&format!(" and {MAIL}"));
            let body = upstream::result(json!(1), &text).to_string();
            let pieces: Vec<Bytes> = body.as_bytes().chunks(16 * 1024).map(Bytes::copy_from_slice).collect();
            let seen = scene.ask(&call(json!(1)), Reply::new("application/json", pieces)).await;
            assert!(seen.whole && seen.text() == body.replace(MAIL, "[mail]"), "{size} bytes, shifted by {shift}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_masked_and_decided_message_by_message() {
    let scene = Scene::new().await;
    let batch = json!([call(json!(1)), { "jsonrpc": "2.0", "method": "notifications/x", "params": { "of": MAIL } }, call(json!("b"))]);
    let answers = json!([upstream::result(json!(1), MAIL), upstream::result(json!("b"), "clean")]);
    let seen = scene.ask_json(&batch, &answers).await;
    assert_eq!(seen.message(), json!([upstream::result(json!(1), "[mail]"), upstream::result(json!("b"), "clean")]));
    let sent: Value = serde_json::from_slice(&scene.upstream.received().pop().unwrap().body).unwrap();
    assert_eq!(sent[1]["params"]["of"], "[mail]");
    assert_eq!((&sent[0]["id"], &sent[2]["id"]), (&json!(1), &json!("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_message_refuses_its_batch() {
    let upstream = upstream::Upstream::start().await;
    let sluice =
        Sluice::new().rules(Rules::Standard).connection("x", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("x").await;
    let before = upstream.received().len();
    let query = |id: u32, sql: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "query", "arguments": { "sql": sql } } });
    let batch = json!([query(1, "SELECT 1"), query(2, "DROP DATABASE crm")]);
    let answer = send(post_with(&sluice.mcp("x"), Some(&session.token), &batch, &session.headers())).await;
    let message = answer.message();
    let ids: Vec<&Value> = message.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!(2)], "every request of it gets an answer: {message}");
    assert!(message.as_array().unwrap().iter().all(|answer| answer["error"]["code"] == -32000), "{message}");
    assert_eq!(upstream.received().len(), before, "nothing of it went upstream");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_request_is_refused_and_never_passed_unread() {
    let scene = Scene::new().await;
    let before = scene.upstream.received().len();
    for encoding in ["gzip", "br", "zstd", "x-unknown", "identity, gzip"] {
        let headers = [scene.session.headers(), vec![("content-encoding", encoding)]].concat();
        let request = post_with(&scene.sluice.mcp("x"), Some(&scene.session.token), &call(json!(1)), &headers);
        let answer = send(request).await;
        assert_eq!(answer.status, 415, "{encoding}: {}", answer.text());
    }
    assert_eq!(scene.upstream.received().len(), before, "nothing of them went upstream");
}
