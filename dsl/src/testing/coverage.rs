//! What the tests reach: which rules acted, on which of their patterns, and which comparisons were seen both ways.

use super::exchange::{Cut, Exchange};
use super::given::Given;
use super::{directions, tests};
use crate::Compilation;
use crate::diagnostic::{Source, line_column};
use crate::places::Leaf;
use crate::policy::condition::{Cond, Facts, Truth};
use crate::syntax::tree::{Direction, Span};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the tests reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Coverage {
    /// Rules that acted in a test.
    pub rules: Count,
    /// Entries of `match` on which their rule acted in a test.
    pub patterns: Count,
    /// Comparisons, counted twice each: seen to hold, and seen not to. A comparison is reached from left to right: the
    /// second part of an `and` where the first holds, of an `or` where it doesn't.
    pub branches: Count,
    /// What no test reaches, in the order of files and places.
    pub missed: Vec<Missed>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Count {
    /// What tests reach.
    pub reached: usize,
    /// What there is.
    pub of: usize,
}

/// Something that no test reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Missed {
    /// What it is.
    pub kind: MissedKind,
    /// The rule, or the first of the rules, that it belongs to.
    pub rule: String,
    /// Its file.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// It as written.
    pub text: String,
    /// A sentence about it.
    pub message: String,
}

/// What no test reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissedKind {
    /// A rule never acts.
    Rule,
    /// A rule never acts on this pattern.
    Pattern,
    /// A comparison is never seen to hold, or never seen not to.
    Branch,
}

/// How a comparison was seen.
#[derive(Clone, Copy, Default)]
struct Ways {
    held: bool,
    failed: bool,
}

/// A comparison, by its place; scopes are shared by rules.
type Branches<'c> = BTreeMap<(&'c str, usize), (&'c Leaf, &'c str, Ways)>;

/// What the tests whose name contains `filter` reach of the rules of the given files. None without a policy.
#[must_use]
pub fn coverage(compilation: &Compilation, filter: Option<&str>) -> Option<Coverage> {
    let policy = compilation.policy.as_ref()?;
    let infos = policy.rules();
    let mut branches = Branches::new();
    for (places, info) in compilation.places.iter().zip(infos) {
        for leaf in places.holds.iter().chain(places.relaxed.iter().flatten()) {
            let key = (leaf.source.path.as_str(), leaf.span.start);
            branches.entry(key).or_insert((leaf, &info.name, Ways::default()));
        }
    }
    let (mut acted, mut matched) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, test) in tests(compilation, filter) {
        let given = Given::of(test);
        let session = policy.specialise(&given.session);
        for direction in directions(test) {
            let exchange = Exchange::new(&session, &given, *direction, &test.send.value);
            let seen = exchange.run(Cut::Whole);
            acted.extend(seen.did.into_iter().map(|(_, pack, rule)| (pack, rule)));
            matched.extend(seen.matched);
            exchange.session().each_view(exchange.request(), &mut |facts| {
                for (index, rule) in policy.lowered().iter().enumerate() {
                    let way = if *direction == Direction::Request { rule.request } else { rule.response };
                    let Some(places) = compilation.places.get(index).filter(|_| way) else { continue };
                    let held = walk(&rule.holds, facts, &places.holds, &mut branches);
                    if !matches!(held, Truth::True | Truth::Unknown) {
                        continue;
                    }
                    for (relax, leaves) in rule.relaxed.iter().zip(&places.relaxed) {
                        if walk(&relax.condition, facts, leaves, &mut branches) == Truth::True {
                            break;
                        }
                    }
                }
            });
        }
    }
    let mut missed = Vec::new();
    let mut patterns = Count::default();
    for (places, info) in compilation.places.iter().zip(infos) {
        if !acted.contains(&(info.pack.clone(), info.name.clone())) {
            let message = format!("no test makes rule `{}` act", info.name);
            missed.push(Missed::at(MissedKind::Rule, &places.source, &places.name, &info.name, message));
        }
        for place in &places.matches {
            let key = |pattern: &String| (info.pack.clone(), info.name.clone(), pattern.clone());
            let reached = place.patterns.iter().any(|pattern| matched.contains(&key(pattern)));
            patterns.add(reached);
            if !reached {
                let name = place.patterns.first().map_or("", String::as_str);
                let message = format!("no test makes rule `{}` find `{name}`", info.name);
                missed.push(Missed::at(MissedKind::Pattern, &places.source, &place.span, &info.name, message));
            }
        }
    }
    let mut count = Count::default();
    for (leaf, rule, ways) in branches.values() {
        count.add(ways.held);
        count.add(ways.failed);
        let way = match (ways.held, ways.failed) {
            (true, true) => continue,
            (true, false) => "is never seen not to hold",
            (false, true) => "is never seen to hold",
            (false, false) => "is never reached",
        };
        let text = &leaf.source.text[leaf.span.clone()];
        missed.push(Missed::at(
            MissedKind::Branch,
            &leaf.source,
            &leaf.span,
            rule,
            format!("`{text}` {way} in a test"),
        ));
    }
    let order = |path: &str| compilation.sources.iter().position(|source| source.path == path);
    missed.sort_by_key(|missed| (order(&missed.path), missed.line, missed.column));
    let rules = infos.iter().filter(|info| acted.contains(&(info.pack.clone(), info.name.clone()))).count();
    Some(Coverage { rules: Count { reached: rules, of: infos.len() }, patterns, branches: count, missed })
}

impl Count {
    fn add(&mut self, reached: bool) {
        self.of += 1;
        self.reached += usize::from(reached);
    }
}

impl Missed {
    fn at(kind: MissedKind, source: &Source, span: &Span, rule: &str, message: String) -> Self {
        let (line, column) = line_column(&source.text, span.start);
        let text = source.text[span.clone()].to_owned();
        Self { kind, rule: rule.to_owned(), path: source.path.clone(), line, column, text, message }
    }
}

/// Evaluates from left to right, and notes how each comparison came out that had to be looked at.
fn walk<'c>(condition: &Cond, facts: Facts<'_>, leaves: &'c [Leaf], branches: &mut Branches<'c>) -> Truth {
    let mut left = leaves.iter();
    step(condition, facts, &mut left, true, branches);
    condition.truth(facts)
}

fn step<'c>(
    condition: &Cond,
    facts: Facts<'_>,
    leaves: &mut std::slice::Iter<'c, Leaf>,
    reached: bool,
    branches: &mut Branches<'c>,
) {
    match condition {
        Cond::Const(_) => {}
        Cond::Test(_) => {
            let Some(leaf) = leaves.next().filter(|_| reached) else { return };
            let Some((_, _, ways)) = branches.get_mut(&(leaf.source.path.as_str(), leaf.span.start)) else { return };
            match condition.truth(facts) {
                Truth::True => *ways = ways.seen(!leaf.negated),
                Truth::False => *ways = ways.seen(leaf.negated),
                // What can't be told was seen neither way.
                Truth::Unknown | Truth::NotApplicable => {}
            }
        }
        Cond::All(parts) => {
            let mut reached = reached;
            for part in parts {
                step(part, facts, leaves, reached, branches);
                reached &= matches!(part.truth(facts), Truth::True | Truth::Unknown);
            }
        }
        Cond::Any(parts) => {
            let mut reached = reached;
            for part in parts {
                step(part, facts, leaves, reached, branches);
                reached &= part.truth(facts) != Truth::True;
            }
        }
    }
}

impl Ways {
    fn seen(self, held: bool) -> Self {
        Self { held: self.held | held, failed: self.failed | !held }
    }
}
