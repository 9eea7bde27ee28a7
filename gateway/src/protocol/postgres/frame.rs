//! Messages in the stream: a type byte, a length, a body. Nothing is allocated because a length says so.

use bytes::{Bytes, BytesMut};
use std::ops::Range;
use thiserror::Error;

/// The longest message that is held, in bytes, its type and length included.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The type byte and the length.
const HEADER: usize = 5;

/// Why there is no next message. The stream can't go on: where it ends is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A length that doesn't even count itself.
    #[error("a message of type {0:#04x} has an impossible length")]
    Length(u8),
    /// Longer than the cap.
    #[error("a message of type {tag:#04x} is {length} bytes long; the most is {cap}")]
    TooLong {
        /// The message's type.
        tag: u8,
        /// Its length in bytes.
        length: usize,
        /// The cap in bytes.
        cap: usize,
    },
}

/// One message with the bytes that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    raw: Bytes,
}

impl Message {
    /// The type byte.
    #[must_use]
    pub fn tag(&self) -> u8 {
        self.raw[0]
    }

    /// All of it, as it came.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// What follows the length.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.raw.slice(HEADER..)
    }
}

impl From<Message> for Run {
    fn from(message: Message) -> Self {
        Self { raw: message.raw }
    }
}

/// Messages of one type that came one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    raw: Bytes,
}

impl Run {
    /// All of it, as it came.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Where the body of each message stands in it.
    pub(super) fn bodies(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let end = at + size(&self.raw[at..])?.1;
            let body = at + HEADER..end;
            at = end;
            Some(body)
        })
    }
}

/// Where the message stands whose body stands here.
pub(super) fn message_of(body: &Range<usize>) -> Range<usize> {
    body.start - HEADER..body.end
}

/// The type and the length of the message that begins here, in bytes, its type and length included.
fn size(bytes: &[u8]) -> Option<(u8, usize)> {
    let [tag, length @ ..] = *bytes.first_chunk::<HEADER>()?;
    // The length counts itself and what follows, but not the type.
    Some((tag, u32::from_be_bytes(length) as usize + 1))
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    cap: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new(MAX_MESSAGE)
    }
}

impl Frames {
    /// Messages up to this many bytes.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { buffer: BytesMut::new(), cap }
    }

    /// Where the next bytes are to be put. It grows by what comes, never by what is announced.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of a message that has not come to its end.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message; None where more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`], as soon as the length is there; the same at every later call.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some((tag, length)) = size(&self.buffer) else { return Ok(None) };
        if length < HEADER {
            return Err(FrameError::Length(tag));
        }
        if length > self.cap {
            return Err(FrameError::TooLong { tag, length, cap: self.cap });
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        Ok(Some(Message { raw: self.buffer.split_to(length).freeze() }))
    }

    /// The next whole messages of this type, as many as begin in the next `most` bytes; None where the next one is of another type, is not
    /// whole, or is an error that [`Frames::next_message`] tells.
    pub fn next_run(&mut self, tag: u8, most: usize) -> Option<Run> {
        let mut end = 0;
        while end < most
            && let Some((found, length)) = size(&self.buffer[end..])
            && found == tag
            && (HEADER..=self.cap).contains(&length)
            && self.buffer.len() - end >= length
        {
            end += length;
        }
        (end > 0).then(|| Run { raw: self.buffer.split_to(end).freeze() })
    }
}

/// A message of this type with this body.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + body.len());
    put(&mut out, tag, |out| out.extend_from_slice(body));
    out.freeze()
}

/// Appends a message of this type, whose body `fill` writes.
pub(super) fn put(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    fill(out);
    put_length(&mut out[start..]);
}

/// Writes the length of the message that these bytes are to where it says it.
pub(super) fn put_length(message: &mut [u8]) {
    let length = u32::try_from(message.len() - 1).expect("what is written comes from messages below the cap");
    message[1..HEADER].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Result<Vec<Message>, FrameError> {
        let mut out = Vec::new();
        while let Some(message) = frames.next_message()? {
            out.push(message);
        }
        Ok(out)
    }

    #[test]
    fn every_cut_gives_the_same_messages() {
        let stream = [message(b'Q', b"select 1\0"), message(b'S', b""), message(b'd', &[7; 300])].concat();
        let mut whole = Frames::default();
        whole.push(&stream);
        let expected = all(&mut whole).unwrap();
        assert_eq!(expected.iter().map(Message::tag).collect::<Vec<_>>(), b"QSd");
        for cut in 0..=stream.len() {
            let mut frames = Frames::default();
            frames.push(&stream[..cut]);
            let mut found = all(&mut frames).unwrap();
            frames.push(&stream[cut..]);
            found.extend(all(&mut frames).unwrap());
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_run_is_of_whole_messages_of_one_type_and_no_longer_than_asked() {
        let rows = [message(b'D', b"one"), message(b'D', b""), message(b'D', b"three")];
        let stream = [&rows.concat()[..], &message(b'C', b"SELECT 3\0"), b"D\x00\x00\x00\x03"].concat();
        for (cut, most, whole) in
            [(stream.len(), 99, 3), (20, 99, 2), (7, 99, 0), (stream.len(), 9, 2), (stream.len(), 1, 1)]
        {
            let mut frames = Frames::default();
            frames.push(&stream[..cut]);
            let run = frames.next_run(b'D', most);
            let messages: Vec<_> =
                run.iter().flat_map(|run| run.bodies().map(|body| run.raw.slice(message_of(&body)))).collect();
            assert_eq!(messages, rows[..whole], "{cut} {most}");
        }
        let mut frames = Frames::default();
        frames.push(&stream);
        assert!(frames.next_run(b'D', 99).is_some() && frames.next_run(b'D', 99).is_none());
        assert_eq!(frames.next_message().unwrap().map(|message| message.tag()), Some(b'C'));
        assert_eq!(frames.next_run(b'D', 99), None, "an error is told by the other way");
        assert_eq!(frames.next_message(), Err(FrameError::Length(b'D')));
    }

    #[test]
    fn a_length_alone_allocates_nothing_and_an_impossible_one_is_an_error() {
        let mut frames = Frames::default();
        frames.push(b"D\x00\xff\x00\x00");
        assert_eq!(frames.next_message(), Ok(None));
        assert!(frames.buffer().capacity() < 1024);
        for (header, error) in [
            (*b"D\x00\x00\x00\x03", FrameError::Length(b'D')),
            (*b"D\x80\x00\x00\x00", FrameError::TooLong { tag: b'D', length: 0x8000_0001, cap: MAX_MESSAGE }),
        ] {
            let mut frames = Frames::default();
            frames.push(&header);
            assert_eq!(frames.next_message(), Err(error));
            frames.push(b"more");
            assert_eq!(frames.next_message(), Err(error));
        }
    }
}
