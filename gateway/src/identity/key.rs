//! The public keys of an issuer, made ready when they are fetched: checking a signature is all that is left for each token.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{
    Algorithm,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};

/// Shorter RSA keys are not used, in bytes of the modulus (2048 bits; NIST SP 800-131A).
const MIN_RSA: usize = 256;

/// The algorithms that are known, all of them asymmetric.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// So many tokens of a key are remembered, at least; twice as many at most.
const REMEMBERED: usize = 2048;

/// A public key for one algorithm.
#[derive(Debug)]
pub(super) struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
    seen: Mutex<Seen>,
}

impl PublicKey {
    /// Whether the key signed the token: `signature` is the one of `message` in the form that JOSE gives it (RFC 7518), and `token` both
    /// as they came. A client brings the same token with each request, so it is remembered, by its hash, which ones were good. That is true
    /// for as long as the key is; what keys count, and time, audience and deny list, are asked each time elsewhere.
    pub(super) fn signed(&self, token: &str, message: &[u8], signature: &[u8]) -> bool {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().has(&hash) {
            return true;
        }
        let is_signed = self.parsed.verify_sig(message, signature).is_ok();
        if is_signed {
            seen().add(hash);
        }
        is_signed
    }
}

/// The hashes of tokens whose signature was good: the newer ones, and those before them, which are forgotten together.
#[derive(Debug, Default)]
struct Seen {
    newer: HashSet<[u8; 32]>,
    older: HashSet<[u8; 32]>,
}

impl Seen {
    fn has(&mut self, hash: &[u8; 32]) -> bool {
        if self.newer.contains(hash) {
            return true;
        }
        let was_here = self.older.remove(hash);
        if was_here {
            self.add(*hash);
        }
        was_here
    }

    fn add(&mut self, hash: [u8; 32]) {
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(hash);
    }
}

/// The usable public keys of an issuer.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<Vec<Arc<PublicKey>>>);

impl Keys {
    /// Those of a key set that can be used, each for all that it is made for. What isn't well formed is left out.
    pub(super) fn new(set: &[Jwk]) -> Self {
        let each = set.iter().flat_map(|jwk| {
            let fitting = ALGORITHMS.into_iter().filter(|algorithm| is_meant_for(jwk, *algorithm));
            fitting.filter_map(|algorithm| {
                let parsed = parse(jwk, algorithm)?;
                Some(Arc::new(PublicKey { id: jwk.common.key_id.clone(), algorithm, parsed, seen: Mutex::default() }))
            })
        });
        Self(Arc::new(each.collect()))
    }

    /// The key that `kid` names, if it fits the algorithm; without `kid`, the only one that fits.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<PublicKey>> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == algorithm && kid.is_none_or(|kid| key.id.as_deref() == Some(kid)));
        let key = fitting.next()?;
        // Ambiguous: no guessing among keys.
        fitting.next().is_none().then(|| Arc::clone(key))
    }
}

/// Whether nothing that the issuer says of the key is against the algorithm: `alg`, `use` and `key_ops` have to agree.
fn is_meant_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let common = &key.common;
    common.key_algorithm.is_none_or(|stated| Algorithm::try_from(stated).is_ok_and(|stated| stated == algorithm))
        && match &common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            // SPIFFE's trust bundles name the keys of JWT-SVIDs so.
            Some(PublicKeyUse::Other(purpose)) => purpose == "jwt-svid",
            Some(PublicKeyUse::Encryption) => false,
        }
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// The key for an algorithm, where its type, curve and size are the algorithm's.
fn parse(key: &Jwk, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let of_curve = |algorithm: &'static dyn VerificationAlgorithm, size: usize, x: &str, y: &str| {
        let (x, y) = (decode(x)?, decode(y)?);
        // An uncompressed point (SEC 1): 4, then both coordinates in full.
        let point = (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), y.as_slice()].concat())?;
        ParsedPublicKey::new(algorithm, point).ok()
    };
    match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(rsa), _) => {
            let number = |text: &str| Some(decode(text)?.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
            let components = RsaPublicKeyComponents { n: number(&rsa.n)?, e: number(&rsa.e)? };
            if components.n.len() < MIN_RSA {
                return None;
            }
            components.to_parsed_public_key(rsa_parameters(algorithm)?).ok()
        }
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::ES256) if ec.curve == EllipticCurve::P256 => {
            of_curve(&ECDSA_P256_SHA256_FIXED, 32, &ec.x, &ec.y)
        }
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::ES384) if ec.curve == EllipticCurve::P384 => {
            of_curve(&ECDSA_P384_SHA384_FIXED, 48, &ec.x, &ec.y)
        }
        (AlgorithmParameters::OctetKeyPair(okp), Algorithm::EdDSA) if okp.curve == EllipticCurve::Ed25519 => {
            ParsedPublicKey::new(&ED25519, decode(&okp.x)?).ok()
        }
        _ => None,
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_good_is_remembered_as_it_was_and_nothing_else_is_good_for_it() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|number| BASE64URL_NOPAD.encode(number));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "one", "x": x, "y": y });
        let key = Keys::new(&[serde_json::from_value(jwk).unwrap()]).find(Some("one"), Algorithm::ES256).unwrap();
        let sign = |message: &str| {
            let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec();
            (format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)), signature)
        };
        let (good, signature) = sign("a.b");
        for _ in 0..3 {
            assert!(key.signed(&good, b"a.b", &signature));
            assert!(!key.signed(&good.replace('b', "c"), b"a.c", &signature), "other claims");
            let (_, other) = sign("a.c");
            let forged = format!("a.b.{}", BASE64URL_NOPAD.encode(&other));
            assert!(!key.signed(&forged, b"a.b", &other), "the signature of others");
        }
        let seen = |hashes: usize| {
            let seen = key.seen.lock().unwrap();
            assert!(seen.newer.len() + seen.older.len() <= hashes, "{} {}", seen.newer.len(), seen.older.len());
        };
        seen(1);
        for number in 0..3 * REMEMBERED {
            let message = format!("a.{number}");
            let (token, signature) = sign(&message);
            assert!(key.signed(&token, message.as_bytes(), &signature));
        }
        seen(2 * REMEMBERED);
        assert!(key.signed(&good, b"a.b", &signature), "what was forgotten is checked again");
    }
}
