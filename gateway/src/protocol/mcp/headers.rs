//! The headers that repeat the body (revision 2026-07-28), which must agree with it.

use super::message::Message;
use super::{REVISIONS, STATELESS};
use http::HeaderMap;
use std::borrow::Cow;
use thiserror::Error;

/// The header with the revision.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The header with the method.
pub const METHOD: &str = "mcp-method";
/// The header with the tool's or prompt's name, or the resource's URI.
pub const NAME: &str = "mcp-name";
/// What the names of headers with arguments begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// The header with the session's id (revisions before 2026-07-28).
pub const SESSION_ID: &str = "mcp-session-id";

/// The code of the specification for headers that don't agree with the body.
pub const HEADER_MISMATCH: i64 = -32020;
/// The code of the specification for a request that needs more than the client says it can do.
pub const MISSING_CAPABILITY: i64 = -32021;
/// The code of the specification for a revision that the server doesn't speak.
pub const UNSUPPORTED_REVISION: i64 = -32022;

/// A header and the body disagree, or a header can't be read. Carries no value of either.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// They say different things.
    #[error("the header `{0}` and the body disagree")]
    Mismatch(&'static str),
    /// A required header is missing.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// Not visible ASCII, given twice, or not decodable base64 of UTF-8.
    #[error("the header `{0}` can't be read")]
    Unreadable(&'static str),
    /// A revision that is not spoken here.
    #[error("the header `{PROTOCOL_VERSION}` names a revision that is not known")]
    Revision,
}

/// The value of a header that may be wrapped as `=?base64?…?=`. None where it can't be decoded.
#[must_use]
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    let prefix = value.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("=?base64?"));
    let Some(inner) = prefix.then(|| value[9..].strip_suffix("?=")).flatten() else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = data_encoding::BASE64.decode(inner.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The value as a header may carry it: as it stands where that is safe, wrapped as `=?base64?…?=` otherwise.
#[must_use]
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t');
    if plain && value.trim() == value && !value.starts_with("=?") {
        return value.to_owned();
    }
    format!("=?base64?{}?=", data_encoding::BASE64.encode(value.as_bytes()))
}

/// The single value of a header, decoded.
///
/// # Errors
/// [`HeaderError::Unreadable`] where it is given twice or can't be decoded.
pub fn single(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderError::Unreadable(name));
    }
    let text = value.to_str().map_err(|_| HeaderError::Unreadable(name))?;
    decode(text).map(|text| Some(text.into_owned())).ok_or(HeaderError::Unreadable(name))
}

/// The revision of a request: the header's, then the body's, then 2025-03-26 as the specification says. A revision that
/// nobody here knows is for the server to refuse, which knows what it speaks; but never together with a session, whose
/// binding depends on the revision.
///
/// # Errors
/// [`HeaderError::Revision`] for a header that names no revision, or an unknown one together with a session,
/// [`HeaderError::Mismatch`] where header and body differ.
pub fn revision(headers: &HeaderMap, message: Option<&Message>) -> Result<String, HeaderError> {
    let header = single(headers, PROTOCOL_VERSION)?;
    let odd = |revision: &str| !is_date(revision) && (headers.contains_key(SESSION_ID) || !is_word(revision));
    if header.as_deref().is_some_and(odd) {
        return Err(HeaderError::Revision);
    }
    let body = message.and_then(Message::revision);
    let handshake = message.is_some_and(Message::is_handshake);
    match (header, body) {
        (Some(header), Some(body)) if header != body && !handshake => Err(HeaderError::Mismatch(PROTOCOL_VERSION)),
        (Some(header), _) => Ok(header),
        (None, Some(body)) => Ok(body.to_owned()),
        (None, None) => Ok(REVISIONS[1].to_owned()),
    }
}

/// True for revisions without sessions.
#[must_use]
pub fn is_stateless(revision: &str) -> bool {
    revision >= STATELESS
}

/// True for the revisions that the specification has so far.
#[must_use]
pub fn is_known(revision: &str) -> bool {
    REVISIONS.contains(&revision)
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
}

/// Checks that `Mcp-Method` and `Mcp-Name` say what the body says. `required`: they and `MCP-Protocol-Version` must be
/// there where the revision asks for them; a server that reads only the body may leave that to another one.
///
/// # Errors
/// A [`HeaderError`]: the message must not be acted on.
pub fn agree(headers: &HeaderMap, message: &Message, required: bool) -> Result<(), HeaderError> {
    if required && !headers.contains_key(PROTOCOL_VERSION) {
        return Err(HeaderError::Missing(PROTOCOL_VERSION));
    }
    let body = [(METHOD, message.method()), (NAME, message.subject())];
    for (name, body) in body {
        let expected =
            name == METHOD || matches!(message.method(), Some("tools/call" | "prompts/get" | "resources/read"));
        match (single(headers, name)?, body) {
            (Some(header), Some(body)) if header == body => {}
            (Some(_), Some(_)) => return Err(HeaderError::Mismatch(name)),
            (Some(_), None) if name == METHOD || expected => return Err(HeaderError::Mismatch(name)),
            (None, Some(_)) if required && expected => return Err(HeaderError::Missing(name)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mcp::message::Body;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn call() -> Message {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wörld"}}"#;
        Body::parse(Bytes::from_static(text.as_bytes()), 999).unwrap().messages()[0].clone()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn headers_that_disagree_with_the_body_are_refused() {
        let name = encode("wörld");
        let all = [(PROTOCOL_VERSION, STATELESS), (METHOD, "tools/call"), (NAME, name.as_str())];
        assert!(agree(&headers(&all), &call(), true).is_ok());
        assert_eq!(agree(&headers(&[(METHOD, "tools/list")]), &call(), false), Err(HeaderError::Mismatch(METHOD)));
        assert_eq!(agree(&headers(&[(NAME, "other")]), &call(), false), Err(HeaderError::Mismatch(NAME)));
        assert_eq!(agree(&headers(&[(NAME, "=?base64?!?=")]), &call(), false), Err(HeaderError::Unreadable(NAME)));
        let twice = headers(&[(METHOD, "tools/call"), (METHOD, "tools/call")]);
        assert_eq!(agree(&twice, &call(), false), Err(HeaderError::Unreadable(METHOD)));
        assert!(agree(&HeaderMap::new(), &call(), false).is_ok());
        assert_eq!(agree(&HeaderMap::new(), &call(), true), Err(HeaderError::Missing(PROTOCOL_VERSION)));
        let versioned = headers(&[(PROTOCOL_VERSION, STATELESS)]);
        assert_eq!(agree(&versioned, &call(), true), Err(HeaderError::Missing(METHOD)));
    }

    #[test]
    fn the_revision_of_an_older_client_is_the_one_the_specification_assumes() {
        assert_eq!(revision(&HeaderMap::new(), Some(&call())).unwrap(), "2025-03-26");
        assert_eq!(revision(&headers(&[(PROTOCOL_VERSION, "no word")]), None), Err(HeaderError::Revision));
        assert!(is_stateless("2026-07-28") && !is_stateless("2025-11-25"));
    }

    #[test]
    fn an_unknown_revision_is_the_servers_to_refuse_but_not_within_a_session() {
        assert_eq!(revision(&headers(&[(PROTOCOL_VERSION, "v999.0.0")]), None).unwrap(), "v999.0.0");
        let carried = headers(&[(PROTOCOL_VERSION, "v999.0.0"), (SESSION_ID, "1")]);
        assert_eq!(revision(&carried, None), Err(HeaderError::Revision));
    }

    proptest! {
        #[test]
        fn every_name_survives_its_header(name in "\\PC{0,30}") {
            let wire = encode(&name);
            prop_assert!(wire.parse::<http::HeaderValue>().is_ok());
            prop_assert_eq!(decode(&wire).unwrap(), name);
        }
    }
}
