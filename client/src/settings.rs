//! What a client is told: where the gateway is, who vouches for it, and where tokens come from.

use std::{pin::Pin, sync::Arc, time::Duration};

use rustls::RootCertStore;
use thiserror::Error;

/// Why there is no token; the text is for the user and holds nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);

/// Where bearer tokens come from.
pub trait Tokens: Send + Sync + 'static {
    /// A token that counts now; asked before each session and before one expires.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + '_>>;
}

/// One token that never changes: its sessions end when it expires.
#[derive(Clone)]
pub struct Fixed(String);

impl Fixed {
    /// This token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl std::fmt::Debug for Fixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fixed(…)")
    }
}

impl Tokens for Fixed {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Which way to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// QUIC, and TLS over TCP where nothing answers over UDP.
    #[default]
    Auto,
    /// QUIC alone.
    Quic,
    /// TLS over TCP alone.
    Tls,
}

/// How a gateway is reached.
#[derive(Clone)]
pub struct Settings {
    /// The gateway's address: a name or an address, and a port.
    pub gateway: String,
    /// The name that its certificate is for, where that isn't the one in `gateway`.
    pub server_name: Option<String>,
    /// The authorities that vouch for it; None: the web's.
    pub roots: Option<Arc<RootCertStore>>,
    /// Where tokens come from.
    pub tokens: Arc<dyn Tokens>,
    /// What this program calls itself, for the gateway's record.
    pub client: Option<String>,
    /// Which way to take.
    pub choice: Choice,
    /// How long a session may take to come about, all attempts together.
    pub patience: Duration,
}

impl Settings {
    /// A gateway that the web's authorities vouch for, reached by QUIC where that works, within 30 seconds.
    #[must_use]
    pub fn new(gateway: impl Into<String>, tokens: impl Tokens) -> Self {
        Self {
            gateway: gateway.into(),
            server_name: None,
            roots: None,
            tokens: Arc::new(tokens),
            client: None,
            choice: Choice::Auto,
            patience: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("gateway", &self.gateway).field("choice", &self.choice).finish_non_exhaustive()
    }
}
