//! Patterns whose matches begin with many bytes of one set, and have nothing else that is rare: found by passing over text.

mod cuts;

use cuts::{run, run_every_cut};
use proptest::prelude::*;
use regex_automata::meta::Regex;
use sluice_engine::{Action, Format, Mask, PatternSpec, Program, RuleSpec, StreamOptions, Vectors};
use std::sync::LazyLock;

/// Key-like: of one length between what is no word, of several lengths, of two sets with something behind.
const SOURCES: [&str; 3] = [r"\b[a-c/]{24}\b", "[a-d0-3]{20,30}!?", "[a-m]{4}[a-z]{16}(?:-[0-9])?"];

static PROGRAMS: LazyLock<Vec<(Program, Regex)>> = LazyLock::new(|| {
    let of = |source: &'static str, vectors: Vectors| {
        let mut builder = Program::builder();
        builder.vectors(vectors);
        let key = builder.pattern(PatternSpec::regex("key", source)).expect("valid");
        builder.rule(RuleSpec::new("key", Action::Mask(Mask::redact("#")), [key]));
        let program = builder.build().expect("valid");
        assert!(program.prefilter(key), "{source} is found by its first bytes");
        (program, Regex::new(&source.replace(r"\b", r"(?-u:\b)")).expect("valid"))
    };
    SOURCES.into_iter().flat_map(|source| Vectors::available().iter().map(move |v| of(source, *v))).collect()
});

/// Runs of letters as long as a key, a little shorter and a little longer, with what stands between them.
fn texts() -> impl Strategy<Value = String> {
    let run = (prop::sample::select(vec!["[a-c]", "[a-c/]", "[b-d]", "[a-d0-3]", "[b-z]"]), 10..34usize);
    let run = run.prop_flat_map(|(set, len)| prop::string::string_regex(&format!("{set}{{{len}}}")).expect("valid"));
    let between = prop::string::string_regex("[ -~]{0,3}|[0-9]{2}|!").expect("valid");
    prop::collection::vec((between, run), 0..6).prop_map(|parts| parts.into_iter().flat_map(|(a, b)| [a, b]).collect())
}

proptest! {
    #[test]
    fn they_are_found_where_a_plain_matcher_finds_them_under_every_cut(text in texts()) {
        prop_assume!(!text.contains('%'));
        for (program, regex) in PROGRAMS.iter() {
            let plain = regex.find_iter(&text).fold((String::new(), 0), |(out, from), found| {
                (out + &text[from..found.start()] + "#", found.end())
            });
            let plain = plain.0 + &text[plain.1..];
            let (out, _, stop) = run_every_cut(program, &StreamOptions::raw(), text.as_bytes());
            prop_assert_eq!(stop, None);
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), plain);
        }
    }

    #[test]
    fn in_strings_of_json_too_with_and_without_escapes(text in texts(), other in texts()) {
        let document = serde_json::to_string(&serde_json::json!({ &other: [text, 12, format!("\n{other}\n{text}")] }));
        let document = document.expect("a document");
        for (program, _) in PROGRAMS.iter() {
            let (_, _, stop) = run_every_cut(program, &StreamOptions::format(Format::Json), document.as_bytes());
            prop_assert_eq!(stop, None);
        }
    }
}

#[test]
fn a_key_is_found_at_every_place_of_a_text() {
    let (program, _) = &PROGRAMS[0];
    let key = "abcabcabc/abcabcabcabcab";
    for place in 0..300 {
        let text = format!("{}{} {key} {}", "abc ".repeat(place / 4), "c".repeat(place % 4), "abcabc ".repeat(20));
        let (out, _, _) = run(program, &StreamOptions::raw(), &[text.as_bytes()]);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), text.replace(key, "#"));
        let json = format!(r#"{{"a":"\n{key}","b":"{key}","c":"x\t{text}"}}"#);
        let (out, _, _) = run(program, &StreamOptions::format(Format::Json), &[json.as_bytes()]);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), json.replace(key, "#"));
    }
}
