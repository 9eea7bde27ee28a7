//! AVX2: 32 places at a time, a table of 64 bytes as four of 16.

use super::{Group, Groups, Kernel, Part, READY, STEP, STRETCH, Which, Wide};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Parts of a table of 64 bytes.
const QUARTERS: usize = 4;

/// Places whose tables stay in registers.
const TOGETHER: usize = 3;

#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// A stretch of text in six bits, as each quarter of a table is read: four bits where the value is of this quarter, the topmost
/// bit where it isn't. Only what was made ready is read: short texts are many, and clearing all of it would cost more than
/// looking at them.
type View = [[MaybeUninit<u8>; READY]; QUARTERS];

/// A stretch of text by bytes and by pairs.
#[repr(align(64))]
pub(super) struct Views {
    bytes: View,
    pairs: View,
    /// The buckets that may still stand at each place.
    known: [u8; STRETCH],
}

impl Avx2 {
    /// The buckets that the `PLACES` places of a group from `from` on leave at the places of a stretch; `first` where nothing
    /// is known of them.
    #[inline(always)]
    fn narrow<const PLACES: usize>(
        self,
        group: &Group,
        from: usize,
        view: &View,
        len: usize,
        known: &mut [u8; STRETCH],
        first: bool,
    ) {
        // SAFETY: a value of this type exists inside `with_avx2` alone, so the machine has AVX2. A quarter of a table is 16
        // bytes of 64; `from + PLACES` is at most DEPTH. Loads of text are unaligned, 32 bytes below `len + DEPTH`, and a whole
        // step more than `len` was made ready; `known` is read and written below STRETCH.
        unsafe {
            let table = |place: usize, quarter: usize| {
                let table = group.six[from + place].as_ptr().add(16 * quarter);
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast()))
            };
            let mut tables = [[_mm256_setzero_si256(); QUARTERS]; PLACES];
            for (place, tables) in tables.iter_mut().enumerate() {
                for (quarter, here) in tables.iter_mut().enumerate() {
                    *here = table(place, quarter);
                }
            }
            let mut at = 0;
            while at < len {
                let here = known.as_mut_ptr().add(at).cast::<__m256i>();
                let mut buckets = if first { _mm256_set1_epi8(-1) } else { _mm256_loadu_si256(here) };
                let mut place = 0;
                while place < PLACES {
                    // Written out: a loop would read the tables from memory.
                    let [a, b, c, d] = tables[place];
                    let text =
                        |quarter: usize| _mm256_loadu_si256(view[quarter].as_ptr().add(at + from + place).cast());
                    let ab = _mm256_or_si256(_mm256_shuffle_epi8(a, text(0)), _mm256_shuffle_epi8(b, text(1)));
                    let cd = _mm256_or_si256(_mm256_shuffle_epi8(c, text(2)), _mm256_shuffle_epi8(d, text(3)));
                    buckets = _mm256_and_si256(buckets, _mm256_or_si256(ab, cd));
                    place += 1;
                }
                _mm256_storeu_si256(here, buckets);
                at += 32;
            }
        }
    }

    /// The places at which any bucket is left.
    #[inline(always)]
    fn places(self, which: &Which) -> u64 {
        // SAFETY: as above; two loads of 32 bytes of 64.
        unsafe {
            let (one, two) = (which.as_ptr().cast(), which.as_ptr().add(32).cast());
            let zero = _mm256_setzero_si256();
            let one = !_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(one), zero)) as u32;
            let two = !_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(two), zero)) as u32;
            u64::from(one) | u64::from(two) << 32
        }
    }
}

impl Wide for Avx2 {
    type Views = Views;

    #[inline(always)]
    fn views(self) -> Views {
        let view = [[MaybeUninit::uninit(); READY]; QUARTERS];
        Views { bytes: view, pairs: view, known: [0; STRETCH] }
    }

    #[inline(always)]
    fn prepare(self, text: &Part, at: usize, views: &mut Views) {
        for half in [0, STEP / 2] {
            // SAFETY: as above. Loads are unaligned, 32 bytes at 0, 1, 32 and 33 of 65.
            let [bytes, pairs] = unsafe {
                let bytes = _mm256_loadu_si256(text.as_ptr().add(half).cast());
                let next = _mm256_loadu_si256(text.as_ptr().add(half + 1).cast());
                let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
                // This is `folded`; the topmost bit of a byte picks what is no ASCII.
                let letter = _mm256_and_si256(_mm256_srli_epi16::<1>(bytes), all(0x20));
                let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, all(0x1f)), bytes);
                let folded = _mm256_blendv_epi8(_mm256_andnot_si256(letter, bytes), all(b' '), control);
                let folded = _mm256_blendv_epi8(folded, all(b'\\'), bytes);
                // This is `Index::six`; what is shifted in from the byte below is cleared.
                let next = _mm256_and_si256(_mm256_slli_epi16::<3>(next), all(0x38));
                let pairs = _mm256_add_epi8(_mm256_or_si256(bytes, all(0x20)), next);
                [_mm256_and_si256(folded, all(63)), _mm256_and_si256(pairs, all(63))]
            };
            for (view, six) in [(&mut views.bytes, bytes), (&mut views.pairs, pairs)] {
                for (quarter, view) in view.iter_mut().enumerate() {
                    let view = &mut view[at * STEP + half..][..STEP / 2];
                    // SAFETY: as above; a store of 32 bytes of 32.
                    unsafe {
                        // Four bits are left of a value of this quarter; every other one has the topmost bit.
                        let here = _mm256_sub_epi8(six, _mm256_set1_epi8(16 * quarter as i8));
                        let here = _mm256_adds_epu8(here, _mm256_set1_epi8(0x70));
                        _mm256_storeu_si256(view.as_mut_ptr().cast(), here);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        views: &mut Views,
        steps: usize,
        tell: &mut F,
    ) -> bool {
        let Views { bytes, pairs, known } = views;
        let len = steps * STEP;
        for (at, group) in groups.all.iter().enumerate() {
            let view = if at < groups.bytes { &*bytes } else { &*pairs };
            let mut from = 0;
            while from < group.depth {
                match group.depth - from {
                    1 => self.narrow::<1>(group, from, view, len, known, from == 0),
                    2 => self.narrow::<2>(group, from, view, len, known, from == 0),
                    _ => self.narrow::<TOGETHER>(group, from, view, len, known, from == 0),
                }
                from += TOGETHER;
            }
            for (step, which) in known.as_chunks::<STEP>().0.iter().take(steps).enumerate() {
                let places = self.places(which);
                if places != 0 && !tell(at, step, places, which) {
                    return false;
                }
            }
        }
        true
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}
