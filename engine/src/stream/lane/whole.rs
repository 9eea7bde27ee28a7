//! Values that a path or a column selects whole, and those too long to be masked as their rule says.

use super::{Lane, Mark, Shared, Whole};
use crate::mask::{REDACTED, Strategy};
use crate::program::PatternId;
use crate::sink::ActionKind;
use crate::stream::escape::{self, Wire};
use crate::stream::resolve::Claim;

impl Lane {
    /// A value that is selected begins inside this text.
    pub(crate) fn open_whole(&mut self, wire: u64, selected: &[PatternId]) {
        let start = Mark { text: self.pos, wire };
        self.whole.extend(selected.iter().map(|pattern| Whole { pattern: *pattern, start }));
    }

    /// A selected value is open.
    pub(crate) fn has_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    /// The selected values that are open end here.
    pub(crate) fn close_whole(&mut self, shared: &mut Shared<'_>) {
        self.dropping = None;
        if self.whole.is_empty() {
            return;
        }
        self.with_text(shared, |lane, text, shared| {
            for whole in std::mem::take(&mut lane.whole) {
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
        let replacement = shared.output.write(|out, from| {
            out.extend_from_slice(REDACTED.as_bytes());
            escape::encode(out, from, self.depth);
        });
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
                rank: shared.program.ranks[rule.index()],
                replacement: replacement.clone(),
                percent: 0,
                quanta: None,
                silent: false,
            });
        }
        self.whole.push(Whole { pattern: whole.pattern, start: Mark { text: self.pos, wire: self.end } });
        self.dropping = Some(first_end);
        self.drop_to(self.end, shared);
        self.saved.clear();
    }

    pub(super) fn drop_run(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
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
            rank: 0,
            replacement: 0..0,
            percent: 0,
            quanta: None,
            silent: true,
        });
    }
}
