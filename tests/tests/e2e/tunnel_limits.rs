//! How much one address and one identity may have: connections, handshakes, bytes; and who has to prove an address.

use std::time::Duration;

use sluice_client::{Choice, Fixed, OpenError, Tunnel};
use sluice_tests::relay::{Relay, Weather};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{name, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

async fn scene(lines: &str) -> (Target, Sluice, Relay) {
    let target = Target::echo().await;
    let sluice = Sluice::new().connection("bytes", Upstream::Tcp(target.address)).tunnel(lines).start().await;
    let relay = Relay::start(&sluice.tunnel, Weather::default()).await;
    (target, sluice, relay)
}

async fn client(sluice: &Sluice, at: &str, user: &str) -> Tunnel {
    let mut settings = settings(sluice, at, Fixed::new(sluice.token(user, &[]).await));
    settings.choice = Choice::Quic;
    settings.patience = Duration::from_millis(1);
    Tunnel::new(settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_quarter_of_its_share_has_to_prove_itself_and_gets_no_more_than_all_of_it() {
    let (_target, sluice, relay) = scene("connections_per_address = 4").await;
    let at = relay.address.to_string();
    let mut held = Vec::new();
    for nth in 0..4 {
        let client = client(&sluice, &at, &format!("user-{nth}")).await;
        held.push((client.open(&name("bytes"), None).await.unwrap(), client));
        assert_eq!(relay.retries(), nth, "the first needs no proof, the others do");
    }
    let fifth = client(&sluice, &at, "user-5").await.open(&name("bytes"), None).await;
    assert!(matches!(fifth, Err(OpenError::Unreachable(_))), "{fifth:?}");
    let (_channel, one) = held.pop().unwrap();
    one.close().await;
    sleep(Duration::from_millis(500)).await;
    client(&sluice, &at, "user-6").await.open(&name("bytes"), None).await.expect("what went gives its place back");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_leave_no_room_until_their_time_is_over() {
    let (_target, sluice, _relay) = scene("handshakes = 4").await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(&sluice.tunnel).await.unwrap());
    }
    sleep(Duration::from_millis(300)).await;
    let one_more = client(&sluice, &sluice.tunnel, "ada").await.open(&name("bytes"), None).await;
    assert!(matches!(one_more, Err(OpenError::Unreachable(_))), "{one_more:?}");
    // A handshake has five seconds.
    for mut socket in silent {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(8), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a handshake without end is kept");
    }
    client(&sluice, &sluice.tunnel, "ada").await.open(&name("bytes"), None).await.unwrap();
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_identity_pass_no_faster_than_they_may_whatever_it_opens() {
    let (_target, sluice, _relay) = scene("bytes_per_second = 2000000").await;
    let started = Instant::now();
    let sessions: Vec<_> = (0..2)
        .map(|_| {
            let client = client(&sluice, &sluice.tunnel, "ada");
            async move {
                let (mut reader, mut writer, _keep) = client.await.open(&name("bytes"), None).await.unwrap().split();
                let saying = tokio::spawn(async move {
                    writer.write_all(&vec![b'.'; 1_000_000]).await.unwrap();
                    writer.shutdown().await.unwrap();
                    writer
                });
                let mut heard = Vec::new();
                reader.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard.len(), 1_000_000);
                saying.await.unwrap();
            }
        })
        .collect();
    futures_util::future::join_all(sessions).await;
    // Four million bytes in all, both ways of both, of which a quarter of a second's may pass at once.
    let taken = started.elapsed();
    assert!(taken > Duration::from_millis(1_600), "{taken:?}");
    sluice.stop().await;
}
