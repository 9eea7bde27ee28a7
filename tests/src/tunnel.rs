//! Agents of the gateway under test: `sluice connect` as a program, and the client library in the test's own process.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::Value;
use sluice_client::wire::ConnectionName;
use sluice_client::{Channel, Fixed, Settings, TokenError, Tokens, Tunnel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::issuer::Issuer;
use crate::place;
use crate::program::Server;
use crate::sluice::Sluice;

/// Tokens that an issuer makes when they are asked for, each good for so many seconds.
#[derive(Clone)]
pub struct Fresh {
    make: Arc<dyn Fn() -> String + Send + Sync>,
    asked: Arc<AtomicU64>,
}

impl Fresh {
    /// Tokens of this issuer for this user.
    pub fn new(issuer: Arc<Issuer>, user: &str, seconds: i64) -> Self {
        let user = user.to_owned();
        let make = Arc::new(move || issuer.token(&user, &[], seconds, &Value::Null));
        Self { make, asked: Arc::default() }
    }

    /// How often one was asked for.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Tokens for Fresh {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + '_>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok((self.make)())))
    }
}

/// A connection's name.
pub fn name(text: &str) -> ConnectionName {
    ConnectionName::new(text).unwrap()
}

/// The settings of a client in this process, of the gateway itself or of what stands before it.
pub fn settings(sluice: &Sluice, at: &str, tokens: impl Tokens) -> Settings {
    let mut settings = Settings::new(at, tokens);
    settings.roots = Some(Arc::new(sluice.authority.roots()));
    settings.client = Some("tests".to_owned());
    settings
}

/// What a client shows: a certificate and its key, in PEM.
pub fn shown((certificate, key): &(String, String)) -> Arc<dyn ResolvesClientCert> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::from_der(chain, key, &default_provider()).unwrap()))
}

/// The settings of a client that shows a certificate in the place of a token.
pub fn certified(sluice: &Sluice, certificate: &(String, String)) -> Settings {
    let mut settings = Settings::certified(&sluice.tunnel, shown(certificate));
    settings.roots = Some(Arc::new(sluice.authority.roots()));
    settings.client = Some("tests".to_owned());
    settings
}

/// A client in this process, for this user.
pub async fn agent(sluice: &Sluice, user: &str, groups: &[&str]) -> Tunnel {
    let token = sluice.token(user, groups).await;
    Tunnel::new(settings(sluice, &sluice.tunnel, Fixed::new(token))).unwrap()
}

/// `sluice connect` for this connection, with further arguments; it doesn't listen yet.
pub async fn command(sluice: &Sluice, connection: &str, user: &str, args: &[&str]) -> Command {
    let token = sluice.token(user, &[]).await;
    let mut command = sluice.command(&["connect", connection, "--ca", "ca.pem"]);
    command.env("SLUICE_TOKEN", token).args(args);
    if !args.contains(&"--gateway") {
        command.args(["--gateway", &sluice.tunnel]);
    }
    command
}

/// The same as a shell would write it, for clients that start a command.
pub async fn command_line(sluice: &Sluice, connection: &str, user: &str, args: &[&str]) -> Vec<String> {
    let token = sluice.folder().join(format!("{user}.token"));
    std::fs::write(&token, sluice.token(user, &[]).await).unwrap();
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut line = vec![path(&place::sluice()), "connect".to_owned(), connection.to_owned(), "--stdio".to_owned()];
    line.extend(["--gateway", &sluice.tunnel, "--ca", &path(&sluice.folder().join("ca.pem"))].map(str::to_owned));
    line.extend(["--token-file".to_owned(), path(&token)]);
    line.extend(args.iter().map(|&arg| arg.to_owned()));
    line
}

/// `sluice connect` that listens, and where.
pub async fn connect(sluice: &Sluice, connection: &str, user: &str, args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(command(sluice, connection, user, args).await).await;
    let address = server.address.parse().unwrap();
    (server, address)
}

/// A connection of QUIC without the client library, with this protocol's name.
///
/// # Errors
/// The handshake fails.
pub async fn quic(sluice: &Sluice, protocol: &[u8]) -> Result<quinn::Connection, quinn::ConnectionError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(sluice.authority.roots())
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, sluice.tunnel.parse().unwrap(), "127.0.0.1").unwrap().await
}

/// Sends a line to a target that sends it back.
///
/// # Errors
/// The channel was broken off.
pub async fn echoes(channel: &mut Channel) -> std::io::Result<()> {
    let mut heard = [0; 5];
    channel.write_all(b"ping\n").await?;
    channel.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"ping\n");
    Ok(())
}
