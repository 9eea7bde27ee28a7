//! Laws 1, 2, 5 and 6: any bytes, any format, any cuts give one output, and no masked value leaves.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_engine::{
    Action, Budget, Collected, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSpec, Stop, Stream,
    StreamOptions, Validator,
};
use std::sync::LazyLock;

/// With a path, so that every value of a document is followed, and a pattern without a prefilter.
static FOLLOWED: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", r"\b[a-z.]{1,6}@[a-z]{1,4}\.com\b"));
    let digits = add(PatternSpec::regex("digits", r"\b[0-9]{4}(?:[ -]?[0-9]{4})\b").validate(Validator::Luhn));
    let near = add(PatternSpec::regex("near", r"[0-9]{3}").near(["id"], 5));
    let capped = add(PatternSpec::regex("capped", r"--[\s\S]+?--").max(9));
    let name = add(PatternSpec::new("name", Matcher::Json(JsonPath::parse("$..n").expect("valid"))).max(6));
    let stop = add(PatternSpec::regex("stop", "BLOCK"));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[m]")), [mail]));
    builder.rule(RuleSpec::new(
        "digits",
        Action::Mask(Mask::Partial { keep_first: 0, keep_last: 2, with: '*' }),
        [digits],
    ));
    builder.rule(RuleSpec::new("near", Action::Mask(Mask::Hash { key: "k".into() }), [near]));
    builder.rule(RuleSpec::new("capped", Action::Mask(Mask::redact("\"c\"")), [capped]));
    builder.rule(RuleSpec::new("name", Action::Mask(Mask::redact("N")), [name]));
    builder.rule(RuleSpec::new("stop", Action::Block, [stop]));
    builder.build().expect("valid")
});

/// Every pattern has a prefilter and none is a path, so that values in which nothing can begin are passed over.
static SKIMMED: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut patterns = Vec::new();
    let mut rule = |spec: PatternSpec, action: Action| {
        let name = spec.name.clone();
        let pattern = builder.pattern(spec).expect("valid");
        builder.rule(RuleSpec::new(name, action, [pattern]));
        patterns.push(pattern);
    };
    let partial = Mask::Partial { keep_first: 0, keep_last: 2, with: '*' };
    rule(PatternSpec::regex("mail", r"\b[a-z.]{1,6}@[a-z]{1,4}\.com\b"), Action::Mask(Mask::redact("[m]")));
    rule(PatternSpec::regex("digits", r"\b[0-9]{4}-[0-9]{4}\b").validate(Validator::Luhn), Action::Mask(partial));
    rule(PatternSpec::regex("near", "#[0-9]{3}").near(["id"], 5), Action::Mask(Mask::Hash { key: "k".into() }));
    rule(PatternSpec::regex("capped", r"--[\s\S]+?--").max(9), Action::Mask(Mask::redact("\"c\"")));
    let words = Matcher::Words { words: vec!["secret".into(), "geheim".into()], nocase: true };
    rule(PatternSpec::new("words", words), Action::Mask(Mask::redact("[w]")));
    rule(PatternSpec::regex("stretch", r"\b[a-z]{20,22}\b"), Action::Mask(Mask::redact("[s]")));
    rule(PatternSpec::regex("stop", "BLOCK"), Action::Block);
    let program = builder.build().expect("valid");
    assert!(patterns.iter().all(|pattern| program.prefilter(*pattern)), "a pattern without a prefilter ends skimming");
    program
});

fn run<'a>(program: &Program, format: Format, chunks: impl Iterator<Item = &'a [u8]>) -> (Collected, Option<Stop>) {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, StreamOptions::format(format), &Budget::unlimited());
    for chunk in chunks {
        if let Err(stop) = stream.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (out, Some(stop));
        }
    }
    let stop = stream.finish(&mut out).err();
    (out, stop)
}

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (kind, cuts, text) = input;
    let format = [Format::Raw, Format::Json, Format::Sse][usize::from(kind % 3)];
    let program = if kind / 3 % 2 == 0 { &*FOLLOWED } else { &*SKIMMED };
    let whole = run(program, format, std::iter::once(text.as_slice()));
    let bytewise = run(program, format, text.chunks(1));
    assert_eq!(whole, bytewise, "byte by byte");
    let mut rest = text.as_slice();
    let mut pieces = Vec::new();
    for cut in &cuts {
        let (piece, tail) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    assert_eq!(whole, run(program, format, pieces.into_iter()), "cut as told");
    if format == Format::Raw {
        let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
        if stream.text(Bytes::copy_from_slice(&cuts), None, &mut Collected::default()).is_ok() {
            let mut out = Collected::default();
            let stop = stream.text(Bytes::copy_from_slice(&text), None, &mut out).err();
            assert_eq!((&out.bytes, stop.is_some()), (&whole.0.bytes, whole.1.is_some()), "a text after another one");
            assert_eq!(out.decisions.len(), whole.0.decisions.len(), "a text after another one");
        }
    }
    if format == Format::Raw {
        // Pieces of it as texts of their own, between tabs: what a glance passes over is clean.
        let (mut gathered, mut texts) = (Vec::new(), Vec::new());
        for piece in text.split(|byte| *byte == b'\t') {
            let start = gathered.len() as u32;
            gathered.extend_from_slice(piece);
            texts.push(start..gathered.len() as u32);
            gathered.push(b'\t');
        }
        let mut left = texts.clone();
        Stream::open(program, StreamOptions::raw(), &Budget::unlimited()).glance(&gathered, &mut left);
        for text in texts.into_iter().filter(|text| !left.contains(text)) {
            let text = &gathered[text.start as usize..text.end as usize];
            let (out, stop) = run(program, format, std::iter::once(text));
            assert!(stop.is_none() && out.decisions.is_empty() && out.bytes == text, "a glance passed over something");
        }
    }
    if format == Format::Json && whole.1.is_none() {
        for document in serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>() {
            if document.is_err() {
                return;
            }
        }
        for document in serde_json::Deserializer::from_slice(&whole.0.bytes).into_iter::<serde_json::Value>() {
            document.expect("masked JSON is JSON");
        }
    }
});
