//! How far patterns reach and how they are searched for, for tools that ask about one rule or pattern and not for a verdict.

use super::names::Names;
use super::{Checker, prefilter};
use crate::CompileOptions;
use crate::load::Loaded;
use crate::syntax::tree::{Match, Name, Rule, Spanned};
use sluice_engine::{HoldBack, PatternSpec, Program};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// What a pattern or a rule costs a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// How much is held back.
    pub(crate) held: HoldBack,
    /// The names of what is searched for without a prefilter.
    pub(crate) unfiltered: Vec<String>,
}

/// What a stream pays for a pattern of a file. None where the pattern has an error, or there is none.
pub(crate) fn of_pattern(loaded: &Loaded, options: &CompileOptions, unit: usize, name: &str) -> Option<Reach> {
    let name: Name = Spanned::new(name.to_owned(), 0..0);
    of(with_checker(loaded, options, |checker| checker.matching(unit, &Match::Pattern(name))))
}

/// What a stream pays for a rule of a file. None where it searches for nothing, or a pattern has an error.
pub(crate) fn of_rule(loaded: &Loaded, options: &CompileOptions, unit: usize, rule: &Rule) -> Option<Reach> {
    of(with_checker(loaded, options, |checker| {
        rule.matches.iter().flat_map(|one| checker.matching(unit, one)).collect::<Vec<_>>()
    }))
}

/// Whatever is wrong is said elsewhere.
fn with_checker<T>(loaded: &Loaded, options: &CompileOptions, ask: impl FnOnce(&Checker<'_>) -> T) -> T {
    let names = Names::collect(loaded, &mut Vec::new());
    let (diagnostics, used) = (RefCell::new(Vec::new()), RefCell::new(BTreeSet::new()));
    ask(&Checker { loaded, options, names, diagnostics, used })
}

fn of(specs: Vec<PatternSpec>) -> Option<Reach> {
    let held = specs.iter().filter_map(|spec| spec.check().ok()).reduce(HoldBack::and)?;
    let mut builder = Program::builder();
    let patterns: Result<Vec<_>, _> =
        specs.into_iter().map(|spec| builder.pattern(spec.clone()).map(|id| (spec, id))).collect();
    let unfiltered = prefilter::without(&builder.build().ok()?, patterns.ok()?);
    Some(Reach { held, unfiltered: unfiltered.into_iter().map(|spec| spec.name).collect() })
}
