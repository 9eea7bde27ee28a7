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

use super::bytes::ByteSet;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

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

/// Bytes that are made ready at once.
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

/// A part of a text as a kind of vectors reads it: two views of the same bytes, and what was found of two steps.
#[repr(align(64))]
pub(crate) struct Stretch {
    first: [u8; READY],
    second: [u8; READY],
    found: [Found; 2 * TOGETHER],
}

/// How far ahead text is fetched, in bytes.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 1024;

/// As many bytes of a text as a step has places, with the one after them.
type Part = [u8; STEP + 1];

/// The same as a kind of vectors reads them.
type Ready = [u8; STEP];

/// Groups whose finds are told together.
const TOGETHER: usize = 16;

/// The buckets of one group at the places of one step.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Found {
    which: Which,
    places: u64,
    group: usize,
    step: usize,
}

/// Which buckets of a group may stand where: for each group of eight buckets 64 places.
pub(crate) type Which = [u8; STEP];

/// What every kind of vectors can do.
pub(crate) trait Wide: Copy {
    /// Makes the two views of a part of the text.
    fn prepare(self, text: &Part, first: &mut Ready, second: &mut Ready);

    /// Looks for the buckets of all groups at the places of so many steps. `tell` is given the group, the step, the places
    /// as bits, and for each of these the buckets that may stand there, as bits again; where it gives false the look ends,
    /// and gives false itself. A bucket that stands at a place is always told; one that doesn't may be.
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        stretch: &mut Stretch,
        steps: usize,
        tell: &mut F,
    ) -> bool;
}

/// What the tables of a group are read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// A byte, in six bits.
    Bytes,
    /// A byte and the one after it, in six bits: letters of either case are one.
    Pairs,
}

impl Index {
    /// The six bits of the byte or pair that stands at a place.
    pub(crate) fn six(self, byte: u8, next: u8) -> usize {
        match self {
            Self::Bytes => fold(byte),
            Self::Pairs => usize::from((byte | 0x20).wrapping_add((next | 0x20) << 3) & 63),
        }
    }
}

/// A byte in six bits: letters of both cases are one, digits and most signs stay apart, what is no printing ASCII is as
/// white space or a backslash, so that it is never taken for a letter or a digit.
pub(crate) const fn fold(byte: u8) -> usize {
    (folded(byte) & 63) as usize
}

/// [`fold`] of each byte.
pub(crate) static FOLD: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = fold(byte as u8) as u8;
        byte += 1;
    }
    table
};

/// A byte of which the low six bits are the folded ones.
const fn folded(byte: u8) -> u8 {
    let folded = byte & !(byte >> 1 & 0x20);
    let folded = if byte < b' ' { b' ' } else { folded };
    if byte > 0x7f { b'\\' } else { folded }
}

/// The groups of a filter: those that are read by bytes, and after them those that are read by pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    all: Vec<Group>,
    bytes: usize,
}

impl Groups {
    pub(crate) fn new(bytes: Vec<Group>, pairs: Vec<Group>) -> Self {
        let count = bytes.len();
        Self { all: bytes.into_iter().chain(pairs).collect(), bytes: count }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of groups that are read by bytes: the places of the others come after them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Up to eight buckets of windows.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group {
    /// For each place in the window, by six bits: the buckets that may stand there.
    six: [[u8; 64]; DEPTH],
    /// The same for the low and the high half of a byte, which together may allow more; each table twice.
    low: [[u8; 32]; DEPTH],
    high: [[u8; 32]; DEPTH],
    /// The same for each byte.
    exact: [[u8; 256]; DEPTH],
    /// How many places are looked at by six bits, and by bytes.
    depth: usize,
    bytes: usize,
}

impl Group {
    /// A group of up to eight buckets of windows, of which the first `depth` places are looked at. Where a window has no
    /// class any byte may stand.
    pub(crate) fn new(index: Index, depth: usize, buckets: &[Vec<&[ByteSet]>]) -> Self {
        let depth = depth.clamp(1, if index == Index::Pairs { PAIRS } else { DEPTH });
        let bytes = if index == Index::Pairs { depth + 1 } else { depth };
        let mut group = Self {
            six: [[0; 64]; DEPTH],
            low: [[0; 32]; DEPTH],
            high: [[0; 32]; DEPTH],
            exact: [[0; 256]; DEPTH],
            depth,
            bytes,
        };
        let any = ByteSet::all();
        for (at, bucket) in buckets.iter().enumerate() {
            let bit = 1 << at;
            for window in bucket {
                let class = |place: usize| window.get(place).unwrap_or(&any);
                for place in 0..DEPTH {
                    for byte in class(place).iter() {
                        group.exact[place][usize::from(byte)] |= bit;
                        for half in [0, 16] {
                            group.low[place][half + usize::from(byte & 15)] |= bit;
                            group.high[place][half + usize::from(byte >> 4)] |= bit;
                        }
                    }
                    let six = six(index, window, place);
                    (0..64).filter(|at| six >> at & 1 == 1).for_each(|at| group.six[place][at] |= bit);
                }
            }
        }
        group
    }
}

/// The six bits that may stand at a place of a window, as a set.
pub(crate) fn six(index: Index, window: &[ByteSet], place: usize) -> u64 {
    let class = |place: usize| window.get(place);
    match (index, class(place), class(place + 1)) {
        (Index::Bytes, Some(class), _) => class.iter().fold(0, |set, byte| set | 1 << index.six(byte, 0)),
        (Index::Pairs, Some(class), Some(next)) => class
            .iter()
            .flat_map(|byte| next.iter().map(move |next| index.six(byte, next)))
            .fold(0, |set, six| set | 1 << six),
        _ => u64::MAX,
    }
}

#[derive(Clone, Copy)]
struct Portable;

impl Wide for Portable {
    #[inline(always)]
    fn prepare(self, text: &Part, first: &mut Ready, _: &mut Ready) {
        first.copy_from_slice(&text[..STEP]);
    }

    #[inline(always)]
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        stretch: &mut Stretch,
        steps: usize,
        tell: &mut F,
    ) -> bool {
        let mut which = [0; STEP];
        for step in 0..steps {
            // A stretch is longer by a step than the places that are looked at.
            let bytes = &stretch.first[step * STEP..][..STEP + DEPTH];
            for (at, group) in groups.all.iter().enumerate() {
                let mut places = 0;
                for (place, which) in which.iter_mut().enumerate() {
                    let mut buckets = u8::MAX;
                    for (table, byte) in group.exact[..group.bytes].iter().zip(&bytes[place..]) {
                        buckets &= table[usize::from(*byte)];
                        if buckets == 0 {
                            break;
                        }
                    }
                    *which = buckets;
                    places |= u64::from(buckets != 0) << place;
                }
                if places != 0 && !tell(at, step, places, &which) {
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// The buckets that `PLACES` places of a group from `from` on leave at the places of a stretch, beside what they are
    /// known to be.
    #[inline(always)]
    fn narrow<const PLACES: usize>(
        self,
        group: &Group,
        from: usize,
        stretch: &Stretch,
        len: usize,
        known: &mut [u8; STRETCH],
        first: bool,
    ) {
        // SAFETY: a value of this type exists inside `with_avx2` alone, so the machine has AVX2. Tables are 32 bytes each;
        // `from + PLACES` is at most DEPTH. Loads of text are unaligned, 32 bytes below `STRETCH + DEPTH`, and READY is
        // longer; `known` is read and written below STRETCH.
        unsafe {
            let table = |table: &[u8; 32]| _mm256_loadu_si256(table.as_ptr().cast());
            let tables: [(__m256i, __m256i); PLACES] =
                std::array::from_fn(|place| (table(&group.low[from + place]), table(&group.high[from + place])));
            let mut at = 0;
            while at < len {
                let here = known.as_mut_ptr().add(at).cast::<__m256i>();
                let mut buckets = if first { _mm256_set1_epi8(-1) } else { _mm256_loadu_si256(here) };
                for (place, (low, high)) in tables.iter().enumerate() {
                    let text = |view: &[u8; READY]| _mm256_loadu_si256(view.as_ptr().add(at + from + place).cast());
                    let by_low = _mm256_shuffle_epi8(*low, text(&stretch.first));
                    let by_high = _mm256_shuffle_epi8(*high, text(&stretch.second));
                    buckets = _mm256_and_si256(buckets, _mm256_and_si256(by_low, by_high));
                }
                _mm256_storeu_si256(here, buckets);
                at += 32;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide for Avx2 {
    #[inline(always)]
    fn prepare(self, text: &Part, first: &mut Ready, second: &mut Ready) {
        for at in 0..STEP {
            (first[at], second[at]) = (text[at] & 15, text[at] >> 4);
        }
    }

    #[inline(always)]
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        stretch: &mut Stretch,
        steps: usize,
        tell: &mut F,
    ) -> bool {
        let mut known = [0; STRETCH];
        let len = steps * STEP;
        for (at, group) in groups.all.iter().enumerate() {
            self.narrow::<3>(group, 0, stretch, len, &mut known, true);
            match group.bytes {
                ..=3 => {}
                4 => self.narrow::<1>(group, 3, stretch, len, &mut known, false),
                5 => self.narrow::<2>(group, 3, stretch, len, &mut known, false),
                6 => self.narrow::<3>(group, 3, stretch, len, &mut known, false),
                7 => self.narrow::<4>(group, 3, stretch, len, &mut known, false),
                8 => self.narrow::<5>(group, 3, stretch, len, &mut known, false),
                _ => self.narrow::<6>(group, 3, stretch, len, &mut known, false),
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

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    #[inline(always)]
    fn places(self, which: &Which) -> u64 {
        // SAFETY: as above; two loads of 32 bytes of 64.
        let half = |at: usize| unsafe {
            let buckets = _mm256_loadu_si256(which.as_ptr().add(at).cast());
            !(_mm256_movemask_epi8(_mm256_cmpeq_epi8(buckets, _mm256_setzero_si256())) as u32)
        };
        u64::from(half(0)) | u64::from(half(32)) << 32
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
impl Avx512 {
    /// The views of a stretch at the first places of a step.
    #[inline(always)]
    fn text(self, view: &[u8; READY], step: usize) -> [__m512i; DEPTH] {
        // SAFETY: a value of this type exists inside `with_avx512` alone, so the machine has AVX-512 F, BW and VBMI. Loads
        // are unaligned, 64 bytes at less than `STRETCH - STEP + DEPTH`, and READY is longer by a step.
        std::array::from_fn(|place| unsafe { _mm512_loadu_si512(view.as_ptr().add(step * STEP + place).cast()) })
    }

    /// The buckets that `PLACES` places leave, of two steps.
    #[inline(always)]
    fn buckets<const PLACES: usize>(self, group: &Group, text: &[[__m512i; DEPTH]; 2]) -> [__m512i; 2] {
        // SAFETY: as above; a table is 64 bytes.
        let table = |place: usize| unsafe { _mm512_loadu_si512(group.six[place].as_ptr().cast()) };
        // SAFETY: as above.
        let by = |text: __m512i, table: __m512i| unsafe { _mm512_permutexvar_epi8(text, table) };
        let first = table(0);
        let mut buckets = [by(text[0][0], first), by(text[1][0], first)];
        for place in 1..PLACES {
            let table = table(place);
            for (buckets, text) in buckets.iter_mut().zip(text) {
                // SAFETY: as above.
                *buckets = unsafe { _mm512_and_si512(*buckets, by(text[place], table)) };
            }
        }
        buckets
    }

    #[inline(always)]
    fn group(self, group: &Group, text: &[[__m512i; DEPTH]; 2]) -> [__m512i; 2] {
        match group.depth {
            ..=2 => self.buckets::<2>(group, text),
            3 => self.buckets::<3>(group, text),
            4 => self.buckets::<4>(group, text),
            5 => self.buckets::<5>(group, text),
            6 => self.buckets::<6>(group, text),
            7 => self.buckets::<7>(group, text),
            8 => self.buckets::<8>(group, text),
            _ => self.buckets::<DEPTH>(group, text),
        }
    }

    /// Looks for some groups at two steps, from the group `first` on. The finds are put into `found`; their number is given
    /// back.
    #[inline(always)]
    fn look_at(
        self,
        groups: &[Group],
        first: usize,
        view: &[u8; READY],
        step: usize,
        found: &mut [Found; 2 * TOGETHER],
    ) -> usize {
        let text = [self.text(view, step), self.text(view, step + 1)];
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

#[cfg(target_arch = "x86_64")]
impl Wide for Avx512 {
    #[inline(always)]
    fn prepare(self, text: &Part, first: &mut Ready, second: &mut Ready) {
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
        stretch: &mut Stretch,
        steps: usize,
        tell: &mut F,
    ) -> bool {
        let Stretch { first, second, found } = stretch;
        let (bytes, pairs) = groups.all.split_at(groups.bytes);
        // A stretch has an even number of steps; what is told of one too many is not looked at.
        let mut step = 0;
        while step < steps {
            for (groups, view, number) in [(bytes, &*first, 0), (pairs, &*second, bytes.len())] {
                let mut at = 0;
                while at < groups.len() {
                    let count = self.look_at(&groups[at..], number + at, view, step, found);
                    for Found { which, places, group, step } in &found[..count] {
                        if !tell(*group, *step, *places, which) {
                            return false;
                        }
                    }
                    at += TOGETHER;
                }
            }
            step += 2;
        }
        true
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
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
            let none = Found { which: [0; STEP], places: 0, group: 0, step: 0 };
            let mut stretch = Stretch { first: [0; READY], second: [0; READY], found: [none; 2 * TOGETHER] };
            let places = self.text.len() + 1;
            let mut from = 0;
            while from < places {
                let len = (places - from).min(STRETCH);
                // Two steps are looked at together, and what they need after them.
                let parts = len.next_multiple_of(2 * STEP) / STEP + 1;
                let (first, _) = stretch.first.as_chunks_mut::<STEP>();
                let (second, _) = stretch.second.as_chunks_mut::<STEP>();
                for (part, (first, second)) in first.iter_mut().zip(second).take(parts).enumerate() {
                    let at = from + part * STEP;
                    match at.checked_sub(1).and_then(|at| self.text.get(at..)?.first_chunk()) {
                        Some(text) => wide.prepare(text, first, second),
                        None => wide.prepare(&edge(self.text, at), first, second),
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
                if !wide.look(self.groups, &mut stretch, len.div_ceil(STEP), &mut tell) {
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
