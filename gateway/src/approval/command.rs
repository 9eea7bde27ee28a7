//! What is approved: the command in a form in which equal commands are equal, and its hash.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::evidence::canonical;
use crate::protocol::mcp::message::Message;

/// Members of `_meta` that differ from one try of a call to the next and say nothing about what is done.
const PASSING: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
/// What the protocol itself keeps in `_meta`: the client's program, revision and abilities.
const PROTOCOL: &str = "io.modelcontextprotocol/";

/// Statements of which a server can tell what they would touch.
const EXPLAINABLE: [&str; 5] = ["select", "insert", "update", "delete", "merge"];

/// A command that waits for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// `mcp`, `postgres` or `tcp`.
    pub protocol: &'static str,
    /// The protocol's method: `tools/call`, `query`, `execute`.
    pub method: String,
    /// The tool, prompt or URI; the verbs of SQL.
    pub name: Option<String>,
    /// The command as it is shown to approvers: as it would go upstream.
    pub text: String,
    /// What the parser found in it.
    pub facts: Map<String, Value>,
    /// `sha256:` and hexadecimal digits over what is the same whenever the command is.
    pub hash: String,
}

impl Command {
    /// A call of MCP, as it would go upstream.
    #[must_use]
    pub fn mcp(message: &Message) -> Self {
        let method = message.method().unwrap_or_default().to_owned();
        let mut params = message.params().clone();
        if let Some(Value::Object(meta)) = params.get_mut("_meta") {
            meta.retain(|name, _| !PASSING.contains(&name.as_str()) && !name.starts_with(PROTOCOL));
        }
        if let Value::Object(params) = &mut params
            && params.get("_meta").and_then(Value::as_object).is_some_and(Map::is_empty)
        {
            params.remove("_meta");
        }
        let text = canonical(&params);
        let hash = digest(&["mcp", &method, &text]);
        Self { protocol: "mcp", name: message.subject().map(str::to_owned), method, text, facts: Map::new(), hash }
    }

    /// Whether a server can say what it would do, without doing it: one statement that reads or changes rows, whole.
    #[must_use]
    pub fn is_explainable(&self) -> bool {
        let verbs = self.facts.get("verbs").and_then(Value::as_array);
        let known = |verb: &Value| verb.as_str().is_some_and(|verb| EXPLAINABLE.contains(&verb));
        self.method == "query"
            && self.facts.get("statements").and_then(Value::as_u64) == Some(1)
            && verbs.is_some_and(|verbs| !verbs.is_empty() && verbs.iter().all(known))
    }

    /// A connection of bytes to this target.
    #[must_use]
    pub fn connect(target: &str) -> Self {
        Self {
            protocol: "tcp",
            method: "connect".to_owned(),
            name: Some(target.to_owned()),
            text: format!("connect to {target}"),
            facts: Map::new(),
            hash: digest(&["tcp", "connect", target]),
        }
    }

    /// SQL as it would go upstream; with its parameters as they are shown, and the message that has them.
    #[must_use]
    pub fn sql(
        method: &str,
        verbs: Option<String>,
        sql: &str,
        parameters: Option<(&str, &[u8])>,
        facts: Map<String, Value>,
    ) -> Self {
        let (text, exact) = match parameters {
            Some((shown, exact)) => (format!("{sql}\n-- parameters: {shown}"), data_encoding::HEXLOWER.encode(exact)),
            None => (sql.to_owned(), String::new()),
        };
        let hash = digest(&["postgres", method, sql, &exact]);
        Self { protocol: "postgres", method: method.to_owned(), name: verbs, text, facts, hash }
    }
}

/// The hash of texts: no two lists of texts are taken for one another.
pub(super) fn digest(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mcp::message::Body;
    use bytes::Bytes;

    fn hash(params: &str) -> String {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        Command::mcp(&Body::parse(Bytes::from(text), 9_999).unwrap().messages()[0]).hash
    }

    #[test]
    fn a_call_is_the_same_however_it_is_spelt_and_whoever_follows_its_progress() {
        let call = hash(r#"{"name":"drop","arguments":{"table":"a","n":1}}"#);
        assert_eq!(call, hash(r#"{ "arguments": {"n":1, "table":"\u0061"}, "name":"drop" }"#));
        assert_eq!(call, hash(r#"{"name":"drop","arguments":{"table":"a","n":1},"_meta":{"progressToken":7}}"#));
        assert_eq!(
            call,
            hash(
                r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{}},"name":"drop","arguments":{"table":"a","n":1}}"#
            )
        );
    }

    #[test]
    fn any_other_difference_makes_another_call() {
        let call = hash(r#"{"name":"drop","arguments":{"table":"a","n":1}}"#);
        for other in [
            r#"{"name":"drop","arguments":{"table":"b","n":1}}"#,
            r#"{"name":"drop","arguments":{"table":"a","n":1.0}}"#,
            r#"{"name":"drop","arguments":{"table":"a","n":"1"}}"#,
            r#"{"name":"Drop","arguments":{"table":"a","n":1}}"#,
            r#"{"name":"drop","arguments":{"table":"a","n":1},"_meta":{"force":true}}"#,
            r#"{"name":"drop","arguments":{"table":"a","n":1},"inputResponses":{}}"#,
        ] {
            assert_ne!(call, hash(other), "{other}");
        }
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
