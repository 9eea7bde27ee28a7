//! One level of decoded text: live candidates, matches that wait, and the little text that is kept for them.

mod again;
mod block;
mod coding;
mod whole;

pub(crate) use block::Block;
pub(crate) use coding::Coding;

use super::automaton::DEAD;
use super::escape::Wire;
use super::join::Seams;
use super::plan::Plan;
use super::resolve::{Claim, Output};
use crate::filter::Starts;
use crate::mask::{REDACTED, Strategy};
use crate::program::{Inner, PatternId};
use coding::Written;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What every lane of a stream looks at and writes to.
pub(crate) struct Shared<'a> {
    pub(crate) program: &'a Inner,
    pub(crate) plan: &'a Plan,
    pub(crate) output: &'a mut Output,
    pub(crate) block: &'a mut Block,
}

/// A place in a lane: in its text, and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    text: u64,
    wire: u64,
}

/// Candidates of one pattern that share a state: what will be a match for one will be for all.
#[derive(Clone, Debug)]
struct Thread {
    pattern: u32,
    state: u32,
    first: Mark,
    /// Later starts in the same state.
    more: VecDeque<Mark>,
    /// Where the best match so far ends.
    last: Option<Mark>,
}

/// A match that waits for an earlier candidate of its pattern, or for its context.
#[derive(Clone, Copy, Debug)]
struct Found {
    pattern: u32,
    start: Mark,
    end: Mark,
    /// As [`Lane::stands`] where it was found: it may be claimed in a later text.
    depth: usize,
}

/// A value that a path or a column selects, whole.
#[derive(Clone, Copy, Debug)]
struct Whole {
    pattern: PatternId,
    start: Mark,
    /// It stands in a document inside of the text; otherwise it is the text.
    nested: bool,
}

/// The bytes before a candidate that tell whether it begins inside an escape.
pub(crate) const ESCAPE: u64 = 16;

/// Threads are looked through for equals when there are more than this, and again when they double.
const MERGE_AT: usize = 16;

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
    coding: Coding,
    claims: Claims,
    seams: Seams,
    threads: Vec<Thread>,
    merge_at: usize,
    done: Vec<Thread>,
    waiting: Vec<Found>,
    whole: Vec<Whole>,
    /// A value too long to mask is being dropped: what has been dropped so far ends here on the wire.
    dropping: Option<u64>,
    /// The text before the current section that candidates, matches and contexts still need.
    saved: Vec<u8>,
    /// The text that stands in the block as it is, with what stands around it: since this place.
    section: Option<Mark>,
    /// Where candidates may begin in the current run.
    starts: Vec<Starts>,
    /// Patterns of which a candidate may begin here, and the last place of the text where one may.
    spawning: Vec<(u32, u64)>,
    /// The number of bytes of text so far.
    pos: u64,
    /// The byte before, None at the start of a text.
    before: Option<u8>,
    /// Where the byte before ends on the wire.
    end: u64,
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
            coding: Coding::Plain,
            claims: Claims::Whole,
            seams: Seams::default(),
            threads: Vec::new(),
            merge_at: MERGE_AT,
            done: Vec::new(),
            waiting: Vec::new(),
            whole: Vec::new(),
            dropping: None,
            saved: Vec::new(),
            section: None,
            starts: Vec::new(),
            spawning: Vec::new(),
            pos: 0,
            before: None,
            end: 0,
        }
    }

    /// The same candidates, one level of escapes further.
    pub(crate) fn deeper(&self) -> Self {
        Self {
            depth: self.depth + 1,
            document: false,
            whole: Vec::new(),
            dropping: None,
            spawning: Vec::new(),
            ..self.clone()
        }
    }

    /// Where on the wire the earliest undecided candidate starts.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let threads = self.threads.iter().map(|thread| thread.first.wire);
        let first = threads
            .chain(self.waiting.iter().map(|found| found.start.wire))
            .chain(self.whole.iter().map(|whole| whole.start.wire))
            .min();
        match self.claims {
            Claims::Parts => first.map(|start| self.seams.from(start)),
            Claims::Whole | Claims::None => first,
        }
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let merged: usize = self.threads.iter().map(|thread| thread.more.len()).sum();
        self.saved.len()
            + self.threads.len() * size_of::<Thread>()
            + merged * size_of::<Mark>()
            + self.waiting.len() * size_of::<Found>()
    }

    pub(crate) fn is_dropping(&self) -> bool {
        self.dropping.is_some()
    }

    /// Reads a run of text; `ends` where nothing follows it in this text.
    pub(crate) fn scan(&mut self, run: &[u8], wire: Wire<'_>, ends: bool, shared: &mut Shared<'_>) {
        if run.is_empty() {
            return;
        }
        if self.dropping.is_some() {
            return self.drop_run(run, wire, shared);
        }
        let part = match wire {
            Wire::Linear(base) if shared.block.looked => shared.block.part(base, run.len()),
            _ => None,
        };
        if let Some(part) = part {
            self.starts.clear();
            shared.block.starts(&part, &mut self.starts);
            if !ends {
                shared.plan.filter.tail(run, self.before, &mut self.starts);
            }
            self.enter(wire.start(0), shared);
            return self.scan_run(run, wire, shared);
        }
        self.scan_apart(run, wire, ends, shared);
    }

    /// The same for a run of text that goes on otherwise than the bytes of the block do.
    pub(crate) fn scan_apart(&mut self, run: &[u8], wire: Wire<'_>, ends: bool, shared: &mut Shared<'_>) {
        if self.dropping.is_some() {
            return self.drop_run(run, wire, shared);
        }
        self.leave(shared);
        let mut at = 0;
        while at < run.len() {
            let looked = shared.plan.filter.look(&run[at..], &mut self.starts);
            let part = &run[at..at + self.whole_quanta(looked, run.len() - at)];
            if !ends || at + part.len() < run.len() {
                shared.plan.filter.tail(part, self.before, &mut self.starts);
            }
            self.scan_run(part, wire.skip(at), shared);
            at += part.len();
        }
    }

    /// Reads a run of text whose starts are known.
    fn scan_run(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        let idle =
            self.threads.is_empty() && self.starts.is_empty() && self.waiting.is_empty() && self.whole.is_empty();
        if idle && self.section.is_some() && shared.plan.skip(self.before, run) == run.len() {
            self.before = run.last().copied();
            self.end = wire.end(run.len() - 1);
            self.pos += run.len() as u64;
            return;
        }
        // The block is shared: a reference to it costs no copy, and lets the rest of `shared` change.
        let bytes = shared.block.bytes.clone();
        let saved = std::mem::take(&mut self.saved);
        let text = match (part_of(self.section, self.pos + run.len() as u64, shared.block), self.section) {
            (Some(part), Some(section)) => Text { saved: &saved, run: &bytes[part], at: section.text },
            _ => Text { saved: &saved, run, at: self.pos },
        };
        let run_at = self.pos;
        self.follow(run, wire, text, shared);
        self.promote_waiting(text, false, shared);
        self.saved = saved;
        if self.section.is_none() {
            let saved = std::mem::take(&mut self.saved);
            self.save(saved, run, run_at, shared.plan.window);
        }
        self.check_length(wire, run.len(), shared);
    }

    /// Follows candidates through a run.
    fn follow(&mut self, run: &[u8], wire: Wire<'_>, text: Text<'_>, shared: &mut Shared<'_>) {
        let mut next = 0;
        let mut at = 0;
        while at < run.len() {
            if self.threads.is_empty() && self.spawning.is_empty() {
                let to = self.starts.get(next).map_or(run.len(), |starts| starts.from as usize);
                let clean = shared.plan.skip(self.before, &run[at..to]);
                if clean > 0 {
                    at += clean;
                    self.before = Some(run[at - 1]);
                    self.end = wire.end(at - 1);
                    self.pos += clean as u64;
                    continue;
                }
            }
            let to = self.starts.get(next).map_or(run.len(), |starts| starts.from as usize);
            let quiet = if to > at { self.glide(&run[at..to], shared) } else { 0 };
            if quiet > 0 {
                at += quiet;
                self.before = Some(run[at - 1]);
                self.end = wire.end(at - 1);
                self.pos += quiet as u64;
                continue;
            }
            while let Some(starts) = self.starts.get(next).filter(|starts| starts.from as usize <= at) {
                self.spawning.push((starts.pattern, self.pos + u64::from(starts.to) - at as u64));
                next += 1;
            }
            self.byte(run[at], wire.start(at), wire.end(at), text, shared);
            at += 1;
        }
    }

    /// Lets a candidate that is alone read the bytes at which nothing happens: it neither matches nor ends, and no other one
    /// begins. Their number is given back.
    fn glide(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> usize {
        let ([thread], []) = (&mut self.threads[..], &self.spawning[..]) else { return 0 };
        let automaton = shared.program.patterns[thread.pattern as usize].automaton.as_ref();
        let Some(automaton) = automaton.filter(|_| shared.plan.is_filtered()) else { return 0 };
        // At its cap it is a match.
        let read = (self.pos - thread.first.text) as usize;
        let most = automaton.cap.map_or(bytes.len(), |cap| bytes.len().min(cap.saturating_sub(read + 1)));
        let (quiet, state) = automaton.glide(thread.state, &bytes[..most]);
        thread.state = state;
        shared.block.costs.verified += quiet as u64;
        quiet
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
            let saved = std::mem::take(&mut self.saved);
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
        let saved = std::mem::take(&mut self.saved);
        let text = match (part_of(self.section, self.pos, shared.block), self.section) {
            (Some(part), Some(section)) => Text { saved: &saved, run: &bytes[part], at: section.text },
            _ => Text { saved: &saved, run: &[], at: self.pos },
        };
        let result = act(self, text, shared);
        self.saved = saved;
        result
    }

    fn byte(&mut self, byte: u8, start: u64, end: u64, text: Text<'_>, shared: &mut Shared<'_>) {
        self.step(byte, text, shared);
        let begins = !(self.document && self.is_inside_escape(text));
        for spawn in shared.plan.spawns(shared.plan.class(self.before), byte).iter().filter(|_| begins) {
            let first = Mark { text: self.pos, wire: start };
            shared.block.costs.candidates += 1;
            shared.block.costs.verified += 1;
            self.threads.push(Thread {
                pattern: spawn.pattern,
                state: spawn.state,
                first,
                more: VecDeque::new(),
                last: None,
            });
        }
        if !self.spawning.is_empty() {
            self.spawn(byte, start, begins, shared);
        }
        self.pass(byte, end, text, shared);
    }

    /// The next byte belongs to an escape that began before it.
    fn is_inside_escape(&self, text: Text<'_>) -> bool {
        let from = self.pos.saturating_sub(ESCAPE);
        // No escape of the document holds a byte that was percent-encoded.
        let from = self.escaped_before(self.pos).map_or(from, |last| from.max(last + 1));
        let near = text.slice(from, self.pos);
        let escaped = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let digits = near.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count().min(3);
        escaped(&near)
            || (0..=digits).any(|digits| {
                near[..near.len() - digits].split_last().is_some_and(|(last, rest)| *last == b'u' && escaped(rest))
            })
    }

    /// Candidates that have begun read a byte.
    fn step(&mut self, byte: u8, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let patterns = &shared.program.patterns;
        let mut settled = false;
        shared.block.costs.verified += self.threads.len() as u64;
        for thread in &mut self.threads {
            let Some(automaton) = &patterns[thread.pattern as usize].automaton else { continue };
            thread.state = automaton.step(thread.state, byte);
            if automaton.matched(thread.state) {
                thread.last = Some(here);
            }
            if !automaton.live(thread.state) {
                thread.state = DEAD;
                settled = true;
            }
        }
        if settled {
            self.settle_dead(text, shared);
        }
    }

    /// The text goes on after a byte.
    fn pass(&mut self, byte: u8, end: u64, text: Text<'_>, shared: &mut Shared<'_>) {
        self.before = Some(byte);
        self.end = end;
        self.pos += 1;
        self.cap(text, shared);
        if self.threads.len() > self.merge_at {
            self.merge();
        }
    }

    /// Begins the candidates that the filter found.
    fn spawn(&mut self, byte: u8, wire: u64, begins: bool, shared: &mut Shared<'_>) {
        for (pattern, _) in self.spawning.iter().filter(|_| begins) {
            let Some(automaton) = &shared.program.patterns[*pattern as usize].automaton else { continue };
            let state = automaton.step(automaton.start(self.before), byte);
            if state != DEAD && automaton.live(state) {
                let first = Mark { text: self.pos, wire };
                shared.block.costs.candidates += 1;
                shared.block.costs.verified += 1;
                self.threads.push(Thread { pattern: *pattern, state, first, more: VecDeque::new(), last: None });
            }
        }
        let here = self.pos;
        self.spawning.retain(|(_, last)| *last > here);
    }

    /// A candidate that is still live at its declared maximum counts as a match.
    fn cap(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let mut settled = false;
        for thread in &mut self.threads {
            let Some(cap) = shared.program.patterns[thread.pattern as usize].automaton.as_ref().and_then(|a| a.cap)
            else {
                continue;
            };
            if here.text - thread.first.text >= cap as u64 {
                thread.last = Some(here);
                thread.state = DEAD;
                settled = true;
            }
        }
        if settled {
            self.settle_dead(text, shared);
        }
    }

    fn settle_dead(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let mut done = std::mem::take(&mut self.done);
        done.extend(self.threads.extract_if(.., |thread| thread.state == DEAD));
        // All are known before one is claimed: a match takes the later ones inside it away.
        for thread in &done {
            self.found(thread, text, shared);
        }
        for thread in done.drain(..) {
            self.promote(thread.pattern, text, false, shared);
        }
        self.done = done;
    }

    /// The matches of a candidate that ended, one for each of its starts.
    fn found(&mut self, thread: &Thread, text: Text<'_>, shared: &Shared<'_>) {
        let Some(end) = thread.last else { return };
        let validators = &shared.program.patterns[thread.pattern as usize].spec.validators;
        for start in std::iter::once(&thread.first).chain(&thread.more) {
            let valid = validators.is_empty() || {
                let value = text.slice(start.text, end.text);
                validators.iter().all(|validator| validator.accepts(&value))
            };
            if valid {
                self.waiting.push(Found { pattern: thread.pattern, start: *start, end, depth: self.stands() });
            }
        }
    }

    /// Makes claims of the matches of a pattern that no earlier candidate of it can take back.
    fn promote(&mut self, pattern: u32, text: Text<'_>, last: bool, shared: &mut Shared<'_>) {
        while let Some(at) = (0..self.waiting.len())
            .filter(|at| self.waiting[*at].pattern == pattern)
            .min_by_key(|at| self.waiting[*at].start.text)
        {
            let found = self.waiting[at];
            let earlier = |thread: &Thread| thread.pattern == pattern && thread.first.text < found.start.text;
            if self.threads.iter().any(earlier) {
                return;
            }
            match self.in_context(&found, text, last, shared.program) {
                None => return,
                Some(false) => {
                    self.waiting.swap_remove(at);
                }
                Some(true) => {
                    self.waiting.swap_remove(at);
                    self.claim(PatternId(pattern), (found.start, found.end), text, found.depth, shared);
                    self.prune(pattern, found.end.text);
                }
            }
        }
    }

    /// Candidates that start inside a match of their own pattern are not looked for.
    fn prune(&mut self, pattern: u32, end: u64) {
        self.waiting.retain(|found| found.pattern != pattern || found.start.text >= end);
        self.threads.retain_mut(|thread| {
            while thread.pattern == pattern && thread.first.text < end {
                let Some(next) = thread.more.pop_front() else { return false };
                thread.first = next;
            }
            true
        });
    }

    /// Whether a word of the pattern's context stands near: None while that can't be known.
    fn in_context(&self, found: &Found, text: Text<'_>, last: bool, program: &Inner) -> Option<bool> {
        let Some(near) = &program.patterns[found.pattern as usize].spec.near else { return Some(true) };
        let within = near.within as u64;
        let before = text.slice(found.start.text.saturating_sub(within), found.start.text);
        let after = text.slice(found.end.text, (found.end.text + within).min(self.pos));
        let has = |window: &[u8]| {
            near.words
                .iter()
                .any(|word| window.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes())))
        };
        if has(&before) || has(&after) {
            Some(true)
        } else if last || self.pos >= found.end.text + within {
            Some(false)
        } else {
            None
        }
    }

    fn promote_waiting(&mut self, text: Text<'_>, last: bool, shared: &mut Shared<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let mut patterns: Vec<u32> = self.waiting.iter().map(|found| found.pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        for pattern in patterns {
            self.promote(pattern, text, last, shared);
        }
    }

    /// How many levels of escapes a value of this text stands below the wire: one of a document stands in a string of it.
    fn stands(&self) -> usize {
        self.depth + usize::from(self.document)
    }

    fn claim(
        &self,
        pattern: PatternId,
        (start, end): (Mark, Mark),
        text: Text<'_>,
        depth: usize,
        shared: &mut Shared<'_>,
    ) {
        if matches!(self.claims, Claims::None) {
            return;
        }
        let value = text.slice(start.text, end.text);
        let written = self.written(start, end, depth, text);
        let wire = (start.wire, end.wire);
        match self.claims {
            Claims::None => {}
            Claims::Whole => self.claim_part(pattern, wire, Some(&value), &written, false, shared),
            Claims::Parts => {
                // What has left of the value can't be taken back; the mask of the whole would tell it again.
                let value = (self.seams.from(wire.0) == wire.0).then_some(&*value);
                for (at, part) in self.seams.parts(wire.0, wire.1).enumerate() {
                    self.claim_part(pattern, part, value, &written, at > 0, shared);
                }
            }
        }
    }

    /// Claims a part of a value for each rule. Without the value it is redacted; what is `more` of a value that was masked
    /// before goes without a trace.
    fn claim_part(
        &self,
        pattern: PatternId,
        (start, end): (u64, u64),
        value: Option<&[u8]>,
        written: &Written,
        more: bool,
        shared: &mut Shared<'_>,
    ) {
        for rule in shared.plan.claims(pattern) {
            let spec = &shared.program.rules[rule.index()];
            let mut strategy = Strategy::Redact;
            let replacement = shared.output.write(|out, from| {
                let (Some(mask), false) = (&shared.program.masks[rule.index()], more) else { return };
                strategy = mask.strategy();
                match value {
                    Some(value) => mask.write(value, out),
                    None => out.extend_from_slice(REDACTED.as_bytes()),
                }
                written.encode(out, from);
            });
            shared.output.claim(Claim {
                start,
                end,
                rule: *rule,
                pattern,
                kind: spec.action.kind(),
                priority: spec.priority,
                strategy,
                rank: shared.program.ranks[rule.index()],
                replacement,
                percent: written.percent,
                quanta: written.quanta.clone(),
                silent: more,
            });
        }
    }

    /// Threads of one pattern in one state have one future: the later ones join the first.
    fn merge(&mut self) {
        self.threads
            .sort_by_key(|thread| (thread.pattern, thread.state, thread.last.map(|last| last.text), thread.first.text));
        self.threads.dedup_by(|later, first| {
            let same = (later.pattern, later.state, later.last) == (first.pattern, first.state, first.last);
            if same {
                first.more.push_back(later.first);
                first.more.append(&mut later.more);
                first.more.make_contiguous().sort_by_key(|mark| mark.text);
            }
            same
        });
        self.threads.sort_by_key(|thread| thread.first.text);
        self.merge_at = (2 * self.threads.len()).max(MERGE_AT);
    }

    /// Reads bytes that are no text of this lane but stand around it: they give context.
    pub(crate) fn context(&mut self, bytes: &[u8], wire: u64, shared: &mut Shared<'_>) {
        if self.dropping.is_some() {
            self.pos += bytes.len() as u64;
            return;
        }
        if shared.block.part(wire, bytes.len()).is_none() {
            self.leave(shared);
            let saved = std::mem::take(&mut self.saved);
            let run_at = self.pos;
            let text = Text { saved: &saved, run: bytes, at: run_at };
            self.pos += bytes.len() as u64;
            self.promote_waiting(text, false, shared);
            return self.save(saved, bytes, run_at, shared.plan.window);
        }
        self.enter(wire, shared);
        self.pos += bytes.len() as u64;
        if !self.waiting.is_empty() {
            self.with_text(shared, |lane, text, shared| lane.promote_waiting(text, false, shared));
        }
    }

    /// Keeps what is still needed of the text so far.
    fn save(&mut self, mut saved: Vec<u8>, run: &[u8], run_at: u64, window: u64) {
        let threads = self.threads.iter().map(|thread| thread.first.text);
        let needed = threads
            .chain(self.waiting.iter().map(|found| found.start.text))
            .chain(self.whole.iter().map(|whole| whole.start.text))
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
        self.saved = saved;
    }

    /// The text begins anew: what follows has nothing before it.
    pub(crate) fn open(&mut self, wire: u64, selected: &[PatternId]) {
        self.before = None;
        self.end = wire;
        let start = Mark { text: self.pos, wire };
        self.whole.extend(selected.iter().map(|pattern| Whole { pattern: *pattern, start, nested: false }));
    }

    /// What was read is no context for what follows. Nothing of it may be undecided.
    pub(crate) fn forget(&mut self) {
        self.saved.clear();
        self.section = None;
    }

    /// The text ends: what matches at its end matches. Contexts may still come after it, unless this is the `last` of it.
    pub(crate) fn close(&mut self, last: bool, shared: &mut Shared<'_>) {
        self.spawning.clear();
        if !self.threads.is_empty() || !self.waiting.is_empty() {
            self.with_text(shared, |lane, text, shared| {
                let here = Mark { text: lane.pos, wire: lane.end };
                for thread in &mut lane.threads {
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
            let saved = std::mem::take(&mut self.saved);
            self.save(saved, &[], self.pos, shared.plan.window);
        }
        self.before = None;
    }
}
