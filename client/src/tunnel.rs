//! The client: sessions over one connection, which comes back when it is lost.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quinn::Endpoint;
use rustls::AlertDescription;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    channel::Channel,
    lease::{Lease, Leases},
    link::{Dialer, Transport, Way, rebind},
    settings::{Choice, Settings, TokenError},
    stream::{FrameError, alert_of, code_of, error_code, read_frame},
    wire::{Answer, Code, ConnectionName, Frame as _, Opening},
};

/// Where UDP was blocked, it is tried again after this time.
const AVOID: Duration = Duration::from_secs(60);
/// How long the gateway may take to answer: it connects to the target meanwhile.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a connection may take to end.
const FAREWELL: Duration = Duration::from_millis(300);
/// The first wait before another attempt; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Why a session can't be had.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The gateway refuses; the code says whether it may be different later.
    #[error("refused ({code}): {message}")]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What was to be sent can't be said in this protocol.
    #[error("{0}")]
    Impossible(String),
    /// The gateway can't be reached, or was lost before it answered.
    #[error("the gateway can't be reached: {0}")]
    Unreachable(String),
}

impl OpenError {
    /// True where another attempt may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Refused { code: Code::Draining, .. })
    }
}

/// A client of one gateway; clones share its connection.
#[derive(Clone, Debug)]
pub struct Tunnel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    dialer: Arc<Dialer>,
    /// Held while connecting, so that all who wait share one attempt.
    link: tokio::sync::Mutex<Link>,
    leases: Mutex<Leases>,
    transport: watch::Sender<Option<Transport>>,
}

#[derive(Debug, Default)]
struct Link {
    quic: Option<(Endpoint, quinn::Connection)>,
    /// UDP is not tried before.
    avoid: Option<Instant>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((_, connection)) = &self.link.get_mut().quic {
            connection.close(error_code(Code::Done), b"");
        }
    }
}

impl Tunnel {
    /// A client; nothing is connected before the first session.
    ///
    /// # Errors
    ///
    /// [`OpenError::Impossible`] where the gateway's address can't be one.
    pub fn new(settings: Settings) -> Result<Self, OpenError> {
        let dialer = Arc::new(Dialer::new(&settings).map_err(OpenError::Impossible)?);
        let (transport, _) = watch::channel(None);
        let (link, leases) = Default::default();
        Ok(Self(Arc::new(Inner { settings, dialer, link, leases, transport })))
    }

    /// The way that sessions take now; None while nothing is connected.
    #[must_use]
    pub fn transport(&self) -> watch::Receiver<Option<Transport>> {
        self.0.transport.subscribe()
    }

    /// Connects, where nothing is connected; the way that sessions take then.
    ///
    /// # Errors
    ///
    /// [`OpenError::Unreachable`] after one attempt.
    pub async fn connect(&self) -> Result<Transport, OpenError> {
        self.0.way().await.map(|way| way.transport())
    }

    /// Ends the connection and all its sessions, and waits a little for the gateway to hear of it.
    pub async fn close(&self) {
        if let Some((endpoint, connection)) = self.0.link.lock().await.quic.take() {
            connection.close(error_code(Code::Done), b"");
            let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
        }
    }

    /// Goes on from another socket of this machine, as after a change of networks: the connection moves with it (RFC 9000,
    /// section 9), and its sessions stay. Nothing happens where there is no QUIC.
    ///
    /// # Errors
    ///
    /// The system gives no socket.
    pub async fn rebind(&self) -> io::Result<()> {
        match &self.0.link.lock().await.quic {
            Some((endpoint, _)) => rebind(endpoint),
            None => Ok(()),
        }
    }

    /// Opens a session. Attempts that fail for want of a gateway are repeated with growing waits, as long as the settings'
    /// patience lasts.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(&self, connection: &ConnectionName, purpose: Option<&str>) -> Result<Channel, OpenError> {
        let until = Instant::now() + self.0.settings.patience;
        let mut wait = BACKOFF;
        loop {
            let error = match self.attempt(connection, purpose).await {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            };
            // Between half and one and a half of it, so that many clients don't come back at once.
            let pause = wait.mul_f32(0.5 + rand::random::<f32>());
            if !error.is_passing() || Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::info!(%error, milliseconds = pause.as_millis() as u64, "trying again");
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    async fn attempt(&self, connection: &ConnectionName, purpose: Option<&str>) -> Result<Channel, OpenError> {
        let token = self.0.settings.token().await?;
        let is_certified = token.is_none();
        let (connection, client) = (connection.clone(), self.0.settings.client.clone());
        let opening =
            Opening::Session { token, connection: connection.clone(), purpose: purpose.map(str::to_owned), client };
        let frame = opening.encode().map_err(|_| {
            OpenError::Impossible("a purpose is 1 to 256 bytes of text without control characters".to_owned())
        })?;
        let way = self.0.way().await?;
        let opened = async {
            let (mut reader, writer) = way.stream(&frame).await?;
            let answer = read_frame::<Answer>(&mut reader).await?;
            Ok::<_, FrameError>((reader, writer, answer))
        };
        let (reader, writer, answer) = timeout(ANSWER, opened)
            .await
            .map_err(|_| OpenError::Unreachable("it doesn't answer".to_owned()))?
            .map_err(|error| lost(&error))?;
        match answer {
            Answer::Refused { code, message } => {
                if is_certified && code == Code::Unauthenticated {
                    // The next handshake may show a newer certificate. Sessions that there are keep the connection.
                    self.0.link.lock().await.quic = None;
                    self.0.forget();
                }
                Err(OpenError::Refused { code, message })
            }
            Answer::Accepted { carries: None, .. } => {
                Err(OpenError::Impossible("the gateway doesn't say what the connection carries".to_owned()))
            }
            Answer::Accepted { session, seconds, carries: Some(carries) } => {
                let transport = way.transport();
                let tokens = self.0.settings.tokens.clone();
                let lease = match way {
                    Way::Quic(_) => {
                        let make = || Lease::new(way, tokens, connection.clone(), None, seconds);
                        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner).of(&connection, make)
                    }
                    Way::Tls(_) => Lease::new(way, tokens, connection, session.clone(), seconds),
                };
                Ok(Channel { reader, writer, session, carries, transport, lease, tunnel: self.clone() })
            }
        }
    }
}

impl Inner {
    /// There is no connection any more.
    fn forget(&self) {
        // The leases belonged to it.
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner) = Leases::default();
        self.transport.send_replace(None);
    }

    /// The way to the gateway, connected where it is QUIC.
    async fn way(&self) -> Result<Way, OpenError> {
        let mut link = self.link.lock().await;
        if let Some((_, connection)) = &link.quic {
            match connection.close_reason() {
                None => return Ok(Way::Quic(connection.clone())),
                Some(reason) => {
                    tracing::info!(%reason, "the connection to the gateway was lost");
                    link.quic = None;
                    self.forget();
                }
            }
        }
        let tls = Way::Tls(Arc::clone(&self.dialer));
        let avoided = link.avoid.is_some_and(|until| Instant::now() < until);
        if self.settings.choice == Choice::Tls || (self.settings.choice == Choice::Auto && avoided) {
            self.transport.send_if_modified(|now| now.replace(Transport::Tls) != Some(Transport::Tls));
            return Ok(tls);
        }
        match self.dialer.quic().await {
            Ok((endpoint, connection)) => {
                link.quic = Some((endpoint, connection.clone()));
                self.transport.send_replace(Some(Transport::Quic));
                Ok(Way::Quic(connection))
            }
            Err(reason) if self.settings.choice == Choice::Quic => Err(OpenError::Unreachable(reason)),
            Err(reason) => {
                // Where TCP is no better the gateway is away, and UDP was not to blame.
                let reached = self
                    .dialer
                    .tls()
                    .await
                    .map_err(|error| OpenError::Unreachable(format!("over QUIC: {reason}; over TLS: {error}")))?;
                drop(reached);
                tracing::warn!(%reason, "no QUIC; going on over TLS and TCP");
                link.avoid = Some(Instant::now() + AVOID);
                self.transport.send_if_modified(|now| now.replace(Transport::Tls) != Some(Transport::Tls));
                Ok(tls)
            }
        }
    }
}

/// The connection or the stream was lost before there was an answer.
pub(crate) fn lost(error: &FrameError) -> OpenError {
    match error {
        FrameError::Io(error) => match code_of(error) {
            Some(code @ (Code::Done | Code::Draining)) => {
                OpenError::Refused { code: Code::Draining, message: code.to_string() }
            }
            Some(code) => OpenError::Refused { code, message: code.to_string() },
            None => match alert_of(error).filter(is_about_certificates) {
                Some(alert) => {
                    let message = format!("the gateway doesn't take the certificate that it was shown ({alert:?})");
                    OpenError::Refused { code: Code::Unauthenticated, message }
                }
                None => OpenError::Unreachable(error.to_string()),
            },
        },
        FrameError::Wire(error) => OpenError::Impossible(format!("what answers is no gateway: {error}")),
    }
}

/// What the other side says of a certificate (RFC 8446, section 6.2): another attempt shows the same one.
fn is_about_certificates(alert: &AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}
