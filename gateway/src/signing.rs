//! Messages to others that they can tell to be ours: signed as Standard Webhooks 1.0.0 has it, so that receivers find libraries.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http::HeaderName;

/// The shortest secret, in bytes.
const MIN_SECRET: usize = 24;

/// Signs messages with a secret that the receiver has, too. `Debug` doesn't show it.
#[derive(Clone)]
pub struct Signer(Arc<hmac::Key>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// Signs with this secret: text, or base64 behind `whsec_`. None where it is shorter than 24 bytes, or no base64.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let secret = match secret.strip_prefix("whsec_") {
            Some(encoded) => BASE64.decode(encoded.as_bytes()).ok()?,
            None => secret.as_bytes().to_vec(),
        };
        (secret.len() >= MIN_SECRET).then(|| Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))))
    }

    /// The headers of a message: an identifier that is the same each time it is sent, the time in seconds since 1970, and an HMAC-SHA256
    /// over both and the body.
    pub(crate) fn headers(&self, id: &str, at: i64, body: &str) -> [(HeaderName, String); 3] {
        let tag = hmac::sign(&self.0, format!("{id}.{at}.{body}").as_bytes());
        [
            (HeaderName::from_static("webhook-id"), id.to_owned()),
            (HeaderName::from_static("webhook-timestamp"), at.to_string()),
            (HeaderName::from_static("webhook-signature"), format!("v1,{}", BASE64.encode(tag.as_ref()))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and its libraries.
    #[test]
    fn messages_are_signed_as_standard_webhooks_has_it() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_secret_is_none_and_no_secret_is_shown() {
        let long = "0123456789abcdef01234567";
        assert!(["short", "whsec_c2hvcnQ=", "whsec_%"].iter().all(|secret| Signer::new(secret).is_none()));
        assert!(!format!("{:?}", Signer::new(long).unwrap()).contains(long));
    }
}
