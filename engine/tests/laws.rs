//! The laws of the engine, over every way to cut an input, on every kind of vectors that this machine has.

use bytes::Bytes;
use proptest::prelude::*;
use sluice_engine::{
    Action, ActionKind, Budget, Collected, Decision, Format, JsonPath, Mask, Matcher, PatternSpec, Program,
    ProgramBuilder, RuleSpec, Sink, Stop, Stream, StreamOptions, Validator, Vectors,
};
use std::sync::OnceLock;

/// A program for each kind of vectors that this machine has, the portable code last.
fn on_every_path(fill: impl Fn(&mut ProgramBuilder)) -> Vec<Program> {
    let program = |vectors: &Vectors| {
        let mut builder = Program::builder();
        builder.vectors(*vectors);
        fill(&mut builder);
        builder.build().expect("valid")
    };
    Vectors::available().iter().map(program).collect()
}

/// On every path the same program, compiled once.
fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| on_every_path(fill))
}

/// Every kind of pattern, small enough that random text over their letters matches often.
fn fill(builder: &mut ProgramBuilder) {
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let email = add(PatternSpec::regex("email", r"\b[a-c.]{1,6}@[a-c]{1,4}\.(?:aa|bb)\b"));
    let code = add(PatternSpec::regex("code", "ab{1,3}c"));
    let digits = add(PatternSpec::regex("digits", "[0-9]{4}").validate(Validator::Luhn));
    let near = add(PatternSpec::regex("near", r"\b[0-9]{3}\b").near(["cab"], 6));
    let capped = add(PatternSpec::regex("capped", "@@[a-z ]+").max(7));
    let words =
        add(PatternSpec::new("words", Matcher::Words { words: vec!["CAB a".into(), "bb".into()], nocase: true }));
    builder.rule(RuleSpec::new("email", Action::Mask(Mask::redact("<mail>")), [email]));
    builder.rule(RuleSpec {
        priority: 60,
        ..RuleSpec::new("code", Action::Mask(Mask::Partial { keep_first: 1, keep_last: 0, with: '*' }), [code])
    });
    builder.rule(RuleSpec::new("digits", Action::Mask(Mask::Hash { key: "k".into() }), [digits]));
    builder.rule(RuleSpec::new("near", Action::Mask(Mask::Tokenize { key: "k".into() }), [near]));
    builder.rule(RuleSpec::new("capped", Action::Mask(Mask::redact("[capped]")), [capped]));
    builder.rule(RuleSpec::new("words", Action::Alert, [words]));
    builder.rule(RuleSpec::new("seen", Action::Alert, [email, code, digits]));
}

type Outcome = (Vec<u8>, Vec<Decision>, Option<Stop>);

fn run(program: &Program, options: &StreamOptions, chunks: &[&[u8]]) -> Outcome {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, options.clone(), &Budget::unlimited());
    let mut stop = None;
    for chunk in chunks {
        if let Err(e) = stream.push(Bytes::copy_from_slice(chunk), &mut out) {
            stop = Some(e);
            break;
        }
    }
    if stop.is_none() {
        stop = stream.finish(&mut out).err();
    }
    (out.bytes, out.decisions, stop)
}

/// Cuts don't matter, nor do vectors.
fn same_everywhere(options: &StreamOptions, text: &[u8]) -> Result<(), TestCaseError> {
    let mut first = None;
    for (vectors, program) in Vectors::available().iter().zip(programs()) {
        same_for_every_cut(program, options, text)?;
        let whole = run(program, options, &[text]);
        let first = first.get_or_insert_with(|| whole.clone());
        prop_assert_eq!(&whole, first, "{:?} on {:?}", vectors, String::from_utf8_lossy(text));
    }
    Ok(())
}

fn same_for_every_cut(program: &Program, options: &StreamOptions, text: &[u8]) -> Result<(), TestCaseError> {
    let whole = run(program, options, &[text]);
    for at in 0..=text.len() {
        prop_assert_eq!(
            &run(program, options, &[&text[..at], &text[at..]]),
            &whole,
            "cut at {} of {:?}",
            at,
            String::from_utf8_lossy(text)
        );
    }
    for size in [1, 2, 3, 7] {
        let chunks: Vec<&[u8]> = text.chunks(size).collect();
        prop_assert_eq!(
            &run(program, options, &chunks),
            &whole,
            "chunks of {} of {:?}",
            size,
            String::from_utf8_lossy(text)
        );
    }
    if text.len() <= 24 {
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                prop_assert_eq!(&run(program, options, &chunks), &whole, "cuts at {} and {}", first, second);
            }
        }
    }
    Ok(())
}

fn json_string(text: &str, escape: u8) -> String {
    text.chars()
        .enumerate()
        .map(|(at, c)| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            c if escape != 0 && at % usize::from(escape) == 0 => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
            }
            c => c.to_string(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn law_1_raw_output_and_decisions_do_not_depend_on_the_cuts(text in "[abc@. 0-9]{0,40}") {
        same_everywhere(&StreamOptions::raw(), text.as_bytes())?;
    }

    #[test]
    fn law_1_holds_for_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..40), format in 0..3u8) {
        let format = [Format::Raw, Format::Json, Format::Sse][usize::from(format)];
        same_everywhere(&StreamOptions::format(format), &text)?;
    }

    #[test]
    fn law_1_holds_for_json_with_escapes_and_json_in_strings(a in "[abc@. 0-9\"é😀]{0,14}", b in "[abc@.0-9 ]{0,10}", number in 0..1_000_000u64, escape in 0..4u8) {
        let inner = format!("{{\"x\":\"{}\",\"n\":{number}}}", json_string(&b, escape));
        let text = format!("{{\"a\":[\"{}\",{number}],\"t\":\"{}\"}}", json_string(&a, escape), json_string(&inner, 0));
        same_everywhere(&StreamOptions::format(Format::Json), text.as_bytes())?;
    }

    #[test]
    fn law_1_holds_for_events(a in "[abc@. 0-9]{0,10}", comment in "[abc@.]{0,10}", end in 0..3u8) {
        let eol = ["\n", "\r\n", "\r"][usize::from(end)];
        let text = format!(": {comment}{eol}id: 1{eol}data: {{\"a\":{eol}data: \"{a}\"}}{eol}{eol}data: {a}{eol}{eol}");
        same_everywhere(&StreamOptions::format(Format::Sse), text.as_bytes())?;
    }

    #[test]
    fn masked_json_is_json(a in "[abc@. 0-9\"\\\\]{0,14}", b in "[abc@.0-9 ]{0,10}", number in any::<i64>(), float in any::<f32>().prop_filter("JSON has no infinity", |f| f.is_finite()), escape in 0..4u8) {
        let inner = format!("{{\"x\":\"{}\",\"n\":{number}}}", json_string(&b, escape));
        let text = format!("{{\"a\":[\"{}\",{number},{float}],\"t\":\"{}\"}}", json_string(&a, escape), json_string(&inner, 0));
        for program in programs() {
            let (out, _, stop) = run(program, &StreamOptions::format(Format::Json), &[text.as_bytes()]);
            prop_assert_eq!(stop, None);
            let value: serde_json::Value = serde_json::from_slice(&out).map_err(|e| TestCaseError::fail(format!("{e}: {}", String::from_utf8_lossy(&out))))?;
            let inner = value["t"].as_str().expect("a string");
            prop_assert!(serde_json::from_str::<serde_json::Value>(inner).is_ok(), "{}", inner);
        }
    }

    #[test]
    fn the_stream_equals_the_plain_reference_matcher(text in "[abc@. 0-9]{0,60}|([abc.]{1,6}|@[abc]{1,4}\\.(aa|bb)|@@|ab{1,3}c|cab|[0-9]{1,5}| |[.@])+") {
        let expected = reference::inspect(text.as_bytes());
        for program in programs() {
            let (out, decisions, _) = run(program, &StreamOptions::raw(), &[text.as_bytes()]);
            let mut spans: Vec<(String, usize, usize)> = decisions.iter().map(|d| (program.rule_name(d.rule).into(), d.span.start as usize, d.span.end as usize)).collect();
            spans.sort();
            let mut wanted = expected.spans.clone();
            wanted.sort();
            prop_assert_eq!(spans, wanted);
            let shaped = expected.shape(&out);
            prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&shaped));
        }
    }

    #[test]
    fn law_2_and_3_what_has_left_is_exactly_what_no_candidate_can_claim(text in "[ab@ .]{0,20}") {
        // One pattern, so that what can still be claimed is easily said: a prefix of a match that reaches the end.
        let programs = on_every_path(|builder| {
            let p = builder.pattern(PatternSpec::regex("p", "a{1,2}@b{2}")).expect("valid");
            builder.rule(RuleSpec::new("r", Action::Mask(Mask::redact("#")), [p]));
        });
        let prefixes = ["a", "aa", "a@", "aa@", "a@b", "aa@b", "a@bb", "aa@bb"];
        for program in &programs {
            let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
            let mut out = Collected::default();
            for (at, byte) in text.bytes().enumerate() {
                stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("no block");
                let seen = &text[..=at];
                let waits = prefixes.iter().filter(|p| seen.ends_with(**p)).map(|p| p.len()).max().unwrap_or(0);
                prop_assert_eq!(stream.held(), waits, "after {:?}", seen);
            }
        }
    }
}

/// The matcher as one would write it on paper: every start, every pattern, the regex crate's own engine.
mod reference {
    use regex_automata::meta::Regex;
    use regex_automata::util::syntax;
    use regex_automata::{Anchored, Input};

    pub(super) struct Expected {
        pub(super) spans: Vec<(String, usize, usize)>,
        masks: Vec<(usize, usize, Kind)>,
        text: Vec<u8>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Fixed(&'static str),
        Partial,
        /// The mask is keyed: its length is known, its bytes are the engine's.
        Keyed,
    }

    fn luhn(value: &[u8]) -> bool {
        let sum: u32 = value
            .iter()
            .rev()
            .enumerate()
            .map(|(i, b)| {
                let d = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
                d / 10 + d % 10
            })
            .sum();
        sum.is_multiple_of(10) && value.iter().any(|b| *b != b'0')
    }

    fn matches(
        source: &str,
        text: &[u8],
        cap: Option<usize>,
        accept: impl Fn(usize, usize) -> bool,
    ) -> Vec<(usize, usize)> {
        let regex =
            Regex::builder().syntax(syntax::Config::new().unicode(false).utf8(false)).build(source).expect("valid");
        let mut found = Vec::new();
        let mut from = 0;
        while from < text.len() {
            let input = Input::new(text).range(from..).anchored(Anchored::Yes);
            let end = regex.find(input).map(|m| cap.map_or(m.end(), |cap| m.end().min(from + cap)));
            match end {
                Some(end) if accept(from, end) => {
                    found.push((from, end));
                    from = end;
                }
                _ => from += 1,
            }
        }
        found
    }

    pub(super) fn inspect(text: &[u8]) -> Expected {
        let near = |start: usize, end: usize| {
            let has = |window: &[u8]| window.windows(3).any(|w| w.eq_ignore_ascii_case(b"cab"));
            has(&text[start.saturating_sub(6)..start]) || has(&text[end..(end + 6).min(text.len())])
        };
        let all = [
            (
                "email",
                50,
                Some(Kind::Fixed("<mail>")),
                matches(r"\b[a-c.]{1,6}@[a-c]{1,4}\.(?:aa|bb)\b", text, None, |_, _| true),
            ),
            ("code", 60, Some(Kind::Partial), matches("ab{1,3}c", text, None, |_, _| true)),
            ("digits", 50, Some(Kind::Keyed), matches("[0-9]{4}", text, None, |s, e| luhn(&text[s..e]))),
            ("near", 50, Some(Kind::Keyed), matches(r"\b[0-9]{3}\b", text, None, near)),
            ("capped", 50, Some(Kind::Fixed("[capped]")), matches("@@[a-z ]+", text, Some(7), |_, _| true)),
            ("words", 50, None, matches("(?i:cab a|bb)", text, None, |_, _| true)),
        ];
        let mut spans = Vec::new();
        let mut masks = Vec::new();
        for (rule, priority, kind, found) in &all {
            for (start, end) in found {
                spans.push(((*rule).to_string(), *start, *end));
                if matches!(*rule, "email" | "code" | "digits") {
                    spans.push(("seen".to_string(), *start, *end));
                }
                if let Some(kind) = kind {
                    masks.push((*start, *end, *priority, *kind, *rule));
                }
            }
        }
        let strict = |kind: Kind| match kind {
            Kind::Fixed(_) => 2,
            Kind::Keyed => 1,
            Kind::Partial => 0,
        };
        masks.sort_by_key(|(s, e, p, k, r)| {
            (*s, std::cmp::Reverse(*p), std::cmp::Reverse(*e), std::cmp::Reverse(strict(*k)), *r)
        });
        Expected { spans, masks: masks.into_iter().map(|(s, e, _, k, _)| (s, e, k)).collect(), text: text.to_vec() }
    }

    impl Expected {
        /// The output with the keyed masks taken from what the engine wrote, after a look at their form.
        pub(super) fn shape(&self, got: &[u8]) -> Vec<u8> {
            let mut out: Vec<u8> = Vec::new();
            let mut cut = 0;
            for (start, end, kind) in &self.masks {
                if *start < cut {
                    if *end > cut {
                        out.extend_from_slice(b"[redacted]");
                        cut = *end;
                    }
                    continue;
                }
                out.extend_from_slice(&self.text[cut..*start]);
                let value = &self.text[*start..*end];
                match kind {
                    Kind::Fixed(with) => out.extend_from_slice(with.as_bytes()),
                    Kind::Partial => out.extend(value.iter().enumerate().map(|(i, b)| if i == 0 { *b } else { b'*' })),
                    Kind::Keyed => {
                        let rest = got.get(out.len()..).unwrap_or_default();
                        let len = if rest.starts_with(b"tok_") {
                            4 + (16 + value.len()).div_ceil(3) * 4 - [0, 2, 1][(16 + value.len()) % 3]
                        } else {
                            32
                        };
                        let len = len.min(rest.len());
                        assert!(!rest[..len].windows(value.len()).any(|w| w == value) || value.len() < 4);
                        out.extend_from_slice(&rest[..len]);
                    }
                }
                cut = *end;
            }
            out.extend_from_slice(&self.text[cut..]);
            out
        }
    }
}

/// Keeps what leaves, slice by slice.
#[derive(Default)]
struct Slices(Vec<Bytes>);

impl Sink for Slices {
    fn clean(&mut self, bytes: Bytes) {
        self.0.push(bytes);
    }
    fn masked(&mut self, _: &[u8]) {}
    fn decision(&mut self, _: &Decision) {}
}

#[test]
fn law_4_clean_bytes_leave_as_slices_of_what_came_in() {
    for program in programs() {
        for format in [Format::Raw, Format::Json] {
            let mut stream = Stream::open(program, StreamOptions::format(format), &Budget::unlimited());
            let mut out = Slices::default();
            let chunk = Bytes::from_static(br#"{"plain":["xyz xyz","qrs"]}"#);
            stream.push(chunk.clone(), &mut out).expect("clean");
            stream.finish(&mut out).expect("clean");
            assert_eq!(out.0.len(), 1, "one slice, not many");
            assert_eq!(out.0[0].as_ptr(), chunk.as_ptr());
            assert_eq!(out.0[0].len(), chunk.len());
        }
    }
}

#[test]
fn law_4_held_bytes_leave_as_slices_as_well() {
    for program in programs() {
        let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
        let mut out = Slices::default();
        let (first, second) = (Bytes::from_static(b"xyz ab"), Bytes::from_static(b"xyz"));
        stream.push(first.clone(), &mut out).expect("clean");
        stream.push(second.clone(), &mut out).expect("clean");
        stream.finish(&mut out).expect("clean");
        assert_eq!(out.0.concat(), b"xyz abxyz");
        assert_eq!(out.0[1].as_ptr(), first[4..].as_ptr());
        assert!(out.0.last().is_some_and(|last| second.as_ptr_range().contains(&last.as_ptr())));
    }
}

#[test]
fn law_5_a_full_budget_stops_the_stream_and_a_closed_stream_gives_back() {
    for program in programs() {
        let budget = Budget::new(4096);
        let mut out = Collected::default();
        let mut streams: Vec<Stream> = Vec::new();
        let stop = loop {
            let mut stream = Stream::open(program, StreamOptions::raw(), &budget);
            let pushed = stream.push(Bytes::from_static(b"abc.a@"), &mut out);
            streams.push(stream);
            if let Err(stop) = pushed {
                break stop;
            }
        };
        assert_eq!(stop, Stop::Budget { limit: 4096 });
        assert!(budget.used() <= 4096);
        assert!(!out.text().contains('@'));
        drop(streams);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn law_5_a_stream_holds_no_more_than_the_longest_pattern() {
    for program in programs() {
        let hold = program.hold_back(&program.all_rules()).bytes();
        let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
        let mut out = Collected::default();
        for byte in b"a.a.a.@a@@abbbb 4444 cab 123 @@@@@@@@aaaaaaaaaaaaaaaaabbbbbbbbbbb".repeat(20) {
            stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("no block");
            assert!(stream.held() <= 2 * hold, "{} bytes held, hold-back {hold}", stream.held());
        }
    }
}

#[test]
fn law_6_after_a_block_nothing_leaves() {
    let programs = on_every_path(|builder| {
        let p = builder.pattern(PatternSpec::regex("p", "secret")).expect("valid");
        builder.rule(RuleSpec::new("r", Action::Block, [p]));
    });
    for program in programs {
        let mut out = Collected::default();
        let mut stream = Stream::open(&program, StreamOptions::raw(), &Budget::unlimited());
        stream.push(Bytes::from_static(b"a se"), &mut out).expect("undecided");
        let stop = stream.push(Bytes::from_static(b"cret tail"), &mut out).expect_err("blocked");
        assert!(matches!(&stop, Stop::Blocked(d) if d.action == ActionKind::Block && d.span == (2..8)));
        assert_eq!(stream.push(Bytes::from_static(b"more"), &mut out).as_ref(), Err(&stop));
        assert_eq!(stream.finish(&mut out), Err(stop));
        assert_eq!(out.text(), "a ");
    }
}

#[test]
fn law_6_what_is_no_json_stops_the_stream_where_it_stands() {
    for program in programs() {
        for cut in 0..8 {
            let text = br#"{"a":"bb"x"#;
            let (out, _, stop) = run(program, &StreamOptions::format(Format::Json), &[&text[..cut], &text[cut..]]);
            assert_eq!(
                stop,
                Some(Stop::Undecodable { at: 9, format: "JSON", reason: "expected `,` or the closing bracket" })
            );
            assert_eq!(out, &text[..9]);
        }
    }
}

#[test]
fn law_6_an_escape_that_breaks_off_stops_the_stream() {
    for (text, at) in [(br#"{"a\u":4}"#.as_slice(), 5), (br#"["\u00"]"#.as_slice(), 6)] {
        for program in programs() {
            let (_, _, stop) = run(program, &StreamOptions::format(Format::Json), &[text]);
            assert_eq!(stop, Some(Stop::Undecodable { at, format: "JSON", reason: "expected an escape of JSON" }));
        }
    }
}

fn masks_mail(text: &str, format: Format) -> String {
    let programs = on_every_path(|builder| {
        let p = builder.pattern(PatternSpec::regex("email", r"\b[a-z]{1,10}@[a-z]{1,10}\.com\b")).expect("valid");
        let digits =
            builder.pattern(PatternSpec::regex("card", r"\b[0-9]{16}\b").validate(Validator::Luhn)).expect("valid");
        builder.rule(RuleSpec::new("r", Action::Mask(Mask::redact("<\"m\">")), [p]));
        builder.rule(RuleSpec::new(
            "c",
            Action::Mask(Mask::Partial { keep_first: 0, keep_last: 4, with: '*' }),
            [digits],
        ));
    });
    let options = StreamOptions::format(format);
    let whole = run(&programs[0], &options, &[text.as_bytes()]);
    for (vectors, program) in Vectors::available().iter().zip(&programs) {
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(run(program, &options, &[head, tail]), whole, "cut at {at}, {vectors:?}");
        }
    }
    assert_eq!(whole.2, None);
    String::from_utf8(whole.0).expect("UTF-8")
}

#[test]
fn a_value_behind_json_escapes_is_masked_at_every_depth() {
    // Found by the fuzz target `json`: a backslash at the end of a string opened a level that nothing closed.
    assert_eq!(masks_mail(r#"["RR\\", "\\\\"]"#, Format::Json), r#"["RR\\", "\\\\"]"#);
    for (text, masked) in [
        (r#"{"m":"bob\u0040example.com"}"#, r#"{"m":"<\"m\">"}"#),
        (r#"{"t":"{\"m\":\"bob@example.com\"}"}"#, r#"{"t":"{\"m\":\"<\"m\">\"}"}"#),
        (r#"{"t":"{\"m\":\"bob\\u0040example.com\"}"}"#, r#"{"t":"{\"m\":\"<\\\"m\\\">\"}"}"#),
        (
            r#"{"t":"\"{\\\"m\\\":\\\"bob\\\\u0040example.com\\\"}\""}"#,
            r#"{"t":"\"{\\\"m\\\":\\\"<\\\\\\\"m\\\\\\\">\\\"}\""}"#,
        ),
        (r#"{"t":"line\nbob@example.com\tx"}"#, r#"{"t":"line\n<\"m\">\tx"}"#),
    ] {
        let got = masks_mail(text, Format::Json);
        assert!(!got.contains("bob") && !got.contains("example"), "{got}");
        assert_eq!(got.split('<').next(), masked.split('<').next());
        assert!(serde_json::from_str::<serde_json::Value>(&got).is_ok(), "{got}");
    }
}

#[test]
fn no_value_begins_inside_an_escape_of_a_document_in_a_string() {
    for (text, wanted) in [
        (r#"{"text":"{\"note\":\"Contact:\\nada@abc.com\"}"}"#, r#"{"text":"{\"note\":\"Contact:\\n<\\\"m\\\">\"}"}"#),
        (r#"{"text":"{\"note\":\"\\u0063aa@abc.com\"}"}"#, r#"{"text":"{\"note\":\"<\\\"m\\\">\"}"}"#),
        (r#"{"text":"{\"k\":\"ada@abc.com\"}"}"#, r#"{"text":"{\"k\":\"<\\\"m\\\">\"}"}"#),
        // What is no document has no escapes of its own.
        (r#"{"text":"C:\\a\\nabc@abc.com"}"#, r#"{"text":"C:\\a\\<\"m\">"}"#),
    ] {
        assert_eq!(masks_mail(text, Format::Json), wanted, "{text}");
    }
}

#[test]
fn an_event_stream_may_begin_with_a_byte_order_mark() {
    let text = "\u{feff}data: {\"a\":\"ab\\u0040abc.com\"}\n\n";
    assert_eq!(masks_mail(text, Format::Sse), "\u{feff}data: {\"a\":\"<\\\"m\\\">\"}\n\n");
}

#[test]
fn a_masked_number_becomes_a_string_and_the_document_stays_json() {
    assert_eq!(
        masks_mail(r#"{"card":4111111111111111,"n":12}"#, Format::Json),
        r#"{"card":"************1111","n":12}"#
    );
    assert_eq!(masks_mail("[-4111111111111111]", Format::Json), r#"["-************1111"]"#);
    let nested = masks_mail(r#"{"t":"{\"card\":4111111111111111}"}"#, Format::Json);
    assert_eq!(nested, r#"{"t":"{\"card\":\"************1111\"}"}"#);
}

#[test]
fn events_are_masked_in_data_comments_and_names() {
    let got = masks_mail(
        ": bob@example.com\r\nevent: bob@example.com\ndata: {\"m\":\ndata:  \"bob\\u0040example.com\"}\n\nid: 7\nretry: 10\n\n",
        Format::Sse,
    );
    assert_eq!(got, ": <\"m\">\r\nevent: <\"m\">\ndata: {\"m\":\ndata:  \"<\\\"m\\\">\"}\n\nid: 7\nretry: 10\n\n");
}

#[test]
fn paths_and_columns_claim_whole_values_in_documents_and_in_documents_in_strings() {
    let mut builder = Program::builder();
    let name = builder
        .pattern(PatternSpec::new("name", Matcher::Json(JsonPath::parse("$.customer.*.name").expect("valid"))))
        .expect("valid");
    let pan = builder.pattern(PatternSpec::new("pan", Matcher::Column(vec!["pan".into()])).max(20)).expect("valid");
    builder.rule(RuleSpec::new("n", Action::Mask(Mask::redact("X")), [name]));
    builder.rule(RuleSpec::new("p", Action::Mask(Mask::redact("P")), [pan]));
    let program = builder.build().expect("valid");
    let options = StreamOptions {
        roots: &["structuredContent"],
        exempt: vec![JsonPath::parse("$.state").expect("valid")],
        ..StreamOptions::format(Format::Json)
    };
    for (text, masked) in [
        (r#"{"customer":[{"name":"Ann Lee","id":1}]}"#, r#"{"customer":[{"name":"X","id":1}]}"#),
        (
            r#"{"r":{"structuredContent":{"customer":{"a":{"name":["Ann",7]}}}}}"#,
            r#"{"r":{"structuredContent":{"customer":{"a":{"name":["X","X"]}}}}}"#,
        ),
        (
            r#"{"t":"{\"customer\":{\"a\":{\"name\":\"Ann\\n\"}}}"}"#,
            r#"{"t":"{\"customer\":{\"a\":{\"name\":\"X\"}}}"}"#,
        ),
        (r#"[{"PAN":"12"},{"pan":4111}]"#, r#"[{"PAN":"P"},{"pan":"P"}]"#),
        (r#"[{"pan":"a value that is longer than its cap of twenty"},"pan"]"#, r#"[{"pan":"[redacted]"},"pan"]"#),
        (r#"{"state":{"pan":"kept"},"pan":"gone"}"#, r#"{"state":{"pan":"kept"},"pan":"P"}"#),
    ] {
        let whole = run(&program, &options, &[text.as_bytes()]);
        assert_eq!((String::from_utf8_lossy(&whole.0).as_ref(), &whole.2), (masked, &None));
        for at in 0..=text.len() {
            assert_eq!(
                run(&program, &options, &[&text.as_bytes()[..at], &text.as_bytes()[at..]]),
                whole,
                "cut at {at} of {text}"
            );
        }
    }
}

#[test]
fn law_7_work_does_not_grow_with_the_square_of_a_hard_input() {
    // Every 27th byte begins a candidate that stays live for 8 KiB: the candidates must be followed together.
    let programs = on_every_path(|builder| {
        let spec = PatternSpec::regex("pem", r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\s\S]*?-----END").max(8192);
        let p = builder.pattern(spec).expect("valid");
        builder.rule(RuleSpec::new("r", Action::Mask(Mask::redact("[key]")), [p]));
    });
    for program in programs {
        let text = b"-----BEGIN PRIVATE KEY-----".repeat(40_000);
        let (out, decisions, stop) = run(&program, &StreamOptions::raw(), &text.chunks(1000).collect::<Vec<_>>());
        assert_eq!(stop, None);
        assert!(decisions.len() >= text.len() / 8192);
        // The last candidates never reach their end or their maximum, so they are no matches; all before them are masked.
        let last = out.windows(5).rposition(|w| w == b"[key]").expect("masked");
        assert!(out.len() - last <= 8192 + 5);
        assert!(!out[..last].windows(10).any(|w| w == b"-----BEGIN"));
    }
}

#[test]
fn law_3_what_follows_a_literal_leaves_at_once() {
    for program in programs() {
        for literal in ["true", "false", "null", "[null", "\"[true"] {
            let mut stream = Stream::open(program, StreamOptions::format(Format::Json), &Budget::unlimited());
            let mut out = Collected::default();
            let text = format!("[{literal},");
            for byte in text.bytes() {
                stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("JSON");
            }
            assert_eq!(stream.held(), 0, "{literal}");
            assert_eq!(out.text(), text);
        }
    }
}

#[test]
fn law_5_literals_leave_nothing_behind() {
    for program in programs() {
        for open in ["[", "[\"["] {
            let budget = Budget::new(1024);
            let mut stream = Stream::open(program, StreamOptions::format(Format::Json), &budget);
            let mut out = Collected::default();
            let text = open.bytes().chain("true,".bytes().cycle().take(10_000));
            for byte in text {
                stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("within the budget");
            }
        }
    }
}

#[test]
fn a_literal_is_a_value_of_its_own() {
    let mut builder = Program::builder();
    let path = Matcher::Json(JsonPath::parse("$.a").expect("valid"));
    let selected = builder.pattern(PatternSpec::new("selected", path)).expect("valid");
    let across = builder.pattern(PatternSpec::regex("across", "truefalse")).expect("valid");
    builder.rule(RuleSpec::new("selected", Action::Mask(Mask::redact("X")), [selected]));
    builder.rule(RuleSpec::new("across", Action::Block, [across]));
    let program = builder.build().expect("valid");
    for (text, expected) in [
        (r#"{"a":true,"b":"x"}"#, r#"{"a":"X","b":"x"}"#),
        (r#"{"a":null}"#, r#"{"a":"X"}"#),
        ("[true,false]", "[true,false]"),
        (r#"["{\"a\":true,\"b\":\"x\"}"]"#, r#"["{\"a\":\"X\",\"b\":\"x\"}"]"#),
    ] {
        for step in 1..=text.len() {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(step).collect();
            let (bytes, _, stop) = run(&program, &StreamOptions::format(Format::Json), &chunks);
            assert_eq!(stop, None);
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "chunks of {step}");
        }
    }
    let (_, _, stop) = run(&program, &StreamOptions::format(Format::Json), &[b"truefalse"]);
    assert!(matches!(stop, Some(Stop::Undecodable { at: 4, .. })), "{stop:?}");
}

#[test]
fn law_1_long_strings_with_escapes_are_read_the_same_for_every_cut() {
    // Values where a string begins and ends, across its escapes, and around it.
    let text = |value: &str| {
        format!("{value} \\n{} \\\"{value}\\\" {} \\u00e9{value}", "xyz ".repeat(160), "\\\\ ".repeat(40))
    };
    let value = "ab.c@aa.bb";
    let document = format!(
        r#"{{"{value}":"{value}","long":"{}","short":"\n {value}","plain":"{}{value}","last":["{}",1111,"{value}"]}}"#,
        text(value),
        "xyz ".repeat(200),
        text("ab.c\\u0040aa.bb"),
    );
    let mut outcomes = Vec::new();
    for program in programs() {
        let options = StreamOptions::format(Format::Json);
        let whole = run(program, &options, &[document.as_bytes()]);
        assert_eq!(whole.2, None);
        let out = String::from_utf8(whole.0.clone()).expect("UTF-8");
        assert_eq!(out.matches("<mail>").count(), 11, "{out}");
        assert!(!out.contains("aa.bb"), "{out}");
        for at in 0..=document.len() {
            let (first, second) = document.as_bytes().split_at(at);
            assert_eq!(run(program, &options, &[first, second]), whole, "cut at {at}");
        }
        for size in [1, 63, 64, 65, 511, 512, 513, 600, 1000] {
            let chunks: Vec<&[u8]> = document.as_bytes().chunks(size).collect();
            assert_eq!(run(program, &options, &chunks), whole, "chunks of {size}");
        }
        outcomes.push(whole);
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_mask_is_escaped_for_where_its_value_stands_wherever_its_context_comes() {
    let mut builder = Program::builder();
    let number = builder.pattern(PatternSpec::regex("number", "[0-9]{3}").near(["true", "cab"], 12)).expect("valid");
    builder.rule(RuleSpec::new("number", Action::Mask(Mask::redact("\"")), [number]));
    let program = builder.build().expect("valid");
    for (text, expected) in [
        (r#"{"a":"123","b":true}"#, r#"{"a":"\"","b":true}"#),
        (r#"{"a":"123","b":"[cab]"}"#, r#"{"a":"\"","b":"[cab]"}"#),
        (r#"{"a":"[\"123\"]","b":"cab"}"#, r#"{"a":"[\"\\\"\"]","b":"cab"}"#),
    ] {
        let options = StreamOptions::format(Format::Json);
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            let (bytes, _, stop) = run(&program, &options, &[first, second]);
            assert_eq!(stop, None);
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "cut at {at}");
        }
    }
}

#[test]
fn law_6_nothing_leaves_of_a_number_that_ends_in_what_is_no_json() {
    let programs = on_every_path(|builder| {
        let code = builder.pattern(PatternSpec::regex("code", r"\b[0-9]{4}\b")).expect("valid");
        builder.rule(RuleSpec::new("code", Action::Mask(Mask::redact("#")), [code]));
    });
    let text = b"[12,31.2222x]";
    for program in &programs {
        for at in 0..=text.len() {
            let (before, after) = text.split_at(at);
            let (out, decisions, stop) = run(program, &StreamOptions::format(Format::Json), &[before, after]);
            assert_eq!((&out[..], decisions.len()), (&b"[12,"[..], 0), "cut at {at}");
            assert!(matches!(stop, Some(Stop::Undecodable { at: 11, .. })), "cut at {at}: {stop:?}");
        }
    }
}
