//! Who may open a connection, when and for what: at every door, with its record.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sluice_client::OpenError;
use sluice_client::wire::Code;
use sluice_tests::client::{Client, Target as Endpoint, step};
use sluice_tests::http::{post_with, send};
use sluice_tests::program::{Finished, run};
use sluice_tests::sluice::{Setting, Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{agent, name};
use sluice_tests::upstream::{self, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const ADA: &str = "ada@example.org";
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Hours of UTC from and to so many seconds from now.
fn hours(from: i64, to: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let clock = |shift: i64| {
        let second = (now + shift).rem_euclid(24 * 60 * 60);
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    };
    format!("hours = \"{}-{}\"", clock(from), clock(to))
}

pub(crate) fn allow(connection: &str, lines: &str) -> String {
    format!("\n[[connection.{connection}.allow]]\n{lines}\n")
}

fn listing(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" })
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } })
}

pub(crate) async fn sluice_says(sluice: &Sluice, args: &[&str]) -> Finished {
    run(sluice.command(&[args, &["--config", "sluice.toml"]].concat()), "", SOON * 3).await
}

/// Who was not let in, newest first.
async fn refusals(sluice: &Sluice) -> Vec<Value> {
    let done = sluice_says(sluice, &["sessions", "list", "--refused", "--json"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn sessions(sluice: &Sluice) -> String {
    sluice_says(sluice, &["sessions", "list", "--json"]).await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mcp_client_is_let_in_by_one_table_that_holds_as_a_whole_and_others_are_told_nothing() {
    let upstream = upstream::Upstream::start().await;
    let tables = allow("db", &format!("groups = [\"night\"]\n{}", hours(7200, 10800)))
        + &allow("db", &format!("groups = [\"day\"]\nkinds = [\"person\"]\n{}", hours(-3600, 3600)))
        + &allow("db", "groups = [\"old\"]\nuntil = 2001-01-01");
    let sluice = Sluice::new().connection("db", Upstream::Http(upstream.url.clone())).tables(&tables).start().await;
    let url = sluice.mcp("db");
    let service = sluice.issuer().token("job", &["day"], 3600, &json!({ "idtyp": "app" }));
    let refused = [
        (sluice.token("eve@example.org", &[]).await, "table 2: in none of its groups; table 3: in none"),
        (sluice.token("nina@example.org", &["night"]).await, "table 1: outside of its hours; table 2"),
        (sluice.token("olaf@example.org", &["old"]).await, "table 3: after its last day"),
        (service, "table 2: not of its kinds"),
    ];
    let mut answers = Vec::new();
    for (token, why) in &refused {
        let answer = send(post_with(&url, Some(token), &initialize(), &[])).await;
        assert_eq!(answer.status, 403, "{why}: {}", answer.text());
        answers.push((answer.header("www-authenticate").to_owned(), answer.text()));
        let newest = refusals(&sluice).await.remove(0);
        assert!(newest["reason"].as_str().unwrap().contains(why), "{why}: {newest}");
        assert_eq!((&newest["connection"], &newest["protocol"]), (&"db".into(), &"mcp".into()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answer says nothing of the reason: {answers:?}");
    let recorded: Vec<Value> = refusals(&sluice).await.iter().map(|refusal| refusal["user"].clone()).collect();
    assert_eq!(recorded, ["job", "olaf@example.org", "nina@example.org", "eve@example.org"]);
    assert_eq!(sessions(&sluice).await, "", "what never opened is no session");
    let endpoint = Endpoint::url(&url, Some(&refused[1].0));
    let official = Client::Rust.carry_out(&[step("tools/list", json!({}))], &endpoint).await;
    assert!(official[0].get("refused").is_some(), "{official:?}");
    assert!(upstream.received().is_empty(), "nothing went upstream");

    sluice.open_session_of("db", "day").await;
    assert!(sessions(&sluice).await.contains(ADA));
    sluice.stop().await;
}

/// A session of MCP and one of bytes, both open; None where their hours were over before that.
async fn both_open(sluice: &Sluice) -> Option<(String, String, TcpStream)> {
    let token = sluice.token(ADA, &[]).await;
    let opened = send(post_with(&sluice.mcp("db"), Some(&token), &initialize(), &[])).await;
    if opened.status == 403 {
        return None;
    }
    let mut socket = TcpStream::connect(sluice.listener("bytes")).await.unwrap();
    let mut heard = [0];
    let echoed = async {
        socket.write_all(b"x").await?;
        socket.read_exact(&mut heard).await
    };
    echoed.await.ok()?;
    Some((token, opened.header("mcp-session-id").to_owned(), socket))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_ends_within_seconds_of_its_hours_and_the_record_says_why() {
    let (upstream, target) = (upstream::Upstream::start().await, Target::echo().await);
    let listener = "\n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"bytes\"\nuser = \"batch\"\n";
    // A machine that is busy may need longer than the hours last; then they are longer the next time.
    for seconds in [6, 30, 120] {
        let times = hours(-3600, seconds);
        let sluice = Sluice::new()
            .connection("db", Upstream::Http(upstream.url.clone()))
            .connection("bytes", Upstream::Tcp(target.address))
            .tables(&(allow("db", &times) + &allow("bytes", &times) + listener))
            .start()
            .await;
        let Some((token, id, mut socket)) = both_open(&sluice).await else {
            sluice.stop().await;
            continue;
        };
        let patience = SOON + Duration::from_secs(seconds.unsigned_abs());
        let mut rest = Vec::new();
        let end = timeout(patience, socket.read_to_end(&mut rest)).await.expect("it goes on after its hours");
        assert!(end.is_err(), "what the gateway ends is reset");
        let carried = [("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", id.as_str())];
        let answer = send(post_with(&sluice.mcp("db"), Some(&token), &listing(2), &carried)).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        let mut socket = TcpStream::connect(sluice.listener("bytes")).await.unwrap();
        let end = timeout(patience, socket.read_to_end(&mut rest)).await.expect("it isn't let in");
        assert!(end.is_err(), "nobody is let in now");
        for user in [ADA, "batch"] {
            let record = sluice.session_record(user).await;
            let closed = record.as_array().unwrap().iter().find(|event| event["event"] == "session_closed");
            assert_eq!(closed.expect("it is closed")["reason"], "outside of its allowed times", "{record:#}");
        }
        let refused: Vec<Value> = refusals(&sluice).await.iter().map(|refusal| refusal["user"].clone()).collect();
        assert_eq!(refused, ["batch", ADA]);
        return sluice.stop().await;
    }
    panic!("no session could be opened in time");
}

fn with_purposes(upstream: &upstream::Upstream) -> Setting {
    Sluice::new()
        .connection("db", Upstream::Http(upstream.url.clone()))
        .further("db", "require_purpose = true")
        .tables("\n[purposes]\nallowed = [\"nightly *\"]\npattern = \"[A-Z]+-[0-9]+\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_mcp_states_an_accepted_purpose_and_the_refusal_says_which_are() {
    let upstream = upstream::Upstream::start().await;
    let sluice = with_purposes(&upstream).start().await;
    // For an accepted one: "nightly report".
    let session = sluice.open_session("db").await;
    let before = upstream.received().len();
    let ask = async |id: u32, purpose: &str| {
        let headers = [session.headers(), vec![("sluice-purpose", purpose)]].concat();
        send(post_with(&sluice.mcp("db"), Some(&session.token), &listing(id), &headers)).await
    };
    assert!(ask(1, "OPS-17").await.message().get("result").is_some());
    for (id, purpose) in [(2, "curiosity"), (3, "see OPS-17")] {
        let answer = ask(id, purpose).await;
        let error = answer.message()["error"].clone();
        assert_eq!(error["code"], -32003, "{error}");
        assert!(error["message"].as_str().unwrap().contains("`nightly *` or what fits /[A-Z]+-[0-9]+/"), "{error}");
    }
    assert_eq!(upstream.received().len(), before + 1, "nothing of the refused ones went upstream");
    let record = sluice.session_record(ADA).await;
    let refused: Vec<&Value> =
        record.as_array().unwrap().iter().filter(|event| event["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 2, "{record:#}");
    assert_eq!(refused[0]["purpose"], "curiosity");
    assert_eq!(refused[0]["hits"][0]["detail"], "the stated purpose is none that is accepted");

    // No session is opened for one that isn't accepted.
    let token = sluice.token("bob@example.org", &[]).await;
    let opening = async |purpose: &str| {
        send(post_with(&sluice.mcp("db"), Some(&token), &initialize(), &[("sluice-purpose", purpose)])).await
    };
    assert_eq!(opening("curiosity").await.message()["error"]["code"], -32003);
    let newest = refusals(&sluice).await.remove(0);
    assert_eq!((&newest["user"], &newest["purpose"]), (&"bob@example.org".into(), &"curiosity".into()));
    assert!(opening("OPS-1").await.message().get("result").is_some());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_that_has_to_be_confirmed_is_asked_about_once_and_anything_but_a_yes_is_a_no() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let upstream = upstream::Upstream::start().await;
    let check = upstream::Upstream::start().await;
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("check.key");
    std::fs::write(&secret, SECRET).unwrap();
    let answers = |answer: Reply| check.reply_to(Method::POST, answer);
    let tables = format!("\n[purposes]\ncheck = {:?}\ncheck_secret = \"file:{}\"\n", check.url, secret.display());
    let sluice = Sluice::new()
        .connection("db", Upstream::Http(upstream.url.clone()))
        .further("db", "require_purpose = true")
        .tables(&tables)
        .start()
        .await;
    answers(Reply::json(&json!({ "allowed": true })));
    let session = sluice.open_session("db").await;
    let ask = async |purpose: &str| {
        let headers = [session.headers(), vec![("sluice-purpose", purpose)]].concat();
        let answer = send(post_with(&sluice.mcp("db"), Some(&session.token), &listing(1), &headers)).await;
        answer.message()["error"]["code"].as_i64()
    };
    assert_eq!((ask("TICKET-1").await, ask("TICKET-1").await), (None, None));
    let asked = check.received();
    assert_eq!(asked.len(), 2, "once for the opening, once for the ticket");
    let question: Value = serde_json::from_slice(&asked[1].body).unwrap();
    assert_eq!((&question["user"], &question["connection"]), (&ADA.into(), &"db".into()));
    assert_eq!((&question["purpose"], &question["issuer"]), (&"TICKET-1".into(), &sluice.issuer().url.as_str().into()));
    let header = |name: &str| asked[1].headers[name].to_str().unwrap().to_owned();
    let signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
    let signed = [signed.as_bytes(), &asked[1].body[..]].concat();
    let signature = BASE64.decode(header("webhook-signature").strip_prefix("v1,").unwrap().as_bytes()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &signed, &signature).expect("it is signed");

    answers(Reply::json(&json!({ "allowed": false })));
    assert_eq!(ask("TICKET-2").await, Some(-32003));
    assert_eq!(ask("TICKET-1").await, None, "an answer counts for a minute");
    let error = Reply { status: StatusCode::INTERNAL_SERVER_ERROR, ..Reply::json(&json!({ "allowed": true })) };
    let slow = Reply::new("application/json", ["{\"allowed\":", "true}"].map(Bytes::from)).paused(SOON);
    let redirected = Reply { status: StatusCode::TEMPORARY_REDIRECT, ..Reply::json(&json!({ "allowed": true })) };
    let broken = Reply::json(&json!({ "allowed": true })).broken();
    let said = [error, slow, redirected, broken, Reply::json(&json!({ "allowed": "true" })), Reply::json(&json!([]))];
    for (number, answer) in said.into_iter().enumerate() {
        answers(answer);
        assert_eq!(ask(&format!("TICKET-1{number}")).await, Some(-32003), "{number}");
    }
    let record = sluice.session_record(ADA).await;
    for reason in ["doesn't confirm it", "it answered 500", "no answer within 2 s", "not reachable"] {
        assert!(record.to_string().contains(reason), "{reason}: {record:#}");
    }
    assert!(!record.to_string().contains(SECRET) && !sluice.log().contains(SECRET));
    let explained = ["access", "explain", "--user", ADA, "--connection", "db", "--purpose", "TICKET-1"];
    let done = sluice_says(&sluice, &explained).await;
    assert_eq!(done.code, Some(2), "whether it is confirmed can't be told: {}", done.text());
    assert!(done.stderr.contains("isn't asked here"), "{}", done.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_for_a_purpose_holds_for_requests_that_state_it() {
    let upstream = upstream::Upstream::start().await;
    let tables = allow("db", "groups = [\"engineering\"]\npurposes = [\"incident-*\"]");
    let sluice = Sluice::new().connection("db", Upstream::Http(upstream.url.clone())).tables(&tables).start().await;
    let token = sluice.token(ADA, &["engineering"]).await;
    let ask = async |message: &Value, headers: &[(&str, &str)]| {
        send(post_with(&sluice.mcp("db"), Some(&token), message, headers)).await
    };
    let opened = ask(&initialize(), &[]).await;
    assert!(opened.message().get("result").is_some(), "what opens a session carries no data: {}", opened.text());
    let id = opened.header("mcp-session-id").to_owned();
    let carried = [("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", id.as_str())];
    let missing = ask(&listing(1), &carried).await.message()["error"].clone();
    assert!(missing["code"] == -32003 && missing["message"].as_str().unwrap().contains("needs a purpose"), "{missing}");
    let with = |purpose| [&carried[..], &[("sluice-purpose", purpose)]].concat();
    let wrong = ask(&listing(2), &with("report")).await;
    assert!(wrong.message().get("error").is_some() && !wrong.text().contains("incident"), "{}", wrong.text());
    assert!(ask(&listing(3), &with("incident-7")).await.message().get("result").is_some());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_their_streams_are_let_in_as_everybody_is() {
    let (upstream, target) = (upstream::Upstream::start().await, Target::echo().await);
    let tables =
        ["bytes", "db"].map(|name| allow(name, &format!("groups = [\"ops\"]\n{}", hours(-3600, 3600)))).concat();
    let sluice = Sluice::new()
        .connection("bytes", Upstream::Tcp(target.address))
        .connection("db", Upstream::Http(upstream.url.clone()))
        .further("bytes", "require_purpose = true")
        .tables(&(tables + "\n[purposes]\nallowed = [\"deploy\"]\n"))
        .tunnel("")
        .start()
        .await;
    let open = async |groups: &[&str], connection: &str, purpose: Option<&str>| match agent(&sluice, ADA, groups)
        .await
        .open(&name(connection), purpose)
        .await
    {
        Ok(_) => None,
        Err(OpenError::Refused { code, message }) => Some((code, message)),
        Err(other) => panic!("{other}"),
    };
    for connection in ["bytes", "db"] {
        let (code, message) = open(&[], connection, Some("deploy")).await.expect("it is refused");
        assert_eq!((code, message.as_str()), (Code::Forbidden, "not allowed to open this connection"));
        let (code, message) = open(&["ops"], connection, Some("fun")).await.expect("it is refused");
        assert!(code == Code::PurposeRequired && message.contains("accepted is `deploy`"), "{code}: {message}");
        assert!(open(&["ops"], connection, Some("deploy")).await.is_none());
    }
    assert!(matches!(open(&["ops"], "bytes", None).await, Some((Code::PurposeRequired, _))));
    assert_eq!(refusals(&sluice).await.len(), 5, "each once");
    sluice.stop().await;
}
