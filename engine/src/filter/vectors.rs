//! Which windows stand at which of 64 places: the one room with vector instructions.
//!
//! Eight windows of four classes each make a group. A byte has, for each of the four places in a window, a mask that says
//! in which windows of the group it may stand there; four masks of consecutive bytes combined tell which windows stand at
//! a place. That is Teddy's idea (Hyperscan's, known from aho-corasick), with classes of bytes in the place of letters.
#![allow(
    unsafe_code,
    reason = "vector instructions are called through unsafe functions; each call says why it is sound"
)]

use super::bytes::ByteSet;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Classes of a window that are looked at together.
pub(crate) const DEPTH: usize = 4;

/// Places that are looked at in one go.
pub(crate) const STEP: usize = 64;

/// Bytes that are needed for [`STEP`] places.
pub(crate) const SPAN: usize = STEP + DEPTH - 1;

/// Bytes for which the tables of a group stay at hand.
const STRETCH: usize = 8 * STEP;

/// A stretch of text as a kind of vectors reads it, with the bytes after it that its last windows need.
type Stretch = [u8; STRETCH + STEP];

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

/// What every kind of vectors can do.
pub(crate) trait Wide: Copy {
    /// The tables of a group, where they are at hand.
    type Tables<'a>: Copy;

    fn tables(self, group: &Group) -> Self::Tables<'_>;

    /// Makes the text ready to be looked at: what it may leave as it stands, it may also fold.
    fn prepare(self, stretch: &mut Stretch);

    /// The places where windows of the group may stand, as bits; where there are any, `which` tells for each place which
    /// windows, as bits again. A window that stands at a place is always told; one that doesn't may be.
    fn places(self, bytes: &[u8; SPAN], tables: Self::Tables<'_>, which: &mut [u8; STEP]) -> u64;
}

/// Eight windows of up to [`DEPTH`] classes.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group {
    /// For each place in the window and each byte: the windows in which it may stand there.
    exact: [[u8; 256]; DEPTH],
    /// The same for the low and the high half of a byte, which together may allow more.
    low: [[u8; 16]; DEPTH],
    high: [[u8; 16]; DEPTH],
    /// The same for folded bytes.
    folded: [[u8; 64]; DEPTH],
}

/// A byte in six bits: letters of both cases are one, digits and most signs stay apart.
pub(crate) fn fold(byte: u8) -> usize {
    usize::from(byte & !(byte >> 1 & 0x20) & 63)
}

impl Group {
    /// A group of up to eight windows; what a window leaves open may be any byte.
    pub(crate) fn new(windows: &[[ByteSet; DEPTH]]) -> Self {
        let mut group =
            Self { exact: [[0; 256]; DEPTH], low: [[0; 16]; DEPTH], high: [[0; 16]; DEPTH], folded: [[0; 64]; DEPTH] };
        for (at, window) in windows.iter().enumerate() {
            let bit = 1 << at;
            for (place, class) in window.iter().enumerate() {
                for byte in class.iter() {
                    group.exact[place][usize::from(byte)] |= bit;
                    group.low[place][usize::from(byte & 15)] |= bit;
                    group.high[place][usize::from(byte >> 4)] |= bit;
                    group.folded[place][fold(byte)] |= bit;
                }
            }
        }
        group
    }

    /// Which of these windows stand at a place of the text.
    pub(crate) fn agree(&self, text: &[u8], at: usize, windows: u8) -> u8 {
        let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<DEPTH>) else { return windows };
        self.exact.iter().zip(bytes).fold(windows, |windows, (table, byte)| windows & table[usize::from(*byte)])
    }
}

#[derive(Clone, Copy)]
struct Portable;

impl Wide for Portable {
    type Tables<'a> = &'a Group;

    #[inline(always)]
    fn tables(self, group: &Group) -> &Group {
        group
    }

    #[inline(always)]
    fn prepare(self, _: &mut Stretch) {}

    #[inline(always)]
    fn places(self, bytes: &[u8; SPAN], group: &Group, which: &mut [u8; STEP]) -> u64 {
        let mut places = 0;
        for at in 0..STEP {
            let windows = (0..DEPTH).fold(u8::MAX, |w, place| w & group.exact[place][usize::from(bytes[at + place])]);
            which[at] = windows;
            places |= u64::from(windows != 0) << at;
        }
        places
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Wide for Avx2 {
    /// By place in the window: the windows by the low and by the high half of a byte.
    type Tables<'a> = [(__m256i, __m256i); DEPTH];

    #[inline(always)]
    fn tables(self, group: &Group) -> Self::Tables<'_> {
        // SAFETY: a value of this type exists inside `with_avx2` alone, so the machine has AVX2. Loads are unaligned, 16
        // bytes of tables of 16.
        let twice = |table: &[u8; 16]| unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())) };
        std::array::from_fn(|place| (twice(&group.low[place]), twice(&group.high[place])))
    }

    #[inline(always)]
    fn prepare(self, _: &mut Stretch) {}

    #[inline(always)]
    fn places(self, bytes: &[u8; SPAN], tables: Self::Tables<'_>, which: &mut [u8; STEP]) -> u64 {
        // SAFETY: as above; loads are unaligned, 32 bytes at 0..=3 and 32..=35 of SPAN = 67; stores are 32 bytes at 0 and
        // 32 of 64.
        unsafe {
            let nibble = _mm256_set1_epi8(15);
            let mut places = 0;
            for half in [0, STEP / 2] {
                let mut windows = _mm256_set1_epi8(-1);
                for (place, (low, high)) in tables.into_iter().enumerate() {
                    let text = _mm256_loadu_si256(bytes.as_ptr().add(half + place).cast());
                    let upper = _mm256_and_si256(_mm256_srli_epi16(text, 4), nibble);
                    let by_low = _mm256_shuffle_epi8(low, _mm256_and_si256(text, nibble));
                    let by_high = _mm256_shuffle_epi8(high, upper);
                    windows = _mm256_and_si256(windows, _mm256_and_si256(by_low, by_high));
                }
                let none = _mm256_movemask_epi8(_mm256_cmpeq_epi8(windows, _mm256_setzero_si256())) as u32;
                places |= u64::from(!none) << half;
                _mm256_storeu_si256(which.as_mut_ptr().add(half).cast(), windows);
            }
            places
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Wide for Avx512 {
    /// By place in the window: the windows by the folded byte.
    type Tables<'a> = [__m512i; DEPTH];

    #[inline(always)]
    fn tables(self, group: &Group) -> Self::Tables<'_> {
        // SAFETY: a value of this type exists inside `with_avx512` alone, so the machine has AVX-512 F, BW and VBMI. Loads
        // are unaligned, 64 bytes of 64.
        group.folded.each_ref().map(|table| unsafe { _mm512_loadu_si512(table.as_ptr().cast()) })
    }

    #[inline(always)]
    fn prepare(self, stretch: &mut Stretch) {
        for part in stretch.as_chunks_mut::<STEP>().0 {
            // The look-up takes the low six bits of a byte alone.
            *part = part.map(|byte| byte & !(byte >> 1 & 0x20));
        }
    }

    #[inline(always)]
    fn places(self, bytes: &[u8; SPAN], tables: Self::Tables<'_>, which: &mut [u8; STEP]) -> u64 {
        // SAFETY: as above. Loads are unaligned, 64 bytes at 0..=3 of SPAN = 67; the store is 64 bytes of 64.
        unsafe {
            let by = |place: usize| {
                _mm512_permutexvar_epi8(_mm512_loadu_si512(bytes.as_ptr().add(place).cast()), tables[place])
            };
            let windows = _mm512_and_si512(_mm512_and_si512(by(0), by(1)), _mm512_and_si512(by(2), by(3)));
            _mm512_storeu_si512(which.as_mut_ptr().cast(), windows);
            _mm512_test_epi8_mask(windows, windows)
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Looks for the windows of all groups in a text. `each` is told the group, where its 64 places begin, the places as
/// bits and the windows that may stand there as bits; where it gives false the look ends, and gives false itself.
pub(crate) fn look<F: FnMut(usize, usize, u64, &[u8; STEP]) -> bool>(
    vectors: Vectors,
    groups: &[Group],
    text: &[u8],
    each: F,
) -> bool {
    struct Look<'a, F> {
        groups: &'a [Group],
        text: &'a [u8],
        each: F,
    }

    impl<F: FnMut(usize, usize, u64, &[u8; STEP]) -> bool> Kernel for Look<'_, F> {
        type Output = bool;

        #[inline(always)]
        fn run<W: Wide>(mut self, wide: W) -> bool {
            // Looked at first and told afterwards: what is told would push the tables out of the registers.
            let mut which = [[0; STEP]; STRETCH / STEP];
            let mut places = [0u64; STRETCH / STEP];
            let mut stretch = [0; STRETCH + STEP];
            let mut from = 0;
            while from < self.text.len() {
                let rest = &self.text[from..];
                let (len, ready) = (rest.len().min(STRETCH), rest.len().min(stretch.len()));
                stretch[..ready].copy_from_slice(&rest[..ready]);
                stretch[ready..].fill(0);
                wide.prepare(&mut stretch);
                let steps = len.div_ceil(STEP);
                for (at, group) in self.groups.iter().enumerate() {
                    let tables = wide.tables(group);
                    for (step, (places, which)) in places.iter_mut().zip(&mut which).take(steps).enumerate() {
                        // The stretch is longer by a step than the places that are looked at.
                        let Some(bytes) = stretch[step * STEP..].first_chunk::<SPAN>() else { break };
                        *places = wide.places(bytes, tables, which);
                    }
                    if len % STEP != 0 {
                        places[steps - 1] &= (1 << (len % STEP)) - 1;
                    }
                    for (step, (places, which)) in places.iter().zip(&which).take(steps).enumerate() {
                        if *places != 0 && !(self.each)(at, from + step * STEP, *places, which) {
                            return false;
                        }
                    }
                }
                from += len;
            }
            true
        }
    }

    vectors.run(Look { groups, text, each })
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
    use proptest::prelude::*;

    struct One<'a>(&'a [u8; SPAN], &'a Group);

    impl Kernel for One<'_> {
        type Output = (u64, [u8; STEP]);
        fn run<W: Wide>(self, wide: W) -> Self::Output {
            let mut which = [0; STEP];
            let mut stretch = [0; STRETCH + STEP];
            stretch[..SPAN].copy_from_slice(self.0);
            wide.prepare(&mut stretch);
            let bytes = stretch.first_chunk().expect("longer than a span");
            (wide.places(bytes, wide.tables(self.1), &mut which), which)
        }
    }

    proptest! {
        #[test]
        fn vectors_tell_every_place_that_the_portable_code_tells(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x28..0x48u8], SPAN..=SPAN),
            windows in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(prop_oneof![any::<u8>(), 0x28..0x48u8], 1..40), DEPTH..=DEPTH), 1..=8),
        ) {
            let bytes: [u8; SPAN] = bytes.try_into().expect("of this length");
            let windows: Vec<[ByteSet; DEPTH]> = windows
                .iter()
                .map(|window| std::array::from_fn(|place| window[place].iter().copied().collect()))
                .collect();
            let group = Group::new(&windows);
            let (places, which) = Vectors::Portable.run(One(&bytes, &group));
            for at in 0..STEP {
                let stands = |window: &[ByteSet; DEPTH]| (0..DEPTH).all(|place| window[place].contains(bytes[at + place]));
                let expected = windows.iter().enumerate().fold(0, |bits, (bit, window)| bits | u8::from(stands(window)) << bit);
                prop_assert_eq!(which[at], expected);
                prop_assert_eq!(places >> at & 1 == 1, expected != 0);
            }
            for vectors in Vectors::available() {
                let (there, those) = vectors.run(One(&bytes, &group));
                prop_assert_eq!(there & places, places, "{:?}", vectors);
                for at in (0..STEP).filter(|at| there >> at & 1 == 1) {
                    prop_assert_eq!(those[at] & which[at], which[at], "{:?} at {}", vectors, at);
                }
            }
        }
    }
}
