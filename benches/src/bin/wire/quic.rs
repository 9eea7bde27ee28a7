//! A session over QUIC beside quinn with nothing in between: the same text down one stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sluice_client::Tunnel;
use sluice_tests::authority::Authority;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::tunnel::{agent, name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::flow::{Target, order, water};
use crate::tcp::{ELSEWHERE, INSPECTED};
use crate::{Better, Options, pairs, row};

const TIMES: usize = 5_000;

pub(crate) async fn measure(options: &Options) {
    let target = Target::start();
    let size = options.size / 2;
    let start = async |rules| {
        Sluice::new().rules(rules).connection("bytes", Upstream::Tcp(target.address)).tunnel("").start().await
    };
    let (inspected, plain) =
        (start(Rules::Text(INSPECTED.to_owned())).await, start(Rules::Text(ELSEWHERE.to_owned())).await);
    let ours = agent(&inspected, "bench@example.org", &[]).await;
    let uninspected = agent(&plain, "bench@example.org", &[]).await;
    let raw = Raw::start().await;
    let pours = |tunnel: &Tunnel| {
        let tunnel = tunnel.clone();
        async move || pour(&tunnel, size).await
    };
    let (a, b) = pairs(options.rounds, pours(&ours), async || raw.pour(size).await).await;
    row("QUIC, inspected, throughput, against quinn", &a, &b, "MiB/s", &Better::More);
    let (a, b) = pairs(options.rounds, pours(&ours), pours(&uninspected)).await;
    row("QUIC, inspected against uninspected", &a, &b, "MiB/s", &Better::More);
    let (a, b) = pairs(options.rounds, pours(&uninspected), async || raw.pour(size).await).await;
    row("QUIC, uninspected, throughput, against quinn", &a, &b, "MiB/s", &Better::More);
    let (a, b) = pairs(options.rounds, async || trips(&ours).await, async || raw.trips().await).await;
    row("QUIC, inspected, 64 B round trip, p50, against quinn", &a, &b, "us", &Better::Less);
}

/// MiB a second of a session.
async fn pour(tunnel: &Tunnel, mebibytes: usize) -> f64 {
    let start = Instant::now();
    let mut channel = tunnel.open(&name("bytes"), None).await.unwrap();
    channel.write_all(&order(mebibytes)).await.unwrap();
    let (mut reader, mut writer, _keep) = channel.split();
    let mut all = 0;
    while let Some(bytes) = reader.next().await.unwrap() {
        all += bytes.len();
    }
    assert_eq!(all, mebibytes << 20, "all of it has to arrive");
    let _ = writer.shutdown().await;
    mebibytes as f64 / start.elapsed().as_secs_f64()
}

async fn trips(tunnel: &Tunnel) -> f64 {
    let mut channel = tunnel.open(&name("bytes"), None).await.unwrap();
    channel.write_all(b"e\0\0\0\0").await.unwrap();
    ping(channel).await
}

/// Half of the round trips are faster, in microseconds.
async fn ping(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> f64 {
    let mut ping = *b"a line of sixty-four bytes that holds nothing of anybody's life\n";
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        stream.write_all(&ping).await.unwrap();
        stream.read_exact(&mut ping).await.unwrap();
        taken.push(start.elapsed().as_secs_f64() * 1e6);
    }
    taken.sort_by(f64::total_cmp);
    taken[TIMES / 2]
}

/// quinn on both sides, as it comes.
struct Raw {
    connection: quinn::Connection,
    _endpoints: (Endpoint, Endpoint),
}

impl Raw {
    async fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"raw".to_vec()];
        let server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let server = Endpoint::server(server, any).unwrap();
        let address = server.local_addr().unwrap();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let connection = incoming.await.unwrap();
                while let Ok((send, receive)) = connection.accept_bi().await {
                    tokio::spawn(serve(send, receive));
                }
            }
        });
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"raw".to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let client = Endpoint::client(any).unwrap();
        let connection = client.connect_with(config, address, "127.0.0.1").unwrap().await.unwrap();
        Self { connection, _endpoints: (client, server) }
    }

    async fn pour(&self, mebibytes: usize) -> f64 {
        let start = Instant::now();
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        send.write_all(&order(mebibytes)).await.unwrap();
        let mut all = 0;
        while let Some(chunk) = receive.read_chunk(64 << 10, true).await.unwrap() {
            all += chunk.bytes.len();
        }
        assert_eq!(all, mebibytes << 20);
        mebibytes as f64 / start.elapsed().as_secs_f64()
    }

    async fn trips(&self) -> f64 {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        send.write_all(b"e\0\0\0\0").await.unwrap();
        ping(tokio::io::join(receive, send)).await
    }
}

/// The same as the target of the gateway does.
async fn serve(mut send: quinn::SendStream, mut receive: quinn::RecvStream) -> Option<()> {
    let mut first = [0; 5];
    receive.read_exact(&mut first).await.ok()?;
    if first[0] == b'p' {
        let water = Bytes::from(water().as_ref().clone());
        for _ in 0..u32::from_be_bytes([first[1], first[2], first[3], first[4]]) {
            send.write_chunk(water.clone()).await.ok()?;
        }
        return send.finish().ok();
    }
    loop {
        let mut ping = [0; 64];
        receive.read_exact(&mut ping).await.ok()?;
        send.write_all(&ping).await.ok()?;
    }
}
