//! The wire itself: what no driver does, said byte by byte.

use std::time::{Duration, Instant};

use super::scene::{RULES, Scene};
use sluice_tests::sluice::Rules;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Raw(TcpStream);

impl Raw {
    async fn connect(scene: &Scene) -> Self {
        Self(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next message: its type and body.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let tag = self.0.read_u8().await.unwrap();
        let length = self.0.read_u32().await.unwrap() as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    /// The types of the messages up to the next ReadyForQuery, and its status.
    async fn until_ready(&mut self) -> String {
        let mut tags = String::new();
        loop {
            let (tag, body) = self.read().await;
            tags.push(char::from(tag));
            if tag == b'Z' {
                tags.push(char::from(body[0]));
                return tags;
            }
        }
    }

    /// Everything up to the end.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    [&(8 + body.len() as u32).to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(4 + body.len() as u32).to_be_bytes(), body].concat()
}

async fn open(scene: &Scene, version: u32) -> (Raw, Vec<u8>) {
    let mut raw = Raw::connect(scene).await;
    raw.send(&packet(version, b"user\0ada\0database\0crm\0\0")).await;
    assert_eq!(raw.read().await, (b'R', vec![0, 0, 0, 3]));
    raw.send(&message(b'p', &[scene.token().await.as_bytes(), &[0]].concat())).await;
    let mut key = Vec::new();
    loop {
        match raw.read().await {
            (b'K', body) => key = body,
            (b'Z', _) => return (raw, key),
            (b'E', body) => panic!("{}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
}

/// What a client says in a SASL exchange first.
fn bearer(said: &[u8]) -> Vec<u8> {
    let length = (said.len() as u32).to_be_bytes();
    message(b'p', &[b"OAUTHBEARER\0", &length[..], said].concat())
}

/// A client that asks for OAUTHBEARER, up to the server's offer.
async fn oauth(scene: &Scene) -> Raw {
    let mut raw = Raw::connect(scene).await;
    raw.send(&packet(196_608, b"user\0ada\0database\0crm\0options\0-c sluice.auth=oauthbearer\0\0")).await;
    assert_eq!(raw.read().await, (b'R', b"\0\0\0\x0aOAUTHBEARER\0\0".to_vec()));
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_by_oauthbearer() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let mut raw = oauth(&scene).await;
    raw.send(&bearer(format!("n,,\x01auth=Bearer {}\x01\x01", scene.token().await).as_bytes())).await;
    assert_eq!(raw.read().await, (b'R', vec![0; 4]));
    assert!(raw.until_ready().await.ends_with("KZI"));
    raw.send(&message(b'Q', b"SELECT email FROM customer WHERE id = 1\0")).await;
    assert_eq!(raw.until_ready().await, "TDCZI");
    // Without a good token: where to get one, and after the client's answer the error.
    for said in ["n,,\x01auth=\x01\x01", "n,,\x01auth=Bearer nonsense\x01\x01"] {
        let mut raw = oauth(&scene).await;
        raw.send(&bearer(said.as_bytes())).await;
        let (tag, told) = raw.read().await;
        assert!(tag == b'R' && told.starts_with(&[0, 0, 0, 11]), "{told:?}");
        let place = format!("{}/.well-known/openid-configuration", scene.sluice.issuer().url);
        assert!(has(&told, &place), "{}", String::from_utf8_lossy(&told));
        raw.send(&message(b'p', b"\x01")).await;
        let rest = raw.rest().await;
        assert!(has(&rest, "the token was not accepted") && has(&rest, "28000"), "{}", String::from_utf8_lossy(&rest));
    }
    for wrong in [&bearer(b"n,a=root,\x01auth=Bearer x\x01\x01"), &message(b'p', b"token\0"), &message(b'Q', b"x\0")] {
        let mut raw = oauth(&scene).await;
        raw.send(wrong).await;
        assert!(has(&raw.rest().await, "OAUTHBEARER"));
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_the_gateways() {
    let scene = Scene::with_certificates("CERTIFICATE").await;
    let done = scene.psql(&["-Atc", "SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"], "").await;
    assert_eq!(done.text(), "t|/CN=sluice\n", "{}\n{}", done.stderr, scene.sluice.log());
    scene.sluice.stop().await;
    let scene = Scene::with_certificates("").await;
    let done = scene.psql(&["-Atc", "SELECT 1"], "").await;
    assert!(done.stderr.contains("can't be reached"), "{}", done.stderr);
    assert!(scene.sluice.log().contains("certificate"), "{}", scene.sluice.log());
    scene.sluice.stop().await;
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_protocol_is_told_and_ends() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let mut raw = Raw::connect(&scene).await;
    raw.send(&packet(80_877_104, b"")).await;
    assert_eq!(raw.0.read_u8().await.unwrap(), b'N', "no GSSAPI");
    raw.send(&packet(80_877_103, b"")).await;
    assert_eq!(raw.0.read_u8().await.unwrap(), b'N', "no certificate, no TLS");
    raw.send(&packet(196_608, b"user\0ada\0replication\0true\0\0")).await;
    assert!(has(&raw.rest().await, "replication"));
    for first in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &packet(131_072, b"\0"), &packet(196_608, b"user\0\xff\0\0"), &[0, 0, 0, 3]]
    {
        let mut raw = Raw::connect(&scene).await;
        raw.send(first).await;
        let _ = raw.0.shutdown().await;
        let said = raw.rest().await;
        assert!(said.is_empty() || said[0] == b'E', "{said:?}");
    }
    let mut raw = Raw::connect(&scene).await;
    let together = [packet(80_877_103, b""), packet(196_608, b"user\0ada\0\0")].concat();
    raw.send(&together).await;
    assert!(has(&raw.rest().await, "before the encryption"));
    // A session that says nonsense ends; the gateway doesn't.
    for nonsense in [
        &b"Q\xff\xff\xff\xff"[..],
        b"Q\0\0\0\x02",
        b"y\0\0\0\x04",
        &message(b'Q', b"no end"),
        &message(b'Q', &[&[b'x'; 99][..], &[0, 0]].concat()),
    ] {
        let (mut raw, _) = open(&scene, 196_608).await;
        raw.send(nonsense).await;
        assert!(has(&raw.rest().await, "FATAL"), "{nonsense:?}");
    }
    let (mut raw, key) = open(&scene, 196_610).await;
    assert_eq!(key.len(), 36, "version 3.2 has keys that nobody guesses");
    raw.send(&message(b'Q', b"SELECT 1\0")).await;
    assert_eq!(raw.until_ready().await, "TDCZI");
    // Long messages pass, up to the cap; what the parser doesn't take is refused, what is longer ends the session.
    raw.send(&message(b'Q', format!("SELECT length('{}')\0", "x".repeat(200_000)).as_bytes())).await;
    assert_eq!(raw.until_ready().await, "TDCZI");
    raw.send(&message(b'Q', format!("SELECT length('{}')\0", "x".repeat(300_000)).as_bytes())).await;
    assert_eq!(raw.until_ready().await, "EZI");
    let mut bind = b"\0\0\0\0\0\x01".to_vec();
    bind.extend(1_000_000_u32.to_be_bytes());
    bind.extend(vec![b'x'; 1_000_000]);
    bind.extend([0, 0]);
    let batch = [
        message(b'P', b"\0SELECT length($1)\0\0\0"),
        message(b'B', &bind),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ];
    raw.send(&batch.concat()).await;
    assert_eq!(raw.until_ready().await, "12DCZI");
    raw.send(&[&b"Q"[..], &(17_u32 << 20).to_be_bytes(), b"SELECT"].concat()).await;
    assert!(has(&raw.rest().await, "FATAL"));
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_refused_as_the_server_would_refuse_them() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let (mut raw, _) = open(&scene, 196_608).await;
    let run = |sql: &str| {
        let parse = message(b'P', format!("\0{sql}\0\0\0").as_bytes());
        [parse, message(b'B', b"\0\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0")].concat()
    };
    let sync = message(b'S', b"");
    // What came before the refused statement in its batch is undone, as after any error.
    raw.send(
        &[run("INSERT INTO customer VALUES (70, 'x')"), run("DROP TABLE customer"), run("SELECT 1"), sync.clone()]
            .concat(),
    )
    .await;
    assert_eq!(raw.until_ready().await, "12CEZI");
    assert_eq!(scene.postgres.value("SELECT count(*) FROM customer WHERE id = 70").await, "0");
    // In a transaction of the client's own it stays as it was.
    raw.send(&message(b'Q', b"BEGIN\0")).await;
    assert_eq!(raw.until_ready().await, "CZT");
    raw.send(&[run("DROP TABLE customer"), sync.clone()].concat()).await;
    assert_eq!(raw.until_ready().await, "EZT");
    // Pipelines: each batch by itself, answers in order.
    let pipeline = [
        run("SELECT 1"),
        sync.clone(),
        run("DROP TABLE customer"),
        sync.clone(),
        message(b'Q', b"DROP TABLE x\0"),
        run("SELECT 2"),
        sync,
    ];
    raw.send(&pipeline.concat()).await;
    let answers = [raw.until_ready().await, raw.until_ready().await, raw.until_ready().await, raw.until_ready().await];
    assert_eq!(answers, ["12DCZT", "EZT", "EZT", "12DCZT"]);
    raw.send(&message(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0])).await;
    assert_eq!(raw.until_ready().await, "EZT");
    raw.send(&message(b'Q', b"COMMIT\0")).await;
    assert_eq!(raw.until_ready().await, "CZI");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_slows_the_server_and_memory_stays_flat() {
    const CLIENTS: usize = 6;
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let first = scene.psql(&["-Atc", "SELECT email FROM customer WHERE id = 1"], "").await;
    assert_eq!(first.text(), "[email]\n", "{}", first.stderr);
    let before = scene.sluice.memory();
    let mut stalled = Vec::new();
    for at in 0..CLIENTS {
        // Half of them masked in every row, half clean.
        let value = if at % 2 == 0 { "'mail to bob@example.org '" } else { "'nothing to see here '" };
        let rows = "generate_series(1, 100000) AS a, generate_series(1, 100000) AS b";
        let (mut raw, _) = open(&scene, 196_608).await;
        raw.send(&message(b'Q', format!("SELECT repeat({value}, 40) AS note FROM {rows}\0").as_bytes())).await;
        stalled.push(raw);
    }
    // Until every server process waits for its client.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    let start = Instant::now();
    while scene.postgres.value(waiting).await != CLIENTS.to_string() {
        assert!(start.elapsed() < Duration::from_secs(60), "the server is never held up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // And the gateway has read what is on its way.
    let mut held = scene.sluice.memory();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = scene.sluice.memory();
        if now <= held + 64 {
            break;
        }
        held = now;
        assert!(start.elapsed() < Duration::from_secs(60), "memory grows and grows: {held} KiB");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = scene.sluice.memory();
    assert_eq!(scene.postgres.value(waiting).await, CLIENTS.to_string(), "it is held up still");
    assert!(later.saturating_sub(held) < 1024, "{} KiB more while nothing is read", later - held);
    let grown = held.max(later).saturating_sub(before) / CLIENTS as u64;
    assert!(grown < 2 * 1024, "{grown} KiB for each client");
    drop(stalled);
    let start = Instant::now();
    while scene.backends().await != "0" {
        assert!(start.elapsed() < Duration::from_secs(20), "a session is left on the server");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.sluice.stop().await;
}
