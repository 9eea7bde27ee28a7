//! Tokens: none is read with a panic; none is accepted that the issuer's key did not sign, and of those it signed none
//! that is out of time, for another audience, of another kind, or open to two readings.
//!
//! The first line of an input is a header, the second one is claims, the rest is spliced into the signed token.
#![no_main]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluice_fuzz::{json, line_and_rest};
use sluice_gateway::identity::dev::{DEV_AUDIENCE, DEV_ISSUER, DevIssuer, TokenRequest};
use sluice_gateway::identity::{AuthError, Authenticator, Identity, bearer_of};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

const AUDIENCE: &str = "http://127.0.0.1:7700/mcp/crm";

/// An issuer whose key is at hand, so that nothing is fetched, and what it signs.
struct Fixture {
    authenticator: Authenticator,
    key: EcdsaKeyPair,
    good: String,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let data = tempfile::tempdir().expect("a directory for the key");
    let issuer = DevIssuer::open(data.path()).expect("a new key");
    let request = TokenRequest {
        user: "ada@example.org".into(),
        groups: vec!["dev".into()],
        ttl: Duration::from_secs(24 * 3600),
        audience: DEV_AUDIENCE.into(),
        service: false,
    };
    let good = issuer.sign(&request).expect("a day is short enough");
    let authenticator = Authenticator::new(&[]).with_dev_issuer(&issuer);
    let pkcs8 = std::fs::read(data.path().join("dev-issuer.key")).expect("the issuer keeps its key there");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).expect("the issuer's own key");
    let fixture = Fixture { authenticator, key, good };
    assert!(fixture.check(&fixture.good).is_ok(), "a good token is accepted");
    fixture
});

impl Fixture {
    fn check(&self, token: &str) -> Result<Identity, AuthError> {
        let mut answer = pin!(self.authenticator.authenticate(Some(token), AUDIENCE));
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("keys that are at hand are waited for"),
        }
    }

    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let message = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("the key signs");
        format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fuzz_target!(|input: &[u8]| {
    let fixture = &*FIXTURE;
    let (header, rest) = line_and_rest(input);
    let (claims, splice) = line_and_rest(rest);

    // As it came: nobody but the issuer can sign.
    if let Ok(token) = std::str::from_utf8(input) {
        assert!(fixture.check(token.trim()).is_err(), "a token from nowhere is accepted");
    }

    if let Ok(value) = HeaderValue::from_bytes(input) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        if let Ok(token) = bearer_of(&headers) {
            assert!(!token.is_empty() && input.ends_with(token.as_bytes()), "a token that the header doesn't hold");
        }
    }

    // A good token, changed in one place.
    if let [at, cut, with @ ..] = splice {
        let (at, cut) = (usize::from(*at) * fixture.good.len() / 256, usize::from(*cut));
        let end = (at + cut).min(fixture.good.len());
        let changed = format!("{}{}{}", &fixture.good[..at], String::from_utf8_lossy(with), &fixture.good[end..]);
        assert!(changed == fixture.good || fixture.check(&changed).is_err(), "a changed token is accepted");
    }

    // Another header and claims under the good token's signature, and without any.
    let parts: Vec<&str> = fixture.good.split('.').collect();
    let (other_header, other_claims) = (BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
    for stolen in [
        format!("{other_header}.{}.{}", parts[1], parts[2]),
        format!("{}.{other_claims}.{}", parts[0], parts[2]),
        format!("{other_header}.{other_claims}."),
        format!("{other_header}.{}.", parts[1]),
    ] {
        assert!(stolen == fixture.good || fixture.check(&stolen).is_err(), "a signature covers what it doesn't");
    }

    // Whatever the issuer signs is judged by what it says.
    if let Ok(identity) = fixture.check(&fixture.sign(header, claims)) {
        judged(header, claims, &identity);
    }
});

/// An accepted token, read a second time.
fn judged(header: &[u8], claims: &[u8], identity: &Identity) {
    let object = |bytes: &[u8]| {
        let value: Value = serde_json::from_slice(bytes).expect("accepted parts are JSON");
        assert!(value.is_object());
        assert_eq!(json::members(&value), json::colons(bytes), "a name stands twice");
        value
    };
    let (header, claims) = (object(header), object(claims));
    assert_eq!(header["alg"], "ES256");
    for name in ["crit", "b64", "enc", "zip"] {
        assert!(header.get(name).is_none(), "`{name}` is not understood");
    }
    assert_eq!(claims["iss"], DEV_ISSUER);
    assert_eq!(identity.issuer, DEV_ISSUER);
    let for_us = |value: &Value| value == AUDIENCE || value == DEV_AUDIENCE;
    assert!(for_us(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(for_us)));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let skew = 31.0;
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > now - skew), "expired");
    for name in ["nbf", "iat"] {
        if let Some(value) = claims.get(name) {
            assert!(value.as_f64().is_some_and(|from| from < now + skew), "`{name}` lies ahead");
        }
    }
    assert_eq!(claims["sub"].as_str(), Some(identity.subject.as_str()));
    assert!(!identity.subject.is_empty() && !identity.user_id.is_empty());
    assert!(identity.email.is_none() || claims.get("email_verified") != Some(&Value::Bool(false)));
    let printable = |text: &String| !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control);
    assert!([&identity.subject, &identity.user_id].into_iter().chain(&identity.groups).all(printable));
}
