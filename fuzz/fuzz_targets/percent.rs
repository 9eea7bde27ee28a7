//! Percent-encoding: a text and the same text with some of its characters encoded, once or twice, give the same text after
//! the inspector, as it stands and in JSON; and nothing depends on where the bytes are cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_engine::{
    Action, Budget, Collected, Decision, Format, Mask, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions,
};
use std::sync::LazyLock;

// The text is also searched as it stands, its escapes as they are spelled: no pattern here matches a part of one. And no
// replacement needs an escape of JSON, which percent-encoding saves it.
static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", r"[G-Z]{1,6}@[a-z]{1,4}\.com"));
    let tag = add(PatternSpec::regex("tag", "<[g-z ]{1,5}>"));
    let near = add(PatternSpec::regex("near", "![g-z]!").near(["KEY"], 5));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[m]")), [mail]));
    builder.rule(RuleSpec::new("tag", Action::Mask(Mask::redact("(t)")), [tag]));
    builder.rule(RuleSpec::new("near", Action::Mask(Mask::redact("n")), [near]));
    builder.build().expect("valid")
});

fuzz_target!(|input: (u64, &str)| {
    let (mask, text) = input;
    for format in [Format::Raw, Format::Json, Format::Sse] {
        let whole = run(format, &[text.as_bytes()]);
        for chunks in sluice_fuzz::cuts(text.as_bytes()) {
            assert_eq!(run(format, &chunks), whole, "a cut shows");
        }
    }
    // What is encoded already is decoded once more than it was meant to be; escapes of JSON behind an escape are not decoded.
    let plain: String = text.chars().filter(|c| !matches!(c, '%' | '\\')).collect();
    let once: String = plain
        .bytes()
        .enumerate()
        .map(|(at, byte)| match byte.is_ascii() && mask >> (at % 64) & 1 == 0 {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    let twice = once.replace('%', "%25");
    let wanted = text_of(&plain, 0);
    assert_eq!(text_of(&once, 0), wanted, "an escape hides a value in {once:?}");
    assert_eq!(text_of(&twice, 0), wanted, "two escapes hide a value in {twice:?}");
    assert_eq!(text_of(&once, 1), text_of(&plain, 1), "an escape hides a value in JSON: {once:?}");
});

/// The text after the inspector, decoded, as it stands or in a JSON string.
fn text_of(text: &str, level: usize) -> String {
    let (format, sent) = match level {
        0 => (Format::Raw, text.to_owned()),
        _ => (Format::Json, serde_json::json!([text]).to_string()),
    };
    let (out, _, stop) = run(format, &[sent.as_bytes()]);
    assert_eq!(stop, None);
    let mut out = match level {
        0 => out,
        _ => {
            let value: serde_json::Value = serde_json::from_slice(&out).expect("masked JSON is JSON");
            value[0].as_str().expect("a string").as_bytes().to_vec()
        }
    };
    for _ in 0..2 {
        out = decode(&out);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escape = if *first == b'%' { tail.get(..2) } else { None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match escape.and_then(|escape| Some(digit(escape[0])? << 4 | digit(escape[1])?)) {
            Some(byte) => {
                out.push(byte as u8);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn run(format: Format, chunks: &[&[u8]]) -> (Vec<u8>, Vec<Decision>, Option<Stop>) {
    let mut out = Collected::default();
    let mut stream = Stream::open(&PROGRAM, StreamOptions::format(format), &Budget::unlimited());
    let pushed = chunks.iter().try_for_each(|chunk| stream.push(Bytes::copy_from_slice(chunk), &mut out));
    let stop = pushed.and_then(|()| stream.finish(&mut out)).err();
    (out.bytes, out.decisions, stop)
}
