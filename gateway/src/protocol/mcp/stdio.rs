//! The framing of the stdio transport: one message a line, never a line end inside one.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// A line is longer than the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a line is longer than {cap} bytes")]
pub struct LineTooLong {
    /// The cap, in bytes.
    pub cap: usize,
}

/// Splits what a child writes into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    scanned: usize,
    cap: usize,
}

impl Lines {
    /// Lines of at most `cap` bytes.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, cap }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its end; None where more bytes are needed. Empty lines are passed over.
    ///
    /// # Errors
    /// [`LineTooLong`]: the stream can't be read any further.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        loop {
            let found = self.buffer[self.scanned..].iter().position(|b| *b == b'\n');
            let Some(end) = found.map(|at| at + self.scanned) else {
                self.scanned = self.buffer.len();
                return if self.scanned > self.cap { Err(LineTooLong { cap: self.cap }) } else { Ok(None) };
            };
            if end > self.cap {
                return Err(LineTooLong { cap: self.cap });
            }
            let mut line = self.buffer.split_to(end + 1).freeze();
            self.scanned = 0;
            line.truncate(end);
            if line.ends_with(b"\r") {
                line.truncate(end - 1);
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

/// A message as a line: the line ends that JSON allows between its parts become spaces, so that it is one line.
#[must_use]
pub fn line(message: &[u8]) -> Bytes {
    let mut out: Vec<u8> =
        message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    out.push(b'\n');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines) -> Vec<Bytes> {
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn a_line_over_the_cap_is_an_error_before_its_end_is_seen() {
        let mut lines = Lines::new(4);
        lines.push(b"1234\n12345");
        assert_eq!(lines.next_line(), Ok(Some(Bytes::from_static(b"1234"))));
        assert_eq!(lines.next_line(), Err(LineTooLong { cap: 4 }));
    }

    #[test]
    fn a_message_over_several_lines_becomes_one() {
        assert_eq!(line(b"{\n\"a\":\r\n1}"), Bytes::from_static(b"{ \"a\":  1}\n"));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_for_every_cut(text in "[a\n\r]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut whole = Lines::new(100);
            whole.push(bytes);
            let whole = all(&mut whole);
            let mut parts = Lines::new(100);
            parts.push(&bytes[..cut]);
            let mut seen = all(&mut parts);
            parts.push(&bytes[cut..]);
            seen.extend(all(&mut parts));
            prop_assert_eq!(seen, whole);
        }
    }
}
