//! What the checker says: a code, a place, a sentence, a help.

use crate::codes::Code;
use crate::syntax::tree::Span;
use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::collections::HashMap;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, PartialOrd, Ord, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rules can't be used.
    Error,
    /// The rules can be used, but probably not as meant.
    Warning,
}

/// Whether a [`Fix`] may be applied unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, PartialOrd, Ord, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Applicability {
    /// It is certainly what is meant, and no decision of rules that are right today changes. `rulec check --fix` applies it.
    Safe,
    /// It is probably what is meant; a person looks at it first. `rulec check --fix --suggested` applies it too.
    Suggested,
}

/// A change to the file of a message that mends what the message is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Fix {
    /// What it does, as a menu would call it: lower case, no full stop.
    pub title: String,
    /// Whether a person must look.
    pub applicability: Applicability,
    /// The edits, in the order of their places; none overlaps another. All or none are applied.
    pub edits: Vec<Edit>,
}

/// The replacement of one stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Edit {
    /// What is replaced, in bytes of the file; empty: the text is inserted there. Both ends are on characters.
    pub span: Span,
    /// What comes in its place; empty: it is removed.
    pub text: String,
}

impl Fix {
    /// A fix of one edit.
    #[must_use]
    pub fn new(title: impl Into<String>, applicability: Applicability, span: Span, text: impl Into<String>) -> Self {
        Self { title: title.into(), applicability, edits: vec![Edit { span, text: text.into() }] }
    }

    /// The same, with one edit more, wherever it stands.
    #[must_use]
    pub fn and(mut self, span: Span, text: impl Into<String>) -> Self {
        self.edits.push(Edit { span, text: text.into() });
        self.edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        self
    }
}

/// Another place that a message is about: the first of two definitions, the rule that is stronger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Related {
    /// The file; it may be another than the message's.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The place in bytes of that file.
    pub span: Span,
    /// What stands there.
    pub label: String,
}

/// One message. Serialised, it is an object with `code`, `name`, `severity`, `path`, `line`, `column`, `span`, `message`, and
/// where there are any `label`, `help`, `related` and `fixes`.
#[derive(Clone, Debug, Serialize, PartialEq, schemars::JsonSchema)]
pub struct Diagnostic {
    /// What kind of message.
    #[serde(serialize_with = "code_id")]
    #[schemars(with = "String")]
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
    /// The other places that are involved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// What would mend it, the best first. They are alternatives: one of them is applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn code_id<S: serde::Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(code.id())
}

impl Diagnostic {
    /// A message about a place in a file; as bad as its code says. Its line and column are told when a file or a rule set has
    /// been checked, for all messages of a file in one go.
    #[must_use]
    pub fn new(source: &Source, span: Span, code: Code, message: impl Into<String>) -> Self {
        let (path, message, line, column) = (source.path.clone(), message.into(), 0, 0);
        let (name, severity) = (code.name(), code.severity());
        let (label, help, related, fixes) = (String::new(), None, Vec::new(), Vec::new());
        Self { code, name, severity, path, line, column, span, message, label, help, related, fixes }
    }

    /// A message about no file.
    #[must_use]
    pub fn placeless(code: Code, message: impl Into<String>) -> Self {
        let source = Source { path: String::new(), text: String::new() };
        Self::new(&source, 0..0, code, message)
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

    /// The same, with another place that is involved.
    #[must_use]
    pub fn related(mut self, source: &Source, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Related { path: source.path.clone(), line: 0, column: 0, span, label: label.into() });
        self
    }

    /// The same, with the name that was probably meant, offered as a fix of what stands at `span`; without one, with
    /// another help.
    #[must_use]
    pub fn meant(self, near: Option<&str>, span: &Span, otherwise: impl Into<String>) -> Self {
        match near {
            Some(near) => self.help(format!("did you mean `{near}`?")).fix(Fix::new(
                format!("write `{near}`"),
                Applicability::Suggested,
                span.clone(),
                near,
            )),
            None => self.help(otherwise),
        }
    }

    /// The same, with a way to mend it.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
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

/// Fills in lines and columns of what is said about these files. Takes time linear in their text, however much is said.
pub(crate) fn locate<'s>(diagnostics: &mut [Diagnostic], sources: impl Iterator<Item = &'s Source>) {
    let mut by_path: HashMap<String, Vec<(usize, &mut usize, &mut usize)>> = HashMap::new();
    for diagnostic in diagnostics {
        for related in &mut diagnostic.related {
            let place = (related.span.start, &mut related.line, &mut related.column);
            by_path.entry(related.path.clone()).or_default().push(place);
        }
        let place = (diagnostic.span.start, &mut diagnostic.line, &mut diagnostic.column);
        by_path.entry(diagnostic.path.clone()).or_default().push(place);
    }
    for source in sources.filter(|source| !source.path.is_empty()) {
        let Some(mut places) = by_path.remove(&source.path) else { continue };
        places.sort_by_key(|(at, ..)| *at);
        let (mut done, mut line, mut start) = (0, 1, 0);
        for (at, to_line, to_column) in places {
            let mut at = at.min(source.text.len());
            while !source.text.is_char_boundary(at) {
                at -= 1;
            }
            let passed = &source.text[done..at];
            line += passed.matches('\n').count();
            start = passed.rfind('\n').map_or(start, |newline| done + newline + 1);
            done = at;
            (*to_line, *to_column) = (line, source.text[start..at].chars().count() + 1);
        }
    }
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
        group = places(diagnostic, sources).into_iter().fold(group, Group::element);
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let _ = writeln!(out, "{}\n", renderer.render(&[group]));
    }
    out
}

/// A place that a message marks in a file: how, where, its line and what is said there.
type Mark<'a> = (AnnotationKind, &'a Span, usize, &'a str);

/// A longer stretch of a file isn't laid out for a message.
const MOST_SHOWN: usize = 64 * 1024;

/// The places of a message: its own file first, then the other files that are involved.
fn places<'a>(diagnostic: &'a Diagnostic, sources: &'a [Arc<Source>]) -> Vec<Element<'a>> {
    let mut paths = vec![diagnostic.path.as_str()];
    for related in &diagnostic.related {
        if !paths.contains(&related.path.as_str()) {
            paths.push(&related.path);
        }
    }
    let mut out = Vec::new();
    for (index, path) in paths.into_iter().enumerate() {
        let Some(source) = sources.iter().find(|s| s.path == path) else { continue };
        let mut marks: Vec<Mark<'_>> = Vec::new();
        if index == 0 {
            marks.push((AnnotationKind::Primary, &diagnostic.span, diagnostic.line, &diagnostic.label));
        }
        for related in diagnostic.related.iter().filter(|related| related.path == path) {
            marks.push((AnnotationKind::Context, &related.span, related.line, &related.label));
        }
        let first = marks[0];
        let shown = snippet(source, &marks).or_else(|| snippet(source, &marks[..1]));
        let place = || Origin::path(path).line(first.2).char_column(if index == 0 { diagnostic.column } else { 1 });
        out.push(shown.map_or_else(|| place().into(), Element::from));
    }
    out
}

/// The lines with these marks and those between them; None where that is too much to show.
fn snippet<'a>(source: &'a Source, marks: &[Mark<'a>]) -> Option<Snippet<'a, Annotation<'a>>> {
    let text = source.text.as_str();
    let first = marks.iter().min_by_key(|(_, span, ..)| span.start)?;
    let within = |at: usize| {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = within(first.1.start);
    let start = text[..from].rfind('\n').map_or(0, |newline| newline + 1);
    let last = within(marks.iter().map(|(_, span, ..)| span.end).max()?).max(from);
    let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
    if end - start > MOST_SHOWN {
        return None;
    }
    let marks = marks.iter().map(|(kind, span, _, label)| {
        let begin = within(span.start).max(start);
        let place = begin - start..within(span.end).max(begin) - start;
        if label.is_empty() { kind.span(place) } else { kind.span(place).label(*label) }
    });
    Some(Snippet::source(&text[start..end]).line_start(first.2.max(1)).path(source.path.as_str()).annotations(marks))
}
