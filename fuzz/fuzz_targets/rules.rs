//! The rule language: any text is read without a panic, messages stay few and point into the text, the formatter keeps
//! what a text says and changes nothing twice, rules without an error are rules in force, and no fix takes that away.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_dsl::syntax::tree::{ImportSource, ItemKind, PatternBody};
use sluice_dsl::syntax::{TokenKind, parse, tokens};
use sluice_dsl::{
    Applicability, Code, CompileOptions, RequestFacts, SessionFacts, Severity, Source, compile_source, fix::fix,
    format::format,
};
use std::sync::LazyLock;

static OPTIONS: LazyLock<CompileOptions> = LazyLock::new(CompileOptions::for_tests);

fuzz_target!(|text: &str| {
    let parsed = parse(&Source { path: "fuzz.rules".into(), text: text.into() });
    let tokens = tokens(text);
    let whole = tokens.iter().fold(0, |at, token| if token.span.start == at { token.span.end } else { usize::MAX });
    assert_eq!(whole, text.len(), "the tokens are not the text");
    let words = tokens.iter().filter(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment)).count();
    // Forbidden characters are told up to twenty times, also in comments.
    assert!(parsed.diagnostics.len() <= 20 + 2 * words, "{} messages on {words} words", parsed.diagnostics.len());

    match format(text) {
        Ok(once) => {
            assert!(parsed.diagnostics.is_empty(), "formatted what can't be read");
            if once != text {
                assert_eq!(format(&once).as_deref(), Ok(once.as_str()), "formatting twice");
                let again = parse(&Source { path: "fuzz.rules".into(), text: once });
                assert_eq!(placeless(&again.file), placeless(&parsed.file), "the formatter changed what is said");
            }
        }
        Err(diagnostics) => assert_eq!(diagnostics.len(), parsed.diagnostics.len()),
    }

    if parsed.file.items.iter().any(|item| is_costly(&item.kind)) {
        return;
    }
    let compilation = compile_source("fuzz.rules", text, &OPTIONS);
    let diagnostics = &compilation.diagnostics;
    assert!(diagnostics.len() <= 40 + 8 * words, "{} messages on {words} words", diagnostics.len());
    let mut errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).peekable();
    assert_eq!(compilation.policy.is_some(), errors.peek().is_none(), "neither a policy nor an error, or both");
    // Only the size of an automaton is not known before it is built.
    let refused = errors.any(|d| d.code == Code::Build && !d.message.contains("too large an automaton"));
    assert!(!refused, "the engine refused what the checker let by: {}", compilation.render(false));
    let _ = compilation.render(true);
    for diagnostic in diagnostics {
        let source = compilation.sources.iter().find(|source| source.path == diagnostic.path);
        let text = source.map_or("", |source| &source.text);
        for fix in &diagnostic.fixes {
            let mut at = 0;
            for edit in &fix.edits {
                assert!(at <= edit.span.start && text.get(edit.span.clone()).is_some(), "{fix:?}");
                at = edit.span.end;
            }
        }
    }
    if diagnostics.iter().any(|d| !d.fixes.is_empty()) {
        let usable = compilation.policy.is_some();
        for most in [Applicability::Safe, Applicability::Suggested] {
            for file in fix(&compilation, &OPTIONS, most).files {
                assert_ne!(file.before, file.after);
                let mended = compile_source(&file.path, &file.after, &OPTIONS);
                assert!(mended.policy.is_some() || !usable, "a fix broke rules that could be used");
            }
        }
    }
    if let Some(policy) = &compilation.policy {
        let session = policy.specialise(&SessionFacts::default());
        let request = RequestFacts::default();
        let _ = (session.decide(&request), session.request_rules(&request), session.response_rules(&request));
    }
});

/// Not compiled here: an import of a file, which would read this machine's files, and a pattern with a large count, whose
/// automaton may take seconds to be found too large.
fn is_costly(item: &ItemKind) -> bool {
    let large =
        |text: &str| text.contains('{') && text.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_digit));
    match item {
        ItemKind::Import(import) => matches!(import.source, ImportSource::File(_)),
        ItemKind::Pattern(pattern) => matches!(&pattern.body, PatternBody::Regex(text) if large(&text.value)),
        _ => false,
    }
}

/// What a tree says, without the places where it is said.
fn placeless(tree: &impl std::fmt::Debug) -> String {
    let shown = format!("{tree:?}");
    let mut out = String::with_capacity(shown.len());
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("..") {
        let before = rest[..at].trim_end_matches(|c: char| c.is_ascii_digit());
        let after = rest[at + 2..].trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(before);
        out.push_str("..");
        rest = after;
    }
    out + rest
}
