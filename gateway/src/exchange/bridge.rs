//! What a server over HTTP checks of a request before it acts on it: asked here where the upstream is a child process, which
//! sees the body alone.

use super::request::{Refused, refused};
use crate::protocol::mcp::error::Refusal;
use crate::protocol::mcp::headers::{self, UNSUPPORTED_REVISION};
use crate::protocol::mcp::message::{Body, Kind};
use crate::protocol::mcp::{REVISIONS, STATELESS};
use http::{HeaderMap, StatusCode};
use serde_json::json;

/// Checks a body of `revision` for a child process.
pub(super) fn check(headers: &HeaderMap, body: &Body, revision: &str) -> Result<(), Refused> {
    let first = &body.messages()[0];
    // `initialize` negotiates: a revision that is not known is answered with one that is.
    if first.is_handshake() {
        return Ok(());
    }
    if !headers::is_known(revision) {
        return Err(unsupported(revision));
    }
    if !headers::is_stateless(revision) {
        return Ok(());
    }
    if body.is_batch() || matches!(first.kind(), Kind::Response { .. }) {
        let message = "a body of this revision is one request or one notification";
        return Err(refused(StatusCode::BAD_REQUEST, -32600, message));
    }
    if first.request_id().is_none() {
        return Ok(());
    }
    if let Some(member) = first.missing_meta() {
        let message = format!("the request needs the member `{member}` of `_meta`");
        return Err(refused(StatusCode::BAD_REQUEST, -32602, message));
    }
    Ok(headers::agree(headers, first, true)?)
}

/// The revisions that a client can ask for in each request; the older ones are agreed on by `initialize`.
fn unsupported(revision: &str) -> Refused {
    let supported: Vec<&str> = REVISIONS.into_iter().filter(|known| *known >= STATELESS).collect();
    let mut refusal = Refusal::new(UNSUPPORTED_REVISION, "this revision of the protocol is not spoken here");
    refusal.data = Some(json!({ "supported": supported, "requested": revision }));
    Refused::new(StatusCode::BAD_REQUEST, refusal)
}
