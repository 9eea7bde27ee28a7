//! Sets of bytes, and how often bytes stand in the text that passes.

use std::sync::LazyLock;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) fn all() -> Self {
        Self([u64::MAX; 4])
    }

    pub(crate) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    pub(crate) fn common(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(other.0).for_each(|(word, more)| *word &= more);
        both
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255u8).filter(|byte| self.contains(*byte))
    }

    /// How often a byte of text is in the set, by the table of this file.
    pub(crate) fn frequency(&self) -> f64 {
        static TABLE: LazyLock<[f64; 256]> = LazyLock::new(|| {
            let weights: [f64; 256] = std::array::from_fn(|byte| weight(byte as u8));
            let total: f64 = weights.iter().sum();
            weights.map(|weight| weight / total)
        });
        let mut sum = 0.0;
        for (at, word) in self.0.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                sum += TABLE[at * 64 + word.trailing_zeros() as usize];
                word &= word - 1;
            }
        }
        sum
    }
}

impl FromIterator<u8> for ByteSet {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut set = Self::default();
        bytes.into_iter().for_each(|byte| set.insert(byte));
        set
    }
}

/// The frequencies of the lower-case letters of English text, in thousandths (Norvig's count over the Google corpus).
const LETTERS: [f64; 26] = [
    80.4, 14.8, 33.4, 38.2, 124.9, 24.0, 18.7, 50.5, 75.7, 1.6, 5.4, 40.7, 25.1, 72.3, 76.4, 21.4, 1.2, 62.8, 65.1,
    92.8, 27.3, 10.5, 16.8, 2.3, 16.6, 0.9,
];

/// A rough weight for text that gateways carry: prose, logs, JSON. Only the order of size matters: it picks the window
/// of a pattern that is looked for first, never what is found.
fn weight(byte: u8) -> f64 {
    match byte {
        b'a'..=b'z' => LETTERS[usize::from(byte - b'a')],
        b'A'..=b'Z' => LETTERS[usize::from(byte - b'A')] / 12.0,
        b'0'..=b'9' => 18.0,
        b' ' => 170.0,
        b'"' => 45.0,
        b',' | b':' | b'.' => 20.0,
        b'\n' | b'-' | b'_' | b'/' => 10.0,
        b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'\\' | b'=' | b'\'' => 6.0,
        b'@' | b'+' | b'*' | b'#' | b'%' | b'$' | b'&' | b'!' | b'?' | b';' | b'<' | b'>' | b'|' => 2.0,
        0x80..=0xff => 0.6,
        _ => 0.3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_prose_are_more_frequent_than_what_addresses_are_found_by() {
        let of = |bytes: &[u8]| bytes.iter().copied().collect::<ByteSet>().frequency();
        assert!(of(b"e") > of(b"E") && of(b"e") > of(b"5") && of(b"5") > of(b"@"));
        let all: ByteSet = (0..=255u8).collect();
        assert!((all.frequency() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: ByteSet = [0u8, 63, 64, 200, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200, 255]);
        assert_eq!((set.len(), set.contains(65)), (5, false));
    }
}
