//! What the checker says: a code, a place, a sentence, a help.

use crate::codes::Code;
use crate::syntax::tree::Span;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// A file that was read, for messages and for the tools.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it was read from; `<std.pii>` for a pack that is part of this program.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rules can't be used.
    Error,
    /// The rules can be used, but probably not as meant.
    Warning,
}

/// One message. Serialised, it is an object with `code`, `name`, `severity`, `path`, `line`, `column`, `message`, `help`.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Diagnostic {
    /// What kind of message.
    #[serde(serialize_with = "code_id")]
    pub code: Code,
    /// Its name in words.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file; empty where the message is about none.
    pub path: String,
    /// The line, from 1; 0 where there is no place.
    pub line: usize,
    /// The column in characters, from 1; 0 where there is no place.
    pub column: usize,
    /// The place in bytes of the file.
    pub span: Span,
    /// One sentence, lower case.
    pub message: String,
    /// What stands at the place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn code_id<S: serde::Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(code.id())
}

impl Diagnostic {
    /// A message about a place in a file; as bad as its code says.
    #[must_use]
    pub fn new(source: &Source, span: Span, code: Code, message: impl Into<String>) -> Self {
        let (line, column) = line_column(&source.text, span.start);
        let (path, message) = (source.path.clone(), message.into());
        let (name, severity) = (code.name(), code.severity());
        Self { code, name, severity, path, line, column, span, message, label: String::new(), help: None }
    }

    /// A message about no file.
    #[must_use]
    pub fn placeless(code: Code, message: impl Into<String>) -> Self {
        let source = Source { path: String::new(), text: String::new() };
        Self { line: 0, column: 0, ..Self::new(&source, 0..0, code, message) }
    }

    /// The same, with words at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same, with a help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The line and the column in characters of a byte, both from 1.
#[must_use]
pub fn line_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// Renders messages with the lines they speak of. Sources are found by path.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &[Arc<Source>], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code.id())
            .elements(Vec::<annotate_snippets::Padding>::new());
        if let Some(source) = sources.iter().find(|s| s.path == diagnostic.path) {
            let mut span = diagnostic.span.clone();
            span.end = span.end.min(source.text.len()).max(span.start.min(source.text.len()));
            span.start = span.start.min(span.end);
            let mark = AnnotationKind::Primary.span(span);
            let mark = if diagnostic.label.is_empty() { mark } else { mark.label(diagnostic.label.as_str()) };
            group = group.element(Snippet::source(source.text.as_str()).path(source.path.as_str()).annotation(mark));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let _ = writeln!(out, "{}\n", renderer.render(&[group]));
    }
    out
}
