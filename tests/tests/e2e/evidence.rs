//! No record, no request: a store that can't take a record refuses the request within a second, and nothing goes upstream.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::disk::{Disk, Mood};
use sluice_tests::http::{Answer, post_with, send};
use sluice_tests::place;
use sluice_tests::program::{command, run};
use sluice_tests::sluice::{Session, Setting, Sluice, Upstream};
use sluice_tests::upstream;

/// A write beyond the limit is an error and no signal.
const LIMITED: [&str; 3] = ["sh", "-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\""];
/// The store stands on a disk of its own, which is small.
const FULL: [&str; 7] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=512k none \"$STORE\" && exec \"$0\" \"$@\"",
];

async fn call(sluice: &Sluice, session: &Session, text: &str) -> Answer {
    let params = json!({ "name": "say", "arguments": { "text": text } });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    send(post_with(&sluice.mcp("say"), Some(&session.token), &message, &session.headers())).await
}

fn assert_refused_for_want_of_a_record(answer: &Answer, took: Duration) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.message()["error"]["code"], -32001, "{}", answer.text());
    assert_eq!(answer.message()["id"], 7);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

/// Calls with bodies that fill the store until it refuses; the refused ones must not have gone upstream.
async fn fill(setting: Setting) {
    let upstream = upstream::Upstream::start().await;
    let mut sluice = setting.connection("say", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("say").await;
    let text = "nothing personal ".repeat(2000);
    let mut passed = 0;
    let (refused, took) = loop {
        let started = Instant::now();
        let answer = call(&sluice, &session, &text).await;
        // A response that can't be recorded doesn't pass either, but its request did.
        if answer.status != 200 && upstream.calls().len() == passed {
            break (answer, started.elapsed());
        }
        passed = upstream.calls().len();
        assert!(passed < 100, "the store never fills");
    };
    assert!(passed > 0, "there was room for something");
    assert_refused_for_want_of_a_record(&refused, took);
    // A store that has failed stays failed: nothing passes until a restart, however small.
    let started = Instant::now();
    assert_refused_for_want_of_a_record(&call(&sluice, &session, "small").await, started.elapsed());
    assert_eq!(upstream.calls().len(), passed, "nothing goes upstream without a record");
    assert!(!sluice.log().contains("nothing personal"), "the log keeps no part of a request");
    sluice.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_refuses_the_request_and_all_after_it() {
    fill(Sluice::new().within(&LIMITED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_the_request_and_all_after_it() {
    let probe =
        run(command("unshare", ["--user", "--map-root-user", "--mount", "true"]), "", Duration::from_secs(10)).await;
    if probe.code != Some(0) {
        // The other test of a failing write needs no disk of its own.
        eprintln!("not run: this machine lets nobody mount a small disk: {}", probe.stderr);
        return;
    }
    fill(Sluice::new().within(&FULL)).await;
}

/// A gateway on a disk of moods, an upstream, and a session.
async fn on(disk: &Disk) -> (Sluice, upstream::Upstream, Session) {
    let upstream = upstream::Upstream::start().await;
    let setting = Sluice::new().within(&disk.wrapper()).connection("say", Upstream::Http(upstream.url.clone()));
    let sluice = setting.start().await;
    let session = sluice.open_session("say").await;
    (sluice, upstream, session)
}

/// Starts it again on a disk that is well: what was acknowledged is there, and requests pass.
async fn passes_after_a_restart(mut sluice: Sluice, disk: &Disk) {
    disk.is(Mood::Well);
    sluice.crash().await;
    sluice.restart().await;
    let session = sluice.open_session("say").await;
    let answer = call(&sluice, &session, "again").await;
    assert_eq!(answer.message()["result"]["content"][0]["text"], "all is well", "{}", answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stalls_refuses_the_request_in_time_and_is_trusted_again_after_a_restart() {
    let disk = Disk::new();
    let (sluice, upstream, session) = on(&disk).await;
    disk.is(Mood::Stalls);
    for _ in 0..2 {
        let started = Instant::now();
        assert_refused_for_want_of_a_record(&call(&sluice, &session, "wait").await, started.elapsed());
    }
    assert!(upstream.calls().is_empty(), "nothing goes upstream without a record");
    passes_after_a_restart(sluice, &disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_or_a_write_that_fails_is_not_tried_again() {
    for mood in [Mood::FailsToSync, Mood::Full] {
        let disk = Disk::new();
        let (sluice, upstream, session) = on(&disk).await;
        assert_eq!(call(&sluice, &session, "before").await.status, 200);
        // The response is on record, too.
        tokio::time::sleep(Duration::from_millis(200)).await;
        disk.is(mood);
        let started = Instant::now();
        assert_refused_for_want_of_a_record(&call(&sluice, &session, "fails").await, started.elapsed());
        disk.is(Mood::Well);
        let started = Instant::now();
        assert_refused_for_want_of_a_record(&call(&sluice, &session, "after").await, started.elapsed());
        assert_eq!(upstream.calls().len(), 1, "nothing goes upstream without a record");
        passes_after_a_restart(sluice, &disk).await;
    }
}

/// `sluice evidence` about the gateway's store: what it prints, and its exit code.
async fn evidence(sluice: &Sluice, args: &[&str]) -> (String, Option<i32>) {
    let mut command = sluice.command(&["evidence"]);
    let done = run(
        {
            command.args(args);
            command
        },
        "",
        Duration::from_secs(30),
    )
    .await;
    (done.text().to_owned() + &done.stderr, done.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_is_verified_by_its_public_key_while_a_gateway_writes_and_after_it_was_edited() {
    const STORE: [&str; 2] = ["--store", "store/evidence"];
    let upstream = upstream::Upstream::start().await;
    let mut sluice = Sluice::new().connection("say", Upstream::Http(upstream.url.clone())).start().await;
    let session = sluice.open_session("say").await;
    let folder = sluice.folder().to_owned();
    std::fs::copy(folder.join("store/evidence/evidence.pub"), folder.join("kept.pub")).unwrap();
    let verify = ["verify", "--key", "kept.pub", STORE[0], STORE[1]];
    assert_eq!(call(&sluice, &session, "something").await.status, 200);
    let (said, code) = evidence(&sluice, &verify).await;
    assert_eq!(code, Some(0), "{said}");
    let (said, code) = evidence(&sluice, &[&["rotate-key"], &STORE[..]].concat()).await;
    assert!(code == Some(2) && said.contains("another gateway writes to it"), "{said}");

    sluice.signal("INT").await;
    sluice.ended().await;
    let (checkpoint, code) = evidence(&sluice, &[&["checkpoint"], &STORE[..]].concat()).await;
    assert_eq!(code, Some(0), "{checkpoint}");
    std::fs::write(folder.join("kept.checkpoint"), checkpoint).unwrap();
    let (proof, code) = evidence(&sluice, &[&["prove", "1"], &STORE[..]].concat()).await;
    assert_eq!(code, Some(0), "{proof}");
    std::fs::write(folder.join("one.tlog-proof"), proof).unwrap();
    let (said, code) = evidence(&sluice, &["verify", "--key", "kept.pub", "--proof", "one.tlog-proof"]).await;
    assert!(code == Some(0) && said.contains("record 1 of sluice-evidence/"), "{said}");
    let (said, code) = evidence(&sluice, &[&["rotate-key"], &STORE[..]].concat()).await;
    assert!(code == Some(0) && said.starts_with("sluice-evidence/"), "{said}");
    sluice.restart().await;
    sluice.signal("INT").await;
    sluice.ended().await;
    let against = [&verify[..], &["--checkpoint", "kept.checkpoint"]].concat();
    let (said, code) = evidence(&sluice, &against).await;
    assert!(code == Some(0) && said.contains("signed by 2 keys"), "{said}");

    let segment = folder.join("store/evidence/segments/00000000000000000000");
    let text = std::fs::read(&segment).unwrap();
    let at = text.windows(9).position(|part| part == b"something").expect("the call is on record");
    let mut edited = text.clone();
    edited[at..at + 9].copy_from_slice(b"otherwise");
    std::fs::write(&segment, edited).unwrap();
    let (said, code) = evidence(&sluice, &[&verify[..], &["--json"]].concat()).await;
    assert_eq!(code, Some(1), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["findings"][0]["kind"], "edited", "{report}");
    std::fs::remove_file(folder.join("kept.pub")).unwrap();
    let (said, code) = evidence(&sluice, &verify).await;
    assert!(code == Some(2) && said.contains("kept.pub"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_write_its_store_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.rules"), std::fs::read(place::root().join("rules/std/sql.rules")).unwrap())
        .unwrap();
    let file = folder.path().join("sluice.toml");
    // Nobody, root included, can make a file there.
    std::fs::write(
        &file,
        "listen = \"127.0.0.1:0\"\nstore = \"/proc/evidence\"\n[rules]\nfiles = [\"one.rules\"]\n\
         [[issuer]]\nurl = \"http://127.0.0.1:9\"\naudience = \"a\"\n\
         [connection.x]\nurl = \"http://127.0.0.1:9/mcp\"\n",
    )
    .unwrap();
    let mut serve = command(place::sluice(), ["serve", "--config"]);
    serve.arg(&file).current_dir(folder.path());
    let done = run(serve, "", Duration::from_secs(30)).await;
    assert_eq!(done.code, Some(2), "{}{}", done.text(), done.stderr);
    assert!(done.stderr.contains("/proc/"), "it says which file: {}", done.stderr);
    assert!(!done.text().contains("listening"), "it never listened");
}
