//! What was seen in one run: which rules did what, and what came out.

use super::compare::{Change, Compared, compare};
use crate::policy::{HitAction, Policy};
use crate::syntax::tree::{Expect, Test};
use bytes::Bytes;
use sluice_engine::{ActionKind, Decision, Sink};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

/// What a rule did, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Did {
    Alert,
    Mask,
    Approve,
    Block,
}

impl Did {
    /// The word of the language.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Mask => "mask",
            Self::Approve => "approve",
            Self::Block => "block",
        }
    }
}

/// A stretch of what came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// True where it stands in the place of a masked value, false where it is of the input.
    pub(crate) masked: bool,
    pub(crate) bytes: Vec<u8>,
}

/// What was seen in one run.
pub(crate) struct Seen {
    policy: Policy,
    input: Bytes,
    pub(crate) output: Vec<Piece>,
    /// What was done, by the rule's pack and name.
    pub(crate) did: BTreeSet<(Did, String, String)>,
    /// The rules with the patterns that they acted on: pack, rule, pattern.
    pub(crate) matched: BTreeSet<(String, String, String)>,
    /// What masks claimed: the index of the rule in its policy, and bytes of the input.
    pub(crate) claims: Vec<(usize, Range<u64>)>,
    /// The approvals that were asked for.
    pub(crate) approvals: Vec<HitAction>,
    /// Why the stream stopped, where that was no rule's doing.
    pub(crate) stopped: Option<String>,
}

impl Seen {
    pub(super) fn of(policy: Policy, input: Bytes) -> Self {
        let (output, did, matched) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let (claims, approvals) = (Vec::new(), Vec::new());
        Self { policy, input, output, did, matched, claims, approvals, stopped: None }
    }

    pub(super) fn note(&mut self, did: Did, pack: &str, rule: &str) {
        self.did.insert((did, pack.to_owned(), rule.to_owned()));
    }

    pub(crate) fn strongest(&self) -> Option<Did> {
        self.did.iter().map(|(did, ..)| *did).max()
    }

    /// What came out. Of a request that is refused because of its facts, this is what would have.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.output.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    fn piece(&mut self, masked: bool, bytes: &[u8]) {
        match self.output.last_mut() {
            Some(last) if last.masked == masked => last.bytes.extend_from_slice(bytes),
            _ => self.output.push(Piece { masked, bytes: bytes.to_vec() }),
        }
    }

    fn by(&self, did: Option<Did>, name: &str) -> bool {
        self.did.iter().any(|(done, pack, rule)| {
            did.is_none_or(|did| did == *done) && (rule == name || format!("{pack}.{rule}") == name)
        })
    }

    pub(super) fn meets(&self, test: &Test) -> bool {
        let named = |did| test.by.as_ref().is_none_or(|rule| self.by(Some(did), &rule.value));
        if self.stopped.is_some() {
            return false;
        }
        let (strongest, output) = (self.strongest(), self.bytes());
        let unchanged = output == self.input[..];
        match &test.expect.value {
            // With a rule named, that one did nothing; others may have.
            Expect::Pass => match &test.by {
                Some(rule) => !self.by(None, &rule.value),
                None => strongest.is_none() && unchanged,
            },
            Expect::Block => strongest == Some(Did::Block) && named(Did::Block),
            Expect::Approve => strongest == Some(Did::Approve) && named(Did::Approve),
            Expect::Alert => strongest == Some(Did::Alert) && unchanged && named(Did::Alert),
            Expect::Mask(text) => strongest == Some(Did::Mask) && output == text.value.as_bytes() && named(Did::Mask),
        }
    }

    /// What was expected to come out and what did, side by side; None where the test expects no masked text.
    pub(super) fn compared(&self, test: &Test) -> Option<Vec<Compared>> {
        match &test.expect.value {
            Expect::Mask(text) => Some(compare(&text.value, &self.output)),
            _ => None,
        }
    }

    /// In words. Bytes of the input are shown only where the test's expectation has them too: they may be a value that
    /// should have been masked.
    pub(crate) fn describe(&self, test: &Test) -> String {
        let compared = self.compared(test).unwrap_or_else(|| compare("", &self.output));
        let shown = compared.iter().filter(|part| part.change != Change::Expected);
        self.in_words(&shown.map(|part| part.text.as_str()).collect::<String>())
    }

    /// In words, with all that came out and what approvals ask for: for input that was made up.
    pub(crate) fn describe_all(&self) -> String {
        let mut words = self.in_words(&String::from_utf8_lossy(&self.bytes()));
        for approval in self.approvals.iter().filter(|_| self.strongest() == Some(Did::Approve)) {
            if let HitAction::Approve { by, count, ttl, grant, .. } = approval {
                // A String takes every write.
                let _ = write!(words, ", {count} of {} for {} s", by.join(", "), ttl.as_secs());
                if let Some(grant) = grant {
                    let _ = write!(words, ", and then for {} s", grant.as_secs());
                }
            }
        }
        words
    }

    fn in_words(&self, output: &str) -> String {
        let rules = |did: Did| {
            let names: Vec<&str> =
                self.did.iter().filter(|(done, ..)| *done == did).map(|(_, _, rule)| rule.as_str()).collect();
            names.join(", ")
        };
        let text = match self.strongest() {
            None => "pass".to_owned(),
            Some(Did::Mask) => format!("mask {output:?} by {}", rules(Did::Mask)),
            Some(did) => format!("{} by {}", did.word(), rules(did)),
        };
        match &self.stopped {
            Some(reason) => format!("{text}, then the stream stopped: {reason}"),
            None => text,
        }
    }
}

impl Sink for Seen {
    fn clean(&mut self, bytes: Bytes) {
        self.piece(false, &bytes);
    }

    fn masked(&mut self, replacement: &[u8]) {
        self.piece(true, replacement);
    }

    fn decision(&mut self, decision: &Decision) {
        let did = match decision.action {
            ActionKind::Alert => Did::Alert,
            ActionKind::Mask => Did::Mask,
            ActionKind::Block => Did::Block,
        };
        if did == Did::Mask {
            self.claims.push((self.policy.index(decision.rule), decision.span.clone()));
        }
        let rule = self.policy.rule(decision.rule);
        let (pack, rule) = (rule.pack.clone(), rule.name.clone());
        self.did.insert((did, pack.clone(), rule.clone()));
        let pattern = self.policy.program().pattern_name(decision.pattern).to_owned();
        self.matched.insert((pack, rule, pattern));
    }
}
