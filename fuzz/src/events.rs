//! An event stream as a client reads it, whole and at leisure (WHATWG HTML, section 9.2.6).

/// An event that a client hands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty where none is given.
    pub kind: Vec<u8>,
    /// Its data, lines joined by line feeds.
    pub data: Vec<u8>,
}

/// The lines that have ended, and what stands after the last of them.
pub fn lines(text: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    (lines, rest)
}

/// The events of a stream. One without its blank line is dropped, and so is one without data.
pub fn read(text: &[u8]) -> Vec<Event> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut events = Vec::new();
    let mut event = Event::default();
    for line in lines(text).0 {
        if line.is_empty() {
            let mut ended = std::mem::take(&mut event);
            if ended.data.pop().is_some() {
                events.push(ended);
            }
            continue;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &b""[..]),
        };
        match name {
            b"event" => event.kind = value.to_vec(),
            b"data" => {
                event.data.extend_from_slice(value);
                event.data.push(b'\n');
            }
            _ => {}
        }
    }
    events
}
