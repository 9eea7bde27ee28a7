//! Tests of the evidence store: what it acknowledged is there, and nothing of it can be changed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use super::*;

fn closed(reason: &str) -> Event {
    Event::SessionClosed { reason: reason.to_owned() }
}

fn record(reason: &str) -> Record {
    Record::now(SessionId::generate(), closed(reason))
}

#[tokio::test]
async fn what_was_appended_is_read_back_equal_and_in_order() {
    let place = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(place.path().join("evidence.sqlite")).unwrap();
    let session = SessionId::generate();
    let request = Event::Request {
        exchange: 1,
        method: "tools/call".to_owned(),
        name: Some("query".to_owned()),
        body: "{\"é\":\"\\u0000\"}".to_owned(),
        purpose: None,
        outcome: RequestOutcome::Refused,
        hits: vec![],
        approval: None,
    };
    let records = [Record::now(session.clone(), request), Record::now(session.clone(), closed("idle"))];
    let mut numbers = Vec::new();
    for record in &records {
        numbers.push(evidence.append(record.clone()).await.unwrap());
    }
    let stored = evidence.session(&session).unwrap();
    assert_eq!(stored.iter().map(|stored| stored.seq).collect::<Vec<_>>(), numbers);
    assert_eq!(stored.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), records);
    let summary = &evidence.sessions().unwrap()[0];
    assert_eq!((summary.requests, summary.refused, summary.closed.as_deref()), (1, 1, Some("idle")));
}

#[tokio::test]
async fn what_nobody_waits_for_is_stored_in_its_order_with_and_without_company() {
    let place = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(place.path().join("evidence.sqlite")).unwrap();
    let alone = evidence.append_soon(record("alone")).await.unwrap();
    let (soon, now) = tokio::join!(biased; evidence.append_soon(record("soon")), evidence.append(record("now")));
    assert_eq!((soon.unwrap(), now.unwrap()), (alone + 1, alone + 2));
}

#[tokio::test]
async fn many_appends_at_once_are_all_stored_with_numbers_of_their_own() {
    let place = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(place.path().join("evidence.sqlite")).unwrap();
    let appends = (0..500).map(|index| evidence.append(record(&index.to_string())));
    let mut numbers: Vec<u64> =
        futures_util::future::join_all(appends).await.into_iter().collect::<Result<_, _>>().unwrap();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 500);
    assert_eq!(evidence.sessions().unwrap().len(), 500);
}

#[tokio::test]
async fn records_can_be_neither_changed_nor_removed_nor_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence.sqlite");
    let evidence = Evidence::open(&path).unwrap();
    evidence.append(record("first")).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    for statement in [
        "UPDATE record SET body = '{}'",
        "DELETE FROM record",
        "REPLACE INTO record (seq, session, at, event, body) VALUES (1, 's', 'a', 'e', '{}')",
        "INSERT INTO record (seq, session, at, event, body) VALUES (1, 's', 'a', 'e', '{}') ON CONFLICT DO UPDATE SET body = ''",
    ] {
        let error = other.execute(statement, []).expect_err(statement);
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_closes_the_store_for_good() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence.sqlite");
    let evidence = Evidence::open_limited(&path, Some(12)).unwrap();
    let (mut acknowledged, big) = (0, "x".repeat(4000));
    let error = loop {
        match evidence.append(record(&big)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "the limit holds");
    };
    assert!(matches!(error, EvidenceError::Write(_)), "{error}");
    assert!(matches!(evidence.append(record("small")).await, Err(EvidenceError::Failed(_))));
    assert!(!evidence.is_healthy());
    drop(evidence);
    let reopened = Evidence::open(&path).unwrap();
    assert_eq!(reopened.sessions().unwrap().len(), acknowledged);
    reopened.append(record("after")).await.unwrap();
}

#[tokio::test]
async fn a_locked_store_refuses_within_the_time_limit() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence.sqlite");
    let evidence = Evidence::open(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = std::time::Instant::now();
    assert!(evidence.append(record("waits")).await.is_err());
    assert!(started.elapsed() < Duration::from_millis(1500));
}

#[test]
fn a_file_of_another_kind_is_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("other.sqlite");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Evidence::open(&path), Err(EvidenceError::Open { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(matches!(Reader::open(&place.path().join("none")), Err(EvidenceError::Open { .. })));
}

#[test]
fn the_canonical_form_sorts_names_and_has_no_spaces() {
    let value = serde_json::json!({ "b": [1, null, "é\n"], "a": { "z": true, "A": 0 } });
    assert_eq!(canonical(&value), r#"{"a":{"A":0,"z":true},"b":[1,null,"é\n"]}"#);
}

const CHILD_STORE: &str = "SLUICE_TEST_CHILD_STORE";

/// Not a test of its own: what the next one starts and kills.
#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_STORE) else { return };
    let evidence = Evidence::open(path).unwrap();
    let workers = (0..8).map(|_| {
        let evidence = evidence.clone();
        tokio::spawn(async move {
            loop {
                let number = evidence.append(record("x")).await.unwrap();
                println!("\nacknowledged {number}");
            }
        })
    });
    futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
}

#[cfg(unix)]
#[test]
fn no_acknowledged_record_is_lost_when_the_process_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence.sqlite");
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "evidence::tests::child_that_appends_until_it_is_killed"])
            .env(CHILD_STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while acknowledged.len() < 40 + 17 * usize::try_from(round).unwrap() {
            let line = lines.next().expect("the child runs until it is killed").unwrap();
            acknowledged.extend(line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok()));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        // What was said before the kill may still be in the pipe; its last line may be cut.
        acknowledged.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok())),
        );
        let connection = rusqlite::Connection::open(&path).unwrap();
        for number in acknowledged {
            let found: i64 = connection
                .query_row("SELECT count(*) FROM record WHERE seq = ?1", [number.cast_signed()], |row| row.get(0))
                .unwrap();
            assert_eq!(found, 1, "record {number} of round {round}");
        }
        let healthy: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(healthy, "ok");
    }
}
