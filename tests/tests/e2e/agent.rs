//! Targets inside another network: `sluice agent` dials out to the gateway and serves them; several share the load and stand in
//! for each other.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_client::stream::code_of;
use sluice_client::wire::Code;
use sluice_client::{OpenError, Tunnel};
use sluice_tests::authority::Authority;
use sluice_tests::http::{post_with, send};
use sluice_tests::program::{PATIENCE, run};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{agent as client, name};
use sluice_tests::upstream::{self, Reply, result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(10);

const RULES: &str = r#"
language 1
pack test.agents "1.0.0" { owner "tests" reviewed 2026-11-01 }
pattern mail = /\b[a-z0-9.]{1,40}@[a-z0-9]{1,40}\.(?:com|org)\b/
scope bytes { protocol == tcp }
rule mask_mail {
  meta { id "AGE-1" severity high gdpr ["Art. 32"] }
  on response in bytes
  match mail
  then mask redact(with: "[mail]")
}
"#;

async fn scene() -> Sluice {
    Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("inside", Upstream::Lines("agents = [\"agents\"]".to_owned()))
        .connection("outside", Upstream::Tcp("127.0.0.1:1".parse().unwrap()))
        .tables("\n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"inside\"\nuser = \"nightly\"\n")
        .tunnel("")
        .start()
        .await
}

async fn command(sluice: &Sluice, user: &str, groups: &[&str], target: SocketAddr) -> Command {
    let mut command = sluice.command(&["agent", "--ca", "ca.pem", "--gateway", &sluice.tunnel]);
    command.args(["--serve", &format!("inside={target}")]).env("SLUICE_TOKEN", sluice.token(user, groups).await);
    command
}

/// An agent that serves `inside`.
async fn serving(sluice: &Sluice, user: &str, target: &Target) -> Child {
    let mut command = command(sluice, user, &["agents"], target.address).await;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut agent = command.spawn().unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let said = timeout(PATIENCE, lines.next_line()).await.expect("it doesn't serve").unwrap();
    assert_eq!(said.as_deref(), Some("serving inside"));
    agent
}

/// A session, and the target that it has.
async fn open(tunnel: &Tunnel) -> (sluice_client::Channel, char) {
    let mut channel = tunnel.open(&name("inside"), None).await.unwrap();
    let which = timeout(SOON, channel.read_u8()).await.expect("nothing comes").unwrap();
    (channel, char::from(which))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_an_agent_serves_is_reached_inspected_and_recorded_like_any_other() {
    let sluice = scene().await;
    let user = client(&sluice, "ada@example.org", &[]).await;
    let refused = user.open(&name("inside"), None).await;
    assert!(matches!(refused, Err(OpenError::Refused { code: Code::Upstream, .. })), "nobody serves it: {refused:?}");
    let target = Target::echo().await;
    let mut agent = serving(&sluice, "site-1", &target).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let channel =
        user.open(&name("inside"), Some("a look")).await.unwrap_or_else(|error| panic!("{error}: {}", sluice.log()));
    let session = channel.session().unwrap().to_owned();
    let (mut reader, mut writer, _keep) = channel.split();
    let sent = bytes.clone();
    let saying = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    timeout(SOON * 3, reader.read_to_end(&mut heard)).await.expect("it takes too long").unwrap();
    saying.await.unwrap();
    assert!(heard == bytes, "{} of {} bytes came back", heard.len(), bytes.len());
    // Somebody without a token comes the same way, and rules hold there.
    let mut socket = tokio::net::TcpStream::connect(sluice.listener("inside")).await.unwrap();
    socket.write_all(b"to bob@example.com\n").await.unwrap();
    socket.shutdown().await.unwrap();
    let mut heard = String::new();
    timeout(SOON, socket.read_to_string(&mut heard)).await.expect("no end").unwrap();
    assert_eq!(heard, "to [mail]\n");
    sleep(Duration::from_millis(300)).await;
    let show = sluice.command(&["sessions", "show", &session, "--json", "--config", "sluice.toml"]);
    let record = run(show, "", SOON).await;
    let record: Vec<Value> = record.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(record[1]["name"], "by an agent", "{record:?}");
    assert_eq!(record[2]["outcome"], "complete", "{record:?}");
    agent.kill().await.unwrap();
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_mcp_is_reached_through_an_agent_as_it_is_directly() {
    let authority = Authority::new();
    let (plain, secure) = (upstream::Upstream::start().await, upstream::Upstream::start_tls(&authority).await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    // By the gateway itself neither is reached: these addresses are those of the other network.
    let lines = |scheme: &str, more: &str| {
        Upstream::Lines(format!("url = \"{scheme}://127.0.0.1:1/mcp\"\nagents = [\"agents\"]\n{more}"))
    };
    let rules = Rules::Text(RULES.replace("protocol == tcp", "protocol == mcp"));
    let sluice = Sluice::new()
        .rules(rules)
        .connection("plain", lines("http", ""))
        .connection("secure", lines("https", &format!("ca_file = {:?}", file.path())))
        .tunnel("")
        .start()
        .await;
    let at = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    let mut command = sluice.command(&["agent", "--ca", "ca.pem", "--gateway", &sluice.tunnel]);
    command.args(["--serve", &format!("plain={}", at(&plain.url)), "--serve", &format!("secure={}", at(&secure.url))]);
    command.env("SLUICE_TOKEN", sluice.token("site-1", &["agents"]).await);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut agent = command.spawn().unwrap();
    let mut said = BufReader::new(agent.stdout.take().unwrap()).lines();
    timeout(PATIENCE, said.next_line()).await.expect("it doesn't serve").unwrap();
    for (name, upstream) in [("plain", &plain), ("secure", &secure)] {
        upstream.reply(Reply::json(&result(json!(7), "from bob@example.com")));
        let session = sluice.open_session(name).await;
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "say" } });
        let answer = send(post_with(&sluice.mcp(name), Some(&session.token), &call, &session.headers())).await;
        assert_eq!(answer.message()["result"]["content"][0]["text"], "from [mail]", "{name}: {}", answer.text());
        assert_eq!(upstream.calls().len(), 1);
    }
    agent.kill().await.unwrap();
    // The session is the server's: without an agent it can't be reached, and the client is told.
    let token = sluice.token("ada@example.org", &[]).await;
    let call = json!({ "jsonrpc": "2.0", "id": 8, "method": "initialize", "params": { "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } } });
    let answer = send(post_with(&sluice.mcp("plain"), Some(&token), &call, &[])).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_no_group_that_may_serve_is_refused_and_so_is_what_no_agent_serves() {
    let sluice = scene().await;
    let target = Target::echo().await;
    let refused = run(command(&sluice, "mallory", &["dev"], target.address).await, "", PATIENCE).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("in no group that may serve"), "{}", refused.stderr);
    let mut other = sluice.command(&["agent", "--ca", "ca.pem", "--gateway", &sluice.tunnel]);
    other.args(["--serve", "outside=127.0.0.1:6379"]).env("SLUICE_TOKEN", sluice.token("site-1", &["agents"]).await);
    let refused = run(other, "", PATIENCE).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("no such connection to serve"), "{}", refused.stderr);
    let wrong = run(sluice.command(&["agent", "--serve", "inside=nowhere"]), "", PATIENCE).await;
    assert!(wrong.stderr.contains("`nowhere` is no name or address with a port"), "{}", wrong.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_share_the_sessions_and_one_that_is_killed_is_stood_in_for() {
    let sluice = scene().await;
    let (a, b) = (Target::named("a").await, Target::named("b").await);
    let mut first = serving(&sluice, "site-1", &a).await;
    let _second = serving(&sluice, "site-2", &b).await;
    let user = client(&sluice, "ada@example.org", &[]).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(open(&user).await);
    }
    let of = |which| held.iter().filter(|(_, target)| *target == which).count();
    assert_eq!((of('a'), of('b')), (4, 4), "the least busy one is next");

    first.kill().await.unwrap();
    let killed = Instant::now();
    for _ in 0..6 {
        let began = Instant::now();
        let (channel, which) = open(&user).await;
        assert_eq!(which, 'b', "new sessions go to the one that is left");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        held.push((channel, which));
    }
    for (channel, which) in &mut held {
        if *which == 'a' {
            let mut rest = Vec::new();
            let error = timeout(SOON, channel.read_to_end(&mut rest)).await.expect("it goes on").unwrap_err();
            assert_eq!(code_of(&error), Some(Code::Upstream), "{error}");
        } else {
            channel.write_all(b"still there\n").await.unwrap();
            let mut heard = [0; 12];
            timeout(SOON, channel.read_exact(&mut heard)).await.expect("nothing comes").unwrap();
            assert_eq!(&heard, b"still there\n");
        }
    }
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    let _again = serving(&sluice, "site-1", &a).await;
    let (_channel, which) = open(&user).await;
    assert_eq!(which, 'a', "one that comes back is the least busy");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_a_gateway_that_was_away_again_and_one_whose_token_ends_serves_no_longer() {
    let mut sluice = scene().await;
    let target = Target::echo().await;
    let _agent = serving(&sluice, "site-1", &target).await;
    sluice.crash().await;
    sleep(Duration::from_secs(1)).await;
    sluice.restart().await;
    let user = client(&sluice, "ada@example.org", &[]).await;
    let began = Instant::now();
    let mut channel = loop {
        match user.open(&name("inside"), None).await {
            Ok(channel) => break channel,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(25), "it never comes back: {error}"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    channel.write_all(b"x\n").await.unwrap();
    assert_eq!(channel.read_u8().await.unwrap(), b'x');
    sluice.stop().await;

    let sluice = scene().await;
    let token = sluice.issuer().token("site-1", &["agents"], 4, &Value::Null);
    let mut agent = command(&sluice, "site-1", &["agents"], target.address).await;
    agent.env("SLUICE_TOKEN", token).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut agent = agent.spawn().unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    timeout(PATIENCE, lines.next_line()).await.expect("it doesn't serve").unwrap();
    let user = client(&sluice, "ada@example.org", &[]).await;
    let mut channel = user.open(&name("inside"), None).await.unwrap();
    let mut rest = Vec::new();
    let error = timeout(Duration::from_secs(7), channel.read_to_end(&mut rest)).await.expect("it goes on").unwrap_err();
    assert_eq!(code_of(&error), Some(Code::Upstream), "sessions through it end with its token: {error}");
    assert!(user.open(&name("inside"), None).await.is_err());
    sluice.stop().await;
}
