//! Patterns: from the tree to what the engine searches for, with the engine's own check.

use super::Checker;
use super::names::Kind;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::fields::nearest;
use crate::syntax::tree::{ItemKind, Match, Name, Pattern, PatternBody, Span};
use sluice_engine::{JsonPath, Matcher, Near, PatternError, PatternSpec, Validator};

impl Checker<'_> {
    /// Checks every pattern of every given file, used or not.
    pub(crate) fn check_patterns(&self) {
        for (unit, read) in self.loaded.units.iter().enumerate().filter(|(_, u)| u.given) {
            for item in &read.tree.items {
                match &item.kind {
                    ItemKind::Pattern(pattern) => {
                        self.pattern(unit, &pattern.name.value, &mut Vec::new());
                    }
                    ItemKind::List(list) => {
                        self.texts(unit, &list.values);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What `match` searches for. None and an error where something is wrong.
    pub(crate) fn matching(&self, unit: usize, matching: &Match) -> Vec<PatternSpec> {
        match matching {
            Match::Pattern(name) => self.patterns_named(unit, name),
            Match::Json(path) => match JsonPath::parse(&path.value) {
                Ok(steps) => vec![PatternSpec::new(format!("json {}", path.value), Matcher::Json(steps))],
                Err(message) => {
                    self.error(unit, &path.span, Code::Path, message, |d| d.help("write it as in `$.customer.*.name`"));
                    Vec::new()
                }
            },
            Match::Column(values) => {
                let columns = self.texts(unit, values);
                if columns.is_empty() {
                    return Vec::new();
                }
                vec![PatternSpec::new(format!("column {}", columns.join("|")), Matcher::Column(columns))]
            }
        }
    }

    fn patterns_named(&self, unit: usize, name: &Name) -> Vec<PatternSpec> {
        // `any` of a pack is all of its patterns, unless it has one of that name.
        if name.value.ends_with(".any")
            && self.find(unit, Kind::Pattern, &name.value).is_none()
            && let Some((target, _)) = self.split(unit, &name.value)
        {
            let table = &self.names.tables[target];
            for pattern in table.patterns.keys() {
                self.used.borrow_mut().insert((target, "pattern", (*pattern).to_owned()));
            }
            if table.patterns.is_empty() {
                self.error(unit, &name.span, Code::UnknownName, format!("`{}` has no patterns", name.value), |d| {
                    d.help("name a pattern of another file or pack")
                });
            }
            return table.patterns.keys().filter_map(|p| self.pattern(target, p, &mut Vec::new())).collect();
        }
        let found = self.resolve(unit, Kind::Pattern, name);
        found.and_then(|(target, last)| self.pattern(target, last, &mut Vec::new())).into_iter().collect()
    }

    fn pattern(&self, unit: usize, name: &str, path: &mut Vec<(usize, String)>) -> Option<PatternSpec> {
        let pattern = *self.names.tables[unit].patterns.get(name)?;
        if path.contains(&(unit, name.to_owned())) {
            let message = format!("pattern `{name}` is defined by itself");
            self.error(unit, &pattern.name.span, Code::Cycle, message, |d| {
                let around = path.iter().rev().take_while(|(u, n)| (*u, n.as_str()) != (unit, name));
                let d = around.fold(d, |d, (unit, name)| {
                    let place = self.names.tables[*unit].patterns.get(name.as_str()).map(|p| p.name.span.clone());
                    place.map_or(d.clone(), |place| {
                        d.related(&self.loaded.units[*unit].source, place, "the circle goes through this one")
                    })
                });
                d.help("let one of the patterns in the circle be a `/regular expression/` or `words […]`")
            });
            return None;
        }
        let (mut spec, span) = match &pattern.body {
            PatternBody::Regex(regex) => (PatternSpec::regex("", regex.value.clone()), regex.span.clone()),
            PatternBody::Words(values) => {
                let words = self.texts(unit, values);
                let matcher = Matcher::Words { words, nocase: pattern.nocase.is_some() };
                (PatternSpec::new("", matcher), pattern.name.span.clone())
            }
            PatternBody::Detect(base) => {
                path.push((unit, name.to_owned()));
                let (target, last) = self.resolve(unit, Kind::Pattern, base)?;
                let spec = self.pattern(target, last, path)?;
                path.pop();
                (spec, base.span.clone())
            }
        };
        if let Some(nocase) = &pattern.nocase
            && !matches!(pattern.body, PatternBody::Words(_))
        {
            self.error(unit, nocase, Code::Regex, "`nocase` is for `words`", |d| {
                let d = d.help("in a regular expression write `(?i:…)`");
                match &pattern.body {
                    PatternBody::Regex(regex) => {
                        let (open, close) = (regex.span.start + 1, regex.span.end - 1);
                        let fix = Fix::new("write `(?i:…)`", Applicability::Safe, open..open, "(?i:");
                        d.fix(fix.and(close..close, ")").and(nocase.clone(), ""))
                    }
                    _ => d,
                }
            });
        }
        let read = &self.loaded.units[unit];
        spec.name = if read.named { format!("{}.{name}", read.pack) } else { name.to_owned() };
        for validate in &pattern.validators {
            match Validator::named(&validate.name.value, validate.argument.as_ref().map(|a| a.value)) {
                Some(validator) => spec.validators.push(validator),
                None => {
                    let usage = Validator::NAMES.iter().map(|(_, usage)| *usage).collect::<Vec<_>>().join(", ");
                    let near = nearest(&validate.name.value, Validator::NAMES.iter().map(|(name, _)| *name));
                    let message = format!("unknown validator `{}`", validate.name.value);
                    let message = if Validator::NAMES.iter().any(|(n, _)| *n == validate.name.value) {
                        format!("the argument of validator `{}` doesn't fit", validate.name.value)
                    } else {
                        message
                    };
                    let near = near.filter(|near| *near != validate.name.value);
                    self.error(unit, &validate.name.span, Code::Validator, message, |d| {
                        d.meant(near, &validate.name.span, format!("the validators are {usage}"))
                    });
                }
            }
        }
        if let Some(near) = &pattern.near {
            let within = usize::try_from(near.within.value).unwrap_or(usize::MAX);
            if within > 64 * 1024 {
                let message = format!("a window of {within} bytes is over the cap of 64KiB");
                self.error(unit, &near.within.span, Code::TooLong, message, |d| d.help("write `within 64KiB` or less"));
            }
            spec.near = Some(Near { words: self.texts(unit, &near.words), within });
        }
        // A pattern that another one detects keeps what it asks.
        spec.base64 |= pattern.base64.is_some();
        if let Some(max) = &pattern.max {
            spec.max = Some(usize::try_from(max.value).unwrap_or(usize::MAX));
        }
        match spec.check() {
            Ok(_) => Some(spec),
            Err(error) => {
                self.pattern_error(unit, pattern, &span, &error);
                None
            }
        }
    }

    fn pattern_error(&self, unit: usize, pattern: &Pattern, span: &Span, error: &PatternError) {
        let regex = matches!(pattern.body, PatternBody::Regex(_));
        let (code, span, help) = match error {
            PatternError::Syntax { span: inner, .. } if regex => {
                // Past the opening slash.
                let start = (span.start + 1 + inner.start).min(span.end);
                (
                    Code::Regex,
                    start..(span.start + 1 + inner.end).clamp(start, span.end),
                    "the syntax is that of the `regex` crate, without look-around",
                )
            }
            PatternError::Unbounded => (
                Code::Unbounded,
                span.clone(),
                "bound each `*` and `+`, as in `{0,40}`, or declare a maximum: `max 8KiB`",
            ),
            PatternError::MatchesEmpty => (Code::MatchesEmpty, span.clone(), "let it need one character at least"),
            PatternError::TooLong { .. } => {
                let declared = pattern.max.as_ref().map(|max| max.span.clone());
                (
                    Code::TooLong,
                    declared.unwrap_or_else(|| span.clone()),
                    "bound it closer, or declare `max 64KiB` or less",
                )
            }
            PatternError::NoWords => (Code::Words, span.clone(), "give at least one word"),
            _ => (Code::Regex, span.clone(), "write it with ASCII classes, such as `[a-z]` and `\\b`"),
        };
        let bound = matches!(error, PatternError::Unbounded).then(|| {
            let end = span.end..span.end;
            Fix::new("declare `max 8KiB`", Applicability::Suggested, end, " max 8KiB")
        });
        self.error(unit, &span, code, error.to_string(), |d| bound.into_iter().fold(d.help(help), Diagnostic::fix));
    }
}
