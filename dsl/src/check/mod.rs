//! From what was read to a policy: names, types, lowering.

mod actions;
mod anchors;
mod apart;
mod approvals;
pub(crate) mod axes;
mod conditions;
mod conflicts;
mod examples;
mod given;
mod lints;
mod lower;
mod names;
mod never;
mod patterns;
mod places;
mod prefilter;
pub(crate) mod reach;
pub(crate) mod samples;
pub(crate) mod search;
mod suppress;
pub(crate) mod trial;
mod uncovered;
mod whole;
pub(crate) mod worlds;

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Severity, locate};
use crate::load::Loaded;
use crate::policy::Policy;
use crate::syntax::tree::Span;
use crate::{CheckedFile, Compilation, CompileOptions};
use names::Names;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// What all checks share.
pub(crate) struct Checker<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) options: &'a CompileOptions,
    pub(crate) names: Names<'a>,
    pub(crate) diagnostics: RefCell<Vec<Diagnostic>>,
    /// What was spoken of: unit, kind, name.
    pub(crate) used: RefCell<BTreeSet<(usize, &'static str, String)>>,
}

impl Checker<'_> {
    /// Reports an error; more can be said about it by the function.
    pub(crate) fn error(
        &self,
        unit: usize,
        span: &Span,
        code: Code,
        message: impl Into<String>,
        more: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        self.push(more(Diagnostic::new(&self.loaded.units[unit].source, span.clone(), code, message)));
    }

    /// How many errors were reported; what is a warning keeps nothing from holding.
    pub(crate) fn errors(&self) -> usize {
        self.diagnostics.borrow().iter().filter(|reported| reported.severity == Severity::Error).count()
    }

    /// Reports.
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut diagnostics = self.diagnostics.borrow_mut();
        // A list that two rules use is checked twice; it is wrong once.
        if diagnostic.severity == Severity::Warning || !diagnostics.contains(&diagnostic) {
            diagnostics.push(diagnostic);
        }
    }
}

pub(crate) fn compile(mut loaded: Loaded, options: &CompileOptions) -> Compilation {
    let mut diagnostics = std::mem::take(&mut loaded.diagnostics);
    let names = Names::collect(&loaded, &mut diagnostics);
    let checker = Checker {
        loaded: &loaded,
        options,
        names,
        diagnostics: RefCell::new(diagnostics),
        used: RefCell::new(BTreeSet::new()),
    };
    let lowering = lower::lower(&checker);
    lints::lint(&checker);
    let failed = checker.diagnostics.borrow().iter().any(|d| d.severity == Severity::Error);
    let policy = lowering.compiled.filter(|_| !failed).map(Policy::new);
    if let Some(policy) = &policy {
        checker.unfiltered(&policy.compiled().unfiltered);
    }
    let undecided = match &policy {
        Some(policy) => whole::analyse(&checker, &lowering.rules, lowering.decoded, policy),
        None => Vec::new(),
    };
    let places = if policy.is_some() { places::places(&checker, &lowering.rules) } else { Vec::new() };
    let mut diagnostics = checker.diagnostics.into_inner();
    suppress::apply(&loaded, &mut diagnostics);
    locate(&mut diagnostics, loaded.units.iter().map(|unit| &*unit.source));
    let order: HashMap<&str, usize> =
        loaded.units.iter().enumerate().map(|(place, unit)| (unit.source.path.as_str(), place)).collect();
    diagnostics.sort_by_key(|d| (order.get(d.path.as_str()).copied(), d.span.start, d.span.end));
    let files = loaded.units.iter().filter(|u| u.given);
    let files =
        files.map(|u| CheckedFile { source: u.source.clone(), pack: u.pack.clone(), tree: u.tree.clone() }).collect();
    let sources = loaded.units.iter().map(|u| u.source.clone()).collect();
    Compilation { policy, diagnostics, undecided, files, sources, places }
}
