//! One direction of one exchange, inspected while it passes.
//!
//! The way of a byte: the framing (raw, JSON, events of JSON) tells text from structure; [`inspect`] decodes the text,
//! level by level; a [`lane`] a level finds matches in it; [`resolve`] settles overlaps and lets go what is decided.

pub(crate) mod automaton;
mod base64;
mod bulk;
mod costs;
mod desk;
mod escape;
mod glance;
mod inspect;
mod join;
mod json;
mod lane;
#[cfg(test)]
mod oracle;
pub(crate) mod path;
mod percent;
pub(crate) mod plan;
mod resolve;
mod skim;
mod sse;
mod track;
mod view;

use crate::budget::Budget;
use crate::pattern::JsonPath;
use crate::program::{PatternId, Program, RuleSet};
use crate::sink::{Decision, Sink};
use bytes::Bytes;
pub use costs::Costs;
use inspect::Inspector;
use json::{Inside, Json, Kind, Step};
use path::PathSet;
use plan::Plan;
use sse::{Part, Sse};
use std::sync::Arc;
use thiserror::Error;
use track::Tracker;

/// How the bytes of a stream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Text or anything else: inspected as it stands.
    #[default]
    Raw,
    /// JSON texts (RFC 8259), one or several: strings are inspected decoded, and JSON inside strings too.
    Json,
    /// An event stream (WHATWG HTML, server-sent events) whose data is JSON; data that starts otherwise is read as text.
    Sse,
}

/// How a stream is opened.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// How the bytes are written.
    pub format: Format,
    /// The rules that hold; None: all of the program.
    pub rules: Option<RuleSet>,
    /// The name of the column whose value this stream is; for [`Format::Raw`].
    pub column: Option<String>,
    /// Values that pass unread, by their path in the document: a protocol's own state.
    pub exempt: Vec<JsonPath>,
    /// Names of members whose value is a document of its own for paths.
    pub roots: &'static [&'static str],
}

/// The column whose value a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name, which stands before the value as context.
    pub name: &'a str,
    /// Other names by which patterns may claim its values.
    pub also: &'a [String],
}

impl<'a> From<&'a str> for Column<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, also: &[] }
    }
}

impl Column<'_> {
    /// The patterns that claim its values.
    fn selected(&self, paths: &PathSet) -> Vec<PatternId> {
        let mut selected = paths.columns(self.name);
        for name in self.also {
            selected.extend(paths.columns(name));
        }
        selected.sort_unstable();
        selected.dedup();
        selected
    }
}

impl StreamOptions {
    /// Bytes as they stand, all rules.
    #[must_use]
    pub fn raw() -> Self {
        Self::default()
    }

    /// This format, all rules.
    #[must_use]
    pub fn format(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// The same, with these rules alone.
    #[must_use]
    pub fn rules(mut self, rules: RuleSet) -> Self {
        self.rules = Some(rules);
        self
    }
}

/// Why a stream stopped. Nothing that was held back is released, and every later call gives the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Stop {
    /// A rule blocks.
    #[error("blocked by a rule")]
    Blocked(Decision),
    /// The shared budget is used up.
    #[error("the memory budget of {limit} bytes is used up")]
    Budget {
        /// The cap, in bytes.
        limit: usize,
    },
    /// The bytes are not of the stream's format.
    #[error("byte {at} is not valid {format}: {reason}")]
    Undecodable {
        /// Offset from the start of the stream, in bytes.
        at: u64,
        /// The format's name.
        format: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// `push` or `finish` after `finish`.
    #[error("the stream is finished")]
    Finished,
}

/// The place of an event's data where that is no JSON, for [`Inspector::join`].
const PLAIN_DATA: u64 = 1;

/// The longest number that is read, in bytes: a mask inside it needs it whole.
const MAX_NUMBER: u64 = 4096;

/// One direction of one exchange.
#[derive(Debug)]
pub struct Stream {
    inspector: Inspector,
    framing: Framing,
    budget: Budget,
    /// What is charged to the budget, in bytes.
    charged: usize,
    stopped: Option<Box<Stop>>,
}

#[derive(Debug)]
enum Framing {
    Raw,
    /// As they stand, with pauses; `is_open` where text came since the last one.
    Paused {
        is_open: bool,
    },
    Json(Box<Document>),
    Sse(Box<Events>),
}

/// An event stream while it passes.
#[derive(Debug)]
struct Events {
    lines: Sse,
    data: Data,
    document: Document,
}

/// The data of the current event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    None,
    Json,
    /// A line of it is open as text.
    Text,
    /// A line of text ended; the next one belongs to the same event.
    TextLine,
}

/// A JSON document while it passes.
#[derive(Debug)]
struct Document {
    json: Json,
    /// The current value passes unread.
    exempt: bool,
}

impl Document {
    fn new(plan: &Plan, options: &StreamOptions, places: bool) -> Self {
        let rules =
            (places || !plan.paths.is_empty()).then(|| Tracker::new(Arc::clone(&plan.paths), options.roots, places));
        let exempt = options.exempt.iter().map(|path| (PatternId(0), path::Target::Path(path.clone())));
        let exempt = (!options.exempt.is_empty()).then(|| Tracker::new(Arc::new(PathSet::new(exempt)), &[], false));
        Self { json: Json::new(rules, exempt), exempt: false }
    }

    /// Reads a byte of structure; a number or literal that ended before it is closed.
    fn step(&mut self, byte: u8, place: u64, inspector: &mut Inspector) -> Result<Step, Stop> {
        let step = self.json.step(byte);
        if step.as_ref().map_or_else(|wrong| wrong.scalar_ended, |step| step.scalar_ended) {
            inspector.output.close_scalar(place);
            inspector.close(place, false);
        }
        step.map_err(|wrong| undecodable(inspector, place, wrong.reason))
    }
}

impl Stream {
    /// Opens a stream.
    #[must_use]
    pub fn open(program: &Program, options: StreamOptions, budget: &Budget) -> Self {
        let plan = program.plan(options.rules.as_ref());
        let mut inspector = Inspector::new(program.clone(), plan);
        inspector.work();
        let plan = Arc::clone(&inspector.plan);
        let framing = match options.format {
            Format::Raw => {
                let selected = options.column.map(|column| plan.paths.columns(&column)).unwrap_or_default();
                inspector.open(0, false, &selected);
                Framing::Raw
            }
            Format::Json => Framing::Json(Box::new(Document::new(&plan, &options, false))),
            Format::Sse => {
                let document = Document::new(&plan, &options, true);
                Framing::Sse(Box::new(Events { lines: Sse::new(), data: Data::None, document }))
            }
        };
        inspector.rest();
        Self { inspector, framing, budget: budget.clone(), charged: 0, stopped: None }
    }

    /// Opens a stream of bytes as they stand, whose sender may pause and wait for an answer: [`Stream::pause`].
    #[must_use]
    pub fn open_paused(program: &Program, rules: Option<RuleSet>, budget: &Budget) -> Self {
        let mut stream = Self::open(program, StreamOptions { rules, ..StreamOptions::raw() }, budget);
        stream.inspector.work();
        stream.inspector.join(PLAIN_DATA, 0);
        stream.inspector.rest();
        stream.framing = Framing::Paused { is_open: true };
        stream
    }

    /// Inspects the next bytes and emits all that is decided. Any length will do, none included.
    ///
    /// # Errors
    /// A [`Stop`]: the stream is over and nothing more leaves.
    pub fn push(&mut self, bytes: Bytes, sink: &mut impl Sink) -> Result<(), Stop> {
        self.work(|stream| stream.take(bytes, sink))
    }

    fn take(&mut self, bytes: Bytes, sink: &mut impl Sink) -> Result<(), Stop> {
        let wire = self.inspector.output.end();
        self.inspector.output.append(bytes.clone());
        let mut at = 0;
        let mut read = Ok(());
        while at < bytes.len() && read.is_ok() {
            let wire = wire + at as u64;
            let rest = bytes.slice(at..);
            let len = match &self.framing {
                Framing::Raw | Framing::Paused { .. } => self.inspector.begin(rest, wire),
                Framing::Json(document) => self.inspector.begin_document(rest, wire, document.json.in_string()),
                Framing::Sse(events) => self.inspector.begin_document(rest, wire, events.document.json.in_string()),
            };
            read = self.read(&bytes[at..at + len], wire);
            self.inspector.end();
            at += len;
        }
        self.settle(read, sink)
    }

    /// Says that no more bytes come, and decides what is left.
    ///
    /// # Errors
    /// A [`Stop`], as for [`Stream::push`].
    pub fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        self.work(|stream| stream.end(sink))?;
        self.stopped = Some(Box::new(Stop::Finished));
        Ok(())
    }

    fn end(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        let end = self.inspector.output.end();
        let read = match &mut self.framing {
            Framing::Raw | Framing::Paused { .. } => Ok(()),
            Framing::Json(document) => end_document(document, &mut self.inspector, end),
            // An event without its blank line is dropped by a reader, but its bytes are there to be read.
            Framing::Sse(events) => end_event(events, &mut self.inspector, end),
        };
        if read.is_ok() {
            self.inspector.finish();
        }
        self.settle(read, sink)
    }

    /// Inspects one whole text that has nothing to do with what came before, as a value of a row: no match reaches into it
    /// or out of it, and all of it is emitted. The name of `column`, whose value it is, stands before it as
    /// context. For [`Format::Raw`]; what was pushed before ends here.
    ///
    /// # Errors
    /// A [`Stop`], as for [`Stream::push`].
    pub fn text(&mut self, bytes: Bytes, column: Option<Column<'_>>, sink: &mut impl Sink) -> Result<(), Stop> {
        self.work(|stream| {
            if stream.inspector.is_open() {
                stream.inspector.apart();
                stream.settle(Ok(()), sink)?;
            }
            let selected = column.map(|column| column.selected(&stream.inspector.plan.paths)).unwrap_or_default();
            let column = column.map(|column| column.name);
            let wire = stream.inspector.output.end();
            stream.inspector.output.append(bytes.clone());
            let mut at = 0;
            while at < bytes.len() {
                let place = wire + at as u64;
                let len = stream.inspector.begin(bytes.slice(at..), place);
                if at == 0 {
                    if len == bytes.len() && selected.is_empty() && stream.inspector.whole(wire, column) {
                        break;
                    }
                    stream.inspector.open_column(wire, column, &selected);
                }
                // Raw text has no escapes that could be wrong.
                let _ = stream.inspector.text(&bytes[at..at + len], place, at + len == bytes.len(), false);
                at += len;
                stream.inspector.read = wire + at as u64;
                stream.inspector.end();
            }
            if stream.inspector.is_open() {
                stream.inspector.apart();
            }
            stream.settle(Ok(()), sink)
        })
    }

    /// True where an event that has ended is held back, because a value at the end of one of its texts may go on in an event
    /// that has not come. Call [`Stream::decide`] when it has waited long enough.
    #[must_use]
    pub fn awaits_event(&self) -> bool {
        self.stopped.is_none() && self.inspector.awaits_text()
    }

    /// Lets go what is held back for an event that has not come. Where a value does go on in a later one, the rest of it is
    /// redacted there.
    ///
    /// # Errors
    /// A [`Stop`], as for [`Stream::push`].
    pub fn decide(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        self.work(|stream| {
            stream.inspector.release_texts();
            stream.settle(Ok(()), sink)
        })
    }

    /// Says that the sender has paused: what it sent may be all that it says before it gets an answer. Text that ends here is
    /// decided as at the end of an event: a word waits for nothing, what is already like a value waits
    /// ([`Stream::awaits_event`], [`Stream::decide`]), and where a value goes on after the pause, the rest of it is redacted.
    /// Nothing happens on a stream that wasn't opened by [`Stream::open_paused`].
    ///
    /// # Errors
    /// A [`Stop`], as for [`Stream::push`].
    pub fn pause(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        self.work(|stream| {
            if let Framing::Paused { is_open: is_open @ true } = &mut stream.framing {
                *is_open = false;
                stream.inspector.close(stream.inspector.read, false);
            }
            stream.settle(Ok(()), sink)
        })
    }

    /// What the stream has cost so far.
    #[must_use]
    pub fn costs(&self) -> Costs {
        self.inspector.costs()
    }

    /// Bytes held back now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inspector.output.held()
    }

    /// Works at what is lent for it, unless the stream has stopped.
    fn work(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        if let Some(stop) = &self.stopped {
            return Err(Stop::clone(stop));
        }
        self.inspector.work();
        let result = act(self);
        self.inspector.rest();
        result
    }

    fn read(&mut self, bytes: &[u8], wire: u64) -> Result<(), Stop> {
        let inspector = &mut self.inspector;
        match &mut self.framing {
            Framing::Raw => {
                if !inspector.is_open() {
                    inspector.open(wire, false, &[]);
                }
                // Raw text has no escapes that could be wrong.
                let _ = inspector.text(bytes, wire, false, false);
            }
            Framing::Paused { is_open } => {
                if !*is_open {
                    *is_open = true;
                    inspector.open(wire, false, &[]);
                    inspector.join(PLAIN_DATA, wire);
                }
                let _ = inspector.text(bytes, wire, false, false);
            }
            Framing::Json(document) => read_json(document, inspector, bytes, wire)?,
            Framing::Sse(events) => read_events(events, inspector, bytes, wire)?,
        }
        inspector.read = wire + bytes.len() as u64;
        Ok(())
    }

    /// Lets go what is decided, and stops where something went wrong.
    fn settle(&mut self, read: Result<(), Stop>, sink: &mut impl Sink) -> Result<(), Stop> {
        if read.is_err() {
            // Nothing that could go on comes any more.
            self.inspector.release_texts();
        } else {
            self.inspector.weigh();
        }
        let pending = match &self.framing {
            Framing::Sse(events) => events.lines.pending(),
            _ => 0,
        };
        let most = self.inspector.read - pending as u64;
        let resolved = self.inspector.resolve(most, sink).map_err(Stop::Blocked);
        self.inspector.shrink();
        self.inspector.holds(self.inspector.output.held());
        let held = self.inspector.output.held() + self.inspector.overhead();
        let result = resolved.and(read).and_then(|()| {
            if self.budget.recharge(self.charged, held) {
                self.charged = held;
                Ok(())
            } else {
                Err(Stop::Budget { limit: self.budget.limit() })
            }
        });
        if let Err(stop) = &result {
            self.stopped = Some(Box::new(stop.clone()));
            self.inspector.output.poison();
        }
        result
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.budget.recharge(self.charged, 0);
    }
}

fn undecodable(inspector: &mut Inspector, at: u64, reason: &'static str) -> Stop {
    inspector.read = at;
    Stop::Undecodable { at, format: "JSON", reason }
}

fn read_json(document: &mut Document, inspector: &mut Inspector, bytes: &[u8], wire: u64) -> Result<(), Stop> {
    const NO_ESCAPE: &str = "expected an escape of JSON";
    let mut at = 0;
    // The structure from here on has been read, and is told in one go.
    let mut told = 0;
    // What comes next was looked at already, and must be read.
    let mut looked = false;
    while at < bytes.len() {
        if !std::mem::replace(&mut looked, true) {
            at += inspector.skim(&mut document.json, &bytes[at..], wire + at as u64);
            continue;
        }
        let place = wire + at as u64;
        inspector.read = place;
        let rest = &bytes[at..];
        let Inside { len, plain } = document.json.take_inside(rest, inspector.vectors());
        if len > 0 {
            let run = &rest[..len];
            if document.exempt {
                inspector.structure(run, place);
            } else {
                let ends = rest.get(len) == Some(&b'"');
                inspector.text(run, place, ends, plain).map_err(|at| undecodable(inspector, at, NO_ESCAPE))?;
            }
            at += len;
            told = at;
            continue;
        }
        let step = document.step(bytes[at], place, inspector);
        let kind = step.as_ref().map_or(Kind::Structure, |step| step.kind);
        if step.is_err() || matches!(kind, Kind::ScalarStart) {
            inspector.structure(&bytes[told..at], wire + told as u64);
        }
        step?;
        match kind {
            Kind::Structure => {
                at += 1;
                looked = false;
            }
            Kind::Open => {
                at += 1;
                inspector.structure(&bytes[told..at], wire + told as u64);
                told = at;
                document.exempt = document.json.is_exempt();
                inspector.open(place + 1, true, &document.json.selected());
                if let (Some(spot), false) = (document.json.place(), document.exempt) {
                    inspector.join(spot, place + 1);
                }
            }
            Kind::ScalarStart | Kind::Scalar => {
                if kind == Kind::ScalarStart {
                    document.exempt = document.json.is_exempt();
                    inspector.output.open_scalar(place, 0);
                    inspector.open(place, false, &document.json.selected());
                }
                at += read_scalar(document, inspector, rest, place)?;
                told = at;
                looked = false;
            }
            Kind::Close if inspector.is_inside_escape() => return Err(undecodable(inspector, place, NO_ESCAPE)),
            Kind::Close => {
                inspector.close(place, false);
                at += 1;
                looked = false;
            }
            Kind::Inside => unreachable!("the inside of a string was taken whole"),
        }
    }
    inspector.structure(&bytes[told..], wire + told as u64);
    Ok(())
}

/// Reads the rest of a number or literal, whose first byte here has been stepped over. The bytes read are given back.
fn read_scalar(document: &mut Document, inspector: &mut Inspector, rest: &[u8], place: u64) -> Result<usize, Stop> {
    let more = document.json.scalar_len(&rest[1..]);
    let mut len = 1;
    let mut wrong = None;
    while len <= more && wrong.is_none() {
        match document.json.step(rest[len]) {
            Ok(_) => len += 1,
            Err(err) => wrong = Some(err),
        }
    }
    let run = &rest[..len];
    if document.exempt {
        inspector.structure(run, place);
    } else {
        // A number has no escapes that could be wrong.
        let _ = inspector.text(run, place, len < rest.len(), true);
    }
    let too_long = |start: u64| place + len as u64 - start > MAX_NUMBER;
    if let Some(start) = inspector.output.open_scalar_start().filter(|start| too_long(*start)) {
        return Err(undecodable(inspector, start + MAX_NUMBER, "a number is too long"));
    }
    let end = place + len as u64;
    match wrong {
        None => Ok(len),
        Some(wrong) => {
            if wrong.scalar_ended {
                inspector.output.close_scalar(end);
                inspector.close(end, false);
            }
            Err(undecodable(inspector, end, wrong.reason))
        }
    }
}

fn end_document(document: &mut Document, inspector: &mut Inspector, end: u64) -> Result<(), Stop> {
    if !document.json.is_between() {
        return Err(undecodable(inspector, end, "the document breaks off"));
    }
    inspector.output.close_scalar(end);
    Ok(())
}

fn read_events(events: &mut Events, inspector: &mut Inspector, bytes: &[u8], wire: u64) -> Result<(), Stop> {
    let mut at = 0;
    while at < bytes.len() {
        let place = wire + at as u64;
        inspector.read = place;
        let Events { lines, data, document } = events;
        match lines.next(&bytes[at..]) {
            Part::Structure(len) => {
                inspector.structure(&bytes[at..at + len], place);
                at += len;
            }
            Part::Data(len) => {
                let run = &bytes[at..at + len];
                let begins = matches!(data, Data::None | Data::TextLine);
                if let (true, Some(first)) = (begins, run.iter().find(|b| !matches!(b, b' ' | b'\t'))) {
                    if matches!(first, b'{' | b'[') {
                        *data = Data::Json;
                    } else {
                        inspector.open(place, false, &[]);
                        if *data == Data::TextLine {
                            // A line feed stands between the lines of one event.
                            inspector.forget(PLAIN_DATA);
                        }
                        inspector.join(PLAIN_DATA, place);
                        *data = Data::Text;
                    }
                }
                match data {
                    Data::None | Data::TextLine => inspector.structure(run, place),
                    Data::Json => read_json(document, inspector, run, place)?,
                    Data::Text => {
                        let _ = inspector.text(run, place, at + len < bytes.len(), false);
                    }
                }
                at += len;
            }
            Part::DataLineEnded => match data {
                Data::None | Data::TextLine => {}
                // The data goes on with a line feed, which JSON allows between tokens alone.
                Data::Json => {
                    document.step(b'\n', place, inspector)?;
                }
                Data::Text => {
                    inspector.close(place, false);
                    *data = Data::TextLine;
                }
            },
            Part::Name(name) => {
                inspector.open(place - name.len() as u64, false, &[]);
                let _ = inspector.text(name, place - name.len() as u64, false, false);
            }
            Part::Text(len) => {
                if !inspector.is_open() {
                    inspector.open(place, false, &[]);
                }
                let _ = inspector.text(&bytes[at..at + len], place, at + len < bytes.len(), false);
                at += len;
            }
            Part::TextEnded => inspector.close(place, false),
            Part::EventEnded => {
                end_event(events, inspector, place)?;
                inspector.structure(&bytes[at..=at], place);
                at += 1;
            }
        }
    }
    Ok(())
}

fn end_event(events: &mut Events, inspector: &mut Inspector, end: u64) -> Result<(), Stop> {
    match std::mem::replace(&mut events.data, Data::None) {
        Data::None | Data::TextLine => Ok(()),
        Data::Json => end_document(&mut events.document, inspector, end),
        Data::Text => {
            inspector.close(end, false);
            Ok(())
        }
    }
}
