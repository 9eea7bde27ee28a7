//! The candidate pass: one look at the bytes for all patterns, which tells where a candidate may begin.
//!
//! Each pattern's [`probe`]s say what its matches must contain. The [`vectors`] look for them at 64 places at a time:
//! [`windows`] of classes, and four-byte [`words`] by pairs of bytes, [`gather`]ed into groups so that few look-ups tell
//! the few places at which one may stand; where there are thousands of words, a table does. A hit is confirmed byte by
//! byte here, and followed by the pattern's automaton in the lane.

pub(crate) mod bytes;
mod gather;
pub(crate) mod probe;
mod stretch;
mod tails;
pub(crate) mod vectors;
mod windows;
mod words;

use crate::stream::automaton::Automaton;
use probe::{Lead, Probe, Probes, Run};
use std::sync::Arc;
use stretch::Stretched;
use tails::Tails;
pub use vectors::Vectors;
use vectors::{Groups, bits, look};
use windows::Windows;
use words::Words;

/// Places where candidates of a pattern may begin, in bytes of the text that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Starts {
    /// The first one.
    pub(crate) from: u32,
    /// The last one.
    pub(crate) to: u32,
    pub(crate) pattern: u32,
}

/// Bytes that are looked at in one go: what is found in them waits in memory until it is used.
pub(crate) const BLOCK: usize = 64 << 10;

/// Hits after which a look is cut short, and the bytes that it is not cut below.
const MAX_HITS: usize = 4096;
const MIN_LOOK: usize = 256;

/// Starts of one hit that are tried out at once; more of them are followed together in the lane.
const FEW: usize = 4;

/// The candidate pass of one set of patterns.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    probes: Vec<Looked>,
    groups: Groups,
    windows: Windows,
    words: Words,
    stretches: Vec<Stretched>,
    tails: Vec<Tails>,
    vectors: Vectors,
}

/// A probe that is looked for.
#[derive(Debug)]
struct Looked {
    pattern: u32,
    /// The length of the window, in bytes.
    window: usize,
    lead: Lead,
    after: Vec<u32>,
    run: Option<Run>,
    word: Word,
    automaton: Arc<Automaton>,
}

impl Looked {
    fn new(pattern: u32, probe: &Probe, automaton: &Arc<Automaton>) -> Self {
        Self {
            pattern,
            window: probe.window.len(),
            lead: probe.lead.clone(),
            after: probe.after.clone(),
            run: probe.run.clone(),
            word: Word::new(&probe.word),
            automaton: Arc::clone(automaton),
        }
    }
}

/// The first bytes of a word, in any case.
#[derive(Debug)]
struct Word {
    bytes: u128,
    /// The bits that the word has.
    mask: u128,
}

impl Word {
    /// A letter of either case is the lower one.
    const SMALL: u128 = u128::from_le_bytes([0x20; 16]);

    fn new(word: &[u8]) -> Self {
        let take = |byte: fn(&u8) -> u8| {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(word).for_each(|(to, from)| *to = byte(from));
            u128::from_le_bytes(bytes)
        };
        Self { bytes: take(|byte| byte | 0x20), mask: take(|_| 0xff) }
    }

    /// False where the text doesn't begin with the word, as far as both go.
    fn may_stand(&self, text: &[u8]) -> bool {
        let there = match text.first_chunk() {
            Some(bytes) => (u128::from_le_bytes(*bytes), u128::MAX),
            None => {
                let mut bytes = [0; 16];
                bytes[..text.len()].copy_from_slice(text);
                (u128::from_le_bytes(bytes), !(u128::MAX << (8 * text.len())))
            }
        };
        ((there.0 | Self::SMALL) ^ self.bytes) & self.mask & there.1 == 0
    }
}

impl Filter {
    /// The pass for these patterns, all of which have probes.
    pub(crate) fn new(patterns: &[(u32, &Probes, &Arc<Automaton>)], vectors: Vectors) -> Self {
        let mut filter = Self { vectors, ..Self::default() };
        for (pattern, probes, automaton) in patterns {
            for probe in &probes.any {
                let id = filter.probes.len() as u32;
                if !filter.words.add(id, probe.before.as_ref(), &probe.window) {
                    filter.windows.add(id, probe.before.as_ref(), &probe.window, &probe.beyond);
                }
                filter.probes.push(Looked::new(*pattern, probe, automaton));
            }
            filter.stretches.extend(probes.stretch.iter().map(|stretch| Stretched::new(*pattern, stretch, automaton)));
        }
        filter.tails = Tails::of(patterns);
        let windows = filter.windows.finish();
        filter.groups = Groups::new(windows, filter.words.finish());
        filter
    }

    /// True where there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.stretches.is_empty()
    }

    /// Looks for windows that lie whole in the first bytes of `text`, at most [`BLOCK`] of them. The number of bytes that
    /// were looked at is given back; `found` is replaced by the starts, sorted, none twice.
    pub(crate) fn look(&self, text: &[u8], found: &mut Vec<Starts>) -> usize {
        found.clear();
        let mut len = text.len().min(BLOCK);
        if self.is_empty() {
            return len;
        }
        loop {
            let block = &text[..len];
            // What stands in a few bytes is always taken.
            let most = if len <= MIN_LOOK { usize::MAX } else { MAX_HITS };
            let mut hit = |probe: u32, at: usize| {
                self.confirm(block, probe, at, found);
                found.len() < most
            };
            if self.words.look(block, &mut hit)
                && self.look_by_vectors(block, &mut hit)
                && self.stretches.iter().all(|stretch| stretch.look(block, found, most))
            {
                break;
            }
            len = (len / 4).max(MIN_LOOK);
            found.clear();
        }
        tidy(found);
        len
    }

    /// Calls `hit` with each probe that the vectors find and the place of its window; stops where that gives false, and
    /// gives false itself.
    fn look_by_vectors(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        if self.groups.is_empty() {
            return true;
        }
        look(self.vectors, &self.groups, text, |group, start, places, which| {
            bits(places).all(|place| {
                let at = start + place;
                if group >= self.groups.bytes() {
                    return self.words.told(text, at, hit);
                }
                self.windows.told(group, text, at, which[place], hit)
            })
        })
    }

    /// Adds the places at the end of `text` where a match may begin whose window isn't whole yet. `before` is the byte
    /// before the text.
    pub(crate) fn tail(&self, text: &[u8], before: Option<u8>, found: &mut Vec<Starts>) {
        let count = found.len();
        self.tails.iter().for_each(|tails| tails.look(text, before, found));
        self.stretches.iter().for_each(|stretch| stretch.tail(text, before, found));
        if found.len() > count {
            tidy(found);
        }
    }

    /// Tries a probe that stands at a place, with what stands before it.
    fn confirm(&self, text: &[u8], probe: u32, at: usize, found: &mut Vec<Starts>) {
        let Looked { pattern, window, lead, after, run, word, automaton } = &self.probes[probe as usize];
        if text.len() - at < *window {
            return;
        }
        let anchor = at + lead.anchor;
        if lead.max == lead.min {
            // Candidates that begin before this text are followed already.
            let Some(from) = anchor.checked_sub(lead.min) else { return };
            if word.may_stand(&text[from..]) && automaton.may_match(text, from) {
                found.push(Starts { from: from as u32, to: from as u32, pattern: *pattern });
            }
            return;
        }
        let rest = &text[anchor + 1..];
        if run.as_ref().is_some_and(|run| !run.may_stand(rest))
            || (!after.is_empty() && !after.iter().any(|state| automaton.may_go_on(*state, rest)))
        {
            return;
        }
        let near = &text[anchor.saturating_sub(lead.max)..anchor];
        let run = near.iter().rev().take_while(|byte| lead.bytes.contains(**byte)).count();
        // Candidates that begin before this text are followed already.
        if run >= lead.min || run == anchor {
            let to = anchor.saturating_sub(lead.min);
            if anchor - run <= to && anchor >= lead.min {
                let (mut from, mut to) = (anchor - run, to);
                if to - from < FEW {
                    while from <= to && !automaton.may_match(text, from) {
                        from += 1;
                    }
                    while to > from && !automaton.may_match(text, to) {
                        to -= 1;
                    }
                }
                if from <= to {
                    found.push(Starts { from: from as u32, to: to as u32, pattern: *pattern });
                }
            }
        }
    }
}

/// Sorts starts by their place; those of one pattern that touch become one.
fn tidy(found: &mut Vec<Starts>) {
    if found.len() > 1 {
        found.sort_unstable_by_key(|starts| (starts.pattern, starts.from));
        found.dedup_by(|later, first| {
            let same = later.pattern == first.pattern && later.from <= first.to.saturating_add(1);
            if same {
                first.to = first.to.max(later.to);
            }
            same
        });
        found.sort_unstable();
    }
}
