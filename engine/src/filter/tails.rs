//! Candidates at the end of a text whose window isn't whole yet: found by the pairs of bytes that stand there.
//!
//! A pattern's candidate consists of pairs of neighbours that its automaton allows, and begins with three bytes that it
//! allows there. Going back from the end, the patterns that allow all pairs so far are the bits of one word; what begins
//! where one of them may begin is then followed by its automaton to the end.

use super::Starts;
use super::probe::Probes;
use super::vectors::{FOLD, fold};
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
    /// By the hash of three folded bytes: the patterns that may begin with them.
    three: Vec<u64>,
    /// By length, in bytes: the patterns whose tails may be as long.
    within: Vec<u64>,
}

/// Bits of the hash of three folded bytes.
const THREE: u32 = 12;

/// Beginnings of three bytes that are listed for a pattern; one with more of them may begin with any.
const MOST: usize = 20_000;

fn three(bytes: [u8; 3]) -> usize {
    let [a, b, c] = bytes.map(|byte| u32::from(FOLD[usize::from(byte)]));
    ((a | b << 6 | c << 12).wrapping_mul(0x9E37_79B1) >> (32 - THREE)) as usize
}

#[derive(Debug)]
struct Tail {
    pattern: u32,
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
            three: vec![0; 1 << THREE],
            within: vec![0; patterns.iter().map(|(_, probes, _)| probes.reach).max().unwrap_or(0) + 1],
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
            tails.within[..=probes.reach].iter_mut().for_each(|patterns| *patterns |= 1 << bit);
            match beginnings(automaton) {
                Some(hashes) => hashes.into_iter().for_each(|hash| tails.three[hash] |= 1 << bit),
                None => tails.three.iter_mut().for_each(|patterns| *patterns |= 1 << bit),
            }
            let automaton = Arc::clone(automaton);
            tails.patterns.push(Tail { pattern: *pattern, automaton });
        }
        tails
    }

    /// Adds the places at the end of `text` where a candidate begins that is live at the end and no longer than its
    /// pattern's tail. `before` is the byte before the text.
    pub(crate) fn look(&self, text: &[u8], before: Option<u8>, found: &mut Vec<Starts>) {
        let mut allowed = u64::MAX;
        let mut at = text.len();
        while at > 0 {
            at -= 1;
            allowed &= self.within.get(text.len() - at).copied().unwrap_or(0);
            if allowed == 0 {
                return;
            }
            let before = if at > 0 { Some(text[at - 1]) } else { before };
            let mut here = allowed & self.first[kind(before)][usize::from(text[at])];
            if here != 0
                && let Some(bytes) = text[at..].first_chunk()
            {
                here &= self.three[three(*bytes)];
            }
            while here != 0 {
                let tail = &self.patterns[here.trailing_zeros() as usize];
                here &= here - 1;
                let rest = &text[at..];
                if tail.automaton.lives_through(before, rest) {
                    found.push(Starts { from: at as u32, to: at as u32, pattern: tail.pattern });
                }
            }
            if at > 0 {
                allowed &=
                    self.pairs[usize::from(FOLD[usize::from(text[at - 1])])][usize::from(FOLD[usize::from(text[at])])];
            }
        }
    }
}

/// The hashes of the three bytes that a candidate may begin with; None where they are many or where less may be a match.
fn beginnings(automaton: &Automaton) -> Option<Vec<usize>> {
    let mut classes: Vec<Vec<u8>> = Vec::new();
    for byte in 0..=255u8 {
        let class = automaton.class(byte);
        if class >= classes.len() {
            classes.resize(class + 1, Vec::new());
        }
        // One byte of each folded value will do.
        if classes[class].iter().all(|other| fold(*other) != fold(byte)) {
            classes[class].push(byte);
        }
    }
    let mut known: Vec<(u32, Vec<[u8; 3]>)> = Vec::new();
    let mut starts: Vec<u32> = BEFORE.iter().map(|before| automaton.start(*before)).collect();
    starts.sort_unstable();
    starts.dedup();
    known.extend(starts.into_iter().map(|state| (state, vec![[0; 3]])));
    for place in 0..3 {
        let mut next: Vec<(u32, Vec<[u8; 3]>)> = Vec::new();
        let mut count = 0;
        for (state, beginnings) in &known {
            for class in &classes {
                let to = automaton.step(*state, class[0]);
                if automaton.matched(to) {
                    return None;
                }
                if !automaton.live(to) {
                    continue;
                }
                count += beginnings.len() * class.len();
                if count > MOST {
                    return None;
                }
                let longer = beginnings.iter().flat_map(|beginning| {
                    class.iter().map(move |byte| {
                        let mut longer = *beginning;
                        longer[place] = *byte;
                        longer
                    })
                });
                next.push((to, longer.collect()));
            }
        }
        known = next;
    }
    let mut hashes: Vec<usize> = known.iter().flat_map(|(_, all)| all).map(|bytes| three(*bytes)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    Some(hashes)
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
