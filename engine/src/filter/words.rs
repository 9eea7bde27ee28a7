//! Windows that can be listed: one table of four-byte words, ASCII case folded, for all of them together.
//!
//! A moderate number of words is gathered by their first letters into a few windows of classes, which the vectors look
//! for. More words than that are looked for here: the word at each byte is hashed into a table of bits small enough for
//! the first-level cache. Either way what passes is looked up by its value.

use super::bytes::ByteSet;
use super::probe::rate;
use super::vectors::{DEPTH, Group, Vectors, bits, look};

/// Bytes of a word.
const LEN: usize = DEPTH;

/// The most words that are gathered into windows, and how many of them make one.
const MAX_GATHERED: usize = 1024;
const GATHERED: usize = 16;

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
    /// The windows that the words are gathered into; none where they are too many.
    groups: Vec<Group>,
    vectors: Vectors,
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
    pub(crate) fn new(vectors: Vectors) -> Self {
        Self { vectors, ..Self::default() }
    }

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
        let mut words: Vec<[u8; LEN]> = self.entries.iter().map(|entry| entry.word.to_le_bytes()).collect();
        words.sort_unstable();
        words.dedup();
        if words.len() <= MAX_GATHERED {
            self.groups = gather(&words).chunks(8).map(Group::new).collect();
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
        let bit = |at: usize| {
            let hash = hash(load(text, at));
            table[(hash >> 6) as usize] >> (hash & 63) & 1
        };
        let last = text.len() - LEN;
        if !self.groups.is_empty() {
            return look(self.vectors, &self.groups, text, |_, start, places, _| {
                bits(places).map(|place| start + place).all(|at| at > last || bit(at) == 0 || self.at(text, at, hit))
            });
        }
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

/// Gathers words into windows of classes, so that few other words fit them: the two windows whose union adds least to
/// what is found by chance become one, until few enough are left.
fn gather(words: &[[u8; LEN]]) -> Vec<[ByteSet; LEN]> {
    // Whole groups of eight windows cost the same as begun ones.
    let most = words.len().div_ceil(GATHERED).next_multiple_of(8);
    // What folds to a letter may have been either case, or a byte that only looks alike.
    let classes = |word: &[u8; LEN]| word.map(|byte| [byte, byte & !0x20].into_iter().collect::<ByteSet>());
    let mut windows: Vec<Gathered> = words.iter().map(|word| Gathered::new(classes(word))).collect();
    // The nearest of the others that stand after it, with what their union adds.
    let nearest = |windows: &[Gathered], at: usize| {
        (at + 1..windows.len()).map(|to| (windows[at].added(&windows[to]), to)).min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let mut best: Vec<Option<(f64, usize)>> = (0..windows.len()).map(|at| nearest(&windows, at)).collect();
    while windows.len() > most {
        let pair = best.iter().enumerate().filter_map(|(at, best)| best.map(|(added, to)| (added, at, to)));
        let Some((_, at, to)) = pair.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        windows[at] = windows[at].with(&windows[to]);
        windows.remove(to);
        best.remove(to);
        for other in 0..windows.len() {
            let stale = other == at || best[other].is_some_and(|(_, known)| known == at || known == to);
            if stale {
                best[other] = nearest(&windows, other);
                continue;
            }
            if let Some((_, known)) = &mut best[other] {
                *known -= usize::from(*known > to);
            }
            if other < at {
                let added = windows[other].added(&windows[at]);
                if best[other].is_none_or(|(known, _)| added < known) {
                    best[other] = Some((added, at));
                }
            }
        }
    }
    windows.into_iter().map(|gathered| gathered.classes).collect()
}

/// A window that words are gathered into, with what is found by chance.
struct Gathered {
    classes: [ByteSet; LEN],
    rate: f64,
}

impl Gathered {
    fn new(classes: [ByteSet; LEN]) -> Self {
        Self { classes, rate: classes.iter().map(ByteSet::frequency).product() }
    }

    fn with(&self, other: &Self) -> Self {
        let mut classes = self.classes;
        classes.iter_mut().zip(&other.classes).for_each(|(class, more)| class.add(more));
        Self::new(classes)
    }

    fn added(&self, other: &Self) -> f64 {
        self.with(other).rate - self.rate - other.rate
    }
}
