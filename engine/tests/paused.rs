//! Senders that pause and wait for an answer: what they said leaves, and a value that goes on after a pause doesn't get through.

use bytes::Bytes;
use proptest::prelude::*;
use sluice_engine::{
    Action, Budget, Collected, Mask, Matcher, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions, Validator,
};

const CARD: &str = "5425 2334 3010 9903";
const MAIL: &str = "bob.miller@mail.example.com";

fn program(block: bool) -> Program {
    let mut builder = Program::builder();
    let mut add = |name: &str, regex: &str, validator: Option<Validator>| {
        let spec = PatternSpec::new(name, Matcher::Regex(regex.into()));
        builder.pattern(validator.into_iter().fold(spec, PatternSpec::validate)).expect("valid")
    };
    let mail = add("mail", r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,100}\.[A-Za-z]{2,10}\b", None);
    let card = add("card", r"\b(?:[0-9][ -]?){12,18}[0-9]\b", Some(Validator::Luhn));
    let drop = add("drop", "DROP DATABASE", None);
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("<mail>")), [mail]));
    builder.rule(RuleSpec::new("card", Action::Mask(Mask::redact("<card>")), [card]));
    builder.rule(RuleSpec::new("drop", if block { Action::Block } else { Action::Alert }, [drop]));
    builder.build().expect("valid")
}

fn open(program: &Program) -> Stream {
    Stream::open_paused(program, None, &Budget::unlimited())
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What leaves of these pieces with a pause after each; `decided` where each pause is a long one.
fn said(program: &Program, pieces: &[&str], decided: bool) -> Result<String, Stop> {
    let (mut stream, mut out) = (open(program), Collected::default());
    for piece in pieces {
        stream.push(bytes(piece), &mut out)?;
        stream.pause(&mut out)?;
        if decided {
            stream.decide(&mut out)?;
            assert_eq!(stream.held(), 0, "after a long pause nothing is held of {piece:?}");
        }
    }
    stream.finish(&mut out)?;
    Ok(String::from_utf8(out.bytes).expect("UTF-8"))
}

#[test]
fn a_word_waits_for_no_more_than_a_pause() {
    let program = program(false);
    let (mut stream, mut out) = (open(&program), Collected::default());
    stream.push(bytes("your name"), &mut out).expect("passes");
    assert_eq!(out.bytes, b"your ", "the word could be the beginning of an address");
    stream.pause(&mut out).expect("passes");
    assert_eq!(out.bytes, b"your name");
    assert!(!stream.awaits_event());
}

#[test]
fn a_value_that_ends_at_a_pause_is_masked_there() {
    for (value, mask) in [(CARD, "<card>"), (MAIL, "<mail>")] {
        let told = said(&program(false), &[&format!("it is {value}"), ", yes"], false).expect("passes");
        assert_eq!(told, format!("it is {mask}, yes"));
    }
}

#[test]
fn what_is_already_like_a_value_waits_longer_and_is_masked_whole() {
    let program = program(false);
    let (mut stream, mut out) = (open(&program), Collected::default());
    stream.push(bytes("to bob@exam"), &mut out).expect("passes");
    stream.pause(&mut out).expect("passes");
    assert!(stream.awaits_event());
    assert_eq!(out.bytes, b"to ");
    stream.push(bytes("ple.com now"), &mut out).expect("passes");
    stream.finish(&mut out).expect("passes");
    let told = String::from_utf8(out.bytes).expect("UTF-8");
    assert!(!told.contains("bob") && !told.contains("ple.com") && told.ends_with(" now"), "{told}");
}

#[test]
fn no_cut_by_a_pause_lets_the_rest_of_a_value_through() {
    let program = program(false);
    for value in [CARD, MAIL] {
        let text = format!("see {value} there");
        for at in 5..4 + value.len() {
            for decided in [false, true] {
                let told = said(&program, &[&text[..at], &text[at..]], decided).expect("passes");
                assert!(told.starts_with("see ") && told.ends_with(" there"), "{at}: {told}");
                let inner = &told[4..told.len() - 6];
                if inner.starts_with("<mail>") {
                    // What came before the pause was an address by itself.
                    continue;
                }
                let (cut, rest) = value.split_at(at - 4);
                let left = inner.strip_prefix(cut).unwrap_or(inner);
                assert!(!left.contains(rest), "cut at {at}, decided {decided}: {told}");
            }
        }
    }
}

#[test]
fn what_must_not_pass_is_blocked_across_a_pause_too() {
    let (program, text) = (program(true), "DROP DATABASE");
    for at in 1..text.len() {
        let told = said(&program, &[&text[..at], &text[at..]], true);
        assert!(matches!(told, Err(Stop::Blocked(_))), "cut at {at}: {told:?}");
    }
}

proptest! {
    #[test]
    fn without_a_pause_it_is_a_stream_like_any_other(
        text in "([a-z@. ]|[0-9]{3}|bob@example\\.com|5425 2334 3010 9903){0,30}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let program = program(false);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let told = |mut stream: Stream| {
            let mut out = Collected::default();
            for pair in places.windows(2) {
                stream.push(bytes(&text[pair[0]..pair[1]]), &mut out).expect("passes");
            }
            stream.finish(&mut out).expect("passes");
            out.bytes
        };
        let plain = told(Stream::open(&program, StreamOptions::raw(), &Budget::unlimited()));
        prop_assert_eq!(told(open(&program)), plain);
    }
}
