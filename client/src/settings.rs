//! What a client is told: where the gateway is, who vouches for it, and where tokens come from.

use std::{pin::Pin, sync::Arc, time::Duration};

use rustls::{RootCertStore, client::ResolvesClientCert};
use thiserror::Error;

use crate::wire::Token;

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
    /// Where tokens come from; None: the certificate says who it is.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// The certificate that the gateway is shown where it asks for one; asked for with each connection, so that a newer one is
    /// shown when there is one.
    pub certificate: Option<Arc<dyn ResolvesClientCert>>,
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
        Self::of(gateway.into(), Some(Arc::new(tokens)), None)
    }

    /// The same with a certificate in the place of tokens.
    #[must_use]
    pub fn certified(gateway: impl Into<String>, certificate: Arc<dyn ResolvesClientCert>) -> Self {
        Self::of(gateway.into(), None, Some(certificate))
    }

    fn of(gateway: String, tokens: Option<Arc<dyn Tokens>>, certificate: Option<Arc<dyn ResolvesClientCert>>) -> Self {
        Self {
            gateway,
            server_name: None,
            roots: None,
            tokens,
            certificate,
            client: None,
            choice: Choice::Auto,
            patience: Duration::from_secs(30),
        }
    }

    /// A token that counts now; None where the certificate says who it is.
    pub(crate) async fn token(&self) -> Result<Option<Token>, TokenError> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let token = Token::new(tokens.token().await?);
        let none = || TokenError("it is no text of visible ASCII characters of at most 16 KiB".to_owned());
        token.map(Some).ok_or_else(none)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("gateway", &self.gateway).field("choice", &self.choice).finish_non_exhaustive()
    }
}
