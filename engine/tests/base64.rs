//! What stands in base64 is found where a pattern asks, under every cut, and what is masked stays base64.

mod cuts;

use bytes::Bytes;
use cuts::{run, run_every_cut};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding};
use proptest::prelude::*;
use regex_automata::meta::Regex;
use sluice_engine::{
    Action, Budget, Collected, Format, Mask, Matcher, PatternSpec, Program, RuleSpec, Stream, StreamOptions, Validator,
};
use std::sync::LazyLock;

const MAIL: &str = r"<[a-z]{1,6}@[a-z]{1,4}>";

static REAL: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", r"\b[a-z.]{1,30}@[a-z]{1,20}\.(?:com|org)\b").base64());
    let card = PatternSpec::regex("card", r"\b[0-9]{4}(?:[ -]?[0-9]{4}){3}\b").validate(Validator::Luhn);
    let card = add(card.base64());
    let pin = add(PatternSpec::regex("pin", r"\b[0-9]{4}\b").near(["pin"], 12).base64());
    let word = add(PatternSpec::new("word", Matcher::Words { words: vec!["titan".into()], nocase: true }));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[mail]")), [mail]));
    let partial = Mask::Partial { keep_first: 0, keep_last: 4, with: '*' };
    builder.rule(RuleSpec::new("card", Action::Mask(partial), [card]));
    builder.rule(RuleSpec::new("pin", Action::Mask(Mask::redact("#")), [pin]));
    builder.rule(RuleSpec::new("word", Action::Mask(Mask::redact("~")), [word]));
    builder.build().expect("valid")
});

/// One pattern with a mask of every length, and one of a few bytes, several of which share a quantum.
static SMALL: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    let mail = builder.pattern(PatternSpec::regex("mail", MAIL).base64()).expect("valid");
    let digit = builder.pattern(PatternSpec::regex("digit", "[0-9]~").base64()).expect("valid");
    let word = builder.pattern(PatternSpec::regex("word", "~{2,5}").base64()).expect("valid");
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[?~>]")), [mail]));
    builder.rule(RuleSpec::new("digit", Action::Mask(Mask::redact("#")), [digit]));
    builder.rule(RuleSpec::new("word", Action::Alert, [word]));
    builder.build().expect("valid")
});

fn masked(text: &str, format: Format) -> String {
    let (out, _, stop) = run_every_cut(&REAL, &StreamOptions::format(format), text.as_bytes());
    assert_eq!(stop, None);
    String::from_utf8(out).expect("UTF-8")
}

/// What a text between quotes says in base64.
fn says(out: &str, encoding: &Encoding) -> String {
    let inside = out.split('"').nth(1).expect("quotes");
    String::from_utf8(encoding.decode(inside.as_bytes()).expect("base64 stays base64")).expect("UTF-8")
}

#[test]
fn a_value_in_base64_is_masked_wherever_it_stands_and_with_padding_or_without() {
    let lead = ["", "a", "ab", "abc", "an attachment: "];
    let tail = ["", ".", "..", "...", ", and more of it"];
    for (encoding, decoding) in [
        (&BASE64, &BASE64),
        (&BASE64_NOPAD, &BASE64_NOPAD),
        (&BASE64URL, &BASE64URL),
        (&BASE64URL_NOPAD, &BASE64URL_NOPAD),
    ] {
        for lead in lead {
            for tail in tail {
                let text = format!("{lead} bob.lee@example.com {tail}");
                let got = masked(&format!("x \"{}\" y", encoding.encode(text.as_bytes())), Format::Raw);
                let said = says(&got, decoding);
                // What is missing in a quantum are spaces.
                let (before, after) = said.split_once("[mail]").expect("masked");
                assert_eq!((before, after.trim_start()), (&*format!("{lead} "), tail), "{text}");
            }
        }
    }
}

#[test]
fn a_mask_as_long_as_its_value_changes_nothing_else() {
    for lead in ["", "1", "12"] {
        let text = format!("{lead} 4111 1111 1111 1111, \u{ff}\u{3fe}~~~???");
        for encoding in [BASE64, BASE64URL_NOPAD] {
            let got = masked(&format!("\"{}\"", encoding.encode(text.as_bytes())), Format::Raw);
            assert_eq!(says(&got, &encoding), text.replace("4111 1111 1111 1", "**** **** **** 1"));
        }
    }
}

#[test]
fn values_that_share_a_quantum_are_masked_each() {
    for lead in ["", "a", "ab"] {
        let text = format!("{lead} 4111111111111111 5500005555555559,bob@example.com;ann@example.org");
        let got = masked(&format!("\"{}\"", BASE64.encode(text.as_bytes())), Format::Raw);
        let said = says(&got, &BASE64);
        let plain: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = format!("{lead} ************1111 ************5559,[mail] ;[mail]");
        let squeezed = |text: &str| text.replace(' ', "");
        assert_eq!(squeezed(&plain), squeezed(&wanted), "{said}");
    }
}

#[test]
fn members_of_mcp_are_masked_and_stay_base64() {
    let blob = BASE64.encode("name,mail\nBob,bob@example.com\n".as_bytes());
    let text = serde_json::json!({ "result": { "contents": [{ "uri": "a://b", "blob": blob }] } }).to_string();
    let got = masked(&text, Format::Json);
    let value: serde_json::Value = serde_json::from_str(&got).expect("JSON");
    let blob = value["result"]["contents"][0]["blob"].as_str().expect("a string");
    let said = BASE64.decode(blob.as_bytes()).expect("base64");
    assert_eq!(String::from_utf8(said).expect("UTF-8"), "name,mail\nBob,[mail]\n");
    // In a document in a string, and with slashes that are escaped.
    let inner = serde_json::json!({ "data": BASE64.encode(b"?>?>?> bob@example.com") }).to_string().replace('/', "\\/");
    let text = serde_json::json!({ "t": inner }).to_string();
    let got = masked(&text, Format::Json);
    let value: serde_json::Value = serde_json::from_str(&got).expect("JSON");
    let value: serde_json::Value = serde_json::from_str(value["t"].as_str().expect("a string")).expect("JSON");
    let said = BASE64.decode(value["data"].as_str().expect("a string").as_bytes()).expect("base64");
    assert_eq!(String::from_utf8(said).expect("UTF-8"), "?>?>?> [mail]  ");
}

#[test]
fn only_patterns_that_ask_are_looked_for_and_only_in_runs() {
    for text in [
        // No pattern asks for this word.
        BASE64.encode(b"about the titan, and more"),
        // Too short for a run.
        BASE64_NOPAD.encode(b"a@b.o"),
        // A line break ends a run.
        format!("{}\n{}", &BASE64.encode(b"x bob@example.com")[..11], &BASE64.encode(b"x bob@example.com")[11..]),
        // What stands around the run is no context.
        format!("pin {}", BASE64.encode(b"it's 1234, then")),
    ] {
        assert_eq!(masked(&text, Format::Raw), text);
    }
    let near = masked(&format!("\"{}\"", BASE64.encode(b"the pin is 1234, then")), Format::Raw);
    assert_eq!(says(&near, &BASE64), "the pin is #, then");
    // A path ends where the other alphabet's run goes on.
    let url = masked(&format!("/files/{} ", BASE64URL_NOPAD.encode(b"to bob@example.com")), Format::Raw);
    assert_eq!(url, format!("/files/{} ", BASE64URL_NOPAD.encode(b"to [mail]")));
    // Percent-encoded padding and alphabet.
    let query = format!("?d={}&x", BASE64.encode(b"?>~?>~ bob@example.com").replace('/', "%2F").replace('+', "%2B"));
    let got = masked(&query, Format::Raw).replace("%2F", "/").replace("%2B", "+").replace("%3D", "=");
    assert_eq!(got, format!("?d={}&x", BASE64.encode(b"?>~?>~ [mail]  ")));
}

#[test]
fn what_is_undecided_waits_and_nothing_else() {
    let text = BASE64.encode("nothing to see here, ".repeat(2_000).as_bytes());
    let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
    let mut out = Collected::default();
    for (at, byte) in text.bytes().enumerate() {
        stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("no block");
        // A word that may be an address' name, and a quantum.
        assert!(stream.held() <= 24, "{} held after {at}", stream.held());
    }
    let blank = BASE64.encode(&[0; 3000]);
    let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
    for (at, byte) in blank.bytes().enumerate() {
        stream.push(Bytes::copy_from_slice(&[byte]), &mut out).expect("no block");
        let seen = at + 1;
        assert_eq!(stream.held(), if seen < 8 { seen } else { seen % 4 }, "after {seen}");
    }
}

#[test]
fn work_grows_with_the_bytes() {
    let costs = |text: &[u8]| {
        let mut out = Collected::default();
        let mut stream = Stream::open(&REAL, StreamOptions::raw(), &Budget::unlimited());
        text.chunks(4096).for_each(|chunk| stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("no block"));
        stream.costs().verified
    };
    for hard in [BASE64.encode(b"1 a.a@a 1234-1234"), "A/-".into(), "MTEx".into(), "a".into(), "/_aaaaaaaaaa".into()] {
        let (short, long) = (costs(hard.repeat(2_000).as_bytes()), costs(hard.repeat(20_000).as_bytes()));
        assert!(long <= 11 * short + 1_000, "{hard}: {short} and {long}");
    }
}

#[test]
fn a_long_piece_full_of_values_is_read_as_in_short_pieces() {
    for lead in ["", "x", "xy"] {
        let said = format!("{lead}{}", "1~2~ <ab@c>3~~~ ".repeat(8_000));
        let text = BASE64.encode(said.as_bytes());
        let whole = run(&SMALL, &StreamOptions::raw(), &[text.as_bytes()]);
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
        let pieced = run(&SMALL, &StreamOptions::raw(), &pieces);
        assert!(whole == pieced, "the pieces show");
        let out = BASE64.decode(&whole.0).expect("base64 stays base64");
        let wanted = format!("{lead}{}", "##[?~>]#~~".repeat(8_000));
        assert!(String::from_utf8_lossy(&out).replace(' ', "") == wanted, "masked otherwise");
    }
}

/// The text after a plain search, the mask in the place of each value; spaces aside.
fn replaced(text: &str) -> String {
    let mut text = text.to_owned();
    for (source, with) in [(MAIL, "[?~>]"), ("[0-9]~", "#")] {
        let regex = Regex::new(source).expect("valid");
        let found: Vec<_> = regex.find_iter(&text).collect();
        for found in found.iter().rev() {
            text.replace_range(found.range(), with);
        }
    }
    text.replace(' ', "")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn output_and_decisions_do_not_depend_on_the_cuts(said in "(<[a-c]{1,6}@[a-c]{1,3}>|[0-9]~|[~>?<@a-c ]|é){0,12}", around in "[A-Za-z+/_= -]{0,6}", kind in 0..8u8) {
        let encoded = match kind % 4 {
            0 => BASE64.encode(said.as_bytes()),
            1 => BASE64_NOPAD.encode(said.as_bytes()),
            2 => BASE64URL.encode(said.as_bytes()),
            _ => BASE64URL_NOPAD.encode(said.as_bytes()),
        };
        let text = format!("{around}{encoded}{around}");
        let (text, format) = match kind / 4 {
            0 => (text, Format::Raw),
            _ => (serde_json::json!({ "a": text, "t": serde_json::json!({ "b": text }).to_string().replace('/', "\\/") }).to_string(), Format::Json),
        };
        run_every_cut(&SMALL, &StreamOptions::format(format), text.as_bytes());
    }

    #[test]
    fn any_characters_of_the_alphabets_give_the_same_for_every_cut(text in "[A-D/_=+%2-]{0,40}|(Pj4|fn5|MX4x|~|-|_|/|=|fg|fA==|%2[BF]){0,14}") {
        run_every_cut(&SMALL, &StreamOptions::raw(), text.as_bytes());
    }

    #[test]
    fn the_stream_finds_what_a_search_of_the_decoded_text_finds(said in "(<[a-c]{1,6}@[a-c]{1,3}>|[0-9]~|[>?<@a-c.]){6,24}", url in any::<bool>(), padded in any::<bool>()) {
        let encoding = match (url, padded) {
            (false, true) => BASE64,
            (false, false) => BASE64_NOPAD,
            (true, true) => BASE64URL,
            (true, false) => BASE64URL_NOPAD,
        };
        let text = format!("\"{}\"", encoding.encode(said.as_bytes()));
        let (out, _, stop) = run(&SMALL, &StreamOptions::raw(), &[text.as_bytes()]);
        prop_assert_eq!(stop, None);
        let out = String::from_utf8(out).expect("UTF-8");
        // A mask that came before any character of the URL's alphabet is written in the other one.
        let out = if url { out.replace('+', "-").replace('/', "_") } else { out };
        prop_assert_eq!(says(&out, &encoding).replace(' ', ""), replaced(&said), "{}", said);
    }
}
