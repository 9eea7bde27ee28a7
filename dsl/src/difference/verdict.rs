//! Which of two outcomes of one request lets more through.

use crate::policy::{HitAction, Policy};
use crate::testing::seen::{Did, Seen};
use serde::Serialize;
use sluice_engine::{Action, Mask};
use std::time::Duration;

/// How the new rules stand to the old ones, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The new ones let through, show or fail to report what the old ones did not.
    Weaker,
    /// They differ as written, and no request was found for which they decide differently; there may be one.
    Unknown,
    /// They decide differently, and neither lets more through.
    Changed,
    /// The new ones let less through.
    Stronger,
    /// They decide the same.
    Same,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Weaker => "weaker",
            Self::Unknown => "unknown",
            Self::Changed => "changed",
            Self::Stronger => "stronger",
            Self::Same => "same",
        }
    }
}

/// An outcome with what its rules mean.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) seen: &'a Seen,
    pub(super) policy: &'a Policy,
}

/// Compares two outcomes of one input.
pub(super) fn verdict(old: Side<'_>, new: Side<'_>) -> Verdict {
    let all = [
        by_order(strength(old.seen), strength(new.seen)),
        approvals(old.seen, new.seen),
        masks(old, new),
        by_order(reports(old.seen), reports(new.seen)),
    ];
    // What is refused on both sides differs in nothing that anyone gets to see.
    if strength(old.seen) == Some(Did::Block) && strength(new.seen) == Some(Did::Block) {
        return Verdict::Same;
    }
    match strength(old.seen).cmp(&strength(new.seen)) {
        std::cmp::Ordering::Equal => all.into_iter().min().unwrap_or(Verdict::Same),
        _ => all[0],
    }
}

fn by_order<T: Ord>(old: T, new: T) -> Verdict {
    match new.cmp(&old) {
        std::cmp::Ordering::Less => Verdict::Weaker,
        std::cmp::Ordering::Equal => Verdict::Same,
        std::cmp::Ordering::Greater => Verdict::Stronger,
    }
}

/// The strongest thing that happened; a stream that stops is refused.
fn strength(seen: &Seen) -> Option<Did> {
    if seen.stopped.is_some() { Some(Did::Block) } else { seen.strongest() }
}

/// Whether a rule reported and did nothing else.
fn reports(seen: &Seen) -> bool {
    seen.did.iter().any(|(did, ..)| *did == Did::Alert)
}

/// How hard the approvals are to get: how many must agree, of how many groups, for how long it holds, and how long it lets go on.
fn approvals(old: &Seen, new: &Seen) -> Verdict {
    let hardness = |seen: &Seen| {
        let mut hardest: Option<(u32, usize, Duration, Duration)> = None;
        for approval in &seen.approvals {
            let HitAction::Approve { by, count, ttl, grant, .. } = approval else { continue };
            let (most, groups, holds, goes_on) = hardest.unwrap_or((0, usize::MAX, Duration::MAX, Duration::MAX));
            let grant = goes_on.min(grant.unwrap_or_default());
            hardest = Some((most.max(*count), groups.min(by.len()), holds.min(*ttl), grant));
        }
        hardest
    };
    let (Some(before), Some(after)) = (hardness(old), hardness(new)) else { return Verdict::Same };
    let parts = [
        by_order(before.0, after.0),
        by_order(after.1, before.1),
        by_order(after.2, before.2),
        by_order(after.3, before.3),
    ];
    let worst = parts.into_iter().min().unwrap_or(Verdict::Same);
    if worst == Verdict::Same && old.approvals != new.approvals { Verdict::Changed } else { worst }
}

/// What masks leave readable.
fn masks(old: Side<'_>, new: Side<'_>) -> Verdict {
    let (before, after) = (claimed(old.seen), claimed(new.seen));
    if before.iter().any(|byte| !after.contains(byte)) {
        return Verdict::Weaker;
    }
    if before != after {
        return Verdict::Stronger;
    }
    if old.seen.bytes() == new.seen.bytes() {
        return Verdict::Same;
    }
    match by_order(weakest(old), weakest(new)) {
        Verdict::Same => Verdict::Changed,
        other => other,
    }
}

/// The bytes of the input that masks claim.
fn claimed(seen: &Seen) -> std::collections::BTreeSet<u64> {
    seen.claims.iter().flat_map(|(_, span)| span.clone()).collect()
}

/// How little the weakest of the masks leaves: its strategy, and how few characters it keeps.
fn weakest(side: Side<'_>) -> Option<(sluice_engine::Strategy, std::cmp::Reverse<usize>)> {
    let masks = side.seen.claims.iter().filter_map(|(rule, _)| match &side.policy.searched().get(*rule)?.1 {
        Some(Action::Mask(mask)) => Some(mask),
        _ => None,
    });
    let leaves = masks.map(|mask| {
        let kept = match mask {
            Mask::Partial { keep_first, keep_last, .. } => keep_first.saturating_add(*keep_last),
            _ => 0,
        };
        (mask.strategy(), std::cmp::Reverse(kept))
    });
    leaves.min()
}
