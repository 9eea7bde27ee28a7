//! Runs the `test` items of rule files: each under every way to cut its input, as the rule language promises.

mod compare;
mod coverage;
pub(crate) mod exchange;
pub(crate) mod given;
pub(crate) mod seen;

pub use compare::{Change, Compared};
pub use coverage::{Count, Coverage, Missed, MissedKind, coverage};

use crate::Compilation;
use crate::diagnostic::{Source, line_column};
use crate::policy::Policy;
use crate::syntax::tree::{Direction, Expect, ItemKind, Span, Test};
use exchange::{Exchange, cuts};
use given::Given;
use rayon::prelude::*;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct TestOutcome {
    /// The test's sentence.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// True where what was expected happened, under every cut.
    pub passed: bool,
    /// What was expected.
    pub expected: String,
    /// What happened: actions, rules and, where a rule masks, what came out. Bytes of the input are in it only where the
    /// expectation has them too.
    pub got: String,
    /// The cut under which it failed; None where it passed, or fails uncut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Where a masked text was expected and another came out: the one beside the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<Compared>,
}

/// Runs the tests of the given files, those of their imports not included. `filter` picks the tests whose name contains
/// it. Without a policy there is nothing to run them against, and so no outcome.
#[must_use]
pub fn run(compilation: &Compilation, filter: Option<&str>) -> Vec<TestOutcome> {
    let Some(policy) = &compilation.policy else { return Vec::new() };
    let tests: Vec<_> = tests(compilation, filter).collect();
    // In their order, whichever ends first.
    tests.into_par_iter().map(|(source, span, test)| run_one(policy, source, span, test)).collect()
}

/// The tests of the given files whose name contains `filter`.
pub(crate) fn tests<'c>(
    compilation: &'c Compilation,
    filter: Option<&'c str>,
) -> impl Iterator<Item = (&'c Source, &'c Span, &'c Test)> {
    let items = compilation.files.iter().flat_map(|file| file.tree.items.iter().map(|item| (&*file.source, item)));
    let tests = items.filter_map(|(source, item)| match &item.kind {
        ItemKind::Test(test) => Some((source, &item.span, test)),
        _ => None,
    });
    tests.filter(move |(_, _, test)| filter.is_none_or(|part| test.name.value.contains(part)))
}

/// The directions in which a test runs.
pub(crate) fn directions(test: &Test) -> &'static [Direction] {
    match test.direction.value {
        Direction::Both => &[Direction::Request, Direction::Response],
        Direction::Request => &[Direction::Request],
        Direction::Response => &[Direction::Response],
    }
}

fn run_one(policy: &Policy, source: &Source, span: &Span, test: &Test) -> TestOutcome {
    let given = Given::of(test);
    let session = policy.specialise(&given.session);
    let mut outcome = TestOutcome {
        name: test.name.value.clone(),
        path: source.path.clone(),
        line: line_column(&source.text, span.start).0,
        passed: true,
        expected: expected(test),
        got: String::new(),
        cut: None,
        diff: Vec::new(),
    };
    for direction in directions(test) {
        let exchange = Exchange::new(&session, &given, *direction, &test.send.value);
        for cut in cuts(test.send.value.len()) {
            let seen = exchange.run(cut);
            let passed = seen.meets(test);
            if outcome.got.is_empty() || !passed {
                outcome.got = seen.describe(test);
            }
            if !passed {
                outcome.passed = false;
                outcome.cut = cut.describe();
                outcome.diff = seen.compared(test).unwrap_or_default();
                outcome.diff.retain(|part| !part.text.is_empty());
                if outcome.diff.iter().all(|part| part.change == Change::Same) {
                    outcome.diff.clear();
                }
                return outcome;
            }
        }
    }
    outcome
}

fn expected(test: &Test) -> String {
    let what = match &test.expect.value {
        Expect::Pass => "pass".to_owned(),
        Expect::Block => "block".to_owned(),
        Expect::Approve => "approve".to_owned(),
        Expect::Alert => "alert".to_owned(),
        Expect::Mask(text) => format!("mask {:?}", text.value),
    };
    match &test.by {
        Some(rule) => format!("{what} by {}", rule.value),
        None => what,
    }
}
