//! Law 5: what a stream takes to decode text is counted in the shared budget, and freed when the text is over.

use bytes::Bytes;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions,
};

/// Escapes in one string, each of two bytes.
const ESCAPES: usize = 8 << 10;

fn program(base64: bool) -> Program {
    let mut builder = Program::builder();
    let spec = PatternSpec::regex("mail", r"\b[a-z.]{1,20}@[a-z]{1,20}\.com\b");
    let mail = builder.pattern(if base64 { spec.base64() } else { spec }).expect("valid");
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("#")), [mail]));
    builder.build().expect("valid")
}

fn push(stream: &mut Stream, text: &str) -> Result<(), Stop> {
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut Collected::default())
}

#[test]
fn law_5_what_is_taken_to_decode_is_counted_and_freed_when_the_text_is_over() {
    let budget = Budget::new(1 << 20);
    let program = program(false);
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
    push(&mut stream, &format!("[\"{}", "\\n".repeat(ESCAPES))).expect("within the budget");
    assert!(budget.used() >= ESCAPES, "{} bytes are counted", budget.used());
    push(&mut stream, "\",").expect("within the budget");
    assert!(budget.used() <= 4096, "{} bytes are still counted", budget.used());
    drop(stream);
    assert_eq!(budget.used(), 0);
}

#[test]
fn law_5_what_base64_says_is_counted_and_freed_when_the_text_is_over() {
    let budget = Budget::new(1 << 20);
    let program = program(true);
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
    push(&mut stream, &format!("[\"{}", "AAAA".repeat(ESCAPES))).expect("within the budget");
    assert!(budget.used() >= ESCAPES, "{} bytes are counted", budget.used());
    push(&mut stream, "\",").expect("within the budget");
    assert!(budget.used() <= 4096, "{} bytes are still counted", budget.used());
}

#[test]
fn law_6_a_stream_that_takes_more_than_the_budget_to_decode_stops() {
    let budget = Budget::new(ESCAPES);
    let program = program(false);
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
    let stop = push(&mut stream, &format!("[\"{}", "\\n".repeat(ESCAPES))).expect_err("over the budget");
    assert_eq!(stop, Stop::Budget { limit: ESCAPES });
}
