//! One body of a client or line of a server: a JSON-RPC 2.0 message, or a batch of them, read strictly.

use super::{CAPABILITIES_META, PURPOSE_META, SUBSCRIPTION_META, VERSION_META, headers};
use crate::strict::{REPEATED, Strict};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// Why a body is not read. No variant carries bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Longer than the cap.
    #[error("the body is longer than {cap} bytes")]
    TooLong {
        /// The cap, in bytes.
        cap: usize,
    },
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not JSON (RFC 8259), or nested deeper than 128.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// An object names a member twice: two readers could understand it differently.
    #[error("an object of the body names a member twice")]
    Repeated,
    /// JSON, but not JSON-RPC 2.0.
    #[error("the body is not a JSON-RPC 2.0 message: {0}")]
    NotRpc(&'static str),
}

impl MessageError {
    /// The code of JSON-RPC 2.0 for it.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::NotUtf8 | Self::NotJson { .. } => -32700,
            Self::TooLong { .. } | Self::Repeated | Self::NotRpc(_) => -32600,
        }
    }
}

/// The id of a request. Keeps its type and its spelling; compared by value.
#[derive(Clone)]
pub struct Id {
    raw: Box<str>,
    key: Box<str>,
}

impl Id {
    fn parse(raw: &str) -> Option<Self> {
        match serde_json::from_str::<Value>(raw).ok()? {
            value @ (Value::String(_) | Value::Number(_)) => {
                Some(Self { raw: raw.into(), key: value.to_string().into() })
            }
            _ => None,
        }
    }

    /// The id as it was written, as JSON.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The same for every spelling of the same id; a string and a number differ.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Id {}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.raw)
    }
}

/// What kind of message it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Expects an answer with the same id.
    Request {
        /// Its id.
        id: Id,
        /// Its method.
        method: String,
    },
    /// Expects none.
    Notification {
        /// Its method.
        method: String,
    },
    /// A result or an error. The id is None where it is null or missing.
    Response {
        /// The id of the request it answers.
        id: Option<Id>,
    },
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    raw: Bytes,
    kind: Kind,
    params: Value,
}

/// What is read for.
#[derive(Clone, Copy)]
enum Reading {
    /// To decide about it: nothing may be open to two readings.
    Strict,
    /// To find whom it belongs to: the id must not be given twice, all else is the receiver's to read.
    Routing,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

impl Message {
    fn read(raw: Bytes, reading: Reading) -> Result<Self, MessageError> {
        let text = std::str::from_utf8(&raw).map_err(|_| MessageError::NotUtf8)?;
        let value = match reading {
            Reading::Strict => serde_json::from_str(text).map(|Strict(value)| value),
            Reading::Routing => serde_json::from_str(text),
        };
        let value = value.map_err(|error| json_error(&error))?;
        let Value::Object(mut members) = value else {
            return Err(MessageError::NotRpc("a message is an object"));
        };
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(MessageError::NotRpc("`jsonrpc` must be \"2.0\""));
        }
        let head: Head<'_> = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        let id = head
            .id
            .map(|raw| Id::parse(raw.get()).ok_or(MessageError::NotRpc("`id` must be a string or a number")))
            .transpose()?;
        let answers = members.contains_key("result") || members.contains_key("error");
        let kind = match (members.remove("method"), id) {
            (Some(Value::String(_)), _) if answers => {
                return Err(MessageError::NotRpc("a message has either a method or a result"));
            }
            (Some(Value::String(method)), Some(id)) => Kind::Request { id, method },
            (Some(Value::String(_)), None) if members.contains_key("id") => {
                return Err(MessageError::NotRpc("the `id` of a request must not be null"));
            }
            (Some(Value::String(method)), None) => Kind::Notification { method },
            (Some(_), _) => return Err(MessageError::NotRpc("`method` must be a string")),
            (None, id) if answers => Kind::Response { id },
            (None, _) => return Err(MessageError::NotRpc("it has neither a method nor a result")),
        };
        let params = members.remove("params").unwrap_or(Value::Null);
        Ok(Self { raw, kind, params })
    }

    /// The bytes of this message alone, as they came.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// What kind of message it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The id of a request.
    #[must_use]
    pub fn request_id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The method of a request or notification.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The member `params`; null where it is missing.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// The name of the tool that is called.
    #[must_use]
    pub fn tool_name(&self) -> Option<&str> {
        self.named("tools/call", "name")
    }

    /// The arguments of the tool that is called.
    #[must_use]
    pub fn tool_args(&self) -> Option<&Value> {
        (self.method() == Some("tools/call")).then(|| self.params.get("arguments")).flatten()
    }

    /// The URI of the resource that is read, watched or completed.
    #[must_use]
    pub fn resource_uri(&self) -> Option<&str> {
        match self.method()? {
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.params.get("uri")?.as_str(),
            "completion/complete" => self.params.get("ref")?.get("uri")?.as_str(),
            _ => None,
        }
    }

    /// The name of the prompt that is got or completed.
    #[must_use]
    pub fn prompt_name(&self) -> Option<&str> {
        match self.method()? {
            "prompts/get" => self.params.get("name")?.as_str(),
            "completion/complete" => self.params.get("ref")?.get("name")?.as_str(),
            _ => None,
        }
    }

    /// What the message is about: a tool, a prompt or a resource.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.tool_name().or_else(|| self.prompt_name()).or_else(|| self.resource_uri())
    }

    /// The purpose that `_meta` gives.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.meta(PURPOSE_META)?.as_str()
    }

    /// True for the `initialize` that opens a session: one of a revision without sessions is a request like any other,
    /// to a method that isn't there.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        let stateless = || self.meta(VERSION_META).and_then(Value::as_str).is_some_and(headers::is_stateless);
        self.method() == Some("initialize") && !stateless()
    }

    /// The revision: of `_meta`, or of an `initialize` request.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        if self.is_handshake() {
            return self.params.get("protocolVersion")?.as_str();
        }
        self.meta(VERSION_META)?.as_str()
    }

    /// Whether the client shows its user links of the server (elicitation in the mode `url`): as it says when it opens a session,
    /// or with each request since 2026-07-28.
    #[must_use]
    pub fn takes_links(&self) -> bool {
        let says = if self.is_handshake() { self.params.get("capabilities") } else { self.meta(CAPABILITIES_META) };
        says.and_then(|says| says.get("elicitation")?.get("url")).is_some_and(Value::is_object)
    }

    /// What every request has to carry in `_meta` since 2026-07-28 and this one doesn't.
    #[must_use]
    pub fn missing_meta(&self) -> Option<&'static str> {
        let is_there = |name, shape: fn(&Value) -> bool| self.meta(name).is_some_and(shape);
        match () {
            () if !is_there(VERSION_META, Value::is_string) => Some(VERSION_META),
            () if !is_there(CAPABILITIES_META, Value::is_object) => Some(CAPABILITIES_META),
            () => None,
        }
    }

    /// The progress token of a request (in `_meta`) or of a progress notification, as JSON.
    #[must_use]
    pub fn progress_token(&self) -> Option<String> {
        let token = match self.method() {
            Some("notifications/progress") => self.params.get("progressToken"),
            _ => self.meta("progressToken"),
        };
        token.filter(|value| value.is_string() || value.is_number()).map(Value::to_string)
    }

    /// The id of the `subscriptions/listen` request that a notification belongs to (revision 2026-07-28).
    #[must_use]
    pub fn subscription(&self) -> Option<&Value> {
        self.meta(SUBSCRIPTION_META)
    }

    fn meta(&self, member: &str) -> Option<&Value> {
        self.params.get("_meta")?.get(member)
    }

    fn named(&self, method: &str, member: &str) -> Option<&str> {
        (self.method() == Some(method)).then(|| self.params.get(member)?.as_str()).flatten()
    }
}

/// A body: one message, or several (revision 2025-03-26).
#[derive(Clone, Debug)]
pub struct Body {
    raw: Bytes,
    batch: bool,
    messages: Vec<Message>,
}

impl Body {
    /// Reads a body of at most `cap` bytes.
    ///
    /// # Errors
    /// A [`MessageError`]: no part of the body may be acted on.
    pub fn parse(raw: Bytes, cap: usize) -> Result<Self, MessageError> {
        Self::read(raw, cap, Reading::Strict)
    }

    /// Reads a line of a server, to find the request it belongs to. Members named twice are left to the client, as the
    /// server wrote them; an id named twice is refused.
    ///
    /// # Errors
    /// A [`MessageError`]: nobody can be said to be meant.
    pub fn parse_for_routing(raw: Bytes, cap: usize) -> Result<Self, MessageError> {
        Self::read(raw, cap, Reading::Routing)
    }

    fn read(raw: Bytes, cap: usize, reading: Reading) -> Result<Self, MessageError> {
        if raw.len() > cap {
            return Err(MessageError::TooLong { cap });
        }
        let text = std::str::from_utf8(&raw).map_err(|_| MessageError::NotUtf8)?;
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            let message = Message::read(raw.clone(), reading)?;
            return Ok(Self { raw, batch: false, messages: vec![message] });
        }
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        if items.is_empty() {
            return Err(MessageError::NotRpc("a batch must not be empty"));
        }
        let messages = items
            .iter()
            .map(|item| Message::read(raw.slice_ref(item.get().as_bytes()), reading))
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys: Vec<&str> = messages.iter().filter_map(Message::request_id).map(Id::key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(MessageError::NotRpc("two requests of a batch have the same id"));
        }
        Ok(Self { raw, batch: true, messages })
    }

    /// The bytes, as they came.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// True for a batch, also of one message.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.batch
    }

    /// The messages, in their order; at least one.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The ids of the requests, in their order.
    pub fn request_ids(&self) -> impl Iterator<Item = &Id> {
        self.messages.iter().filter_map(Message::request_id)
    }
}

/// The message without these members of its `params`; their other members are as they were written. None where `params` is no
/// object.
#[must_use]
pub fn without_params(message: &Bytes, names: &[&str]) -> Option<Bytes> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(message).ok()?;
    let params: Members<'_> = serde_json::from_str(members.get("params")?.get()).ok()?;
    let kept = params.0.iter().filter(|(name, _)| !names.contains(&name.as_ref()));
    let kept: Vec<String> =
        kept.map(|(name, value)| format!("{}:{}", Value::from(name.as_ref()), value.get())).collect();
    with_member(message, &["params"], &format!("{{{}}}", kept.join(",")))
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The code of an error response.
#[must_use]
pub fn error_code(message: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Response {
        error: Option<Coded>,
    }
    #[derive(Deserialize)]
    struct Coded {
        code: i64,
    }
    serde_json::from_slice::<Response>(message).ok()?.error.map(|error| error.code)
}

/// The message with another value, given as JSON, in place of the member that `path` leads to; all other bytes stay. None
/// where there is no such member.
#[must_use]
pub fn with_member(message: &Bytes, path: &[&str], value: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(message).ok()?;
    let mut old: &RawValue = serde_json::from_str(text).ok()?;
    for name in path {
        let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(old.get()).ok()?;
        old = members.get(*name)?;
    }
    let at = old.get().as_ptr() as usize - text.as_ptr() as usize;
    Some(Bytes::from([&text[..at], value, &text[at + old.get().len()..]].concat()))
}

fn json_error(error: &serde_json::Error) -> MessageError {
    if error.to_string().starts_with(REPEATED) {
        return MessageError::Repeated;
    }
    MessageError::NotJson { line: error.line(), column: error.column() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Body, MessageError> {
        Body::parse(Bytes::copy_from_slice(text.as_bytes()), 4096)
    }

    fn one(text: &str) -> Message {
        parse(text).unwrap().messages()[0].clone()
    }

    #[test]
    fn an_id_keeps_its_type_and_its_spelling() {
        let number = one(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        let string = one(r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#);
        let escaped = one(r#"{"jsonrpc":"2.0","id":"\u0031","method":"ping"}"#);
        assert_eq!(number.request_id().unwrap().raw(), "1");
        assert_eq!(escaped.request_id().unwrap().raw(), r#""\u0031""#);
        assert_ne!(number.request_id(), string.request_id());
        assert_eq!(string.request_id(), escaped.request_id());
    }

    #[test]
    fn a_member_named_twice_is_refused_at_every_depth_and_in_every_spelling() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","\u006dethod":"b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"q":{"x":1,"x":2}}}}"#,
            r#"[{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}]"#,
        ] {
            assert_eq!(parse(text).unwrap_err(), MessageError::Repeated, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_json_rpc_message_is_refused() {
        for text in [
            "",
            " ",
            "[]",
            "1",
            "null",
            "{}",
            "[1]",
            "{",
            r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a"} {"jsonrpc":"2.0","id":2,"method":"a"}"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":1,"method":"b"}]"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(Body::parse(Bytes::from_static(b"\"\xff\""), 9).unwrap_err(), MessageError::NotUtf8);
        assert_eq!(Body::parse(Bytes::from_static(b"[[[[[["), 5).unwrap_err(), MessageError::TooLong { cap: 5 });
    }

    #[test]
    fn a_batch_keeps_the_bytes_of_each_message() {
        let body = parse(r#" [ {"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","method":"n"} ] "#).unwrap();
        assert!(body.is_batch());
        assert_eq!(&body.messages()[0].raw()[..], br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        assert_eq!(&body.messages()[1].raw()[..], br#"{"jsonrpc":"2.0","method":"n"}"#);
        assert_eq!(body.request_ids().count(), 1);
    }

    #[test]
    fn what_a_policy_reads_is_found() {
        let call = one(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"query","arguments":{"sql":"select 1"},
               "_meta":{"dev.sluice/purpose":"ticket 7","progressToken":"t","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert_eq!(call.tool_name(), Some("query"));
        assert_eq!(call.tool_args().unwrap()["sql"], "select 1");
        assert_eq!(call.purpose(), Some("ticket 7"));
        assert_eq!(call.revision(), Some("2026-07-28"));
        assert_eq!(call.progress_token().as_deref(), Some("\"t\""));
        let read = one(r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://a"}}"#);
        assert_eq!((read.resource_uri(), read.tool_name()), (Some("test://a"), None));
        let get = one(r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}"#);
        assert_eq!((get.prompt_name(), get.subject()), (Some("p"), Some("p")));
    }

    #[test]
    fn a_line_of_a_server_may_repeat_members_but_not_its_id() {
        let line = |text: &'static str| Body::parse_for_routing(Bytes::from_static(text.as_bytes()), 999);
        assert!(line(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#).is_ok());
        assert!(line(r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#).is_err());
        assert!(line(r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"result":{}}"#).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Body::parse(Bytes::from(bytes), 4096);
        }

        #[test]
        fn every_method_and_id_is_read_back(method in "\\PC{0,20}", id in "\\PC{0,20}") {
            let text = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method}).to_string();
            let message = one(&text);
            prop_assert_eq!(message.method(), Some(method.as_str()));
            prop_assert_eq!(message.request_id().unwrap().raw(), serde_json::to_string(&id).unwrap());
        }
    }
}
