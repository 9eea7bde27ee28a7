//! Events: what the gateway knows of a stream is the same for every cut and what a client sees of it; an abandoned event
//! reaches no client as a message; after the inspector no client reads what a rule masks.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, Matcher, PatternSpec, Program, RuleSpec, Stream, StreamOptions,
};
use sluice_fuzz::{cuts, events, json};
use sluice_gateway::protocol::mcp::sse::{Tracker, event};
use std::sync::LazyLock;

const SECRET: &str = "secret";

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let words = Matcher::Words { words: vec![SECRET.into()], nocase: false };
    let pattern = builder.pattern(PatternSpec::new("secret", words)).expect("valid");
    builder.rule(RuleSpec::new("secret", Action::Mask(Mask::redact("[s]")), [pattern]));
    builder.build().expect("valid")
});

fuzz_target!(|text: &[u8]| {
    let tracker = track(text);
    let told = events::read(text);

    let mut ended = text.to_vec();
    ended.extend_from_slice(tracker.abandon());
    ended.extend_from_slice(&event(b"{}"));
    let seen = events::read(&ended);
    let (last, before) = seen.split_last().expect("the gateway's own event is read");
    assert_eq!((&last.kind[..], &last.data[..]), (&b"message"[..], &b"{}"[..]));
    assert_eq!(before.get(..told.len()), Some(&told[..]), "events that had ended changed");
    assert!(before[told.len()..].iter().all(|event| event.kind == b"abandoned"), "half an event was told");

    if let Some(out) = inspect(text) {
        let masked = events::read(&out);
        assert_eq!(masked.len(), told.len(), "an event was lost or made");
        for (event, was) in masked.iter().zip(&told) {
            hidden(&String::from_utf8_lossy(&event.kind));
            let data = String::from_utf8_lossy(&event.data);
            match serde_json::from_str::<Value>(&data) {
                Ok(value @ (Value::Array(_) | Value::Object(_))) => json::strings(&value, &mut |text| hidden(text)),
                _ => {
                    hidden(&data);
                    let was = serde_json::from_slice::<Value>(&was.data);
                    assert!(!matches!(was, Ok(Value::Array(_) | Value::Object(_))), "masked JSON is no JSON");
                }
            }
        }
    }
});

/// Reads a stream cut in all ways, and compares with its lines.
fn track(text: &[u8]) -> Tracker {
    let (lines, rest) = events::lines(text);
    let boundary = rest.is_empty() && lines.last().is_none_or(|line| line.is_empty());
    let cursor = lines.iter().chain([&rest]).any(|line| line.starts_with(b"id:"));
    let mut last = Tracker::default();
    for pieces in cuts(text) {
        let mut tracker = Tracker::default();
        pieces.iter().for_each(|piece| tracker.push(piece));
        assert_eq!((tracker.at_boundary(), tracker.has_cursor()), (boundary, cursor));
        last = tracker;
    }
    last
}

/// What leaves the inspector, the same for every cut; None where it stops.
fn inspect(text: &[u8]) -> Option<Vec<u8>> {
    let mut first: Option<(bool, Vec<u8>)> = None;
    for pieces in cuts(text) {
        let mut out = Collected::default();
        let mut stream = Stream::open(&PROGRAM, StreamOptions::format(Format::Sse), &Budget::unlimited());
        let read = pieces.iter().try_for_each(|piece| stream.push(Bytes::copy_from_slice(piece), &mut out));
        let whole = read.and_then(|()| stream.finish(&mut out)).is_ok();
        let seen = (whole, out.bytes);
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen, "the cut shows");
    }
    first.filter(|(whole, _)| *whole).map(|(_, bytes)| bytes)
}

fn hidden(text: &str) {
    assert!(!text.contains(SECRET), "a client reads what is masked");
}
