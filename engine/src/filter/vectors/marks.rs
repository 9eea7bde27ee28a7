//! Which of 64 bytes are what in JSON.

use super::STEP;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// What 64 bytes are, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `"`
    pub(crate) quote: u64,
    /// `\`
    pub(crate) backslash: u64,
    /// `%`
    pub(crate) percent: u64,
    /// Below a space.
    pub(crate) control: u64,
    /// `{`, `}`, `[`, `]`, `:` and `,`
    pub(crate) structural: u64,
    /// Space, tab, line feed, carriage return.
    pub(crate) white: u64,
}

/// What every kind of vectors can tell. All tell the same.
pub(crate) trait Mark: Copy {
    fn marks(self, bytes: &[u8; STEP]) -> Marks;
}

/// By the low half of a byte: the structural byte that has it, once the bit is set by which `[` and `{` differ.
const STRUCTURAL: [u8; 16] = by_low_half(b":{,}");

/// By the low half of a byte: the white space that has it.
const WHITE: [u8; 16] = by_low_half(b" \t\n\r");

/// Where no byte is listed stands one with another low half, which is equal to no byte that is looked up there.
const fn by_low_half(bytes: &[u8]) -> [u8; 16] {
    let mut table = [0; 16];
    table[0] = 1;
    let mut at = 0;
    while at < bytes.len() {
        table[(bytes[at] & 15) as usize] = bytes[at];
        at += 1;
    }
    table
}

/// The bit by which brackets and braces differ.
const CASE: u8 = 0x20;

impl Mark for Portable {
    #[inline(always)]
    fn marks(self, bytes: &[u8; STEP]) -> Marks {
        let mut marks = Marks::default();
        for (at, byte) in bytes.iter().enumerate() {
            let bit = |is: bool| u64::from(is) << at;
            marks.quote |= bit(*byte == b'"');
            marks.backslash |= bit(*byte == b'\\');
            marks.percent |= bit(*byte == b'%');
            marks.control |= bit(*byte < b' ');
            marks.structural |= bit(matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b','));
            marks.white |= bit(matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        }
        marks
    }
}

#[cfg(target_arch = "x86_64")]
impl Mark for Avx2 {
    #[inline(always)]
    fn marks(self, bytes: &[u8; STEP]) -> Marks {
        // SAFETY: a value of this type exists inside `with_avx2` alone, so the machine has AVX2. Loads are unaligned, 32
        // bytes at 0 and 32 of 64, and 16 bytes of tables of 16.
        unsafe {
            let twice = |table: &[u8; 16]| _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            let (structural, white) = (twice(&STRUCTURAL), twice(&WHITE));
            let mut marks = Marks::default();
            for half in [0, STEP / 2] {
                let text = _mm256_loadu_si256(bytes.as_ptr().add(half).cast());
                let mask = |equal: __m256i| u64::from(_mm256_movemask_epi8(equal) as u32) << half;
                let is = |byte: u8| mask(_mm256_cmpeq_epi8(text, _mm256_set1_epi8(byte as i8)));
                let folded = _mm256_or_si256(text, _mm256_set1_epi8(CASE as i8));
                let control = mask(_mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text));
                marks.quote |= is(b'"');
                marks.backslash |= is(b'\\');
                marks.percent |= is(b'%');
                marks.control |= control;
                // A control character with the bit set may look like structure.
                let looks = mask(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(structural, text), folded));
                marks.structural |= looks & !control;
                marks.white |= mask(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(white, text), text));
            }
            marks
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Mark for Avx512 {
    #[inline(always)]
    fn marks(self, bytes: &[u8; STEP]) -> Marks {
        // SAFETY: a value of this type exists inside `with_avx512` alone, so the machine has AVX-512 F and BW. The load is
        // unaligned, 64 bytes of 64, and those of tables are 16 bytes of 16.
        unsafe {
            let often = |table: &[u8; 16]| _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            let text = _mm512_loadu_si512(bytes.as_ptr().cast());
            let is = |byte: u8| _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(byte as i8));
            let folded = _mm512_or_si512(text, _mm512_set1_epi8(CASE as i8));
            let control = _mm512_cmplt_epu8_mask(text, _mm512_set1_epi8(b' ' as i8));
            let structural = _mm512_shuffle_epi8(often(&STRUCTURAL), text);
            Marks {
                quote: is(b'"'),
                backslash: is(b'\\'),
                percent: is(b'%'),
                control,
                // A control character with the bit set may look like structure.
                structural: _mm512_cmpeq_epi8_mask(structural, folded) & !control,
                white: _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(often(&WHITE), text), text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Vectors, Wide};
    use super::*;

    struct One<'a>(&'a [u8; STEP]);

    impl Kernel for One<'_> {
        type Output = Marks;
        fn run<W: Wide>(self, wide: W) -> Marks {
            wide.marks(self.0)
        }
    }

    #[test]
    fn every_kind_of_vectors_tells_what_every_byte_is_at_every_place() {
        for byte in 0..=255u8 {
            for at in 0..STEP {
                for around in [b'a', b'"', b'\\', b' ', b'[', 0xff, byte.wrapping_add(1)] {
                    let mut bytes = [around; STEP];
                    bytes[at] = byte;
                    let expected = Vectors::Portable.run(One(&bytes));
                    for vectors in Vectors::available() {
                        assert_eq!(
                            vectors.run(One(&bytes)),
                            expected,
                            "{vectors:?}: {byte:#x} at {at} among {around:#x}"
                        );
                    }
                }
            }
        }
    }
}
