//! How long an identity counts: tokens that expire while bytes pass, newer ones, and those that were taken back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_client::stream::code_of;
use sluice_client::wire::{Answer, Code, Frame as _, Opening, Token};
use sluice_client::{Channel, Choice, Fixed, Tunnel};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{Fresh, echoes, name, settings};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, timeout};

async fn scene() -> (Target, Sluice) {
    let target = Target::echo().await;
    let sluice = Sluice::new().connection("bytes", Upstream::Tcp(target.address)).tunnel("").start().await;
    (target, sluice)
}

async fn broken_off(channel: &mut Channel, within: Duration) -> Code {
    let mut rest = Vec::new();
    let error = timeout(within, channel.read_to_end(&mut rest)).await.expect("it goes on").unwrap_err();
    code_of(&error).unwrap_or_else(|| panic!("no code: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_within_a_second_of_its_token() {
    let (_target, sluice) = scene().await;
    let started = Instant::now();
    let token = sluice.issuer().token("ada@example.org", &[], 4, &Value::Null);
    let agent = Tunnel::new(settings(&sluice, &sluice.tunnel, Fixed::new(token))).unwrap();
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    echoes(&mut channel).await.unwrap();
    assert_eq!(broken_off(&mut channel, Duration::from_secs(8)).await, Code::Expired);
    let after = started.elapsed();
    assert!(after > Duration::from_millis(2800) && after < Duration::from_millis(5100), "{after:?}");
    sleep(Duration::from_millis(500)).await;
    let record = sluice.session_record("ada@example.org").await;
    assert!(record.to_string().contains("the token or the certificate counts no longer"), "{record}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_token_in_time_keeps_the_session_either_way() {
    let (_target, sluice) = scene().await;
    for choice in [Choice::Quic, Choice::Tls] {
        let fresh = Fresh::new(Arc::clone(sluice.issuer()), &format!("{choice:?}@example.org"), 4);
        let mut settings = settings(&sluice, &sluice.tunnel, fresh.clone());
        settings.choice = choice;
        let agent = Tunnel::new(settings).unwrap();
        let mut channel = agent.open(&name("bytes"), None).await.unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(9) {
            echoes(&mut channel)
                .await
                .unwrap_or_else(|error| panic!("{choice:?} after {:?}: {error}", started.elapsed()));
            sleep(Duration::from_millis(200)).await;
        }
        assert!((3..12).contains(&fresh.asked()), "{choice:?} asked for {} tokens", fresh.asked());
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_issuer_takes_back_ends_its_sessions_within_a_second() {
    let (_target, sluice) = scene().await;
    let agent =
        Tunnel::new(settings(&sluice, &sluice.tunnel, Fixed::new(sluice.token("ada@example.org", &[]).await))).unwrap();
    let mut channel = agent.open(&name("bytes"), None).await.unwrap();
    echoes(&mut channel).await.unwrap();
    // The gateway asks an issuer again after ten seconds at the earliest, when it sees a key that it doesn't know.
    sleep(Duration::from_millis(10_500)).await;
    sluice.issuer().turn_keys();
    let newer = sluice.token("bob@example.org", &[]).await;
    let other = Tunnel::new(settings(&sluice, &sluice.tunnel, Fixed::new(newer))).unwrap();
    let mut kept = other.open(&name("bytes"), None).await.unwrap();
    assert_eq!(broken_off(&mut channel, Duration::from_secs(1)).await, Code::Expired);
    echoes(&mut kept).await.unwrap();
    sluice.stop().await;
}

/// Says this on a stream of its own, and what is answered.
async fn say(connection: &quinn::Connection, opening: &Opening) -> (quinn::SendStream, quinn::RecvStream, Answer) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&opening.encode().unwrap()).await.unwrap();
    let answer = sluice_client::stream::read_frame(&mut receive).await.unwrap();
    (send, receive, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_others_or_of_other_groups_renews_nothing() {
    let (_target, sluice) = scene().await;
    let connection = sluice_tests::tunnel::quic(&sluice, b"sluice/1").await.unwrap();
    let token = |user: &str, groups: &[&str]| Token::new(sluice.issuer().token(user, groups, 600, &json!({}))).unwrap();
    let session =
        |token| Opening::Session { token: Some(token), connection: name("bytes"), purpose: None, client: None };
    let renewal = |token| Opening::Token { token, connection: name("bytes"), session: None };
    let code = |answer: &Answer| match answer {
        Answer::Refused { code, .. } => Some(*code),
        Answer::Accepted { .. } => None,
    };
    let (_send, mut receive, answer) = say(&connection, &session(token("ada", &["dev"]))).await;
    assert_eq!(code(&answer), None);
    let (.., answer) = say(&connection, &session(token("bob", &["dev"]))).await;
    assert_eq!(code(&answer), Some(Code::Forbidden), "the connection is Ada's");
    let (.., answer) = say(&connection, &renewal(token("bob", &["dev"]))).await;
    assert_eq!(code(&answer), Some(Code::Ended), "Bob has no session here");
    let (.., answer) = say(&connection, &renewal(token("ada", &["dev"]))).await;
    assert_eq!(code(&answer), None);
    let (.., answer) = say(&connection, &renewal(token("ada", &["admins"]))).await;
    assert_eq!(code(&answer), Some(Code::Ended));
    let ended = timeout(Duration::from_secs(2), receive.read_to_end(10)).await.expect("it goes on");
    assert!(format!("{ended:?}").contains("Reset(12)"), "the session of the old groups is over: {ended:?}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sluice_1_is_refused_and_says_nothing_upstream() {
    let (target, sluice) = scene().await;
    assert!(sluice_tests::tunnel::quic(&sluice, b"h3").await.is_err(), "another protocol has no handshake");
    let connection = sluice_tests::tunnel::quic(&sluice, b"sluice/1").await.unwrap();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x02\x01\x00\x00", b"\x01\x01\xff\xff", b"\x01\x01\x00\x00"] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let answer: Answer = sluice_client::stream::read_frame(&mut receive).await.unwrap();
        assert!(matches!(answer, Answer::Refused { code: Code::Malformed, .. }), "{bytes:?}: {answer:?}");
    }
    assert!(connection.max_datagram_size().is_none(), "there are no datagrams");
    // A connection on which nobody says who they are is not kept.
    let closed = timeout(Duration::from_secs(15), connection.closed()).await.expect("it is kept");
    assert!(closed.to_string().contains("no session in time"), "{closed}");
    assert_eq!(target.received.text(), "");
    sluice.stop().await;
}
