//! An input cut in every way: what leaves and what is decided must not depend on it.

use bytes::Bytes;
use sluice_engine::{Budget, Collected, Decision, Program, Stop, Stream, StreamOptions};

pub(crate) type Outcome = (Vec<u8>, Vec<Decision>, Option<Stop>);

/// What becomes of an input that comes in these chunks.
pub(crate) fn run(program: &Program, options: &StreamOptions, chunks: &[&[u8]]) -> Outcome {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, options.clone(), &Budget::unlimited());
    let pushed = chunks.iter().try_for_each(|chunk| stream.push(Bytes::copy_from_slice(chunk), &mut out));
    let stop = pushed.and_then(|()| stream.finish(&mut out)).err();
    (out.bytes, out.decisions, stop)
}

/// The same in one piece, in two at every place, and in pieces of a few bytes.
pub(crate) fn run_every_cut(program: &Program, options: &StreamOptions, text: &[u8]) -> Outcome {
    let whole = run(program, options, &[text]);
    let shown = String::from_utf8_lossy(text);
    for at in 0..=text.len() {
        let (head, tail) = text.split_at(at);
        assert_eq!(run(program, options, &[head, tail]), whole, "cut at {at} of {shown:?}");
    }
    for size in [1, 2, 3, 5] {
        let chunks: Vec<&[u8]> = text.chunks(size).collect();
        assert_eq!(run(program, options, &chunks), whole, "chunks of {size} of {shown:?}");
    }
    whole
}
