//! A short text of which all is there: each candidate is followed to its end at once, and what it comes to is known then.
//!
//! Followed together, as in a text that is still coming, candidates cost their number at every byte. Here the later ones are looked at only
//! where an earlier one of their pattern was none. A candidate may be read again from its second byte on, which is no matter in a short text.

use super::{Lane, Mark, Shared, Text};
use crate::filter::Starts;
use crate::pattern::Near;
use crate::program::PatternId;
use crate::stream::automaton::Automaton;

/// The longest text that is read so, in bytes.
pub(crate) const SHORT: usize = 256;

/// A text with the name of the column whose value it is.
#[derive(Clone, Copy)]
struct Whole<'a> {
    text: &'a [u8],
    column: Option<&'a str>,
}

impl Lane {
    /// Claims the matches in a text that stands here on the wire. Where they may begin is what was found in the block, and nowhere else.
    pub(crate) fn short(&mut self, text: &[u8], wire: u64, column: Option<&str>, shared: &mut Shared<'_>) {
        let found = std::mem::take(&mut shared.block.found);
        let whole = Whole { text, column };
        // Of each pattern, where its last match ends: what begins before that is inside it.
        let mut over = std::mem::take(&mut shared.tray.spawning);
        for Starts { from, to, pattern } in &found {
            let ended = over.iter().find(|(known, _)| known == pattern).map_or(0, |(_, end)| *end as usize);
            let mut at = ended.max(*from as usize);
            while at <= *to as usize {
                let Some(end) = whole.matches(*pattern, at, shared) else {
                    at += 1;
                    continue;
                };
                let mark = |place: usize| Mark { text: place as u64, wire: wire + place as u64 };
                let all = Text { saved: &[], run: text, at: 0 };
                self.claim(PatternId(*pattern), (mark(at), mark(end)), all, 0, shared);
                over.retain(|(known, _)| known != pattern);
                over.push((*pattern, end as u64));
                at = end;
            }
        }
        over.clear();
        shared.tray.spawning = over;
        shared.block.found = found;
    }
}

impl Whole<'_> {
    /// Where the match of a pattern ends that begins here, if one does.
    fn matches(&self, pattern: u32, start: usize, shared: &mut Shared<'_>) -> Option<usize> {
        let compiled = &shared.program.patterns[pattern as usize];
        let (end, read) = end(compiled.automaton.as_ref()?, self.text, start);
        shared.block.costs.candidates += 1;
        shared.block.costs.verified += read as u64;
        let end = end?;
        let value = &self.text[start..end];
        let valid = compiled.spec.validators.iter().all(|validator| validator.accepts(value));
        let stands = valid && compiled.spec.near.as_ref().is_none_or(|near| self.is_near(near, start, end));
        stands.then_some(end)
    }

    /// A word of the context stands near a value. The column's name stands before the text, and a blank between them.
    fn is_near(&self, near: &Near, start: usize, end: usize) -> bool {
        let before = &self.text[start.saturating_sub(near.within)..start];
        let left = near.within - before.len();
        let column = match self.column {
            Some(column) if left > 0 => {
                let name = &column.as_bytes()[column.len().saturating_sub(left - 1)..];
                [name, b" ", before].concat()
            }
            _ => before.to_vec(),
        };
        let after = &self.text[end..(end + near.within).min(self.text.len())];
        near.stands_in(&column) || near.stands_in(after)
    }
}

/// Where the match ends that begins here, if one does, and the bytes that were read for it.
fn end(automaton: &Automaton, text: &[u8], start: usize) -> (Option<usize>, usize) {
    let mut state = automaton.start(start.checked_sub(1).map(|before| text[before]));
    let mut last = None;
    for (at, byte) in text.iter().enumerate().skip(start) {
        state = automaton.step(state, *byte);
        // No match is empty.
        if at > start && automaton.matched(state) {
            last = Some(at);
        }
        if !automaton.live(state) {
            return (last, at + 1 - start);
        }
        // A candidate that lives as long as its cap is a match.
        if automaton.cap.is_some_and(|cap| at + 1 - start >= cap) {
            return (Some(at + 1), at + 1 - start);
        }
    }
    (if automaton.matched_at_end(state) { Some(text.len()) } else { last }, text.len() - start)
}
