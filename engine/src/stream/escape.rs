//! JSON string escapes (RFC 8259, section 7): decoded while they pass, and written again around a mask.

pub(crate) use super::bulk::Scratch;
use crate::filter::Vectors;

/// Where the bytes of a run of text stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire<'a> {
    /// Byte `i` of the run is byte `base + i` of the stream.
    Linear(u64),
    /// The whole run stands for these bytes of the stream: an escape.
    Span(u64, u64),
    /// Byte `i` of the run stands for the bytes of the stream from `base + starts[i]` to the next place that differs; one
    /// more place than bytes.
    Map { base: u64, starts: &'a [u32] },
}

impl Wire<'_> {
    pub(crate) fn start(self, at: usize) -> u64 {
        match self {
            Self::Linear(base) => base + at as u64,
            Self::Span(start, _) => start,
            Self::Map { base, starts } => base + u64::from(starts[at]),
        }
    }

    pub(crate) fn end(self, at: usize) -> u64 {
        match self {
            Self::Linear(base) => base + at as u64 + 1,
            Self::Span(_, end) => end,
            Self::Map { base, starts } => {
                let start = starts[at];
                let end = starts[at + 1..].iter().find(|place| **place != start).unwrap_or(&start);
                base + u64::from(*end)
            }
        }
    }

    /// Where the rest of the run stands, from its byte `at`.
    pub(crate) fn skip(self, at: usize) -> Self {
        match self {
            Self::Linear(base) => Self::Linear(base + at as u64),
            span @ Self::Span(..) => span,
            Self::Map { base, starts } => Self::Map { base, starts: &starts[at..] },
        }
    }
}

/// A piece of decoded text.
pub(crate) enum Decoded<'a> {
    /// As it stood.
    Run(&'a [u8], Wire<'a>),
    /// One character that was escaped: its bytes and their number.
    Char([u8; 4], usize, Wire<'a>),
}

/// Levels of text: as JSON has it, and JSON in a JSON string twice more.
pub(crate) const LEVELS: usize = 3;

/// The decoders of all levels. The first one reads what JSON itself demands; deeper, what is no escape stands for itself.
#[derive(Clone, Debug)]
pub(crate) struct Decoders(pub(crate) [Unescape; LEVELS]);

impl Default for Decoders {
    fn default() -> Self {
        Self([Unescape::strict(), Unescape::default(), Unescape::default()])
    }
}

impl Decoders {
    /// All are outside of escapes.
    pub(crate) fn are_plain(&self) -> bool {
        self.0.iter().all(Unescape::is_plain)
    }
}

/// The decoder of one level of escapes. It keeps at most one unfinished escape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unescape {
    state: State,
    /// An escape that JSON does not have ends the text in an error; otherwise it stands for itself.
    strict: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Plain,
    /// After a backslash that stands at `start`.
    Backslash { start: u64, high: Option<High> },
    /// After `\u` and `digits` of four hexadecimal digits.
    Hex { start: u64, value: u16, digits: u8, high: Option<High> },
    /// After the first half of a surrogate pair.
    HighAlone(High),
}

/// The first half of a surrogate pair and where it stands.
#[derive(Clone, Copy, Debug)]
struct High {
    value: u16,
    start: u64,
    end: u64,
}

impl Unescape {
    pub(crate) fn strict() -> Self {
        Self { state: State::Plain, strict: true }
    }

    /// Where an unfinished escape begins.
    pub(crate) fn pending(&self) -> Option<u64> {
        match self.state {
            State::Plain => None,
            State::Backslash { start, high } | State::Hex { start, high, .. } => {
                Some(high.map_or(start, |high| high.start))
            }
            State::HighAlone(high) => Some(high.start),
        }
    }

    /// True where the next byte is decoded as it would be at the start of a text.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    /// True inside an escape: a text that ends here breaks off.
    pub(crate) fn is_inside(&self) -> bool {
        matches!(self.state, State::Backslash { .. } | State::Hex { .. })
    }

    /// Decodes a run. `emit` receives the decoded text in order.
    ///
    /// # Errors
    /// Where the escape is not JSON's, if the decoder is strict.
    pub(crate) fn push(&mut self, run: &[u8], wire: Wire<'_>, emit: &mut dyn FnMut(Decoded<'_>)) -> Result<(), u64> {
        let mut at = 0;
        while at < run.len() {
            if let State::Plain = self.state {
                let end = memchr::memchr(b'\\', &run[at..]).map_or(run.len(), |found| at + found);
                if end > at {
                    emit(Decoded::Run(&run[at..end], wire.skip(at)));
                }
                if end < run.len() {
                    self.state = State::Backslash { start: wire.start(end), high: None };
                }
                at = end + 1;
                continue;
            }
            self.byte(run[at], wire.start(at), wire.end(at), emit)?;
            at += 1;
        }
        Ok(())
    }

    /// Says that the text ends: an unfinished escape stands for itself.
    pub(crate) fn finish(&mut self, end: u64, emit: &mut dyn FnMut(Decoded<'_>)) {
        match std::mem::take(&mut self.state) {
            State::Plain => {}
            State::HighAlone(high) => lone(high, emit),
            State::Backslash { start, high } | State::Hex { start, high, .. } => {
                if let Some(high) = high {
                    lone(high, emit);
                }
                emit(Decoded::Char([b'\\', 0, 0, 0], 1, Wire::Span(start, end)));
            }
        }
    }

    /// Decodes a run into text with the places of its bytes.
    ///
    /// # Errors
    /// As [`Unescape::push`].
    pub(crate) fn decode(
        &mut self,
        run: &[u8],
        wire: Wire<'_>,
        out: &mut Scratch,
        vectors: Vectors,
    ) -> Result<(), u64> {
        let mut at = 0;
        while at < run.len() {
            if self.is_plain() {
                at += out.copy(&run[at..], wire.skip(at), vectors);
            }
            // An escape of more bytes, one that is cut, or none.
            while at < run.len() {
                let place = at;
                at += 1;
                if self.is_plain() {
                    self.state = State::Backslash { start: wire.start(place), high: None };
                } else {
                    self.byte(run[place], wire.start(place), wire.end(place), &mut |piece| out.add(&piece))?;
                    if self.is_plain() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, start_of_byte: u64, end: u64, emit: &mut dyn FnMut(Decoded<'_>)) -> Result<(), u64> {
        match self.state {
            State::Plain => unreachable!("plain text is handled by the caller"),
            State::HighAlone(high) if byte == b'\\' => {
                self.state = State::Backslash { start: start_of_byte, high: Some(high) };
            }
            State::HighAlone(high) => {
                lone(high, emit);
                self.state = State::Plain;
                emit(Decoded::Char([byte, 0, 0, 0], 1, Wire::Span(start_of_byte, end)));
            }
            State::Backslash { start, high } => {
                if byte == b'u' {
                    self.state = State::Hex { start, value: 0, digits: 0, high };
                    return Ok(());
                }
                if let Some(high) = high {
                    lone(high, emit);
                }
                self.state = State::Plain;
                let decoded = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ if self.strict => return Err(start_of_byte),
                    _ => {
                        emit(Decoded::Char([b'\\', 0, 0, 0], 1, Wire::Span(start, start_of_byte)));
                        byte
                    }
                };
                let start = if decoded == byte && !matches!(byte, b'"' | b'\\' | b'/') { start_of_byte } else { start };
                emit(Decoded::Char([decoded, 0, 0, 0], 1, Wire::Span(start, end)));
            }
            State::Hex { start, value, digits, high } => {
                let Some(digit) = (byte as char).to_digit(16) else {
                    if self.strict {
                        return Err(start_of_byte);
                    }
                    self.state = State::Plain;
                    if let Some(high) = high {
                        lone(high, emit);
                    }
                    emit(Decoded::Char([b'\\', 0, 0, 0], 1, Wire::Span(start, start_of_byte)));
                    if byte == b'\\' {
                        self.state = State::Backslash { start: start_of_byte, high: None };
                    } else {
                        emit(Decoded::Char([byte, 0, 0, 0], 1, Wire::Span(start_of_byte, end)));
                    }
                    return Ok(());
                };
                let value = value << 4 | digit as u16;
                if digits < 3 {
                    self.state = State::Hex { start, value, digits: digits + 1, high };
                } else {
                    self.unit(High { value, start, end }, high, emit);
                }
            }
        }
        Ok(())
    }

    /// A UTF-16 code unit is complete.
    fn unit(&mut self, unit: High, high: Option<High>, emit: &mut dyn FnMut(Decoded<'_>)) {
        self.state = State::Plain;
        let low = (0xDC00..0xE000).contains(&unit.value);
        if let Some(high) = high {
            if low {
                let code = 0x10000 + (u32::from(high.value - 0xD800) << 10) + u32::from(unit.value - 0xDC00);
                return char(char::from_u32(code).unwrap_or('\u{FFFD}'), high.start, unit.end, emit);
            }
            lone(high, emit);
        }
        if (0xD800..0xDC00).contains(&unit.value) {
            self.state = State::HighAlone(unit);
        } else {
            char(char::from_u32(u32::from(unit.value)).unwrap_or('\u{FFFD}'), unit.start, unit.end, emit);
        }
    }
}

fn lone(high: High, emit: &mut dyn FnMut(Decoded<'_>)) {
    char('\u{FFFD}', high.start, high.end, emit);
}

fn char(c: char, start: u64, end: u64, emit: &mut dyn FnMut(Decoded<'_>)) {
    let mut bytes = [0; 4];
    let len = c.encode_utf8(&mut bytes).len();
    emit(Decoded::Char(bytes, len, Wire::Span(start, end)));
}

/// Writes what stands in `text` from `from` on so that it stands inside a JSON string, `times` levels deep.
pub(crate) fn encode(text: &mut Vec<u8>, from: usize, times: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let length = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    let write = |byte: u8, at: usize| match (byte, at) {
        (_, 0) => b'\\',
        (b'"' | b'\\', _) => byte,
        (_, 1) => b'u',
        (_, 2 | 3) => b'0',
        (_, 4) => HEX[usize::from(byte >> 4)],
        _ => HEX[usize::from(byte & 15)],
    };
    (0..times).for_each(|_| super::percent::expand(text, from, length, write));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, strict: bool) -> Result<String, u64> {
        let mut whole = Vec::new();
        let mut decoder = if strict { Unescape::strict() } else { Unescape::default() };
        for (at, byte) in text.bytes().enumerate() {
            decoder.push(&[byte], Wire::Linear(at as u64), &mut |piece| collect(piece, &mut whole))?;
        }
        decoder.finish(text.len() as u64, &mut |piece| collect(piece, &mut whole));
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }

    fn collect(piece: Decoded<'_>, out: &mut Vec<u8>) {
        match piece {
            Decoded::Run(run, _) => out.extend_from_slice(run),
            Decoded::Char(bytes, len, _) => out.extend_from_slice(&bytes[..len]),
        }
    }

    #[test]
    fn every_escape_of_json_is_decoded() {
        assert_eq!(decode(r#"a\u0040b\n\t\"\\\/\u00e9"#, true).as_deref(), Ok("a@b\n\t\"\\/é"));
        assert_eq!(decode(r"\ud83d\ude00", true).as_deref(), Ok("😀"));
    }

    #[test]
    fn a_lone_surrogate_is_the_replacement_character() {
        assert_eq!(decode(r"\ud83dx", true).as_deref(), Ok("\u{FFFD}x"));
        assert_eq!(decode(r"\ud83d\n", true).as_deref(), Ok("\u{FFFD}\n"));
    }

    #[test]
    fn what_is_no_escape_is_an_error_or_stands_for_itself() {
        assert_eq!(decode(r"a\xb", true), Err(2));
        assert_eq!(decode(r"a\xb", false).as_deref(), Ok(r"a\xb"));
        assert_eq!(decode("a\\", false).as_deref(), Ok("a\\"));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "quote \" backslash \\ newline \n";
        let mut once = text.as_bytes().to_vec();
        encode(&mut once, 0, 1);
        let once = String::from_utf8(once).expect("UTF-8");
        assert_eq!(decode(&once, true).as_deref(), Ok(text));
    }
}
