//! A PostgreSQL server: connected to over TLS that is checked, as the gateway's own user.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::binding::end_point;
use super::way::Way;
use crate::config::PostgresUpstream;
use crate::protocol::postgres::frame::{FrameError, Frames, Message, message};
use crate::protocol::postgres::startup::{CancelKey, ssl_request, startup};
use crate::tls;

/// How long a connection may take to come about, until the server is ready.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that bytes go over, encrypted or not.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// Why there is no connection to a server. For the log: it may name what the client is not to know.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("not reachable: {0}")]
    Io(#[from] std::io::Error),
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("it is not reachable by a name that a certificate could be for")]
    Name,
    #[error("it offers no TLS; set `tls = \"off\"` if the way to it needs none")]
    NoTls,
    #[error("it did not get ready in {} s", CONNECT.as_secs())]
    Slow,
    #[error("it broke off")]
    Closed,
    #[error("it asks for a way to authenticate that is not spoken ({0}); SCRAM-SHA-256 is")]
    Method(&'static str),
    #[error("it could not prove that it knows the password")]
    Unproven,
    #[error("it asks for a password and none is configured")]
    NoPassword,
    #[error("it refused: {0}")]
    Refused(String),
    #[error("it does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A server that is ready.
pub(crate) struct Connected {
    pub(crate) socket: Box<dyn Socket>,
    /// What came after it was ready, if anything did.
    pub(crate) frames: Frames,
    /// What it said on the way: its parameters and notices, and last that it is ready.
    pub(crate) said: Vec<Message>,
    /// Cancels what the connection runs.
    pub(crate) key: CancelKey,
}

impl Connected {
    /// Asks something of the gateway's own.
    pub(super) async fn ask(&mut self, messages: &[u8]) -> Result<(), ConnectError> {
        self.socket.write_all(messages).await?;
        Ok(self.socket.flush().await?)
    }

    /// The next message of the answer; None at its end.
    pub(super) async fn answer(&mut self) -> Result<Option<Message>, ConnectError> {
        loop {
            if let Some(message) = self.frames.next_message()? {
                return Ok((message.tag() != b'Z').then_some(message));
            }
            self.frames.buffer().reserve(4096);
            if self.socket.read_buf(self.frames.buffer()).await? == 0 {
                return Err(ConnectError::Closed);
            }
        }
    }
}

/// A server, and the way to it.
#[derive(Debug)]
pub(crate) struct Server {
    config: Arc<PostgresUpstream>,
    way: Way,
}

impl Server {
    pub(crate) fn new(config: &Arc<PostgresUpstream>, way: Way) -> Self {
        Self { config: Arc::clone(config), way }
    }
}

impl std::ops::Deref for Server {
    type Target = PostgresUpstream;
    fn deref(&self) -> &PostgresUpstream {
        &self.config
    }
}

/// Connects and authenticates; `settings` are those of the session besides user and database.
pub(crate) async fn connect(upstream: &Server, settings: &[(String, String)]) -> Result<Connected, ConnectError> {
    tokio::time::timeout(CONNECT, async {
        let (mut socket, binding) = open(upstream).await?;
        let own = [("user", upstream.user.as_str()), ("database", &upstream.database), ("client_encoding", "UTF8")];
        let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        socket.write_all(&startup(own.into_iter().chain(settings))).await?;
        get_ready(upstream, socket, binding).await
    })
    .await
    .unwrap_or(Err(ConnectError::Slow))
}

/// Cancels what the connection with this key runs.
pub(crate) async fn cancel(upstream: &Server, key: &CancelKey) -> Result<(), ConnectError> {
    tokio::time::timeout(CONNECT, async {
        let (mut socket, _) = open(upstream).await?;
        socket.write_all(&key.request()).await?;
        socket.flush().await?;
        // The server closes when it has seen to it.
        let mut end = [0; 1];
        while socket.read(&mut end).await.is_ok_and(|count| count > 0) {}
        Ok(())
    })
    .await
    .unwrap_or(Err(ConnectError::Slow))
}

/// What binds a proof to the connection that it is given on: the hash of the server's certificate.
type Binding = Option<Vec<u8>>;

async fn open(upstream: &Server) -> Result<(Box<dyn Socket>, Binding), ConnectError> {
    let mut stream = upstream.way.connect(&upstream.host, upstream.port).await?;
    if !upstream.tls {
        return Ok((stream, None));
    }
    stream.write_all(&ssl_request()).await?;
    // One byte, and none that follows it: what comes before the handshake is nobody's word.
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await?;
    if answer != *b"S" {
        return Err(ConnectError::NoTls);
    }
    let name = match upstream.host.parse::<Ipv6Addr>() {
        Ok(address) => ServerName::IpAddress(std::net::IpAddr::V6(address).into()),
        Err(_) => ServerName::try_from(upstream.host.clone()).map_err(|_| ConnectError::Name)?,
    };
    let connector = TlsConnector::from(tls::client(upstream.authorities.as_ref(), upstream.identity.as_ref())?);
    let stream = connector.connect(name, stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(|certificate| end_point(certificate));
    Ok((Box::new(stream), binding))
}

/// Finds out in minutes, not hours, that the other side is gone without a word.
pub(crate) fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, Duration::from_secs(60)))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection without keep-alive");
    }
}

/// Authenticates, and reads on until the server is ready.
async fn get_ready(
    upstream: &PostgresUpstream,
    mut socket: Box<dyn Socket>,
    binding: Binding,
) -> Result<Connected, ConnectError> {
    let mut frames = Frames::default();
    let mut said = Vec::new();
    let mut key = None;
    let mut scram: Option<ScramSha256> = None;
    let (mut proven, mut authenticated) = (false, false);
    loop {
        let Some(heard) = frames.next_message()? else {
            frames.buffer().reserve(4096);
            if socket.read_buf(frames.buffer()).await? == 0 {
                return Err(ConnectError::Closed);
            }
            continue;
        };
        let body = heard.body();
        match heard.tag() {
            b'E' => return Err(ConnectError::Refused(first_line(&body))),
            b'R' if !authenticated => {
                let Some((method, rest)) = body.split_first_chunk::<4>() else {
                    return Err(ConnectError::Protocol("authentication"));
                };
                let answer = match u32::from_be_bytes(*method) {
                    0 if scram.is_some() && !proven => return Err(ConnectError::Unproven),
                    0 => {
                        authenticated = true;
                        continue;
                    }
                    3 if upstream.password.is_empty() => return Err(ConnectError::NoPassword),
                    // In clear text only to a server that is known.
                    3 if upstream.tls => [upstream.password.as_bytes(), &[0]].concat(),
                    3 => return Err(ConnectError::Method("the password in clear text, without TLS")),
                    5 => return Err(ConnectError::Method("MD5")),
                    10 if scram.is_none() => {
                        if upstream.password.is_empty() {
                            return Err(ConnectError::NoPassword);
                        }
                        let (mechanism, channel) = mechanism(rest, binding.as_deref())
                            .ok_or(ConnectError::Method("SASL without SCRAM-SHA-256"))?;
                        let begun = ScramSha256::new(upstream.password.as_bytes(), channel);
                        let first = begun.message();
                        let length = u32::try_from(first.len()).map_err(|_| ConnectError::Protocol("SASL"))?;
                        let answer = [mechanism.as_bytes(), &[0], &length.to_be_bytes(), first].concat();
                        scram = Some(begun);
                        answer
                    }
                    11 => {
                        let scram = scram.as_mut().ok_or(ConnectError::Protocol("SASL"))?;
                        scram.update(rest).map_err(|_| ConnectError::Unproven)?;
                        scram.message().to_vec()
                    }
                    12 => {
                        let scram = scram.as_mut().ok_or(ConnectError::Protocol("SASL"))?;
                        scram.finish(rest).map_err(|_| ConnectError::Unproven)?;
                        proven = true;
                        continue;
                    }
                    _ => return Err(ConnectError::Method("another one")),
                };
                socket.write_all(&message(b'p', &answer)).await?;
                socket.flush().await?;
            }
            b'K' if authenticated => {
                key = Some(CancelKey::parse(body).map_err(|_| ConnectError::Protocol("the key"))?);
            }
            b'S' | b'N' if authenticated => said.push(heard),
            b'N' => {}
            b'Z' if authenticated => {
                said.push(heard);
                let none = CancelKey { process: 0, secret: Bytes::from_static(&[0; 4]) };
                return Ok(Connected { socket, frames, said, key: key.unwrap_or(none) });
            }
            _ => return Err(ConnectError::Protocol("a message out of place")),
        }
    }
}

/// The mechanism of those that are offered, and how its proof is bound. Bound where both sides can; where the server seems not
/// to, it is told that we could, so that it finds out if somebody between took the offer away.
fn mechanism(offered: &[u8], binding: Option<&[u8]>) -> Option<(&'static str, ChannelBinding)> {
    let offers = |mechanism: &str| offered.split(|byte| *byte == 0).any(|name| name == mechanism.as_bytes());
    match binding {
        Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
            Some((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash.to_vec())))
        }
        _ if !offers(SCRAM_SHA_256) => None,
        Some(_) => Some((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None => Some((SCRAM_SHA_256, ChannelBinding::unsupported())),
    }
}

/// The SQLSTATE and the message of an ErrorResponse.
fn first_line(body: &Bytes) -> String {
    let fields: Vec<&[u8]> = body.split(|byte| *byte == 0).collect();
    let field = |code: u8| {
        let field = fields.iter().find(|field| field.first() == Some(&code));
        field.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mechanism that is chosen, and the header with which its first message begins.
    fn chosen(offered: &[u8], binding: Option<&[u8]>) -> Option<(&'static str, String)> {
        let (mechanism, channel) = mechanism(offered, binding)?;
        let first = String::from_utf8(ScramSha256::new(b"x", channel).message().to_vec()).unwrap();
        Some((mechanism, first.split_once("n=").unwrap().0.to_owned()))
    }

    #[test]
    fn a_proof_is_bound_to_its_connection_where_that_can_be() {
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let bound = Some((SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,".to_owned()));
        assert_eq!(chosen(both, Some(b"hash")), bound);
        assert_eq!(chosen(both, None), Some((SCRAM_SHA_256, "n,,".to_owned())));
        let plain = b"SCRAM-SHA-256\0\0";
        assert_eq!(chosen(plain, Some(b"hash")), Some((SCRAM_SHA_256, "y,,".to_owned())), "a taken offer is found out");
        assert_eq!(chosen(plain, None), Some((SCRAM_SHA_256, "n,,".to_owned())));
        assert_eq!(chosen(b"OAUTHBEARER\0\0", Some(b"hash")), None);
    }
}
