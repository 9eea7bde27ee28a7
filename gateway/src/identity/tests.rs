//! Attacks with tokens, each refused, against a real issuer on a local port.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{
    AuthError, Authenticator, ClaimPath, UserKind,
    dev::{DEV_AUDIENCE, DevIssuer, TokenRequest},
    issuer::{Freshness, Issuer},
};
use crate::config::IssuerConfig;

const AUDIENCE: &str = "http://127.0.0.1:7700/mcp/crm";

/// What it is called, the token, and whether the refusal is the right one.
type Attack = (&'static str, String, fn(&AuthError) -> bool);

/// A key of a test issuer, or of somebody else.
struct Key(EcdsaKeyPair);

impl Key {
    fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn sign(&self, message: &str) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": BASE64URL_NOPAD.encode(&point[1..33]), "y": BASE64URL_NOPAD.encode(&point[33..]),
        })
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), &claims.to_string())
    }

    fn raw(&self, header: &str, claims: &str) -> String {
        signed(header, claims, |message| self.sign(message))
    }
}

fn signed(header: &str, claims: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let message =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
    let signature = BASE64URL_NOPAD.encode(&sign(&message));
    format!("{message}.{signature}")
}

#[derive(Clone)]
struct Documents {
    keys: Arc<Mutex<Value>>,
    discovery: Arc<Mutex<Option<Value>>>,
    status: Arc<Mutex<StatusCode>>,
    fetches: Arc<AtomicUsize>,
}

/// A real issuer: discovery and key set over HTTP.
struct Server {
    url: String,
    documents: Documents,
}

impl Server {
    async fn start(keys: Vec<Value>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let documents = Documents {
            keys: Arc::new(Mutex::new(json!({ "keys": keys }))),
            discovery: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
            fetches: Arc::default(),
        };
        let (discovery, jwks, issuer) = (documents.clone(), documents.clone(), url.clone());
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async move || {
                    let standard = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
                    let document = discovery.discovery.lock().unwrap().clone().unwrap_or(standard);
                    (*discovery.status.lock().unwrap(), document.to_string()).into_response()
                }),
            )
            .route(
                "/keys",
                get(async move || {
                    jwks.fetches.fetch_add(1, Ordering::SeqCst);
                    let keys = jwks.keys.lock().unwrap().to_string();
                    (*jwks.status.lock().unwrap(), keys).into_response()
                }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, documents }
    }

    fn fetches(&self) -> usize {
        self.documents.fetches.load(Ordering::SeqCst)
    }

    fn authenticator(&self) -> Authenticator {
        self.authenticator_with(Freshness::default())
    }

    fn authenticator_with(&self, freshness: Freshness) -> Authenticator {
        Authenticator::new(&[]).with_issuer(Issuer::remote_with(IssuerConfig::new(&self.url), freshness))
    }

    fn claims(&self) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "00u1", "email": "alice@example.com",
            "iat": now, "exp": now + 600, "groups": ["support", "dev", "dev"],
        })
    }
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": "one" })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

#[tokio::test]
async fn a_good_token_gives_the_identity_with_sorted_groups() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let token = key.token(&header(), &server.claims());
    let identity = server.authenticator().authenticate(Some(&token), AUDIENCE).await.unwrap();
    assert_eq!((identity.user_id.as_str(), identity.subject.as_str()), ("alice@example.com", "00u1"));
    assert_eq!(identity.groups, ["dev", "support"]);
    assert_eq!((identity.kind, identity.issuer), (UserKind::Person, server.url));
}

#[tokio::test]
async fn every_forged_or_misused_token_is_refused_for_its_own_reason() {
    let (key, stranger) = (Key::generate(), Key::generate());
    let ed = Ed25519KeyPair::generate().unwrap();
    let server = Server::start(vec![
        key.jwk("one"),
        with(stranger.jwk("encryption"), "use", json!("enc")),
        json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "strange", "kid": "unknown" }),
    ])
    .await;
    let authenticator = server.authenticator();
    let now = jiff::Timestamp::now().as_second();
    let (h, c) = (header, || server.claims());
    let good = key.token(&h(), &c());
    let parts: Vec<&str> = good.split('.').collect();
    let public = key.0.public_key().as_ref().to_vec();
    let hmac_with = |secret: &[u8], alg: &str, kid: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let header = json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string();
        signed(&header, &c().to_string(), |message| hmac::sign(&key, message.as_bytes()).as_ref().to_vec())
    };
    let object = |value: &Value| value.to_string();
    let double = |value: &Value, extra: &str| value.to_string().replacen('{', &format!("{{{extra},"), 1);
    let unsigned = |alg: &str| signed(&object(&with(h(), "alg", json!(alg))), &object(&c()), |_| Vec::new());

    use AuthError as E;
    let attacks: Vec<Attack> = vec![
        ("alg none", unsigned("none"), |e| *e == E::Signature),
        ("alg none with a signature", key.token(&with(h(), "alg", json!("none")), &c()), |e| *e == E::Algorithm),
        ("alg nOnE", key.token(&with(h(), "alg", json!("nOnE")), &c()), |e| *e == E::Algorithm),
        ("alg es256 in lower case", key.token(&with(h(), "alg", json!("es256")), &c()), |e| *e == E::Algorithm),
        ("no alg", key.token(&without(h(), "alg"), &c()), |e| *e == E::Algorithm),
        ("alg as a list", key.token(&with(h(), "alg", json!(["ES256"])), &c()), |e| *e == E::Algorithm),
        ("HS256 keyed with the public key", hmac_with(&public, "HS256", "one"), |e| *e == E::Algorithm),
        ("HS256 keyed with a symmetric key of the set", hmac_with(b"secret", "HS256", "secret"), |e| {
            *e == E::Algorithm
        }),
        ("ES256 by name, HMAC in truth", hmac_with(&public, "ES256", "one"), |e| *e == E::Signature),
        ("RS256 against an EC key", key.token(&with(h(), "alg", json!("RS256")), &c()), |e| *e == E::NoKey),
        (
            "EdDSA against an EC key",
            signed(&object(&with(h(), "alg", json!("EdDSA"))), &object(&c()), |m| {
                ed.sign(m.as_bytes()).as_ref().to_vec()
            }),
            |e| *e == E::NoKey,
        ),
        ("signed by a stranger", stranger.token(&h(), &c()), |e| *e == E::Signature),
        ("embedded jwk of a stranger", stranger.token(&with(h(), "jwk", stranger.jwk("one")), &c()), |e| {
            *e == E::Signature
        }),
        ("jku of a stranger", stranger.token(&with(h(), "jku", json!("http://127.0.0.1:1/keys")), &c()), |e| {
            *e == E::Signature
        }),
        ("x5u of a stranger", stranger.token(&with(h(), "x5u", json!("http://127.0.0.1:1/c")), &c()), |e| {
            *e == E::Signature
        }),
        ("x5c of a stranger", stranger.token(&with(h(), "x5c", json!(["TUlJ"])), &c()), |e| *e == E::Signature),
        ("key for encryption", stranger.token(&with(h(), "kid", json!("encryption")), &c()), |e| *e == E::NoKey),
        ("kid with a path", key.token(&with(h(), "kid", json!("../../../dev/null")), &c()), |e| *e == E::NoKey),
        ("kid with SQL", key.token(&with(h(), "kid", json!("' OR 1=1 --")), &c()), |e| *e == E::NoKey),
        ("kid as a number", key.token(&with(h(), "kid", json!(1)), &c()), |e| matches!(e, E::Malformed(_))),
        ("kid of a megabyte's ambition", key.token(&with(h(), "kid", json!("k".repeat(600))), &c()), |e| {
            matches!(e, E::Malformed(_))
        }),
        ("crit", key.token(&with(h(), "crit", json!(["exp"])), &c()), |e| *e == E::Critical),
        ("crit that is empty", key.token(&with(h(), "crit", json!([])), &c()), |e| *e == E::Critical),
        ("b64 false", key.token(&with(h(), "b64", json!(false)), &c()), |e| *e == E::Critical),
        ("zip", key.token(&with(h(), "zip", json!("DEF")), &c()), |e| matches!(e, E::Malformed(_))),
        ("typ of something else", key.token(&with(h(), "typ", json!("dpop+jwt")), &c()), |e| *e == E::Type),
        ("ID token by at_hash", key.token(&h(), &with(c(), "at_hash", json!("x"))), |e| *e == E::Type),
        ("ID token by token_use", key.token(&h(), &with(c(), "token_use", json!("id"))), |e| *e == E::Type),
        ("refresh token", key.token(&h(), &with(c(), "typ", json!("Refresh"))), |e| *e == E::Type),
        ("another issuer", key.token(&h(), &with(c(), "iss", json!("https://evil.example"))), |e| *e == E::Issuer),
        ("issuer with a slash more", key.token(&h(), &with(c(), "iss", json!(format!("{}/", server.url)))), |e| {
            *e == E::Issuer
        }),
        ("issuer as a list", key.token(&h(), &with(c(), "iss", json!([server.url]))), |e| *e == E::Issuer),
        ("no issuer", key.token(&h(), &without(c(), "iss")), |e| *e == E::Issuer),
        ("another audience", key.token(&h(), &with(c(), "aud", json!("http://127.0.0.1:7700/mcp/hr"))), |e| {
            *e == E::Audience
        }),
        ("audience that only begins alike", key.token(&h(), &with(c(), "aud", json!(format!("{AUDIENCE}2")))), |e| {
            *e == E::Audience
        }),
        ("no audience", key.token(&h(), &without(c(), "aud")), |e| *e == E::Audience),
        ("empty audience", key.token(&h(), &with(c(), "aud", json!([]))), |e| *e == E::Audience),
        ("expired", key.token(&h(), &with(c(), "exp", json!(now - 120))), |e| *e == E::Expired),
        ("no expiry", key.token(&h(), &without(c(), "exp")), |e| *e == E::Expired),
        ("expiry as text", key.token(&h(), &with(c(), "exp", json!("9999999999"))), |_| true),
        ("not valid yet", key.token(&h(), &with(c(), "nbf", json!(now + 300))), |e| *e == E::NotYet),
        ("issued in the future", key.token(&h(), &with(c(), "iat", json!(now + 300))), |e| *e == E::NotYet),
        ("no subject", key.token(&h(), &without(c(), "sub")), |e| *e == E::Claim("sub")),
        ("subject with a line break", key.token(&h(), &with(c(), "sub", json!("a\nb"))), |e| *e == E::Claim("sub")),
        ("groups that are no strings", key.token(&h(), &with(c(), "groups", json!([1]))), |e| *e == E::Claim("groups")),
        ("claims with a name twice", key.raw(&object(&h()), &double(&c(), r#""sub":"root""#)), |e| {
            matches!(e, E::Malformed(_))
        }),
        ("a name twice by an escape", key.raw(&object(&h()), &double(&c(), r#""s\u0075b":"root""#)), |e| {
            matches!(e, E::Malformed(_))
        }),
        ("header with a name twice", key.raw(&double(&h(), r#""alg":"none""#), &object(&c())), |e| {
            matches!(e, E::Malformed(_))
        }),
        ("claims that are a list", key.raw(&object(&h()), "[]"), |e| matches!(e, E::Malformed(_))),
        ("something after the claims", key.raw(&object(&h()), &format!("{}{{}}", c())), |e| {
            matches!(e, E::Malformed(_))
        }),
        ("too long", key.token(&h(), &with(c(), "x", json!("x".repeat(16 * 1024)))), |e| *e == E::TooLong),
        ("two parts", format!("{}.{}", parts[0], parts[1]), |e| matches!(e, E::Malformed(_))),
        ("four parts", format!("{good}.x"), |e| matches!(e, E::Malformed(_))),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), |e| *e == E::Signature),
        ("padding", format!("{good}="), |e| matches!(e, E::Malformed(_))),
        ("space", format!(" {good}"), |e| matches!(e, E::Malformed(_))),
        ("signature of zeros", format!("{}.{}.{}", parts[0], parts[1], BASE64URL_NOPAD.encode(&[0; 64])), |e| {
            *e == E::Signature
        }),
        (
            "claims of another token",
            {
                let other = key.token(&h(), &with(c(), "sub", json!("root")));
                format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2])
            },
            |e| *e == E::Signature,
        ),
        ("empty", String::new(), |e| matches!(e, E::Malformed(_))),
    ];
    for (name, token, expected) in attacks {
        let error = authenticator.authenticate(Some(&token), AUDIENCE).await.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
        assert!(!error.to_string().contains("alice"), "{name}");
    }
    assert_eq!(authenticator.authenticate(None, AUDIENCE).await, Err(AuthError::Missing));
    assert!(authenticator.authenticate(Some(&good), AUDIENCE).await.is_ok(), "the good one still passes");
    assert!(server.fetches() <= 2, "unknown keys do not make the gateway ask the issuer each time");
}

#[tokio::test]
async fn a_rotated_key_is_fetched_once_and_the_old_one_stops_counting() {
    let (old, new) = (Key::generate(), Key::generate());
    let server = Server::start(vec![old.jwk("one")]).await;
    let eager = Freshness { cooldown: Duration::ZERO, ..Freshness::default() };
    let authenticator = server.authenticator_with(eager);
    let old_token = old.token(&header(), &server.claims());
    assert!(authenticator.authenticate(Some(&old_token), AUDIENCE).await.is_ok());
    *server.documents.keys.lock().unwrap() = json!({ "keys": [new.jwk("two")] });
    let new_token = new.token(&with(header(), "kid", json!("two")), &server.claims());
    assert!(authenticator.authenticate(Some(&new_token), AUDIENCE).await.is_ok());
    assert_eq!(server.fetches(), 2);
    assert_eq!(authenticator.authenticate(Some(&old_token), AUDIENCE).await, Err(AuthError::NoKey));
}

#[tokio::test]
async fn many_unknown_keys_ask_the_issuer_once_within_the_cooldown() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let authenticator = server.authenticator();
    let attempts = (0..50).map(|index| {
        let token = key.token(&with(header(), "kid", json!(format!("k{index}"))), &server.claims());
        let authenticator = &authenticator;
        async move { authenticator.authenticate(Some(&token), AUDIENCE).await }
    });
    let answers = futures_util::future::join_all(attempts).await;
    assert!(answers.iter().all(|answer| *answer == Err(AuthError::NoKey)));
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn an_issuer_that_fails_is_believed_from_memory_until_its_keys_are_stale() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let (refresh, stale) = (Duration::ZERO, Duration::from_millis(300));
    let authenticator = server.authenticator_with(Freshness {
        refresh,
        stale,
        cooldown: Duration::ZERO,
        timeout: Duration::from_secs(2),
    });
    let token = key.token(&header(), &server.claims());
    assert!(authenticator.authenticate(Some(&token), AUDIENCE).await.is_ok());
    *server.documents.status.lock().unwrap() = StatusCode::INTERNAL_SERVER_ERROR;
    assert!(authenticator.authenticate(Some(&token), AUDIENCE).await.is_ok());
    tokio::time::sleep(stale).await;
    let refused = authenticator.authenticate(Some(&token), AUDIENCE).await;
    assert!(matches!(refused, Err(AuthError::KeysUnavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_issuer_out_of_reach_or_answering_nonsense_lets_nobody_in() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let token = key.token(&header(), &server.claims());
    let discovery = |document: Value| *server.documents.discovery.lock().unwrap() = Some(document);
    let keys_at = |url: &str| json!({ "issuer": server.url, "jwks_uri": url });
    let evil = json!({ "issuer": "https://evil.example", "jwks_uri": format!("{}/keys", server.url) });
    for document in [evil, json!({}), json!([]), keys_at("file:///etc/passwd"), keys_at("http://192.0.2.1/keys")] {
        discovery(document.clone());
        let refused = server.authenticator().authenticate(Some(&token), AUDIENCE).await;
        assert!(matches!(refused, Err(AuthError::KeysUnavailable(_))), "{document}: {refused:?}");
    }
    *server.documents.discovery.lock().unwrap() = None;
    *server.documents.status.lock().unwrap() = StatusCode::FOUND;
    let refused = server.authenticator().authenticate(Some(&token), AUDIENCE).await;
    assert!(matches!(refused, Err(AuthError::KeysUnavailable(_))), "a redirect: {refused:?}");
}

#[tokio::test]
async fn groups_are_read_from_a_nested_claim_and_an_unverified_email_is_no_name() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let mut config = IssuerConfig::new(&server.url);
    config.claims.groups = vec![ClaimPath::parse("realm_access.roles").unwrap()];
    let authenticator = Authenticator::new(&[config]);
    let claims = with(server.claims(), "realm_access", json!({ "roles": ["auditor"] }));
    let claims = with(with(claims, "email_verified", json!(false)), "azp", json!("00u1"));
    let identity = authenticator.authenticate(Some(&key.token(&header(), &claims)), AUDIENCE).await.unwrap();
    assert_eq!((identity.groups, identity.user_id.as_str()), (vec!["auditor".to_owned()], "00u1"));
    assert_eq!(identity.kind, UserKind::Service);
}

#[tokio::test]
async fn a_token_issued_to_a_client_that_is_not_listed_is_refused() {
    let key = Key::generate();
    let server = Server::start(vec![key.jwk("one")]).await;
    let mut config = IssuerConfig::new(&server.url);
    config.clients = vec!["agent".to_owned(), "desktop".to_owned()];
    let listed = Authenticator::new(&[config]);
    let any = server.authenticator();
    let claims = |azp: Value, client_id: Value| with(with(server.claims(), "azp", azp), "client_id", client_id);
    let none = json!(null);
    for (azp, client_id, listed_says, any_says) in [
        (json!("agent"), none.clone(), Ok(()), Ok(())),
        (none.clone(), json!("desktop"), Ok(()), Ok(())),
        (json!("agent"), json!("agent"), Ok(()), Ok(())),
        (json!("agent"), json!("stranger"), Err(AuthError::Client), Ok(())),
        (json!("stranger"), none.clone(), Err(AuthError::Client), Ok(())),
        (json!("Agent"), none.clone(), Err(AuthError::Client), Ok(())),
        (none.clone(), none.clone(), Err(AuthError::Client), Ok(())),
        (json!(["agent"]), none.clone(), Err(AuthError::Claim("azp")), Err(AuthError::Claim("azp"))),
        (json!(""), none.clone(), Err(AuthError::Claim("azp")), Err(AuthError::Claim("azp"))),
        (json!("agent"), json!(1), Err(AuthError::Claim("client_id")), Err(AuthError::Claim("client_id"))),
    ] {
        let token = key.token(&header(), &claims(azp.clone(), client_id.clone()));
        for (authenticator, expected) in [(&listed, listed_says), (&any, any_says)] {
            let found = authenticator.authenticate(Some(&token), AUDIENCE).await.map(drop);
            assert_eq!(found, expected, "azp {azp}, client_id {client_id}");
        }
    }
}

#[tokio::test]
async fn a_development_token_is_good_for_its_own_gateway_alone() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let issuer = DevIssuer::open(mine.path()).unwrap();
    let request = TokenRequest {
        user: "alice".to_owned(),
        groups: vec!["dev".to_owned()],
        ttl: Duration::from_secs(60),
        audience: DEV_AUDIENCE.to_owned(),
        service: false,
    };
    let token = issuer.sign(&request).unwrap();
    let again = Authenticator::new(&[]).with_dev_issuer(&DevIssuer::open(mine.path()).unwrap());
    assert_eq!(again.authenticate(Some(&token), AUDIENCE).await.unwrap().groups, ["dev"]);
    let foreign = Authenticator::new(&[]).with_dev_issuer(&DevIssuer::open(other.path()).unwrap());
    assert_eq!(foreign.authenticate(Some(&token), AUDIENCE).await, Err(AuthError::NoKey));
}

#[cfg(unix)]
#[test]
fn the_development_key_is_private_and_refused_when_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    DevIssuer::open(data.path()).unwrap();
    let path = data.path().join("dev-issuer.key");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(DevIssuer::open(data.path()).is_err());
}
