//! An issuer and its keys: discovery (OpenID Connect Discovery 1.0), JWKS (RFC 7517), and when to ask again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, jwk::Jwk};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::key::{Keys, PublicKey};
use crate::{config::IssuerConfig, fetch::fetch};

/// When keys are fetched and how long they are believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// Keys older than this are fetched again.
    pub(crate) refresh: Duration,
    /// When fetching fails, keys up to this age still count; then every token is refused.
    pub(crate) stale: Duration,
    /// Not more often than this is an issuer asked, however many unknown `kid`s come.
    pub(crate) cooldown: Duration,
    /// How long one fetch may take.
    pub(crate) timeout: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            stale: Duration::from_secs(3600),
            cooldown: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Larger documents of an issuer are refused, in bytes.
const MAX_DOCUMENT: usize = 512 * 1024;
/// How long one document may take; all that a fetch needs has a time of its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// More keys than this are not looked at.
const MAX_KEYS: usize = 128;

#[derive(Debug)]
pub(crate) enum KeyError {
    Unknown,
    Unavailable(String),
}

/// One issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) config: IssuerConfig,
    keys: Source,
}

#[derive(Debug)]
enum Source {
    Fixed(Keys),
    Remote(Box<Remote>),
}

#[derive(Debug)]
struct Remote {
    freshness: Freshness,
    cached: ArcSwapOption<Cached>,
    /// How often keys were fetched.
    fetched: AtomicU64,
    /// The time of the last attempt; held while one is under way, so that one fetch serves all who wait.
    last_attempt: Mutex<Option<(Instant, Option<String>)>>,
}

#[derive(Debug)]
struct Cached {
    keys: Keys,
    fetched: Instant,
}

impl Issuer {
    pub(crate) fn remote(config: IssuerConfig) -> Self {
        let stale = config.keys_max_age;
        let usual = Freshness::default();
        Self::remote_with(config, Freshness { stale, refresh: usual.refresh.min(stale), ..usual })
    }

    pub(crate) fn remote_with(config: IssuerConfig, freshness: Freshness) -> Self {
        let remote = Remote {
            freshness,
            cached: ArcSwapOption::empty(),
            fetched: AtomicU64::new(0),
            last_attempt: Mutex::default(),
        };
        Self { config, keys: Source::Remote(Box::new(remote)) }
    }

    pub(crate) fn fixed(config: IssuerConfig, keys: Vec<Jwk>) -> Self {
        Self { config, keys: Source::Fixed(Keys::new(&keys)) }
    }

    /// How often its keys were fetched: another number, and what was believed may be believed no longer.
    pub(crate) fn fetched(&self) -> u64 {
        match &self.keys {
            Source::Fixed(_) => 0,
            Source::Remote(remote) => remote.fetched.load(Ordering::Acquire),
        }
    }

    /// The key for `kid` and `algorithm`; fetches when it is unknown or the keys are old.
    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, KeyError> {
        match &self.keys {
            Source::Fixed(keys) => keys.find(kid, algorithm).ok_or(KeyError::Unknown),
            Source::Remote(remote) => remote.key(&self.config, kid, algorithm).await,
        }
    }
}

impl Remote {
    async fn key(
        &self,
        config: &IssuerConfig,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<PublicKey>, KeyError> {
        let seen = self.cached.load_full();
        if let Some(cached) = &seen
            && cached.fetched.elapsed() < self.freshness.refresh
            && let Some(key) = cached.keys.find(kid, algorithm)
        {
            return Ok(key);
        }
        let failure = self.refresh(config, seen.as_ref().map(|cached| cached.fetched)).await.err();
        match self.cached.load_full() {
            Some(cached) if cached.fetched.elapsed() < self.freshness.stale => {
                cached.keys.find(kid, algorithm).ok_or(KeyError::Unknown)
            }
            _ => Err(KeyError::Unavailable(failure.unwrap_or_else(|| "the known keys are too old".to_owned()))),
        }
    }

    /// Fetches the keys, unless somebody just did (`seen` is what the caller found insufficient) or just tried.
    async fn refresh(&self, config: &IssuerConfig, seen: Option<Instant>) -> Result<(), String> {
        let mut last = self.last_attempt.lock().await;
        let current = self.cached.load().as_ref().map(|cached| cached.fetched);
        if current.is_some() && current != seen {
            return Ok(());
        }
        if let Some((at, failure)) = &*last
            && at.elapsed() < self.freshness.cooldown
        {
            return Err(failure.clone().unwrap_or_else(|| "asked a moment ago".to_owned()));
        }
        let fetched = tokio::time::timeout(self.freshness.timeout, fetch_keys(config))
            .await
            .unwrap_or_else(|_| Err("the issuer did not answer in time".to_owned()));
        // From the end of the attempt on: a slow issuer is not asked more often than a fast one.
        *last = Some((Instant::now(), fetched.as_ref().err().cloned()));
        match fetched {
            Ok(keys) => {
                self.cached.store(Some(Arc::new(Cached { keys, fetched: Instant::now() })));
                self.fetched.fetch_add(1, Ordering::Release);
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(issuer = %config.url, %reason, "the issuer's keys could not be fetched");
                Err(reason)
            }
        }
    }
}

async fn fetch_keys(config: &IssuerConfig) -> Result<Keys, String> {
    let jwks = match &config.jwks_url {
        Some(url) => url.clone(),
        None => discover(config).await?,
    };
    let document = get(&jwks, config).await?;
    let Some(Value::Array(listed)) = document.get("keys") else { return Err("the key set has no `keys`".to_owned()) };
    // Keys of unknown types are none of ours; one of them must not take the others away.
    let keys: Vec<Jwk> =
        listed.iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
    if keys.is_empty() {
        return Err("the key set has no usable key".to_owned());
    }
    Ok(Keys::new(&keys))
}

async fn discover(config: &IssuerConfig) -> Result<Url, String> {
    let location = format!("{}/.well-known/openid-configuration", config.url.trim_end_matches('/'));
    let location = Url::parse(&location).map_err(|_| "the issuer is no URL".to_owned())?;
    let document = get(&location, config).await?;
    if document.get("issuer").and_then(Value::as_str) != Some(&config.url) {
        return Err("discovery names another issuer".to_owned());
    }
    document
        .get("jwks_uri")
        .and_then(Value::as_str)
        .and_then(|uri| Url::parse(uri).ok())
        .ok_or_else(|| "discovery names no `jwks_uri`".to_owned())
}

/// Whether keys may be fetched from there: over TLS, or from this very machine.
pub(crate) fn is_trustworthy(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

/// Gets a JSON document; follows no redirect.
async fn get(url: &Url, config: &IssuerConfig) -> Result<Value, String> {
    if !is_trustworthy(url) {
        return Err("keys are only fetched over https, or http from loopback".to_owned());
    }
    let uri: Uri = url.as_str().parse().map_err(|_| "not a URI".to_owned())?;
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/json")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = fetch(request, config.authorities.as_ref(), MAX_DOCUMENT, PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the issuer answered {}", answer.status().as_u16()));
    }
    serde_json::from_slice(answer.body()).map_err(|_| "the issuer's document is no JSON".to_owned())
}
