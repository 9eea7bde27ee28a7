//! Listeners of kind `tcp`, plain or with TLS, for clients that can't say who they are. Who may connect is told by the network
//! alone, and all of them act as the identity that the configuration names.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use sluice_client::{stream, wire::Code};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Workers,
    counts::{Counts, Slot, network},
    handshake::Handshake,
    proxy,
};
use crate::{
    config::{ConnectionConfig, ListenerConfig},
    gateway::Gateway,
    identity::{Identity, UserKind},
    meter::Meter,
    raw,
    session::{NewSession, Purpose},
    tls::Spoken,
};

/// Where the system ran out of something, connections are taken again after this time.
const REST: Duration = Duration::from_millis(100);
/// How long a proxy may take to say who connects.
const HEADER: Duration = Duration::from_secs(5);
/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Who vouches for an identity that a listener stands for. No URL, so that no issuer can be it.
const ISSUER: &str = "listener";

/// A listener that is bound and serves nobody yet.
pub struct Bound {
    listener: TcpListener,
    config: ListenerConfig,
    purpose: Option<Purpose>,
    tls: Option<Arc<Handshake>>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Bound {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// It can't be listened on, the purpose is none, or the certificate can't be used.
    pub async fn bind(config: &ListenerConfig) -> io::Result<Self> {
        let purpose = config.purpose.as_deref().map(Purpose::parse).transpose().map_err(io::Error::other)?.flatten();
        let tls = config.identity.as_ref().map(|identity| Handshake::new(identity, Spoken::of(&[]), None));
        let (tls, config) = (tls.transpose()?, config.clone());
        Ok(Self { listener: TcpListener::bind(config.listen).await?, config, purpose, tls })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, and then until the sessions have ended.
    pub async fn serve(self, gateway: Arc<Gateway>, workers: Arc<Workers>, shutdown: CancellationToken) {
        let Self { listener, config, purpose, tls } = self;
        let Some(connection) = gateway.config.connections.get(&config.connection).cloned() else {
            return tracing::error!(connection = config.connection, "a listener has no connection");
        };
        let identity = Identity {
            issuer: ISSUER.to_owned(),
            subject: config.user.clone(),
            user_id: config.user.clone(),
            email: None,
            kind: UserKind::Service,
            groups: config.groups.clone(),
            roles: Vec::new(),
            actors: Vec::new(),
            token_id: None,
            expires: Timestamp::MAX,
        };
        let front = Arc::new(Front {
            meter: config.bytes_per_second.map(|rate| Arc::new(Meter::new(rate))),
            all: Arc::default(),
            addresses: Arc::default(),
            gateway,
            shutdown: shutdown.clone(),
            config,
            connection,
            identity,
            purpose,
            tls,
        });
        let clients = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => match socket.into_std() {
                    Ok(socket) => {
                        let serving = clients.track_future(serve(Arc::clone(&front), socket, peer));
                        drop(workers.next().spawn(serving));
                    }
                    Err(error) => tracing::warn!(%error, "a connection can't be taken"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be taken");
                    sleep(REST).await;
                }
            }
        }
        drop(listener);
        clients.close();
        clients.wait().await;
    }
}

/// What the connections of a listener share.
struct Front {
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    config: ListenerConfig,
    connection: ConnectionConfig,
    identity: Identity,
    purpose: Option<Purpose>,
    tls: Option<Arc<Handshake>>,
    meter: Option<Arc<Meter>>,
    all: Arc<Counts<()>>,
    addresses: Arc<Counts<IpAddr>>,
}

/// A connection that may be there.
struct Admitted {
    address: IpAddr,
    _counted: (Slot<()>, Slot<IpAddr>),
}

async fn serve(front: Arc<Front>, socket: std::net::TcpStream, peer: SocketAddr) {
    let mut socket = match TcpStream::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%peer, %error, "a connection can't be taken"),
    };
    let admitted = match front.admit(&mut socket, peer).await {
        Ok(admitted) => admitted,
        Err(reason) => {
            tracing::warn!(%peer, connection = front.config.connection, reason, "refused");
            return Client::Plain(socket).break_off();
        }
    };
    let client = match &front.tls {
        None => Client::Plain(socket),
        Some(tls) => match timeout(HANDSHAKE, tls.accept(socket)).await {
            Ok(Ok((stream, _))) => Client::Tls(Box::new(TlsStream::from(stream))),
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "a handshake failed"),
            Err(_) => return tracing::debug!(%peer, "a handshake took too long"),
        },
    };
    let new = NewSession {
        identity: front.identity.clone(),
        connection: front.config.connection.clone(),
        purpose: front.purpose.clone(),
        client: None,
        ip: Some(admitted.address.to_string()),
        protocol: "tcp".to_owned(),
    };
    let policy = front.gateway.policy.load_full();
    let session = match front.gateway.sessions.open(new, &front.connection, &policy).await {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%peer, connection = front.config.connection, %error, "refused");
            return client.break_off();
        }
    };
    let opened = match raw::open(&front.gateway, session, &front.connection.upstream).await {
        Ok(opened) => opened,
        Err(refused) => {
            tracing::info!(%peer, connection = front.config.connection, reason = refused.message, "refused");
            return client.break_off();
        }
    };
    // No token holds it: it lasts until somebody ends it.
    let (lost, meter) = (std::future::pending(), front.meter.clone());
    match client {
        Client::Plain(socket) => {
            let Ok(halves) = raw::Outgoing::split(socket) else { return };
            raw::run(&front.gateway, opened, halves, lost, &front.shutdown, meter).await;
        }
        Client::Tls(stream) => {
            let halves = stream::tls(*stream, Code::Internal);
            raw::run(&front.gateway, opened, halves, lost, &front.shutdown, meter).await;
        }
    }
}

/// A client's side.
enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    /// Bytes have no place for a reason: what isn't served is reset.
    fn break_off(self) {
        let socket = match &self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // An error means that it is gone already.
        let _ = socket.set_zero_linger();
    }
}

impl Front {
    async fn admit(&self, socket: &mut TcpStream, peer: SocketAddr) -> Result<Admitted, String> {
        socket.set_nodelay(true).and_then(|()| raw::keep_alive(socket)).map_err(|error| error.to_string())?;
        let own = peer.ip().to_canonical();
        let mut address = own;
        if holds(&self.config.proxies, own) {
            let said = timeout(HEADER, proxy::read(socket)).await.map_err(|_| "a proxy doesn't say who connects")?;
            if let Some(client) = said.map_err(|error| error.to_string())? {
                address = client.to_canonical();
            }
        }
        if !holds(&self.config.from, address) {
            return Err(format!("{address} is in no network that may connect"));
        }
        let all = self.all.take((), self.config.connections).ok_or("there are as many connections as may be")?;
        let one = self.addresses.take(network(address), self.config.connections_per_address);
        let one = one.ok_or_else(|| format!("{address} has as many connections as it may"))?;
        Ok(Admitted { address, _counted: (all, one) })
    }
}

fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
