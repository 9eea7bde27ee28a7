//! Networks as they are: datagrams that are lost, doubled, late and out of order; addresses that change; UDP that is blocked.

use std::time::Duration;

use sluice_client::{Choice, Fixed, Transport, Tunnel};
use sluice_tests::place;
use sluice_tests::program::{PATIENCE, command as program, run};
use sluice_tests::relay::{Relay, Weather};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{command, name, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

async fn scene(weather: Weather) -> (Target, Sluice, Relay) {
    let target = Target::echo().await;
    let sluice = Sluice::new().connection("bytes", Upstream::Tcp(target.address)).tunnel("").start().await;
    let relay = Relay::start(&sluice.tunnel, weather).await;
    (target, sluice, relay)
}

async fn agent(sluice: &Sluice, relay: &Relay, choice: Choice) -> Tunnel {
    let token = sluice.token("ada@example.org", &[]).await;
    let mut settings = settings(sluice, &relay.address.to_string(), Fixed::new(token));
    settings.choice = choice;
    Tunnel::new(settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_once_and_in_order_over_a_bad_network() {
    let weather = Weather { lost: 5, doubled: 5, late: 10, no_udp: false };
    let (_target, sluice, relay) = scene(weather).await;
    let agent = agent(&sluice, &relay, Choice::Quic).await;
    let tasks: Vec<_> = (0..4_u32)
        .map(|nth| {
            let agent = agent.clone();
            tokio::spawn(async move {
                let bytes: Vec<u8> = (0..400_000_u32)
                    .map(|at| (at.wrapping_mul(nth + 7).wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect();
                let (mut reader, mut writer, _keep) = agent.open(&name("bytes"), None).await.unwrap().split();
                let sent = bytes.clone();
                let writing = tokio::spawn(async move {
                    writer.write_all(&sent).await.unwrap();
                    writer.shutdown().await.unwrap();
                    writer
                });
                let mut answer = Vec::new();
                reader.read_to_end(&mut answer).await.unwrap();
                writing.await.unwrap();
                assert!(answer == bytes, "stream {nth}: {} of {} bytes", answer.len(), bytes.len());
            })
        })
        .collect();
    for task in tasks {
        timeout(Duration::from_secs(120), task).await.expect("it takes too long").unwrap();
    }
    assert!(relay.passed() > 1000);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moves_keeps_its_sessions() {
    let (_target, sluice, relay) = scene(Weather::default()).await;
    let agent = agent(&sluice, &relay, Choice::Quic).await;
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    let session = channel.session().unwrap().to_owned();
    for turn in 0..6 {
        let said = format!("turn {turn}\n");
        let mut heard = vec![0; said.len()];
        let echoed = async {
            channel.write_all(said.as_bytes()).await.unwrap();
            channel.read_exact(&mut heard).await.unwrap();
        };
        timeout(PATIENCE, echoed).await.unwrap_or_else(|_| panic!("nothing after move {turn}"));
        assert_eq!(String::from_utf8_lossy(&heard), said);
        // In turns the client takes another socket, and the router before it another address.
        if turn % 2 == 0 { agent.rebind().await.unwrap() } else { relay.forget_addresses() }
    }
    let second = agent.open(&name("bytes"), None).await.unwrap();
    assert_ne!(second.session().unwrap(), session);
    agent.close().await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_tls_takes_over_and_it_says_so() {
    let (_target, sluice, relay) = scene(Weather { no_udp: true, ..Weather::default() }).await;
    let agent = agent(&sluice, &relay, Choice::Auto).await;
    let started = Instant::now();
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    assert_eq!(channel.transport(), Transport::Tls);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    channel.write_all(b"hello\n").await.unwrap();
    let mut heard = [0; 6];
    channel.read_exact(&mut heard).await.unwrap();
    let again = Instant::now();
    agent.open(&name("bytes"), None).await.unwrap();
    assert!(again.elapsed() < Duration::from_secs(1), "UDP is not tried again each time: {:?}", again.elapsed());
    assert_eq!(relay.passed(), 0);

    let at = relay.address.to_string();
    let command = command(&sluice, "bytes", "bob@example.org", &["--stdio", "--gateway", &at]).await;
    let done = run(command, "hello", PATIENCE).await;
    assert_eq!((done.code, done.text()), (Some(0), "hello"), "{}", done.stderr);
    assert!(done.stderr.contains("bytes by TLS over TCP"), "{}", done.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_vouches_for_gets_no_token() {
    let (target, sluice, _relay) = scene(Weather::default()).await;
    let foreign = Sluice::new().connection("bytes", Upstream::Tcp(target.address)).tunnel("").start().await;
    let mut settings = settings(&foreign, &sluice.tunnel, Fixed::new("secret"));
    settings.patience = Duration::from_secs(1);
    let error = Tunnel::new(settings).unwrap().open(&name("bytes"), None).await.unwrap_err();
    assert!(error.to_string().contains("can't be reached"), "{error}");
    assert_eq!(target.received.text(), "");
    assert!(!sluice.log().contains("not authenticated"), "no token was sent: {}", sluice.log());
    foreign.stop().await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_by_other_hands_speaks_with_it_by_what_the_book_says() {
    let target = Target::count("heard ").await;
    let sluice = Sluice::new().connection("bytes", Upstream::Tcp(target.address)).tunnel("").start().await;
    let script = place::clients("quic_client.py");
    let mut client = program(place::python("quic", "python"), [script]);
    client.args([&sluice.tunnel, "ca.pem", "bytes"]).current_dir(sluice.folder());
    client.env("SLUICE_TOKEN", sluice.token("ada@example.org", &[]).await);
    let done = run(client, "", PATIENCE).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].starts_with("accepted: bytes, session 0"), "{lines:?}");
    assert_eq!(lines[1..], ["heard 100000", "renewed", "refused: 4 there is no such connection"]);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_great_numbers_harms_nobody() {
    let (_target, sluice, _relay) = scene(Weather::default()).await;
    let token = sluice.token("ada@example.org", &[]).await;
    let agent = Tunnel::new(settings(&sluice, &sluice.tunnel, Fixed::new(token))).unwrap();
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(&sluice.tunnel).await.unwrap();
    let garbage = tokio::spawn(async move {
        let mut state = 1_u64;
        for _ in 0..100_000 {
            let mut datagram = [0; 1200];
            for byte in &mut datagram {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
            if state >> 62 == 0 {
                // Looks like the first datagram of a connection.
                datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            }
            let _ = socket.send(&datagram).await;
        }
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let started = Instant::now();
        let mut heard = [0; 5];
        channel.write_all(b"ping\n").await.unwrap();
        timeout(PATIENCE, channel.read_exact(&mut heard)).await.expect("it hangs").unwrap();
        slowest = slowest.max(started.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    garbage.await.unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    sluice.stop().await;
}
