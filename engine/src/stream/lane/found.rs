//! What is a match: when it is known to be one, and what is claimed for it.

use super::coding::Written;
use super::{Claims, Lane, Mark, Shared, Text, Thread};
use crate::mask::{REDACTED, Strategy};
use crate::program::{Inner, PatternId};
use crate::stream::resolve::Claim;

/// A match that waits for an earlier candidate of its pattern, or for its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(super) pattern: u32,
    pub(super) start: Mark,
    pub(super) end: Mark,
    /// As [`Lane::stands`] where it was found: it may be claimed in a later text.
    pub(super) depth: usize,
}

impl Lane {
    /// The matches of a candidate that ended, one for each of its starts.
    pub(super) fn found(&mut self, thread: &Thread, text: Text<'_>, shared: &Shared<'_>) {
        let Some(end) = thread.last else { return };
        let validators = &shared.program.patterns[thread.pattern as usize].spec.validators;
        let depth = self.stands();
        for start in std::iter::once(&thread.first).chain(&thread.more) {
            let valid = validators.is_empty() || {
                let value = text.slice(start.text, end.text);
                validators.iter().all(|validator| validator.accepts(&value))
            };
            if valid {
                self.held.waiting.push(Found { pattern: thread.pattern, start: *start, end, depth });
            }
        }
    }

    /// Makes claims of the matches of a pattern that no earlier candidate of it can take back.
    pub(super) fn promote(&mut self, pattern: u32, text: Text<'_>, last: bool, shared: &mut Shared<'_>) {
        while let Some(at) = (0..self.held.waiting.len())
            .filter(|at| self.held.waiting[*at].pattern == pattern)
            .min_by_key(|at| self.held.waiting[*at].start.text)
        {
            let found = self.held.waiting[at];
            let earlier = |thread: &Thread| thread.pattern == pattern && thread.first.text < found.start.text;
            if self.held.threads.iter().any(earlier) {
                return;
            }
            match self.in_context(&found, text, last, shared.program) {
                None => return,
                Some(false) => {
                    self.held.waiting.swap_remove(at);
                }
                Some(true) => {
                    self.held.waiting.swap_remove(at);
                    self.claim(PatternId(pattern), (found.start, found.end), text, found.depth, shared);
                    self.prune(pattern, found.end.text);
                }
            }
        }
    }

    /// Candidates that start inside a match of their own pattern are not looked for.
    pub(super) fn prune(&mut self, pattern: u32, end: u64) {
        self.held.waiting.retain(|found| found.pattern != pattern || found.start.text >= end);
        self.held.threads.retain_mut(|thread| {
            while thread.pattern == pattern && thread.first.text < end {
                let Some(next) = thread.more.pop_front() else { return false };
                thread.first = next;
            }
            true
        });
    }

    /// Whether a word of the pattern's context stands near: None while that can't be known.
    pub(super) fn in_context(&self, found: &Found, text: Text<'_>, last: bool, program: &Inner) -> Option<bool> {
        let Some(near) = &program.patterns[found.pattern as usize].spec.near else { return Some(true) };
        let within = near.within as u64;
        let before = text.slice(found.start.text.saturating_sub(within), found.start.text);
        let after = text.slice(found.end.text, (found.end.text + within).min(self.pos));
        if near.stands_in(&before) || near.stands_in(&after) {
            Some(true)
        } else if last || self.pos >= found.end.text + within {
            Some(false)
        } else {
            None
        }
    }

    pub(super) fn promote_waiting(&mut self, text: Text<'_>, last: bool, shared: &mut Shared<'_>) {
        if self.held.waiting.is_empty() {
            return;
        }
        let mut patterns: Vec<u32> = self.held.waiting.iter().map(|found| found.pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        for pattern in patterns {
            self.promote(pattern, text, last, shared);
        }
    }

    /// How many levels of escapes a value of this text stands below the wire: one of a document stands in a string of it.
    pub(super) fn stands(&self) -> usize {
        self.depth + usize::from(self.document)
    }

    pub(super) fn claim(
        &self,
        pattern: PatternId,
        (start, end): (Mark, Mark),
        text: Text<'_>,
        depth: usize,
        shared: &mut Shared<'_>,
    ) {
        if matches!(self.claims, Claims::None) {
            return;
        }
        let value = text.slice(start.text, end.text);
        let written = self.written(start, end, depth, text);
        let wire = (start.wire, end.wire);
        let Some(seams) = self.seams.as_ref().filter(|_| matches!(self.claims, Claims::Parts)) else {
            return self.claim_part(pattern, wire, Some(&value), &written, false, shared);
        };
        // What has left of the value can't be taken back; the mask of the whole would tell it again.
        let value = (seams.from(wire.0) == wire.0).then_some(&*value);
        for (at, part) in seams.parts(wire.0, wire.1).enumerate() {
            self.claim_part(pattern, part, value, &written, at > 0, shared);
        }
    }

    /// Claims a part of a value for each rule. Without the value it is redacted; what is `more` of a value that was masked
    /// before goes without a trace.
    fn claim_part(
        &self,
        pattern: PatternId,
        (start, end): (u64, u64),
        value: Option<&[u8]>,
        written: &Written,
        more: bool,
        shared: &mut Shared<'_>,
    ) {
        for rule in shared.plan.claims(pattern) {
            let spec = &shared.program.rules[rule.index()];
            let mut strategy = Strategy::Redact;
            let replacement = shared.output.write(|out, from| {
                let (Some(mask), false) = (&shared.program.masks[rule.index()], more) else { return };
                strategy = mask.strategy();
                match value {
                    Some(value) => mask.write(value, out),
                    None => out.extend_from_slice(REDACTED.as_bytes()),
                }
                written.encode(out, from);
            });
            shared.output.claim(Claim {
                start,
                end,
                rule: *rule,
                pattern,
                kind: spec.action.kind(),
                priority: spec.priority,
                strategy,
                rank: shared.program.ranks[rule.index()],
                replacement,
                percent: written.percent,
                quanta: written.quanta.clone(),
                silent: more,
            });
        }
    }
}
