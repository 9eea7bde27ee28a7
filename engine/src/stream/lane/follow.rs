//! Candidates, followed byte by byte through a run of text.

use super::{DEAD, ESCAPE, Lane, Mark, Shared, Text};
use crate::stream::escape::Wire;
use std::collections::VecDeque;

/// Candidates of one pattern that share a state: what will be a match for one will be for all.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(super) pattern: u32,
    pub(super) state: u32,
    pub(super) first: Mark,
    /// Later starts in the same state.
    pub(super) more: VecDeque<Mark>,
    /// Where the best match so far ends.
    pub(super) last: Option<Mark>,
}

/// Threads are looked through for equals when there are more than this, and again when they double.
pub(super) const MERGE_AT: u32 = 16;

impl Lane {
    /// Follows candidates through a run.
    pub(super) fn follow(&mut self, run: &[u8], wire: Wire<'_>, text: Text<'_>, shared: &mut Shared<'_>) {
        let mut next = 0;
        let mut at = 0;
        while at < run.len() {
            let to = shared.tray.starts.get(next).map_or(run.len(), |starts| starts.from as usize);
            let quiet = if self.held.threads.is_empty() && shared.tray.spawning.is_empty() {
                shared.plan.skip(self.before, &run[at..to])
            } else if to > at {
                self.glide(&run[at..to], shared)
            } else {
                0
            };
            if quiet > 0 {
                at += quiet;
                self.before = Some(run[at - 1]);
                self.end = wire.end(at - 1);
                self.pos += quiet as u64;
                continue;
            }
            while let Some(starts) = shared.tray.starts.get(next).filter(|starts| starts.from as usize <= at) {
                shared.tray.spawning.push((starts.pattern, self.pos + u64::from(starts.to) - at as u64));
                next += 1;
            }
            self.byte(run[at], wire.start(at), wire.end(at), text, shared);
            at += 1;
        }
    }

    /// Lets a candidate that is alone read the bytes at which nothing happens: it neither matches nor ends, and no other one
    /// begins. Their number is given back.
    fn glide(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> usize {
        let ([thread], []) = (&mut self.held.threads[..], &shared.tray.spawning[..]) else { return 0 };
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

    fn byte(&mut self, byte: u8, start: u64, end: u64, text: Text<'_>, shared: &mut Shared<'_>) {
        self.step(byte, text, shared);
        let begins = !(self.document && self.is_inside_escape(text));
        for spawn in shared.plan.spawns(shared.plan.class(self.before), byte).iter().filter(|_| begins) {
            let first = Mark { text: self.pos, wire: start };
            shared.block.costs.candidates += 1;
            shared.block.costs.verified += 1;
            self.held.threads.push(Thread {
                pattern: spawn.pattern,
                state: spawn.state,
                first,
                more: VecDeque::new(),
                last: None,
            });
        }
        if !shared.tray.spawning.is_empty() {
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
    pub(super) fn step(&mut self, byte: u8, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let patterns = &shared.program.patterns;
        let mut settled = false;
        shared.block.costs.verified += self.held.threads.len() as u64;
        for thread in &mut self.held.threads {
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
    pub(super) fn pass(&mut self, byte: u8, end: u64, text: Text<'_>, shared: &mut Shared<'_>) {
        self.before = Some(byte);
        self.end = end;
        self.pos += 1;
        self.cap(text, shared);
        if self.held.threads.len() > self.merge_at as usize {
            self.merge();
        }
    }

    /// Begins the candidates that the filter found.
    fn spawn(&mut self, byte: u8, wire: u64, begins: bool, shared: &mut Shared<'_>) {
        for (pattern, _) in shared.tray.spawning.iter().filter(|_| begins) {
            let Some(automaton) = &shared.program.patterns[*pattern as usize].automaton else { continue };
            let state = automaton.step(automaton.start(self.before), byte);
            if state != DEAD && automaton.live(state) {
                let first = Mark { text: self.pos, wire };
                shared.block.costs.candidates += 1;
                shared.block.costs.verified += 1;
                self.held.threads.push(Thread { pattern: *pattern, state, first, more: VecDeque::new(), last: None });
            }
        }
        let here = self.pos;
        shared.tray.spawning.retain(|(_, last)| *last > here);
    }

    /// A candidate that is still live at its declared maximum counts as a match.
    fn cap(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let mut settled = false;
        for thread in &mut self.held.threads {
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

    pub(super) fn settle_dead(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let mut done = std::mem::take(&mut shared.tray.done);
        done.extend(self.held.threads.extract_if(.., |thread| thread.state == DEAD));
        // All are known before one is claimed: a match takes the later ones inside it away.
        for thread in &done {
            self.found(thread, text, shared);
        }
        for thread in done.drain(..) {
            self.promote(thread.pattern, text, false, shared);
        }
        shared.tray.done = done;
    }

    /// Threads of one pattern in one state have one future: the later ones join the first.
    fn merge(&mut self) {
        self.held
            .threads
            .sort_by_key(|thread| (thread.pattern, thread.state, thread.last.map(|last| last.text), thread.first.text));
        self.held.threads.dedup_by(|later, first| {
            let same = (later.pattern, later.state, later.last) == (first.pattern, first.state, first.last);
            if same {
                first.more.push_back(later.first);
                first.more.append(&mut later.more);
                first.more.make_contiguous().sort_by_key(|mark| mark.text);
            }
            same
        });
        self.held.threads.sort_by_key(|thread| thread.first.text);
        self.merge_at = (2 * self.held.threads.len() as u32).max(MERGE_AT);
    }
}
