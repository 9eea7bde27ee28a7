//! Channel binding: who stands between the gateway and the server with a certificate that the gateway believes gets nothing.

use std::sync::Arc;

use super::scene::ADA;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use sluice_tests::authority::Authority;
use sluice_tests::postgres::{Postgres, free_port, psql};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// SSLRequest.
const ENCRYPT: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Passes on one connection after the other, each encrypted anew with a certificate of the same authority.
async fn stand_between(authority: Arc<Authority>, server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let mut asked = [0; 8];
            near.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, ENCRYPT);
            far.write_all(&asked).await.unwrap();
            assert_eq!(far.read_u8().await.unwrap(), b'S');
            near.write_all(b"S").await.unwrap();
            let mut near = authority.acceptor().accept(near).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let mut far = connector.connect(name, far).await.unwrap();
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_passed_on_over_another_certificate_is_refused_by_the_server() {
    let authority = Arc::new(Authority::new());
    let postgres = Postgres::start(&authority).await;
    let between = stand_between(Arc::clone(&authority), postgres.port).await;
    let folder = tempfile::tempdir().unwrap();
    let authority_file = folder.path().join("authority.pem");
    std::fs::write(&authority_file, authority.pem()).unwrap();
    let port = free_port();
    let sluice = Sluice::new()
        .rules(Rules::None)
        .connection("crm", Upstream::Lines(postgres.lines(&authority_file)))
        .connection("tapped", Upstream::Lines(postgres.lines_by(between, &authority_file)))
        .tables(&format!("\n[postgres]\nlisten = \"127.0.0.1:{port}\"\nplaintext = true\n"))
        .start()
        .await;
    let token = sluice.token(ADA, &["engineering"]).await;
    let ask = async |connection: &str| {
        let target = format!("host=127.0.0.1 port={port} dbname={connection} user=ada sslmode=disable");
        psql(&target, &token, &["-Atc", "SELECT 1"], "").await
    };
    let refused = ask("tapped").await;
    assert!(refused.stderr.contains("can't be reached"), "{}", refused.stderr);
    // Only SCRAM-SHA-256-PLUS has something to check here.
    assert!(postgres.log().contains("SCRAM channel binding check failed"), "{}", postgres.log());
    let let_in = ask("crm").await;
    assert_eq!(let_in.text(), "1\n", "{}", let_in.stderr);
    sluice.stop().await;
}
