//! One style for all rules. White space means nothing in the language, so the tokens alone decide the layout; comments stay
//! on their line or at the end of the one they stood on.

use crate::diagnostic::{Diagnostic, Source};
use crate::syntax::{Token, TokenKind, parse, tokens};
use std::collections::BTreeSet;

/// A line is broken where it would be longer, in characters.
const WIDTH: usize = 120;
/// The words that start a line in a rule, an exception or a test.
const CLAUSES: &[&str] =
    &["meta", "mode", "on", "when", "unless", "match", "limit", "then", "priority", "until", "given", "send", "expect"];

/// The text in the one style, every comment kept. Formatting twice changes nothing more.
///
/// # Errors
/// What is wrong with the syntax, if anything is, at places of a file called `<text>`.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(&Source { path: "<text>".to_owned(), text: source.to_owned() });
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let starts = parsed.file.items.iter().map(|item| item.span.start).collect();
    let mut printer = Printer { source, starts, out: String::new(), column: 0, braces: 0, brackets: 0, clauses: false };
    let mut newlines = 0;
    let mut previous: Option<&Token> = None;
    let all = tokens(source);
    for token in &all {
        if token.kind == TokenKind::Blank {
            newlines = source[token.span.clone()].matches('\n').count();
            continue;
        }
        printer.token(token, previous, newlines);
        newlines = 0;
        previous = Some(token);
    }
    let mut out = printer.out;
    if !out.is_empty() {
        out.push('\n');
    }
    Ok(out)
}

struct Printer<'s> {
    source: &'s str,
    starts: BTreeSet<usize>,
    out: String,
    column: usize,
    braces: usize,
    brackets: usize,
    /// True in an item whose clauses have lines of their own.
    clauses: bool,
}

impl Printer<'_> {
    fn text(&self, token: &Token) -> &str {
        self.source[token.span.clone()].trim_end_matches('\r')
    }

    fn token(&mut self, token: &Token, previous: Option<&Token>, newlines: usize) {
        let text = self.text(token).to_owned();
        let is_start = self.starts.contains(&token.span.start);
        let closing = token.kind == TokenKind::Symbol && text == "}";
        if is_start {
            (self.braces, self.brackets) = (0, 0);
            self.clauses = matches!(text.as_str(), "rule" | "except" | "test");
        }
        if closing {
            self.braces = self.braces.saturating_sub(1);
        }
        if token.kind == TokenKind::Symbol && matches!(text.as_str(), "]" | ")") {
            self.brackets = self.brackets.saturating_sub(1);
        }
        if let Some(previous) = previous {
            let after_comment = previous.kind == TokenKind::Comment;
            let own_line = token.kind == TokenKind::Comment && newlines > 0;
            let top = self.braces == 0 && self.brackets == 0;
            let clause = self.clauses && self.braces == 1 && self.brackets == 0 && CLAUSES.contains(&text.as_str());
            let end = self.clauses && closing && self.braces == 0;
            if is_start || own_line || after_comment || clause || end {
                if newlines > 1 && top && (is_start || own_line) {
                    self.out.push('\n');
                }
                let inner =
                    self.braces + usize::from(self.brackets > 0 || !(is_start || own_line || clause || end || closing));
                self.line(if is_start { 0 } else { inner });
            } else if self.spaced(token, previous) {
                let breakable = self.text(previous) == "," || matches!(text.as_str(), "and" | "or");
                let width = text.chars().count();
                if breakable && token.kind != TokenKind::Comment && self.column + 1 + width > WIDTH - 2 {
                    self.line(self.braces + 1);
                } else {
                    self.push(" ");
                }
            }
        }
        let shown = if token.kind == TokenKind::Comment { text.trim_end() } else { &text };
        self.push(shown);
        if token.kind == TokenKind::Symbol {
            match text.as_str() {
                "{" => self.braces += 1,
                "[" | "(" => self.brackets += 1,
                _ => {}
            }
        }
    }

    fn spaced(&self, token: &Token, previous: &Token) -> bool {
        let (text, before) = (self.text(token), self.text(previous));
        let symbol = |token: &Token| token.kind == TokenKind::Symbol;
        if symbol(previous) && matches!(before, "(" | "[") || symbol(token) && matches!(text, "," | ")" | "]" | ":") {
            return false;
        }
        let call = previous.kind == TokenKind::Word && !matches!(before, "and" | "or" | "not" | "when" | "unless");
        !(symbol(token) && text == "(" && call)
    }

    fn line(&mut self, indent: usize) {
        self.out.push('\n');
        self.column = 0;
        self.push(&"  ".repeat(indent));
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column = match text.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => self.column + text.chars().count(),
        };
    }
}
