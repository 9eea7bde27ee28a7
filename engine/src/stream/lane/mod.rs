//! One level of decoded text: live candidates, matches that wait, and the little text that is kept for them.

mod again;
mod block;
mod coding;
mod follow;
mod found;
mod short;
mod whole;

pub(crate) use block::Block;
pub(crate) use coding::Coding;

use super::automaton::DEAD;
use super::desk::{Lend, Lent, Spare};
use super::escape::Wire;
use super::join::Seams;
use super::plan::Plan;
use super::resolve::Output;
use crate::filter::Starts;
use crate::program::{Inner, PatternId};
use follow::MERGE_AT;
pub(crate) use follow::Thread;
pub(crate) use found::Found;
pub(crate) use short::SHORT;
use std::borrow::Cow;
use whole::Selected;

/// What every lane of a stream looks at and writes to.
pub(crate) struct Shared<'a> {
    pub(crate) program: &'a Inner,
    pub(crate) plan: &'a Plan,
    pub(crate) output: &'a mut Output,
    pub(crate) block: &'a mut Block,
    pub(crate) tray: &'a mut Tray,
}

impl Shared<'_> {
    /// The same, with another plan.
    pub(crate) fn with_plan<'a>(&'a mut self, plan: &'a Plan) -> Shared<'a> {
        let (output, block, tray) = (&mut *self.output, &mut *self.block, &mut *self.tray);
        Shared { program: self.program, plan, output, block, tray }
    }
}

/// What a lane works with while it reads a run of text: lent to one after the other.
#[derive(Debug, Default)]
pub(crate) struct Tray {
    /// Where candidates may begin in the run.
    starts: Vec<Starts>,
    /// Patterns of which a candidate may begin here, and the last place of the text where one may.
    spawning: Vec<(u32, u64)>,
    /// Candidates that have ended.
    done: Vec<Thread>,
}

impl Tray {
    /// Nothing is on it.
    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.spawning.clear();
        self.done.clear();
    }
}

/// A place in a lane: in its text, and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    text: u64,
    wire: u64,
}

/// The bytes before a candidate that tell whether it begins inside an escape.
pub(crate) const ESCAPE: u64 = 16;

/// What becomes of a lane's matches.
#[derive(Clone, Copy, Debug, Default)]
enum Claims {
    #[default]
    Whole,
    /// Nothing: they were claimed before.
    None,
    /// They stand in several texts, between the lane's seams.
    Parts,
}

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// How many levels of escapes stand between this text and the wire.
    pub(crate) depth: usize,
    /// The text is a JSON document: its escapes are read by the lane below, and no value begins inside one.
    pub(crate) document: bool,
    claims: Claims,
    /// None: the text stands on the wire as it is.
    coding: Option<Box<Coding>>,
    seams: Option<Box<Seams>>,
    selected: Option<Box<Selected>>,
    held: Lent<Candidates>,
    merge_at: u32,
    /// The text that stands in the block as it is, with what stands around it: since this place.
    section: Option<Mark>,
    /// The number of bytes of text so far.
    pos: u64,
    /// The byte before, None at the start of a text.
    before: Option<u8>,
    /// Where the byte before ends on the wire.
    end: u64,
}

/// What is undecided, with the text that it needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    threads: Vec<Thread>,
    waiting: Vec<Found>,
    /// The text before the current section that candidates, matches and contexts still need.
    saved: Vec<u8>,
}

impl Lend for Candidates {
    const EMPTY: &'static Self = &Self { threads: Vec::new(), waiting: Vec::new(), saved: Vec::new() };

    fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.waiting.is_empty() && self.saved.is_empty()
    }

    fn memory(&self) -> usize {
        self.threads.capacity() * size_of::<Thread>()
            + self.waiting.capacity() * size_of::<Found>()
            + self.saved.capacity()
    }
}

/// A run of text with what was saved before it.
#[derive(Clone, Copy)]
struct Text<'a> {
    saved: &'a [u8],
    run: &'a [u8],
    /// The place of the run in the text.
    at: u64,
}

impl<'a> Text<'a> {
    fn slice(self, from: u64, to: u64) -> Cow<'a, [u8]> {
        let clamp = |place: u64| -> (usize, usize) {
            let back = self.at.saturating_sub(place).min(self.saved.len() as u64) as usize;
            (self.saved.len() - back, (place.saturating_sub(self.at) as usize).min(self.run.len()))
        };
        let (saved_from, run_from) = clamp(from);
        let (saved_to, run_to) = clamp(to);
        match (saved_to > saved_from, run_to > run_from) {
            (true, true) => Cow::Owned([&self.saved[saved_from..saved_to], &self.run[run_from..run_to]].concat()),
            (true, false) => Cow::Borrowed(&self.saved[saved_from..saved_to]),
            (false, _) => Cow::Borrowed(&self.run[run_from.min(run_to)..run_to]),
        }
    }
}

/// Where a section stands in the block, up to this place of the text.
fn part_of(section: Option<Mark>, to: u64, block: &Block) -> Option<std::ops::Range<usize>> {
    let section = section?;
    block.part(section.wire, (to - section.text) as usize)
}

impl Lane {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth,
            document: false,
            claims: Claims::Whole,
            coding: None,
            seams: None,
            selected: None,
            held: Lent::default(),
            merge_at: MERGE_AT,
            section: None,
            pos: 0,
            before: None,
            end: 0,
        }
    }

    /// The same candidates, one level of escapes further.
    pub(crate) fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, document: false, selected: None, ..self.clone() }
    }

    /// Takes memory for what will wait.
    pub(crate) fn borrow(&mut self, spare: &mut Spare) {
        self.held.borrow(&mut spare.candidates);
    }

    /// Gives the memory back in which nothing waits.
    pub(crate) fn give_back(&mut self, spare: &mut Spare) {
        self.held.give_back(&mut spare.candidates);
    }

    /// Where on the wire the earliest undecided candidate starts.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let threads = self.held.threads.iter().map(|thread| thread.first.wire);
        let first = threads
            .chain(self.held.waiting.iter().map(|found| found.start.wire))
            .chain(self.wholes().iter().map(|whole| whole.start.wire))
            .min();
        match &self.seams {
            Some(seams) if matches!(self.claims, Claims::Parts) => first.map(|start| seams.from(start)),
            _ => first,
        }
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let merged: usize = self.held.threads.iter().map(|thread| thread.more.len()).sum();
        self.held.saved.len()
            + self.held.threads.len() * size_of::<Thread>()
            + merged * size_of::<Mark>()
            + self.held.waiting.len() * size_of::<Found>()
    }

    /// Reads a run of text; `ends` where nothing follows it in this text.
    pub(crate) fn scan(&mut self, run: &[u8], wire: Wire<'_>, ends: bool, shared: &mut Shared<'_>) {
        if run.is_empty() {
            return;
        }
        if self.is_dropping() {
            return self.drop_run(run, wire, shared);
        }
        let part = match wire {
            Wire::Linear(base) if shared.block.looked => shared.block.part(base, run.len()),
            _ => None,
        };
        if let Some(part) = part {
            let starts = &mut shared.tray.starts;
            starts.clear();
            shared.block.starts(&part, starts);
            if !ends {
                shared.plan.filter.tail(run, self.before, starts);
            }
            self.enter(wire.start(0), shared);
            return self.scan_run(run, wire, shared);
        }
        self.scan_apart(run, wire, ends, shared);
    }

    /// The same for a run of text that goes on otherwise than the bytes of the block do.
    pub(crate) fn scan_apart(&mut self, run: &[u8], wire: Wire<'_>, ends: bool, shared: &mut Shared<'_>) {
        if self.is_dropping() {
            return self.drop_run(run, wire, shared);
        }
        self.leave(shared);
        let mut at = 0;
        while at < run.len() {
            let starts = &mut shared.tray.starts;
            let looked = shared.plan.filter.look(&run[at..], starts);
            let part = &run[at..at + self.whole_quanta(looked, run.len() - at, starts)];
            if !ends || at + part.len() < run.len() {
                shared.plan.filter.tail(part, self.before, starts);
            }
            self.scan_run(part, wire.skip(at), shared);
            at += part.len();
        }
    }

    /// Reads a run of text whose starts are known.
    fn scan_run(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        let nothing_begins = shared.tray.starts.is_empty() && !self.has_whole();
        let idle = nothing_begins && self.held.threads.is_empty() && self.held.waiting.is_empty();
        if idle && self.section.is_some() && shared.plan.skip(self.before, run) == run.len() {
            self.before = run.last().copied();
            self.end = wire.end(run.len() - 1);
            self.pos += run.len() as u64;
            return;
        }
        // The block is shared: a reference to it costs no copy, and lets the rest of `shared` change.
        let bytes = shared.block.bytes.clone();
        let saved = std::mem::take(&mut self.held.saved);
        let text = match (part_of(self.section, self.pos + run.len() as u64, shared.block), self.section) {
            (Some(part), Some(section)) => Text { saved: &saved, run: &bytes[part], at: section.text },
            _ => Text { saved: &saved, run, at: self.pos },
        };
        let run_at = self.pos;
        self.follow(run, wire, text, shared);
        self.promote_waiting(text, false, shared);
        self.held.saved = saved;
        if self.section.is_none() {
            let saved = std::mem::take(&mut self.held.saved);
            self.save(saved, run, run_at, shared.plan.window);
        }
        self.check_length(wire, run.len(), shared);
    }

    /// The text goes on in the block at this place on the wire.
    fn enter(&mut self, wire: u64, shared: &Shared<'_>) {
        if self.section.is_some_and(|section| section.wire + (self.pos - section.text) == wire) {
            return;
        }
        self.leave(shared);
        self.section = Some(Mark { text: self.pos, wire });
    }

    /// What is still needed of the text in the block is kept: the text goes on elsewhere.
    pub(crate) fn leave(&mut self, shared: &Shared<'_>) {
        if let Some(section) = self.section.take() {
            let part = part_of(Some(section), self.pos, shared.block).unwrap_or_default();
            let saved = std::mem::take(&mut self.held.saved);
            self.save(saved, &shared.block.bytes[part], section.text, shared.plan.window);
        }
    }

    /// Acts on the text so far.
    fn with_text<R>(
        &mut self,
        shared: &mut Shared<'_>,
        act: impl FnOnce(&mut Self, Text<'_>, &mut Shared<'_>) -> R,
    ) -> R {
        let bytes = shared.block.bytes.clone();
        let saved = std::mem::take(&mut self.held.saved);
        let text = match (part_of(self.section, self.pos, shared.block), self.section) {
            (Some(part), Some(section)) => Text { saved: &saved, run: &bytes[part], at: section.text },
            _ => Text { saved: &saved, run: &[], at: self.pos },
        };
        let result = act(self, text, shared);
        self.held.saved = saved;
        result
    }

    /// Reads bytes that are no text of this lane but stand around it: they give context.
    pub(crate) fn context(&mut self, bytes: &[u8], wire: u64, shared: &mut Shared<'_>) {
        if self.is_dropping() {
            self.pos += bytes.len() as u64;
            return;
        }
        if shared.block.part(wire, bytes.len()).is_none() {
            return self.context_apart(bytes, shared);
        }
        self.enter(wire, shared);
        self.pos += bytes.len() as u64;
        if !self.held.waiting.is_empty() {
            self.with_text(shared, |lane, text, shared| lane.promote_waiting(text, false, shared));
        }
    }

    /// The same for bytes that don't stand in the block.
    pub(crate) fn context_apart(&mut self, bytes: &[u8], shared: &mut Shared<'_>) {
        self.leave(shared);
        let saved = std::mem::take(&mut self.held.saved);
        let run_at = self.pos;
        let text = Text { saved: &saved, run: bytes, at: run_at };
        self.pos += bytes.len() as u64;
        self.promote_waiting(text, false, shared);
        self.save(saved, bytes, run_at, shared.plan.window);
    }

    /// Keeps what is still needed of the text so far.
    fn save(&mut self, mut saved: Vec<u8>, run: &[u8], run_at: u64, window: u64) {
        let threads = self.held.threads.iter().map(|thread| thread.first.text);
        let needed = threads
            .chain(self.held.waiting.iter().map(|found| found.start.text))
            .chain(self.wholes().iter().map(|whole| whole.start.text))
            .min();
        let from = needed.unwrap_or(self.pos).saturating_sub(window);
        if from >= run_at {
            saved.clear();
            saved.extend_from_slice(&run[((from - run_at) as usize).min(run.len())..]);
        } else {
            let keep = ((run_at - from) as usize).min(saved.len());
            saved.drain(..saved.len() - keep);
            saved.extend_from_slice(run);
        }
        self.held.saved = saved;
    }

    /// The text begins anew: what follows has nothing before it.
    pub(crate) fn open(&mut self, wire: u64, selected: &[PatternId]) {
        self.before = None;
        self.end = wire;
        self.select(wire, selected, false);
    }

    /// What was read is no context for what follows. Nothing of it may be undecided.
    pub(crate) fn forget(&mut self) {
        self.held.saved.clear();
        self.section = None;
    }

    /// The text ends: what matches at its end matches. Contexts may still come after it, unless this is the `last` of it.
    pub(crate) fn close(&mut self, last: bool, shared: &mut Shared<'_>) {
        if !self.held.threads.is_empty() || !self.held.waiting.is_empty() {
            self.with_text(shared, |lane, text, shared| {
                let here = Mark { text: lane.pos, wire: lane.end };
                for thread in &mut lane.held.threads {
                    let automaton = shared.program.patterns[thread.pattern as usize].automaton.as_ref();
                    if automaton.is_some_and(|automaton| automaton.matched_at_end(thread.state)) {
                        thread.last = Some(here);
                    }
                    thread.state = DEAD;
                }
                lane.settle_dead(text, shared);
                lane.promote_waiting(text, last, shared);
            });
        }
        self.close_whole(shared);
        if self.section.is_none() {
            let saved = std::mem::take(&mut self.held.saved);
            self.save(saved, &[], self.pos, shared.plan.window);
        }
        self.before = None;
    }
}
