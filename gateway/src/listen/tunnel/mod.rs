//! The agents' front: `sluice/1` over QUIC, and over TLS where UDP is blocked. Handshakes and limits are here; what a stream
//! carries begins in `opening`.

mod admit;
mod agent;
mod http;
#[cfg(feature = "http3")]
mod http3;
mod live;
mod opening;

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
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use sluice_client::{
    stream::{self, Reader, Writer, error_code},
    wire::{ALPN, Code},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    admit::{Admission, Entry, Knock},
    live::Live,
    opening::Peer,
};
use super::guard::Allowed;
use crate::{config::TunnelConfig, exchange::Shared, gateway::Gateway, raw, tls::Spoken};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may take to say who it is.
const AUTHENTICATE: Duration = Duration::from_secs(10);
/// A client that is silent for so long is gone, in milliseconds; ours says something every five seconds.
const IDLE: VarInt = VarInt::from_u32(20_000);
/// What may be on its way in one stream, in bytes; all streams of a connection together may have as much each, so that one
/// which nobody reads takes nothing from the others.
const STREAM_WINDOW: u32 = 128 * 1024;
/// What a client has not yet confirmed, in bytes, of all its streams.
const SEND_WINDOW: u64 = 2 << 20;
/// What is kept of a connection before its handshake begins, in bytes, and of all of them.
const INCOMING: u64 = 16 * 1024;
const ALL_INCOMING: u64 = 8 << 20;
/// Where the system ran out of something, connections are taken again after this time.
const REST: Duration = Duration::from_millis(100);
/// Ports that are tried where any will do, and UDP's is not free for TCP.
const ATTEMPTS: usize = 16;

/// A listener that is bound and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    endpoint: Endpoint,
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsSetup,
    config: TunnelConfig,
}

struct TlsSetup(TlsAcceptor);

impl std::fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSetup(…)")
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
        let tls = identity.server(Spoken::modern(&[ALPN]), None).map_err(io::Error::other)?;
        let quic = identity.server(Spoken::modern(over_quic(config)), None).map_err(io::Error::other)?;
        let quic = QuicServerConfig::try_from(quic).map_err(io::Error::other)?;
        let mut server = ServerConfig::with_crypto(Arc::new(quic));
        server
            .transport_config(Arc::new(transport(config.limits.streams)))
            .incoming_buffer_size(INCOMING)
            .incoming_buffer_size_total(ALL_INCOMING)
            // A client that moves keeps its identity: the keys say who it is, not the address (RFC 9000, section 9).
            .migration(true);
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
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))?;
        let tls = TlsSetup(TlsAcceptor::from(tls));
        Ok(Self { endpoint, listener, address, tls, config: config.clone() })
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
        let Self { endpoint, listener, tls, config, address: _ } = self;
        let tunnel = Arc::new(Tunnel {
            gateway: Arc::clone(&shared.gateway),
            shutdown: shared.shutdown.clone(),
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
            () = accept_tls(&tunnel, &listener, &tls.0) => {}
            () = tunnel.live.watch(&tunnel.gateway) => {}
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

/// What is spoken over QUIC.
#[cfg_attr(not(feature = "http3"), expect(unused_variables))]
fn over_quic(config: &TunnelConfig) -> &'static [&'static [u8]] {
    #[cfg(feature = "http3")]
    if config.http3 {
        return &[ALPN, http3::ALPN];
    }
    &[ALPN]
}

fn transport(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(streams.saturating_mul(STREAM_WINDOW)))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    transport
}

/// Never ends.
async fn accept_quic(tunnel: &Arc<Tunnel>, endpoint: &Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        match tunnel.admission.knock(address.ip(), incoming.remote_address_validated()) {
            Knock::Enter(entry) => {
                let tunnel = Arc::clone(tunnel);
                tokio::spawn(async move {
                    match timeout(HANDSHAKE, incoming).await {
                        Ok(Ok(connection)) => serve_quic(&tunnel, connection, entry).await,
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

async fn serve_quic(tunnel: &Arc<Tunnel>, connection: quinn::Connection, mut entry: Entry) {
    entry.entered();
    #[cfg(feature = "http3")]
    if protocol(&connection).as_deref() == Some(http3::ALPN) {
        let serving = http3::serve(Arc::clone(tunnel), tunnel.http3.clone(), connection);
        // The address counts as long as the connection.
        let _ = tunnel.streams.spawn(serving).await;
        return;
    }
    let peer = Arc::new(Peer::quic(tunnel.next_link(), connection.clone()));
    let until = Instant::now() + AUTHENTICATE;
    loop {
        let accepted = match peer.is_known() {
            true => connection.accept_bi().await,
            false => match timeout_at(until, connection.accept_bi()).await {
                Ok(accepted) => accepted,
                Err(_) if peer.is_known() => continue,
                Err(_) => return connection.close(error_code(Code::Unauthenticated), b"no session in time"),
            },
        };
        // The client or the network ended it; its streams know by themselves.
        let Ok((send, receive)) = accepted else { return };
        let streams = (Reader::quic(receive), Writer::quic(send, Code::Internal));
        tunnel.streams.spawn(opening::serve(Arc::clone(tunnel), Arc::clone(&peer), streams));
    }
}

/// What the handshake agreed on.
#[cfg(feature = "http3")]
fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    data.protocol
}

/// Never ends.
async fn accept_tls(tunnel: &Arc<Tunnel>, listener: &TcpListener, acceptor: &TlsAcceptor) {
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
                let (tunnel, acceptor) = (Arc::clone(tunnel), acceptor.clone());
                tokio::spawn(serve_tls(tunnel, socket, address, acceptor, entry));
            }
            Knock::Prove | Knock::Full => tracing::warn!(%address, "refused: too many connections"),
        }
    }
}

async fn serve_tls(
    tunnel: Arc<Tunnel>,
    socket: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    mut entry: Entry,
) {
    let shake = async {
        socket.set_nodelay(true)?;
        raw::keep_alive(&socket)?;
        acceptor.accept(socket).await
    };
    let stream = match timeout(HANDSHAKE, shake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "a handshake failed"),
        Err(_) => return tracing::debug!(%address, "a handshake took too long"),
    };
    entry.entered();
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return tracing::debug!(%address, "it doesn't say that it speaks sluice/1");
    }
    let peer = Arc::new(Peer::tls(tunnel.next_link(), address));
    let streams = stream::tls(TlsStream::from(stream), Code::Internal);
    let serving = tunnel.streams.spawn(opening::serve(Arc::clone(&tunnel), peer, streams));
    // The address counts as long as the connection.
    let _ = serving.await;
}
