//! An OpenID Connect issuer: discovery, a key set, and tokens signed with ES256 by a key that lives as long as the test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::authority::{Authority, listen, serve};

/// The audience that the gateways under test accept.
pub const AUDIENCE: &str = "sluice-tests";

/// The running issuer; ended when dropped.
#[derive(Debug)]
pub struct Issuer {
    /// Its identifier, a URL.
    pub url: String,
    signing: Arc<Mutex<Signing>>,
    further: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// The key of the day.
#[derive(Debug)]
struct Signing {
    key: EcdsaKeyPair,
    name: String,
}

impl Signing {
    fn new(name: String) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        Self { key, name }
    }

    /// As a key set has it.
    fn public(&self) -> Value {
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64URL_NOPAD.encode(&point[1..33]), BASE64URL_NOPAD.encode(&point[33..65]));
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.name, "x": x, "y": y })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    /// Starts it with a key of its own; over TLS where an authority vouches for it.
    pub async fn start(authority: Option<&Authority>) -> Self {
        let signing = Arc::new(Mutex::new(Signing::new("test".to_owned())));
        let (listener, tls, url) = listen(authority).await;
        let discovery = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        });
        let shown = Arc::clone(&signing);
        let (further, asked): (Arc<Mutex<Vec<Value>>>, Arc<AtomicU64>) = Default::default();
        let (published, counted) = (Arc::clone(&further), Arc::clone(&asked));
        let task = serve(listener, tls, move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = match request.uri().path() {
                "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                    Some(discovery.clone())
                }
                "/keys" => {
                    let mut keys = published.lock().unwrap().clone();
                    keys.push(shown.lock().unwrap().public());
                    Some(json!({ "keys": keys }))
                }
                _ => None,
            };
            std::future::ready(respond(answer))
        });
        Self { url, signing, further, asked, task }
    }

    /// Signs with another key from now on, and vouches for the old one no longer.
    pub fn turn_keys(&self) {
        let mut signing = self.signing.lock().unwrap();
        let name = format!("{}-next", signing.name);
        *signing = Signing::new(name);
    }

    /// Publishes these keys beside its own.
    pub fn publish(&self, keys: Vec<Value>) {
        *self.further.lock().unwrap() = keys;
    }

    /// How often anything was asked of it.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Its public key, as its key set has it.
    pub fn public(&self) -> Value {
        self.signing.lock().unwrap().public()
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "JWT", "kid": self.signing.lock().unwrap().name })
    }

    /// Signs whatever this is.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signing = self.signing.lock().unwrap();
        compact(header, claims, |message| signing.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }

    /// A token for this user, good for this many seconds from now (negative: past its time), with these claims over the usual ones.
    pub fn token(&self, user: &str, groups: &[&str], seconds: i64, claims: &Value) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let mut body = json!({
            "iss": self.url, "sub": user, "email": user, "email_verified": true, "groups": groups, "aud": AUDIENCE,
            "iat": now.min(now + seconds), "exp": now + seconds,
        });
        for (name, value) in claims.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.sign(&self.header().to_string(), &body.to_string())
    }
}

/// A compact JWS (RFC 7515) of these parts with this signature.
pub fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: &[u8]| BASE64URL_NOPAD.encode(part);
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn respond(answer: Option<Value>) -> Response<Full<Bytes>> {
    let status = if answer.is_some() { 200 } else { 404 };
    let body = Full::new(Bytes::from(answer.unwrap_or_default().to_string()));
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}
