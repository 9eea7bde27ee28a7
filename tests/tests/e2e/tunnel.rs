//! Bytes of any protocol through `sluice connect`: what no rule touches is equal, what one touches is masked or broken off.

use std::time::Duration;

use serde_json::Value;
use sluice_client::stream::code_of;
use sluice_client::wire::Code;
use sluice_client::{Channel, Fixed, OpenError, Tunnel};
use sluice_tests::approvals::{decide, waiting};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{agent, command, connect, name, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(10);

const RULES: &str = r#"
language 1
pack test.tunnel "1.0.0" { owner "tests" reviewed 2026-11-01 }
pattern mail = /\b[a-z0-9.]{1,40}@[a-z0-9]{1,40}\.(?:com|org)\b/
pattern codename = words ["project titan"] nocase
scope bytes { protocol == tcp }
rule mask_mail {
  meta { id "TUN-1" severity high gdpr ["Art. 32"] }
  on response in bytes
  match mail
  then mask redact(with: "[mail]")
}
rule mask_mail_sent {
  meta { id "TUN-4" severity high gdpr ["Art. 32"] }
  on request in bytes
  match mail
  then mask redact(with: "[mail]")
}
rule no_codename {
  meta { id "TUN-2" severity high tags [secrets] }
  on request in bytes
  match codename
  then block "It is not to be named."
}
rule with_leave {
  meta { id "TUN-5" severity high }
  on request
  when target == "guarded"
  then approve by ["keepers"] count 1 ttl 5m wait 1m
}
rule not_at_all {
  meta { id "TUN-3" severity high }
  on request
  when target == "closed"
  then block "Nobody goes there."
}
"#;

async fn scene(target: &Target) -> Sluice {
    let (rules, upstream) = (Rules::Text(RULES.to_owned()), Upstream::Tcp(target.address));
    let setting = Sluice::new().rules(rules).connection("bytes", upstream.clone()).connection("guarded", upstream);
    setting.tunnel("").start().await
}

/// Writes all of it and says that no more comes, while it reads to the end.
async fn ask(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let both = async {
        let said = async {
            // Who takes no more may still have something to say.
            if write.write_all(bytes).await.is_ok() {
                let _ = write.shutdown().await;
            }
        };
        tokio::join!(said, read.read_to_end(&mut answer)).1
    };
    timeout(SOON * 6, both).await.expect("it takes too long")?;
    Ok(answer)
}

/// Reads until this text has come.
async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin), text: &str) {
    let mut heard = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut heard)).await.expect("nothing comes").unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// The code that a session is broken off with.
async fn broken_off(channel: &mut Channel) -> Code {
    let mut rest = Vec::new();
    let error = timeout(SOON, channel.read_to_end(&mut rest)).await.expect("it goes on").unwrap_err();
    code_of(&error).unwrap_or_else(|| panic!("no code: {error}"))
}

fn refusal(opened: Result<Channel, OpenError>) -> (Code, String) {
    match opened {
        Err(OpenError::Refused { code, message }) => (code, message),
        other => panic!("{other:?}"),
    }
}

fn last(record: &Value, event: &str) -> Value {
    let events = record.as_array().unwrap();
    events.iter().rfind(|record| record["event"] == event).unwrap_or_else(|| panic!("no {event} in {record}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_bytes_pass_unchanged_both_ways_and_an_end_is_heard_on_the_other_side() {
    let target = Target::count("all of ").await;
    let sluice = scene(&target).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for way in ["quic", "tls"] {
        let (local, address) = connect(&sluice, "bytes", &format!("{way}@example.org"), &["--transport", way]).await;
        let answer = ask(TcpStream::connect(address).await.unwrap(), &bytes).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), "all of 3000000", "{way}");
        local.kill().await;
    }
    assert_eq!(target.received.text().matches("[end]").count(), 2);
    let echo = Target::echo().await;
    let sluice = scene(&echo).await;
    for way in ["quic", "tls"] {
        let (local, address) = connect(&sluice, "bytes", "ada@example.org", &["--transport", way]).await;
        let answer = ask(TcpStream::connect(address).await.unwrap(), &bytes).await.unwrap();
        assert!(answer == bytes, "{way}: {} of {} bytes came back", answer.len(), bytes.len());
        local.kill().await;
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_masked_on_both_ways_and_all_of_it_is_on_record() {
    let target = Target::start(|mut socket, received| async move {
        let mut buffer = vec![0; 1000];
        let read = socket.read(&mut buffer).await.unwrap();
        received.push(&buffer[..read]);
        // Cut in the middle of the value.
        socket.write_all(b"from: bob@exa").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        socket.write_all(b"mple.com\n").await.unwrap();
        let _ = socket.read(&mut buffer).await;
    })
    .await;
    let sluice = scene(&target).await;
    let agent = agent(&sluice, "ada@example.org", &[]).await;
    let channel = agent.open(&name("bytes"), Some("a look")).await.unwrap();
    let session = channel.session().unwrap().to_owned();
    let answer = ask(channel, b"to: carol@example.org\n").await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "from: [mail]\n");
    assert_eq!(target.received.text(), "to: [mail]\n");
    agent.close().await;
    sleep(Duration::from_millis(300)).await;
    let record = sluice.session_record("ada@example.org").await;
    let opened = last(&record, "session_opened");
    assert_eq!(opened["session"], session);
    assert_eq!(
        (&opened["protocol"], &opened["purpose"], &opened["client"]),
        (&"tcp".into(), &"a look".into(), &"tests".into())
    );
    let asked = last(&record, "request");
    assert_eq!((&asked["method"], &asked["name"]), (&"connect".into(), &target.address.to_string().into()));
    let passed: Vec<&Value> = record.as_array().unwrap().iter().filter(|record| record["event"] == "passed").collect();
    let sum = |member: &str| passed.iter().map(|record| record[member].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("sent"), sum("received")), (11, 13), "{passed:?}");
    for way in ["requests", "responses"] {
        let decisions: Vec<&Value> = passed.iter().flat_map(|record| record[way].as_array().unwrap()).collect();
        assert_eq!(decisions.len(), 1, "{passed:?}");
        assert!(decisions[0]["rule"].as_str().unwrap().starts_with("mask_mail") && decisions[0]["count"] == 1);
    }
    assert_eq!(
        (&passed.last().unwrap()["last"], &passed.last().unwrap()["outcome"]),
        (&true.into(), &"complete".into())
    );
    last(&record, "session_closed");
    assert!(!record.to_string().contains("example.com"), "no value is on record");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_pass_breaks_the_session_off_on_both_sides_and_nothing_of_it_arrives() {
    let target = Target::count("").await;
    let sluice = scene(&target).await;
    let agent = agent(&sluice, "ada@example.org", &[]).await;
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    channel.write_all(b"harmless. Project Ti").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    channel.write_all(b"tan is ours").await.unwrap();
    assert_eq!(broken_off(&mut channel).await, Code::Blocked);
    sleep(Duration::from_millis(300)).await;
    let received = target.received.text();
    assert!(received.starts_with("harmless. ") && received.ends_with("[broken off]"), "{received}");
    assert!(!received.to_lowercase().contains("titan") && !received.contains("ours"), "{received}");
    let record = sluice.session_record("ada@example.org").await;
    assert_eq!(last(&record, "passed")["outcome"], "blocked");
    assert!(record.to_string().contains("no_codename"), "{record}");

    // The same by a program of this machine: it never takes what came for all.
    let (local, address) = connect(&sluice, "bytes", "bob@example.org", &[]).await;
    let done = ask(TcpStream::connect(address).await.unwrap(), b"project titan").await;
    assert!(done.is_err(), "{done:?}");
    local.kill().await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_ends_in_a_word_arrives_while_the_target_waits() {
    let target = Target::start(|mut socket, _| async move {
        socket.write_all(b"your name").await.unwrap();
        let mut name = [0; 3];
        socket.read_exact(&mut name).await.unwrap();
        socket.write_all(b"hello ").await.unwrap();
        socket.write_all(&name).await.unwrap();
        let _ = socket.read(&mut name).await;
    })
    .await;
    let sluice = scene(&target).await;
    let agent = agent(&sluice, "ada@example.org", &[]).await;
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    let started = Instant::now();
    hear(&mut channel, "your name").await;
    channel.write_all(b"ada").await.unwrap();
    hear(&mut channel, "hello ada").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_refused_with_a_reason_and_nothing_reaches_the_target() {
    let target = Target::echo().await;
    let sluice = Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("bytes", Upstream::Tcp(target.address))
        .connection("closed", Upstream::Tcp(target.address))
        .connection("ops", Upstream::Tcp(target.address))
        .further("ops", "groups = [\"ops\"]")
        .connection("why", Upstream::Tcp(target.address))
        .further("why", "require_purpose = true")
        .connection("gone", Upstream::Tcp("127.0.0.1:1".parse().unwrap()))
        .tunnel("")
        .start()
        .await;
    let with = |token: String| Tunnel::new(settings(&sluice, &sluice.tunnel, Fixed::new(token))).unwrap();
    let expired = sluice.issuer().token("ada@example.org", &[], -60, &Value::Null);
    for token in ["nonsense".to_owned(), expired] {
        assert_eq!(refusal(with(token).open(&name("bytes"), None).await).0, Code::Unauthenticated);
    }
    let agent = agent(&sluice, "ada@example.org", &["dev"]).await;
    for (connection, code) in [
        ("none", Code::NoConnection),
        ("ops", Code::Forbidden),
        ("why", Code::PurposeRequired),
        ("closed", Code::Blocked),
        ("gone", Code::Upstream),
    ] {
        let (found, message) = refusal(agent.open(&name(connection), None).await);
        assert_eq!(found, code, "{connection}: {message}");
    }
    assert!(refusal(agent.open(&name("closed"), None).await).1.contains("not_at_all"));
    agent.open(&name("why"), Some("to see")).await.unwrap();
    assert_eq!(target.received.text(), "");
    // A connection is one identity's, and HTTP finds no way to it.
    let list = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let token = sluice.token("ada@example.org", &[]).await;
    let answer = sluice_tests::http::send(sluice_tests::http::post(&sluice.mcp("bytes"), Some(&token), &list)).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_stalls_no_other_and_memory_stays_flat() {
    let target = Target::start(|mut socket, _| async move {
        let mut first = [0];
        if socket.read_exact(&mut first).await.is_err() {
            return;
        }
        if first == *b"p" {
            // Pours without end, as fast as it is taken.
            let water = vec![b'.'; 64 * 1024];
            while socket.write_all(&water).await.is_ok() {}
            return;
        }
        let (mut read, mut write) = socket.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let sluice = scene(&target).await;
    let agent = agent(&sluice, "ada@example.org", &[]).await;
    let mut stalled = Vec::new();
    for way in [b"p", b"e"] {
        let mut channel = agent.open(&name("bytes"), None).await.unwrap();
        channel.write_all(way).await.unwrap();
        stalled.push(channel);
    }
    // The second is written to as long as it takes something, and its echo is never read.
    let (_reader, mut writer, _keep) = stalled.pop().unwrap().split();
    let flood = tokio::spawn(async move {
        let water = bytes::Bytes::from(vec![b'.'; 64 * 1024]);
        while writer.send(water.clone()).await.is_ok() {}
    });
    sleep(Duration::from_secs(1)).await;
    let before = sluice.memory();
    let bytes: Vec<u8> = b"e".iter().copied().chain((0..1_000_000).map(|at| b"abc \n"[at % 5])).collect();
    let others = (0..24).map(|_| {
        let (agent, bytes) = (agent.clone(), bytes.clone());
        tokio::spawn(async move {
            let channel = agent.open(&name("bytes"), None).await.unwrap();
            let answer = ask(channel, &bytes).await.unwrap();
            assert!(answer == bytes[1..], "{} bytes", answer.len());
        })
    });
    for other in others.collect::<Vec<_>>() {
        other.await.unwrap();
    }
    sleep(Duration::from_secs(2)).await;
    let grown = sluice.memory().saturating_sub(before);
    assert!(grown < 48 * 1024, "the gateway has grown by {grown} KiB");
    flood.abort();
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_is_missed_and_the_target_hears_no_end() {
    let target = Target::count("").await;
    let sluice = scene(&target).await;
    let (tls, over_tls) = connect(&sluice, "bytes", "ada@example.org", &["--transport", "tls"]).await;
    let (quic, over_quic) = connect(&sluice, "bytes", "bob@example.org", &["--transport", "quic"]).await;
    let mut sockets = Vec::new();
    for address in [over_tls, over_quic] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"half a request\n").await.unwrap();
        sockets.push(socket);
    }
    for _ in 0..100 {
        if target.received.text().len() == 30 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    tls.kill().await;
    quic.kill().await;
    let started = Instant::now();
    while target.received.text().matches("[broken off]").count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(40), "{}", target.received.text());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!target.received.text().contains("[end]"));
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_lets_go_what_is_quiet_and_a_new_one_is_found_again() {
    let target = Target::echo().await;
    let mut sluice = scene(&target).await;
    let (local, address) = connect(&sluice, "bytes", "ada@example.org", &[]).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"one\n").await.unwrap();
    hear(&mut socket, "one\n").await;
    sluice.signal("INT").await;
    let mut rest = Vec::new();
    let ended = timeout(SOON, socket.read_to_end(&mut rest)).await.expect("the session is let go");
    assert!(ended.is_err(), "an end from outside is no end of the target");
    sluice.ended().await;
    let record = sluice.session_record("ada@example.org").await;
    assert_eq!(last(&record, "session_closed")["reason"], "the gateway is stopping");

    let waiting = tokio::spawn(async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"two\n").await.unwrap();
        hear(&mut socket, "two\n").await;
    });
    sleep(Duration::from_secs(1)).await;
    sluice.restart().await;
    timeout(SOON * 3, waiting).await.expect("it never comes back").unwrap();
    local.kill().await;
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_on_standard_input_and_output_is_a_pipe() {
    let target = Target::count("bytes: ").await;
    let sluice = scene(&target).await;
    let command = command(&sluice, "bytes", "ada@example.org", &["--stdio"]).await;
    let done = sluice_tests::program::run(command, "twelve bytes", SOON).await;
    assert_eq!((done.code, done.text()), (Some(0), "bytes: 12"), "{}", done.stderr);
    assert!(done.stderr.contains("bytes by QUIC"), "it says which way it takes: {}", done.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_has_no_more_sessions_than_it_may() {
    let target = Target::echo().await;
    let sluice = Sluice::new()
        .connection("bytes", Upstream::Tcp(target.address))
        .tunnel("streams_per_identity = 3\nconnections_per_identity = 2")
        .start()
        .await;
    let ada = agent(&sluice, "ada@example.org", &[]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(ada.open(&name("bytes"), None).await.unwrap());
    }
    assert_eq!(refusal(ada.open(&name("bytes"), None).await).0, Code::Busy);
    agent(&sluice, "bob@example.org", &[]).await.open(&name("bytes"), None).await.unwrap();
    held.clear();
    sleep(Duration::from_millis(500)).await;
    let _kept = ada.open(&name("bytes"), None).await.unwrap();
    let second = agent(&sluice, "ada@example.org", &[]).await;
    let _kept = second.open(&name("bytes"), None).await.unwrap();
    let third = agent(&sluice, "ada@example.org", &[]).await;
    assert_eq!(refusal(third.open(&name("bytes"), None).await).0, Code::Busy, "a third connection is one too many");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_to_be_approved_is_made_once_somebody_did_and_the_client_comes_back() {
    let target = Target::count("all of ").await;
    let sluice = scene(&target).await;
    let agent = agent(&sluice, "ada@example.org", &[]).await;
    let keeper = sluice.token("grace@example.org", &["keepers"]).await;
    let (code, message) = refusal(agent.open(&name("guarded"), None).await);
    let view = waiting(&sluice, &keeper).await;
    assert_eq!(code, Code::Blocked);
    assert!(message.contains(view["approval"].as_str().unwrap()), "{message}");
    assert_eq!(decide(&sluice, &keeper, &view, "approve").await.0, 200);
    let answer = ask(agent.open(&name("guarded"), None).await.unwrap(), b"four").await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "all of 4");
    assert_eq!(refusal(agent.open(&name("guarded"), None).await).0, Code::Blocked, "once");
    sluice.stop().await;
}
