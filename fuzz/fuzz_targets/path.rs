//! Paths into documents: any text is read without a panic, a path survives being written out, and a mask at a path
//! changes the strings that a plain walk over the document selects, and no other.
//!
//! The first line of an input is a path, the rest is a document.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluice_engine::{
    Action, Budget, Collected, Format, JsonPath, Mask, Matcher, PathStep, PatternSpec, Program, RuleSpec, Stream,
    StreamOptions,
};
use sluice_fuzz::{json, line_and_rest};

const MASK: &str = "[masked]";

fuzz_target!(|input: &[u8]| {
    let (path, document) = line_and_rest(input);
    let Ok(path) = std::str::from_utf8(path) else { return };
    let Ok(path) = JsonPath::parse(path) else { return };
    if let Some(written) = write(&path) {
        assert_eq!(JsonPath::parse(&written).as_ref(), Ok(&path), "{written}");
    }
    // A member that stands twice is one member here and two on the wire.
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    if json::members(&value) != json::colons(document) || path.steps.len() > 32 {
        return;
    }
    let mut expected = value;
    mask(&mut expected, &[&path.steps], false);
    let masked = run(path, document);
    let mut masked: Value = serde_json::from_slice(&masked).expect("masked JSON is JSON");
    level(&mut masked);
    level(&mut expected);
    assert_eq!(masked, expected);
});

/// The path as text; None for a name that no spelling can hold.
fn write(path: &JsonPath) -> Option<String> {
    let mut out = String::from("$");
    let mut after_descend = false;
    for step in &path.steps {
        match step {
            PathStep::Key(name) if !name.contains(']') => out.push_str(&format!("['{name}']")),
            PathStep::Key(name) if !name.is_empty() && name != "*" && !name.contains(['.', '[']) => {
                out.push_str(if after_descend { "" } else { "." });
                out.push_str(name);
            }
            PathStep::Key(_) => return None,
            PathStep::Index(at) => out.push_str(&format!("[{at}]")),
            PathStep::Any => out.push_str("[*]"),
            PathStep::Descend => out.push_str(".."),
        }
        after_descend = *step == PathStep::Descend;
    }
    Some(out)
}

/// Replaces every string at or below what the steps select. Each of `places` is what is left of the path here.
fn mask(value: &mut Value, places: &[&[PathStep]], selected: bool) {
    // `..` is any number of steps, none included.
    let mut here: Vec<&[PathStep]> = places.to_vec();
    let mut at = 0;
    while at < here.len() {
        if let [PathStep::Descend, rest @ ..] = here[at]
            && !here.contains(&rest)
        {
            here.push(rest);
        }
        at += 1;
    }
    let selected = selected || here.iter().any(|rest| rest.is_empty());
    let down = |fits: &dyn Fn(&PathStep) -> bool| -> Vec<&[PathStep]> {
        let mut below = Vec::new();
        for rest in &here {
            let next = match rest {
                [PathStep::Descend, ..] => rest,
                [step, rest @ ..] if fits(step) => rest,
                _ => continue,
            };
            if !below.contains(&next) {
                below.push(next);
            }
        }
        below
    };
    match value {
        Value::String(text) if selected => *text = MASK.into(),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                mask(item, &down(&|step| matches!(step, PathStep::Any) || *step == PathStep::Index(index)), selected);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let fits = |step: &PathStep| match step {
                    PathStep::Any => true,
                    PathStep::Key(key) => key == name,
                    _ => false,
                };
                mask(member, &down(&fits), selected);
            }
        }
        _ => {}
    }
}

/// Makes equal what is not compared: numbers and literals, which a mask turns into strings, empty strings, in which there
/// is nothing to mask, and texts and names that may be documents of their own, whose root is a root for paths.
fn level(value: &mut Value) {
    let inner = |text: &str| text.trim_start().starts_with(['{', '[']);
    match value {
        Value::String(text) if text.is_empty() || inner(text) => *value = Value::Null,
        Value::String(_) => {}
        Value::Array(items) => items.iter_mut().for_each(level),
        Value::Object(members) if members.keys().any(|name| inner(name)) => *value = Value::Null,
        Value::Object(members) => members.values_mut().for_each(level),
        Value::Null | Value::Bool(_) | Value::Number(_) => *value = Value::Null,
    }
}

fn run(path: JsonPath, document: &[u8]) -> Vec<u8> {
    let mut builder = Program::builder();
    let pattern = builder.pattern(PatternSpec::new("path", Matcher::Json(path))).expect("a path is a pattern");
    builder.rule(RuleSpec::new("path", Action::Mask(Mask::redact(MASK)), [pattern]));
    let program = builder.build().expect("one pattern");
    let mut out = Collected::default();
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &Budget::unlimited());
    stream.push(Bytes::copy_from_slice(document), &mut out).expect("valid JSON passes");
    stream.finish(&mut out).expect("valid JSON ends");
    out.bytes
}
