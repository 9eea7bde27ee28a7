//! Patterns that the engine can't look for by their rare parts.

use super::Checker;
use crate::codes::Code;
use crate::syntax::tree::{ItemKind, Match};
use sluice_engine::{Matcher, PatternId, PatternSpec, Program};

/// Those of the patterns of a program that are searched for in text without a prefilter.
pub(super) fn without(program: &Program, patterns: Vec<(PatternSpec, PatternId)>) -> Vec<PatternSpec> {
    let text = |spec: &PatternSpec| matches!(spec.matcher, Matcher::Regex(_) | Matcher::Words { .. });
    patterns.into_iter().filter(|(spec, id)| text(spec) && !program.prefilter(*id)).map(|(spec, _)| spec).collect()
}

impl Checker<'_> {
    /// Tells the patterns of the given files that are among these.
    pub(super) fn unfiltered(&self, unfiltered: &[PatternSpec]) {
        if unfiltered.is_empty() {
            return;
        }
        for (unit, read) in self.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given) {
            for item in &read.tree.items {
                let ItemKind::Pattern(pattern) = &item.kind else { continue };
                let specs = self.matching(unit, &Match::Pattern(pattern.name.clone()));
                if specs.iter().any(|spec| unfiltered.contains(spec)) {
                    let message = format!("pattern `{}` has no prefilter", pattern.name.value);
                    self.error(unit, &pattern.name.span, Code::NoPrefilter, message, |mut found| {
                        found.label = "every byte that can begin a match is tried".into();
                        found.help("let each match hold a part that is rare in text: a word, a sign such as `@`, a run of digits")
                    });
                }
            }
        }
    }
}
