//! AVX-512: 64 places at a time, a table of 64 bytes in one instruction.

use super::{DEPTH, Group, Groups, Kernel, PAIRS, Part, READY, STEP, Which, Wide};
use std::arch::x86_64::*;

/// How far ahead text is fetched, in bytes.
const AHEAD: usize = 1024;

/// Groups whose finds are told together.
const TOGETHER: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// A stretch of text by bytes and by pairs in six bits, and what was found of two steps.
#[repr(align(64))]
pub(super) struct Views {
    bytes: [u8; READY],
    pairs: [u8; READY],
    found: [Found; 2 * TOGETHER],
}

/// The buckets of one group at the places of one step.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Found {
    which: Which,
    places: u64,
    group: usize,
    step: usize,
}

impl Avx512 {
    /// The views of a stretch at the first places of a step.
    #[inline(always)]
    fn text<const LOADED: usize>(self, view: &[u8; READY], step: usize) -> [__m512i; LOADED] {
        // SAFETY: a value of this type exists inside `with_avx512` alone, so the machine has AVX-512 F, BW and VBMI. Loads
        // are unaligned, 64 bytes at less than `STRETCH - STEP + DEPTH`, and READY is longer by a step.
        std::array::from_fn(|place| unsafe { _mm512_loadu_si512(view.as_ptr().add(step * STEP + place).cast()) })
    }

    /// The buckets that `PLACES` places leave, of two steps.
    #[inline(always)]
    fn buckets<const PLACES: usize, const LOADED: usize>(
        self,
        group: &Group,
        text: &[[__m512i; LOADED]; 2],
    ) -> [__m512i; 2] {
        // SAFETY: as above; a table is 64 bytes.
        let table = |place: usize| unsafe { _mm512_loadu_si512(group.six[place].as_ptr().cast()) };
        // SAFETY: as above.
        let by = |text: __m512i, table: __m512i| unsafe { _mm512_permutexvar_epi8(text, table) };
        let first = table(0);
        let mut buckets = [by(text[0][0], first), by(text[1][0], first)];
        for place in 1..PLACES {
            let table = table(place);
            // A group is looked at no further than text is loaded for its kind.
            let place = place.min(LOADED - 1);
            for (buckets, text) in buckets.iter_mut().zip(text) {
                // SAFETY: as above.
                *buckets = unsafe { _mm512_and_si512(*buckets, by(text[place], table)) };
            }
        }
        buckets
    }

    #[inline(always)]
    fn group<const LOADED: usize>(self, group: &Group, text: &[[__m512i; LOADED]; 2]) -> [__m512i; 2] {
        match group.depth {
            ..=2 => self.buckets::<2, LOADED>(group, text),
            3 => self.buckets::<3, LOADED>(group, text),
            4 => self.buckets::<4, LOADED>(group, text),
            5 => self.buckets::<5, LOADED>(group, text),
            6 => self.buckets::<6, LOADED>(group, text),
            7 => self.buckets::<7, LOADED>(group, text),
            8 => self.buckets::<8, LOADED>(group, text),
            _ => self.buckets::<DEPTH, LOADED>(group, text),
        }
    }

    /// Looks for some groups at two steps, from the group `first` on. The finds are put into `found`; their number is given
    /// back.
    #[inline(always)]
    fn look_at<const LOADED: usize>(
        self,
        groups: &[Group],
        first: usize,
        view: &[u8; READY],
        step: usize,
        found: &mut [Found; 2 * TOGETHER],
    ) -> usize {
        let text = [self.text::<LOADED>(view, step), self.text::<LOADED>(view, step + 1)];
        let mut count = 0;
        for (at, group) in groups.iter().take(TOGETHER).enumerate() {
            let buckets = self.group(group, &text);
            for (more, buckets) in buckets.into_iter().enumerate() {
                let places = self.places(buckets);
                // Written in any case and counted where it is one: no branch to be guessed.
                let next = &mut found[count % (2 * TOGETHER)];
                self.which(buckets, &mut next.which);
                (next.places, next.group, next.step) = (places, first + at, step + more);
                count += usize::from(places != 0);
            }
        }
        count
    }

    /// The places at which any bucket is left.
    #[inline(always)]
    fn places(self, buckets: __m512i) -> u64 {
        // SAFETY: as above.
        unsafe { _mm512_test_epi8_mask(buckets, buckets) }
    }

    #[inline(always)]
    fn which(self, buckets: __m512i, which: &mut Which) {
        // SAFETY: as above; 64 bytes of 64.
        unsafe { _mm512_storeu_si512(which.as_mut_ptr().cast(), buckets) };
    }
}

impl Wide for Avx512 {
    type Views = Views;

    #[inline(always)]
    fn views(self) -> Views {
        let none = Found { which: [0; STEP], places: 0, group: 0, step: 0 };
        Views { bytes: [0; READY], pairs: [0; READY], found: [none; 2 * TOGETHER] }
    }

    #[inline(always)]
    fn prepare(self, text: &Part, at: usize, views: &mut Views) {
        let (first, second) = (&mut views.bytes[at * STEP..][..STEP], &mut views.pairs[at * STEP..][..STEP]);
        // SAFETY: as above. Loads are unaligned, 64 bytes at 0 and 1 of 65; stores are 64 bytes of 64. A prefetch may name any
        // place: it never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(text.as_ptr().wrapping_add(AHEAD).cast());
            let bytes = _mm512_loadu_si512(text.as_ptr().cast());
            let next = _mm512_loadu_si512(text.as_ptr().add(1).cast());
            let small = _mm512_set1_epi8(0x20);
            // Look-ups take the low six bits of a byte alone: this is `Index::six`. What is shifted in from the byte below is
            // cleared.
            let next = _mm512_and_si512(_mm512_slli_epi16::<3>(next), _mm512_set1_epi8(0x38));
            let pairs = _mm512_add_epi8(_mm512_or_si512(bytes, small), next);
            _mm512_storeu_si512(second.as_mut_ptr().cast(), pairs);
            // This is `folded`.
            let letter = _mm512_and_si512(_mm512_srli_epi16::<1>(bytes), small);
            let folded = _mm512_andnot_si512(letter, bytes);
            let control = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(b' '.cast_signed()));
            let folded = _mm512_mask_mov_epi8(folded, control, _mm512_set1_epi8(b' '.cast_signed()));
            let other = _mm512_movepi8_mask(bytes);
            let folded = _mm512_mask_mov_epi8(folded, other, _mm512_set1_epi8(b'\\'.cast_signed()));
            _mm512_storeu_si512(first.as_mut_ptr().cast(), folded);
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
        let (bytes, pairs) = groups.all.split_at(groups.bytes);
        // A stretch has an even number of steps; what is told of one too many is not looked at.
        let mut step = 0;
        while step < steps {
            let mut at = 0;
            while at < groups.all.len() {
                let Views { bytes: by_bytes, pairs: by_pairs, found } = &mut *views;
                let count = match bytes.get(at..) {
                    Some(groups) if !groups.is_empty() => self.look_at::<DEPTH>(groups, at, by_bytes, step, found),
                    _ => self.look_at::<PAIRS>(&pairs[at - bytes.len()..], at, by_pairs, step, found),
                };
                for Found { which, places, group, step } in &views.found[..count] {
                    if !tell(*group, *step, *places, which) {
                        return false;
                    }
                }
                let kind = if at < bytes.len() { bytes.len() } else { groups.all.len() };
                at = kind.min(at + TOGETHER);
            }
            step += 2;
        }
        true
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}
