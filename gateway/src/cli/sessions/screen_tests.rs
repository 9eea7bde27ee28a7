//! Tests of what is shown of a session.

use std::time::Duration;

use super::screen::scenes;
use crate::evidence::{
    DecisionRecord, Event, HitRecord, Record, RequestOutcome, ResponseOutcome, SessionId, StoredRecord,
};

fn query(exchange: u64, body: &str, outcome: RequestOutcome) -> Event {
    let hit = HitRecord {
        rule: "no_drop".to_owned(),
        id: Some("T-1".to_owned()),
        pack: "tests".to_owned(),
        action: "block".to_owned(),
        message: Some("Nothing is\u{7} dropped.".to_owned()),
        detail: None,
    };
    Event::Request {
        exchange,
        method: "query".to_owned(),
        name: None,
        body: body.to_owned(),
        purpose: None,
        outcome,
        hits: if outcome == RequestOutcome::Refused { vec![hit] } else { Vec::new() },
        approval: None,
    }
}

fn answer(exchange: u64, body: &str, last: bool) -> Event {
    let decision = DecisionRecord {
        rule: "mask".to_owned(),
        id: None,
        pattern: "std.pii.email".to_owned(),
        action: "mask".to_owned(),
        count: 2,
    };
    Event::Response {
        exchange,
        status: 0,
        body: body.to_owned(),
        part: 0,
        last,
        decisions: if last { vec![decision] } else { Vec::new() },
        outcome: ResponseOutcome::Complete,
        reason: None,
    }
}

/// Half a second from one to the next.
fn records(events: Vec<Event>) -> Vec<StoredRecord> {
    let opened = serde_json::json!({
        "event": "session_opened", "user": "ada", "email": null, "kind": "person", "groups": [], "issuer": "i", "subject": "ada",
        "connection": "crm", "purpose": "a report", "client": null, "ip": null, "protocol": "postgres", "rules_digest": "d",
    });
    let (session, mut at) = (SessionId::generate(), "2026-11-30T20:00:00Z".parse().unwrap());
    let opened = serde_json::from_value(opened).unwrap();
    let mut records = Vec::new();
    for (seq, event) in (7..).zip(std::iter::once(opened).chain(events)) {
        records.push(StoredRecord { seq, record: Record { session: session.clone(), at, event } });
        at += jiff::SignedDuration::from_millis(500);
    }
    records
}

fn shown(events: Vec<Event>) -> Vec<String> {
    scenes(&records(events), None, false).unwrap().into_iter().skip(1).map(|scene| scene.text).collect()
}

#[test]
fn a_session_is_shown_with_its_timing_and_what_the_gateway_did() {
    let scenes = scenes(
        &records(vec![
            query(1, "SELECT 1", RequestOutcome::Forwarded),
            answer(1, "id\temail\n1\t[email]\nSELECT 1\n", true),
            query(2, "DROP TABLE t", RequestOutcome::Refused),
            Event::SessionClosed { reason: "the client ended it".to_owned() },
        ]),
        None,
        false,
    )
    .unwrap();
    let texts: Vec<&str> = scenes.iter().map(|scene| &*scene.text).collect();
    assert_eq!(
        texts,
        [
            "-- ada opens crm for a report (postgres)\n",
            "crm=> SELECT 1\n",
            "id\temail\n1\t[email]\nSELECT 1\n--   mask 2 times by mask: std.pii.email\n",
            "crm=> DROP TABLE t\n-- REFUSED\n--   block by no_drop (T-1) of tests: Nothing is\u{fffd} dropped.\n",
            "-- closed: the client ended it\n",
        ]
    );
    let times: Vec<Duration> = scenes.iter().map(|scene| scene.at).collect();
    assert_eq!(times, [0, 500, 1000, 1500, 2000].map(Duration::from_millis));
}

#[test]
fn control_characters_of_others_do_nothing_and_lines_stay_lines() {
    let texts = shown(vec![
        query(1, "SELECT '\u{1b}]0;x\u{7}'\r\nFROM\tt", RequestOutcome::Forwarded),
        answer(1, "a\u{1b}[2Jb\rc\n", true),
    ]);
    assert_eq!(texts[0], "crm=> SELECT '\u{fffd}]0;x\u{fffd}'\nFROM\tt\n");
    assert!(texts[1].starts_with("a\u{fffd}[2Jb\u{fffd}c\n"), "{:?}", texts[1]);
}

#[test]
fn an_answer_in_parts_is_one_text_and_what_comes_between_begins_a_line() {
    let texts = shown(vec![answer(1, "ab", false), answer(1, "c\nd", true)]);
    assert_eq!(texts, ["ab", "c\nd\n--   mask 2 times by mask: std.pii.email\n"]);
    let texts = shown(vec![answer(1, "ab", false), query(2, "SELECT 2", RequestOutcome::Forwarded)]);
    assert_eq!(texts, ["ab", "\ncrm=> SELECT 2\n"]);
}

#[test]
fn one_exchange_is_shown_alone_and_one_that_is_not_there_is_said() {
    let records = records(vec![
        query(1, "SELECT 1", RequestOutcome::Forwarded),
        query(2, "SELECT 2", RequestOutcome::Forwarded),
        answer(1, "one\n", true),
    ]);
    let texts: String = scenes(&records, Some(1), false).unwrap().into_iter().map(|scene| scene.text).collect();
    assert_eq!(texts, "crm=> SELECT 1\none\n--   mask 2 times by mask: std.pii.email\n");
    assert_eq!(scenes(&records, Some(1), false).unwrap()[0].at, Duration::ZERO);
    assert!(scenes(&records, Some(3), false).unwrap_err().contains("no exchange 3"));
}

#[test]
fn the_gateway_s_own_lines_are_bold_on_a_terminal() {
    let records = records(vec![query(1, "-- REFUSED", RequestOutcome::Refused)]);
    let texts: String = scenes(&records, Some(1), true).unwrap().into_iter().map(|scene| scene.text).collect();
    assert!(texts.starts_with("crm=> -- REFUSED\n\u{1b}[1m-- REFUSED\u{1b}[0m\n"), "{texts:?}");
}
