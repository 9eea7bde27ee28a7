//! What a token says about its holder, for that holder to read. Nothing is decided by it: the gateway checks tokens, not this.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Who a token says it is for, where it is a JWT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    /// The email unless it is unverified, else the subject.
    pub(super) user: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) groups: Vec<String>,
}

/// Whether a token is a JWT, which is what the gateway can check.
pub(super) fn is_jwt(token: &str) -> bool {
    claims(token).is_some()
}

/// Who a token is for; of one that is no JWT nothing is known.
pub(super) fn holder(token: &str) -> Holder {
    let Some(claims) = claims(token) else { return Holder::default() };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let email = text("email").filter(|_| claims.get("email_verified") != Some(&Value::Bool(false)));
    let groups = match claims.get("groups") {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(group)) => vec![group.clone()],
        _ => Vec::new(),
    };
    Holder { user: email.or_else(|| text("sub")), subject: text("sub"), groups }
}

/// When a token expires, where it is a JWT that says so.
pub(super) fn expiry(token: &str) -> Option<Timestamp> {
    claims(token)?.get("exp").and_then(Value::as_i64).and_then(|second| Timestamp::from_second(second).ok())
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    match serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?) {
        Ok(Value::Object(claims)) => Some(claims),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()))
    }

    #[test]
    fn a_token_tells_who_holds_it_and_an_unverified_email_is_no_name() {
        let ada = json!({ "sub": "7", "email": "ada@example.org", "groups": ["dev", "ops"], "exp": 1_900_000_000 });
        let held = holder(&token(&ada));
        assert_eq!((held.user.as_deref(), held.subject.as_deref()), (Some("ada@example.org"), Some("7")));
        assert_eq!(held.groups, ["dev", "ops"]);
        assert_eq!(expiry(&token(&ada)), Timestamp::from_second(1_900_000_000).ok());
        let unverified = json!({ "sub": "7", "email": "ada@example.org", "email_verified": false, "groups": "dev" });
        let held = holder(&token(&unverified));
        assert_eq!((held.user.as_deref(), held.groups.as_slice()), (Some("7"), &["dev".to_owned()][..]));
        for opaque in ["", "opaque", "a.b", "a.b.c", "a.b.c.d"] {
            assert!(!is_jwt(opaque) && holder(opaque) == Holder::default(), "{opaque}");
        }
    }
}
