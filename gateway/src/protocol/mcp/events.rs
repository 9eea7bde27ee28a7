//! Server-sent events (WHATWG HTML, section 9.2.6) as a client reads them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// What a blank line ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Event {
    /// The data, its lines joined by line feeds; None where there is none, or where the event is of a type other than `message`.
    pub data: Option<Bytes>,
    /// Where the stream may be resumed.
    pub id: Option<String>,
    /// How long to wait before.
    pub retry: Option<Duration>,
}

/// An event, or a line of one, is longer than the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event is longer than {cap} bytes")]
pub struct EventTooLong {
    /// The cap, in bytes.
    pub cap: usize,
}

/// Splits a stream into events.
#[derive(Debug)]
pub struct Events {
    buffer: BytesMut,
    /// So much of the buffer has no line end.
    scanned: usize,
    /// The line end before was a carriage return: a line feed now belongs to it.
    after_cr: bool,
    is_first: bool,
    event: Event,
    data: BytesMut,
    has_data: bool,
    is_message: bool,
    cap: usize,
}

impl Events {
    /// Events of at most `cap` bytes.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            after_cr: false,
            is_first: true,
            event: Event::default(),
            data: BytesMut::new(),
            has_data: false,
            is_message: true,
            cap,
        }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event that is whole; None where more bytes are needed.
    ///
    /// # Errors
    /// [`EventTooLong`]: the stream can't be read any further.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLong> {
        let too_long = EventTooLong { cap: self.cap };
        loop {
            if self.after_cr && !self.buffer.is_empty() {
                self.after_cr = false;
                if self.buffer[0] == b'\n' {
                    let _ = self.buffer.split_to(1);
                }
            }
            let rest = &self.buffer[self.scanned..];
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest).map(|at| at + self.scanned) else {
                self.scanned = self.buffer.len();
                return if self.scanned + self.data.len() > self.cap { Err(too_long) } else { Ok(None) };
            };
            self.after_cr = self.buffer[end] == b'\r';
            let mut line = self.buffer.split_to(end + 1);
            line.truncate(end);
            self.scanned = 0;
            if line.len() + self.data.len() > self.cap {
                return Err(too_long);
            }
            let line = if std::mem::take(&mut self.is_first) {
                // A byte order mark may begin a stream.
                line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line)
            } else {
                &line
            };
            if !line.is_empty() {
                let line = line.to_vec();
                self.field(&line);
                continue;
            }
            let mut event = std::mem::take(&mut self.event);
            let data = self.data.split().freeze();
            let has_data = std::mem::take(&mut self.has_data);
            event.data = (has_data && self.is_message).then_some(data);
            self.is_message = true;
            if event != Event::default() {
                return Ok(Some(event));
            }
        }
    }

    fn field(&mut self, line: &[u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.is_message = value.is_empty() || value == b"message",
            b"id" if !value.contains(&0) => self.event.id = Some(String::from_utf8_lossy(value).into_owned()),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let milliseconds = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.event.retry = milliseconds.map(Duration::from_millis);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let mut events = Events::new(1000);
        let mut out = Vec::new();
        for piece in pieces {
            events.push(piece);
            while let Some(event) = events.next_event().unwrap() {
                out.push(event);
            }
        }
        out
    }

    fn data(text: &'static str) -> Event {
        Event { data: Some(Bytes::from_static(text.as_bytes())), ..Event::default() }
    }

    #[test]
    fn events_are_the_same_for_every_cut() {
        let text = b"\xef\xbb\xbfdata: 1\n\n: note\r\nid: 7\r\ndata:\r\n\r\nid: 8\nretry: 250\nevent: message\ndata: a\rdata:  b\r\r\
            event: other\ndata: no\n\ndata\n\nunknown: x\n\n";
        let expected = [
            data("1"),
            Event { id: Some("7".to_owned()), ..data("") },
            Event { id: Some("8".to_owned()), retry: Some(Duration::from_millis(250)), ..data("a\n b") },
            data(""),
        ];
        for cut in 0..=text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn an_event_over_the_cap_is_an_error_before_its_end_is_seen() {
        let mut events = Events::new(10);
        events.push(b"data: 12345678");
        assert_eq!(events.next_event(), Err(EventTooLong { cap: 10 }));
        let mut events = Events::new(10);
        events.push(b"data: 123\ndata: 123\ndata: 123\n\n");
        assert_eq!(events.next_event(), Err(EventTooLong { cap: 10 }));
    }

    #[test]
    fn an_event_that_breaks_off_is_none() {
        assert_eq!(read(&[b"data: 1\n"]), []);
    }
}
