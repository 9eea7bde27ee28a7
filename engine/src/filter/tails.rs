//! Candidates at the end of a text whose window isn't whole yet: found by the pairs of bytes that stand there.
//!
//! A pattern's candidate consists of pairs of neighbours that its automaton allows. Going back from the end, the patterns
//! that allow all pairs so far are the bits of one word; what begins where one of them may begin is then followed by its
//! automaton to the end.

use super::Starts;
use super::probe::Probes;
use super::vectors::fold;
use crate::stream::automaton::{Automaton, DEAD};
use std::sync::Arc;

/// Patterns that share a table.
const PATTERNS: usize = 64;

/// Folded bytes.
pub(crate) const FOLDED: usize = 64;

/// Bytes that may stand before a candidate, one of each kind that the automatons tell apart: none, the two that end a line,
/// a letter, and something else.
const BEFORE: [Option<u8>; 5] = [None, Some(b'\n'), Some(b'\r'), Some(b'a'), Some(b' ')];

fn kind(before: Option<u8>) -> usize {
    match before {
        None => 0,
        Some(b'\n') => 1,
        Some(b'\r') => 2,
        Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => 3,
        Some(_) => 4,
    }
}

/// The tails of up to [`PATTERNS`] patterns.
#[derive(Debug)]
pub(crate) struct Tails {
    patterns: Vec<Tail>,
    /// For each kind of byte before and each byte: the patterns that may begin with it.
    first: Vec<[u64; 256]>,
    /// For each pair of folded bytes: the patterns in whose candidates they may be neighbours.
    pairs: Vec<[u64; FOLDED]>,
    /// The longest tail, in bytes.
    reach: usize,
}

#[derive(Debug)]
struct Tail {
    pattern: u32,
    reach: usize,
    automaton: Arc<Automaton>,
}

impl Tails {
    /// The tables of all patterns.
    pub(crate) fn of(patterns: &[(u32, &Probes, &Arc<Automaton>)]) -> Vec<Self> {
        let with_tail: Vec<_> = patterns.iter().filter(|(_, probes, _)| probes.reach > 0).collect();
        with_tail.chunks(PATTERNS).map(Self::new).collect()
    }

    fn new(patterns: &[&(u32, &Probes, &Arc<Automaton>)]) -> Self {
        let mut tails = Self {
            patterns: Vec::with_capacity(patterns.len()),
            first: vec![[0; 256]; BEFORE.len()],
            pairs: vec![[0; FOLDED]; FOLDED],
            reach: patterns.iter().map(|(_, probes, _)| probes.reach).max().unwrap_or(0),
        };
        for (bit, (pattern, probes, automaton)) in patterns.iter().enumerate() {
            for (before, first) in BEFORE.iter().zip(&mut tails.first) {
                for byte in 0..=255u8 {
                    let state = automaton.step(automaton.start(*before), byte);
                    first[usize::from(byte)] |= u64::from(state != DEAD && automaton.live(state)) << bit;
                }
            }
            for (row, allowed) in tails.pairs.iter_mut().zip(probes.pairs.iter()) {
                for (second, patterns) in row.iter_mut().enumerate() {
                    *patterns |= (allowed >> second & 1) << bit;
                }
            }
            let automaton = Arc::clone(automaton);
            tails.patterns.push(Tail { pattern: *pattern, reach: probes.reach, automaton });
        }
        tails
    }

    /// Adds the places at the end of `text` where a candidate begins that is live at the end and no longer than its
    /// pattern's tail. `before` is the byte before the text.
    pub(crate) fn look(&self, text: &[u8], before: Option<u8>, found: &mut Vec<Starts>) {
        let mut allowed = u64::MAX;
        let mut at = text.len();
        while at > 0 && text.len() - at < self.reach {
            at -= 1;
            let before = if at > 0 { Some(text[at - 1]) } else { before };
            let mut here = allowed & self.first[kind(before)][usize::from(text[at])];
            while here != 0 {
                let tail = &self.patterns[here.trailing_zeros() as usize];
                here &= here - 1;
                let rest = &text[at..];
                if rest.len() <= tail.reach && tail.automaton.lives_through(before, rest) {
                    found.push(Starts { from: at as u32, to: at as u32, pattern: tail.pattern });
                }
            }
            if at > 0 {
                allowed &= self.pairs[fold(text[at - 1])][fold(text[at])];
            }
            if allowed == 0 {
                return;
            }
        }
    }
}

/// The pairs of folded bytes that are neighbours in a candidate of at most `reach` bytes: for each first one the second
/// ones, as bits.
pub(crate) fn pairs(automaton: &Automaton, reach: usize) -> Box<[u64; FOLDED]> {
    let mut bytes: Vec<(u8, u64)> = Vec::new();
    for byte in 0..=255u8 {
        let class = automaton.class(byte);
        if class >= bytes.len() {
            bytes.resize(class + 1, (byte, 0));
        }
        bytes[class].1 |= 1 << fold(byte);
    }
    let mut pairs = Box::new([0; FOLDED]);
    // The bytes that lead to each state of a layer.
    let mut into = vec![0u64; automaton.states()];
    let mut known = vec![0u64; automaton.states()];
    let mut layer: Vec<u32> = Vec::new();
    for before in BEFORE {
        for (byte, folded) in &bytes {
            let state = automaton.step(automaton.start(before), *byte);
            if state != DEAD && automaton.live(state) {
                into[automaton.index(state)] |= folded;
                layer.push(state);
            }
        }
    }
    for _ in 1..reach {
        let mut next = Vec::new();
        layer.sort_unstable();
        layer.dedup();
        for state in layer {
            let new = std::mem::take(&mut into[automaton.index(state)]) & !known[automaton.index(state)];
            if new == 0 {
                continue;
            }
            known[automaton.index(state)] |= new;
            for (byte, folded) in &bytes {
                let to = automaton.step(state, *byte);
                if to == DEAD || !automaton.live(to) {
                    continue;
                }
                (0..FOLDED).filter(|first| new >> first & 1 == 1).for_each(|first| pairs[first] |= folded);
                into[automaton.index(to)] |= folded;
                next.push(to);
            }
        }
        if next.is_empty() {
            break;
        }
        layer = next;
    }
    pairs
}
