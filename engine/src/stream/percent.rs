//! Percent-encoding (RFC 3986, section 2.1): decoded while it passes, and written again around a mask. `+` is no space.
//!
//! A view of the decoded text is opened where an escape stands, as a copy of the text's own lane, and closed as soon as the
//! two can't differ any more: when nothing that was decoded lies in a candidate, or in the context of one to come, and both
//! have the same candidates.

use super::escape::{Decoded, Scratch, Wire};
use super::join::Joins;
use super::lane::{Lane, Shared};
use super::view::View;

/// How often text is percent-decoded: `%40`, and `%2540` once more.
pub(crate) const TIMES: usize = 2;

/// The first place of a run where an escape begins, or may begin because the run ends in it. A percent sign whose digits are
/// escaped themselves begins one of the text that was decoded once.
pub(crate) fn find(run: &[u8]) -> Option<usize> {
    let digit = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'%';
    memchr::memchr_iter(b'%', run).find(|at| run[at + 1..].iter().take(2).all(digit))
}

/// Writes what stands in `text` from `from` on so that percent-decoding it `times` times gives it back: unreserved characters
/// as they are, all else as escapes.
pub(crate) fn encode(text: &mut Vec<u8>, from: usize, times: usize) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for time in 0..times {
        // What was encoded once holds nothing else that must be.
        let stays = |byte: u8| match time {
            0 => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'),
            _ => byte != b'%',
        };
        expand(
            text,
            from,
            |byte| if stays(byte) { 1 } else { 3 },
            |byte, at| [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]][at],
        );
    }
}

/// Writes each byte of `text` from `from` on as so many bytes: itself where that is one, else what `write` gives for each of
/// them. In place: from the end, where there is room.
pub(crate) fn expand(text: &mut Vec<u8>, from: usize, length: impl Fn(u8) -> usize, write: impl Fn(u8, usize) -> u8) {
    let mut read = text.len();
    let mut end = from + text[from..].iter().map(|byte| length(*byte)).sum::<usize>();
    text.resize(end, 0);
    while read > from {
        read -= 1;
        let byte = text[read];
        let len = length(byte);
        end -= len;
        if len == 1 {
            text[end] = byte;
        } else {
            (0..len).for_each(|at| text[end + at] = write(byte, at));
        }
    }
}

/// The decoder: it keeps at most one unfinished escape.
#[derive(Clone, Copy, Debug, Default)]
enum Decoder {
    #[default]
    Plain,
    /// After a `%`, which stands from `start` to `end` on the wire.
    Percent { start: u64, end: u64 },
    /// After a `%`, which ends at `middle`, and a digit, which ends at `end`.
    Digit { start: u64, middle: u64, digit: u8, end: u64 },
}

impl Decoder {
    /// Where an unfinished escape begins on the wire.
    fn pending(self) -> Option<u64> {
        match self {
            Self::Plain => None,
            Self::Percent { start, .. } | Self::Digit { start, .. } => Some(start),
        }
    }

    fn is_plain(self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Decodes a run. The places in `out` of bytes that were escaped are added to `places`.
    fn push(&mut self, run: &[u8], wire: Wire<'_>, out: &mut Scratch, places: &mut Vec<usize>) {
        let mut at = 0;
        while at < run.len() {
            if self.is_plain() {
                let end = memchr::memchr(b'%', &run[at..]).map_or(run.len(), |found| at + found);
                out.add(&Decoded::Run(&run[at..end], wire.skip(at)));
                if end < run.len() {
                    *self = Self::Percent { start: wire.start(end), end: wire.end(end) };
                }
                at = end + 1;
                continue;
            }
            let (byte, end) = (run[at], wire.end(at));
            match *self {
                Self::Percent { start, end: middle } if byte.is_ascii_hexdigit() => {
                    *self = Self::Digit { start, middle, digit: byte, end };
                }
                Self::Digit { start, digit, .. } if byte.is_ascii_hexdigit() => {
                    places.push(out.text().len());
                    one(value(digit) << 4 | value(byte), start, end, out);
                    *self = Self::Plain;
                }
                _ => {
                    self.finish(out);
                    if byte == b'%' {
                        *self = Self::Percent { start: wire.start(at), end };
                    } else {
                        one(byte, wire.start(at), end, out);
                    }
                }
            }
            at += 1;
        }
    }

    /// An unfinished escape stands for itself.
    fn finish(&mut self, out: &mut Scratch) {
        match std::mem::take(self) {
            Self::Plain => {}
            Self::Percent { start, end } => one(b'%', start, end, out),
            Self::Digit { start, middle, digit, end } => {
                one(b'%', start, middle, out);
                one(digit, middle, end, out);
            }
        }
    }
}

/// The value of a hexadecimal digit.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn one(byte: u8, start: u64, end: u64, out: &mut Scratch) {
    out.add(&Decoded::Char([byte, 0, 0, 0], 1, Wire::Span(start, end)));
}

/// A percent-decoded view of a text.
#[derive(Clone, Debug)]
pub(crate) struct Percent {
    decoder: Decoder,
    view: View,
    scratch: Scratch,
    /// The last byte that was an escape: its place in the text, and its end on the wire.
    last: Option<(u64, u64)>,
}

impl Percent {
    /// A view that is as the text was where the first escape stands.
    pub(crate) fn of(view: View) -> Self {
        Self { decoder: Decoder::Plain, view, scratch: Scratch::default(), last: None }
    }

    /// The same, one level of JSON's escapes further.
    pub(crate) fn deeper(&self) -> Self {
        Self { decoder: self.decoder, view: self.view.deeper(), scratch: Scratch::default(), last: self.last }
    }

    /// Reads a run of the text that is encoded; `document` where it is a document in a string.
    pub(crate) fn read(
        &mut self,
        run: &[u8],
        wire: Wire<'_>,
        document: bool,
        joins: Option<&mut Joins>,
        shared: &mut Shared<'_>,
    ) {
        self.view.lane.document = document;
        if self.decoder.is_plain() && memchr::memchr(b'%', run).is_none() {
            return self.view.scan(run, wire, None, joins, shared);
        }
        self.decode(joins, shared, |decoder, out, places| decoder.push(run, wire, out, places));
    }

    fn decode(
        &mut self,
        joins: Option<&mut Joins>,
        shared: &mut Shared<'_>,
        act: impl FnOnce(&mut Decoder, &mut Scratch, &mut Vec<usize>),
    ) {
        let mut decoded = std::mem::take(&mut self.scratch);
        let mut places = Vec::new();
        decoded.clear();
        act(&mut self.decoder, &mut decoded, &mut places);
        if !decoded.is_empty() {
            let (text, wire) = decoded.wire();
            let at = self.view.lane.place();
            if let Some(last) = places.last() {
                self.last = Some((at + *last as u64, wire.end(*last)));
            }
            self.view.lane.escapes(places.iter().map(|place| at + *place as u64));
            match (joins, places.first()) {
                (Some(joins), Some(first)) => {
                    // What stood before the first escape is told apart from what follows, however the text was cut.
                    self.view.scan(&text[..*first], wire, None, Some(joins), shared);
                    joins.escaped();
                    self.view.scan(&text[*first..], wire.skip(*first), None, Some(joins), shared);
                }
                (joins, _) => self.view.scan(text, wire, None, joins, shared),
            }
        }
        self.scratch = decoded;
    }

    /// Nothing that was decoded can make a difference any more: what the view finds from here on, the `lane` of the text as it
    /// stands finds too.
    pub(crate) fn is_over(&self, lane: &Lane, shared: &Shared<'_>) -> bool {
        if !self.decoder.is_plain() || self.view.percent.is_some() {
            return false;
        }
        let Some((text, wire)) = self.last else { return true };
        let clear = text + shared.plan.window + 1;
        self.view.lane.place() > clear
            && self.view.lane.begins_after(clear)
            && self.view.base64_begins_after(wire)
            && self.view.lane.goes_on_as(lane)
    }

    /// The text ends.
    pub(crate) fn close(&mut self, mut joins: Option<&mut Joins>, shared: &mut Shared<'_>) {
        self.decode(joins.as_deref_mut(), shared, |decoder, out, _| decoder.finish(out));
        self.view.close(joins, shared);
    }

    /// What is still needed of the block is kept.
    pub(crate) fn leave(&mut self, shared: &Shared<'_>) {
        self.view.leave(shared);
    }

    /// Where on the wire the earliest undecided byte stands.
    pub(crate) fn undecided(&self) -> Option<u64> {
        [self.decoder.pending(), self.view.undecided()].into_iter().flatten().min()
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        size_of::<Self>() + self.view.overhead() + self.scratch.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> (String, Vec<usize>) {
        let (mut decoder, mut out, mut places) = (Decoder::default(), Scratch::default(), Vec::new());
        for (at, byte) in text.bytes().enumerate() {
            decoder.push(&[byte], Wire::Linear(at as u64), &mut out, &mut places);
        }
        decoder.finish(&mut out);
        (String::from_utf8_lossy(out.text()).into_owned(), places)
    }

    #[test]
    fn an_escape_is_two_hexadecimal_digits_and_all_else_stands_for_itself() {
        assert_eq!(decode("a%40b%4a%4A"), ("a@bJJ".into(), vec![1, 3, 4]));
        for plain in ["100%", "5 % of", "%4", "%g1", "%%", "%4%", "%4g"] {
            assert_eq!(decode(plain), (plain.into(), vec![]), "{plain}");
        }
        assert_eq!(decode("%%41%4%41"), ("%A%4A".into(), vec![1, 4]));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a-b_c.d~e [é]%+/";
        let mut encoded = text.as_bytes().to_vec();
        encode(&mut encoded, 0, 2);
        for _ in 0..2 {
            encoded = decode(&String::from_utf8(encoded).expect("ASCII")).0.into_bytes();
        }
        assert_eq!(String::from_utf8(encoded).as_deref(), Ok(text));
        let mut mask = b"ab[x]".to_vec();
        encode(&mut mask, 2, 1);
        assert_eq!(mask, b"ab%5Bx%5D");
    }
}
