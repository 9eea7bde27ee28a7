//! The development issuer: one ES256 key in the data directory. It vouches for whoever can read that directory.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{Json, Router, routing::get};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, KeyOperations, PublicKeyUse, ThumbprintHash},
};
use serde_json::{Value, json};

use super::issuer::Issuer;
use crate::{config::IssuerConfig, private};

/// The identifier of the development issuer.
pub const DEV_ISSUER: &str = "http://127.0.0.1:7700/dev-issuer";
/// The audience its tokens name unless told otherwise.
pub const DEV_AUDIENCE: &str = "sluice-dev";
/// The file of its key within the data directory: PKCS #8, DER.
const KEY_FILE: &str = "dev-issuer.key";
/// No token lives longer.
const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why the development issuer can't work.
#[derive(Debug, thiserror::Error)]
pub enum DevIssuerError {
    /// The key's file can't be read or written.
    #[error("can't use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no usable key, or others can read it.
    #[error("{path} is not usable: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The token can't be made.
    #[error("can't sign the token: {0}")]
    Sign(&'static str),
}

/// What a development token says.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The subject; with an `@` it is the email as well.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
    /// How long it is valid, 30 days at most.
    pub ttl: Duration,
    /// The audience.
    pub audience: String,
    /// Whether it is a machine's.
    pub service: bool,
}

/// The development issuer.
pub struct DevIssuer {
    key: EncodingKey,
    public: Jwk,
    kid: String,
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevIssuer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl DevIssuer {
    /// Reads the key of the data directory, or makes one (readable by its owner alone).
    ///
    /// # Errors
    ///
    /// [`DevIssuerError`].
    pub fn open(data: &Path) -> Result<Self, DevIssuerError> {
        let path = data.join(KEY_FILE);
        let pkcs8 = private::read_or_create(&path, || {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map(|document| document.as_ref().to_vec())
                .map_err(|_| io::Error::other("no randomness"))
        })
        .map_err(|source| DevIssuerError::File { path: path.clone(), source })?;
        let unusable = |reason| DevIssuerError::Key { path: path.clone(), reason };
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|_| unusable("no ES256 key"))?;
        let key = EncodingKey::from_ec_der(&pkcs8);
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| unusable("its public key can't be derived"))?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| unusable("it has no thumbprint"))?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_operations = Some(vec![KeyOperations::Verify]);
        Ok(Self { key, public, kid })
    }

    /// Signs a token.
    ///
    /// # Errors
    ///
    /// [`DevIssuerError::Sign`] for a lifetime over 30 days.
    pub fn sign(&self, request: &TokenRequest) -> Result<String, DevIssuerError> {
        if request.ttl > MAX_TTL {
            return Err(DevIssuerError::Sign("it may live 30 days at most"));
        }
        let now = Timestamp::now().as_second();
        let lifetime = i64::try_from(request.ttl.as_secs()).map_err(|_| DevIssuerError::Sign("the time is odd"))?;
        let mut claims = json!({
            "iss": DEV_ISSUER,
            "sub": request.user,
            "aud": request.audience,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "jti": uuid::Uuid::new_v4().to_string(),
            "groups": request.groups,
        });
        if request.user.contains('@') {
            claims["email"] = Value::String(request.user.clone());
        }
        if request.service {
            claims["client_id"] = Value::String(request.user.clone());
        }
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| DevIssuerError::Sign("the key refused"))
    }

    /// As an issuer of the [`Authenticator`](super::Authenticator); nothing is fetched.
    pub(crate) fn issuer(&self) -> Issuer {
        let mut config = IssuerConfig::new(DEV_ISSUER);
        config.audiences = vec![DEV_AUDIENCE.to_owned()];
        config.algorithms = vec![Algorithm::ES256];
        Issuer::fixed(config, vec![self.public.clone()])
    }

    /// Its discovery document and key set, at `/dev-issuer/…`, for the gateway to mount.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let discovery = json!({
            "issuer": DEV_ISSUER,
            "jwks_uri": format!("{DEV_ISSUER}/jwks.json"),
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
        });
        let keys = json!({ "keys": [self.public] });
        Router::new()
            .route("/dev-issuer/.well-known/openid-configuration", get(move || async move { Json(discovery) }))
            .route("/dev-issuer/jwks.json", get(move || async move { Json(keys) }))
    }
}
