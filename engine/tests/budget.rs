//! Law 5: what a stream takes to decode base64 is counted in the shared budget, and freed when the text is over. What JSON's
//! escapes are decoded with is a thread's, and bounded.

use bytes::Bytes;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions,
};

/// Quanta in one string, each of four bytes.
const QUANTA: usize = 8 << 10;

fn program() -> Program {
    let mut builder = Program::builder();
    let spec = PatternSpec::regex("mail", r"\b[a-z.]{1,20}@[a-z]{1,20}\.com\b").base64();
    let mail = builder.pattern(spec).expect("valid");
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("#")), [mail]));
    builder.build().expect("valid")
}

fn push(stream: &mut Stream, text: &str) -> Result<(), Stop> {
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut Collected::default())
}

#[test]
fn law_5_what_base64_says_is_counted_and_freed_when_the_text_is_over() {
    let budget = Budget::new(1 << 20);
    let program = program();
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
    push(&mut stream, &format!("[\"{}", "AAAA".repeat(QUANTA))).expect("within the budget");
    assert!(budget.used() >= QUANTA, "{} bytes are counted", budget.used());
    push(&mut stream, "\",").expect("within the budget");
    assert!(budget.used() <= 4096, "{} bytes are still counted", budget.used());
}

#[test]
fn law_6_a_stream_that_takes_more_than_the_budget_to_decode_stops() {
    let budget = Budget::new(QUANTA);
    let program = program();
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Json), &budget);
    let stop = push(&mut stream, &format!("[\"{}", "AAAA".repeat(QUANTA))).expect_err("over the budget");
    assert_eq!(stop, Stop::Budget { limit: QUANTA });
}
