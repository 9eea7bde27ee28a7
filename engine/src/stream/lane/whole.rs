//! Values that a path or a column selects whole, and those too long to be masked as their rule says.

use super::{Lane, Mark, Shared};
use crate::mask::{REDACTED, Strategy};
use crate::program::PatternId;
use crate::sink::ActionKind;
use crate::stream::escape::{self, Wire};
use crate::stream::resolve::Claim;

/// A value that a path or a column selects, whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) pattern: PatternId,
    pub(super) start: Mark,
    /// It stands in a document inside of the text; otherwise it is the text.
    pub(super) nested: bool,
}

/// The selected values that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected {
    open: Vec<Whole>,
    /// A value too long to mask is being dropped: what has been dropped so far ends here on the wire.
    dropping: Option<u64>,
}

impl Lane {
    /// Values that are selected begin here on the wire.
    pub(super) fn select(&mut self, wire: u64, patterns: &[PatternId], nested: bool) {
        if !patterns.is_empty() {
            let start = Mark { text: self.pos, wire };
            let wholes = patterns.iter().map(|pattern| Whole { pattern: *pattern, start, nested });
            self.selected.get_or_insert_default().open.extend(wholes);
        }
    }

    /// A value that is selected begins inside this text.
    pub(crate) fn open_whole(&mut self, wire: u64, selected: &[PatternId]) {
        // What stands around it is being dropped, and it with that.
        if !self.is_dropping() {
            self.select(wire, selected, true);
        }
    }

    /// The selected values that are open.
    pub(super) fn wholes(&self) -> &[Whole] {
        self.selected.as_ref().map_or(&[], |selected| &selected.open)
    }

    /// A selected value is open.
    pub(crate) fn has_whole(&self) -> bool {
        !self.wholes().is_empty()
    }

    /// A value too long to mask is being dropped.
    pub(crate) fn is_dropping(&self) -> bool {
        self.selected.as_ref().is_some_and(|selected| selected.dropping.is_some())
    }

    /// The selected values that are open end here, and the text with them.
    pub(crate) fn close_whole(&mut self, shared: &mut Shared<'_>) {
        self.close_wholes(0, shared);
    }

    /// The selected values of a document inside of the text end here. Where the text is selected itself, it goes on; and
    /// where it is being dropped, it is so to its end.
    pub(crate) fn close_nested(&mut self, shared: &mut Shared<'_>) {
        self.close_wholes(self.wholes().iter().take_while(|whole| !whole.nested).count(), shared);
    }

    /// The selected values that are open end here, but for so many that were opened first.
    fn close_wholes(&mut self, but: usize, shared: &mut Shared<'_>) {
        let Some(selected) = &mut self.selected else { return };
        if but == 0 {
            selected.dropping = None;
        }
        let closed = selected.open.split_off(but);
        if closed.is_empty() {
            return;
        }
        self.with_text(shared, |lane, text, shared| {
            for whole in closed {
                let value = text.slice(whole.start.text, lane.pos);
                let validators = &shared.program.patterns[whole.pattern.index()].spec.validators;
                if validators.iter().all(|validator| validator.accepts(&value)) {
                    let end = Mark { text: lane.pos, wire: lane.end };
                    lane.claim(whole.pattern, (whole.start, end), text, lane.stands(), shared);
                }
            }
        });
    }

    /// A selected value over its cap can't be masked as its rule says: it is redacted, and what follows of it is dropped.
    pub(super) fn check_length(&mut self, wire: Wire<'_>, run: usize, shared: &mut Shared<'_>) {
        let last =
            |whole: &Whole| whole.start.text + shared.program.patterns[whole.pattern.index()].hold.longest as u64;
        let Some(whole) = self.wholes().iter().copied().min_by_key(last).filter(|whole| last(whole) < self.pos) else {
            return;
        };
        // The byte that went over, wherever the run was cut.
        let at = last(&whole) as usize - (self.pos as usize - run);
        let first_end = wire.end(at);
        self.held.threads.clear();
        self.held.waiting.clear();
        // What goes over inside of a text that is selected takes the whole of that with it.
        let around: Vec<Whole> =
            self.wholes().iter().take_while(|outer| whole.nested && !outer.nested).copied().collect();
        let start = around.first().map_or(whole.start, |outer| outer.start);
        shared.output.forget_scalars(start.wire);
        let replacement = shared.output.write(|out, from| {
            out.extend_from_slice(REDACTED.as_bytes());
            escape::encode(out, from, self.depth);
        });
        let patterns = around.iter().map(|outer| outer.pattern).chain([whole.pattern]);
        for (pattern, rule) in
            patterns.flat_map(|pattern| shared.plan.claims(pattern).iter().map(move |rule| (pattern, rule)))
        {
            let spec = &shared.program.rules[rule.index()];
            shared.output.claim(Claim {
                start: start.wire,
                end: first_end,
                rule: *rule,
                pattern,
                kind: spec.action.kind(),
                priority: 100,
                strategy: Strategy::Redact,
                rank: shared.program.ranks[rule.index()],
                replacement: replacement.clone(),
                percent: 0,
                quanta: None,
                silent: false,
            });
        }
        let rest = Whole {
            pattern: whole.pattern,
            start: Mark { text: self.pos, wire: self.end },
            nested: whole.nested && around.is_empty(),
        };
        **self.selected.get_or_insert_default() = Selected { open: vec![rest], dropping: Some(first_end) };
        self.drop_to(self.end, shared);
        self.held.saved.clear();
    }

    pub(super) fn drop_run(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        self.pos += run.len() as u64;
        self.end = wire.end(run.len() - 1);
        self.drop_to(self.end, shared);
    }

    fn drop_to(&mut self, end: u64, shared: &mut Shared<'_>) {
        let Some(Selected { open, dropping: Some(dropped) }) = self.selected.as_deref_mut() else { return };
        let Some(whole) = open.first_mut() else { return };
        whole.start = Mark { text: self.pos, wire: end };
        let from = std::mem::replace(dropped, end);
        let Some(rule) = shared.plan.claims(whole.pattern).first() else { return };
        shared.output.claim(Claim {
            start: from,
            end,
            rule: *rule,
            pattern: whole.pattern,
            kind: ActionKind::Mask,
            priority: 100,
            strategy: Strategy::Redact,
            rank: 0,
            replacement: 0..0,
            percent: 0,
            quanta: None,
            silent: true,
        });
    }
}
