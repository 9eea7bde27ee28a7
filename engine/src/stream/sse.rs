//! Server-sent events (WHATWG HTML, section 9.2): lines and fields, while they pass.

/// A part of a run of an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Field names, line ends, and what is a protocol's cursor: `id` and `retry`.
    Structure(usize),
    /// Part of the data of an event.
    Data(usize),
    /// Part of a line that is inspected as it stands: a comment, an event's name, a field nobody knows.
    Text(usize),
    /// The first bytes of the line turned out to be text; they are the start of this name.
    Name(&'static [u8]),
    /// The data of this line ended; another line of it may follow.
    DataLineEnded,
    /// A line of text ended.
    TextEnded,
    /// An event ended.
    EventEnded,
}

/// Field names that are known, with what their values are.
const FIELDS: &[(&[u8], Field)] = &[(b"data", Field::Data), (b"id", Field::Cursor), (b"retry", Field::Cursor)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Cursor,
}

#[derive(Clone, Debug)]
pub(crate) struct Sse {
    state: State,
    after_cr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of the stream: `matched` bytes of a byte order mark have been read, which a reader drops.
    Mark {
        matched: usize,
    },
    /// `matched` bytes of the name in `FIELDS[field]` have been read.
    Name {
        field: usize,
        matched: usize,
    },
    /// After the colon of a data line: one space is not part of the data.
    Colon,
    Data,
    Cursor,
    Text,
}

const MARK: &[u8] = "\u{feff}".as_bytes();

const START: State = State::Name { field: 0, matched: 0 };

impl Sse {
    pub(crate) fn new() -> Self {
        Self { state: State::Mark { matched: 0 }, after_cr: false }
    }

    /// The bytes of the current line that are not known yet to be structure or text.
    pub(crate) fn pending(&self) -> usize {
        match self.state {
            State::Name { matched, .. } | State::Mark { matched } => matched,
            _ => 0,
        }
    }

    /// Reads the next part of `run`, which must not be empty. Parts with a length take so many bytes, others none.
    pub(crate) fn next(&mut self, run: &[u8]) -> Part {
        let byte = run[0];
        if std::mem::take(&mut self.after_cr) && byte == b'\n' {
            return Part::Structure(1);
        }
        let line_end = memchr::memchr2(b'\n', b'\r', run).unwrap_or(run.len());
        match self.state {
            State::Mark { matched } if MARK[matched] == byte => {
                self.state = if matched + 1 < MARK.len() { State::Mark { matched: matched + 1 } } else { START };
                Part::Structure(1)
            }
            State::Mark { matched: 0 } => {
                self.state = START;
                self.next(run)
            }
            State::Mark { matched } => {
                self.state = State::Text;
                Part::Name(&MARK[..matched])
            }
            State::Name { field, matched } => {
                if line_end == 0 {
                    if matched == 0 {
                        return self.line_end(byte, Some(Part::EventEnded));
                    }
                    // A field without a colon: an empty value where the name is whole, text otherwise.
                    if matched == FIELDS[field].0.len() {
                        return self.line_end(byte, None);
                    }
                    self.state = State::Text;
                    return Part::Name(&FIELDS[field].0[..matched]);
                }
                let (name, kind) = FIELDS[field];
                if matched == name.len() && byte == b':' {
                    self.state = if kind == Field::Data { State::Colon } else { State::Cursor };
                    return Part::Structure(1);
                }
                let other = FIELDS
                    .iter()
                    .position(|(other, _)| other.starts_with(&name[..matched]) && other.get(matched) == Some(&byte));
                if let Some(field) = other {
                    self.state = State::Name { field, matched: matched + 1 };
                    return Part::Structure(1);
                }
                self.state = State::Text;
                if matched > 0 { Part::Name(&name[..matched]) } else { self.next(run) }
            }
            _ if line_end == 0 => match self.state {
                State::Colon | State::Data => self.line_end(byte, Some(Part::DataLineEnded)),
                State::Text => self.line_end(byte, Some(Part::TextEnded)),
                _ => self.line_end(byte, None),
            },
            State::Colon => {
                self.state = State::Data;
                if byte == b' ' { Part::Structure(1) } else { Part::Data(line_end) }
            }
            State::Data => Part::Data(line_end),
            State::Cursor => Part::Structure(line_end),
            State::Text => Part::Text(line_end),
        }
    }

    /// Says what ended first; the line end itself is read by the next call.
    fn line_end(&mut self, byte: u8, ended: Option<Part>) -> Part {
        match ended {
            Some(Part::EventEnded) | None => {
                self.after_cr = byte == b'\r';
                let part = if ended.is_some() { Part::EventEnded } else { Part::Structure(1) };
                self.state = START;
                part
            }
            Some(part) => {
                self.state = State::Cursor;
                part
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &[u8], step: usize) -> Vec<(char, Vec<u8>)> {
        let mut sse = Sse::new();
        let mut out: Vec<(char, Vec<u8>)> = Vec::new();
        for chunk in text.chunks(step) {
            let mut at = 0;
            while at < chunk.len() {
                let (kind, len, extra): (char, usize, &[u8]) = match sse.next(&chunk[at..]) {
                    Part::Structure(len) => ('s', len, b""),
                    Part::Data(len) => ('d', len, b""),
                    Part::Text(len) => ('t', len, b""),
                    Part::Name(name) => ('t', 0, name),
                    Part::DataLineEnded => ('D', 0, b""),
                    Part::TextEnded => ('T', 0, b""),
                    Part::EventEnded => ('E', 1, b""),
                };
                let bytes = [extra, if kind == 'E' { b"" } else { &chunk[at..at + len] }].concat();
                match out.last_mut() {
                    Some((last, all)) if *last == kind && kind.is_lowercase() => all.extend(bytes),
                    _ => out.push((kind, bytes)),
                }
                at += len;
            }
        }
        out.retain(|(kind, _)| *kind != 's');
        out
    }

    #[test]
    fn data_comments_and_unknown_fields_are_told_apart_for_every_cut() {
        let text = b"id: 7\nevent: message\ndata: {\"a\":1}\ndata:2\n: note\ndat: x\n\r\ndata\n\n";
        let whole = parts(text, text.len());
        let data: Vec<&[u8]> = whole.iter().filter(|(k, _)| *k == 'd').map(|(_, b)| b.as_slice()).collect();
        assert_eq!(data, [&b"{\"a\":1}"[..], b"2"]);
        let shown: Vec<&[u8]> = whole.iter().filter(|(k, _)| *k == 't').map(|(_, b)| b.as_slice()).collect();
        assert_eq!(shown, [&b"event: message"[..], b": note", b"dat: x"]);
        assert_eq!(whole.iter().filter(|(k, _)| *k == 'E').count(), 2);
        for step in 1..text.len() {
            assert_eq!(parts(text, step), whole, "chunks of {step}");
        }
    }
}
