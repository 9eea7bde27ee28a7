//! Patterns that have no rare part, but whose matches begin with many bytes of one set, as a key of forty letters does. Text is
//! passed over by its last byte first: where that isn't in the set, no match begins before it.

use super::Starts;
use super::bytes::ByteSet;
use crate::stream::automaton::Automaton;
use std::sync::Arc;

/// The fewest bytes that are worth it, and the most that are looked at.
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=256;

/// How often so many bytes of the set may stand together in ordinary text, as if each were by chance.
const RARE: f64 = 1.0 / 64.0;

/// The most states that a match may be in after so many bytes.
const STATES: usize = 64;

/// What all matches of a pattern begin with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stretch {
    set: ByteSet,
    /// Bytes.
    len: usize,
}

impl Stretch {
    /// The bytes that every match begins with, as many as make them rarest; None where they aren't rare.
    pub(crate) fn of(automaton: &Automaton) -> Option<Self> {
        let mut states: Vec<u32> = (0..=256).map(|before| automaton.start(u8::try_from(before).ok())).collect();
        let (mut set, mut best) = (ByteSet::default(), None);
        for len in 1..=*LENGTHS.end() {
            states.sort_unstable();
            states.dedup();
            // What is a match already has no more bytes.
            let ends = |state: &u32| automaton.matched(*state) || automaton.matched_at_end(*state);
            if states.len() > STATES || states.iter().any(ends) || automaton.cap.is_some_and(|cap| cap < len) {
                break;
            }
            let steps = |state: u32| (0..=255u8).map(move |byte| (byte, automaton.step(state, byte)));
            let goes_on = |next: u32| automaton.live(next) || automaton.matched(next);
            let next: Vec<(u8, u32)> =
                states.iter().flat_map(|state| steps(*state)).filter(|(_, s)| goes_on(*s)).collect();
            next.iter().for_each(|(byte, _)| set.insert(*byte));
            states = next.into_iter().map(|(_, state)| state).collect();
            let odds = set.frequency().powi(len as i32);
            if LENGTHS.contains(&len) && odds <= RARE && best.as_ref().is_none_or(|(least, _)| odds < *least) {
                best = Some((odds, Self { set, len }));
            }
        }
        best.map(|(_, stretch)| stretch)
    }
}

/// A stretch that is looked for.
#[derive(Debug)]
pub(crate) struct Stretched {
    pattern: u32,
    holds: [bool; 256],
    len: usize,
    automaton: Arc<Automaton>,
}

impl Stretched {
    pub(crate) fn new(pattern: u32, stretch: &Stretch, automaton: &Arc<Automaton>) -> Self {
        let holds = std::array::from_fn(|byte| stretch.set.contains(byte as u8));
        Self { pattern, holds, len: stretch.len, automaton: Arc::clone(automaton) }
    }

    /// Adds the places where a match may begin whose stretch lies whole in `text`. Each byte is looked at once, most of ordinary
    /// text never. False where there are `most` of them.
    pub(crate) fn look(&self, text: &[u8], found: &mut Vec<Starts>, most: usize) -> bool {
        // The bytes from `from` to `known` are in the set.
        let (mut from, mut known) = (0, 0);
        while from + self.len <= text.len() {
            let end = from + self.len;
            if let Some(other) = text[known..end].iter().rposition(|byte| !self.holds[usize::from(*byte)]) {
                (from, known) = (known + other + 1, end);
                continue;
            }
            let more = text[end..].iter().position(|byte| !self.holds[usize::from(*byte)]);
            let end = more.map_or(text.len(), |more| end + more);
            self.begin(text, None, from..end - self.len + 1, found);
            if found.len() >= most {
                return false;
            }
            (from, known) = (end + 1, end + 1);
        }
        true
    }

    /// Adds the places at the end of `text` where a match may begin whose stretch isn't whole yet.
    pub(crate) fn tail(&self, text: &[u8], before: Option<u8>, found: &mut Vec<Starts>) {
        let first = text.len().saturating_sub(self.len - 1);
        let other = text[first..].iter().rposition(|byte| !self.holds[usize::from(*byte)]);
        self.begin(text, before, other.map_or(first, |other| first + other + 1)..text.len(), found);
    }

    /// Adds the places at which a candidate outlives its first byte. Without the byte `before` the text it may.
    fn begin(&self, text: &[u8], before: Option<u8>, places: std::ops::Range<usize>, found: &mut Vec<Starts>) {
        for at in places {
            let before = at.checked_sub(1).map(|at| text[at]).or(before);
            let state = self.automaton.step(self.automaton.start(before), text[at]);
            // A text of its own may begin where one ends that is looked at with it, but not after a letter or a digit.
            let apart = before.is_none_or(|byte| !byte.is_ascii_alphanumeric());
            if apart || self.automaton.live(state) {
                found.push(Starts { from: at as u32, to: at as u32, pattern: self.pattern });
            }
        }
    }
}
