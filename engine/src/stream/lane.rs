//! One level of decoded text: live candidates, matches that wait, and the little text that is kept for them.

use super::automaton::DEAD;
use super::escape::Wire;
use super::plan::Plan;
use super::resolve::{Claim, Output};
use crate::mask::{REDACTED, Strategy};
use crate::program::{Action, Inner, PatternId};
use crate::sink::ActionKind;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What every lane of a stream looks at and writes to.
pub(crate) struct Shared<'a> {
    pub(crate) program: &'a Inner,
    pub(crate) plan: &'a Plan,
    pub(crate) output: &'a mut Output,
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
}

/// A value that a path or a column selects, whole.
#[derive(Clone, Copy, Debug)]
struct Whole {
    pattern: PatternId,
    start: Mark,
}

/// Threads are looked through for equals when there are more than this, and again when they double.
const MERGE_AT: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// How many levels of escapes stand between this text and the wire.
    pub(crate) depth: usize,
    threads: Vec<Thread>,
    merge_at: usize,
    done: Vec<Thread>,
    waiting: Vec<Found>,
    whole: Vec<Whole>,
    /// A value too long to mask is being dropped: what has been dropped so far ends here on the wire.
    dropping: Option<u64>,
    /// The text before the current run that candidates, matches and contexts still need.
    saved: Vec<u8>,
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

impl Lane {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth,
            threads: Vec::new(),
            merge_at: MERGE_AT,
            done: Vec::new(),
            waiting: Vec::new(),
            whole: Vec::new(),
            dropping: None,
            saved: Vec::new(),
            pos: 0,
            before: None,
            end: 0,
        }
    }

    /// The same candidates, one level of escapes further.
    pub(crate) fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, whole: Vec::new(), dropping: None, ..self.clone() }
    }

    /// Where on the wire the earliest undecided candidate starts.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let threads = self.threads.iter().map(|thread| thread.first.wire);
        threads
            .chain(self.waiting.iter().map(|found| found.start.wire))
            .chain(self.whole.iter().map(|whole| whole.start.wire))
            .min()
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

    /// Reads a run of text.
    pub(crate) fn scan(&mut self, run: &[u8], wire: Wire, shared: &mut Shared<'_>) {
        if run.is_empty() {
            return;
        }
        if self.dropping.is_some() {
            return self.drop_run(run, wire, shared);
        }
        let saved = std::mem::take(&mut self.saved);
        let run_at = self.pos;
        let text = Text { saved: &saved, run, at: run_at };
        let mut at = 0;
        while at < run.len() {
            if self.threads.is_empty() {
                let clean = shared.plan.skip(self.before, &run[at..]);
                if clean > 0 {
                    at += clean;
                    self.before = Some(run[at - 1]);
                    self.end = wire.end(at - 1);
                    self.pos += clean as u64;
                    continue;
                }
            }
            self.byte(run[at], wire.start(at), wire.end(at), text, shared);
            at += 1;
        }
        self.promote_waiting(text, false, shared);
        self.save(saved, run, run_at, shared.plan.window);
        self.check_length(wire, run.len(), shared);
    }

    fn byte(&mut self, byte: u8, start: u64, end: u64, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let patterns = &shared.program.patterns;
        let mut settled = false;
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
        for spawn in shared.plan.spawns(shared.plan.class(self.before), byte) {
            let first = Mark { text: self.pos, wire: start };
            self.threads.push(Thread {
                pattern: spawn.pattern,
                state: spawn.state,
                first,
                more: VecDeque::new(),
                last: None,
            });
        }
        self.before = Some(byte);
        self.end = end;
        self.pos += 1;
        self.cap(text, shared);
        if self.threads.len() > self.merge_at {
            self.merge();
        }
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
        for thread in done.drain(..) {
            self.settle(&thread, text, shared);
        }
        self.done = done;
    }

    fn settle(&mut self, thread: &Thread, text: Text<'_>, shared: &mut Shared<'_>) {
        if let Some(end) = thread.last {
            let validators = &shared.program.patterns[thread.pattern as usize].spec.validators;
            for start in std::iter::once(&thread.first).chain(&thread.more) {
                let valid = validators.is_empty() || {
                    let value = text.slice(start.text, end.text);
                    validators.iter().all(|validator| validator.accepts(&value))
                };
                if valid {
                    self.waiting.push(Found { pattern: thread.pattern, start: *start, end });
                }
            }
        }
        self.promote(thread.pattern, text, false, shared);
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
                    let value = text.slice(found.start.text, found.end.text);
                    self.claim(PatternId(pattern), (found.start.wire, found.end.wire), &value, shared);
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
        let mut patterns: Vec<u32> = self.waiting.iter().map(|found| found.pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        for pattern in patterns {
            self.promote(pattern, text, last, shared);
        }
    }

    fn claim(&self, pattern: PatternId, (start, end): (u64, u64), value: &[u8], shared: &mut Shared<'_>) {
        for rule in shared.plan.claims(pattern) {
            let spec = &shared.program.rules[rule.index()];
            let mut replacement = Vec::new();
            let mut strategy = Strategy::Redact;
            if let Action::Mask(mask) = &spec.action {
                mask.write(value, &shared.program.keys, &mut replacement);
                strategy = mask.strategy();
                if self.depth > 0 {
                    replacement = super::escape::encode(&replacement, self.depth);
                }
            }
            shared.output.claim(Claim {
                start,
                end,
                rule: *rule,
                pattern,
                kind: spec.action.kind(),
                priority: spec.priority,
                strategy,
                name: spec.name.as_str().into(),
                replacement,
                silent: false,
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
    pub(crate) fn context(&mut self, bytes: &[u8], shared: &mut Shared<'_>) {
        if shared.plan.window == 0 || self.dropping.is_some() {
            self.pos += bytes.len() as u64;
            return;
        }
        let saved = std::mem::take(&mut self.saved);
        let run_at = self.pos;
        let text = Text { saved: &saved, run: bytes, at: run_at };
        self.pos += bytes.len() as u64;
        self.promote_waiting(text, false, shared);
        self.save(saved, bytes, run_at, shared.plan.window);
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
        self.whole.extend(selected.iter().map(|pattern| Whole { pattern: *pattern, start }));
    }

    /// A value that is selected begins inside this text.
    pub(crate) fn open_whole(&mut self, wire: u64, selected: &[PatternId]) {
        let start = Mark { text: self.pos, wire };
        self.whole.extend(selected.iter().map(|pattern| Whole { pattern: *pattern, start }));
    }

    /// The selected values that are open end here.
    pub(crate) fn close_whole(&mut self, shared: &mut Shared<'_>) {
        self.dropping = None;
        for whole in std::mem::take(&mut self.whole) {
            let saved = std::mem::take(&mut self.saved);
            let text = Text { saved: &saved, run: &[], at: self.pos };
            let value = text.slice(whole.start.text, self.pos);
            let validators = &shared.program.patterns[whole.pattern.index()].spec.validators;
            if validators.iter().all(|validator| validator.accepts(&value)) {
                self.claim(whole.pattern, (whole.start.wire, self.end), &value, shared);
            }
            self.saved = saved;
        }
    }

    /// The text ends: what matches at its end matches. Contexts may still come after it, unless this is the `last` of it.
    pub(crate) fn close(&mut self, last: bool, shared: &mut Shared<'_>) {
        let saved = std::mem::take(&mut self.saved);
        let text = Text { saved: &saved, run: &[], at: self.pos };
        let here = Mark { text: self.pos, wire: self.end };
        for thread in &mut self.threads {
            let automaton = shared.program.patterns[thread.pattern as usize].automaton.as_ref();
            if automaton.is_some_and(|automaton| automaton.matched_at_end(thread.state)) {
                thread.last = Some(here);
            }
            thread.state = DEAD;
        }
        self.settle_dead(text, shared);
        self.promote_waiting(text, last, shared);
        self.saved = saved;
        self.close_whole(shared);
        let saved = std::mem::take(&mut self.saved);
        self.save(saved, &[], self.pos, shared.plan.window);
        self.before = None;
    }

    /// A selected value over its cap can't be masked as its rule says: it is redacted, and what follows of it is dropped.
    fn check_length(&mut self, wire: Wire, run: usize, shared: &mut Shared<'_>) {
        let over = |whole: &&Whole| {
            self.pos - whole.start.text > shared.program.patterns[whole.pattern.index()].hold.longest as u64
        };
        let Some(whole) = self
            .whole
            .iter()
            .filter(over)
            .min_by_key(|whole| shared.program.patterns[whole.pattern.index()].hold.longest)
            .copied()
        else {
            return;
        };
        let cap = shared.program.patterns[whole.pattern.index()].hold.longest as u64;
        // The byte that went over, wherever the run was cut.
        let at = (whole.start.text + cap) as usize - (self.pos as usize - run);
        let first_end = wire.end(at);
        self.threads.clear();
        self.waiting.clear();
        self.whole.clear();
        for rule in shared.plan.claims(whole.pattern) {
            let spec = &shared.program.rules[rule.index()];
            shared.output.claim(Claim {
                start: whole.start.wire,
                end: first_end,
                rule: *rule,
                pattern: whole.pattern,
                kind: spec.action.kind(),
                priority: 100,
                strategy: Strategy::Redact,
                name: spec.name.as_str().into(),
                replacement: super::escape::encode(REDACTED.as_bytes(), self.depth),
                silent: false,
            });
        }
        self.whole.push(Whole { pattern: whole.pattern, start: Mark { text: self.pos, wire: self.end } });
        self.dropping = Some(first_end);
        self.drop_to(self.end, shared);
        self.saved.clear();
    }

    fn drop_run(&mut self, run: &[u8], wire: Wire, shared: &mut Shared<'_>) {
        self.pos += run.len() as u64;
        self.end = wire.end(run.len() - 1);
        self.drop_to(self.end, shared);
    }

    fn drop_to(&mut self, end: u64, shared: &mut Shared<'_>) {
        let (Some(from), Some(whole)) = (self.dropping, self.whole.first_mut()) else { return };
        whole.start = Mark { text: self.pos, wire: end };
        self.dropping = Some(end);
        let Some(rule) = shared.plan.claims(whole.pattern).first() else { return };
        shared.output.claim(Claim {
            start: from,
            end,
            rule: *rule,
            pattern: whole.pattern,
            kind: ActionKind::Mask,
            priority: 100,
            strategy: Strategy::Redact,
            name: "".into(),
            replacement: Vec::new(),
            silent: true,
        });
    }
}
