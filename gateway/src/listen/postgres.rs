//! The front for PostgreSQL's own clients: TLS, who asks (the token is the password, or comes by OAUTHBEARER), which connection, what for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{ConnectionConfig, PostgresListen, UpstreamConfig};
use crate::exchange::farewell;
use crate::exchange::postgres::{Cancels, Relay, record_settings};
use crate::gateway::Gateway;
use crate::identity::Identity;
use crate::limits::Counter;
use crate::listen::handshake::{Certified, Handshake};
use crate::protocol::postgres::frame::{Frames, message};
use crate::protocol::postgres::oauth::{self, Initial};
use crate::protocol::postgres::report::Report;
use crate::protocol::postgres::startup::{Auth, Opening, PURPOSE, Startup, opening};
use crate::protocol::postgres::{Conversation, Malformed, Opened};
use crate::session::{NewSession, Purpose, Session, SessionError};
use crate::tls::Spoken;
use crate::upstream::catalog::Catalog;
use crate::upstream::postgres::{Server, Socket, connect, keep_alive};
use crate::upstream::way::Way;

/// How long a client may take until its session is open: as long as the server itself would give it.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// Connections that may be on their way to a session at once.
const OPENING: usize = 512;
/// The longest message before a session is open: a token in a password message.
const MAX_PASSWORD: usize = 20 * 1024;
/// What TLS without a request for it has to be spoken for.
const ALPN: &[u8] = b"postgresql";
/// The front, bound and not yet serving.
pub struct Front {
    listener: TcpListener,
    tls: Option<Arc<Handshake>>,
    plaintext: bool,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("plaintext", &self.plaintext).finish_non_exhaustive()
    }
}

impl Front {
    /// Binds the address.
    ///
    /// # Errors
    /// It can't be listened on, or the certificate can't be used.
    pub async fn bind(config: &PostgresListen) -> io::Result<Self> {
        let (tls, certificates) = (config.identity.as_ref(), config.certificates.as_ref());
        let tls = tls.map(|identity| Handshake::new(identity, Spoken::of(&[ALPN]), certificates)).transpose()?;
        Ok(Self { listener: TcpListener::bind(config.address).await?, tls, plaintext: config.plaintext })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, and then until the sessions have ended: each of them does when nothing of it is under way.
    pub async fn serve(self, gateway: Arc<Gateway>, shutdown: CancellationToken) {
        let front = Arc::new(Shared {
            gateway,
            shutdown: shutdown.clone(),
            tls: self.tls,
            plaintext: self.plaintext,
            cancels: Cancels::default(),
            catalogs: Mutex::default(),
        });
        let opening = Arc::new(Semaphore::new(OPENING));
        let mut clients = JoinSet::new();
        let watched = Arc::clone(&front);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
            if let Some(tls) = &watched.tls {
                tls.watch().await;
            }
        }));
        loop {
            let permit = Arc::clone(&opening).acquire_owned();
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = clients.join_next(), if !clients.is_empty() => continue,
                accepted = async { (permit.await, self.listener.accept().await) } => accepted,
            };
            let (Ok(permit), Ok((stream, peer))) = accepted else {
                // Out of descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let front = Arc::clone(&front);
            clients.spawn(async move {
                let opened = timeout(HANDSHAKE, front.open(stream, peer)).await;
                drop(permit);
                if let Ok(Some(relay)) = opened {
                    relay.run().await;
                }
            });
        }
        while clients.join_next().await.is_some() {}
    }
}

struct Shared {
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    tls: Option<Arc<Handshake>>,
    plaintext: bool,
    cancels: Cancels,
    /// What the servers' tables are called, by the names of connections.
    catalogs: Mutex<HashMap<String, Arc<Catalog>>>,
}

/// A client that wants a session.
struct Wanting {
    socket: Box<dyn Socket>,
    frames: Frames,
    startup: Startup,
    /// Who its certificate says that it is.
    certified: Option<Arc<Certified>>,
}

/// How a client is heard.
enum Line {
    Plain,
    /// Encrypted; by a certificate it is somebody.
    Tls(Option<Arc<Certified>>),
}

impl Shared {
    fn catalog(&self, connection: &str, upstream: &Arc<Server>) -> Arc<Catalog> {
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(catalogs.entry(connection.to_owned()).or_insert_with(|| Catalog::new(upstream)))
    }

    /// From the first byte of a client to a session; None where none comes about.
    async fn open(&self, stream: TcpStream, peer: SocketAddr) -> Option<Relay> {
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let mut wanting = match self.greet(stream).await {
            Ok(wanting) => wanting?,
            Err(error) => {
                tracing::debug!(%peer, %error, "a client went away before it had a session");
                return None;
            }
        };
        match self.admit(&mut wanting, peer).await {
            Ok(admitted) => Some(admitted.relay(wanting)),
            Err(report) => {
                let (mut read, mut write) = tokio::io::split(wanting.socket);
                farewell(&mut read, &mut write, Some(&report.to_message())).await;
                None
            }
        }
    }

    /// Encryption, and what the client wants. None where it wanted no session.
    async fn greet(&self, mut stream: TcpStream) -> io::Result<Option<Wanting>> {
        let mut first = [0; 1];
        let direct = stream.peek(&mut first).await? == 1 && first[0] == 0x16;
        if direct {
            let Some(tls) = &self.tls else { return Ok(None) };
            let (stream, certified) = tls.accept(stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Ok(None);
            }
            return self.want(Box::new(stream), Frames::new(MAX_PASSWORD), Line::Tls(certified)).await;
        }
        let mut frames = Frames::new(MAX_PASSWORD);
        // One request for each kind of encryption at most, as clients do.
        for _ in 0..3 {
            match next_opening(&mut stream, &mut frames).await? {
                Ok(Opening::Ssl) => {
                    if frames.held() > 0 {
                        // What follows came before the encryption and would be taken for what came inside it.
                        return refuse(stream, &Report::fatal("08P01", "data came before the encryption it asked for"))
                            .await;
                    }
                    match &self.tls {
                        Some(tls) => {
                            stream.write_all(b"S").await?;
                            let (stream, certified) = tls.accept(stream).await?;
                            return self.want(Box::new(stream), frames, Line::Tls(certified)).await;
                        }
                        None => stream.write_all(b"N").await?,
                    }
                }
                Ok(Opening::Gssenc) => stream.write_all(b"N").await?,
                Ok(Opening::Startup(startup)) => {
                    return self.with(Box::new(stream), frames, startup, Line::Plain).await;
                }
                Ok(Opening::Cancel(key)) => {
                    self.cancels.cancel(&self.gateway, &key).await;
                    return Ok(None);
                }
                Ok(Opening::DirectTls) => return Ok(None),
                Err(error) => return refuse(stream, &Report::fatal(error.state(), error.to_string())).await,
            }
        }
        refuse(stream, &Report::fatal("08P01", "encryption was asked for again and again")).await
    }

    /// What the client wants, once it is settled how it is heard.
    async fn want(&self, mut socket: Box<dyn Socket>, mut frames: Frames, line: Line) -> io::Result<Option<Wanting>> {
        match next_opening(&mut socket, &mut frames).await? {
            Ok(Opening::Startup(startup)) => self.with(socket, frames, startup, line).await,
            Ok(Opening::Cancel(key)) => {
                self.cancels.cancel(&self.gateway, &key).await;
                Ok(None)
            }
            Ok(_) => refuse(socket, &Report::fatal("08P01", "the connection is encrypted already")).await,
            Err(error) => refuse(socket, &Report::fatal(error.state(), error.to_string())).await,
        }
    }

    async fn with(
        &self,
        socket: Box<dyn Socket>,
        frames: Frames,
        startup: Startup,
        line: Line,
    ) -> io::Result<Option<Wanting>> {
        if matches!(line, Line::Plain) && !self.plaintext {
            let report = Report::fatal("28000", "clients connect over TLS alone here")
                .hint("Connect with sslmode=require or stricter.");
            return refuse(socket, &report).await;
        }
        let certified = if let Line::Tls(certified) = line { certified } else { None };
        Ok(Some(Wanting { socket, frames, startup, certified }))
    }

    /// Who asks, for which connection, under which rules; and the server behind it.
    async fn admit(&self, wanting: &mut Wanting, peer: SocketAddr) -> Result<Admitted, Report> {
        let gateway = &self.gateway;
        if self.shutdown.is_cancelled() {
            return Err(Report::fatal("57P03", "the gateway is shutting down"));
        }
        let name = wanting.startup.database.clone();
        let identity = self.authenticate(wanting, &name).await?;
        let found = gateway.config.connections.get(&name).and_then(|config| match &config.upstream {
            UpstreamConfig::Postgres(upstream) => {
                let way = Way::of(&name, config, &gateway.agents);
                Some((config.clone(), Arc::new(Server::new(upstream, way))))
            }
            _ => None,
        });
        let (config, upstream) = found.ok_or_else(|| {
            Report::fatal("3D000", "there is no such connection")
                .hint("The database is the name of a connection of the gateway.")
        })?;
        let session = self.session(wanting, identity, &name, &config, peer).await?;
        match self.upstream(wanting, &session, &upstream).await {
            Ok(connected) => Ok(Admitted {
                config,
                catalog: self.catalog(&name, &upstream),
                upstream,
                session,
                connected,
                gateway: Arc::clone(gateway),
                shutdown: self.shutdown.clone(),
                cancels: self.cancels.clone(),
            }),
            Err(report) => {
                if let Err(error) = gateway.sessions.close(&session.id, "not connected").await {
                    tracing::error!(session = %session.id, %error, "the end of a session is not recorded");
                }
                Err(report)
            }
        }
    }

    async fn authenticate(&self, wanting: &mut Wanting, connection: &str) -> Result<Identity, Report> {
        if let Some(negotiation) = wanting.startup.negotiation.take() {
            wanting.socket.write_all(&negotiation).await.map_err(gone)?;
        }
        if let Some(certified) = &wanting.certified {
            return certified.identity(&self.gateway.authenticator).map_err(|reason| {
                tracing::info!(connection, %reason, "a certificate doesn't count");
                Report::fatal("28000", "the certificate was not accepted")
            });
        }
        let token = match wanting.startup.auth {
            Auth::Password => wanting.password().await?,
            Auth::OauthBearer => wanting.bearer().await?,
        };
        let audience = self.gateway.postgres_audience(connection);
        let reason = match &token {
            Some(token) => match self.gateway.authenticator.authenticate(Some(token), &audience).await {
                Ok(identity) => return Ok(identity),
                Err(reason) => reason.to_string(),
            },
            None => "no token in the place of one".to_owned(),
        };
        tracing::info!(connection, %reason, "not authenticated");
        if wanting.startup.auth == Auth::OauthBearer {
            let issuer = self.gateway.config.issuers.first().map(|issuer| issuer.url.as_str());
            wanting.ask(&oauth::challenge(issuer)).await?;
            return Err(Report::fatal("28000", "the token was not accepted")
                .hint("It is an access token of the gateway's issuer; it may have expired."));
        }
        Err(Report::fatal("28P01", "the token was not accepted")
            .hint("The password is an access token of the gateway's issuer; it may have expired."))
    }

    async fn session(
        &self,
        wanting: &Wanting,
        identity: Identity,
        name: &str,
        config: &ConnectionConfig,
        peer: SocketAddr,
    ) -> Result<Arc<Session>, Report> {
        let startup = &wanting.startup;
        let purpose = startup.purpose.as_deref().map(Purpose::parse).transpose();
        let purpose = purpose.map_err(|error| Report::fatal("22023", format!("{PURPOSE}: {error}")))?.flatten();
        let client = startup.settings.iter().find(|(name, _)| name == "application_name");
        let new = NewSession {
            identity,
            connection: name.to_owned(),
            purpose,
            client: client.map(|(_, client)| client.chars().filter(|letter| !letter.is_control()).take(200).collect()),
            ip: Some(peer.ip().to_string()),
            protocol: "postgres".to_owned(),
        };
        let policy = self.gateway.policy.load_full();
        self.gateway.sessions.open(new, config, &policy).await.map_err(|error| match &error {
            SessionError::Forbidden => Report::fatal("28000", error.to_string()),
            SessionError::PurposeRequired => Report::fatal("28000", "this connection requires a purpose")
                .hint(format!("Say it in the options: PGOPTIONS='-c {PURPOSE}=reporting'.")),
            SessionError::PurposeRefused { accepted } => Report::fatal("28000", "this purpose is not accepted")
                .hint(format!("Accepted is {accepted}: PGOPTIONS='-c {PURPOSE}=reporting'.")),
            SessionError::Full => Report::fatal("53300", error.to_string()),
            SessionError::Draining => Report::fatal("57P03", error.to_string()),
            SessionError::Evidence(error) => {
                tracing::error!(%error, "a session is not recorded and does not open");
                Report::fatal("58030", "the session can't be recorded, so it is refused")
            }
            SessionError::Unknown => Report::fatal("XX000", error.to_string()),
        })
    }

    async fn upstream(
        &self,
        wanting: &Wanting,
        session: &Session,
        upstream: &Server,
    ) -> Result<crate::upstream::postgres::Connected, Report> {
        let settings = record_settings(&self.gateway, session, &wanting.startup.settings).await?;
        connect(upstream, &settings).await.map_err(|error| {
            tracing::error!(connection = session.connection, %error, "the server behind a connection can't be used");
            Report::fatal("08001", "the server behind this connection can't be reached")
        })
    }
}

fn gone(_: io::Error) -> Report {
    Report::fatal("08006", "the connection broke off")
}

impl Wanting {
    /// Asks for something and gives the answer, whose type is that of all answers in an authentication.
    async fn ask(&mut self, question: &[u8]) -> Result<Option<Bytes>, Report> {
        self.socket.write_all(question).await.map_err(gone)?;
        self.socket.flush().await.map_err(gone)?;
        loop {
            let next = self.frames.next_message();
            match next.map_err(|_| Report::fatal("08P01", "the password message can't be read"))? {
                Some(answer) => return Ok((answer.tag() == b'p').then(|| answer.body())),
                None => {
                    self.frames.buffer().reserve(2048);
                    if self.socket.read_buf(self.frames.buffer()).await.map_err(gone)? == 0 {
                        return Err(Report::fatal("08006", "the connection broke off"));
                    }
                }
            }
        }
    }

    /// What the client takes for a password is the token; None where it says none.
    async fn password(&mut self) -> Result<Option<String>, Report> {
        // AuthenticationCleartextPassword.
        let answer = self.ask(&message(b'R', &3_u32.to_be_bytes())).await?;
        let token = answer.and_then(|body| String::from_utf8(body.strip_suffix(&[0])?.to_vec()).ok());
        Ok(token)
    }

    /// The token of a SASL exchange; None where the client asks where to get one.
    async fn bearer(&mut self) -> Result<Option<String>, Report> {
        let answer = self.ask(&oauth::offer()).await?.ok_or(Malformed);
        match answer.and_then(oauth::initial) {
            Ok(Initial::Token(token)) => Ok(Some(token)),
            Ok(Initial::Discovery) => Ok(None),
            Err(Malformed) => Err(Report::fatal("08P01", "the message of OAUTHBEARER can't be read")
                .hint("It holds `auth=Bearer TOKEN`, binds to no channel and acts as nobody else.")),
        }
    }
}

/// A session that may begin.
struct Admitted {
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    cancels: Cancels,
    config: ConnectionConfig,
    upstream: Arc<Server>,
    catalog: Arc<Catalog>,
    session: Arc<Session>,
    connected: crate::upstream::postgres::Connected,
}

impl Admitted {
    fn relay(self, wanting: Wanting) -> Relay {
        let Self { gateway, shutdown, cancels, config, upstream, catalog, session, connected } = self;
        let long_keys = wanting.startup.long_keys;
        let key = cancels.register(&session, &upstream, connected.key.clone(), long_keys);
        let conversation = Conversation::new(Opened {
            policy: session.policy.clone(),
            budget: gateway.budget.clone(),
            purpose: session.purpose.as_ref().map(ToString::to_string),
            counter: Counter::new(&gateway.limits, &session.policy),
            refuses_unmaskable: upstream.refuses_unmaskable,
            processes: (connected.key.process, key.key().process),
        });
        // From here on messages may be as long as commands are.
        let Wanting { socket: client, frames: mut before, .. } = wanting;
        let mut client_frames = Frames::default();
        client_frames.push(before.buffer());
        // AuthenticationOk.
        let hello: Vec<Bytes> = vec![message(b'R', &0_u32.to_be_bytes())];
        Relay {
            gateway,
            shutdown,
            idle: config.idle,
            upstream,
            catalog,
            session,
            conversation,
            key,
            hello,
            client,
            client_frames,
            connected,
        }
    }
}

/// The first packet of a client.
async fn next_opening<S: Socket>(
    socket: &mut S,
    frames: &mut Frames,
) -> io::Result<Result<Opening, crate::protocol::postgres::startup::StartupError>> {
    loop {
        match opening(frames.buffer()) {
            Ok(Some(opening)) => return Ok(Ok(opening)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
        frames.buffer().reserve(1024);
        if socket.read_buf(frames.buffer()).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn refuse<S: Socket>(socket: S, report: &Report) -> io::Result<Option<Wanting>> {
    let (mut read, mut write) = tokio::io::split(socket);
    farewell(&mut read, &mut write, Some(&report.to_message())).await;
    Ok(None)
}
