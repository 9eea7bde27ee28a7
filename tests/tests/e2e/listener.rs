//! Listeners for clients that can't say who they are: who may connect, as whom, and that bytes pass as they do for agents.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use serde_json::Value;
use sluice_tests::program::run;
use sluice_tests::sluice::{Rules, Setting, Sluice, Upstream};
use sluice_tests::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

const SOON: Duration = Duration::from_secs(10);

const RULES: &str = r#"
language 1
pack test.listener "1.0.0" { owner "tests" reviewed 2026-11-01 }
pattern mail = /\b[a-z0-9.]{1,40}@[a-z0-9]{1,40}\.(?:com|org)\b/
pattern codename = words ["project titan"] nocase
scope batch { protocol == tcp and user.group has "batch" and target == "bytes" }
rule mask_mail {
  meta { id "LIS-1" severity high gdpr ["Art. 32"] }
  on response in batch
  match mail
  then mask redact(with: "[mail]")
}
rule no_codename {
  meta { id "LIS-2" severity high tags [secrets] }
  on request in batch
  match codename
  then block "It is not to be named."
}
"#;

/// A listener for `bytes`, on which the rules act, and one for `plain`, on which none does; both with these lines.
fn setting(target: &Target, lines: &str) -> Setting {
    let listener = |connection: &str| {
        format!(
            "\n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"{connection}\"\nuser = \"nightly\"\ngroups = [\"batch\"]\n{lines}\n"
        )
    };
    Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("bytes", Upstream::Tcp(target.address))
        .connection("plain", Upstream::Tcp(target.address))
        .tables(&(listener("bytes") + &listener("plain")))
}

/// Says all of this and that no more comes, while it hears all that is said.
async fn ask(at: SocketAddr, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let (mut read, mut write) = TcpStream::connect(at).await?.into_split();
    let saying = tokio::spawn(async move {
        let said = write.write_all(&bytes).await;
        let _ = write.shutdown().await;
        (write, said)
    });
    let mut answer = Vec::new();
    timeout(SOON * 6, read.read_to_end(&mut answer)).await.expect("it takes too long")?;
    let (_, said) = saying.await.expect("nothing panics there");
    match said {
        // A reset is told once: where the write heard of it, the read sees an end.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(error),
        _ => Ok(answer),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_acts_as_the_listener_says_and_is_inspected_and_recorded() {
    let target = Target::echo().await;
    let sluice = setting(&target, "purpose = \"month end\"").start().await;
    let at = sluice.listener("bytes");
    let answer = ask(at, b"to bob@example.com\n".to_vec()).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "to [mail]\n");
    sleep(Duration::from_millis(300)).await;
    let record = sluice.session_record("nightly").await;
    let opened = &record[0];
    assert_eq!(
        (&opened["purpose"], &opened["protocol"], &opened["ip"], &opened["issuer"], &opened["kind"]),
        (&"month end".into(), &"tcp".into(), &"127.0.0.1".into(), &"listener".into(), &"service".into())
    );
    assert!(record.to_string().contains("mask_mail") && !record.to_string().contains("example.com"), "{record}");
    assert!(ask(at, b"project titan".to_vec()).await.is_err(), "a block is a reset");
    assert!(!target.received.text().contains("titan"));
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_once_and_in_order_whether_it_trickles_or_pours() {
    let target = Target::echo().await;
    let sluice = setting(&target, "").start().await;
    let bytes: Vec<u8> = (0..30_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for connection in ["plain", "bytes"] {
        let at = sluice.listener(connection);
        for len in [0, 1, 70_000, bytes.len()] {
            let answer = ask(at, bytes[..len].to_vec()).await.unwrap();
            assert!(answer == bytes[..len], "{connection}: {} of {len} bytes came back", answer.len());
        }
        // Pours and trickles in turns, on one connection.
        let mut socket = TcpStream::connect(at).await.unwrap();
        for turn in 0..4 {
            for piece in [&bytes[..2_000_000], b"a little\n"] {
                let (mut read, mut write) = socket.split();
                let mut heard = vec![0; piece.len()];
                let echoed = async { tokio::try_join!(write.write_all(piece), read.read_exact(&mut heard)) };
                timeout(SOON, echoed).await.unwrap_or_else(|_| panic!("{connection}, turn {turn}")).unwrap();
                assert!(heard == piece, "{connection}, turn {turn}");
            }
        }
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_an_end_each_way_and_what_breaks_off_is_a_reset() {
    let count = Target::count("bytes: ").await;
    let sluice = setting(&count, "").start().await;
    for connection in ["plain", "bytes"] {
        let answer = ask(sluice.listener(connection), b"twelve bytes".to_vec()).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), "bytes: 12", "what was said after the end is heard");
        let socket = TcpStream::connect(sluice.listener(connection)).await.unwrap();
        socket.set_zero_linger().unwrap();
        socket.writable().await.unwrap();
        socket.try_write(b"half").unwrap();
        sleep(Duration::from_millis(300)).await;
        drop(socket);
        sleep(Duration::from_millis(300)).await;
    }
    let heard = count.received.text();
    assert_eq!((heard.matches("[end]").count(), heard.matches("[broken off]").count()), (2, 2), "{heard}");
    let breaks = Target::start(|mut socket, _| async move {
        let _ = socket.write_all(b"half an answer\n").await;
        sleep(Duration::from_millis(200)).await;
        socket.set_zero_linger().unwrap();
    })
    .await;
    let other = setting(&breaks, "").start().await;
    for connection in ["plain", "bytes"] {
        let mut socket = TcpStream::connect(other.listener(connection)).await.unwrap();
        let mut heard = Vec::new();
        let end = timeout(SOON, socket.read_to_end(&mut heard)).await.expect("it goes on");
        assert!(end.is_err(), "{connection}: {:?} is no whole answer", String::from_utf8_lossy(&heard));
    }
    other.stop().await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_no_network_or_one_too_many_is_turned_away_before_the_target() {
    let target = Target::echo().await;
    let sluice = setting(&target, "from = [\"192.0.2.0/24\"]").start().await;
    assert!(ask(sluice.listener("bytes"), b"hello\n".to_vec()).await.is_err());
    assert!(sluice.log().contains("127.0.0.1 is in no network that may connect"), "{}", sluice.log());
    sluice.stop().await;
    for (limit, reason) in [
        ("connections = 2", "there are as many connections as may be"),
        ("connections_per_address = 2", "127.0.0.1 has as many connections as it may"),
    ] {
        let sluice = setting(&target, limit).start().await;
        let at = sluice.listener("bytes");
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(at).await.unwrap();
            socket.write_all(b"x\n").await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), b'x');
            held.push(socket);
        }
        assert!(ask(at, b"y\n".to_vec()).await.is_err(), "{limit}");
        assert!(sluice.log().contains(reason), "{}", sluice.log());
        held.pop();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(ask(at, b"z\n".to_vec()).await.unwrap(), b"z\n", "what went gives its place back");
        sluice.stop().await;
    }
    assert!(!target.received.text().contains(['h', 'y']), "{}", target.received.text());
}

/// A header of the PROXY protocol, version 2, from this address.
fn header(source: [u8; 4]) -> Vec<u8> {
    let rest = [&source[..], &[198, 51, 100, 1], &[0x30, 0x39, 0x18, 0xeb]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_who_connects_and_nobody_else_does() {
    let target = Target::echo().await;
    let lines = "from = [\"192.0.2.0/24\"]\nproxy_protocol_from = [\"127.0.0.1\"]";
    let sluice = setting(&target, lines).start().await;
    let at = sluice.listener("bytes");
    let said = |source, text: &[u8]| [&header(source)[..], text].concat();
    assert_eq!(ask(at, said([192, 0, 2, 7], b"hello\n")).await.unwrap(), b"hello\n");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(sluice.session_record("nightly").await[0]["ip"], "192.0.2.7");
    assert!(ask(at, said([192, 0, 3, 7], b"foreign\n")).await.is_err(), "the network counts, not the proxy's");
    assert!(ask(at, b"no header at all here\n".to_vec()).await.is_err());
    assert_eq!(target.received.text(), "hello\n", "the header is the gateway's");
    sluice.stop().await;
    // A header of somebody who isn't trusted is bytes like any others.
    let sluice = setting(&target, "").start().await;
    let bytes = said([192, 0, 2, 7], b"hello\n");
    assert_eq!(ask(sluice.listener("plain"), bytes.clone()).await.unwrap(), bytes);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(sluice.session_record("nightly").await[0]["ip"], "127.0.0.1");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_slows_its_target_and_memory_stays_flat() {
    let poured = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&poured);
    let target = Target::start(move |mut socket, _| {
        let counted = std::sync::Arc::clone(&counted);
        async move {
            let water = vec![b'.'; 64 * 1024];
            while socket.write_all(&water).await.is_ok() {
                counted.fetch_add(water.len() as u64, std::sync::atomic::Ordering::Relaxed);
            }
        }
    })
    .await;
    let sluice = setting(&target, "").start().await;
    let before = sluice.memory();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        for connection in ["plain", "bytes"] {
            stalled.push(TcpStream::connect(sluice.listener(connection)).await.unwrap());
        }
    }
    sleep(Duration::from_secs(3)).await;
    let (filled, grown) = (poured.load(std::sync::atomic::Ordering::Relaxed), sluice.memory());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(poured.load(std::sync::atomic::Ordering::Relaxed), filled, "the target is held up");
    let grown = (grown - before).max(sluice.memory().saturating_sub(before));
    assert!(grown < 16 * 1024, "sixteen stalled clients cost {grown} KiB");
    // Whoever begins to read gets all of it, in order.
    let mut first = vec![0; 20_000_000];
    timeout(SOON, stalled[0].read_exact(&mut first)).await.expect("it doesn't go on").unwrap();
    assert!(first.iter().all(|&byte| byte == b'.'));
    drop(stalled);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_takes_no_more_and_lets_go_what_is_quiet() {
    let target = Target::echo().await;
    let mut sluice = setting(&target, "").start().await;
    let mut sockets = Vec::new();
    for connection in ["plain", "bytes"] {
        let mut socket = TcpStream::connect(sluice.listener(connection)).await.unwrap();
        socket.write_all(b"x").await.unwrap();
        sockets.push(socket);
    }
    let at = sluice.listener("bytes");
    sleep(Duration::from_millis(300)).await;
    sluice.signal("INT").await;
    for mut socket in sockets {
        let mut rest = Vec::new();
        let end = timeout(SOON, socket.read_to_end(&mut rest)).await.expect("the session is let go");
        assert!(end.is_err(), "an end from outside is no end of the target");
    }
    sluice.ended().await;
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_from_outside_and_the_record_says_so() {
    let target = Target::echo().await;
    let sluice = setting(&target, "").start().await;
    let mut sockets = Vec::new();
    for connection in ["bytes", "plain"] {
        let mut socket = TcpStream::connect(sluice.listener(connection)).await.unwrap();
        socket.write_all(b"x\n").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
        sockets.push(socket);
    }
    let sessions = async |args: &[&str]| {
        let all = [&["sessions"], args, &["--config", "sluice.toml"]].concat();
        run(sluice.command(&all), "", SOON).await
    };
    let live = sessions(&["list", "--live", "--json"]).await;
    let live: Vec<Value> = live.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = live.iter().map(|session| session["connection"].as_str().unwrap()).collect();
    assert_eq!(names, ["bytes", "plain"]);
    let id = live[0]["session"].as_str().unwrap();
    let killed = sessions(&["kill", id]).await;
    assert_eq!(killed.code, Some(0), "{}", killed.stderr);
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(1), sockets[0].read_to_end(&mut rest)).await.expect("it goes on");
    assert!(end.is_err(), "a session that is ended from outside is reset");
    let record = sessions(&["show", id, "--json"]).await;
    assert!(record.text().contains("ended from outside"), "{}", record.text());
    let again = sessions(&["kill", id]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("no session") && again.stderr.contains("is live"), "{}", again.stderr);
    sockets[1].write_all(b"y\n").await.unwrap();
    assert_eq!(sockets[1].read_u16().await.unwrap(), u16::from_be_bytes(*b"\ny"), "the other goes on");
    let control = sluice.folder().join("store/evidence.control");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(control).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_it_is_the_same_and_who_speaks_none_is_heard_by_nobody() {
    let target = Target::count("bytes: ").await;
    let lines = "certificate = \"tunnel.crt\"\nkey = \"tunnel.key\"";
    let sluice = setting(&target, lines).tunnel("").start().await;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(sluice.authority.roots())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for connection in ["plain", "bytes"] {
        let at = sluice.listener(connection);
        let dial = async || {
            let socket = TcpStream::connect(at).await.unwrap();
            connector.connect("127.0.0.1".try_into().unwrap(), socket).await.unwrap()
        };
        let mut stream = dial().await;
        stream.write_all(b"twelve bytes").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.expect("it goes on").unwrap();
        assert_eq!(answer, "bytes: 12", "{connection}");

        // Without TLS's own end, the end of TCP is none.
        let mut stream = dial().await;
        stream.write_all(b"half").await.unwrap();
        stream.flush().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        drop(stream.into_inner());

        let plain = timeout(SOON, ask(at, b"in the clear\n".to_vec())).await.expect("it goes on");
        assert!(plain.is_err() || plain.is_ok_and(|answer| !answer.starts_with(b"bytes")));
        sleep(Duration::from_millis(300)).await;
    }
    let heard = target.received.text();
    assert_eq!((heard.matches("[end]").count(), heard.matches("[broken off]").count()), (2, 2), "{heard}");
    assert!(!heard.contains("clear"), "{heard}");
    sluice.stop().await;
}
