//! The check of a bearer token: everything about it is doubted until the issuer's key has vouched for it.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{
    DenyList, Identity, ServiceTokens,
    claims::{MAX_NAME, is_name},
    dev::DevIssuer,
    issuer::{Issuer, KeyError},
};
use crate::{config::IssuerConfig, strict::Strict};

/// Longer tokens are refused unread, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Why a token was refused. The text is for the gateway's log and contains nothing of the token; the client learns only
/// that it is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header.
    #[error("no bearer token")]
    Missing,
    /// Not one well-formed `Authorization: Bearer …` header.
    #[error("malformed Authorization header")]
    MalformedHeader,
    /// Over 16 KiB.
    #[error("the token is too long")]
    TooLong,
    /// No compact JWS, or its parts are no strict JSON objects (a duplicate name counts).
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// `alg` is missing, unknown, symmetric, `none`, or not in the issuer's list.
    #[error("algorithm not allowed")]
    Algorithm,
    /// `typ` is not an access token's.
    #[error("not an access token")]
    Type,
    /// The token marks extensions as critical; none is known.
    #[error("critical extensions are not supported")]
    Critical,
    /// `iss` is missing or not configured.
    #[error("unknown issuer")]
    Issuer,
    /// No key of the issuer fits `kid` and `alg`.
    #[error("no key of the issuer fits")]
    NoKey,
    /// The issuer's keys can't be had and the known ones are too old.
    #[error("the issuer's keys are not available: {0}")]
    KeysUnavailable(String),
    /// The signature is not the key's.
    #[error("invalid signature")]
    Signature,
    /// Expired, or without `exp`.
    #[error("expired or without expiry")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("not valid yet")]
    NotYet,
    /// `aud` does not name this connection.
    #[error("for another audience")]
    Audience,
    /// `azp` or `client_id` names a client that the issuer's configuration doesn't list, or neither is there.
    #[error("issued to another client")]
    Client,
    /// A claim is missing or has the wrong type.
    #[error("claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// A claim doesn't have a value that the issuer's configuration (`require`) asks for.
    #[error("claim `{0}` has no value that is accepted")]
    Required(String),
    /// The deny list names the subject or the token.
    #[error("on the deny list")]
    Denied,
    /// The deny list can't be read, so that nobody knows who is on it.
    #[error("the deny list can't be read")]
    DenyList,
    /// The certificate was revoked since it was shown, or nobody can tell whether it was.
    #[error("the certificate counts no longer: {0}")]
    Certificate(String),
    /// `act` names somebody who may not act for others.
    #[error("the actor may not act for others")]
    Actor,
}

/// The bearer token of a request.
///
/// # Errors
///
/// [`AuthError::Missing`] without the header, [`AuthError::MalformedHeader`] when it is repeated or of another scheme.
pub fn bearer_of(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::MalformedHeader);
    }
    let text = value.to_str().map_err(|_| AuthError::MalformedHeader)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::MalformedHeader)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AuthError::MalformedHeader);
    }
    Ok(token)
}

/// Checks bearer tokens against the configured issuers.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<Issuer>,
    denied: Option<Arc<DenyList>>,
    service: Option<Arc<ServiceTokens>>,
}

impl Authenticator {
    /// Checks tokens of these issuers, whose keys are fetched when first needed.
    #[must_use]
    pub fn new(issuers: &[IssuerConfig]) -> Self {
        Self { issuers: issuers.iter().cloned().map(Issuer::remote).collect(), denied: None, service: None }
    }

    /// Accepts the tokens of the development issuer as well; its key is at hand, so that nothing is fetched.
    #[must_use]
    pub fn with_dev_issuer(self, issuer: &DevIssuer) -> Self {
        self.with_issuer(issuer.issuer())
    }

    /// Adds an issuer whose keys are at hand, so that nothing is fetched.
    pub(crate) fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Accepts the gateway's own tokens.
    #[must_use]
    pub fn with_service_tokens(mut self, tokens: ServiceTokens) -> Self {
        self.service = Some(Arc::new(tokens));
        self
    }

    /// The gateway's own tokens.
    #[must_use]
    pub fn service_tokens(&self) -> Option<&Arc<ServiceTokens>> {
        self.service.as_ref()
    }

    /// Refuses whom the list names.
    #[must_use]
    pub fn with_deny_list(mut self, list: DenyList) -> Self {
        self.denied = Some(Arc::new(list));
        self
    }

    /// The list of those who are refused.
    #[must_use]
    pub fn deny_list(&self) -> Option<&Arc<DenyList>> {
        self.denied.as_ref()
    }

    /// A number that is another one as soon as the keys of any issuer were fetched anew, or the deny list has changed.
    pub(crate) fn keys(&self) -> u64 {
        let denied = self.denied.as_ref().map_or(0, |list| list.changes());
        let denied = denied.wrapping_add(self.service.as_ref().map_or(0, |tokens| tokens.changes()));
        self.issuers.iter().map(Issuer::fetched).fold(denied, u64::wrapping_add)
    }

    /// The identifiers of the accepted issuers, for the resource's metadata (RFC 9728).
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| issuer.config.url.as_str())
    }

    /// Lets in somebody whose certificate was verified, unless the deny list names them.
    ///
    /// # Errors
    ///
    /// [`AuthError::Denied`], [`AuthError::DenyList`], [`AuthError::Expired`].
    pub fn admit(&self, identity: Identity) -> Result<Identity, AuthError> {
        if identity.expires <= Timestamp::now() {
            return Err(AuthError::Expired);
        }
        self.denied.as_ref().map_or(Ok(()), |list| list.check(&identity))?;
        Ok(identity)
    }

    /// Checks a token for use at `audience` (the connection's URL; an issuer may have further audiences configured).
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401, log the reason.
    pub async fn authenticate(&self, bearer: Option<&str>, audience: &str) -> Result<Identity, AuthError> {
        let token = bearer.ok_or(AuthError::Missing)?;
        if token.len() > MAX_TOKEN {
            return Err(AuthError::TooLong);
        }
        if let (Some(tokens), true) = (&self.service, ServiceTokens::is_one(token)) {
            let identity = tokens.check(token, audience)?;
            self.denied.as_ref().map_or(Ok(()), |list| list.check(&identity))?;
            return Ok(identity);
        }
        let Parts { header, claims, signed, signature } = split(token)?;
        let kid = check_header(&header)?;
        let algorithm = algorithm_of(&header)?;
        let issuer = match claims.get("iss") {
            Some(Value::String(iss)) => self.issuers.iter().find(|issuer| issuer.config.url == *iss),
            _ => None,
        }
        .ok_or(AuthError::Issuer)?;
        if !issuer.config.algorithms.contains(&algorithm) {
            return Err(AuthError::Algorithm);
        }
        let key = issuer.key(kid, algorithm).await.map_err(|error| match error {
            KeyError::Unknown => AuthError::NoKey,
            KeyError::Unavailable(reason) => AuthError::KeysUnavailable(reason),
        })?;
        if !key.signed(token, signed, &signature) {
            return Err(AuthError::Signature);
        }
        check_use(&claims, &issuer.config, audience)?;
        let identity = identity_of(&claims, &issuer.config)?;
        self.denied.as_ref().map_or(Ok(()), |list| list.check(&identity))?;
        Ok(identity)
    }
}

struct Parts<'t> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// What the signature is of.
    signed: &'t [u8],
    signature: Vec<u8>,
}

fn split(token: &str) -> Result<Parts<'_>, AuthError> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(AuthError::Malformed("not three parts"));
    };
    let decode =
        |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| AuthError::Malformed("not base64url"));
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let signature = decode(signature)?;
    if signature.is_empty() {
        return Err(AuthError::Signature);
    }
    let object = |part: &str| match serde_json::from_slice(&decode(part)?) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        _ => Err(AuthError::Malformed("not a JSON object with each name once")),
    };
    Ok(Parts { header: object(header)?, claims: object(claims)?, signed, signature })
}

/// Checks what does not depend on the issuer; returns `kid`. Keys and locations of keys in the header (`jwk`, `jku`,
/// `x5c`, `x5u`) are not looked at: only the issuer's own keys count.
fn check_header(header: &Map<String, Value>) -> Result<Option<&str>, AuthError> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(AuthError::Critical);
    }
    if header.contains_key("enc") || header.contains_key("zip") {
        return Err(AuthError::Malformed("not a plain signature"));
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            if !matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt" | "jose") {
                return Err(AuthError::Type);
            }
        }
        Some(_) => return Err(AuthError::Type),
    }
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if kid.len() <= MAX_NAME => Ok(Some(kid)),
        Some(_) => Err(AuthError::Malformed("kid is no short string")),
    }
}

/// The algorithm by its exact name (RFC 7518); names are case-sensitive and only asymmetric ones are known here.
fn algorithm_of(header: &Map<String, Value>) -> Result<Algorithm, AuthError> {
    header.get("alg").and_then(Value::as_str).and_then(algorithm_named).ok_or(AuthError::Algorithm)
}

/// The asymmetric algorithm of this name; `None` for all others, `none` and `HS*` included.
pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whether the token is of its time and for this place.
fn check_use(claims: &Map<String, Value>, config: &IssuerConfig, audience: &str) -> Result<(), AuthError> {
    let now = Timestamp::now().as_second();
    let skew = i64::try_from(config.clock_skew.as_secs()).unwrap_or(i64::MAX);
    match claims.get("exp") {
        None | Some(Value::Null) => return Err(AuthError::Expired),
        Some(exp) if seconds(exp).ok_or(AuthError::Claim("exp"))? < now.saturating_sub(skew) => {
            return Err(AuthError::Expired);
        }
        Some(_) => {}
    }
    for name in ["iat", "nbf"] {
        if let Some(value) = claims.get(name)
            && seconds(value).ok_or(AuthError::Claim(name))? > now.saturating_add(skew)
        {
            return Err(AuthError::NotYet);
        }
    }
    let is_here = |named: &str| named == audience || config.audiences.iter().any(|accepted| accepted == named);
    // RFC 7519, section 4.1.3: one text, or a list of texts, one of which is ours.
    let is_for_us = match claims.get("aud") {
        Some(Value::String(named)) => is_here(named),
        Some(Value::Array(listed)) => {
            listed.iter().all(Value::is_string) && listed.iter().filter_map(Value::as_str).any(is_here)
        }
        _ => false,
    };
    if is_for_us { Ok(()) } else { Err(AuthError::Audience) }
}

/// The identity of claims whose signature was checked.
fn identity_of(claims: &Map<String, Value>, config: &IssuerConfig) -> Result<Identity, AuthError> {
    refuse_other_tokens(claims)?;
    check_client(claims, config)?;
    let expires = claims
        .get("exp")
        .and_then(seconds)
        .and_then(|second| Timestamp::from_second(second).ok())
        .ok_or(AuthError::Claim("exp"))?;
    let subject = text(claims, "sub")?.ok_or(AuthError::Claim("sub"))?;
    let email = match claims.get("email_verified") {
        Some(Value::Bool(false)) => None,
        _ => text(claims, "email")?,
    };
    let mapping = &config.claims;
    mapping.check_required(claims)?;
    Ok(Identity {
        issuer: config.url.clone(),
        user_id: mapping.user(claims)?.or_else(|| email.clone()).unwrap_or_else(|| subject.clone()),
        email,
        kind: mapping.kind(claims, &subject)?,
        groups: mapping.groups(claims)?,
        roles: mapping.roles(claims)?,
        actors: mapping.actors(claims, &config.url)?,
        token_id: text(claims, "jti")?,
        subject,
        expires,
    })
}

/// An ID token or a refresh token proves something else than access; some issuers sign them with the same keys.
fn refuse_other_tokens(claims: &Map<String, Value>) -> Result<(), AuthError> {
    let is = |name: &str, value: &str| {
        claims.get(name).and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    if claims.contains_key("at_hash") || claims.contains_key("c_hash") {
        return Err(AuthError::Type);
    }
    if is("token_use", "id") || ["ID", "Refresh", "Offline", "Logout"].iter().any(|kind| is("typ", kind)) {
        return Err(AuthError::Type);
    }
    Ok(())
}

/// Whom the token was issued to: `azp` (OpenID Connect) and `client_id` (RFC 9068) are well formed, and where clients are
/// listed, at least one is there and all that are there are listed.
fn check_client(claims: &Map<String, Value>, config: &IssuerConfig) -> Result<(), AuthError> {
    let named = [text(claims, "azp")?, text(claims, "client_id")?];
    let mut named = named.iter().flatten().peekable();
    if config.clients.is_empty() || (named.peek().is_some() && named.all(|client| config.clients.contains(client))) {
        return Ok(());
    }
    Err(AuthError::Client)
}

fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a NumericDate may have a fraction, which does not matter")]
    value.as_i64().or_else(|| value.as_f64().filter(|seconds| seconds.is_finite()).map(|seconds| seconds as i64))
}

fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, AuthError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text.clone())),
        Some(_) => Err(AuthError::Claim(name)),
    }
}
