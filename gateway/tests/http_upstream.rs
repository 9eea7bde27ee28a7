//! The data path over HTTP: what leaves, what never leaves, and what both sides are told.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Place, Step, Upstream, chunk, end, head, read};
use http_body_util::BodyExt;
use std::time::Duration;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":"a7","method":"tools/call","params":{"name":"find","arguments":{"q":"x"}}}"#;
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

#[tokio::test]
async fn bytes_that_no_rule_touches_are_the_same_both_ways() {
    let answer =
        ": hello\nid: 7\nretry: 10\ndata: \n\nevent: message\r\ndata: {\"b\":1.50, \"a\":\"\\u0041\",\"a\":2}\r\n\r\n";
    let up = Upstream::start(vec![head("text/event-stream", CHUNKED), chunk(answer.as_bytes()), end()]).await;
    let place = Place::http(up.address).await;
    let asked =
        "{ \"id\":1e0 ,\"jsonrpc\":\"2.0\",\"method\":\"tools/list\",\"params\":{\"z\":1,\"a\":\"\\u00e9\"} }\n";
    let response = place.call("POST", &[("mcp-method", "tools/list"), ("x-other", "1")], asked).await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(read(response).await, (200, answer.to_owned()));
    let request = &up.requests()[0];
    assert!(request.ends_with(&format!("\r\n\r\n{asked}")), "{request}");
    let headers = request.to_ascii_lowercase();
    assert!(headers.contains("authorization: bearer of-the-gateway\r\n"), "the gateway's own credential goes");
    assert!(!headers.contains("eyj"), "the caller's never does");
    assert!(headers.contains("accept-encoding: identity\r\n") && headers.contains("mcp-method: tools/list\r\n"));
    assert!(!headers.contains("x-other"));
}

#[tokio::test]
async fn a_mask_is_the_same_wherever_the_stream_is_cut() {
    let event =
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"result\":{\"t\":\"é bob\\u0040corp.com.\"}}\n\n";
    let masked = event.replace("bob\\u0040corp.com", "[mail]");
    let up = Upstream::start(Vec::new()).await;
    let place = Place::http(up.address).await;
    for cut in 1..event.len() {
        let (first, second) = event.as_bytes().split_at(cut);
        *up.steps.lock().unwrap() = vec![head("text/event-stream", CHUNKED), chunk(first), chunk(second), end()];
        assert_eq!(place.post(CALL).await, (200, masked.clone()), "cut at {cut}");
    }
    let records = place.records(|all| all.matches("\"response\"").count() + 1 >= event.len()).await;
    assert!(!records.contains("bob") && records.contains("[mail]"), "what is recorded is what the user saw");
    assert!(records.contains("mask_mail"));
}

#[tokio::test]
async fn a_blocked_request_leaves_nothing_upstream() {
    let up = Upstream::start(vec![head("application/json", "content-length: 2\r\n"), Step::Send(b"{}".to_vec())]).await;
    let place = Place::http(up.address).await;
    let (status, body) = place.post(&CALL.replace("\"x\"", "\"Pro\\u006aect Titan\"")).await;
    assert_eq!(status, 200);
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["id"], "a7");
    assert_eq!(error["error"]["code"], -32000);
    assert_eq!(error["error"]["data"]["rule"], "no_codename");
    assert!(error["error"]["message"].as_str().unwrap().contains("It is not to be named."));
    assert!(up.requests().is_empty());
    let records = place.records(|all| all.contains("refused")).await;
    assert!(records.contains("no_codename") && !records.to_lowercase().contains("titan"));
}

#[tokio::test]
async fn a_value_that_two_events_share_is_masked_wherever_it_is_cut() {
    let event = |text: &str| format!("data: {{\"method\":\"n\",\"params\":{{\"message\":\"{text}\"}}}}\n\n");
    let up = Upstream::start(vec![]).await;
    let place = Place::http(up.address).await;
    let mail = "bob@corp.com";
    for cut in 1..mail.len() {
        let (first, second) = (event(&format!("ask {}", &mail[..cut])), event(&format!("{}.", &mail[cut..])));
        let steps = vec![head("text/event-stream", CHUNKED), chunk(first.as_bytes()), chunk(second.as_bytes()), end()];
        *up.steps.lock().unwrap() = steps;
        let (_, body) = place.post(CALL).await;
        // Before the `@` there is nothing to wait for: what left is a word, and the rest doesn't pass.
        let gone = |mask: &str| event(&format!("ask {}", &mail[..cut])) + &event(&format!("{mask}."));
        let masked = event("ask [mail]") + &event(".");
        let right = if cut < 4 { [gone("[mail]"), gone("[redacted]")].contains(&body) } else { body == masked };
        assert!(right, "cut at {cut}: {body}");
    }
}

#[tokio::test]
async fn an_event_waits_a_moment_for_the_next_one_and_no_longer() {
    let half = b"data: {\"message\":\"ask bob@cor\"}\n\n";
    let up = Upstream::start(vec![head("text/event-stream", CHUNKED), chunk(half), Step::Hang]).await;
    let place = Place::http(up.address).await;
    let mut body = place.call("POST", &[], CALL).await.into_body();
    let mut seen = Vec::new();
    while seen.len() < half.len() {
        let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
        seen.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(seen, half);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_told_in_the_stream_and_no_raw_byte_passes() {
    let half = b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"result\":{\"t\":\"bob@corp.co";
    let up = Upstream::start(vec![head("text/event-stream", CHUNKED), chunk(half)]).await;
    let place = Place::http(up.address).await;
    let (status, body) = place.post(CALL).await;
    assert_eq!(status, 200);
    assert!(!body.contains("bob"), "{body}");
    let (_, last) = body.split_once("\nevent: abandoned\n\nevent: message\ndata: ").unwrap();
    let error: serde_json::Value = serde_json::from_str(last.trim()).unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&"a7".into(), &(-32002).into()));
    place.records(|all| all.contains("upstream_error")).await;
}

#[tokio::test]
async fn answers_that_can_not_be_read_become_errors() {
    let broken = br#"{"jsonrpc":"2.0","id":"a7","result":{"t":"bob@corp.com"}"#;
    let cases = [
        vec![head("application/json", CHUNKED), chunk(broken), end()],
        vec![head("application/json", CHUNKED), chunk(broken)],
        vec![
            head("application/json", "content-encoding: gzip\r\ncontent-length: 4\r\n"),
            Step::Send(b"\x1f\x8bxx".into()),
        ],
        vec![],
    ];
    let up = Upstream::start(Vec::new()).await;
    let place = Place::http(up.address).await;
    for (case, steps) in cases.into_iter().enumerate() {
        *up.steps.lock().unwrap() = steps;
        let (status, body) = place.post(CALL).await;
        assert_eq!(status, 502, "case {case}: {body}");
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&"a7".into(), &(-32002).into()), "case {case}");
        assert!(!body.contains("bob"));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_upstream_call() {
    let up = Upstream::start(vec![head("text/event-stream", CHUNKED), chunk(b"data: {\"a\":1}\n\n"), Step::Hang]).await;
    let place = Place::http(up.address).await;
    let mut body = place.call("POST", &[], CALL).await.into_body();
    let first = tokio::time::timeout(Duration::from_secs(2), body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: {\"a\":1}\n\n", "the first event doesn't wait");
    drop(body);
    place.records(|all| all.contains("cancelled")).await;
    assert!(*up.left.lock().unwrap());
}

#[tokio::test]
async fn what_two_readers_could_understand_differently_is_refused() {
    let up = Upstream::start(vec![]).await;
    let place = Place::http(up.address).await;
    let refused = [
        (&[("mcp-method", "tools/list")][..], CALL, 400, -32020),
        (&[("mcp-name", "other")][..], CALL, 400, -32020),
        (&[("mcp-name", "=?base64?***?=")][..], CALL, 400, -32020),
        (&[][..], r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, 400, -32600),
        (&[][..], "{", 400, -32700),
        (&[("content-encoding", "gzip")][..], CALL, 415, -32600),
        (&[("mcp-session-id", "somebody-elses")][..], CALL, 404, -32004),
    ];
    for (headers, body, status, code) in refused {
        let (got, text) = read(place.call("POST", headers, body).await).await;
        let error: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((got, &error["error"]["code"]), (status, &code.into()), "{headers:?} {body}");
    }
    assert!(up.requests().is_empty());
}

#[tokio::test]
async fn a_batch_and_statuses_pass_as_they_are() {
    let up = Upstream::start(vec![]).await;
    let place = Place::http(up.address).await;
    for status in ["202 Accepted", "404 Not Found", "405 Method Not Allowed", "400 Bad Request"] {
        let answer = format!("HTTP/1.1 {status}\r\nx-kept: yes\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        *up.steps.lock().unwrap() = vec![Step::Send(answer.into())];
        let batch = " [ {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} ,\n{\"jsonrpc\":\"2.0\",\"method\":\"n\"}]";
        let response = place.call("POST", &[], batch).await;
        assert_eq!(response.headers()["x-kept"], "yes");
        assert_eq!(read(response).await, (status[..3].parse().unwrap(), String::new()));
        assert!(up.requests().last().unwrap().ends_with(&format!("\r\n\r\n{batch}")));
        let response = place.call("GET", &[], "").await;
        assert_eq!(response.status().as_str(), &status[..3]);
    }
}

#[tokio::test]
async fn a_session_is_no_credential() {
    let answer = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let more = format!("mcp-session-id: s1\r\ncontent-length: {}\r\n", answer.len());
    let up = Upstream::start(vec![head("application/json", &more), Step::Send(answer.to_vec())]).await;
    let place = Place::http(up.address).await;
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let opened = place.call("POST", &[], init).await;
    assert_eq!(opened.headers()["mcp-session-id"], "s1");
    let own = place.call("POST", &[("mcp-session-id", "s1")], CALL).await;
    assert_eq!(own.status(), 200);
    let other = format!("Bearer {}", place.token("eve@corp.example"));
    let foreign = place.call("POST", &[("mcp-session-id", "s1"), ("authorization", &other)], CALL).await;
    assert_eq!(foreign.status(), 404);
    assert_eq!(up.requests().len(), 2);
    let nobody = place.call("POST", &[("authorization", "Bearer nonsense")], CALL).await;
    assert_eq!(nobody.status(), 401);
    let challenge = nobody.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("/.well-known/oauth-protected-resource/mcp/up"), "{challenge}");
    let rebound = place.call("POST", &[("host", "evil.example")], CALL).await;
    assert_eq!(rebound.status(), 403);
    let page = place.call("POST", &[("origin", "https://evil.example")], CALL).await;
    assert_eq!(page.status(), 403);
}
