//! What a test expected to come out beside what did, without a byte of a value that should have been masked.

use super::seen::Piece;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};
use std::time::{Duration, Instant};

/// After this a comparison settles for a coarser one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a stretch of text was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was expected, and came out.
    Same,
    /// It was expected, and didn't come out.
    Expected,
    /// It came out in the place of a masked value, and was not expected.
    Got,
    /// It came out as it came in, and was not expected; the text says how long it is and no more.
    Hidden,
}

/// A stretch of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Compared {
    /// Where it was seen.
    pub change: Change,
    /// The text; of what is hidden, its length in words.
    pub text: String,
}

/// Compares word by word. Bytes of the input are shown where the expectation has them as well, and hidden elsewhere.
pub(super) fn compare(expected: &str, output: &[Piece]) -> Vec<Compared> {
    let wanted = words(expected.as_bytes());
    let (mut got, mut masked) = (Vec::new(), Vec::new());
    for piece in output {
        let words = words(&piece.bytes);
        masked.resize(masked.len() + words.len(), piece.masked);
        got.extend(words);
    }
    let mut out = Out::default();
    for op in capture_diff_slices_deadline(Algorithm::Myers, &wanted, &got, Some(Instant::now() + PATIENCE)) {
        if let DiffOp::Equal { old_index, len, .. } = op {
            wanted[old_index..old_index + len].iter().for_each(|word| out.show(Change::Same, word));
            continue;
        }
        wanted[op.old_range()].iter().for_each(|word| out.show(Change::Expected, word));
        for at in op.new_range() {
            if masked[at] { out.show(Change::Got, got[at]) } else { out.hide(got[at].len()) }
        }
    }
    out.end()
}

/// Runs of letters and digits, and every other byte by itself; together they are the text.
fn words(text: &[u8]) -> Vec<&[u8]> {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    text.chunk_by(|a, b| inside(a) && inside(b)).collect()
}

#[derive(Default)]
struct Out {
    parts: Vec<(Change, Vec<u8>)>,
    hidden: usize,
}

impl Out {
    fn show(&mut self, change: Change, bytes: &[u8]) {
        self.reveal();
        match self.parts.last_mut() {
            Some((last, text)) if *last == change => text.extend_from_slice(bytes),
            _ => self.parts.push((change, bytes.to_vec())),
        }
    }

    fn hide(&mut self, bytes: usize) {
        self.hidden += bytes;
    }

    /// Says how much was hidden since the last text.
    fn reveal(&mut self) {
        if self.hidden > 0 {
            let (bytes, s) = (self.hidden, if self.hidden == 1 { "" } else { "s" });
            self.parts.push((Change::Hidden, format!("‹{bytes} byte{s} of the input›").into_bytes()));
            self.hidden = 0;
        }
    }

    fn end(mut self) -> Vec<Compared> {
        self.reveal();
        let parts = self.parts.into_iter();
        parts.map(|(change, text)| Compared { change, text: String::from_utf8_lossy(&text).into_owned() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(masked: bool, text: &str) -> Piece {
        Piece { masked, bytes: text.as_bytes().to_vec() }
    }

    fn shown(expected: &str, output: &[Piece]) -> String {
        let parts = compare(expected, output);
        let parts = parts.iter().map(|part| match part.change {
            Change::Same => part.text.clone(),
            Change::Expected => format!("[-{}-]", part.text),
            Change::Got | Change::Hidden => format!("{{+{}+}}", part.text),
        });
        parts.collect()
    }

    #[test]
    fn what_a_mask_wrote_is_shown() {
        let output = [piece(false, "badge "), piece(true, "[staff]"), piece(false, " ok")];
        assert_eq!(shown("badge [other] ok", &output), "badge [[-other-]{+staff+}] ok");
        assert_eq!(shown("badge [staff] ok", &output), "badge [staff] ok");
    }

    #[test]
    fn a_value_that_was_not_masked_is_never_shown() {
        let output = [piece(false, "card 4111 1111 1111 1111 and "), piece(true, "[email]")];
        let shown = shown("card **** **** **** 1111 and [email]", &output);
        assert!(!shown.contains("4111"), "{shown}");
        assert!(shown.contains("of the input"), "{shown}");
        assert!(shown.ends_with("and [email]"), "{shown}");
    }

    #[test]
    fn without_an_expectation_only_masks_are_shown() {
        let output = [piece(false, "secret words "), piece(true, "[email]")];
        assert_eq!(shown("", &output), "{+‹13 bytes of the input›+}{+[email]+}");
    }
}
