//! What is looked for: groups of eight buckets of windows, as tables by the places of a window.

use super::{DEPTH, PAIRS};
use crate::filter::bytes::ByteSet;

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
pub(super) const fn folded(byte: u8) -> u8 {
    let folded = byte & !(byte >> 1 & 0x20);
    let folded = if byte < b' ' { b' ' } else { folded };
    if byte > 0x7f { b'\\' } else { folded }
}

/// The groups of a filter: those that are read by bytes, and after them those that are read by pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(super) all: Vec<Group>,
    pub(super) bytes: usize,
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
    pub(super) six: [[u8; 64]; DEPTH],
    /// The same for each byte.
    pub(super) exact: [[u8; 256]; DEPTH],
    /// How many places are looked at by six bits, and by bytes.
    pub(super) depth: usize,
    pub(super) bytes: usize,
}

impl Group {
    /// A group of up to eight buckets of windows, of which the first `depth` places are looked at. Where a window has no
    /// class any byte may stand.
    pub(crate) fn new(index: Index, depth: usize, buckets: &[Vec<&[ByteSet]>]) -> Self {
        let depth = depth.clamp(1, if index == Index::Pairs { PAIRS } else { DEPTH });
        let bytes = if index == Index::Pairs { depth + 1 } else { depth };
        let mut group = Self { six: [[0; 64]; DEPTH], exact: [[0; 256]; DEPTH], depth, bytes };
        let any = ByteSet::all();
        for (at, bucket) in buckets.iter().enumerate() {
            let bit = 1 << at;
            for window in bucket {
                let class = |place: usize| window.get(place).unwrap_or(&any);
                for place in 0..DEPTH {
                    for byte in class(place).iter() {
                        group.exact[place][usize::from(byte)] |= bit;
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
