//! Percent-encoding hides nothing, under every cut, and what is masked stays percent-encoded.

mod cuts;

use bytes::Bytes;
use cuts::{run, run_every_cut};
use proptest::prelude::*;
use regex_automata::meta::Regex;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, Matcher, PatternSpec, Program, RuleSpec, Stream, StreamOptions, Validator,
};
use std::sync::LazyLock;

const MAIL: &str = r"[G-Z]{1,6}@[a-z]{1,4}\.com";
const TAG: &str = "<[g-z ]{1,5}>";

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", MAIL));
    let tag = add(PatternSpec::regex("tag", TAG));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[m]")), [mail]));
    builder.rule(RuleSpec::new("tag", Action::Mask(Mask::redact("\"t\"")), [tag]));
    builder.build().expect("valid")
});

static REAL: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", r"\b[a-z.]{1,30}@[a-z]{1,20}\.(?:com|org)\b"));
    let card = add(PatternSpec::regex("card", r"\b[0-9]{4}(?:[ -]?[0-9]{4}){3}\b").validate(Validator::Luhn));
    let pin = add(PatternSpec::regex("pin", r"\b[0-9]{4}\b").near(["secret pin"], 12));
    let word = add(PatternSpec::new("word", Matcher::Words { words: vec!["project titan".into()], nocase: true }));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[mail]")), [mail]));
    let partial = Mask::Partial { keep_first: 0, keep_last: 4, with: '*' };
    builder.rule(RuleSpec::new("card", Action::Mask(partial), [card]));
    builder.rule(RuleSpec::new("pin", Action::Mask(Mask::redact("#")), [pin]));
    builder.rule(RuleSpec::new("word", Action::Mask(Mask::redact("")), [word]));
    builder.build().expect("valid")
});

fn masked(text: &str, format: Format) -> String {
    let (out, _, stop) = run_every_cut(&REAL, &StreamOptions::format(format), text.as_bytes());
    assert_eq!(stop, None);
    String::from_utf8(out).expect("UTF-8")
}

/// RFC 3986, section 2.1, as one would write it on paper.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escape = text.get(at..at + 3).filter(|escape| escape[0] == b'%');
        let digits = escape.and_then(|escape| std::str::from_utf8(&escape[1..]).ok());
        match digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// Escapes the characters of a text for which the mask has a bit set.
fn encode(text: &str, mask: u64) -> String {
    let encoded = text.bytes().enumerate().map(|(at, byte)| match mask >> (at % 64) & 1 {
        1 if mask & 2 == 0 => format!("%{byte:02X}"),
        1 => format!("%{byte:02x}"),
        _ => char::from(byte).to_string(),
    });
    encoded.collect()
}

fn replace(text: &[u8], source: &str, with: &str) -> Vec<u8> {
    let regex = Regex::new(source).expect("valid");
    let (mut out, mut last) = (Vec::new(), 0);
    for found in regex.find_iter(text) {
        out.extend_from_slice(&text[last..found.start()]);
        out.extend_from_slice(with.as_bytes());
        last = found.end();
    }
    out.extend_from_slice(&text[last..]);
    out
}

#[test]
fn a_value_in_a_query_is_masked_and_the_url_stays_one() {
    for (text, wanted) in [
        ("GET /u?email=bob%40example.com&x=1", "GET /u?email=%5Bmail%5D&x=1"),
        ("?card=%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31", "?card=%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A1111"),
        ("?card=4111%201111%201111%201111;", "?card=%2A%2A%2A%2A%20%2A%2A%2A%2A%20%2A%2A%2A%2A%201111;"),
        ("q=Project%20Titan.", "q=."),
        // What holds no escape is written as in any text.
        ("a%20b bob@example.com c%20d", "a%20b [mail] c%20d"),
        // One level more.
        ("?to=bob%2540example.com&y", "?to=%255Bmail%255D&y"),
        ("?to=bob%40ex%2561mple.com&y", "?to=%255Bmail%255D&y"),
        // The digits of an escape may be escaped themselves.
        ("?to=bob%%340example.com&y", "?to=%255Bmail%255D&y"),
        ("?to=bob%4%30example.com&y", "?to=%255Bmail%255D&y"),
        // The words near a value may be encoded too.
        ("s%65cret%20pin: 1234", "s%65cret%20pin: #"),
        ("1234 secret%20pin", "# secret%20pin"),
    ] {
        assert_eq!(masked(text, Format::Raw), wanted, "{text}");
    }
}

#[test]
fn what_is_no_escape_or_has_a_plus_passes_unchanged() {
    for text in ["100% sure", "5 %", "%", "%4", "%zz%g0", "project+titan", "a%2520b", "%00%ff%FF", "%%%%%2"] {
        assert_eq!(masked(text, Format::Raw), text);
    }
}

#[test]
fn it_is_masked_in_json_in_json_in_strings_and_in_events() {
    for (text, format, wanted) in [
        (r#"{"u":"/x?m=bob%40example.com&y"}"#, Format::Json, r#"{"u":"/x?m=%5Bmail%5D&y"}"#),
        (r#"{"u":"\/x?m=bob\u0025\u00340example.com"}"#, Format::Json, r#"{"u":"\/x?m=%5Bmail%5D"}"#),
        (r#"{"t":"{\"u\":\"bob%40example.com\"}"}"#, Format::Json, r#"{"t":"{\"u\":\"%5Bmail%5D\"}"}"#),
        (r#"{"t":"{\"u\":\"b%6Fb\\u0040example.com\"}"}"#, Format::Json, r#"{"t":"{\"u\":\"%5Bmail%5D\"}"}"#),
        ("data: {\"u\":\"bob%40example.com\"}\n\n", Format::Sse, "data: {\"u\":\"%5Bmail%5D\"}\n\n"),
        ("data: bob%40example.com\n\n: b%6fb@example.com\n\n", Format::Sse, "data: %5Bmail%5D\n\n: %5Bmail%5D\n\n"),
        // Two events share the value, and its escape.
        ("data: hi bob%40exa\n\ndata: mple.com\n\n", Format::Sse, "data: hi %5Bmail%5D\n\ndata: \n\n"),
    ] {
        assert_eq!(masked(text, format), wanted, "{text}");
    }
}

#[test]
fn a_value_is_found_however_near_an_earlier_escape_stands() {
    // A view ends some 256 bytes after an escape: what begins before its end may go on behind the next one.
    for distance in (0..600).step_by(7).chain(225..290) {
        let text = format!("%20{}GHI%40ab.com.", " ".repeat(distance));
        let (out, _, _) = run(&PROGRAM, &StreamOptions::raw(), &[text.as_bytes()]);
        let out = String::from_utf8(out).expect("UTF-8");
        assert!(out.ends_with(" %5Bm%5D.") || (distance == 0 && out == "%20%5Bm%5D."), "{distance}: {out}");
    }
}

#[test]
fn a_text_that_is_not_encoded_is_not_read_twice_after_an_escape() {
    let clean = "call 555-0100 now, ask for 4111-1111 or 12-34 ".repeat(20_000);
    let costs = |text: String| {
        let mut out = Collected::default();
        let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
        stream.push(Bytes::from(text), &mut out).expect("no block");
        stream.finish(&mut out).expect("no block");
        stream.costs().verified
    };
    let (none, one) = (costs(format!("a b {clean}")), costs(format!("a%20b {clean}")));
    assert!(one <= none + 2_000, "{one} for {none}");
}

#[test]
fn clean_escapes_leave_as_the_slices_they_came_in() {
    struct Slices(Vec<Bytes>);
    impl sluice_engine::Sink for Slices {
        fn clean(&mut self, bytes: Bytes) {
            self.0.push(bytes);
        }
        fn masked(&mut self, _: &[u8]) {
            panic!("masked");
        }
        fn decision(&mut self, _: &sluice_engine::Decision) {}
    }
    let text = Bytes::from("/a%20b/c%2Fd?x=%7B%22k%22%3A1%7D ".repeat(100));
    let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
    let mut out = Slices(Vec::new());
    stream.push(text.clone(), &mut out).expect("no block");
    assert_eq!(stream.held(), 0);
    assert_eq!(out.0.iter().map(Bytes::len).sum::<usize>(), text.len());
    assert!(out.0.iter().all(|slice| text.as_ptr_range().contains(&slice.as_ptr())));
}

#[test]
fn an_unfinished_escape_waits_and_what_no_candidate_claims_does_not() {
    let mut stream = Stream::open(&PROGRAM, StreamOptions::raw(), &Budget::unlimited());
    let mut out = Collected::default();
    for (piece, held) in [("x ", 0), ("%", 1), ("2", 2), ("0", 0), ("%4", 2), ("7", 3), ("H%4", 6), ("0", 7), ("!", 0)]
    {
        stream.push(Bytes::from(piece), &mut out).expect("no block");
        assert_eq!(stream.held(), held, "after {piece:?}");
    }
}

#[test]
fn work_on_dense_escapes_grows_with_their_number() {
    let costs = |count: usize| {
        let mut out = Collected::default();
        let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
        for chunk in "%34%31 %2531%2540".repeat(count).as_bytes().chunks(4096) {
            stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("no block");
        }
        stream.costs().verified
    };
    let (short, long) = (costs(2_000), costs(20_000));
    assert!(long <= 11 * short, "{short} and {long}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn output_and_decisions_do_not_depend_on_the_cuts(text in "([GHg@ <>]|[a-c]@a\\.com|%(4[07]|3[CcEe]|6[7d]|25|2|)|\\.com){0,14}", nested in 0..4u8) {
        let (text, format) = match nested {
            0 => (text, Format::Raw),
            1 => (serde_json::json!({ "a": text, "b": [text] }).to_string(), Format::Json),
            2 => (serde_json::json!({ "t": serde_json::json!({ "a": text, "n": "\\G" }).to_string() }).to_string(), Format::Json),
            _ => (format!("data: {text}\n\ndata: {text}\ndata: \"{text}\"\n\n"), Format::Sse),
        };
        run_every_cut(&PROGRAM, &StreamOptions::format(format), text.as_bytes());
    }

    #[test]
    fn the_stream_finds_what_a_search_of_the_decoded_text_finds(text in "([G-I]{1,3}@[a-z]{1,3}\\.com|<[g-i]{1,3}>|[GHgh@<>. &=?/]){0,12}", mask in any::<u64>()) {
        let encoded = encode(&text, mask);
        let wanted = replace(&replace(text.as_bytes(), MAIL, "[m]"), TAG, "\"t\"");
        let (out, _, _) = run(&PROGRAM, &StreamOptions::raw(), &[encoded.as_bytes()]);
        prop_assert_eq!(decode(&out).escape_ascii().to_string(), wanted.escape_ascii().to_string(), "{}", encoded);
        // Twice encoded, it is found as well.
        let twice = encoded.replace('%', "%25");
        let (out, _, _) = run(&PROGRAM, &StreamOptions::raw(), &[twice.as_bytes()]);
        prop_assert_eq!(decode(&decode(&out)).escape_ascii().to_string(), wanted.escape_ascii().to_string(), "{}", twice);
    }

    #[test]
    fn masked_json_with_escapes_is_json(text in "[GHg@<>%a-c0-9 .\\\\\"]{0,30}") {
        let text = serde_json::json!({ "t": serde_json::json!({ "a": text }).to_string(), "u": text }).to_string();
        let (out, _, stop) = run(&PROGRAM, &StreamOptions::format(Format::Json), &[text.as_bytes()]);
        prop_assert_eq!(stop, None);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        prop_assert!(serde_json::from_str::<serde_json::Value>(value["t"].as_str().expect("a string")).is_ok());
    }
}

/// A value ends where the next one begins: with the escape decoded all of them stand elsewhere, as far as they go on.
#[test]
fn matches_that_touch_stand_as_the_decoded_text_has_them_to_the_last() {
    let mut builder = Program::builder();
    let dashes = builder.pattern(PatternSpec::regex("dashes", r"--[\s\S]+?--").max(9)).expect("valid");
    builder.rule(RuleSpec::new("dashes", Action::Mask(Mask::redact("\"c\"")), [dashes]));
    let program = builder.build().expect("valid");
    for length in [9, 24, 63] {
        for escape in ["%2d", "-%2D", "%252d"] {
            let text = format!("a{escape}{}.", "-".repeat(length));
            let (_, _, stop) = run_every_cut(&program, &StreamOptions::raw(), text.as_bytes());
            assert_eq!(stop, None);
        }
    }
}

/// What stands before a byte that can't go on a document in a string is read as part of the document, wherever it was cut.
#[test]
fn a_document_in_a_string_that_breaks_off_is_one_up_to_there() {
    let mut builder = Program::builder();
    let word = builder.pattern(PatternSpec::regex("word", "true|pass")).expect("valid");
    builder.rule(RuleSpec::new("word", Action::Mask(Mask::redact("t<\">")), [word]));
    let program = builder.build().expect("valid");
    for text in [r#"["[  true  [","x"]"#, r#"["{\"a\":\"pass\" true","x"]"#, r#"["[1 pass","x"]"#] {
        let (_, _, stop) = run_every_cut(&program, &StreamOptions::format(Format::Json), text.as_bytes());
        assert_eq!(stop, None);
    }
}
