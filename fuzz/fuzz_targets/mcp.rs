//! JSON-RPC messages: any body is read without a panic; what is accepted has one reading, the one that a second parser
//! gives; what routes a line is in it once; headers and refusals made from a message agree with it.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluice_fuzz::json;
use sluice_gateway::approval::Command;
use sluice_gateway::protocol::mcp::error::{Refusal, code};
use sluice_gateway::protocol::mcp::headers::{self, METHOD, NAME, PROTOCOL_VERSION};
use sluice_gateway::protocol::mcp::message::{Body, Id, Kind, Message, without_params};

const CAP: usize = 64 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let raw = Bytes::copy_from_slice(bytes);
    let strict = Body::parse(raw.clone(), CAP);
    let routed = Body::parse_for_routing(raw, CAP);
    if let Ok(body) = &routed {
        for message in body.messages() {
            routing(message);
        }
    }
    if let Ok(body) = &strict {
        let routed = routed.expect("what is read strictly can be routed");
        assert!(body.messages().iter().map(Message::kind).eq(routed.messages().iter().map(Message::kind)));
        let text = std::str::from_utf8(bytes).expect("a body is UTF-8");
        let value: Value = serde_json::from_str(text).expect("a body is JSON");
        assert_eq!(json::members(&value), json::colons(bytes), "a member stands twice");
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        assert_eq!((body.is_batch(), body.messages().len()), (value.is_array(), values.len()));
        for (message, value) in body.messages().iter().zip(&values) {
            reading(message, value);
            if message.method().is_some() {
                agreement(message);
            }
            stripped(message, value);
        }
        answers(body);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = headers::decode(text);
        round_trip(text);
    }
});

/// What a client brings back to the gateway is taken out, and nothing else is changed; a command is the same for every spelling.
fn stripped(message: &Message, value: &Value) {
    let Some(bare) = without_params(message.raw(), &["requestState", "inputResponses"]) else {
        assert!(!value["params"].is_object());
        return;
    };
    let mut expected = value.clone();
    let params = expected["params"].as_object_mut().expect("it was an object");
    ["requestState", "inputResponses"].into_iter().for_each(|name| drop(params.shift_remove(name)));
    let read: Value = serde_json::from_slice(&bare).expect("it is JSON still");
    assert_eq!(read, expected);
    let spelt = Bytes::from(value.to_string());
    // Some fractions are read a hair off, and written another one.
    let is_same = serde_json::from_slice::<Value>(&spelt).is_ok_and(|read| read == *value);
    if let (Ok(body), true) = (Body::parse(spelt, usize::MAX), is_same) {
        assert_eq!(
            Command::mcp(&body.messages()[0]).hash,
            Command::mcp(message).hash,
            "another spelling is another command"
        );
    }
}

/// What a line is routed by stands in it once.
fn routing(message: &Message) {
    let text = std::str::from_utf8(message.raw()).expect("a message is UTF-8");
    assert!(json::named(text, "id").expect("a message is an object") <= 1, "two ids");
}

/// The message says what a second parser reads in the same bytes.
fn reading(message: &Message, value: &Value) {
    let alone: Value = serde_json::from_slice(message.raw()).expect("a message of a batch is JSON by itself");
    assert_eq!(&alone, value);
    assert_eq!(value["jsonrpc"], "2.0");
    assert_eq!(message.params(), value.get("params").unwrap_or(&Value::Null));
    assert_eq!(message.method(), value.get("method").and_then(Value::as_str));
    let id = match message.kind() {
        Kind::Request { id, .. } | Kind::Response { id: Some(id) } => Some(id),
        Kind::Notification { .. } => {
            assert!(value.get("id").is_none());
            None
        }
        Kind::Response { id: None } => None,
    };
    let id = id.map(|id| serde_json::from_str(id.raw()).expect("an id is JSON"));
    assert_eq!(id.unwrap_or(Value::Null), *value.get("id").unwrap_or(&Value::Null));
    let _ = (message.purpose(), message.progress_token(), message.missing_meta(), message.subscription());
}

/// Headers made from a message agree with it, and others don't.
fn agreement(message: &Message) {
    let value = |text: &str| HeaderValue::from_str(&headers::encode(text)).expect("what is encoded fits a header");
    let method = message.method().expect("the caller has looked");
    let mut map = HeaderMap::new();
    map.insert(PROTOCOL_VERSION, value("2026-07-28"));
    map.insert(METHOD, value(method));
    if let Some(subject) = message.subject() {
        map.insert(NAME, value(subject));
        let mut other = map.clone();
        other.insert(NAME, value(&format!("{subject}.")));
        assert!(headers::agree(&other, message, false).is_err(), "another subject");
    }
    assert_eq!(headers::agree(&map, message, true), Ok(()));
    map.insert(METHOD, value(&format!("{method}.")));
    assert!(headers::agree(&map, message, false).is_err(), "another method");
    if let Some(revision) = message.revision() {
        map.insert(PROTOCOL_VERSION, value(revision));
        if let Ok(found) = headers::revision(&map, Some(message)) {
            assert_eq!(found, revision);
        }
    }
}

/// Refusals are JSON-RPC, one for each request, with its id.
fn answers(body: &Body) {
    let ids: Vec<Id> = body.request_ids().cloned().collect();
    let refusal = Refusal::by_rule(code::REFUSED, "rule", None, "pack", Some("a \"message\"\n"));
    let answers = Body::parse(refusal.answers(&ids, body.is_batch()), usize::MAX).expect("a refusal is JSON-RPC");
    let answered: Vec<Option<&Id>> = answers
        .messages()
        .iter()
        .map(|answer| match answer.kind() {
            Kind::Response { id } => id.as_ref(),
            other => panic!("a refusal is a response, not {other:?}"),
        })
        .collect();
    if ids.is_empty() {
        assert_eq!(answered, [None]);
    } else {
        assert!(answered.into_iter().eq(ids.iter().map(Some)));
    }
}

/// A name survives the header that carries it.
fn round_trip(text: &str) {
    let wire = headers::encode(text);
    let value = HeaderValue::from_str(&wire).expect("what is encoded fits a header");
    assert_eq!(value.to_str().ok().and_then(headers::decode).as_deref(), Some(text));
}
