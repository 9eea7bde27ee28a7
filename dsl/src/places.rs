//! Where in the text the parts of a compiled rule stand, for the tools that speak of them. The policy itself knows no text.

use crate::diagnostic::Source;
use crate::syntax::tree::{Condition, Span};
use std::sync::Arc;

/// The places of one rule, at the same index as the rule in its policy.
#[derive(Clone, Debug)]
pub(crate) struct RulePlaces {
    pub(crate) source: Arc<Source>,
    /// Its name.
    pub(crate) name: Span,
    /// The comparisons of its scopes and of its `when`, in the order in which they stand in the lowered condition.
    pub(crate) holds: Vec<Leaf>,
    /// The comparisons of each condition that relaxes it.
    pub(crate) relaxed: Vec<Vec<Leaf>>,
    /// What it searches for.
    pub(crate) matches: Vec<MatchPlace>,
}

/// One comparison as written.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Span,
    /// True under an odd number of `not`.
    pub(crate) negated: bool,
}

/// One thing that a rule searches for.
#[derive(Clone, Debug)]
pub(crate) struct MatchPlace {
    pub(crate) span: Span,
    /// As decisions call it; several for `PACK.any`.
    pub(crate) patterns: Vec<String>,
}

/// The comparisons of a condition, from left to right.
pub(crate) fn leaves(source: &Arc<Source>, condition: &Condition) -> Vec<Leaf> {
    let mut out = Vec::new();
    collect(source, condition, false, &mut out);
    out
}

fn collect(source: &Arc<Source>, condition: &Condition, negated: bool, out: &mut Vec<Leaf>) {
    let mut leaf = |span: Span| out.push(Leaf { source: source.clone(), span, negated });
    match condition {
        Condition::And(parts) | Condition::Or(parts) => {
            parts.iter().for_each(|part| collect(source, part, negated, out));
        }
        Condition::Not(inner) => collect(source, inner, !negated, out),
        Condition::Field(field) => leaf(field.name.span.clone()),
        Condition::Compare { field, value, .. } => leaf(field.name.span.start..value.span().end),
    }
}
