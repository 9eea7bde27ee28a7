//! A client of HTTPS that believes one authority, and may show a certificate of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http::Answer;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client. Each [`Client::connect`] is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

/// A connection, over which one request goes after the other.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    One(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2.
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Speaks this protocol (ALPN), and shows this certificate and its key, in PEM, where there is one.
    pub fn new(roots: RootCertStore, protocol: &[u8], shown: Option<&(String, String)>) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Self(Arc::new(config))
    }

    /// Connects to the host of a URL.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn connect(&self, url: &str) -> io::Result<Connection> {
        let uri: Uri = url.parse().unwrap();
        let connect = async {
            let socket = TcpStream::connect(uri.authority().unwrap().as_str()).await?;
            let name = uri.host().unwrap().to_owned().try_into().unwrap();
            let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, socket).await?;
            let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let io = TokioIo::new(stream);
            if is_two {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                return Ok(Connection::Two(sender));
            }
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Connection::One(sender))
        };
        timeout(PATIENCE, connect).await.expect("a handshake ends in time")
    }

    /// Sends one request over a connection of its own.
    ///
    /// # Errors
    /// The other side doesn't answer: it refuses the certificate, most likely.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        self.connect(&request.uri().to_string()).await?.send(request).await
    }
}

impl Connection {
    /// Sends a request.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> io::Result<Answer> {
        let exchange = async {
            let response = match self {
                Self::One(sender) => {
                    let uri = request.uri().clone();
                    let host = uri.authority().unwrap().as_str().parse().unwrap();
                    request.headers_mut().entry("host").or_insert(host);
                    *request.uri_mut() = uri.path_and_query().unwrap().as_str().parse().unwrap();
                    sender.ready().await.map_err(io::Error::other)?;
                    sender.send_request(request).await
                }
                Self::Two(sender) => {
                    sender.ready().await.map_err(io::Error::other)?;
                    sender.send_request(request).await
                }
            };
            Ok(Answer::of(response.map_err(io::Error::other)?).await)
        };
        timeout(PATIENCE, exchange).await.expect("an answer ends in time")
    }
}
