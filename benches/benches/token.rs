//! How long the check of a bearer token takes with warm keys: of an issuer whose keys came over HTTP, by algorithm, and how it is spread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use criterion::{Criterion, criterion_group, criterion_main};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sluice_gateway::config::IssuerConfig;
use sluice_gateway::identity::Authenticator;
use sluice_tests::issuer::{AUDIENCE, Issuer, compact};
use tokio::runtime::Runtime;

/// The connection that the token is used at.
const CONNECTION: &str = "https://gateway.example.org/mcp/crm";
/// How many checks are timed one by one.
const TIMED: usize = 100_000;
/// So many tokens in turn are more than the gateway remembers: each is checked as if it came for the first time.
const MANY: usize = 8_192;

/// Claims as a company's provider gives them.
fn claims(id: usize) -> Value {
    let groups: Vec<String> = (0..12).map(|number| format!("department-{number:02}")).collect();
    json!({ "azp": "sluice", "jti": format!("6f0c9a3e-58c7-4be5-9b0a-{id:012}"), "scope": "openid", "groups": groups })
}

/// A second key of the issuer.
fn rsa(issuer: &Issuer) -> RsaKeyPair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let public = key.public_key();
    let jwk = json!({
        "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
        "n": number(public.modulus().big_endian_without_leading_zero()),
        "e": number(public.exponent().big_endian_without_leading_zero()),
    });
    issuer.publish(vec![jwk]);
    key
}

/// The same claims, signed with the second key.
fn signed(key: &RsaKeyPair, es256: &str) -> String {
    let body = es256.split('.').nth(1).expect("claims");
    let body = String::from_utf8(BASE64URL_NOPAD.decode(body.as_bytes()).expect("base64")).expect("text");
    compact(&json!({ "alg": "RS256", "typ": "at+jwt", "kid": "rsa" }).to_string(), &body, |message| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("a signature");
        signature
    })
}

/// Checks the tokens in turn, so many times.
async fn many(authenticator: &Authenticator, tokens: &mut impl Iterator<Item = &String>, times: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        let token = tokens.next().expect("they go round");
        let identity = authenticator.authenticate(Some(black_box(token)), CONNECTION).await;
        assert!(black_box(identity).is_ok());
    }
    start.elapsed()
}

/// Each check by itself: the median, and what 99 and 99.9 of a hundred stay below.
async fn spread(name: &str, authenticator: &Authenticator, tokens: &mut impl Iterator<Item = &String>) {
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        times.push(many(authenticator, tokens, 1).await);
    }
    times.sort_unstable();
    let at = |per_mille: usize| times[TIMED * per_mille / 1000].as_secs_f64() * 1e6;
    println!("{name}: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs of {TIMED}", at(500), at(990), at(999));
}

fn check(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let issuer = runtime.block_on(Issuer::start(None));
    let key = rsa(&issuer);
    let mut config = IssuerConfig::new(&issuer.url);
    config.audiences = vec![AUDIENCE.to_owned()];
    let authenticator = Authenticator::new(&[config]);
    let es256: Vec<String> = (0..MANY).map(|id| issuer.token("ada@example.org", &[], 24 * 3600, &claims(id))).collect();
    let rs256: Vec<String> = es256.iter().map(|token| signed(&key, token)).collect();
    let kinds = [
        ("ES256 for the first time", &es256[..]),
        ("RS256 for the first time", &rs256),
        ("ES256 again", &es256[..1]),
        ("RS256 again", &rs256[..1]),
    ];
    let mut group = criterion.benchmark_group("token");
    for (name, tokens) in kinds {
        let mut tokens = tokens.iter().cycle();
        runtime.block_on(many(&authenticator, &mut tokens, 1_000));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| runtime.block_on(many(&authenticator, &mut tokens, times)));
        });
    }
    // What no check can do without: the signature alone.
    let bare = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let signature = bare.sign(&SystemRandom::new(), es256[0].as_bytes()).expect("a signature");
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bare.public_key().as_ref()).expect("a public key");
    group.bench_function("ES256's signature alone", |bencher| {
        bencher.iter(|| public.verify_sig(black_box(es256[0].as_bytes()), signature.as_ref()).is_ok());
    });
    group.finish();
    for (name, tokens) in kinds {
        runtime.block_on(spread(name, &authenticator, &mut tokens.iter().cycle()));
    }
}

criterion_group!(benches, check);
criterion_main!(benches);
