//! Start, stop, crash, and clients that go away.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sluice_tests::http::{post_with, send};
use sluice_tests::place;
use sluice_tests::program::{command, run};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::upstream::{self, Reply};

fn call(id: u32) -> Value {
    let arguments = json!({ "text": format!("request number {id}") });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "say", "arguments": arguments } })
}

async fn scene() -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let sluice =
        Sluice::new().rules(Rules::Standard).connection("say", Upstream::Http(upstream.url.clone())).start().await;
    (upstream, sluice)
}

#[tokio::test]
async fn a_configuration_with_mistakes_names_them_all_and_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, "lisen = \"127.0.0.1:0\"\n[connection.x]\nrequire_porpose = true\n").unwrap();
    for verb in [["config", "check"].as_slice(), ["serve", "--config"].as_slice()] {
        let mut sluice = command(place::sluice(), verb);
        sluice.arg(&file).current_dir(folder.path()).env("SLUICE_DATA", folder.path());
        let done = run(sluice, "", Duration::from_secs(30)).await;
        let said = format!("{}{}", done.text(), done.stderr);
        assert!(done.code.is_some_and(|code| code != 0), "{verb:?}: {said}");
        for part in ["lisen", "listen", "require_porpose", "require_purpose"] {
            assert!(said.contains(part), "{verb:?} doesn't speak of `{part}`: {said}");
        }
    }
}

#[tokio::test]
async fn what_keeps_a_gateway_from_starting_is_said_with_its_place_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let valid = "[rules]\nfiles = [\"nope.rules\"]\n[[issuer]]\nurl = \"https://a.example\"\n[connection.x]\ncommand = [\"x\"]\n";
    std::fs::write(folder.path().join("norules.toml"), valid).unwrap();
    std::fs::write(folder.path().join("latin.toml"), b"# \xe9\n").unwrap();
    let starts: [(&[&str], i32, &[&str]); 8] = [
        (&["serve", "--listen", &address], 2, &[&address, "in use", "--listen"]),
        (&["serve", "--listen", "7700"], 2, &["--listen", "127.0.0.1:7700"]),
        (&["serve", "--listen", "0.0.0.0:0"], 2, &["loopback"]),
        (&["serve", "--confg", "x"], 2, &["--confg", "--config"]),
        (&["serve", "--config", "none.toml"], 2, &["none.toml", "No such file", "development mode"]),
        (&["serve", "--config", "latin.toml"], 2, &["latin.toml", "UTF-8"]),
        (&["serve", "--config", "norules.toml"], 2, &["nope.rules", "can't be read"]),
        (&["config", "check", "norules.toml"], 1, &["norules.toml", "nope.rules", "can't be read"]),
    ];
    for (args, code, parts) in starts {
        let mut sluice = command(place::sluice(), args);
        sluice.current_dir(folder.path()).env("SLUICE_DATA", folder.path().join("data"));
        let done = run(sluice, "", Duration::from_secs(30)).await;
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{args:?} doesn't speak of `{part}`: {}", done.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_lets_running_requests_end_and_then_exits_with_0() {
    let (upstream, sluice) = scene().await;
    let session = sluice.open_session("say").await;
    let body = upstream::result(json!(1), "slow but whole").to_string();
    let pieces: Vec<Bytes> = body.as_bytes().chunks(body.len() / 4).map(Bytes::copy_from_slice).collect();
    upstream.reply(Reply::new("application/json", pieces).paused(Duration::from_millis(300)));
    let request = post_with(&sluice.mcp("say"), Some(&session.token), &call(1), &session.headers());
    let running = tokio::spawn(send(request));
    tokio::time::sleep(Duration::from_millis(300)).await;
    sluice.signal("INT").await;
    let answer = running.await.unwrap();
    assert!(answer.whole, "{}", answer.text());
    assert_eq!(answer.message()["result"]["content"][0]["text"], "slow but whole", "{}", answer.text());
    assert_eq!(sluice.wait().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_record_of_a_request_that_went_upstream() {
    let (upstream, mut sluice) = scene().await;
    let session = sluice.open_session("say").await;
    for id in 1..=20 {
        upstream.reply(Reply::json(&upstream::result(json!(id), "ok")));
        let answer = send(post_with(&sluice.mcp("say"), Some(&session.token), &call(id), &session.headers())).await;
        assert!(answer.message().get("result").is_some(), "{}", answer.text());
    }
    sluice.crash().await;
    let record = sluice.session_record("ada@example.org").await.to_string();
    assert_eq!(upstream.calls().len(), 20);
    for id in 1..=20 {
        assert!(record.contains(&format!("request number {id}")), "request {id} went upstream and has no record");
    }
    // The store opens again, and the gateway with it.
    sluice.restart().await;
    assert!(sluice.session_record("ada@example.org").await.to_string().contains("request number 20"));
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_the_gateway_well() {
    let (upstream, sluice) = scene().await;
    let session = sluice.open_session("say").await;
    let event = Bytes::from(": tick\n\n");
    upstream.reply(Reply::new("text/event-stream", vec![event; 600]).paused(Duration::from_millis(50)));
    let request = post_with(&sluice.mcp("say"), Some(&session.token), &call(1), &session.headers());
    let gone = tokio::time::timeout(Duration::from_millis(400), send(request)).await;
    assert!(gone.is_err(), "the stream was still running when the client left");
    for id in 2..=5 {
        upstream.reply(Reply::json(&upstream::result(json!(id), "still here")));
        let answer = send(post_with(&sluice.mcp("say"), Some(&session.token), &call(id), &session.headers())).await;
        assert_eq!(answer.message()["result"]["content"][0]["text"], "still here");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_is_an_error_and_not_the_end() {
    let sluice = Sluice::new().connection("gone", Upstream::Http("http://127.0.0.1:9/mcp".into())).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    for _ in 0..3 {
        let answer = send(sluice_tests::http::post(
            &sluice.mcp("gone"),
            Some(&token),
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
        ))
        .await;
        assert!(answer.status.is_server_error() || answer.message().get("error").is_some(), "{answer:?}");
    }
    sluice.stop().await;
}
