//! A text that was read before and goes on in a later event: its candidates are followed again, and then further.

use super::{Claims, Lane, Mark, Shared, Text, Thread};
use crate::program::PatternId;
use crate::stream::escape::Wire;
use crate::stream::join::Seams;

impl Lane {
    /// Follows the candidates of a text that was read before, and claims nothing: those that may go on after it are kept.
    /// `place` tells where a byte of the text stands on the wire.
    pub(crate) fn rehearse(
        &mut self,
        text: &[u8],
        before: Option<u8>,
        place: impl Fn(u64) -> u64,
        shared: &mut Shared<'_>,
    ) {
        self.held.threads.clear();
        self.held.waiting.clear();
        self.held.saved.clear();
        (self.claims, self.section, self.pos, self.before) = (Claims::None, None, 0, before);
        let whole = Text { saved: &[], run: text, at: 0 };
        let mut at = 0;
        while at < text.len() {
            let starts = &mut shared.tray.starts;
            let len = shared.plan.filter.look(&text[at..], starts);
            let run = &text[at..at + len];
            shared.plan.filter.tail(run, self.before, starts);
            self.follow(run, Wire::Linear(at as u64), whole, shared);
            at += len;
        }
        self.held.waiting.clear();
        self.settle_ended(whole, shared);
        for thread in &mut self.held.threads {
            thread.first.wire = place(thread.first.text);
            thread.more.iter_mut().for_each(|mark| mark.wire = place(mark.text));
        }
        if !self.held.threads.is_empty() {
            self.held.saved.extend_from_slice(text);
        }
    }

    /// A text ends that may go on: what is a match here is one, and what is none yet stays a candidate.
    fn settle_ended(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let patterns = &shared.program.patterns;
        let ended = |thread: &mut Thread| {
            let automaton = patterns[thread.pattern as usize].automaton.as_ref();
            if automaton.is_some_and(|automaton| automaton.matched_at_end(thread.state)) {
                thread.last = Some(here);
            }
            thread.last.is_some()
        };
        let mut done = std::mem::take(&mut shared.tray.done);
        done.extend(self.held.threads.extract_if(.., ended));
        for mut thread in done.drain(..) {
            let known = self.held.waiting.len();
            self.found(&thread, text, shared);
            if self.held.waiting.len() == known {
                // What is no value as it stands may be one with what follows.
                thread.last = None;
                self.held.threads.push(thread);
            }
        }
        shared.tray.done = done;
        self.held.waiting.sort_by_key(|found| found.start.text);
        let mut claimed: Vec<(u32, u64)> = Vec::new();
        for found in std::mem::take(&mut self.held.waiting) {
            let inside = |(pattern, end): &(u32, u64)| *pattern == found.pattern && found.start.text < *end;
            if !claimed.iter().any(inside) && self.in_context(&found, text, true, shared.program) == Some(true) {
                self.claim(PatternId(found.pattern), (found.start, found.end), text, found.depth, shared);
                self.prune(found.pattern, found.end.text);
                claimed.push((found.pattern, found.end.text));
            }
        }
    }

    /// The candidates go on after a text that ended; false where there are none.
    pub(crate) fn pause(&mut self, shared: &mut Shared<'_>) -> bool {
        self.with_text(shared, |lane, text, shared| lane.settle_ended(text, shared));
        !self.held.threads.is_empty()
    }

    /// Takes the candidates of another lane that has read the end of the same text.
    pub(crate) fn adopt(&mut self, other: &mut Self) {
        let ahead = self.pos - other.pos;
        let shift = |mark: Mark| Mark { text: mark.text + ahead, ..mark };
        self.held.threads.extend(other.held.threads.drain(..).map(|thread| Thread {
            first: shift(thread.first),
            more: thread.more.into_iter().map(shift).collect(),
            ..thread
        }));
    }

    /// Where the first candidate begins on the wire that text begins like less often than this.
    pub(crate) fn rare(&self, odds: f32, shared: &Shared<'_>) -> Option<u64> {
        let rare = |thread: &Thread, start: &Mark| {
            let automaton = shared.program.patterns[thread.pattern as usize].automaton.as_ref()?;
            let back = (self.pos - start.text) as usize;
            let candidate = &self.held.saved[self.held.saved.len().checked_sub(back)?..];
            (automaton.odds(candidate) < odds).then_some(start.wire)
        };
        let starts =
            |thread: &Thread| std::iter::once(&thread.first).chain(&thread.more).find_map(|start| rare(thread, start));
        self.held.threads.iter().filter_map(starts).min()
    }

    /// The text that was read goes on after these seams.
    pub(crate) fn go_on(&mut self, seams: &Seams) {
        self.claims = Claims::Parts;
        self.seams.get_or_insert_default().copy(seams);
    }

    /// Reads a run of text for the candidates that have begun; no others begin.
    pub(crate) fn follow_on(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        if self.held.threads.is_empty() && self.held.waiting.is_empty() {
            return;
        }
        let (saved, run_at) = (std::mem::take(&mut self.held.saved), self.pos);
        let text = Text { saved: &saved, run, at: run_at };
        let mut read = 0;
        while read < run.len() && !(self.held.threads.is_empty() && self.held.waiting.is_empty()) {
            self.step(run[read], text, shared);
            self.pass(run[read], wire.end(read), text, shared);
            read += 1;
        }
        self.promote_waiting(text, false, shared);
        self.save(saved, &run[..read], run_at, shared.plan.window);
    }
}
