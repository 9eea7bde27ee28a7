//! A text that was read before and goes on in a later event: its candidates are followed again, and then further.

use super::{Claims, Found, Lane, Mark, Shared, Text, Thread};
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
        self.threads.clear();
        self.waiting.clear();
        self.saved.clear();
        (self.claims, self.section, self.pos, self.before) = (Claims::None, None, 0, before);
        let whole = Text { saved: &[], run: text, at: 0 };
        let mut at = 0;
        while at < text.len() {
            let len = shared.plan.filter.look(&text[at..], &mut self.starts);
            let run = &text[at..at + len];
            shared.plan.filter.tail(run, self.before, &mut self.starts);
            self.follow(run, Wire::Linear(at as u64), whole, shared);
            at += len;
        }
        self.drop_matched(whole, shared);
        self.waiting.clear();
        self.spawning.clear();
        for thread in &mut self.threads {
            thread.first.wire = place(thread.first.text);
            thread.more.iter_mut().for_each(|mark| mark.wire = place(mark.text));
        }
    }

    /// Drops the candidates that are matches where the text ends here, and those inside them.
    fn drop_matched(&mut self, text: Text<'_>, shared: &mut Shared<'_>) {
        let here = Mark { text: self.pos, wire: self.end };
        let patterns = &shared.program.patterns;
        let ended = |thread: &mut Thread| {
            let automaton = patterns[thread.pattern as usize].automaton.as_ref();
            if automaton.is_some_and(|automaton| automaton.matched_at_end(thread.state)) {
                thread.last = Some(here);
            }
            thread.last.is_some()
        };
        let mut done = std::mem::take(&mut self.done);
        done.extend(self.threads.extract_if(.., ended));
        // What is no value as it stands may be one with what follows.
        let goes_on = |thread: &mut Thread| {
            let end = thread.last.unwrap_or(here);
            let spec = &patterns[thread.pattern as usize].spec;
            std::iter::once(&thread.first).chain(&thread.more).all(|start| {
                let value = text.slice(start.text, end.text);
                let found = Found { pattern: thread.pattern, start: *start, end };
                !spec.validators.iter().all(|validator| validator.accepts(&value))
                    || self.in_context(&found, text, true, shared.program) != Some(true)
            })
        };
        let more: Vec<Thread> = done.extract_if(.., goes_on).collect();
        self.threads.extend(more.into_iter().map(|thread| Thread { last: None, ..thread }));
        for thread in done.drain(..) {
            self.prune(thread.pattern, thread.last.map_or(here.text, |end| end.text));
        }
        self.done = done;
    }

    /// Where the first candidate begins on the wire that text begins like less often than this.
    pub(crate) fn rare(&self, odds: f32, text: &[u8], before: Option<u8>, shared: &Shared<'_>) -> Option<u64> {
        let rare = |thread: &&Thread, start: &Mark| {
            let automaton = shared.program.patterns[thread.pattern as usize].automaton.as_ref()?;
            let at = start.text as usize;
            let before = at.checked_sub(1).map_or(before, |at| text.get(at).copied());
            (automaton.odds(before, &text[at..]) < odds).then_some(start.wire)
        };
        self.threads
            .iter()
            .filter_map(|thread| {
                std::iter::once(&thread.first).chain(&thread.more).find_map(|start| rare(&thread, start))
            })
            .min()
    }

    /// The text that was rehearsed goes on after these seams.
    pub(crate) fn go_on(&mut self, text: &[u8], seams: &Seams) {
        if self.threads.is_empty() {
            return;
        }
        self.saved.extend_from_slice(&text[text.len() - self.pos as usize..]);
        self.claims = Claims::Parts;
        self.seams.copy(seams);
    }

    /// Reads a run of text for the candidates that have begun; no others begin.
    pub(crate) fn follow_on(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        if self.threads.is_empty() && self.waiting.is_empty() {
            return;
        }
        let (saved, run_at) = (std::mem::take(&mut self.saved), self.pos);
        let text = Text { saved: &saved, run, at: run_at };
        let mut read = 0;
        while read < run.len() && !(self.threads.is_empty() && self.waiting.is_empty()) {
            self.step(run[read], text, shared);
            self.pass(run[read], wire.end(read), text, shared);
            read += 1;
        }
        self.promote_waiting(text, false, shared);
        self.save(saved, &run[..read], run_at, shared.plan.window);
    }
}
