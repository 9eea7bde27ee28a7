//! Escapes of JSON: an escape changes nothing of what is found. A text spelled by the input and the same text spelled by
//! serde_json give the same text after the inspector, in a document and in documents that stand in strings of others.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, Matcher, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions,
};
use std::sync::LazyLock;

// The text of a document in a string is also searched as the text that it is, its escapes as they are spelled. So no
// pattern here looks for letters of an escape, for structure or for the ends of words, and no replacement needs an escape
// of its own.
static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let word = Matcher::Words { words: vec!["secret".into(), "gehe\u{ef}m".into()], nocase: false };
    let word = add(PatternSpec::new("word", word));
    let mail = add(PatternSpec::regex("mail", r"[G-Z]{1,6}@[a-z]{1,4}\.com"));
    let quoted = add(PatternSpec::regex("quoted", r#"Q["/]Z"#));
    let lines = add(PatternSpec::regex("lines", r"[\x00-\x1f]ZZ"));
    builder.rule(RuleSpec::new("word", Action::Mask(Mask::redact("[s]")), [word]));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::Hash { key: "k".into() }), [mail]));
    let partial = Mask::Partial { keep_first: 0, keep_last: 1, with: '*' };
    builder.rule(RuleSpec::new("quoted", Action::Mask(partial), [quoted]));
    // Not by nothing: what stands on both sides of it could become a word then.
    builder.rule(RuleSpec::new("lines", Action::Mask(Mask::redact("~")), [lines]));
    builder.build().expect("valid")
});

/// Documents in strings are read to this depth.
const LEVELS: usize = 3;

fuzz_target!(|inside: &str| {
    let mut ours = format!("{{\"k\":\"{inside}\"}}");
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&ours) else {
        let _ = run(&ours);
        return;
    };
    let mut plain = value.to_string();
    for level in 0..LEVELS {
        match (run(&ours), run(&plain)) {
            (Ok(ours), Ok(plain)) => {
                let (ours, plain) = (unwrap(&ours, level), unwrap(&plain, level));
                assert_eq!(ours, plain, "an escape shows, {level} levels down");
                // The words are ASCII or not, and stand as they are in no text that has left.
                assert!(!ours["k"].as_str().is_some_and(|text| text.contains("secret")), "an escape hides a word");
            }
            (Err(stop), _) | (_, Err(stop)) => panic!("valid JSON is stopped: {stop:?}"),
        }
        ours = serde_json::json!([ours]).to_string();
        plain = serde_json::json!([plain]).to_string();
    }
});

/// The innermost document of what has left.
fn unwrap(text: &str, level: usize) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(text).expect("masked JSON is JSON");
    for _ in 0..level {
        let inner = value[0].as_str().expect("a string stays a string");
        value = serde_json::from_str(inner).expect("masked JSON in a string is JSON");
    }
    value
}

fn run(text: &str) -> Result<String, Stop> {
    let mut out = Collected::default();
    let mut stream = Stream::open(&PROGRAM, StreamOptions::format(Format::Json), &Budget::unlimited());
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out)?;
    stream.finish(&mut out)?;
    Ok(String::from_utf8(out.bytes).expect("text stays text"))
}
