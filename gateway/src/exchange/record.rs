//! The recorder of a response: stands behind the mask and keeps exactly what the user saw.

use crate::evidence::{DecisionRecord, Event, Evidence, EvidenceError, Record, ResponseOutcome, SessionId};
use sluice_engine::{ActionKind, Decision, Program};
use std::collections::BTreeMap;

/// The longest body of one record, in bytes.
const PART: usize = 256 * 1024;

/// Records one response, in parts.
pub(crate) struct Recorder {
    evidence: Evidence,
    session: SessionId,
    exchange: u64,
    status: u16,
    part: u32,
    pending: Vec<u8>,
    counts: BTreeMap<(String, String, &'static str), u64>,
    program: Program,
}

impl Recorder {
    pub(crate) fn new(evidence: Evidence, session: SessionId, exchange: u64, program: Program) -> Self {
        let (pending, counts) = (Vec::new(), BTreeMap::new());
        Self { evidence, session, exchange, status: 0, part: 0, pending, counts, program }
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.status = status;
    }

    pub(crate) fn decided(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            let action = match decision.action {
                ActionKind::Alert => "alert",
                ActionKind::Mask => "mask",
                ActionKind::Block => "block",
            };
            let rule = self.program.rule_name(decision.rule).to_owned();
            let pattern = self.program.pattern_name(decision.pattern).to_owned();
            *self.counts.entry((rule, pattern, action)).or_default() += 1;
        }
    }

    /// Keeps what the user sees; whole parts are durable when this returns.
    pub(crate) async fn seen(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() > PART {
            let end = boundary(&self.pending, PART);
            let rest = self.pending.split_off(end);
            let body = std::mem::replace(&mut self.pending, rest);
            let event = self.event(&body, false, ResponseOutcome::Complete, None);
            self.part += 1;
            self.evidence.append(Record::now(self.session.clone(), event)).await?;
        }
        Ok(())
    }

    /// Appends the last part.
    pub(crate) async fn close(mut self, outcome: ResponseOutcome, reason: Option<String>) -> Result<(), EvidenceError> {
        let body = std::mem::take(&mut self.pending);
        let event = self.event(&body, true, outcome, reason);
        self.evidence.append(Record::now(self.session.clone(), event)).await?;
        Ok(())
    }

    fn event(&mut self, body: &[u8], last: bool, outcome: ResponseOutcome, reason: Option<String>) -> Event {
        let decisions = std::mem::take(&mut self.counts)
            .into_iter()
            .map(|((rule, pattern, action), count)| DecisionRecord { rule, pattern, action: action.to_owned(), count })
            .collect();
        Event::Response {
            exchange: self.exchange,
            status: self.status,
            body: String::from_utf8_lossy(body).into_owned(),
            part: self.part,
            last,
            decisions,
            outcome,
            reason,
        }
    }
}

/// The last place at or before `at` that doesn't cut a UTF-8 sequence.
fn boundary(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|end| bytes.get(*end).is_none_or(|b| b & 0xc0 != 0x80)).unwrap_or(at)
}
