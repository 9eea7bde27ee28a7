//! One connection to the gateway: QUIC, or TLS over TCP for each session where UDP is blocked.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use futures_util::future::select_ok;
use quinn::{Endpoint, IdleTimeout, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs::default_provider, pki_types::ServerName,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::{
    settings::Settings,
    stream::{self, FrameError, Reader, Writer},
    wire::{ALPN, Code},
};

/// How long QUIC may take before UDP counts as blocked.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long TCP and TLS may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a new stream may wait for one of the others to end.
const STREAM: Duration = Duration::from_secs(10);
/// A gateway that is silent for so long is gone.
const IDLE: VarInt = VarInt::from_u32(20_000);
/// Often enough to be heard within the idle time, and for addresses of NAT to stay.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What may be on its way in one stream, in bytes, and in all of them: a stream that nobody reads takes nothing from the others.
const STREAM_WINDOW: u32 = 1 << 20;
const WINDOW: u32 = 64 * STREAM_WINDOW;
/// Sessions that the gateway may have with a client that serves.
const SERVED: u32 = 4096;
/// A gateway, or a client that serves, is gone after this silence, in milliseconds.
const SERVING_IDLE: VarInt = VarInt::from_u32(6_000);
const SERVING_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// The way that a session takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// QUIC (RFC 9000).
    Quic,
    /// TLS 1.3 over TCP.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tls => "TLS over TCP",
        })
    }
}

/// How streams to the gateway are had.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Quic(quinn::Connection),
    Tls(Arc<Dialer>),
}

impl Way {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tls(_) => Transport::Tls,
        }
    }

    /// A new stream on which `frame` was sent.
    pub(crate) async fn stream(&self, frame: &[u8]) -> Result<(Reader, Writer), FrameError> {
        let (reader, mut writer) = match self {
            Self::Quic(connection) => {
                let opened = timeout(STREAM, connection.open_bi()).await;
                let (send, receive) = opened.map_err(|_| busy())?.map_err(io::Error::from)?;
                (Reader::quic(receive), Writer::quic(send, Code::Ended))
            }
            Self::Tls(dialer) => dialer.tls().await?,
        };
        writer.write_all(frame).await?;
        writer.flush().await?;
        Ok((reader, writer))
    }
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "all streams of the connection are in use")
}

/// Connects to the gateway, either way.
pub(crate) struct Dialer {
    gateway: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    quic: quinn::ClientConfig,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Dialer {
    /// # Errors
    /// The gateway's name can't be one, or TLS can't be set up.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        Self::with(settings, transport())
    }

    /// For a client that serves: the gateway opens streams as well.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn serving(settings: &Settings) -> Result<Self, String> {
        let mut transport = transport();
        // A gateway that is gone is noticed sooner, and here and there the shorter time counts (RFC 9000, section 10.1).
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(SERVED))
            .max_idle_timeout(Some(IdleTimeout::from(SERVING_IDLE)))
            .keep_alive_interval(Some(SERVING_KEEP_ALIVE));
        Self::with(settings, transport)
    }

    fn with(settings: &Settings, transport: TransportConfig) -> Result<Self, String> {
        let host =
            settings.gateway.rsplit_once(':').map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
        let host =
            host.filter(|host| !host.is_empty()).ok_or("the gateway is a name and a port, such as gateway:7701")?;
        let name = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is no name of a server"))?;
        let roots = settings
            .roots
            .clone()
            .unwrap_or_else(|| Arc::new(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())));
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut tls = match &settings.certificate {
            None => tls.with_no_client_auth(),
            Some(certificate) => tls.with_client_cert_resolver(Arc::clone(certificate)),
        };
        if settings.certificate.is_some() {
            // A session that is resumed has the certificate of the one before, and not the newer one.
            tls.resumption = Resumption::disabled();
        }
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // What is sent early can be replayed (RFC 9001, section 9.2); a session acts.
        tls.enable_early_data = false;
        let quic = QuicClientConfig::try_from(tls.clone()).map_err(|error| error.to_string())?;
        let mut quic = quinn::ClientConfig::new(Arc::new(quic));
        quic.transport_config(Arc::new(transport));
        Ok(Self { gateway: settings.gateway.clone(), name, tls: TlsConnector::from(Arc::new(tls)), quic })
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<_> = lookup_host(&self.gateway).await?.collect();
        addresses.dedup();
        addresses.truncate(ADDRESSES);
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    /// A connection of QUIC, to whichever address of the gateway answers first.
    pub(crate) async fn quic(&self) -> Result<(Endpoint, quinn::Connection), String> {
        let addresses = self.addresses().await.map_err(|error| error.to_string())?;
        let name = match &self.name {
            ServerName::DnsName(name) => name.as_ref().to_owned(),
            ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
            _ => return Err("the gateway's name is neither a name nor an address".to_owned()),
        };
        let attempts = addresses.into_iter().map(|address| {
            let name = &name;
            Box::pin(async move {
                let endpoint = Endpoint::client(any(address)).map_err(|error| error.to_string())?;
                let connecting =
                    endpoint.connect_with(self.quic.clone(), address, name).map_err(|error| error.to_string())?;
                let connection = connecting.await.map_err(|error| error.to_string())?;
                Ok::<_, String>((endpoint, connection))
            })
        });
        match timeout(HANDSHAKE, select_ok(attempts)).await {
            Ok(Ok((connected, _))) => Ok(connected),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("nothing answers over UDP".to_owned()),
        }
    }

    /// A connection of TLS.
    pub(crate) async fn tls(&self) -> io::Result<(Reader, Writer)> {
        let connect = async {
            let socket = TcpStream::connect(&self.addresses().await?[..]).await?;
            socket.set_nodelay(true)?;
            keep_alive(&socket)?;
            self.tls.connect(self.name.clone(), socket).await
        };
        let stream = timeout(CONNECT, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the other side doesn't speak sluice/1"));
        }
        Ok(stream::tls(TlsStream::from(stream), Code::Ended))
    }
}

/// Any port of this machine that speaks with such an address.
pub(crate) fn any(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Another socket for the same connection.
pub(crate) fn rebind(endpoint: &Endpoint) -> io::Result<()> {
    let local = endpoint.local_addr()?;
    endpoint.rebind(UdpSocket::bind(any(local))?)
}

/// The other side's silence is noticed (RFC 9293, section 3.8.4).
fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keep = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket2::SockRef::from(socket).set_tcp_keepalive(&keep)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}
