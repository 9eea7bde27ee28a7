//! The tokenizer accepts what two independent parsers accept, and nothing more, one document at a time; cuts change nothing.
#![no_main]

use actson::JsonParser;
use actson::feeder::SliceJsonFeeder;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_engine::{Budget, Collected, Format, Program, Stop, Stream, StreamOptions};
use std::sync::LazyLock;

static PROGRAM: LazyLock<Program> = LazyLock::new(|| Program::builder().build().expect("valid"));

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Result<(), Stop>) {
    let mut stream = Stream::open(&PROGRAM, StreamOptions::format(Format::Json), &Budget::unlimited());
    let mut out = Collected::default();
    for chunk in chunks {
        if let Err(stop) = stream.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (out.bytes, Err(stop));
        }
    }
    let finished = stream.finish(&mut out);
    (out.bytes, finished)
}

fuzz_target!(|text: &[u8]| {
    let (out, ours) = read([text].into_iter());
    assert_eq!(read(text.chunks(1)), (out.clone(), ours.clone()), "byte by byte");
    let step = usize::from(text.first().copied().unwrap_or_default()) % 90 + 2;
    assert_eq!(
        read(text.chunks(step).flat_map(|chunk| [&[][..], chunk])),
        (out.clone(), ours.clone()),
        "chunks of {step}"
    );
    // Depth is capped on all sides, at different depths; bytes that are not UTF-8 pass ours and stop the others.
    let deep = text.iter().filter(|b| matches!(b, b'[' | b'{')).count() > 100;
    if deep || std::str::from_utf8(text).is_err() {
        return;
    }
    let one = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    assert!(ours.is_ok() || !one, "refused: {ours:?}");
    // Half a surrogate pair is text for us, an error for serde_json's values, and for actson the one or the other.
    if !one || serde_json::from_slice::<serde_json::Value>(text).is_ok() {
        assert_eq!(one, actson(text), "serde_json and actson");
    }
    if ours.is_ok() {
        // Several documents, or none.
        let mut all = serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>();
        assert!(all.all(|document| document.is_ok()), "accepted what is no JSON");
        assert_eq!(out, text);
    }
});

/// One document, says actson.
fn actson(text: &[u8]) -> bool {
    // At the end of a text it takes the beginning of a literal for the whole.
    let text = [text, b" "].concat();
    let mut parser = JsonParser::new(SliceJsonFeeder::new(&text));
    loop {
        match parser.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
