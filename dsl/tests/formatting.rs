//! The formatter keeps every comment and changes nothing twice; the parser survives every input.

use proptest::prelude::*;
use sluice_dsl::Source;
use sluice_dsl::format::format;
use sluice_dsl::syntax::{TokenKind, parse, tokens};

const EXAMPLE: &str = include_str!("fixtures/payments_with_limit.rules");

fn meaning(text: &str) -> Vec<String> {
    let kept = tokens(text).into_iter().filter(|t| t.kind != TokenKind::Blank);
    kept.map(|t| text[t.span].trim_end().to_owned()).collect()
}

fn holds(text: &str) {
    if let Ok(once) = format(text) {
        assert_eq!(meaning(&once), meaning(text), "something was lost");
        assert_eq!(format(&once).as_deref(), Ok(once.as_str()), "not idempotent");
    }
}

#[test]
fn the_example_keeps_all_and_formats_the_same_twice() {
    assert!(format(EXAMPLE).is_ok());
    holds(EXAMPLE);
}

#[test]
fn a_rule_on_one_line_gets_a_line_for_each_clause() {
    let text = "language 1\nrule   a{on request when not(target==\"x\")and size>1KiB then block} # why\n";
    let shown =
        "language 1\nrule a {\n  on request\n  when not (target == \"x\") and size > 1KiB\n  then block\n} # why\n";
    assert_eq!(format(text).as_deref(), Ok(shown));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for open in ["(", "[", "{", "not "] {
        let text = format!("rule a {{ on request when {}", open.repeat(100_000));
        let parsed = parse(&Source { path: "t".into(), text });
        assert!(!parsed.diagnostics.is_empty());
    }
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in "\\PC{0,200}") {
        let _ = parse(&Source { path: "t".into(), text: text.clone() });
        holds(&text);
    }

    #[test]
    fn no_mixture_of_words_panics_the_parser(
        words in prop::collection::vec(prop::sample::select(vec![
            "rule", "a", "{", "}", "(", ")", "[", "]", ",", "\"", "\"x\"", "/", "/a/", "#", "# c\n", "\n", "on request", "when",
            "not", "and", "or", "target", "==", "then block", "match", "list", "=", "pattern", "1KiB", "10m", "\0", "\u{202e}", "\\",
            "\"\\u{110000}\"", "999999999999999999999999", "language 1\n", "except", "until 2026-02-30", "test",
        ]), 0..60),
    ) {
        let text = words.join(" ");
        let _ = parse(&Source { path: "t".into(), text: text.clone() });
        holds(&text);
    }

    #[test]
    fn a_cut_or_changed_example_panics_nothing(at in 0..EXAMPLE.len(), len in 0_usize..40, with in "[\\[\\](){}\"/#\n a-z]{0,6}") {
        let end = (at + len).min(EXAMPLE.len());
        let text = format!("{}{with}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        let _ = parse(&Source { path: "t".into(), text: text.clone() });
        holds(&text);
    }
}
