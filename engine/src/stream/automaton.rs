//! One pattern's anchored automaton: a dense table over byte classes, cut down to the states that can still match.
//!
//! regex-automata determinises the expression (leftmost-first); the walk below copies what is reachable into a table of
//! our own, which knows for each state whether a match can still come. That is what lets a byte leave the moment no
//! candidate can claim it.

use crate::filter::bytes::ByteSet;
use crate::pattern::{PatternError, PatternSpec};
use regex_automata::dfa::Automaton as _;
use regex_automata::dfa::dense;
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;
use std::collections::HashMap;

/// The state from which no match can come.
pub(crate) const DEAD: u32 = 0;

/// The most memory that one pattern's determinisation may take, in bytes.
const SIZE_LIMIT: usize = 8 << 20;

/// The bytes of a candidate that are tried where it is found.
const TRIED: usize = 32;

/// A match ended before the byte that led here.
const MATCH: u32 = 1;
/// A match may still end here or later.
const LIVE: u32 = 2;
/// A match ends here if the text ends here.
const MATCH_AT_END: u32 = 4;

/// A state is a number: where its row begins in the table, and below that these bits of what it is.
const FLAGS: u32 = 3;

pub(crate) struct Automaton {
    classes: [u8; 256],
    stride: usize,
    table: Vec<u32>,
    /// How often a byte of text is of a class.
    frequencies: Vec<f32>,
    /// The state before the first byte, by the byte before it; the last entry stands for the start of the text.
    starts: [u32; 257],
    /// A candidate of this length, in bytes, that is still live counts as a match; None where the expression bounds itself.
    pub(crate) cap: Option<usize>,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Automaton").field("states", &self.states()).field("bytes", &(self.table.len() * 4)).finish()
    }
}

impl Automaton {
    /// Compiles an expression whose longest match is `longest` bytes.
    pub(crate) fn new(hir: &Hir, longest: usize, spec: &PatternSpec) -> Result<Self, PatternError> {
        let too_large = |error: &dyn std::fmt::Display| PatternError::TooLarge(error.to_string());
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(SIZE_LIMIT)))
            .build_from_hir(hir)
            .map_err(|e| too_large(&e))?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(regex_automata::dfa::StartKind::Anchored)
                    .match_kind(MatchKind::LeftmostFirst)
                    .dfa_size_limit(Some(SIZE_LIMIT))
                    .determinize_size_limit(Some(4 * SIZE_LIMIT)),
            )
            .build_from_nfa(&nfa)
            .map_err(|e| too_large(&e))?;
        let computed = hir.properties().maximum_len();
        let cap = (computed.is_none_or(|computed| computed > longest) && spec.max.is_some()).then_some(longest);
        Ok(Walk::over(&dfa).finish(cap))
    }

    /// The state before the first byte of a candidate.
    pub(crate) fn start(&self, before: Option<u8>) -> u32 {
        self.starts[before.map_or(256, usize::from)]
    }

    #[inline]
    pub(crate) fn step(&self, state: u32, byte: u8) -> u32 {
        self.table[(state >> FLAGS) as usize + usize::from(self.classes[usize::from(byte)])]
    }

    /// The place of a state among all of them, from 0.
    pub(crate) fn index(&self, state: u32) -> usize {
        (state >> FLAGS) as usize / self.stride
    }

    /// The number of states.
    pub(crate) fn states(&self) -> usize {
        self.table.len() / self.stride
    }

    /// The class of a byte: bytes of one class lead everywhere to the same state.
    pub(crate) fn class(&self, byte: u8) -> usize {
        usize::from(self.classes[usize::from(byte)])
    }

    /// A match ended before the byte that led to this state.
    pub(crate) fn matched(&self, state: u32) -> bool {
        state & MATCH != 0
    }

    /// False where no match begins at this place of the text, whatever stands around the text and wherever in it a value of
    /// its own may end. A few bytes are tried, no more.
    pub(crate) fn may_match(&self, text: &[u8], start: usize) -> bool {
        let Some(before) = start.checked_sub(1) else { return true };
        let (inside, first) = (self.start(Some(text[before])), self.start(None));
        let rest = &text[start..];
        // A text of its own may begin after a quote or white space, never after a letter or a digit.
        self.may_go_on(inside, rest)
            || (first != inside && !text[before].is_ascii_alphanumeric() && self.may_go_on(first, rest))
    }

    /// False where a candidate in this state doesn't become a match with these bytes, wherever in them a value of its own may
    /// end. A few bytes are tried, no more.
    pub(crate) fn may_go_on(&self, mut state: u32, text: &[u8]) -> bool {
        // A candidate that lives as long as its cap is a match.
        for byte in text.iter().take(TRIED.min(self.cap.unwrap_or(TRIED))) {
            // A text of its own may end before a quote, a comma or white space, never before a letter or a digit.
            if state & MATCH != 0 || (state & MATCH_AT_END != 0 && !byte.is_ascii_alphanumeric()) {
                return true;
            }
            if state == DEAD {
                return false;
            }
            state = self.step(state, *byte);
        }
        state & (MATCH | LIVE | MATCH_AT_END) != 0
    }

    /// A candidate that is all of this text, after the byte before it, may go on.
    pub(crate) fn lives_through(&self, before: Option<u8>, text: &[u8]) -> bool {
        let mut state = self.start(before);
        for byte in text {
            state = self.step(state, *byte);
            if !self.live(state) {
                // What is a match already is found as one.
                return self.matched(state);
            }
        }
        true
    }

    /// How likely a text begins as these bytes do, as far as this pattern tells bytes apart: little where a candidate is
    /// already what text seldom is.
    pub(crate) fn odds(&self, candidate: &[u8]) -> f32 {
        let mut state = self.start(None);
        let mut odds = 1.0;
        for byte in candidate {
            let next = self.step(state, *byte);
            let row = &self.table[(state >> FLAGS) as usize..][..self.stride];
            let alike = row.iter().zip(&self.frequencies).filter(|(target, _)| **target == next);
            odds *= alike.map(|(_, frequency)| frequency).sum::<f32>();
            state = next;
        }
        odds
    }

    /// How many of these bytes a candidate in this state reads before it matches or dies, and the state it is in then.
    pub(crate) fn glide(&self, mut state: u32, bytes: &[u8]) -> (usize, u32) {
        for (at, byte) in bytes.iter().enumerate() {
            let next = self.step(state, *byte);
            if next & (MATCH | LIVE) != LIVE {
                return (at, state);
            }
            state = next;
        }
        (bytes.len(), state)
    }

    /// A match may still come.
    pub(crate) fn live(&self, state: u32) -> bool {
        state & LIVE != 0
    }

    /// A match ends here if the text does.
    pub(crate) fn matched_at_end(&self, state: u32) -> bool {
        state & MATCH_AT_END != 0
    }
}

/// The walk over what is reachable in regex-automata's automaton.
struct Walk<'a> {
    dfa: &'a dense::DFA<Vec<u32>>,
    /// One byte of each class.
    bytes: Vec<u8>,
    classes: [u8; 256],
    ids: HashMap<StateID, u32>,
    states: Vec<StateID>,
    table: Vec<u32>,
    starts: [u32; 257],
}

impl<'a> Walk<'a> {
    fn over(dfa: &'a dense::DFA<Vec<u32>>) -> Self {
        let mut classes = [0; 256];
        let mut bytes: Vec<u8> = Vec::new();
        for byte in 0..=255u8 {
            let class = dfa.byte_classes().get(byte);
            classes[usize::from(byte)] = class;
            if usize::from(class) == bytes.len() {
                bytes.push(byte);
            }
        }
        let dead = StateID::ZERO;
        let mut walk = Self {
            dfa,
            bytes,
            classes,
            ids: HashMap::from([(dead, DEAD)]),
            states: vec![dead],
            table: Vec::new(),
            starts: [DEAD; 257],
        };
        for before in 0..=256usize {
            let config = start::Config::new().anchored(Anchored::Yes).look_behind(u8::try_from(before).ok());
            // Fails only for unsupported anchor modes and for quit bytes, and neither is configured.
            let state = dfa.start_state(&config).unwrap_or(dead);
            walk.starts[before] = walk.id(state);
        }
        let mut next = 0;
        while next < walk.states.len() {
            let state = walk.states[next];
            for class in 0..walk.bytes.len() {
                let target = walk.dfa.next_state(state, walk.bytes[class]);
                let target = walk.id(target);
                walk.table.push(target);
            }
            next += 1;
        }
        walk
    }

    fn id(&mut self, state: StateID) -> u32 {
        let state = if self.dfa.is_dead_state(state) { StateID::ZERO } else { state };
        *self.ids.entry(state).or_insert_with(|| {
            self.states.push(state);
            self.states.len() as u32 - 1
        })
    }

    fn finish(self, cap: Option<usize>) -> Automaton {
        let stride = self.bytes.len();
        let mut flags: Vec<u32> = self
            .states
            .iter()
            .map(|state| {
                let at_end = self.dfa.is_match_state(self.dfa.next_eoi_state(*state));
                let matched = self.dfa.is_match_state(*state);
                // What matches at the end of the text may still match: it is live.
                (if matched { MATCH } else { 0 }) | (if at_end { MATCH_AT_END | LIVE } else { 0 })
            })
            .collect();
        flags[DEAD as usize] = 0;
        // A state is live where a step leads to a match or to a live state. Backwards from there, to the fixed point.
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); flags.len()];
        for (at, target) in self.table.iter().enumerate() {
            before[*target as usize].push((at / stride) as u32);
        }
        let mut work: Vec<u32> = (0..flags.len() as u32).filter(|s| flags[*s as usize] != 0).collect();
        while let Some(state) = work.pop() {
            for source in &before[state as usize] {
                let flag = &mut flags[*source as usize];
                if *flag & LIVE == 0 {
                    *flag |= LIVE;
                    work.push(*source);
                }
            }
        }
        flags[DEAD as usize] = 0;
        let mut sets = vec![ByteSet::default(); stride];
        (0..=255u8).for_each(|byte| sets[usize::from(self.classes[usize::from(byte)])].insert(byte));
        let frequencies = sets.iter().map(|set| set.frequency() as f32).collect();
        // The limit on sizes keeps tables far below what is left beside the flags.
        let state = |index: u32| (index * stride as u32) << FLAGS | flags[index as usize];
        let table = self.table.into_iter().map(state).collect();
        Automaton { classes: self.classes, stride, table, frequencies, starts: self.starts.map(state), cap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn automaton(source: &str) -> Automaton {
        let spec = PatternSpec::regex("p", source);
        let longest = spec.check().expect("valid").longest;
        Automaton::new(&spec.hir().expect("valid").expect("a regex"), longest, &spec).expect("compiles")
    }

    fn end_of_match(automaton: &Automaton, before: Option<u8>, text: &[u8]) -> Option<usize> {
        let mut state = automaton.start(before);
        let mut last = None;
        for (at, byte) in text.iter().enumerate() {
            state = automaton.step(state, *byte);
            if automaton.matched(state) {
                last = Some(at);
            }
            if !automaton.live(state) {
                return last;
            }
        }
        if automaton.matched_at_end(state) { Some(text.len()) } else { last }
    }

    #[test]
    fn it_finds_the_end_that_the_regex_crate_finds() {
        let a = automaton(r"\bab{1,3}\b");
        assert_eq!(end_of_match(&a, None, b"abbb c"), Some(4));
        assert_eq!(end_of_match(&a, Some(b' '), b"ab"), Some(2));
        assert_eq!(end_of_match(&a, Some(b'x'), b"ab"), None);
        assert_eq!(end_of_match(&a, None, b"abbbb"), None);
    }

    #[test]
    fn a_state_is_dead_as_soon_as_no_match_can_come() {
        let a = automaton("abc");
        let state = a.step(a.start(None), b'a');
        assert!(a.live(state));
        assert!(!a.live(a.step(state, b'x')));
    }
}
