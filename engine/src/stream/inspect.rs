//! From text on the wire to lanes of decoded text: one for each level of escapes, opened where a backslash stands.

use super::costs::Costs;
use super::desk::Desk;
use super::escape::{Decoders, LEVELS, Scratch, Unescape, Wire};
use super::join::Joins;
use super::json::{Json, Kind};
use super::lane::{Lane, SHORT, Shared};
use super::plan::Plan;
use super::resolve::Output;
use super::skim::{Beginnings, Scalars, escaped_ahead};
use super::track::Tracker;
use super::view::View;
use crate::filter::{BLOCK, Vectors};
use crate::program::{PatternId, Program};
use crate::sink::{Decision, Sink};
use bytes::Bytes;
use std::num::NonZeroU64;
use std::sync::Arc;

/// Everything that inspects the text of one stream.
#[derive(Debug)]
pub(crate) struct Inspector {
    program: Program,
    pub(crate) plan: Arc<Plan>,
    pub(crate) output: Output,
    /// The levels of the current text; the decoder that feeds one has the same place.
    views: Vec<View>,
    /// Lent while the stream works.
    desk: Option<Box<Desk>>,
    /// The decoders, where one is inside an escape and the stream doesn't work.
    unfinished: Option<Box<Decoders>>,
    /// Where the current text ends on the wire, once that is known.
    ends_at: Option<NonZeroU64>,
    open: bool,
    /// The current text is a JSON string: it is decoded, and JSON in it too.
    escaped: bool,
    nested: Nested,
    joins: Option<Box<Joins>>,
    costs: Costs,
    /// No long string with escapes begins before this place on the wire, as far as bytes have come.
    no_escapes: u64,
    /// All bytes before this one on the wire have been read.
    pub(crate) read: u64,
}

/// A document inside the current string.
#[derive(Debug)]
enum Nested {
    /// Nothing but white space so far.
    Unknown,
    Document(Box<Json>),
    /// Text.
    No,
}

/// What every lane of a stream looks at and writes to.
fn shared<'a>(program: &'a Program, plan: &'a Plan, output: &'a mut Output, desk: &'a mut Desk) -> Shared<'a> {
    Shared { program: &program.inner, plan, output, block: &mut desk.block, tray: &mut desk.tray }
}

impl Inspector {
    pub(crate) fn new(program: Program, plan: Arc<Plan>) -> Self {
        Self {
            program,
            plan,
            output: Output::default(),
            views: vec![View::new(0)],
            desk: None,
            unfinished: None,
            ends_at: None,
            open: false,
            escaped: false,
            nested: Nested::No,
            joins: None,
            costs: Costs::default(),
            no_escapes: 0,
            read: 0,
        }
    }

    /// The stream begins to work: all it does stands between this and [`Inspector::rest`].
    pub(crate) fn work(&mut self) {
        let desk = self.desk.insert(Desk::take());
        self.output.borrow(&mut desk.spare);
        self.views[0].lane.borrow(&mut desk.spare);
        if let Some(unfinished) = self.unfinished.take() {
            desk.decoders = *unfinished;
        }
    }

    /// The stream has worked: what is lent to it goes back.
    pub(crate) fn rest(&mut self) {
        let Some(mut desk) = self.desk.take() else { return };
        self.output.give_back(&mut desk.spare);
        self.views[0].lane.give_back(&mut desk.spare);
        // Those that are outside of escapes are as good as new.
        if !desk.decoders.are_plain() {
            self.unfinished = Some(Box::new(std::mem::take(&mut desk.decoders)));
        }
        self.costs.add(&desk.block.costs);
        desk.put();
    }

    fn desk(&mut self) -> &mut Desk {
        self.desk.get_or_insert_with(Desk::take)
    }

    /// Where on the wire the first byte stands that may not leave yet.
    fn safe(&mut self) -> u64 {
        let escapes = self.desk().decoders.0.iter().filter_map(Unescape::pending).min();
        let views = self.views.iter().filter_map(View::undecided);
        let joins = self.joins.as_ref().and_then(|joins| joins.undecided());
        views.chain(escapes).chain(joins).fold(self.read, u64::min)
    }

    /// Lets go what is decided, up to this place on the wire at most.
    ///
    /// # Errors
    /// The decision that blocks.
    pub(crate) fn resolve(&mut self, most: u64, sink: &mut impl Sink) -> Result<(), Decision> {
        let safe = self.safe().min(most);
        let desk = self.desk.get_or_insert_with(Desk::take);
        self.output.resolve(safe, &mut desk.spare.ready, sink)
    }

    /// Frees what the texts that are over have taken to be decoded.
    pub(crate) fn shrink(&mut self) {
        if !self.open {
            self.views[0].shrink();
        }
    }

    /// Memory beside the bytes held, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let views: usize = self.views.iter().map(View::overhead).sum();
        views + self.output.overhead() + self.joins.as_ref().map_or(0, |joins| joins.overhead())
    }

    /// What the stream has cost so far, when it rests.
    pub(crate) fn costs(&self) -> Costs {
        Costs { bytes: self.output.end(), ..self.costs }
    }

    /// The stream holds so many bytes back.
    pub(crate) fn holds(&mut self, bytes: usize) {
        self.costs.most_held = self.costs.most_held.max(bytes);
    }

    fn with_joins(&mut self, act: impl FnOnce(&mut Joins, &mut Shared<'_>)) {
        let Some(joins) = &mut self.joins else { return };
        let desk = self.desk.get_or_insert_with(Desk::take);
        act(joins, &mut shared(&self.program, &self.plan, &mut self.output, desk));
    }

    /// Acts on the first lane.
    fn with<R>(&mut self, act: impl FnOnce(&mut Lane, &mut Shared<'_>) -> R) -> R {
        self.with_view(0, |view, _, shared| act(&mut view.lane, shared))
    }

    /// Acts on the view of a level; what is joined is text of the first.
    fn with_view<R>(
        &mut self,
        level: usize,
        act: impl FnOnce(&mut View, Option<&mut Joins>, &mut Shared<'_>) -> R,
    ) -> R {
        let desk = self.desk.get_or_insert_with(Desk::take);
        let joins = self.joins.as_deref_mut().filter(|_| level == 0);
        act(&mut self.views[level], joins, &mut shared(&self.program, &self.plan, &mut self.output, desk))
    }

    pub(crate) fn vectors(&self) -> Vectors {
        self.program.inner.vectors
    }

    /// Takes the next bytes, as many as are read in one go; their number is given back.
    pub(crate) fn begin(&mut self, bytes: Bytes, wire: u64) -> usize {
        let desk = self.desk.get_or_insert_with(Desk::take);
        desk.block.read(bytes, wire, &self.plan)
    }

    /// Takes the next bytes of a JSON document, whose first one is inside of a string or not. Long strings with escapes are
    /// inspected decoded: where candidates may begin in them as they stand is of no use.
    pub(crate) fn begin_document(&mut self, mut bytes: Bytes, wire: u64, inside: bool) -> usize {
        if !self.plan.filter.is_empty() {
            bytes.truncate(BLOCK);
            // A look that was cut short goes on where no such string begins: it isn't searched for again.
            if wire >= self.no_escapes {
                let (plain, escaped) = escaped_ahead(&bytes, inside, self.vectors());
                if plain == 0 {
                    bytes.truncate(escaped);
                    self.desk().block.read_blind(bytes, wire);
                    return escaped;
                }
                self.no_escapes = wire + plain as u64;
            }
            bytes.truncate((self.no_escapes - wire) as usize);
        }
        self.begin(bytes, wire)
    }

    /// The bytes taken are read: what is still needed of them is kept.
    pub(crate) fn end(&mut self) {
        for level in 0..self.views.len() {
            self.with_view(level, |view, _, shared| view.leave(shared));
        }
        self.desk().block.bytes = Bytes::new();
    }

    /// A text begins at this place; `escaped` where it is the inside of a JSON string. `selected` claim the whole of it.
    pub(crate) fn open(&mut self, wire: u64, escaped: bool, selected: &[PatternId]) {
        self.open = true;
        self.escaped = escaped;
        self.views[0].lane.depth = usize::from(escaped);
        let decoders = &mut self.desk().decoders;
        if !decoders.are_plain() {
            *decoders = Decoders::default();
        }
        self.nested = if escaped { Nested::Unknown } else { Nested::No };
        self.views[0].lane.open(wire, selected);
    }

    /// The text that begins at this place on the wire goes on with the last one of the same `spot`, if there was one.
    pub(crate) fn join(&mut self, spot: u64, wire: u64) {
        let depth = self.views[0].lane.depth;
        self.joins.get_or_insert_default();
        self.with_joins(|joins, shared| joins.open(spot, wire, depth, shared));
    }

    /// The next text of this spot goes on with nothing.
    pub(crate) fn forget(&mut self, spot: u64) {
        if let Some(joins) = &mut self.joins {
            joins.forget(spot);
        }
    }

    /// Finds out what must be held because its value may go on in a later text.
    pub(crate) fn weigh(&mut self) {
        self.with_joins(|joins, shared| joins.weigh(shared));
    }

    /// Bytes are held for a text that has not come.
    pub(crate) fn awaits_text(&self) -> bool {
        self.joins.as_ref().is_some_and(|joins| joins.holds())
    }

    /// No text that goes on with an earlier one is waited for.
    pub(crate) fn release_texts(&mut self) {
        if let Some(joins) = &mut self.joins {
            joins.release();
        }
    }

    /// A text is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// True where a text that ends here breaks off inside an escape.
    pub(crate) fn is_inside_escape(&mut self) -> bool {
        self.escaped && self.desk().decoders.0[0].is_inside()
    }

    /// Text; `ends` where the text ends after it, `plain` where it is known to hold no part of an escape.
    ///
    /// # Errors
    /// The place on the wire of a byte that is no JSON escape.
    pub(crate) fn text(&mut self, run: &[u8], wire: u64, ends: bool, plain: bool) -> Result<(), u64> {
        let end = wire + run.len() as u64;
        self.ends_at = NonZeroU64::new(end).filter(|_| ends);
        let block = &mut self.desk().block;
        block.breaks = !ends && block.goes_on_after(end);
        if self.escaped {
            self.decode(0, run, Wire::Linear(wire), plain)
        } else {
            self.feed(0, run, Wire::Linear(wire), plain);
            Ok(())
        }
    }

    /// Decodes text for a level and those below it.
    fn decode(&mut self, level: usize, run: &[u8], wire: Wire<'_>, plain: bool) -> Result<(), u64> {
        let vectors = self.vectors();
        let desk = self.desk();
        if desk.decoders.0[level].is_plain() && (plain || !run.contains(&b'\\')) {
            self.feed(level, run, wire, true);
            return Ok(());
        }
        let mut decoded = std::mem::take(&mut desk.scratch[level]);
        decoded.clear();
        let result = desk.decoders.0[level].decode(run, wire, &mut decoded, vectors);
        self.feed_decoded(level, decoded);
        result
    }

    fn feed_decoded(&mut self, level: usize, mut decoded: Scratch) {
        if !decoded.is_empty() {
            let (text, wire) = decoded.wire();
            self.feed(level, text, wire, false);
        }
        self.desk().scratch[level] = decoded;
    }

    /// Reads the values of a document that no candidate can be in, without telling them. The bytes before the first other
    /// one are given back: they stand around texts.
    #[inline]
    pub(crate) fn skim(&mut self, json: &mut Json, bytes: &[u8], wire: u64) -> usize {
        // What is percent-encoded is of interest as escapes are; what is base64 can't be told at a glance.
        let block = &mut self.desk.get_or_insert_with(Desk::take).block;
        if self.plan.base64.is_some()
            || !self.plan.is_filtered()
            || !block.looked
            || self.open
            || self.views[0].lane.has_whole()
        {
            return 0;
        }
        let (offset, starts) = block.ahead(wire);
        json.skim(bytes, self.program.inner.vectors, Beginnings { starts, offset })
    }

    /// Bytes around texts.
    pub(crate) fn structure(&mut self, bytes: &[u8], wire: u64) {
        if !bytes.is_empty() {
            self.with(|lane, shared| lane.context(bytes, wire, shared));
        }
    }

    /// The text ends at this place on the wire; `last` where nothing follows it.
    pub(crate) fn close(&mut self, wire: u64, last: bool) {
        // What is unfinished on one level may open the next one.
        let mut level = 0;
        while level < self.views.len() {
            let desk = self.desk();
            if !desk.decoders.0[level].is_plain() {
                let mut decoded = std::mem::take(&mut desk.scratch[level]);
                decoded.clear();
                desk.decoders.0[level].finish(wire, &mut |piece| decoded.add(&piece));
                self.feed_decoded(level, decoded);
            }
            level += 1;
        }
        if let Nested::Document(_) = self.nested {
            self.output.close_scalar(wire);
        }
        self.nested = Nested::No;
        self.open = false;
        self.with_view(0, |view, joins, shared| {
            view.close_encoded(joins, shared);
            view.lane.close(last, shared);
        });
        for level in 1..self.views.len() {
            self.with_view(level, |view, joins, shared| view.close(joins, shared));
        }
        self.views.truncate(1);
        self.with_joins(|joins, shared| joins.close(wire, shared));
    }

    /// The text ends, and what is read next has nothing to do with it.
    pub(crate) fn apart(&mut self) {
        self.close(self.read, true);
        self.views[0].forget();
    }

    /// A value of a column begins at this place; its name stands before it as context. `selected` claim the whole of it.
    pub(crate) fn open_column(&mut self, wire: u64, column: Option<&str>, selected: &[PatternId]) {
        if let Some(column) = column.filter(|_| self.plan.near) {
            self.with(|lane, shared| {
                lane.context_apart(column.as_bytes(), shared);
                lane.context_apart(b" ", shared);
            });
        }
        self.open(wire, false, selected);
    }

    /// Reads the bytes that were taken as a whole text, of which no pattern claims all, if that can be done at once: no match begins
    /// in it, or it is short.
    pub(crate) fn whole(&mut self, wire: u64, column: Option<&str>) -> bool {
        let tells = self.plan.tells_at_a_glance();
        let block = &self.desk().block;
        let (clean, len) = (block.found.is_empty(), block.bytes.len());
        if !tells || !block.is_plain() || (!clean && len > SHORT) {
            return false;
        }
        if !clean {
            let bytes = block.bytes.clone();
            self.views[0].lane.depth = 0;
            self.with(|lane, shared| lane.short(&bytes, wire, column, shared));
        }
        self.read = wire + len as u64;
        true
    }

    /// Nothing follows: matches that wait for their context are settled without it.
    pub(crate) fn finish(&mut self) {
        self.close(self.read, true);
        self.joins = None;
    }

    /// Text of one level, to its lane and to the levels below; `plain` where it holds no backslash.
    fn feed(&mut self, level: usize, run: &[u8], wire: Wire<'_>, plain: bool) {
        if self.views[0].lane.is_dropping() {
            if level == 0 {
                self.views.truncate(1);
                self.watch(run, wire);
            }
            return;
        }
        let is_deepest = level + 1 == self.views.len();
        let forks = !plain && self.escaped && is_deepest && level + 1 < LEVELS;
        let fork = forks.then(|| memchr::memchr(b'\\', run)).flatten();
        let mut rest = (run, wire);
        if let Some(at) = fork {
            self.read_level(level, &run[..at], wire);
            let deeper = self.views[level].deeper();
            self.views.push(deeper);
            rest = (&run[at..], wire.skip(at));
        }
        self.read_level(level, rest.0, rest.1);
        if level + 1 < self.views.len() {
            // Only the first decoder is strict: what is no escape stands for itself here.
            let _ = self.decode(level + 1, rest.0, rest.1, plain);
        }
    }

    fn read_level(&mut self, level: usize, run: &[u8], wire: Wire<'_>) {
        if level == 0 {
            self.watch(run, wire);
        } else {
            self.scan(level, run, wire);
        }
    }

    fn scan(&mut self, level: usize, run: &[u8], wire: Wire<'_>) {
        let ends_at = self.ends_at.map(NonZeroU64::get);
        self.with_view(level, |view, joins, shared| view.scan(run, wire, ends_at, joins, shared));
    }

    /// Scans the first lane, and follows the structure of a document that stands in it.
    fn watch(&mut self, run: &[u8], wire: Wire<'_>) {
        let vectors = self.program.inner.vectors;
        let mut begin = 0;
        let mut at = 0;
        // What comes next of the document was looked at already, and must be read.
        let mut looked = false;
        while at < run.len() {
            match &mut self.nested {
                Nested::No => break,
                Nested::Unknown => {
                    match run[at] {
                        b' ' | b'\t' | b'\n' | b'\r' => {
                            at += 1;
                            continue;
                        }
                        b'{' | b'[' => self.nested = Nested::Document(Box::new(Json::new(self.tracker(), None))),
                        _ => self.nested = Nested::No,
                    }
                    continue;
                }
                Nested::Document(json) => {
                    if !std::mem::replace(&mut looked, true) && !self.views[0].lane.has_whole() {
                        let (depth, wire) = (self.views[0].lane.depth, wire.skip(at));
                        at += json.skim(&run[at..], vectors, Scalars { output: &mut self.output, depth, wire });
                        continue;
                    }
                    let was_in_string = json.in_string();
                    let inside = json.take_inside(&run[at..], vectors).len;
                    if inside > 0 {
                        at += inside;
                        continue;
                    }
                    let step = json.step(run[at]);
                    let selected = json.selected();
                    let place = wire.start(at);
                    let Ok(step) = step else {
                        // What stands before the byte that is wrong is read as it would be if nothing came after it.
                        self.scan_part(run, wire, &mut begin, at);
                        self.nested = Nested::No;
                        self.output.close_scalar(place);
                        continue;
                    };
                    let closes = self.views[0].lane.has_whole();
                    if step.scalar_ended {
                        self.output.close_scalar(place);
                    }
                    if closes && (step.scalar_ended || (step.kind == Kind::Close && was_in_string)) {
                        self.scan_part(run, wire, &mut begin, at);
                        self.close_selected();
                    }
                    match step.kind {
                        Kind::Open if !selected.is_empty() => {
                            self.scan_part(run, wire, &mut begin, at + 1);
                            self.views[0].lane.open_whole(wire.end(at), &selected);
                        }
                        Kind::ScalarStart => {
                            if !self.views[0].lane.is_dropping() {
                                self.output.open_scalar(place, self.views[0].lane.depth);
                            }
                            if !selected.is_empty() {
                                self.scan_part(run, wire, &mut begin, at);
                                self.views[0].lane.open_whole(place, &selected);
                            }
                        }
                        _ => {}
                    }
                    looked = matches!(step.kind, Kind::Open | Kind::Scalar | Kind::ScalarStart);
                    at += 1;
                }
            }
        }
        self.scan_part(run, wire, &mut begin, run.len());
    }

    /// What follows the paths of rules in a document inside a string.
    fn tracker(&self) -> Option<Tracker> {
        let paths = &self.plan.paths;
        (!paths.is_empty()).then(|| Tracker::new(Arc::clone(paths), &[], false))
    }

    fn close_selected(&mut self) {
        self.with(|lane, shared| lane.close_nested(shared));
    }

    fn scan_part(&mut self, run: &[u8], wire: Wire<'_>, begin: &mut usize, end: usize) {
        if end > *begin {
            let (part, wire) = (&run[*begin..end], wire.skip(*begin));
            self.views[0].lane.document = matches!(self.nested, Nested::Document(_));
            self.scan(0, part, wire);
            *begin = end;
        }
    }
}
