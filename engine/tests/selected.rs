//! Strings that a path or a column selects are claimed to their end, whatever stands in them.

use bytes::Bytes;
use sluice_engine::{
    Action, Budget, Collected, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSpec, Stream, StreamOptions,
    Vectors,
};

/// Masks `$.outer`, and every `inner` however deep, with caps on their lengths in bytes.
fn program(vectors: Vectors, caps: (usize, usize)) -> Program {
    let mut builder = Program::builder();
    builder.vectors(vectors);
    for (name, path, cap) in [("outer", "$.outer", caps.0), ("inner", "$..inner", caps.1)] {
        let path = Matcher::Json(JsonPath::parse(path).expect("valid"));
        let pattern = builder.pattern(PatternSpec::new(name, path).max(cap)).expect("valid");
        builder.rule(RuleSpec::new(name, Action::Mask(Mask::redact(format!("[{name}]"))), [pattern]));
    }
    builder.build().expect("valid")
}

fn run<'a>(program: &Program, chunks: impl Iterator<Item = &'a [u8]>) -> String {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, StreamOptions::format(Format::Json), &Budget::unlimited());
    for chunk in chunks {
        stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("valid JSON");
    }
    stream.finish(&mut out).expect("valid JSON");
    String::from_utf8(out.bytes).expect("text stays text")
}

/// What comes out, however the text is cut.
fn masked(caps: (usize, usize), text: &str) -> String {
    let programs: Vec<Program> = Vectors::available().iter().map(|vectors| program(*vectors, caps)).collect();
    let wanted = run(&programs[0], std::iter::once(text.as_bytes()));
    for program in &programs {
        assert_eq!(run(program, text.as_bytes().chunks(1)), wanted, "byte by byte: {text}");
        for at in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(at);
            assert_eq!(run(program, [before, after].into_iter()), wanted, "cut at {at}: {text}");
        }
    }
    wanted
}

/// A document in the string of another.
fn document(outer: &serde_json::Value) -> String {
    serde_json::json!({"outer": outer.to_string(), "after": "stays"}).to_string()
}

#[test]
fn a_selected_string_does_not_end_with_a_string_of_the_document_in_it() {
    for outer in [
        serde_json::json!({"a": "one", "b": "secret", "c": 3}),
        serde_json::json!([1, "one", "secret", null]),
        serde_json::json!({"b": "secret", "inner": "one", "z": "secret"}),
        serde_json::json!({"a": {"inner": 7}, "b": "secret", "inner": "two"}),
    ] {
        let got = masked((256, 256), &document(&outer));
        assert_eq!(got, r#"{"outer":"[outer]","after":"stays"}"#, "{outer}");
    }
}

#[test]
fn what_is_left_of_a_selected_string_over_its_cap_is_dropped_to_its_end() {
    for outer in [
        serde_json::json!({"a": "one and more", "b": "secret", "c": "secret"}),
        serde_json::json!([123_456_789, "one", "secret"]),
        serde_json::json!({"b": "secret", "inner": "one and more", "z": "secret"}),
    ] {
        for caps in [(4, 256), (12, 256), (256, 4), (12, 4)] {
            let got = masked(caps, &document(&outer));
            assert!(!got.contains("secret"), "{outer} with {caps:?}: {got}");
            assert!(got.contains("stays"), "{outer} with {caps:?}: {got}");
            assert!(serde_json::from_str::<serde_json::Value>(&got).is_ok(), "{outer} with {caps:?}: {got}");
        }
    }
}

#[test]
fn a_value_that_is_selected_in_a_document_in_a_string_ends_where_it_ends() {
    let text = serde_json::json!({"other": serde_json::json!({"inner": "one", "b": "seen"}).to_string()}).to_string();
    let wanted = serde_json::json!({"other": r#"{"inner":"[inner]","b":"seen"}"#}).to_string();
    assert_eq!(masked((256, 256), &text), wanted);
}
