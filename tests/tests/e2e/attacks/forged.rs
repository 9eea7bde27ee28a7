//! Tokens that were forged, altered or misused, by the name of what is wrong with them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use sluice_tests::issuer::{AUDIENCE, Issuer, compact};

/// The client to whom the issuer gives the tokens that count here.
pub(super) const CLIENT: &str = "agent";

pub(super) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name).expect("it was there");
    object
}

/// The text of an object with a further member in front.
fn twice(object: &Value, member: &str) -> String {
    object.to_string().replacen('{', &format!("{{{member},"), 1)
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn ec_signature(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn ec_jwk(key: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "kid": kid, "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y) })
}

/// Keys that the issuer publishes beside its own, and keys of nobody.
pub(super) struct Keys {
    rsa: RsaKeyPair,
    p384: EcdsaKeyPair,
    encryption: EcdsaKeyPair,
    stranger: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p384: ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            encryption: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            stranger: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    pub(super) fn published(&self) -> Vec<Value> {
        let public = self.rsa.public_key();
        let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (n, e) = (public.modulus(), public.exponent());
        vec![
            json!({
                "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
                "n": number(n.big_endian_without_leading_zero()), "e": number(e.big_endian_without_leading_zero()),
            }),
            ec_jwk(&self.p384, "P-384", "p384"),
            with(ec_jwk(&self.encryption, "P-256", "encryption"), "use", json!("enc")),
            json!({ "kty": "oct", "kid": "secret", "k": BASE64URL_NOPAD.encode(b"a shared secret"), "alg": "HS256" }),
        ]
    }

    pub(super) fn rs256(&self, header: &Value, claims: &Value) -> String {
        compact(&header.to_string(), &claims.to_string(), |message| {
            let mut signed = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signed).unwrap();
            signed
        })
    }

    fn stranger(&self, header: &Value, claims: &Value) -> String {
        compact(&header.to_string(), &claims.to_string(), |message| ec_signature(&self.stranger, message))
    }
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    compact(&header.to_string(), &claims.to_string(), |message| hmac::sign(&key, message).as_ref().to_vec())
}

fn pem(der: &[u8]) -> String {
    let lines: Vec<String> =
        BASE64.encode(der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// A good signature of JOSE's form in that of X.509.
fn der(signature: &str) -> String {
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let integer = |number: &[u8]| {
        let mut number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        if number[0] > 127 {
            number.insert(0, 0);
        }
        [vec![2, u8::try_from(number.len()).unwrap()], number].concat()
    };
    let both = [integer(&signature[..32]), integer(&signature[32..])].concat();
    BASE64URL_NOPAD.encode(&[vec![48, u8::try_from(both.len()).unwrap()], both].concat())
}

/// All of them. `good` are claims that are accepted.
pub(super) fn tokens(
    issuer: &Issuer,
    evil: &Issuer,
    keys: &Keys,
    good: &Value,
    connection: &str,
) -> Vec<(&'static str, String)> {
    let (h, c) = (|| issuer.header(), || good.clone());
    let sign = |header: Value, claims: Value| issuer.sign(&header.to_string(), &claims.to_string());
    let headed = |name: &str, value: Value| sign(with(h(), name, value), c());
    let claiming = |name: &str, value: Value| sign(h(), with(c(), name, value));
    let lacking = |name: &str| sign(h(), without(c(), name));
    let unsigned = |alg: &str| compact(&with(h(), "alg", json!(alg)).to_string(), &c().to_string(), |_| Vec::new());
    let rsa_header = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": "rsa" });
    let rsa_der = keys.rsa.public_key().as_der().unwrap().as_ref().to_vec();
    let whole = sign(h(), c());
    let parts: Vec<&str> = whole.split('.').collect();
    let other = sign(h(), with(c(), "sub", json!("root@example.org")));
    let at_evil = |path: &str| json!(format!("{}{path}", evil.url));
    let by_stranger = |name: &str, value: Value| keys.stranger(&with(h(), name, value), &c());
    vec![
        ("no token at all", String::new()),
        ("no JWT", "opaque".to_owned()),
        ("alg none, no signature", unsigned("none")),
        ("alg None, no signature", unsigned("None")),
        ("alg NONE, no signature", unsigned("NONE")),
        ("alg nOnE, no signature", unsigned("nOnE")),
        ("alg none, with the signature", format!("{}{}", unsigned("none"), parts[2])),
        ("alg empty", headed("alg", json!(""))),
        ("alg null", headed("alg", json!(null))),
        ("alg as a list", headed("alg", json!(["ES256"]))),
        ("alg in lower case", headed("alg", json!("es256"))),
        ("no alg", sign(without(h(), "alg"), c())),
        ("HS256 keyed with the RSA key in PEM", hs256(pem(&rsa_der).as_bytes(), &rsa_header("HS256"), good)),
        ("HS256 keyed with the RSA key in DER", hs256(&rsa_der, &rsa_header("HS256"), good)),
        ("RS256 by name, HMAC in truth", hs256(pem(&rsa_der).as_bytes(), &rsa_header("RS256"), good)),
        (
            "HS256 keyed with the EC key",
            hs256(issuer.public().to_string().as_bytes(), &with(h(), "alg", json!("HS256")), good),
        ),
        (
            "HS256 keyed with a secret of the key set",
            hs256(b"a shared secret", &json!({ "alg": "HS256", "typ": "JWT", "kid": "secret" }), good),
        ),
        ("HS256 keyed with nothing", hs256(b"", &json!({ "alg": "HS256", "typ": "JWT" }), good)),
        ("RS256 key under another algorithm", keys.rs256(&rsa_header("PS256"), good)),
        ("RS256 with the EC key's name", keys.rs256(&with(rsa_header("RS256"), "kid", h()["kid"].clone()), good)),
        (
            "ES256 with a key of the wrong curve",
            compact(&with(h(), "kid", json!("p384")).to_string(), &c().to_string(), |m| ec_signature(&keys.p384, m)),
        ),
        (
            "ES384 with the name of a P-256 key",
            compact(&with(h(), "alg", json!("ES384")).to_string(), &c().to_string(), |m| ec_signature(&keys.p384, m)),
        ),
        (
            "EdDSA with the name of a P-256 key",
            compact(&with(h(), "alg", json!("EdDSA")).to_string(), &c().to_string(), |m| {
                keys.ed.sign(m).as_ref().to_vec()
            }),
        ),
        (
            "a key that is for encryption",
            compact(&with(h(), "kid", json!("encryption")).to_string(), &c().to_string(), |m| {
                ec_signature(&keys.encryption, m)
            }),
        ),
        ("signed by a stranger", keys.stranger(&h(), good)),
        ("kid that climbs out", headed("kid", json!("../../../../dev/null"))),
        ("kid that is SQL", headed("kid", json!("' OR '1'='1"))),
        ("kid that is a URL", headed("kid", at_evil("/keys"))),
        ("kid with a null byte", headed("kid", json!("test\u{0}"))),
        ("kid empty", headed("kid", json!(""))),
        ("kid as a number", headed("kid", json!(1))),
        ("kid of many bytes", headed("kid", json!("k".repeat(4096)))),
        ("jku of the attacker's", by_stranger("jku", at_evil("/keys"))),
        ("jku with an @ of the issuer's", by_stranger("jku", json!(format!("{}@{}", issuer.url, &evil.url[7..])))),
        ("x5u of the attacker's", by_stranger("x5u", at_evil("/certificate"))),
        ("x5c of the attacker's", by_stranger("x5c", json!([BASE64.encode(keys.stranger.public_key().as_ref())]))),
        ("x5t#S256 of anybody's", by_stranger("x5t#S256", json!(BASE64URL_NOPAD.encode(&[7; 32])))),
        ("jwk of the attacker's", by_stranger("jwk", ec_jwk(&keys.stranger, "P-256", "test"))),
        ("crit with something unknown", headed("crit", json!(["urn:example:policy"]))),
        ("crit with a claim", headed("crit", json!(["exp"]))),
        ("crit that is empty", headed("crit", json!([]))),
        ("b64 that is false", headed("b64", json!(false))),
        ("zip", headed("zip", json!("DEF"))),
        ("typ of a logout token", headed("typ", json!("logout+jwt"))),
        ("typ of a DPoP proof", headed("typ", json!("dpop+jwt"))),
        ("typ that is no text", headed("typ", json!(1))),
        ("ID token by at_hash", claiming("at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng"))),
        ("ID token by c_hash", claiming("c_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng"))),
        ("ID token by token_use", claiming("token_use", json!("id"))),
        ("ID token by its audience, the client", claiming("aud", json!(CLIENT))),
        ("refresh token", claiming("typ", json!("Refresh"))),
        ("iss of somebody else", claiming("iss", json!(evil.url))),
        ("iss of somebody else, signed there", evil.token("ada@example.org", &[], 600, &json!({ "azp": CLIENT }))),
        ("iss with a slash more", claiming("iss", json!(format!("{}/", issuer.url)))),
        ("iss in upper case", claiming("iss", json!(issuer.url.to_uppercase()))),
        ("iss as a list", claiming("iss", json!([issuer.url]))),
        ("no iss", lacking("iss")),
        ("aud of another connection", claiming("aud", json!(connection.replace("/db", "/hr")))),
        ("aud that begins alike", claiming("aud", json!(format!("{connection}x")))),
        ("aud of others", claiming("aud", json!(["https://one.example", "https://two.example"]))),
        ("aud as an object", claiming("aud", json!({ "0": AUDIENCE }))),
        ("aud empty", claiming("aud", json!([]))),
        ("no aud", lacking("aud")),
        ("azp of another client", claiming("azp", json!("stranger"))),
        ("client_id of another client", claiming("client_id", json!("stranger"))),
        ("azp as a list", claiming("azp", json!([CLIENT]))),
        ("no azp", lacking("azp")),
        ("expired", claiming("exp", json!(now() - 60))),
        ("expired long ago, below zero", claiming("exp", json!(-1))),
        ("no exp", lacking("exp")),
        ("exp null", claiming("exp", json!(null))),
        ("exp as text", claiming("exp", json!((now() + 600).to_string()))),
        ("exp beyond all time", claiming("exp", json!(i64::MAX))),
        ("exp as a number too large", issuer.sign(&h().to_string(), &twice(&without(c(), "exp"), "\"exp\":1e400"))),
        ("nbf in the future", claiming("nbf", json!(now() + 300))),
        ("nbf as text", claiming("nbf", json!("0"))),
        ("iat in the future", claiming("iat", json!(now() + 300))),
        ("no sub", lacking("sub")),
        ("sub empty", claiming("sub", json!(""))),
        ("sub with a line break", claiming("sub", json!("ada\nlevel=error"))),
        ("sub as a number", claiming("sub", json!(7))),
        ("groups that are no texts", claiming("groups", json!([{ "name": "admins" }]))),
        ("a claim twice", issuer.sign(&h().to_string(), &twice(good, "\"sub\":\"root@example.org\""))),
        (
            "a claim twice, by an escape",
            issuer.sign(&h().to_string(), &twice(good, "\"s\\u0075b\":\"root@example.org\"")),
        ),
        ("a name of the header twice", issuer.sign(&twice(&h(), "\"alg\":\"none\""), &c().to_string())),
        ("claims that are a list", issuer.sign(&h().to_string(), &json!([good]).to_string())),
        ("claims with something behind them", issuer.sign(&h().to_string(), &format!("{good}{{}}"))),
        (
            "claims nested without end",
            issuer.sign(&h().to_string(), &twice(good, &format!("\"x\":{}{}", "[".repeat(2000), "]".repeat(2000)))),
        ),
        ("a token in the claims' place", issuer.sign(&h().to_string(), &whole)),
        ("oversized", claiming("x", json!("x".repeat(20 * 1024)))),
        ("empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("truncated signature", whole[..whole.len() - 4].to_owned()),
        ("truncated to two parts", format!("{}.{}", parts[0], parts[1])),
        ("five parts", format!("{whole}.{}.{}", parts[0], parts[1])),
        ("signature of zeros", format!("{}.{}.{}", parts[0], parts[1], BASE64URL_NOPAD.encode(&[0; 64]))),
        ("signature with padding", format!("{whole}==")),
        ("signature in DER", format!("{}.{}.{}", parts[0], parts[1], der(parts[2]))),
        (
            "signature of another token",
            format!("{}.{}", &whole[..whole.rfind('.').unwrap()], other.split('.').nth(2).unwrap()),
        ),
        ("claims of another token", format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2])),
        (
            "header of another token",
            format!("{}.{}.{}", BASE64URL_NOPAD.encode(b"{\"alg\":\"ES256\"}"), parts[1], parts[2]),
        ),
        (
            "in base64 that isn't of URLs",
            format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(['-', '_'], "+") + "+"),
        ),
    ]
}
