//! A text in an editor: places in bytes here, in lines and code units there.

use crate::syntax::tree::Span;
use gen_lsp_types::{Position, Range};

/// What the client counts characters in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes.
    Utf8,
    /// Code units of UTF-16, which every client can.
    #[default]
    Utf16,
}

/// A text with the starts of its lines. A line ends with `\n`, `\r\n` or `\r`, as the protocol has it.
#[derive(Clone, Debug)]
pub(super) struct Text {
    text: String,
    starts: Vec<usize>,
    encoding: Encoding,
}

impl Text {
    pub(super) fn new(text: impl Into<String>, encoding: Encoding) -> Self {
        let text = text.into();
        let starts = starts(&text);
        Self { text, starts, encoding }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The position of a byte; of the start of its character where it is inside of one.
    pub(super) fn position(&self, at: usize) -> Position {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= at) - 1;
        let before = &self.text[self.starts[line]..at];
        let character = match self.encoding {
            Encoding::Utf8 => before.len(),
            Encoding::Utf16 => before.chars().map(char::len_utf16).sum(),
        };
        Position { line: number(line), character: number(character) }
    }

    pub(super) fn range(&self, span: &Span) -> Range {
        Range { start: self.position(span.start), end: self.position(span.end) }
    }

    /// The byte of a position. A position past the end of its line is that end, as the protocol says; one past the last
    /// line is the end of the text; one inside of a character is its start.
    pub(super) fn offset(&self, position: Position) -> usize {
        let Some(&start) = self.starts.get(position.line as usize) else { return self.text.len() };
        let end = self.starts.get(position.line as usize + 1).copied().unwrap_or(self.text.len());
        let line = self.text[start..end].trim_end_matches(['\r', '\n']);
        let mut units = 0;
        for (at, c) in line.char_indices() {
            units += match self.encoding {
                Encoding::Utf8 => c.len_utf8(),
                Encoding::Utf16 => c.len_utf16(),
            };
            if units > position.character as usize {
                return start + at;
            }
        }
        start + line.len()
    }

    /// The bytes of a range; turned round where it is the wrong way.
    pub(super) fn span(&self, range: Range) -> Span {
        let (a, b) = (self.offset(range.start), self.offset(range.end));
        a.min(b)..a.max(b)
    }

    /// Puts a text in the place of a range, or of all.
    pub(super) fn change(&mut self, range: Option<Range>, with: &str) {
        match range {
            Some(range) => {
                let span = self.span(range);
                self.text.replace_range(span, with);
            }
            None => with.clone_into(&mut self.text),
        }
        self.starts = starts(&self.text);
    }
}

fn starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

/// The protocol counts in 32 bits; no text that an editor holds is longer.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn characters_are_counted_in_units_of_utf_16() {
        let text = Text::new("a😀ß\r\nb", Encoding::Utf16);
        assert_eq!(text.position(1), position(0, 1));
        assert_eq!(text.position(5), position(0, 3));
        assert_eq!(text.position(7), position(0, 4));
        assert_eq!(text.position(9), position(1, 0));
        assert_eq!(text.offset(position(0, 3)), 5);
        assert_eq!(text.offset(position(0, 2)), 1, "inside of a pair is its start");
    }

    #[test]
    fn a_client_may_count_bytes() {
        let text = Text::new("ß😀x", Encoding::Utf8);
        assert_eq!(text.position(6), position(0, 6));
        assert_eq!(text.offset(position(0, 6)), 6);
        assert_eq!(text.offset(position(0, 3)), 2);
    }

    #[test]
    fn a_position_past_a_line_is_its_end_and_one_past_the_text_is_the_texts() {
        let text = Text::new("ab\r\ncd\re", Encoding::Utf16);
        assert_eq!(text.offset(position(0, 99)), 2);
        assert_eq!(text.offset(position(1, 99)), 6);
        assert_eq!(text.offset(position(2, 99)), 8);
        assert_eq!(text.offset(position(9, 0)), 8);
    }

    #[test]
    fn a_change_replaces_its_range_alone() {
        let mut text = Text::new("a😀b\nc", Encoding::Utf16);
        text.change(Some(Range { start: position(0, 1), end: position(0, 3) }), "\nü");
        assert_eq!(text.as_str(), "a\nüb\nc");
        assert_eq!(text.position(4), position(1, 1));
        text.change(None, "x");
        assert_eq!(text.as_str(), "x");
    }

    proptest! {
        #[test]
        fn every_character_goes_there_and_back(text in "[a\\r\\n\u{e9}\u{1f600}]{0,40}", bytes: bool) {
            let encoding = if bytes { Encoding::Utf8 } else { Encoding::Utf16 };
            let shown = Text::new(text.clone(), encoding);
            for (at, _) in text.char_indices() {
                // Between `\r` and `\n` is the end of the line.
                if !(at > 0 && text.as_bytes()[at] == b'\n' && text.as_bytes()[at - 1] == b'\r') {
                    prop_assert_eq!(shown.offset(shown.position(at)), at);
                }
            }
        }

        #[test]
        fn no_range_panics(text in "[ab\\n\u{1f600}]{0,20}", a: (u8, u8), b: (u8, u8)) {
            let mut shown = Text::new(text, Encoding::Utf16);
            let range = Range { start: position(a.0.into(), a.1.into()), end: position(b.0.into(), b.1.into()) };
            shown.change(Some(range), "é");
        }
    }
}
