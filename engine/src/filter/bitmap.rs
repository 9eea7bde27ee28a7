//! Which of 64 bytes are of a class, as a bitmap: the one room with vector instructions.
#![allow(
    unsafe_code,
    reason = "vector instructions are called through unsafe functions; each call says why it is sound"
)]

use super::bytes::ByteSet;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// The vector instructions that are used. All give the same results; the portable code is the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// AVX-512 (F and BW): 64 bytes at a time.
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
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
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
            // SAFETY: `or_portable` made sure that the machine has these instructions.
            Self::Avx512 => unsafe { with_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `or_portable` made sure that the machine has these instructions.
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
    /// Bit `i` is set where byte `i` is of the class.
    fn bitmap(self, block: &[u8; 64], class: &Class) -> u64;
}

/// A class of bytes, laid out for the look-up: for each low half of a byte the high halves (0 to 7) it goes with. Bytes
/// from 128 on are in or out together; where a set has only some of them all are in.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    low: [u8; 16],
    high: bool,
    set: ByteSet,
}

impl Class {
    pub(crate) fn new(set: &ByteSet) -> Self {
        let mut low = [0; 16];
        for byte in set.iter().filter(u8::is_ascii) {
            low[usize::from(byte & 15)] |= 1 << (byte >> 4);
        }
        let high = set.iter().any(|byte| !byte.is_ascii());
        let mut wider = *set;
        if high {
            (128..=255).for_each(|byte| wider.insert(byte));
        }
        Self { low, high, set: wider }
    }
}

#[derive(Clone, Copy)]
struct Portable;

impl Wide for Portable {
    #[inline(always)]
    fn bitmap(self, block: &[u8; 64], class: &Class) -> u64 {
        block.iter().enumerate().fold(0, |bits, (at, byte)| bits | u64::from(class.set.contains(*byte)) << at)
    }
}

/// The bit of each high half; 0 from 8 on, which are the bytes that are not ASCII.
#[cfg(target_arch = "x86_64")]
const HALVES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Wide for Avx2 {
    #[inline(always)]
    fn bitmap(self, block: &[u8; 64], class: &Class) -> u64 {
        // SAFETY: a value of this type exists inside `with_avx2` alone, so the machine has AVX2; the loads read 16 bytes
        // of tables of 16 and twice 32 bytes of a block of 64, unaligned.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(class.low.as_ptr().cast()));
            let halves = _mm256_broadcastsi128_si256(_mm_loadu_si128(HALVES.as_ptr().cast()));
            let nibble = _mm256_set1_epi8(15);
            let mut bits = 0;
            for half in 0..2 {
                let bytes = _mm256_loadu_si256(block.as_ptr().add(32 * half).cast());
                // A byte of 128 or more gives 0 in both look-ups: its sign bit for the first, its half for the second.
                let goes_with = _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, nibble));
                let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
                let bit = _mm256_shuffle_epi8(halves, high);
                let out = _mm256_cmpeq_epi8(_mm256_and_si256(goes_with, bit), _mm256_setzero_si256());
                let mut found = !(_mm256_movemask_epi8(out) as u32);
                if class.high {
                    found |= _mm256_movemask_epi8(bytes) as u32;
                }
                bits |= u64::from(found) << (32 * half);
            }
            bits
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
    #[inline(always)]
    fn bitmap(self, block: &[u8; 64], class: &Class) -> u64 {
        // SAFETY: a value of this type exists inside `with_avx512` alone, so the machine has AVX-512 F and BW; the loads
        // read 16 bytes of tables of 16 and 64 bytes of a block of 64, unaligned.
        unsafe {
            let bytes = _mm512_loadu_si512(block.as_ptr().cast());
            let nibble = _mm512_set1_epi8(15);
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(class.low.as_ptr().cast()));
            let halves = _mm512_broadcast_i32x4(_mm_loadu_si128(HALVES.as_ptr().cast()));
            let goes_with = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, nibble));
            let high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
            let found = _mm512_test_epi8_mask(goes_with, _mm512_shuffle_epi8(halves, high));
            if class.high { found | _mm512_movepi8_mask(bytes) } else { found }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct One<'a>(&'a [u8; 64], &'a Class);

    impl Kernel for One<'_> {
        type Output = u64;
        fn run<W: Wide>(self, wide: W) -> u64 {
            wide.bitmap(self.0, self.1)
        }
    }

    proptest! {
        #[test]
        fn all_vectors_give_the_bitmap_of_the_portable_code(
            block in proptest::array::uniform32(any::<u8>()),
            more in proptest::array::uniform32(any::<u8>()),
            set in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let block: [u8; 64] = std::array::from_fn(|at| if at < 32 { block[at] } else { more[at - 32] });
            let set: ByteSet = set.into_iter().collect();
            let class = Class::new(&set);
            let expected = Vectors::Portable.run(One(&block, &class));
            for byte in block.iter().zip(0..).filter(|(byte, _)| byte.is_ascii()) {
                prop_assert_eq!(expected >> byte.1 & 1 == 1, set.contains(*byte.0));
            }
            for vectors in Vectors::available() {
                prop_assert_eq!(vectors.run(One(&block, &class)), expected, "{:?}", vectors);
            }
        }
    }
}
