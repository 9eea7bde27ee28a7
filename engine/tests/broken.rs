//! Where a document breaks off, what leaves before the stop doesn't depend on where it was cut.

mod cuts;

use cuts::run_every_cut;
use proptest::prelude::*;
use sluice_engine::{Action, Format, Mask, PatternSpec, Program, RuleSpec, StreamOptions};
use std::sync::LazyLock;

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    for (name, source) in [
        ("mail", r"\b[a-c.]{1,6}@[a-c]{1,4}\.com\b"),
        ("key", "[a-z]{20,22}"),
        ("rare", r"\b[a-c/]{24}\b"),
        ("digits", r"\b[0-9]{4}-[0-9]{4}\b"),
    ] {
        let pattern = builder.pattern(PatternSpec::regex(name, source)).expect("valid");
        builder.rule(RuleSpec::new(name, Action::Mask(Mask::redact("#")), [pattern]));
    }
    builder.build().expect("valid")
});

fn every_cut(format: Format, text: &str) {
    run_every_cut(&PROGRAM, &StreamOptions::format(format), text.as_bytes());
}

#[test]
fn what_may_be_the_beginning_of_a_value_is_not_let_go() {
    for inside in [
        "& bdfabcabc\0",
        "abcabcabcabc\\x\"",
        "abcabc/abc\n",
        "\\nabcabcabcabc\0\"",
        "ab@abcab\0",
        "a@b.c\n",
        "1234-12\0",
    ] {
        every_cut(Format::Json, &format!("[\"{inside}"));
        every_cut(Format::Json, &format!("[1,{{\"a\":\"{inside}\",2]"));
        every_cut(Format::Sse, &format!("data: [\"{inside}\ndata: more\"]\n\n"));
    }
}

proptest! {
    #[test]
    fn wherever_it_breaks_off(
        parts in prop::collection::vec(
            prop::sample::select(vec!["ab", "c", "@", ".com", "abcabcabcabcabcabcab", "12", "34-", "/", " ", "\\n", "\"", "\0", "\n", ",", "["]),
            0..12,
        ),
    ) {
        let inside = parts.concat();
        every_cut(Format::Json, &format!("[\"{inside}"));
        every_cut(Format::Sse, &format!("data: [\"{inside}\n\nid: 1\n\n"));
    }
}
