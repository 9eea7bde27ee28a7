//! OAUTHBEARER (RFC 7628) as a server: the token in a SASL exchange, as PostgreSQL 18's clients send it.

use super::frame::message;
use super::read::{Malformed, Reader};
use bytes::Bytes;

const MECHANISM: &[u8] = b"OAUTHBEARER";
/// Between the parts of what a client says.
const SEPARATOR: u8 = 1;

/// What a client says first.
#[derive(Clone, PartialEq, Eq)]
pub enum Initial {
    /// Its token.
    Token(String),
    /// Nothing yet: it asks where tokens are to be had.
    Discovery,
}

impl std::fmt::Debug for Initial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Discovery => "Discovery",
        })
    }
}

/// AuthenticationSASL that offers this mechanism alone.
#[must_use]
pub fn offer() -> Bytes {
    message(b'R', &[&10_u32.to_be_bytes(), MECHANISM, &[0, 0]].concat())
}

/// Reads the body of a SASLInitialResponse.
///
/// # Errors
/// [`Malformed`]: it is none, is for another mechanism, wants to act as somebody else or to be bound to a channel, or holds no
/// bearer token in one place.
pub fn initial(body: Bytes) -> Result<Initial, Malformed> {
    let mut body = Reader(body);
    if body.text()? != MECHANISM {
        return Err(Malformed);
    }
    let said = body.value()?.ok_or(Malformed)?;
    body.end()?;
    // The header of GS2: no binding to a channel, and nobody else to act as.
    let pairs = said.strip_prefix(b"n,,\x01").or_else(|| said.strip_prefix(b"y,,\x01")).ok_or(Malformed)?;
    let mut pairs = pairs.strip_suffix(&[SEPARATOR]).ok_or(Malformed)?;
    let mut found = None;
    while !pairs.is_empty() {
        let end = memchr::memchr(SEPARATOR, pairs).ok_or(Malformed)?;
        if let Some(value) = pairs[..end].strip_prefix(b"auth=") {
            let value = std::str::from_utf8(value).map_err(|_| Malformed)?;
            if found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        pairs = &pairs[end + 1..];
    }
    match found.ok_or(Malformed)? {
        "" => Ok(Initial::Discovery),
        value => {
            let (scheme, token) = value.split_once(' ').ok_or(Malformed)?;
            let token = token.trim_start_matches(' ');
            if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
                return Err(Malformed);
            }
            Ok(Initial::Token(token.to_owned()))
        }
    }
}

/// What a client without a good token hears before the error: where there are tokens. It answers with one byte.
#[must_use]
pub fn challenge(issuer: Option<&str>) -> Bytes {
    let mut told = serde_json::json!({ "status": "invalid_token" });
    if let Some(issuer) = issuer {
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        told["openid-configuration"] = place.into();
        told["scope"] = "openid".into();
    }
    message(b'R', &[&11_u32.to_be_bytes(), told.to_string().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mechanism: &str, said: &[u8]) -> Result<Initial, Malformed> {
        let length = u32::try_from(said.len()).unwrap().to_be_bytes();
        initial([mechanism.as_bytes(), &[0], &length, said].concat().into())
    }

    #[test]
    fn a_token_is_taken_from_where_the_rfc_puts_it() {
        let token = |text: &str| Ok(Initial::Token(text.to_owned()));
        assert_eq!(said("OAUTHBEARER", b"n,,\x01auth=Bearer a.b.c\x01\x01"), token("a.b.c"));
        assert_eq!(said("OAUTHBEARER", b"y,,\x01host=h\x01auth=bearer  t\x01port=1\x01\x01"), token("t"));
        assert_eq!(said("OAUTHBEARER", b"n,,\x01auth=\x01\x01"), Ok(Initial::Discovery));
        assert!(!format!("{:?}", Initial::Token("secret".into())).contains("secret"));
    }

    #[test]
    fn what_is_not_as_the_rfc_says_is_refused() {
        for wrong in [
            &b"n,,\x01auth=Bearer t\x01"[..],
            b"n,,auth=Bearer t\x01\x01",
            b"p=tls-server-end-point,,\x01auth=Bearer t\x01\x01",
            b"n,a=root,\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Basic t\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            b"n,,\x01host=h\x01\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
            b"n,,\x01\x01",
            b"n,,\x01",
            b"",
        ] {
            assert_eq!(said("OAUTHBEARER", wrong), Err(Malformed), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(said("SCRAM-SHA-256", b"n,,\x01auth=Bearer t\x01\x01"), Err(Malformed));
        assert_eq!(initial(Bytes::from_static(b"OAUTHBEARER\0\xff\xff\xff\xff")), Err(Malformed));
    }

    #[test]
    fn a_client_without_a_token_is_told_where_to_get_one() {
        let told = challenge(Some("https://login.example.org/"));
        let text: serde_json::Value = serde_json::from_slice(&told[9..]).unwrap();
        assert_eq!(text["openid-configuration"], "https://login.example.org/.well-known/openid-configuration");
        assert_eq!(text["status"], "invalid_token");
    }
}
