//! How far patterns reach, for tools that ask about one rule or pattern and not for a verdict.

use super::Checker;
use super::names::Names;
use crate::CompileOptions;
use crate::load::Loaded;
use crate::syntax::tree::{Match, Name, Rule, Spanned};
use sluice_engine::{HoldBack, PatternSpec};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// What a stream is held back by a pattern of a file. None where the pattern has an error, or there is none.
pub(crate) fn of_pattern(loaded: &Loaded, options: &CompileOptions, unit: usize, name: &str) -> Option<HoldBack> {
    let name: Name = Spanned::new(name.to_owned(), 0..0);
    hold_back(&with_checker(loaded, options, |checker| checker.matching(unit, &Match::Pattern(name))))
}

/// What a stream is held back by a rule of a file. None where it searches for nothing, or a pattern has an error.
pub(crate) fn of_rule(loaded: &Loaded, options: &CompileOptions, unit: usize, rule: &Rule) -> Option<HoldBack> {
    hold_back(&with_checker(loaded, options, |checker| {
        rule.matches.iter().flat_map(|one| checker.matching(unit, one)).collect::<Vec<_>>()
    }))
}

/// Whatever is wrong is said elsewhere.
fn with_checker<T>(loaded: &Loaded, options: &CompileOptions, ask: impl FnOnce(&Checker<'_>) -> T) -> T {
    let names = Names::collect(loaded, &mut Vec::new());
    let (diagnostics, used) = (RefCell::new(Vec::new()), RefCell::new(BTreeSet::new()));
    ask(&Checker { loaded, options, names, diagnostics, used })
}

fn hold_back(specs: &[PatternSpec]) -> Option<HoldBack> {
    specs.iter().filter_map(|spec| spec.check().ok()).reduce(HoldBack::and)
}
