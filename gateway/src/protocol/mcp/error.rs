//! Refusals in the protocol's own words: JSON-RPC errors, and events that carry them.

use super::message::Id;
use bytes::Bytes;
use serde_json::{Value, json};

/// The code of JSON-RPC 2.0 for a method that isn't there.
pub const METHOD_NOT_FOUND: i64 = -32601;

/// Codes of this gateway, from -32000 to -32019; those from -32020 belong to the specification.
pub mod code {
    /// A rule refuses the request or its response.
    pub const REFUSED: i64 = -32000;
    /// The record of the request can't be made durable.
    pub const EVIDENCE: i64 = -32001;
    /// The upstream can't be reached, broke off, or sent what can't be read.
    pub const UPSTREAM: i64 = -32002;
    /// The connection needs a purpose.
    pub const PURPOSE: i64 = -32003;
    /// The session is not known, or another identity's.
    pub const SESSION: i64 = -32004;
    /// The request would need an approval.
    pub const APPROVAL: i64 = -32005;
    /// Too much is open or held back.
    pub const BUSY: i64 = -32006;
    /// The caller may not do this.
    pub const FORBIDDEN: i64 = -32007;
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The JSON-RPC code.
    pub code: i64,
    /// What the caller can do about it. Never a value of the request.
    pub message: String,
    /// The rule, its id and its pack, where a rule refuses.
    pub data: Option<Value>,
}

impl Refusal {
    /// A refusal that no rule made.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// A refusal by a rule.
    #[must_use]
    pub fn by_rule(code: i64, name: &str, id: Option<&str>, pack: &str, message: Option<&str>) -> Self {
        let message = match message.filter(|message| !message.is_empty()) {
            Some(message) => format!("refused by rule `{name}`: {message}"),
            None => format!("refused by rule `{name}`"),
        };
        Self { code, message, data: Some(json!({ "rule": name, "id": id, "pack": pack })) }
    }

    /// The answer to the request with this id; None: `null`, as for a request that can't be read.
    #[must_use]
    pub fn answer(&self, id: Option<&Id>) -> Bytes {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        let id = id.map_or("null", Id::raw);
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
    }

    /// The answers to a body: one object, or an array for a batch.
    #[must_use]
    pub fn answers(&self, ids: &[Id], batch: bool) -> Bytes {
        if !batch || ids.is_empty() {
            return self.answer(ids.first());
        }
        let mut out = b"[".to_vec();
        for (at, id) in ids.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.answer(Some(id)));
        }
        out.push(b']');
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mcp::message::Body;

    #[test]
    fn a_refusal_answers_with_the_id_as_it_was_written_and_names_the_rule() {
        let body = Bytes::from_static(
            br#"[{"jsonrpc":"2.0","id":"\u0041","method":"a"},{"jsonrpc":"2.0","id":7,"method":"b"}]"#,
        );
        let body = Body::parse(body, 999).unwrap();
        let ids: Vec<Id> = body.request_ids().cloned().collect();
        let refusal = Refusal::by_rule(code::REFUSED, "no_drop", Some("SQL-1"), "std.sql", Some("ask the DBA"));
        let text = String::from_utf8(refusal.answers(&ids, true).to_vec()).unwrap();
        assert!(text.starts_with(r#"[{"jsonrpc":"2.0","id":"\u0041","error":"#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[1]["id"], 7);
        assert_eq!(value[1]["error"]["message"], "refused by rule `no_drop`: ask the DBA");
        assert_eq!(value[1]["error"]["data"], json!({"rule": "no_drop", "id": "SQL-1", "pack": "std.sql"}));
    }
}
