//! What comes out of a stream: clean slices, masks and decisions.

use crate::program::{PatternId, RuleId};
use bytes::Bytes;
use std::ops::Range;

/// Receives the output of a stream, in the order of the input.
pub trait Sink {
    /// Bytes that no rule changed: a slice of what was pushed, never a copy.
    fn clean(&mut self, bytes: Bytes);
    /// What stands in the place of a masked value. The slice is valid during the call only.
    fn masked(&mut self, replacement: &[u8]);
    /// What was decided about a match, once for each rule that claims it. Comes before the bytes it speaks of.
    fn decision(&mut self, decision: &Decision);
}

/// One rule's decision on one match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The rule that decided.
    pub rule: RuleId,
    /// The pattern that matched.
    pub pattern: PatternId,
    /// Where the match stands, in bytes of the input from the start of the stream. Escapes count as they stand on the wire.
    pub span: Range<u64>,
    /// What the rule does.
    pub action: ActionKind,
}

/// The kind of a rule's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActionKind {
    /// Recorded; the bytes pass.
    Alert,
    /// Replaced.
    Mask,
    /// The stream ends before the match.
    Block,
}

/// A sink that keeps everything in memory: for tests and for whole messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The output so far.
    pub bytes: Vec<u8>,
    /// The decisions so far, in order.
    pub decisions: Vec<Decision>,
}

impl Collected {
    /// The output as text; invalid UTF-8 is shown as the replacement character.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl Sink for Collected {
    fn clean(&mut self, bytes: Bytes) {
        self.bytes.extend_from_slice(&bytes);
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.bytes.extend_from_slice(replacement);
    }
    fn decision(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
    }
}
