//! Windows that can be listed: one table of four-byte words, ASCII case folded, for all of them together.
//!
//! Each byte's word is hashed into a table of bits small enough for the first-level cache; what passes is looked up by
//! its value. The cost of the pass doesn't depend on how many words there are until the table fills.

use super::bytes::ByteSet;
use super::probe::rate;

/// Bytes of a word.
const LEN: usize = 4;

/// The most words that one window is listed as.
const MAX_LISTED: usize = 160;

/// Bits of the hash.
const BITS: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct Words {
    /// A bit for each hash; empty where there are no words.
    table: Vec<u64>,
    /// Sorted by hash and word.
    entries: Vec<Entry>,
    /// Where the entries of a hash begin, by the upper bits of the hash.
    index: Vec<u32>,
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
    /// Takes a window, if it can be listed. False where it can't.
    pub(crate) fn add(&mut self, probe: u32, window: &[ByteSet]) -> bool {
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
        let Some(offset) = (0..(window.len() + 1).saturating_sub(LEN))
            .filter(|at| (1..=MAX_LISTED).contains(&listed(*at)))
            .min_by(|a, b| rate(&window[*a..*a + LEN]).total_cmp(&rate(&window[*b..*b + LEN])))
        else {
            return false;
        };
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

    /// Builds the tables, once all windows are in.
    pub(crate) fn finish(&mut self) {
        if self.entries.is_empty() {
            return;
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
    }

    /// Calls `hit` with each probe and the place of its window; stops where that gives false, and gives false itself.
    pub(crate) fn look(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        if self.table.is_empty() || text.len() < LEN {
            return true;
        }
        let table: &[u64; 1 << (BITS - 6)] = self.table.as_slice().try_into().expect("built with this length");
        let last = text.len() - LEN;
        let mut at = 0;
        while at + 8 <= last {
            let word = |offset: usize| hash(load(text, at + offset));
            let bit = |hash: u32| table[(hash >> 6) as usize] >> (hash & 63) & 1;
            let mut bits = 0;
            for offset in 0..8 {
                bits |= bit(word(offset)) << offset;
            }
            while bits != 0 {
                let offset = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if !self.entries_at(text, at + offset, hit) {
                    return false;
                }
            }
            at += 8;
        }
        while at <= last {
            let h = hash(load(text, at));
            if table[(h >> 6) as usize] >> (h & 63) & 1 != 0 && !self.entries_at(text, at, hit) {
                return false;
            }
            at += 1;
        }
        true
    }

    #[cold]
    fn entries_at(&self, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        let word = load(text, at);
        let bucket = (hash(word) >> (BITS - INDEX)) as usize;
        let entries = &self.entries[self.index[bucket] as usize..self.index[bucket + 1] as usize];
        entries
            .iter()
            .filter(|entry| entry.word == word && entry.offset as usize <= at)
            .all(|entry| hit(entry.probe, at - entry.offset as usize))
    }
}
