//! One stream of an agent: what it begins with, whether that may be, the answer, and what follows it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use sluice_client::{
    stream::{FrameError, Reader, Writer, read_frame},
    wire::{self, Answer, Code, ConnectionName, Frame as _, Opening, Token},
};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    super::{counts::Slot, handshake::Certified},
    Tunnel,
    admit::{Subject, subject},
    agent, http,
    live::{Credential, Entered, Holder, NotRenewed, seconds_until},
};
use crate::{
    config::UpstreamConfig,
    evidence::SessionId,
    identity::{AuthError, Identity},
    meter::Meter,
    raw,
    session::{Attempt, NewSession, Purpose, SessionError},
};

/// How long a stream may take to say what it is for.
const OPENING: Duration = Duration::from_secs(5);
/// How long an answer may take to leave.
const ANSWER: Duration = Duration::from_secs(5);
/// After a refusal over TLS the rest of what the client sends is passed over for so long, so that the answer arrives.
const LINGER: Duration = Duration::from_secs(1);

/// The other side of a connection of QUIC or TLS.
pub(super) struct Peer {
    link: u64,
    place: Place,
    /// Who it is by its certificate.
    certified: Option<Arc<Certified>>,
    /// Whose connection it is: the first who was authenticated on it.
    owner: Mutex<Option<Owner>>,
}

enum Place {
    Quic(quinn::Connection),
    Tls(SocketAddr),
}

struct Owner {
    subject: Subject,
    _counted: Option<Slot<Subject>>,
}

impl Peer {
    pub(super) fn quic(link: u64, connection: quinn::Connection, certified: Option<Arc<Certified>>) -> Self {
        Self { link, place: Place::Quic(connection), certified, owner: Mutex::default() }
    }

    pub(super) fn tls(link: u64, address: SocketAddr, certified: Option<Arc<Certified>>) -> Self {
        Self { link, place: Place::Tls(address), certified, owner: Mutex::default() }
    }

    /// Where it is now: over QUIC it may move.
    pub(super) fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Quic(connection) => connection.remote_address(),
            Place::Tls(address) => *address,
        }
    }

    /// Its connection of QUIC; None over TLS.
    pub(super) fn connection(&self) -> Option<&quinn::Connection> {
        match &self.place {
            Place::Quic(connection) => Some(connection),
            Place::Tls(_) => None,
        }
    }

    pub(super) fn link(&self) -> u64 {
        self.link
    }

    fn owner(&self) -> MutexGuard<'_, Option<Owner>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody was authenticated on it.
    pub(super) fn is_known(&self) -> bool {
        self.owner().is_some()
    }

    /// It belongs to whom its certificate stands for.
    pub(super) fn is_certified(&self) -> bool {
        let certified = self.certified.as_ref().map(|certified| subject(certified.named()));
        certified.is_some_and(|subject| self.owner().as_ref().is_some_and(|owner| owner.subject == subject))
    }

    /// A connection is one identity's, from its first session on.
    pub(super) fn own(&self, tunnel: &Tunnel, subject: &Subject) -> Result<(), Refused> {
        let mut owner = self.owner();
        match &*owner {
            Some(owner) if owner.subject == *subject => Ok(()),
            Some(_) => Err(Refused::new(Code::Forbidden, "this connection is another identity's")),
            None => {
                // Over TLS a connection is a session, and counted as one.
                let counted =
                    match &self.place {
                        Place::Tls(_) => None,
                        Place::Quic(_) => Some(tunnel.admission.connection(subject.clone()).ok_or_else(|| {
                            Refused::new(Code::Busy, "the identity has as many connections as it may")
                        })?),
                    };
                *owner = Some(Owner { subject: subject.clone(), _counted: counted });
                Ok(())
            }
        }
    }
}

/// Why a stream is refused.
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<raw::Refused> for Refused {
    fn from(raw::Refused { code, message }: raw::Refused) -> Self {
        Self { code, message }
    }
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        let code = match error {
            SessionError::Forbidden => Code::Forbidden,
            SessionError::PurposeRequired => {
                return Self::new(
                    Code::PurposeRequired,
                    "this connection requires a purpose: state one with `--purpose`",
                );
            }
            SessionError::PurposeRefused { accepted } => {
                let message =
                    format!("this purpose is not accepted; accepted is {accepted}: state one with `--purpose`");
                return Self::new(Code::PurposeRequired, message);
            }
            SessionError::Unknown => Code::Ended,
            SessionError::Full => Code::Busy,
            SessionError::Draining => Code::Draining,
            SessionError::Evidence(error) => {
                tracing::error!(%error, "a session is not recorded and doesn't begin");
                return Self::new(Code::Evidence, "the session can't be recorded, so it is refused");
            }
        };
        Self::new(code, error.to_string())
    }
}

/// A session that may begin.
struct Admitted {
    holder: Arc<Holder>,
    carries: Carries,
    meter: Option<Arc<Meter>>,
    _counted: Slot<Subject>,
}

enum Carries {
    Bytes(raw::Opened),
    Messages { purpose: Option<Purpose> },
}

/// Reads what the stream begins with, answers, and serves it to its end.
pub(super) async fn serve(tunnel: Arc<Tunnel>, peer: Arc<Peer>, (mut reader, mut writer): (Reader, Writer)) {
    let opening = match timeout(OPENING, read_frame::<Opening>(&mut reader)).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(FrameError::Wire(error))) => {
            return refuse(Refused::new(Code::Malformed, error.to_string()), reader, writer).await;
        }
        // Nobody is there to be told.
        Ok(Err(FrameError::Io(_))) => return,
        Err(_) => return refuse(Refused::new(Code::Malformed, "nothing was asked in time"), reader, writer).await,
    };
    let admitted = match opening {
        Opening::Session { token, connection, purpose, client } => {
            tunnel.admit(&peer, token, &connection, purpose.as_deref(), client).await
        }
        Opening::Serve { token, connection, .. } => {
            return agent::serve(&tunnel, &peer, token, &connection, (reader, writer)).await;
        }
        Opening::Token { token, connection, session } => {
            return match tunnel.renew(&peer, token, &connection, session.as_deref()).await {
                Ok(seconds) => {
                    if answer(&Answer::Accepted { session: None, seconds, carries: None }, &mut writer).await {
                        let _ = writer.shutdown().await;
                    }
                }
                Err(refused) => refuse(refused, reader, writer).await,
            };
        }
    };
    let Admitted { holder, carries, meter, _counted } = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            tracing::info!(address = %peer.address(), code = %refused.code, reason = refused.message, "refused");
            return refuse(refused, reader, writer).await;
        }
    };
    let entered: Entered = tunnel.live.enter(&holder);
    let seconds = seconds_until(holder.identity.expires);
    // Where the answer can't leave, the session ends by itself: the stream is broken.
    let kind = match &carries {
        Carries::Bytes(_) => wire::Carries::Bytes,
        Carries::Messages { .. } => wire::Carries::Mcp,
    };
    let accepted = Answer::Accepted { session: Some(holder.session.clone()), seconds, carries: Some(kind) };
    answer(&accepted, &mut writer).await;
    match carries {
        Carries::Bytes(opened) => {
            raw::run(&tunnel.gateway, opened, (reader, writer), holder.lost(), &tunnel.shutdown, meter).await;
        }
        Carries::Messages { purpose } => {
            http::serve(&tunnel, &holder, purpose, peer.address(), (reader, writer), meter).await;
        }
    }
    drop(entered);
}

/// Sends an answer; false where it can't leave.
pub(super) async fn answer(answer: &Answer, writer: &mut Writer) -> bool {
    let Ok(frame) = answer.encode() else { return false };
    let sent = async {
        writer.write_all(&frame).await?;
        writer.flush().await
    };
    matches!(timeout(ANSWER, sent).await, Ok(Ok(())))
}

pub(super) async fn refuse(refused: Refused, mut reader: Reader, mut writer: Writer) {
    if !answer(&Answer::refused(refused.code, &refused.message), &mut writer).await {
        return;
    }
    let _ = timeout(ANSWER, writer.shutdown()).await;
    if reader.is_tls() {
        // Closed with something unread, TCP would take the answer back.
        let _ = timeout(LINGER, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
    } else {
        reader.stop(refused.code);
    }
}

impl Tunnel {
    /// Who asks: by the token that is brought, and by the connection's certificate where there is none. A token that doesn't
    /// count is no reason to go by the certificate: whoever brings one means it.
    pub(super) async fn authenticate(
        &self,
        peer: &Peer,
        token: Option<Token>,
        connection: &ConnectionName,
    ) -> Result<(Identity, Credential), Refused> {
        let authenticator = &self.gateway.authenticator;
        let checked = match (token, &peer.certified) {
            (Some(token), _) => {
                let audience = self.gateway.audience(connection.as_str());
                let checked = authenticator.authenticate(Some(token.as_str()), &audience).await;
                checked.map(|identity| (identity, Credential::Token(token)))
            }
            (None, Some(certified)) => {
                let credential = Credential::Certificate(Arc::clone(certified));
                certified.identity(authenticator).map(|identity| (identity, credential))
            }
            (None, None) => Err(AuthError::Missing),
        };
        let (identity, credential) = checked.map_err(|reason| {
            tracing::info!(address = %peer.address(), %connection, %reason, "not authenticated");
            let message = match reason {
                AuthError::Missing => "there is no token, and no certificate that stands for somebody",
                _ => "not authenticated",
            };
            Refused::new(Code::Unauthenticated, message)
        })?;
        // Clocks may differ by a little, but a session can't begin with nothing left.
        if identity.expires <= Timestamp::now() {
            return Err(Refused::new(Code::Unauthenticated, "the token has expired"));
        }
        Ok((identity, credential))
    }

    async fn admit(
        &self,
        peer: &Peer,
        token: Option<Token>,
        connection: &ConnectionName,
        purpose: Option<&str>,
        client: Option<String>,
    ) -> Result<Admitted, Refused> {
        if self.shutdown.is_cancelled() {
            return Err(Refused::new(Code::Draining, "the gateway is stopping"));
        }
        let (identity, credential) = self.authenticate(peer, token, connection).await?;
        let subject = subject(&identity);
        peer.own(self, &subject)?;
        let Some(config) = self.gateway.config.connections.get(connection.as_str()) else {
            return Err(Refused::new(Code::NoConnection, "there is no such connection"));
        };
        let purpose = purpose.map(Purpose::parse).transpose();
        let purpose = purpose.map_err(|error| Refused::new(Code::Malformed, error.to_string()))?.flatten();
        let ip = peer.address().ip().to_canonical().to_string();
        self.gateway
            .sessions
            .admit(Attempt {
                identity: &identity,
                connection: connection.as_str(),
                config,
                purpose: config.stated(purpose.as_ref().map(Purpose::as_str)),
                client: client.as_deref(),
                ip: Some(&ip),
            })
            .await?;
        let counted = self.admission.stream(subject.clone());
        let counted = counted.ok_or_else(|| Refused::new(Code::Busy, "the identity has as many sessions as it may"))?;
        let meter = self.admission.meter(&subject);
        let (session, carries) = match &config.upstream {
            UpstreamConfig::Tcp { .. } | UpstreamConfig::Agents => {
                let new = NewSession {
                    identity: identity.clone(),
                    connection: connection.to_string(),
                    purpose,
                    client,
                    ip: Some(ip),
                    protocol: "tcp".to_owned(),
                };
                let policy = self.gateway.policy.load_full();
                let session = self.gateway.sessions.open(new, config, &policy).await?;
                (session.id.clone(), Carries::Bytes(raw::open(&self.gateway, session, &config.upstream).await?))
            }
            UpstreamConfig::Postgres(_) => {
                let why = "this connection is for PostgreSQL's own clients, at the address of `[postgres]`";
                return Err(Refused::new(Code::NoConnection, why));
            }
            // Each MCP session that it carries is recorded as one; the stream is none by itself.
            UpstreamConfig::Http { .. } | UpstreamConfig::Stdio { .. } => {
                (SessionId::generate(), Carries::Messages { purpose })
            }
        };
        let holder = Holder::new(identity, connection.as_str(), session.to_string(), peer.link, credential);
        Ok(Admitted { holder, carries, meter, _counted: counted })
    }

    async fn renew(
        &self,
        peer: &Peer,
        token: Token,
        connection: &ConnectionName,
        session: Option<&str>,
    ) -> Result<u32, Refused> {
        let (identity, newer) = self.authenticate(peer, Some(token), connection).await?;
        match self.live.renew(&identity, &newer, connection.as_str(), session, peer.link) {
            Ok(()) => Ok(seconds_until(identity.expires)),
            Err(NotRenewed::None) => Err(Refused::new(Code::Ended, "there is no such session")),
            Err(NotRenewed::Changed) => {
                Err(Refused::new(Code::Ended, "the identity's groups are others now; open the session anew"))
            }
        }
    }
}
