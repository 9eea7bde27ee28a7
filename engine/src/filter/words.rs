//! Windows that can be listed as a few words of four bytes each: found by the value of the word, letters of both cases
//! folded, for all of them together.
//!
//! A moderate number of words is gathered into groups that the vectors look for, by pairs of bytes. More words than that
//! are looked for here: the word at each byte is hashed into a table of bits small enough for the first-level cache. Either
//! way what passes is looked up by its value.

use super::bytes::ByteSet;
use super::gather::{gather, quality};
use super::vectors::{Group, Index, PAIRS, STEP, bits};
use super::windows::rarest;

/// Bytes of a word.
const LEN: usize = 4;

/// The most words that one window is listed as.
const MAX_LISTED: usize = 160;

/// Bits of the hash.
const BITS: u32 = 16;

/// What the word at a byte costs to be hashed and looked up, beside a look-up of the vectors for [`STEP`] places.
const HASHED: f64 = 2.5;

#[derive(Debug, Default)]
pub(crate) struct Words {
    /// A bit for each hash; empty where there are no words.
    table: Vec<u64>,
    /// Sorted by hash and word.
    entries: Vec<Entry>,
    /// Where the entries of a hash begin, by the upper bits of the hash.
    index: Vec<u32>,
    /// The windows that the words stand in, from the word on.
    windows: Vec<Vec<ByteSet>>,
    /// The vectors tell where a word may stand.
    gathered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u32,
    word: u32,
    probe: u32,
    /// Where in the window the word stands.
    offset: u32,
}

/// Bits of a hash that the index tells apart.
const INDEX: u32 = 12;

fn hash(word: u32) -> u32 {
    word.wrapping_mul(0x9E37_79B1) >> (32 - BITS)
}

/// A letter of either case is the lower one. Other bytes fall together too, which the confirmation tells apart.
const FOLD: u32 = 0x2020_2020;

fn load(text: &[u8], at: usize) -> u32 {
    // The callers stay LEN bytes before the end.
    let bytes: [u8; LEN] = text[at..at + LEN].try_into().expect("a slice of this length");
    u32::from_le_bytes(bytes) | FOLD
}

impl Words {
    /// Takes a window, if it is best listed. False where it isn't.
    pub(crate) fn add(&mut self, probe: u32, before: Option<&ByteSet>, window: &[ByteSet]) -> bool {
        let folded: Vec<Vec<u8>> = window
            .iter()
            .map(|class| {
                let mut bytes: Vec<u8> = class.iter().map(|byte| byte | 0x20).collect();
                bytes.sort_unstable();
                bytes.dedup();
                bytes
            })
            .collect();
        let listed = |at: usize| folded[at..at + LEN].iter().map(Vec::len).product::<usize>();
        let part = |at: usize| &window[at..(at + PAIRS + 1).min(window.len())];
        let parts = (0..(window.len() + 1).saturating_sub(LEN))
            .filter(|at| (1..=MAX_LISTED).contains(&listed(*at)))
            .map(|at| (at, quality(Index::Pairs, part(at))));
        let Some((offset, best)) = parts.reduce(|a, b| if b.1 < a.1 { b } else { a }) else { return false };
        // A single word is better read by pairs; a few classes may not be.
        if listed(offset) > 1 && rarest(before, window).2 < best {
            return false;
        }
        // What folds to a letter may have been either case, or a byte that only looks alike.
        let both = |class: &ByteSet| class.iter().flat_map(|byte| [byte | 0x20, byte & !0x20]).collect();
        self.windows.push(part(offset).iter().map(both).collect());
        let mut words = vec![0u32];
        for (place, bytes) in folded[offset..offset + LEN].iter().enumerate() {
            words = words.iter().flat_map(|w| bytes.iter().map(move |b| w | u32::from(*b) << (8 * place))).collect();
        }
        self.entries.extend(words.into_iter().map(|word| Entry {
            hash: hash(word),
            word,
            probe,
            offset: offset as u32,
        }));
        true
    }

    /// Builds the tables, once all windows are in. The groups are given back that the vectors look for.
    pub(crate) fn finish(&mut self) -> Vec<Group> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        self.entries.sort_unstable();
        self.table = vec![0; 1 << (BITS - 6)];
        self.index = vec![0; (1 << INDEX) + 1];
        for entry in &self.entries {
            self.table[(entry.hash >> 6) as usize] |= 1 << (entry.hash & 63);
            self.index[(entry.hash >> (BITS - INDEX)) as usize + 1] += 1;
        }
        for at in 1..self.index.len() {
            self.index[at] += self.index[at - 1];
        }
        let windows = std::mem::take(&mut self.windows);
        let (groups, cost) = gather(Index::Pairs, &windows);
        self.gathered = cost < HASHED * STEP as f64;
        if !self.gathered {
            return Vec::new();
        }
        let group = |buckets: &[Vec<usize>]| -> Vec<Vec<&[ByteSet]>> {
            buckets.iter().map(|bucket| bucket.iter().map(|at| &windows[*at][..]).collect()).collect()
        };
        groups.iter().map(|gathered| Group::new(Index::Pairs, gathered.depth, &group(&gathered.buckets))).collect()
    }

    /// A word may stand at this place of the text.
    fn may_stand(&self, text: &[u8], at: usize) -> bool {
        let hash = hash(load(text, at));
        self.table[(hash >> 6) as usize] >> (hash & 63) & 1 == 1
    }

    /// Calls `hit` with the probes of the word that stands at a place, and the place of its window; stops where that gives
    /// false, and gives false itself. `at` is counted from the byte before the text.
    pub(crate) fn told(&self, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        let Some(at) = at.checked_sub(1).filter(|at| at + LEN <= text.len()) else { return true };
        !self.may_stand(text, at) || self.at(text, at, hit)
    }

    /// Looks for words that the vectors don't look for. Calls `hit` with each probe and the place of its window; stops where
    /// that gives false, and gives false itself.
    pub(crate) fn look(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        if self.gathered || self.entries.is_empty() || text.len() < LEN {
            return true;
        }
        let table: &[u64; 1 << (BITS - 6)] = self.table.as_slice().try_into().expect("built with this length");
        let bit = |at: usize| {
            let hash = hash(load(text, at));
            table[(hash >> 6) as usize] >> (hash & 63) & 1
        };
        let last = text.len() - LEN;
        let mut at = 0;
        while at + 8 <= last {
            let words = (0..8).fold(0, |bits, offset| bits | bit(at + offset) << offset);
            if !bits(words).all(|offset| self.at(text, at + offset, hit)) {
                return false;
            }
            at += 8;
        }
        (at..=last).all(|at| bit(at) == 0 || self.at(text, at, hit))
    }

    /// Calls `hit` with the probes of the word that stands here, if it is one.
    #[inline(never)]
    fn at(&self, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        let word = load(text, at);
        let bucket = (hash(word) >> (BITS - INDEX)) as usize;
        let entries = &self.entries[self.index[bucket] as usize..self.index[bucket + 1] as usize];
        entries
            .iter()
            .filter(|entry| entry.word == word && entry.offset as usize <= at)
            .all(|entry| hit(entry.probe, at - entry.offset as usize))
    }
}
