//! Which windows may stand at which of 64 places: the one room with vector instructions.
//!
//! Eight buckets of windows make a group: a bit each. For each of the first few places of a window a table says which
//! buckets a byte (or a pair of bytes) may stand in; the tables of consecutive places combined tell which buckets may
//! stand here. That is Teddy's idea (Hyperscan's, known from aho-corasick), with classes of bytes and with pairs in the
//! place of letters, and as many places as a group needs to be rare.
//!
//! Places are counted from one byte before the text: what a window demands of the byte before a match is looked at there,
//! and before the whole text stands [`BEFORE`], which every such class holds.
#![allow(
    unsafe_code,
    reason = "vector instructions are called through unsafe functions; each call says why it is sound"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod group;
pub(crate) mod marks;
mod portable;

#[cfg(target_arch = "x86_64")]
use avx2::with_avx2;
#[cfg(target_arch = "x86_64")]
use avx512::with_avx512;
pub(crate) use group::{FOLD, Group, Groups, Index, fold, six};
use marks::Mark;
use portable::Portable;

/// The most places of a window that are looked at together.
pub(crate) const DEPTH: usize = 9;

/// The same, of pairs.
pub(crate) const PAIRS: usize = 7;

/// Places of a text that are looked at in one go.
pub(crate) const STEP: usize = 64;

/// Buckets of a group.
pub(crate) const BUCKETS: usize = 8;

/// What stands before a text.
pub(crate) const BEFORE: u8 = 0;

/// Bytes that are made ready at once: an even number of steps.
const STRETCH: usize = 8 * STEP;

/// The same, with the bytes after them that the last windows need.
const READY: usize = STRETCH + STEP;

/// The vector instructions that are used. All give the same results; the portable code is the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// AVX-512 (F, BW and VBMI): 64 bytes at a time.
    Avx512,
    /// AVX2: 32 bytes at a time.
    Avx2,
    /// Plain code, for every machine.
    Portable,
}

impl Default for Vectors {
    /// The widest that this machine has.
    fn default() -> Self {
        *Self::available().first().unwrap_or(&Self::Portable)
    }
}

impl Vectors {
    /// All that this machine can run, the widest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi");
            if avx512 {
                return &[Self::Avx512, Self::Avx2, Self::Portable];
            }
            if is_x86_feature_detected!("avx2") {
                return &[Self::Avx2, Self::Portable];
            }
        }
        &[Self::Portable]
    }

    /// This, or portable code where the machine doesn't have it.
    #[must_use]
    pub(crate) fn or_portable(self) -> Self {
        if Self::available().contains(&self) { self } else { Self::Portable }
    }

    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `or_portable` and `available` made sure that the machine has these instructions.
            Self::Avx512 => unsafe { with_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `or_portable` and `available` made sure that the machine has these instructions.
            Self::Avx2 => unsafe { with_avx2(kernel) },
            _ => kernel.run(Portable),
        }
    }
}

/// A loop that is compiled once for each kind of vectors.
pub(crate) trait Kernel {
    type Output;
    fn run<W: Wide>(self, wide: W) -> Self::Output;
}

/// As many bytes of a text as a step has places, with the one after them.
type Part = [u8; STEP + 1];

/// Which buckets of a group may stand at each of the 64 places of a step, as bits.
pub(crate) type Which = [u8; STEP];

/// What every kind of vectors can do.
pub(crate) trait Wide: Mark {
    /// A stretch of text as this kind of vectors reads it.
    type Views;

    fn views(self) -> Self::Views;

    /// Makes a part of the stretch ready, the one at this place among its parts.
    fn prepare(self, text: &Part, at: usize, views: &mut Self::Views);

    /// Looks for the buckets of all groups at the places of so many steps. `tell` is given the group, the step, the places
    /// as bits, and for each of these the buckets that may stand there, as bits again; where it gives false the look ends,
    /// and gives false itself. A bucket that stands at a place is always told; one that doesn't may be.
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        views: &mut Self::Views,
        steps: usize,
        tell: &mut F,
    ) -> bool;
}

/// Looks for the buckets of all groups in a text. `tell` is given the group, where its 64 places begin, the places as bits
/// and the buckets that may stand there as bits; where it gives false the look ends, and gives false itself. Places are
/// counted from the byte before the text, and the last one is that of the text's last byte.
pub(crate) fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
    vectors: Vectors,
    groups: &Groups,
    text: &[u8],
    tell: F,
) -> bool {
    struct Look<'a, F> {
        groups: &'a Groups,
        text: &'a [u8],
        tell: F,
    }

    impl<F: FnMut(usize, usize, u64, &Which) -> bool> Kernel for Look<'_, F> {
        type Output = bool;

        #[inline(always)]
        fn run<W: Wide>(mut self, wide: W) -> bool {
            let mut views = wide.views();
            let places = self.text.len() + 1;
            let mut from = 0;
            while from < places {
                let len = (places - from).min(STRETCH);
                // Two steps are looked at together, and what they need after them.
                let parts = len.next_multiple_of(2 * STEP) / STEP + 1;
                for part in 0..parts {
                    let at = from + part * STEP;
                    match at.checked_sub(1).and_then(|at| self.text.get(at..)?.first_chunk()) {
                        Some(text) => wide.prepare(text, part, &mut views),
                        None => wide.prepare(&edge(self.text, at), part, &mut views),
                    }
                }
                let inside = |step: usize| match len.saturating_sub(step * STEP) {
                    here @ 0..STEP => (1 << here) - 1,
                    _ => u64::MAX,
                };
                let mut tell = |group: usize, step: usize, places: u64, which: &Which| {
                    let places = places & inside(step);
                    places == 0 || (self.tell)(group, from + step * STEP, places, which)
                };
                if !wide.look(self.groups, &mut views, len.div_ceil(STEP), &mut tell) {
                    return false;
                }
                from += len;
            }
            true
        }
    }

    vectors.run(Look { groups, text, tell })
}

/// A part at the edge of a text; places are counted from the byte before it.
#[inline(always)]
fn edge(text: &[u8], at: usize) -> Part {
    let mut part = [0; STEP + 1];
    let (to, from) = match at.checked_sub(1) {
        None => (1, 0),
        Some(from) => (0, from),
    };
    let rest = text.get(from..).unwrap_or_default();
    let len = rest.len().min(part.len() - to);
    part[to..to + len].copy_from_slice(&rest[..len]);
    part[..to].fill(BEFORE);
    part
}

/// The bits of a word, as places.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::bytes::ByteSet;
    use proptest::prelude::*;

    /// Which buckets stand at which places, told by a look.
    fn told(vectors: Vectors, groups: &Groups, text: &[u8]) -> Vec<Vec<u8>> {
        let mut told = vec![vec![0; text.len() + 1]; groups.all.len()];
        look(vectors, groups, text, |group, start, places, which| {
            bits(places).for_each(|place| told[group][start + place] |= which[place]);
            true
        });
        told
    }

    fn classes() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let byte = prop_oneof![any::<u8>(), 0x28..0x48u8];
        let class = proptest::collection::vec(byte, 1..40);
        proptest::collection::vec(proptest::collection::vec(class, 1..=DEPTH), 1..=12)
    }

    proptest! {
        #[test]
        fn every_kind_of_vectors_tells_every_window_that_stands_somewhere(
            text in proptest::collection::vec(prop_oneof![any::<u8>(), 0x28..0x48u8], 0..700),
            windows in classes(),
            depth in 1..=DEPTH,
        ) {
            let windows: Vec<Vec<ByteSet>> = windows
                .iter()
                .map(|window| window.iter().map(|class| class.iter().copied().collect()).collect())
                .collect();
            // Two windows to a bucket, as far as there are so many.
            let buckets: Vec<Vec<&[ByteSet]>> =
                windows.chunks(2).map(|pair| pair.iter().map(Vec::as_slice).collect()).collect();
            let groups = Groups::new(
                vec![Group::new(Index::Bytes, depth, &buckets)],
                vec![Group::new(Index::Pairs, depth, &buckets)],
            );
            let whole: Vec<u8> = std::iter::once(BEFORE).chain(text.iter().copied()).collect();
            let stands = |window: &&[ByteSet], at: usize| {
                window.len() <= whole.len() - at && window.iter().zip(&whole[at..]).all(|(class, byte)| class.contains(*byte))
            };
            for vectors in Vectors::available() {
                let told = told(*vectors, &groups, &text);
                for at in 0..whole.len() {
                    for (bucket, windows) in buckets.iter().enumerate() {
                        if windows.iter().any(|window| stands(window, at)) {
                            for (group, told) in told.iter().enumerate() {
                                prop_assert!(told[at] >> bucket & 1 == 1, "{:?}: group {group} at {at}", vectors);
                            }
                        }
                    }
                }
            }
        }
    }
}
