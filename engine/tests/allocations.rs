//! Law 4, counted: clean bytes cost no allocation once a stream is open.
#![allow(unsafe_code, reason = "a counting allocator has to implement the unsafe trait it counts for")]

use bytes::Bytes;
use sluice_engine::{
    Action, Budget, Decision, Format, Mask, PatternSpec, Program, RuleSpec, Sink, Stream, StreamOptions,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes allocated and not given back.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system allocator unchanged; counting touches a thread-local cell that itself
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = LIVE.try_with(|live| live.set(live.get() + layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Default)]
struct Length(usize);

impl Sink for Length {
    fn clean(&mut self, bytes: Bytes) {
        self.0 += bytes.len();
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.0 += replacement.len();
    }
    fn decision(&mut self, _: &Decision) {}
}

fn masks_mail(mask: Mask) -> Program {
    let mut builder = Program::builder();
    let mail = builder.pattern(PatternSpec::regex("mail", r"\b[a-z]{1,20}@[a-z]{1,20}\.com\b")).expect("valid");
    builder.rule(RuleSpec::new("mail", Action::Mask(mask), [mail]));
    builder.build().expect("valid")
}

#[test]
fn a_push_of_clean_bytes_allocates_nothing() {
    let program = masks_mail(Mask::redact("#"));
    for (format, text) in [
        (Format::Raw, &b"nothing to see here, 12345; only words and 2 numbers\n"[..]),
        (Format::Json, &br#"{"plain":["words without a match","and more"],"n":12}"#[..]),
        (Format::Sse, &b"data: {\"plain\":[\"words without a match\",\"and more\"]}\n\n"[..]),
    ] {
        let chunk = Bytes::from(text.repeat(20));
        let mut out = Length::default();
        let mut stream = Stream::open(&program, StreamOptions::format(format), &Budget::unlimited());
        // The first pushes may size what is reused afterwards.
        for _ in 0..2 {
            stream.push(chunk.clone(), &mut out).expect("clean");
        }
        let before = ALLOCATIONS.with(Cell::get);
        for _ in 0..50 {
            stream.push(chunk.clone(), &mut out).expect("clean");
        }
        let allocations = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(allocations, 0, "{format:?}: {allocations} allocations in 50 clean pushes");
        stream.finish(&mut out).expect("clean");
        assert_eq!(out.0, chunk.len() * 52);
    }
}

#[test]
fn a_masked_value_allocates_nothing() {
    for mask in [
        Mask::redact("#"),
        Mask::Partial { keep_first: 1, keep_last: 4, with: '*' },
        Mask::Hash { key: "k".into() },
        Mask::Tokenize { key: "k".into() },
    ] {
        let program = masks_mail(mask.clone());
        for (format, text) in [
            (Format::Raw, &b"from ann@example.com to bob@example.com, and on\n"[..]),
            (Format::Json, &br#"{"from":"ann@example.com","to":["bob@example.com"]}"#[..]),
        ] {
            let chunk = Bytes::from(text.repeat(20));
            let mut out = Length::default();
            let mut stream = Stream::open(&program, StreamOptions::format(format), &Budget::unlimited());
            for _ in 0..3 {
                stream.push(chunk.clone(), &mut out).expect("nothing blocks");
            }
            let before = ALLOCATIONS.with(Cell::get);
            for _ in 0..20 {
                stream.push(chunk.clone(), &mut out).expect("nothing blocks");
            }
            let allocations = ALLOCATIONS.with(Cell::get) - before;
            assert_eq!(allocations, 0, "{mask:?} {format:?}: {allocations} allocations for 800 masked values");
            stream.finish(&mut out).expect("nothing blocks");
        }
    }
}

#[test]
fn a_stream_that_holds_nothing_is_small() {
    let program = masks_mail(Mask::redact("#"));
    // An event stream remembers the ends of the texts of its last events.
    for (format, most, text) in [
        (Format::Raw, 512, &b"nothing to see here, 12345; only words and 2 numbers\n"[..]),
        (Format::Json, 512, &br#"{"plain":["words without a match","and more"],"n":12}"#[..]),
        (Format::Sse, 3 << 10, &b"data: {\"plain\":[\"words without a match\",\"and more\"]}\n\n"[..]),
    ] {
        let chunk = Bytes::from(text.repeat(20));
        let budget = Budget::unlimited();
        let mut out = Length::default();
        // What all streams share is made with the first one.
        let open = |out: &mut Length| {
            let mut stream = Stream::open(&program, StreamOptions::format(format), &budget);
            stream.push(chunk.clone(), out).expect("clean");
            stream
        };
        drop(open(&mut out));
        let before = LIVE.with(Cell::get);
        let stream = open(&mut out);
        let heap = LIVE.with(Cell::get) - before;
        let fixed = size_of_val(&stream) as isize + heap;
        assert!(fixed <= most, "{format:?}: {fixed} bytes, {heap} of them allocated");
    }
}

#[test]
fn streams_that_stop_inside_of_an_escaped_text_share_what_they_decode_with() {
    let program = masks_mail(Mask::redact("#"));
    let budget = Budget::unlimited();
    let chunk = Bytes::from(format!("[\"{}", "\\n".repeat(8 << 10)));
    let mut out = Length::default();
    let open = |out: &mut Length| {
        let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
        stream.push(chunk.clone(), out).expect("clean");
        stream
    };
    drop(open(&mut out));
    let before = LIVE.with(Cell::get);
    let streams: Vec<Stream> = (0..100).map(|_| open(&mut out)).collect();
    let each = (LIVE.with(Cell::get) - before) / 100;
    // As many bytes are decoded, and four more for the place of each.
    assert!(each <= 2 << 10, "{each} bytes of a stream that has decoded {} bytes", 8 << 10);
    drop(streams);
}
