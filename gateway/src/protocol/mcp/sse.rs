//! Server-sent events (WHATWG HTML, section 9.2): where an output stands, and the events this gateway writes.

use bytes::{BufMut, Bytes, BytesMut};

/// Follows an event stream to know whether an event is open and whether the stream can be resumed.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Bytes of the current line, as far as they matter.
    line: [u8; 3],
    line_len: usize,
    event_open: bool,
    after_cr: bool,
    has_cursor: bool,
}

impl Tracker {
    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                rest = &rest[1..];
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                self.after_cr = byte == b'\r';
                self.event_open = self.line_len > 0;
                self.line_len = 0;
                rest = &rest[1..];
                continue;
            }
            if self.line_len < 3 {
                self.line[self.line_len] = byte;
                self.line_len += 1;
                self.has_cursor |= self.line_len == 3 && &self.line == b"id:";
                rest = &rest[1..];
            } else {
                let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
                rest = &rest[end..];
            }
        }
    }

    /// True between events.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !self.event_open && self.line_len == 0
    }

    /// True where an event had an id: the client can resume the stream.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        self.has_cursor
    }

    /// What ends the event that is open, so that no client takes the part of it for a message: a client passes over
    /// events of a type it doesn't know, and the last `event` field decides the type. Empty between events.
    #[must_use]
    pub fn abandon(&self) -> &'static [u8] {
        match (self.line_len > 0, self.event_open) {
            (true, _) => b"\nevent: abandoned\n\n",
            // Between lines a line end more would be the blank line that tells the event.
            (false, true) => b"event: abandoned\n\n",
            (false, false) => b"",
        }
    }
}

/// An event that carries one message, which must not hold a line end.
#[must_use]
pub fn event(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 24);
    out.put_slice(b"event: message\ndata: ");
    out.put_slice(message);
    out.put_slice(b"\n\n");
    out.freeze()
}

/// Writes a document that comes in pieces as the data of one event. Line ends between its tokens become those of the event's lines,
/// which a client puts together again by line ends.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    begun: bool,
    after_cr: bool,
}

impl Envelope {
    /// The next piece of the document, as a piece of the event.
    pub fn push(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(bytes.len() + 24);
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(b"event: message\ndata: ");
        }
        for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match line.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (line, None),
            };
            let joined = std::mem::replace(&mut self.after_cr, end == Some(b'\r'));
            out.put_slice(text);
            if end.is_some() && !(joined && text.is_empty() && end == Some(b'\n')) {
                out.put_slice(b"\ndata: ");
            }
        }
        out.freeze()
    }

    /// What ends the event.
    #[must_use]
    pub fn end(&self) -> &'static [u8] {
        if self.begun { b"\n\n" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_the_data_of_one_event_for_every_cut() {
        for text in ["{}", "{\n  \"a\": 1\r\n}\n", "[1,\r2,\r\n\r\n3\n\n]"] {
            for cut in 0..=text.len() {
                let mut envelope = Envelope::default();
                let mut wire = envelope.push(&text.as_bytes()[..cut]).to_vec();
                wire.extend_from_slice(&envelope.push(&text.as_bytes()[cut..]));
                wire.extend_from_slice(envelope.end());
                let wire = String::from_utf8(wire).unwrap();
                let lines = wire.strip_suffix("\n\n").unwrap().split('\n').collect::<Vec<_>>();
                assert_eq!(lines[0], "event: message");
                let data: Vec<&str> = lines[1..].iter().map(|line| line.strip_prefix("data: ").unwrap()).collect();
                assert_eq!(data.join("\n"), text.replace("\r\n", "\n").replace('\r', "\n"), "cut at {cut}");
            }
        }
    }

    #[test]
    fn boundaries_and_cursors_are_found_for_every_cut() {
        for (text, boundary, cursor) in [
            (&b""[..], true, false),
            (b"data: 1\n\n", true, false),
            (b"data: 1\r\n\r\n", true, false),
            (b"id: 7\rdata: 1\r\r", true, true),
            (b"data: 1\n", false, false),
            (b"data: {", false, false),
            (b": note\n\ndata: id:\n\n", true, false),
            (b"i", false, false),
        ] {
            for cut in 0..=text.len() {
                let mut tracker = Tracker::default();
                tracker.push(&text[..cut]);
                tracker.push(&text[cut..]);
                assert_eq!((tracker.at_boundary(), tracker.has_cursor()), (boundary, cursor), "cut at {cut}");
            }
        }
    }

    #[test]
    fn an_abandoned_event_is_of_a_type_that_clients_pass_over() {
        let mut tracker = Tracker::default();
        tracker.push(b"event: message\ndata: {\"half\":");
        let end = tracker.abandon();
        tracker.push(end);
        assert!(tracker.at_boundary());
        assert_eq!(end, b"\nevent: abandoned\n\n");
    }

    #[test]
    fn an_event_that_breaks_off_between_its_lines_is_not_told_by_what_abandons_it() {
        for half in [&b"data: [1,\n"[..], b"data: [1,\r", b"data: [1,\r\n"] {
            let mut tracker = Tracker::default();
            tracker.push(half);
            let end = tracker.abandon();
            tracker.push(end);
            assert!(tracker.at_boundary());
            assert_eq!(end, b"event: abandoned\n\n");
        }
    }
}
