//! Tokens that the gateway issues itself, for programs without an issuer: for named connections, until a day, kept as hashes alone.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_dsl::UserKind;

use super::{AuthError, Identity};
use crate::private;

/// The issuer of such identities, as records and the deny list have it.
pub const SERVICE_ISSUER: &str = "urn:sluice:service-tokens";
/// What every such token begins with, so that scanners of secrets find it.
const MARK: &str = "slst_";
/// The longest that one counts.
pub const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);
/// Tokens at most.
const MAX_TOKENS: usize = 10_000;
/// The longest file, in bytes.
const MAX_FILE: u64 = 32 << 20;
/// Groups and connections of one token, at most.
const MAX_LIST: usize = 64;

/// A token as it is kept: everything but the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceToken {
    /// Its identifier: `jti` for the deny list.
    pub id: String,
    /// The program that it is for; rules see it as `service:NAME`.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// The connections that it opens.
    pub connections: Vec<String>,
    /// Who issued it.
    pub issued_by: String,
    /// When.
    pub issued: Timestamp,
    /// Until when it counts.
    pub expires: Timestamp,
    /// When it was last used, to a minute; absent where it never was.
    #[serde(default)]
    pub last_used: Option<Timestamp>,
    /// SHA-256 of its secret, in hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    hash: String,
}

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The program that it is for.
    pub name: String,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The connections that it opens.
    pub connections: Vec<String>,
    /// How long it counts, in seconds.
    pub seconds: u64,
}

/// Why a token isn't issued.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTokenError {
    /// It would be none: the text says what is wrong.
    #[error("{0}")]
    Malformed(&'static str),
    /// Too many are kept.
    #[error("{MAX_TOKENS} tokens are kept already; revoke some")]
    Full,
    /// The file can't be written.
    #[error("the tokens can't be kept: {0}")]
    Io(#[from] io::Error),
}

/// The tokens of a gateway, in a file that only its user can read.
#[derive(Debug)]
pub struct ServiceTokens {
    path: PathBuf,
    tokens: Mutex<BTreeMap<String, ServiceToken>>,
    changes: AtomicU64,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    tokens: Vec<ServiceToken>,
}

impl ServiceTokens {
    /// Reads the file; there may be none yet.
    ///
    /// # Errors
    /// It can't be read, others can read it, or it is none of ours.
    pub fn open(path: &Path) -> io::Result<Self> {
        let tokens = match private::read_within(path, MAX_FILE) {
            Ok(bytes) => {
                let file: File = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
                if file.version != 1 {
                    return Err(io::Error::other(format!("it is of version {}, this program knows 1", file.version)));
                }
                file.tokens.into_iter().map(|token| (token.id.clone(), token)).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), tokens: Mutex::new(tokens), changes: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ServiceToken>> {
        // Every change is one insert or remove.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number as soon as a token was revoked.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A new token, which is kept when this returns, and what is kept of it. Nobody sees the token again.
    ///
    /// # Errors
    /// [`ServiceTokenError`]; there is none then.
    pub fn issue(&self, wanted: Wanted, by: &str) -> Result<(String, ServiceToken), ServiceTokenError> {
        let Wanted { name, groups, connections, seconds } = wanted;
        let is_name = |name: &String| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_group = |group: &String| (1..=512).contains(&group.len()) && !group.chars().any(char::is_control);
        let ttl = Duration::from_secs(seconds);
        let issued = Timestamp::now();
        let expires = jiff::SignedDuration::try_from(ttl).ok().and_then(|ttl| issued.checked_add(ttl).ok());
        let expires = match expires.filter(|_| !ttl.is_zero() && ttl <= MAX_TTL) {
            Some(expires) => expires,
            None => return Err(ServiceTokenError::Malformed("a token counts for a second to 366 days")),
        };
        if !is_name(&name) {
            return Err(ServiceTokenError::Malformed("a name is 1 to 64 of A-Z, a-z, 0-9, `-`, `_` and `.`"));
        }
        if connections.is_empty() || connections.len() > MAX_LIST || groups.len() > MAX_LIST {
            return Err(ServiceTokenError::Malformed("a token is for 1 to 64 connections, and in at most 64 groups"));
        }
        if !groups.iter().all(is_group) {
            return Err(ServiceTokenError::Malformed("a group has a name, without control characters"));
        }
        let id = format!("st-{}", &HEXLOWER.encode(&rand::random::<[u8; 8]>()));
        let secret = BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>());
        let hash = hash_of(&secret);
        let (issued_by, last_used) = (by.to_owned(), None);
        let token =
            ServiceToken { id: id.clone(), name, groups, connections, issued_by, issued, expires, last_used, hash };
        let mut tokens = self.lock();
        tokens.retain(|_, token| token.expires > issued);
        if tokens.len() >= MAX_TOKENS {
            return Err(ServiceTokenError::Full);
        }
        tokens.insert(id.clone(), token.clone());
        if let Err(error) = self.write(&tokens) {
            tokens.remove(&id);
            return Err(error.into());
        }
        Ok((format!("{MARK}{id}.{secret}"), token.shown()))
    }

    /// All tokens that count, without their hashes, by their names.
    #[must_use]
    pub fn all(&self) -> Vec<ServiceToken> {
        let now = Timestamp::now();
        let mut all: Vec<_> =
            self.lock().values().filter(|token| token.expires > now).map(ServiceToken::shown).collect();
        all.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        all
    }

    /// A token counts no longer; None where there is none of this identifier.
    ///
    /// # Errors
    /// The file can't be written; the token counts no longer all the same, until the gateway starts anew.
    pub fn revoke(&self, id: &str) -> io::Result<Option<ServiceToken>> {
        let mut tokens = self.lock();
        let Some(token) = tokens.remove(id) else { return Ok(None) };
        self.changes.fetch_add(1, Ordering::Release);
        self.write(&tokens)?;
        Ok(Some(token.shown()))
    }

    /// Whether a bearer token is one of these, good or not.
    #[must_use]
    pub(super) fn is_one(token: &str) -> bool {
        token.starts_with(MARK)
    }

    /// Who a token stands for at this audience.
    pub(super) fn check(&self, token: &str, audience: &str) -> Result<Identity, AuthError> {
        let parts = token.strip_prefix(MARK).and_then(|token| token.split_once('.'));
        let (id, secret) = parts.ok_or(AuthError::Malformed("no token of this gateway"))?;
        let now = Timestamp::now();
        let mut tokens = self.lock();
        let found = tokens.get_mut(id).ok_or(AuthError::Signature)?;
        verify_slices_are_equal(found.hash.as_bytes(), hash_of(secret).as_bytes()).map_err(|_| AuthError::Signature)?;
        if found.expires <= now {
            return Err(AuthError::Expired);
        }
        if !connection_of(audience).is_some_and(|name| found.connections.iter().any(|known| known == name)) {
            return Err(AuthError::Audience);
        }
        found.last_used = Some(now);
        Ok(Identity {
            issuer: SERVICE_ISSUER.to_owned(),
            subject: found.name.clone(),
            user_id: format!("service:{}", found.name),
            email: None,
            kind: UserKind::Service,
            groups: {
                let mut groups = found.groups.clone();
                groups.sort();
                groups.dedup();
                groups
            },
            roles: Vec::new(),
            actors: Vec::new(),
            token_id: Some(id.to_owned()),
            expires: found.expires,
        })
    }

    /// Keeps when tokens were last used; called now and then.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep_uses(&self) -> io::Result<()> {
        let tokens = self.lock();
        if tokens.values().all(|token| token.last_used.is_none()) {
            return Ok(());
        }
        self.write(&tokens)
    }

    fn write(&self, tokens: &BTreeMap<String, ServiceToken>) -> io::Result<()> {
        let file = File { version: 1, tokens: tokens.values().cloned().collect() };
        private::replace(&self.path, &serde_json::to_vec(&file).map_err(io::Error::other)?)
    }
}

impl ServiceToken {
    /// Without its hash.
    fn shown(&self) -> Self {
        Self { hash: String::new(), ..self.clone() }
    }
}

/// 256 random bits need no slow hash: nobody guesses them.
fn hash_of(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}

/// The connection that an audience is: `…/mcp/NAME` or `…/postgres/NAME`. The gateway's own API is none.
fn connection_of(audience: &str) -> Option<&str> {
    let (place, name) = audience.rsplit_once('/')?;
    (place.ends_with("/mcp") || place.ends_with("/postgres")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> Wanted {
        let list = |text: &str| vec![text.to_owned()];
        Wanted { name: name.to_owned(), groups: list("batch"), connections: list("crm"), seconds: 60 }
    }

    #[test]
    fn a_token_opens_its_connections_alone_and_is_kept_as_a_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let tokens = ServiceTokens::open(&path).unwrap();
        let (token, kept) = tokens.issue(wanted("nightly"), "ada").unwrap();
        let identity = tokens.check(&token, "https://g.example/mcp/crm").unwrap();
        assert_eq!((identity.user_id.as_str(), identity.kind), ("service:nightly", UserKind::Service));
        assert!(tokens.check(&token, "https://g.example/postgres/crm").is_ok());
        for audience in ["https://g.example/mcp/hr", "https://g.example/api", "crm", "https://g.example/mcp/crm/x"] {
            assert_eq!(tokens.check(&token, audience), Err(AuthError::Audience), "{audience}");
        }
        for (forged, error) in [
            (format!("{token}A"), AuthError::Signature),
            (token.replace(&kept.id, "st-0000000000000000"), AuthError::Signature),
            (token.replace('.', ""), AuthError::Malformed("no token of this gateway")),
        ] {
            assert_eq!(tokens.check(&forged, "https://g.example/mcp/crm"), Err(error));
        }
        let secret = token.split_once('.').unwrap().1;
        assert!(!std::fs::read_to_string(&path).unwrap().contains(secret));
        assert!(!serde_json::to_string(&tokens.all()).unwrap().contains("hash"));
        tokens.keep_uses().unwrap();
        // Another process finds it, and when it was used.
        let again = ServiceTokens::open(&path).unwrap();
        assert!(again.all()[0].last_used.is_some() && again.check(&token, "x/mcp/crm").is_ok());
        assert_eq!(again.revoke(&kept.id).unwrap().unwrap().name, "nightly");
        assert_eq!(again.check(&token, "x/mcp/crm"), Err(AuthError::Signature));
        assert!(ServiceTokens::open(&path).unwrap().all().is_empty());
    }

    #[test]
    fn what_would_be_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ServiceTokens::open(&folder.path().join("tokens.json")).unwrap();
        let long = MAX_TTL.as_secs() + 1;
        for wanted in [
            wanted(""),
            wanted("a b"),
            Wanted { connections: Vec::new(), ..wanted("a") },
            Wanted { groups: vec!["a\n".to_owned()], ..wanted("a") },
            Wanted { seconds: 0, ..wanted("a") },
            Wanted { seconds: long, ..wanted("a") },
        ] {
            assert!(matches!(tokens.issue(wanted, "ada"), Err(ServiceTokenError::Malformed(_))));
        }
        assert!(tokens.all().is_empty());
    }
}
