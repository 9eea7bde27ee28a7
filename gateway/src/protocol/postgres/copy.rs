//! `COPY`: what comes out is inspected value by value, what goes in as a stream that is refused as a whole.

mod binary;

use super::frame::{Message, message};
use super::literal::Element;
use super::read::Reader;
use super::rows::{Described, Means, RowError, Rows, Rules};
use super::value::Field;
use binary::Binary;
use bytes::Bytes;
use sluice_dsl::sql::CopyFacts;
use sluice_dsl::{Origin, Origins};
use sluice_engine::{ActionKind, Budget, Decision, Program, RuleSet, Sink, Stop, Stream, StreamOptions};

/// What may wait for the inspector to decide, in bytes.
const MAX_WAITING: usize = 1024 * 1024;

/// How rows are written.
#[derive(Clone, Debug)]
struct Style {
    csv: bool,
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
}

impl Style {
    /// None where it is not what a server accepts.
    fn of(facts: &CopyFacts) -> Option<Self> {
        let csv = match facts.format.as_str() {
            "text" => false,
            "csv" => true,
            _ => return None,
        };
        let byte = |option: &Option<String>, default: u8| match option.as_deref().map(str::as_bytes) {
            None => Some(default),
            Some([byte]) => Some(*byte),
            Some(_) => None,
        };
        let quote = byte(&facts.quote, b'"')?;
        Some(Self {
            csv,
            delimiter: byte(&facts.delimiter, if csv { b',' } else { b'\t' })?,
            null: facts.null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }).into(),
            quote,
            escape: byte(&facts.escape, quote)?,
        })
    }
}

/// Whether what is copied can be read: in a format that is known, and in UTF-8.
pub(super) fn is_readable(facts: &CopyFacts) -> bool {
    (facts.format == "binary" || Style::of(facts).is_some()) && has_utf8(facts)
}

/// Whether the data is in UTF-8.
pub(super) fn has_utf8(facts: &CopyFacts) -> bool {
    facts.encoding.as_deref().is_none_or(is_utf8)
}

/// Whether this is a name of UTF-8, as the server reads names of encodings.
pub(super) fn is_utf8(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode"].contains(&letters.to_ascii_lowercase().as_str())
}

/// In which form rows come.
#[derive(Debug)]
enum Form {
    /// In one that nobody reads, since no rule holds.
    Any,
    Lines(Style),
    Binary(Binary),
}

/// Rows on their way out.
#[derive(Debug)]
pub(super) struct CopyOut {
    form: Form,
    rows: Rows,
    count: usize,
    /// The next row names the columns.
    header: bool,
}

impl CopyOut {
    /// Begins with the server's CopyOutResponse.
    pub(super) fn new(facts: &CopyFacts, response: Bytes, rules: &Rules, means: Means<'_>) -> Result<Self, RowError> {
        let mut response = Reader(response);
        let binary = response.byte()? != 0;
        let count = response.count()?;
        response.exactly(2 * count)?;
        let named = facts.columns.len() == count;
        let described = (0..count).map(|at| {
            let name = if named { facts.columns[at].clone() } else { String::new() };
            // Of which table is what its name stands for on the server: it could be any.
            let origin = Origin { column: name.clone(), ..Origin::default() };
            let origins = if means.claims.is_empty() { Origins::Untold } else { Origins::Of(vec![origin]) };
            Described { name, oid: 0, binary, source: (0, 0), origins }
        });
        let described: Vec<Described> = described.collect();
        let mut rows = Rows::new(&described, rules, means);
        let form = match Style::of(facts) {
            _ if rows.is_idle() => Form::Any,
            None if binary => Form::Binary(Binary::default()),
            Some(style) if !binary => Form::Lines(style),
            _ => return Err(RowError::Malformed),
        };
        if !named {
            rows.forget_names();
        }
        Ok(Self { form, header: facts.header, rows, count })
    }

    /// What was decided since this was last asked.
    pub(super) fn decisions(&mut self) -> Vec<Decision> {
        self.rows.decisions()
    }

    /// Many decisions wait to be told.
    pub(super) fn has_much_to_tell(&self) -> bool {
        self.rows.has_much_to_tell()
    }

    /// A CopyData as it may leave: one row, or some in the binary format, as servers send them.
    ///
    /// # Errors
    /// [`RowError`]: nothing of it leaves.
    pub(super) fn row(&mut self, data: &Message, seen: &mut Vec<u8>) -> Result<Bytes, RowError> {
        let body = data.body();
        let style = match &mut self.form {
            Form::Any => {
                seen.extend_from_slice(&body);
                return Ok(data.raw().clone());
            }
            Form::Binary(binary) => {
                let changed = binary.data(&body, self.count, &mut self.rows, seen)?;
                return Ok(changed.map_or_else(|| data.raw().clone(), |body| message(b'd', &body)));
            }
            Form::Lines(style) => style.clone(),
        };
        let line = body.strip_suffix(b"\n").ok_or(RowError::Malformed)?;
        let header = std::mem::take(&mut self.header);
        let fields = if style.csv { csv(line, &style) } else { text(line, &style) }.ok_or(RowError::Malformed)?;
        // An empty line is a row without columns, or one with an empty value.
        if fields.len() != self.count && !(self.count == 0 && line.is_empty()) {
            return Err(RowError::Malformed);
        }
        self.rows.next_row();
        let mut out: Option<Vec<u8>> = None;
        let mut kept = 0;
        for (index, (range, value)) in fields.into_iter().enumerate().take(self.count) {
            let Some(value) = value else { continue };
            let element = match self.rows.value(index, header, &Bytes::from(value))? {
                Field::Same => Element::Same,
                Field::New(value) => Element::Text(value),
                Field::Null => Element::Null,
            };
            let replacement = match element {
                Element::Same => continue,
                Element::Text(value) if style.csv => csv_quoted(&value, &style),
                Element::Text(value) => text_escaped(&value, &style),
                Element::Null => style.null.clone(),
            };
            let out = out.get_or_insert_default();
            out.extend_from_slice(&line[kept..range.start]);
            out.extend_from_slice(&replacement);
            kept = range.end;
        }
        Ok(match out {
            None => {
                seen.extend_from_slice(&body);
                data.raw().clone()
            }
            Some(mut out) => {
                out.extend_from_slice(&line[kept..]);
                out.push(b'\n');
                seen.extend_from_slice(&out);
                message(b'd', &out)
            }
        })
    }
}

type Fields = Vec<(std::ops::Range<usize>, Option<Vec<u8>>)>;

/// The values of a line in the text format, with their places; None for NULL.
fn text(line: &[u8], style: &Style) -> Option<Fields> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut at = 0;
    loop {
        match line.get(at) {
            Some(b'\\') => at += 2,
            Some(b'\n' | b'\r') => return None,
            Some(byte) if *byte != style.delimiter => at += 1,
            end => {
                let written = line.get(start..at)?;
                let value = (written != style.null).then(|| text_plain(written));
                fields.push((start..at, value));
                at += 1;
                start = at;
                if end.is_none() {
                    return Some(fields);
                }
            }
        }
    }
}

fn text_plain(written: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(written.len());
    let mut bytes = written.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(byte) => *byte,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    out
}

fn text_escaped(value: &[u8], style: &Style) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            11 => out.extend_from_slice(b"\\v"),
            byte if *byte == b'\\' || *byte == style.delimiter => out.extend_from_slice(&[b'\\', *byte]),
            byte => out.push(*byte),
        }
    }
    out
}

/// The values of a line of CSV, with their places; None for NULL.
fn csv(line: &[u8], style: &Style) -> Option<Fields> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        let mut value = Vec::new();
        let (mut quoted, mut open) = (false, false);
        while let Some(byte) = line.get(at) {
            if open {
                let next = line.get(at + 1);
                if *byte == style.escape && next.is_some_and(|next| *next == style.quote || *next == style.escape) {
                    value.extend(next);
                    at += 1;
                } else if *byte == style.quote {
                    open = false;
                } else {
                    value.push(*byte);
                }
            } else if *byte == style.delimiter {
                break;
            } else if *byte == style.quote {
                (quoted, open) = (true, true);
            } else if matches!(byte, b'\n' | b'\r') {
                return None;
            } else {
                value.push(*byte);
            }
            at += 1;
        }
        if open {
            return None;
        }
        let is_null = !quoted && value == style.null;
        fields.push((start..at, (!is_null).then_some(value)));
        if at >= line.len() {
            return Some(fields);
        }
        at += 1;
    }
}

fn csv_quoted(value: &[u8], style: &Style) -> Vec<u8> {
    let mut out = vec![style.quote];
    for byte in value {
        if *byte == style.quote || *byte == style.escape {
            out.push(style.escape);
        }
        out.push(*byte);
    }
    out.push(style.quote);
    out
}

/// Why data doesn't go in.
#[derive(Debug)]
pub(super) enum Refused {
    /// The inspector stopped.
    Stop(Stop),
    /// A rule masks what is in it, which would change what is stored.
    Masked(Decision),
    /// Too much waits to be decided.
    Undecided,
}

/// Data on its way in.
#[derive(Debug)]
pub(super) struct CopyIn {
    stream: Option<Stream>,
    /// The data has escapes of the text format.
    escapes: Option<Unescape>,
    /// Messages that wait, and their bytes.
    waiting: Vec<Bytes>,
    size: usize,
    pub(super) decisions: Vec<Decision>,
}

impl CopyIn {
    pub(super) fn new(facts: &CopyFacts, rules: RuleSet, program: &Program, budget: &Budget) -> Self {
        let options = StreamOptions::raw().rules(rules.clone());
        Self {
            stream: (!rules.is_empty()).then(|| Stream::open(program, options, budget)),
            escapes: (facts.format == "text").then(Unescape::default),
            waiting: Vec::new(),
            size: 0,
            decisions: Vec::new(),
        }
    }

    /// Takes a CopyData; gives the messages that may go on.
    pub(super) fn data(&mut self, data: &Message) -> Result<Vec<Bytes>, Refused> {
        self.size += data.raw().len();
        self.waiting.push(data.raw().clone());
        let body = data.body();
        let plain = match &mut self.escapes {
            Some(escapes) => escapes.push(body),
            None => body,
        };
        self.decide(|stream, sink| stream.push(plain, sink))?;
        if self.stream.as_ref().is_none_or(|stream| stream.held() == 0) {
            return Ok(self.release());
        }
        if self.size > MAX_WAITING { Err(Refused::Undecided) } else { Ok(Vec::new()) }
    }

    /// No more data comes; gives the messages that waited.
    pub(super) fn finish(&mut self) -> Result<Vec<Bytes>, Refused> {
        self.decide(|stream, sink| stream.finish(sink))?;
        Ok(self.release())
    }

    fn release(&mut self) -> Vec<Bytes> {
        self.size = 0;
        std::mem::take(&mut self.waiting)
    }

    fn decide(
        &mut self,
        step: impl FnOnce(&mut Stream, &mut Decisions<'_>) -> Result<(), Stop>,
    ) -> Result<(), Refused> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let known = self.decisions.len();
        step(stream, &mut Decisions(&mut self.decisions)).map_err(Refused::Stop)?;
        let masks = |decision: &&Decision| decision.action == ActionKind::Mask;
        match self.decisions[known..].iter().find(masks) {
            Some(decision) => Err(Refused::Masked(decision.clone())),
            None => Ok(()),
        }
    }
}

struct Decisions<'a>(&'a mut Vec<Decision>);

impl Sink for Decisions<'_> {
    fn clean(&mut self, _: Bytes) {}
    fn masked(&mut self, _: &[u8]) {}
    fn decision(&mut self, decision: &Decision) {
        self.0.push(decision.clone());
    }
}

/// Reads the escapes of the text format as the server does, across messages.
#[derive(Debug, Default)]
struct Unescape {
    state: Escape,
}

#[derive(Debug, Default)]
enum Escape {
    #[default]
    None,
    /// A backslash.
    Begun,
    /// Digits in base 8 or 16: their value and how many may follow.
    Octal(u8, u8),
    /// `\x` and nothing yet.
    Hex,
    HexDigits(u8, u8),
}

impl Unescape {
    fn push(&mut self, data: Bytes) -> Bytes {
        if matches!(self.state, Escape::None) && !data.contains(&b'\\') {
            return data;
        }
        let mut out = Vec::with_capacity(data.len());
        for byte in &data {
            self.byte(*byte, &mut out);
        }
        out.into()
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let octal = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| byte - b'0');
        self.state = match (std::mem::take(&mut self.state), byte) {
            (Escape::None, b'\\') => Escape::Begun,
            (Escape::None, byte) => {
                out.push(byte);
                Escape::None
            }
            (Escape::Begun, b'x') => Escape::Hex,
            (Escape::Begun, byte) => match octal(byte) {
                Some(digit) => Escape::Octal(digit, 2),
                None => {
                    out.push(match byte {
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'v' => 11,
                        byte => byte,
                    });
                    Escape::None
                }
            },
            (Escape::Octal(value, left), byte) => match octal(byte).filter(|_| left > 0) {
                Some(digit) => Escape::Octal(value.wrapping_mul(8).wrapping_add(digit), left - 1),
                None => return self.again(value, byte, out),
            },
            (Escape::Hex, byte) => match hex(byte) {
                Some(digit) => Escape::HexDigits(digit, 1),
                None => return self.again(b'x', byte, out),
            },
            (Escape::HexDigits(value, left), byte) => match hex(byte).filter(|_| left > 0) {
                Some(digit) => Escape::HexDigits(value << 4 | digit, left - 1),
                None => return self.again(value, byte, out),
            },
        };
    }

    /// An escape ended before this byte.
    fn again(&mut self, value: u8, byte: u8, out: &mut Vec<u8>) {
        out.push(value);
        self.byte(byte, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(facts: &CopyFacts) -> Style {
        Style::of(facts).unwrap()
    }

    fn values(fields: Option<Fields>) -> Vec<Option<String>> {
        fields.unwrap().into_iter().map(|(_, value)| value.map(|value| String::from_utf8(value).unwrap())).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn lines_of_text_fall_into_values_without_escapes() {
        let style = style(&CopyFacts { format: "text".into(), ..CopyFacts::default() });
        assert_eq!(values(text(br"a\tb	\N		c\\", &style)), [some("a\tb"), None, some(""), some("c\\")]);
        assert_eq!(text_escaped(b"a\tb\\c\nd", &style), br"a\tb\\c\nd");
        assert!(text(b"a\nb", &style).is_none());
    }

    #[test]
    fn lines_of_csv_fall_into_values_without_quotes() {
        let facts = CopyFacts { format: "csv".into(), ..CopyFacts::default() };
        assert_eq!(
            values(csv(br#"a,"b ""c"", d",,"""#, &style(&facts))),
            [some("a"), some("b \"c\", d"), None, some("")]
        );
        assert!(csv(br#""a"#, &style(&facts)).is_none());
        assert_eq!(csv_quoted(b"a\"b", &style(&facts)), br#""a""b""#);
        let odd = CopyFacts { delimiter: some(";"), quote: some("'"), escape: some("\\"), null: some("-"), ..facts };
        assert_eq!(values(csv(br"-;'a\'b\\';'-'", &style(&odd))), [None, some("a'b\\"), some("-")]);
        assert_eq!(csv_quoted(b"a'b", &style(&odd)), br"'a\'b'");
    }

    #[test]
    fn escapes_of_data_going_in_are_read_for_every_cut() {
        let (written, plain) = (br"bob\100ex\x61mple\x2eorg\tx\\\q\x\7".as_slice(), b"bob@example.org\tx\\qx");
        for cut in 0..=written.len() {
            let mut escapes = Unescape::default();
            let mut out = escapes.push(Bytes::copy_from_slice(&written[..cut])).to_vec();
            out.extend(escapes.push(Bytes::copy_from_slice(&written[cut..])));
            assert_eq!(out, plain, "cut at {cut}");
        }
    }

    #[test]
    fn names_of_encodings_are_read_as_the_server_reads_them() {
        assert!(["UTF8", "utf-8", "Unicode", "'utf_8'"].into_iter().all(is_utf8));
        assert!(!["SQL_ASCII", "latin1", "sjis", ""].into_iter().any(is_utf8));
    }
}
