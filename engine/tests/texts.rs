//! Texts of one stream that have nothing to do with each other: the values of a row.

use bytes::Bytes;
use proptest::prelude::*;
use sluice_engine::{
    Action, Budget, Collected, Mask, Matcher, PatternSpec, Program, RuleSpec, Sink, Stop, Stream, StreamOptions,
    Validator,
};
use std::sync::OnceLock;

fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut builder = Program::builder();
        let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
        let email = add(PatternSpec::regex("email", r"\b[a-c.]{1,6}@[a-c]{1,4}\.(?:aa|bb)\b"));
        let digits = add(PatternSpec::regex("digits", "[0-9]{4}").validate(Validator::Luhn));
        let near = add(PatternSpec::regex("near", r"\b[0-9]{3}\b").near(["cab"], 6));
        let column = add(PatternSpec::new("column", Matcher::Column(vec!["secret".into()])));
        builder.rule(RuleSpec::new("email", Action::Mask(Mask::redact("<mail>")), [email]));
        builder.rule(RuleSpec::new("digits", Action::Mask(Mask::redact("<card>")), [digits]));
        builder.rule(RuleSpec::new("near", Action::Mask(Mask::redact("<near>")), [near]));
        builder.rule(RuleSpec::new("column", Action::Mask(Mask::redact("<column>")), [column]));
        builder.build().expect("valid")
    })
}

fn alone(text: &str) -> String {
    let mut out = Collected::default();
    let mut stream = Stream::open(program(), StreamOptions::raw(), &Budget::unlimited());
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("nothing blocks");
    stream.finish(&mut out).expect("nothing blocks");
    out.text().into_owned()
}

/// The output of each text, where they are pushed in pieces of this many bytes.
fn together(texts: &[(Option<&str>, &str)], piece: usize) -> Vec<String> {
    let mut stream = Stream::open(program(), StreamOptions::raw(), &Budget::unlimited());
    let mut outs = Vec::new();
    for (column, text) in texts {
        stream.next_text(*column, &mut Collected::default()).expect("nothing blocks");
        let mut out = Collected::default();
        for piece in text.as_bytes().chunks(piece) {
            stream.push(Bytes::copy_from_slice(piece), &mut out).expect("nothing blocks");
        }
        stream.next_text(None, &mut out).expect("nothing blocks");
        outs.push(out.text().into_owned());
    }
    outs
}

proptest! {
    #[test]
    fn each_text_is_read_as_if_it_were_alone(
        texts in prop::collection::vec("[abc@. 0-9]{0,12}|cab|aa@b\\.aa|1230|cab 123", 0..8),
        piece in 1usize..14,
    ) {
        let expected: Vec<String> = texts.iter().map(|text| alone(text)).collect();
        let texts: Vec<_> = texts.iter().map(|text| (None, text.as_str())).collect();
        prop_assert_eq!(together(&texts, piece), expected);
    }
}

#[test]
fn a_text_that_ends_leaves_nothing_behind_that_the_next_one_could_complete() {
    assert_eq!(together(&[(None, "aa@b"), (None, ".aa"), (None, "12"), (None, "30")], 9), ["aa@b", ".aa", "12", "30"]);
}

#[test]
fn a_columns_name_claims_its_text_and_is_context_for_it_alone() {
    let texts = [(Some("SECRET"), "x"), (Some("other"), "x"), (Some("scab"), "123"), (None, "123"), (Some("z"), "123")];
    assert_eq!(together(&texts, 9), ["<column>", "x", "<near>", "123", "123"]);
}

#[test]
fn what_is_clean_is_a_slice_of_what_came_in() {
    #[derive(Default)]
    struct Slices(Vec<Bytes>);
    impl Sink for Slices {
        fn clean(&mut self, bytes: Bytes) {
            self.0.push(bytes);
        }
        fn masked(&mut self, _: &[u8]) {}
        fn decision(&mut self, _: &sluice_engine::Decision) {}
    }
    let (mut stream, mut out) =
        (Stream::open(program(), StreamOptions::raw(), &Budget::unlimited()), Slices::default());
    let text = Bytes::from_static(b"nothing here");
    stream.push(text.clone(), &mut out).expect("nothing blocks");
    stream.next_text(None, &mut out).expect("nothing blocks");
    assert!(out.0.iter().all(|slice| text.as_ptr_range().contains(&slice.as_ptr())));
    assert_eq!(out.0.concat(), text);
    stream.finish(&mut out).expect("nothing blocks");
    assert_eq!(stream.next_text(None, &mut out), Err(Stop::Finished));
}
