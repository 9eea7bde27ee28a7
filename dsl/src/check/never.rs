//! Rules that never act, and exceptions that relax nothing or all.

use super::conditions::{Place, all_protocols};
use super::lower::Analysed;
use super::names::Kind;
use super::search::{Answer, Ask};
use super::whole::{Whole, acts};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::policy::Relax;
use crate::policy::condition::{Cond, Truth};
use crate::syntax::tree::{Condition, Except, ItemKind, Span};

/// A part of what a rule asks for.
struct Part {
    unit: usize,
    span: Span,
    lowered: Cond,
    /// It must not hold.
    relaxes: bool,
}

fn together<'p>(parts: &[&'p Part]) -> Ask<'p> {
    let ask = |part: &&'p Part| match part.relaxes {
        true => Ask::Relaxes(&part.lowered).not(),
        false => Ask::Holds(&part.lowered),
    };
    Ask::All(parts.iter().map(ask).collect())
}

/// The scopes of a rule, of which one must hold: the first part of what was lowered.
fn scopes(rule: &Analysed<'_>) -> Cond {
    match &rule.lowered.holds {
        Cond::All(parts) => parts.first().cloned().unwrap_or(Cond::Const(Truth::True)),
        other => other.clone(),
    }
}

impl Whole<'_, '_> {
    /// Says which parts of a rule exclude each other.
    pub(crate) fn unreachable(&self, rule: &Analysed<'_>) {
        let parts = self.parts(rule);
        // The fewest that exclude each other: what the others do without is left out, in large pieces first.
        let mut left: Vec<&Part> = parts.iter().collect();
        let mut size = left.len();
        while size > 0 {
            let mut at = 0;
            while at < left.len() {
                let mut fewer = left.clone();
                fewer.drain(at..(at + size).min(left.len()));
                if !fewer.is_empty() && matches!(self.search.find(&together(&fewer)), Answer::No) {
                    left = fewer;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        let name = &rule.rule.name;
        let source = |unit: usize| &self.checker.loaded.units[unit].source;
        let relaxed = left.iter().any(|part| part.relaxes);
        let (message, help) = if relaxed {
            (
                format!("rule `{}` never acts: its `unless` holds whenever it would", name.value),
                "narrow the `unless`, or remove the rule",
            )
        } else {
            (
                format!("rule `{}` never acts: no request has all that it asks for", name.value),
                "change one of them, or remove the rule",
            )
        };
        let new = |unit, span| Diagnostic::new(source(unit), span, Code::Unreachable, &message).help(help);
        // The last one of the rule's own file is where people will look first.
        let Some(main) = left.iter().rposition(|part| part.unit == rule.unit) else {
            return self.checker.push(new(rule.unit, name.span.clone()));
        };
        let alone = left.len() == 1;
        let label = |part: &Part| match part.relaxes {
            true => "this always holds where the rule does",
            false if alone => "this never holds",
            false => "these exclude each other",
        };
        let mut diagnostic = new(left[main].unit, left[main].span.clone()).label(label(left[main]));
        for (_, part) in left.iter().enumerate().filter(|(index, _)| *index != main) {
            let label = match relaxed {
                true => "what the rule asks for",
                false => "this",
            };
            diagnostic = diagnostic.related(source(part.unit), part.span.clone(), label);
        }
        self.checker.push(diagnostic);
    }

    /// The parts of what a rule asks for, each with its place.
    fn parts(&self, rule: &Analysed<'_>) -> Vec<Part> {
        let decoded = self.search.setting.decoded;
        let mut parts = Vec::new();
        let mut add = |unit: usize, condition: &Condition, relaxes: bool| {
            let place = Place { unit, relaxing: relaxes, protocols: all_protocols(), decoded };
            let text = &self.checker.loaded.units[unit].source.text;
            let list = match condition {
                Condition::And(list) if !relaxes => list.iter().collect(),
                one => vec![one],
            };
            for one in list {
                let (span, lowered) = (extent(one, text), self.checker.condition(&place, one, false));
                parts.push(Part { unit, span, lowered, relaxes });
            }
        };
        let tree = rule.rule;
        if let [one] = &tree.scopes[..]
            && let Some((unit, last)) = self.checker.find(rule.unit, Kind::Scope, &one.value)
        {
            add(unit, &self.checker.names.tables[unit].scopes[last].condition, false);
        }
        if let Some(when) = &tree.when {
            add(rule.unit, when, false);
        }
        if let Some(unless) = &tree.unless {
            add(rule.unit, unless, true);
        }
        if let [first, .., last] = &tree.scopes[..] {
            let span = first.span.start..last.span.end;
            parts.insert(0, Part { unit: rule.unit, span, lowered: scopes(rule), relaxes: false });
        }
        parts
    }

    /// Conditions that relax a rule: each must relax something, and together they must not relax all.
    pub(crate) fn relaxed(&self, rule: &Analysed<'_>) {
        for relax in &rule.lowered.relaxed {
            let meets = Ask::All(vec![Ask::Holds(&rule.lowered.holds), Ask::Relaxes(&relax.condition)]);
            match self.search.find(&meets) {
                Answer::No => {}
                Answer::Yes(_) => continue,
                Answer::Unknown => {
                    self.unknown(rule, "whether what relaxes it ever does");
                    continue;
                }
            }
            let name = &rule.rule.name;
            let message = format!("this never relaxes rule `{}`: the two never hold together", name.value);
            let (unit, span) = match (&rule.rule.unless, relax.until) {
                (Some(unless), None) => (rule.unit, extent(unless, self.text(rule.unit))),
                _ => match self.except_of(rule, relax) {
                    Some((unit, except)) => (unit, extent(&except.when, self.text(unit))),
                    None => continue,
                },
            };
            let source = &self.checker.loaded.units[unit].source;
            let diagnostic = Diagnostic::new(source, span, Code::RelaxesNothing, message);
            let diagnostic = diagnostic.label("never true where the rule acts");
            self.checker.push(
                diagnostic
                    .related(&self.checker.loaded.units[rule.unit].source, name.span.clone(), "the rule")
                    .help("correct the condition, or remove it"),
            );
        }
        let exceptions: Vec<&Relax> = rule.lowered.relaxed.iter().filter(|relax| relax.until.is_some()).collect();
        if exceptions.is_empty() {
            return;
        }
        match self.search.find(&acts(rule)) {
            Answer::No => {}
            Answer::Yes(_) => return,
            Answer::Unknown => return self.unknown(rule, "whether its exceptions leave anything to it"),
        }
        for relax in exceptions {
            let Some((unit, except)) = self.except_of(rule, relax) else { continue };
            let source = &self.checker.loaded.units[unit].source;
            let name = &rule.rule.name;
            let message = format!(
                "rule `{}` never acts until {}: it is excepted from all that it is for",
                name.value, except.until.value
            );
            let span = extent(&except.when, &source.text);
            self.checker.push(
                Diagnostic::new(source, span, Code::SwitchedOff, message)
                    .label("holds wherever the rule would act")
                    .related(&self.checker.loaded.units[rule.unit].source, name.span.clone(), "the rule")
                    .help("narrow the exception to those who need it"),
            );
            return;
        }
    }

    /// Where an exception of a rule stands.
    fn except_of(&self, rule: &Analysed<'_>, relax: &Relax) -> Option<(usize, &Except)> {
        let given = self.checker.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given);
        let excepts = given.flat_map(|(unit, read)| {
            read.tree.items.iter().filter_map(move |item| match &item.kind {
                ItemKind::Except(except) => Some((unit, except)),
                _ => None,
            })
        });
        let mut of = excepts.filter(|(unit, except)| {
            let found = self.checker.find(*unit, Kind::Rule, &except.rule.value);
            found == Some((rule.unit, rule.rule.name.value.as_str()))
        });
        let at = rule.lowered.relaxed.iter().filter(|r| r.until.is_some()).position(|r| std::ptr::eq(r, relax))?;
        of.nth(at)
    }

    pub(crate) fn text(&self, unit: usize) -> &str {
        &self.checker.loaded.units[unit].source.text
    }
}

/// Where a condition stands, with the `not` before it.
pub(crate) fn extent(condition: &Condition, text: &str) -> Span {
    match condition {
        Condition::And(parts) | Condition::Or(parts) => {
            let start = parts.first().map_or(0, |part| extent(part, text).start);
            start..parts.last().map_or(start, |part| extent(part, text).end)
        }
        Condition::Not(inner) => {
            let inner = extent(inner, text);
            let before = text[..inner.start].trim_end_matches([' ', '\t', '\r', '\n', '(']);
            let start = before.strip_suffix("not").map_or(inner.start, str::len);
            start..inner.end
        }
        Condition::Field(field) => {
            let end = field.path.as_ref().map_or(field.name.span.end, |path| path.span.end + 1);
            field.name.span.start..end.min(text.len())
        }
        Condition::Compare { field, value, .. } => field.name.span.start..value.span().end,
    }
}
