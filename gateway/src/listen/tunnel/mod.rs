//! The agents' front: `sluice/1` over QUIC, and over TLS where UDP is blocked. Handshakes and limits are here; what a stream
//! carries begins in `opening`.

mod admit;
mod agent;
mod http;
#[cfg(feature = "http3")]
mod http3;
mod live;
mod opening;
mod quic;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rustls::pki_types::CertificateDer;
use sluice_client::{
    stream::{self, Reader, Writer, error_code},
    wire::{ALPN, Code},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    admit::{Admission, Entry, Knock},
    live::Live,
    opening::Peer,
    quic::Quic,
};
use super::{
    guard::Allowed,
    handshake::{Certified, Handshake, Setup},
};
use crate::{config::TunnelConfig, exchange::Shared, gateway::Gateway, raw, tls::Spoken};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may take to say who it is.
const AUTHENTICATE: Duration = Duration::from_secs(10);
/// Where the system ran out of something, connections are taken again after this time.
const REST: Duration = Duration::from_millis(100);
/// Ports that are tried where any will do, and UDP's is not free for TCP.
const ATTEMPTS: usize = 16;

/// How long after the end of its certificate a connection of QUIC is closed: its sessions are told before.
const FAREWELL: Duration = Duration::from_secs(1);

/// A listener that is bound and serves nobody yet.
pub struct Bound {
    endpoint: Endpoint,
    listener: TcpListener,
    address: SocketAddr,
    handshake: Arc<Handshake>,
    quic: Quic,
    config: TunnelConfig,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Bound {
    /// Binds UDP and TCP at the same port.
    ///
    /// # Errors
    ///
    /// The address can't be had, or TLS can't be set up.
    pub async fn bind(config: &TunnelConfig) -> io::Result<Self> {
        let identity = config.identity.as_ref().ok_or_else(|| io::Error::other("there is no certificate"))?;
        let handshake = Handshake::new(identity, Spoken::modern(&[ALPN]), config.certificates.as_ref())?;
        let quic = Quic::new(config);
        let server = quic.server(&handshake.current())?;
        let mut attempt = 0;
        let (socket, listener) = loop {
            let socket = UdpSocket::bind(config.listen)?;
            match TcpListener::bind(socket.local_addr()?).await {
                Ok(listener) => break (socket, listener),
                Err(_) if config.listen.port() == 0 && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        let address = listener.local_addr()?;
        let server = Some(quinn::ServerConfig::clone(&server));
        let endpoint = Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, listener, address, handshake, quic, config: config.clone() })
    }

    /// Where it listens, by UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the gateway stops and what was under way has ended; MCP by `router`.
    pub(super) async fn serve(self, shared: &Arc<Shared>, router: Router, allowed: Allowed) {
        #[cfg(feature = "http3")]
        let http3 = http3::service(&router, Allowed::new(&shared.gateway, "https", self.address));
        let Self { endpoint, listener, handshake, quic, config, address: _ } = self;
        let tunnel = Arc::new(Tunnel {
            gateway: Arc::clone(&shared.gateway),
            shutdown: shared.shutdown.clone(),
            handshake,
            quic,
            admission: Admission::new(config.limits),
            live: Arc::default(),
            streams: TaskTracker::new(),
            links: AtomicU64::new(0),
            #[cfg(feature = "http3")]
            http3,
            router,
            allowed,
        });
        tokio::select! {
            () = accept_quic(&tunnel, &endpoint) => {}
            () = accept_tls(&tunnel, &listener) => {}
            () = tunnel.live.watch(&tunnel.gateway) => {}
            () = follow(&tunnel.handshake) => {}
            () = shared.shutdown.cancelled() => {}
        }
        endpoint.set_server_config(None);
        drop(listener);
        tunnel.streams.close();
        tokio::select! {
            () = tunnel.streams.wait() => {}
            () = tunnel.live.watch(&tunnel.gateway) => {}
        }
        endpoint.close(error_code(Code::Draining), b"");
        // What the last streams said is still to be sent, and confirmed.
        let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    }
}

/// What all streams of agents share.
struct Tunnel {
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    handshake: Arc<Handshake>,
    quic: Quic,
    admission: Admission,
    live: Arc<Live>,
    /// Ended when every stream has.
    streams: TaskTracker,
    links: AtomicU64,
    router: Router,
    allowed: Allowed,
    /// What answers over HTTP/3.
    #[cfg(feature = "http3")]
    http3: Router,
}

impl Tunnel {
    fn next_link(&self) -> u64 {
        self.links.fetch_add(1, Ordering::Relaxed)
    }
}

/// Follows the list of revoked certificates; never ends.
async fn follow(handshake: &Handshake) {
    handshake.watch().await;
    std::future::pending().await
}

/// Never ends.
async fn accept_quic(tunnel: &Arc<Tunnel>, endpoint: &Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        match tunnel.admission.knock(address.ip(), incoming.remote_address_validated()) {
            Knock::Enter(entry) => {
                let setup = tunnel.handshake.current();
                let server = match tunnel.quic.server(&setup) {
                    Ok(server) => server,
                    Err(error) => {
                        tracing::error!(%address, %error, "refused: QUIC can't be set up");
                        incoming.refuse();
                        continue;
                    }
                };
                let tunnel = Arc::clone(tunnel);
                tokio::spawn(async move {
                    let shake = async { incoming.accept_with(server)?.await };
                    match timeout(HANDSHAKE, shake).await {
                        Ok(Ok(connection)) => serve_quic(&tunnel, connection, setup, entry).await,
                        Ok(Err(error)) => tracing::debug!(%address, %error, "a handshake failed"),
                        Err(_) => tracing::debug!(%address, "a handshake took too long"),
                    }
                });
            }
            Knock::Prove => {
                // Only one that has proven itself already can't be asked.
                let _ = incoming.retry();
            }
            Knock::Full => {
                tracing::warn!(%address, "refused: too many connections");
                incoming.refuse();
            }
        }
    }
    std::future::pending().await
}

async fn serve_quic(tunnel: &Arc<Tunnel>, connection: quinn::Connection, setup: Arc<Setup>, mut entry: Entry) {
    entry.entered();
    let certified = certified(tunnel, setup, &connection);
    #[cfg(feature = "http3")]
    if protocol(&connection).as_deref() == Some(http3::ALPN) {
        let serving = http3::serve(Arc::clone(tunnel), tunnel.http3.clone(), connection, certified);
        // The address counts as long as the connection.
        let _ = tunnel.streams.spawn(serving).await;
        return;
    }
    let peer = Arc::new(Peer::quic(tunnel.next_link(), connection.clone(), certified.clone()));
    let until = Instant::now() + AUTHENTICATE;
    let expired = Certified::over(certified.as_deref(), FAREWELL);
    tokio::pin!(expired);
    let mut over = false;
    loop {
        let next = async {
            match peer.is_known() {
                true => Ok(connection.accept_bi().await),
                false => timeout_at(until, connection.accept_bi()).await,
            }
        };
        let accepted = tokio::select! {
            next = next => match next {
                Ok(accepted) => accepted,
                Err(_) if peer.is_known() => continue,
                Err(_) => return connection.close(error_code(Code::Unauthenticated), b"no session in time"),
            },
            // Where a token says who it is, it is no matter that the certificate has expired.
            () = &mut expired, if !over => match peer.is_certified() {
                true => return connection.close(error_code(Code::Expired), b"the certificate has expired"),
                false => {
                    over = true;
                    continue;
                }
            },
        };
        // The client or the network ended it; its streams know by themselves.
        let Ok((send, receive)) = accepted else { return };
        let streams = (Reader::quic(receive), Writer::quic(send, Code::Internal));
        tunnel.streams.spawn(opening::serve(Arc::clone(tunnel), Arc::clone(&peer), streams));
    }
}

/// Who a connection is of by its certificate.
fn certified(tunnel: &Tunnel, setup: Arc<Setup>, connection: &quinn::Connection) -> Option<Arc<Certified>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tunnel.handshake.certified(setup, &chain)
}

/// What the handshake agreed on.
#[cfg(feature = "http3")]
fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    data.protocol
}

/// Never ends.
async fn accept_tls(tunnel: &Arc<Tunnel>, listener: &TcpListener) {
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection can't be taken");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        // TCP's own handshake has proven the address.
        match tunnel.admission.knock(address.ip(), true) {
            Knock::Enter(entry) => {
                tokio::spawn(serve_tls(Arc::clone(tunnel), socket, address, entry));
            }
            Knock::Prove | Knock::Full => tracing::warn!(%address, "refused: too many connections"),
        }
    }
}

async fn serve_tls(tunnel: Arc<Tunnel>, socket: TcpStream, address: SocketAddr, mut entry: Entry) {
    let shake = async {
        socket.set_nodelay(true)?;
        raw::keep_alive(&socket)?;
        tunnel.handshake.accept(socket).await
    };
    let (stream, certified) = match timeout(HANDSHAKE, shake).await {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "a handshake failed"),
        Err(_) => return tracing::debug!(%address, "a handshake took too long"),
    };
    entry.entered();
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return tracing::debug!(%address, "it doesn't say that it speaks sluice/1");
    }
    let peer = Arc::new(Peer::tls(tunnel.next_link(), address, certified));
    let streams = stream::tls(TlsStream::from(stream), Code::Internal);
    let serving = tunnel.streams.spawn(opening::serve(Arc::clone(&tunnel), peer, streams));
    // The address counts as long as the connection.
    let _ = serving.await;
}
