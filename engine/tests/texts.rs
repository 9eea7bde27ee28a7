//! Texts of one stream that have nothing to do with each other: the values of a row.

use bytes::Bytes;
use proptest::prelude::*;
use sluice_engine::{
    Action, Budget, Collected, Column, Mask, Matcher, PatternId, PatternSpec, Program, RuleSpec, Sink, Stop, Stream,
    StreamOptions, Validator,
};
use std::sync::OnceLock;

/// Patterns of all kinds.
fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| built(r"[0-9]{4}", r"\b[0-9]{3}\b").0)
}

/// Every pattern has a prefilter, so that a text in which nothing begins is passed over.
fn filtered() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let (program, patterns) = built(r"12[0-9]{2}", "#[0-9]{3}");
        assert!(patterns.into_iter().all(|pattern| program.prefilter(pattern)));
        program
    })
}

/// Patterns whose candidates begin inside each other, end at a cap, are refused by a validator and ask for context.
fn nested() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut builder = Program::builder();
        let patterns = [
            PatternSpec::regex("mail", r"\b[a-c.]{1,5}@[a-c]{1,4}\.(?:aa|bb)\b"),
            PatternSpec::regex("cap", "k[a-c]+").max(6),
            PatternSpec::regex("card", r"12[0-9]{2,4}").validate(Validator::Luhn),
            PatternSpec::regex("near", "#[0-9]{1,3}").near(["cab"], 4),
            PatternSpec::regex("long", r"@[a-c.]{2,30}!"),
            PatternSpec::regex("pair", "x[xy]{3}z?"),
        ];
        let patterns: Vec<PatternId> = patterns.into_iter().map(|spec| builder.pattern(spec).expect("valid")).collect();
        for (name, pattern) in ["mail", "cap", "card", "near", "long", "pair"].into_iter().zip(&patterns) {
            builder.rule(RuleSpec::new(name, Action::Mask(Mask::redact(format!("<{name}>"))), [*pattern]));
        }
        let program = builder.build().expect("valid");
        assert!(patterns.into_iter().all(|pattern| program.prefilter(pattern)));
        program
    })
}

fn built(digits: &str, near: &str) -> (Program, [PatternId; 3]) {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let email = add(PatternSpec::regex("email", r"\b[a-c.]{1,6}@[a-c]{1,4}\.(?:aa|bb)\b"));
    let digits = add(PatternSpec::regex("digits", digits).validate(Validator::Luhn));
    let near = add(PatternSpec::regex("near", near).near(["cab"], 6));
    let column = add(PatternSpec::new("column", Matcher::Column(vec!["secret".into()])));
    builder.rule(RuleSpec::new("email", Action::Mask(Mask::redact("<mail>")), [email]));
    builder.rule(RuleSpec::new("digits", Action::Mask(Mask::redact("<card>")), [digits]));
    builder.rule(RuleSpec::new("near", Action::Mask(Mask::redact("<near>")), [near]));
    builder.rule(RuleSpec::new("column", Action::Mask(Mask::redact("<column>")), [column]));
    (builder.build().expect("valid"), [email, digits, near])
}

fn alone(program: &Program, column: Option<&str>, text: &str) -> String {
    let mut out = Collected::default();
    let options = StreamOptions { column: column.map(str::to_owned), ..StreamOptions::raw() };
    let mut stream = Stream::open(program, options, &Budget::unlimited());
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("nothing blocks");
    stream.finish(&mut out).expect("nothing blocks");
    out.text().into_owned()
}

/// The output of each text, one after the other in one stream.
fn together(program: &Program, texts: &[(Option<&str>, &str)]) -> Vec<String> {
    let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
    let mut outs = Vec::new();
    for (column, text) in texts {
        let mut out = Collected::default();
        stream.text(Bytes::copy_from_slice(text.as_bytes()), column.map(Into::into), &mut out).expect("nothing blocks");
        outs.push(out.text().into_owned());
    }
    outs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn a_short_text_is_read_at_once_as_it_is_read_in_pieces(
        text in "([abc.]{0,7}|aa@b\\.aa|@|\\.bb|k[abc]{0,8}|12[0-9]{0,5}|1230|cab|#[0-9]{0,4}|[xyz]{0,9}|!| ){0,14}",
    ) {
        let read = |act: &dyn Fn(&mut Stream, Bytes, &mut Collected)| {
            let mut out = Collected::default();
            let mut stream = Stream::open(nested(), StreamOptions::raw(), &Budget::unlimited());
            act(&mut stream, Bytes::from(text.clone()), &mut out);
            (out.text().into_owned(), out.decisions)
        };
        let pieces = read(&|stream, text, out| {
            text.iter().for_each(|byte| stream.push(Bytes::copy_from_slice(&[*byte]), out).expect("nothing blocks"));
            stream.finish(out).expect("nothing blocks");
        });
        let at_once = read(&|stream, text, out| stream.text(text, None, out).expect("nothing blocks"));
        prop_assert_eq!(at_once, pieces);
    }
}

proptest! {
    #[test]
    fn each_text_is_read_as_if_it_were_alone(
        texts in prop::collection::vec("[abc@. 0-9%#]{0,12}|cab|aa@b\\.aa|aa%40b\\.aa|1230|cab #123", 0..8),
    ) {
        for program in [program(), filtered(), nested()] {
            let expected: Vec<String> = texts.iter().map(|text| alone(program, None, text)).collect();
            let texts: Vec<_> = texts.iter().map(|text| (None, text.as_str())).collect();
            prop_assert_eq!(together(program, &texts), expected);
        }
    }
}

#[test]
fn a_text_that_ends_leaves_nothing_behind_that_the_next_one_could_complete() {
    for program in [program(), filtered()] {
        let texts = [(None, "aa@b"), (None, ".aa"), (None, "12"), (None, "30")];
        assert_eq!(together(program, &texts), ["aa@b", ".aa", "12", "30"]);
    }
}

#[test]
fn a_text_longer_than_what_is_read_at_once_is_read_whole() {
    for (before, after) in [(70_000, 0), (65_530, 9), (65_536, 70_000), (0, 200_000)] {
        let text = format!("{} aa@b.aa {}", " ".repeat(before), " ".repeat(after));
        for program in [program(), filtered()] {
            assert_eq!(together(program, &[(None, &text)]), [text.replace("aa@b.aa", "<mail>")]);
            let column = Some("secret");
            assert_eq!(together(program, &[(column, &text)]), [alone(program, column, &text)]);
        }
    }
}

#[test]
fn a_columns_name_claims_its_text_and_is_context_for_it_alone() {
    for (program, hit) in [(program(), "123"), (filtered(), "#123")] {
        let texts = [(Some("SECRET"), "x"), (Some("other"), "x"), (Some("scab"), hit), (None, hit), (Some("z"), hit)];
        assert_eq!(together(program, &texts), ["<column>", "x", "<near>", hit, hit]);
    }
}

#[test]
fn a_columns_name_gives_context_as_far_as_it_is_near() {
    // Four bytes before: a blank, and three of the name.
    let texts = [
        (Some("cab"), "#1"),
        (Some("cabx"), "#1"),
        (Some("xcab"), "#1"),
        (Some("cab"), "!#1"),
        (Some("cab"), "#1 cab"),
    ];
    assert_eq!(together(nested(), &texts), ["<near>", "#1", "<near>", "!#1", "<near> cab"]);
    // The same where it isn't short.
    let long = " ".repeat(300);
    let texts = texts.map(|(column, text)| (column, format!("{text}{long}")));
    let texts: Vec<_> = texts.iter().map(|(column, text)| (*column, text.as_str())).collect();
    let outs: Vec<String> = together(nested(), &texts).iter().map(|out| out.trim_end().to_owned()).collect();
    assert_eq!(outs, ["<near>", "#1", "<near>", "!#1", "<near> cab"]);
}

#[test]
fn what_was_pushed_ends_where_a_text_begins_and_can_go_on_after_it() {
    let (mut stream, mut out) =
        (Stream::open(program(), StreamOptions::raw(), &Budget::unlimited()), Collected::default());
    stream.push(Bytes::from_static(b"aa@b"), &mut out).expect("nothing blocks");
    assert!(stream.held() > 0);
    stream.text(Bytes::from_static(b".aa"), None, &mut out).expect("nothing blocks");
    assert_eq!((stream.held(), out.text().as_ref()), (0, "aa@b.aa"));
    stream.push(Bytes::from_static(b" aa@b"), &mut out).expect("nothing blocks");
    stream.push(Bytes::from_static(b".aa"), &mut out).expect("nothing blocks");
    stream.finish(&mut out).expect("nothing blocks");
    assert_eq!(out.text(), "aa@b.aa <mail>");
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
    for program in [program(), filtered()] {
        let (mut stream, mut out) =
            (Stream::open(program, StreamOptions::raw(), &Budget::unlimited()), Slices::default());
        let text = Bytes::from_static(b"nothing here");
        stream.text(text.clone(), None, &mut out).expect("nothing blocks");
        assert!(out.0.iter().all(|slice| text.as_ptr_range().contains(&slice.as_ptr())));
        assert_eq!(out.0.concat(), text);
        stream.finish(&mut out).expect("nothing blocks");
        assert_eq!(stream.text(text, None, &mut out), Err(Stop::Finished));
    }
}

#[test]
fn a_column_is_claimed_by_any_of_its_names() {
    let also = ["customer.pan".to_owned(), "CUSTOMER.PAN".to_owned()];
    let column = |also| Some(Column { name: "x", also });
    let claim = PatternSpec::new("pan", Matcher::Column(vec!["customer.pan".to_owned()]));
    let mut builder = Program::builder();
    let pan = builder.pattern(claim).unwrap();
    builder.rule(RuleSpec {
        name: "r".into(),
        patterns: vec![pan],
        action: Action::Mask(Mask::redact("[pan]")),
        priority: 50,
    });
    let program = builder.build().unwrap();
    let mut stream = Stream::open(&program, StreamOptions::raw(), &Budget::unlimited());
    let mut out = Collected::default();
    for also in [&[][..], &also, &also[1..]] {
        stream.text(Bytes::from_static(b"4711 "), column(also), &mut out).expect("nothing blocks");
    }
    assert_eq!(out.text(), "4711 [pan][pan]");
    assert_eq!(out.decisions.len(), 2, "once for each value, whatever it is called");
}

/// The texts that a glance leaves to be inspected, each between two separators.
fn suspects(program: &Program, texts: &[&str], separator: &str) -> Vec<bool> {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for text in texts {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(text.as_bytes());
        places.push(start..bytes.len() as u32);
        bytes.extend_from_slice(separator.as_bytes());
    }
    let all = places.clone();
    Stream::open(program, StreamOptions::raw(), &Budget::unlimited()).glance(&bytes, &mut places);
    let mut left = places.into_iter().peekable();
    let found = all.iter().map(|place| left.next_if_eq(place).is_some()).collect();
    assert_eq!(left.next(), None, "what is left are texts, in their order");
    found
}

proptest! {
    #[test]
    fn what_a_glance_passes_over_is_clean(
        texts in prop::collection::vec("[abc@. 0-9%#\t]{0,12}|cab|aa@b\\.aa|aa%40b\\.aa|1230|cab #123|a{300}", 0..40),
        separator in "[\t\n\\\\\",#@.%\u{0}]{1,2}",
    ) {
        for program in [program(), filtered()] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for (text, suspected) in texts.iter().zip(suspects(program, &texts, &separator)) {
                prop_assert!(suspected || alone(program, None, text) == *text, "{:?}", text);
            }
        }
    }
}

#[test]
fn a_glance_leaves_the_few_texts_that_matter() {
    let long = " ".repeat(70_000);
    let texts = ["a", "aa@b.aa", "b 12", "1230", "50%", "", &long, "30", "aa@b.aa"];
    let left = [false, true, false, true, true, false, true, false, true];
    assert_eq!(suspects(filtered(), &texts, "\t"), left);
    assert_eq!(suspects(program(), &texts, "\t"), [true; 9], "not every pattern has a prefilter");
    // More candidates than one look keeps.
    let texts: Vec<&str> = ["aa@b.aa", "", "word"].into_iter().cycle().take(30_000).collect();
    let left: Vec<bool> = texts.iter().map(|text| *text == "aa@b.aa").collect();
    assert_eq!(suspects(filtered(), &texts, "\n"), left);
}
