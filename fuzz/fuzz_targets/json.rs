//! The tokenizer accepts what an independent parser accepts, and nothing more: one document at a time.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_engine::{Budget, Collected, Format, Program, Stream, StreamOptions};

fuzz_target!(|text: &[u8]| {
    let program = Program::builder().build().expect("valid");
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &Budget::unlimited());
    let mut out = Collected::default();
    let ours = stream.push(Bytes::copy_from_slice(text), &mut out).and_then(|()| stream.finish(&mut out));
    // Depth is capped on both sides, at different depths; bytes that are not UTF-8 pass ours and stop the other.
    let deep = text.iter().filter(|b| matches!(b, b'[' | b'{')).count() > 100;
    if deep || std::str::from_utf8(text).is_err() {
        return;
    }
    let theirs = serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>().all(|d| d.is_ok());
    assert_eq!(ours.is_ok(), theirs, "{ours:?}");
    if ours.is_ok() {
        assert_eq!(out.bytes, text);
    }
});
