//! The recorder of a response: stands behind the mask and keeps exactly what the user saw.

use crate::evidence::{DecisionRecord, Event, Evidence, EvidenceError, Pending, Record, ResponseOutcome, SessionId};
use sluice_dsl::Policy;
use sluice_engine::{ActionKind, Decision, PatternId, RuleId};
use std::collections::HashMap;

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
    /// The last whole part, while it is made durable.
    storing: Option<Pending>,
    counts: HashMap<(RuleId, PatternId, ActionKind), u64>,
    policy: Policy,
}

impl Recorder {
    pub(crate) fn new(evidence: Evidence, session: SessionId, exchange: u64, policy: Policy) -> Self {
        let (pending, counts) = (Vec::new(), HashMap::new());
        Self { evidence, session, exchange, status: 0, part: 0, pending, storing: None, counts, policy }
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.status = status;
    }

    pub(crate) fn decided(&mut self, decisions: &[Decision]) {
        for Decision { rule, pattern, action, .. } in decisions {
            *self.counts.entry((*rule, *pattern, *action)).or_default() += 1;
        }
    }

    /// What was decided since this was last asked, by name.
    fn told(&mut self) -> Vec<DecisionRecord> {
        let told = self.counts.drain().map(|((rule, pattern, action), count)| {
            let rule = self.policy.rule(rule);
            let action = match action {
                ActionKind::Alert if rule.audit => "audit",
                ActionKind::Alert if rule.limit.is_some() => "counted",
                ActionKind::Alert => "alert",
                ActionKind::Mask => "mask",
                ActionKind::Block => "block",
            };
            let pattern = self.policy.program().pattern_name(pattern).to_owned();
            DecisionRecord { rule: rule.name.clone(), id: rule.id.clone(), pattern, action: action.to_owned(), count }
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by(|a, b| (&a.rule, &a.pattern, &a.action).cmp(&(&b.rule, &b.pattern, &b.action)));
        told
    }

    /// Keeps what the user sees. When this returns, all whole parts are durable but the last one, which is on its way: what is
    /// inspected next doesn't wait for the disk.
    pub(crate) async fn seen(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() > PART {
            let end = boundary(&self.pending, PART);
            let rest = self.pending.split_off(end);
            let body = std::mem::replace(&mut self.pending, rest);
            let event = self.event(&body, false, ResponseOutcome::Complete, None);
            self.part += 1;
            self.stored().await?;
            self.storing = Some(self.evidence.begin(&Record::now(self.session.clone(), event))?);
        }
        Ok(())
    }

    /// The part that was on its way is durable.
    async fn stored(&mut self) -> Result<(), EvidenceError> {
        match self.storing.take() {
            None => Ok(()),
            Some(storing) => storing.durable().await.map(drop),
        }
    }

    /// Appends the last part.
    pub(crate) async fn close(mut self, outcome: ResponseOutcome, reason: Option<String>) -> Result<(), EvidenceError> {
        self.stored().await?;
        let last = self.last(outcome, reason);
        self.evidence.append(last).await.map(drop)
    }

    /// The same, where nobody waits for it.
    pub(crate) fn leave(mut self, outcome: ResponseOutcome, reason: Option<String>) -> Result<(), EvidenceError> {
        let last = self.last(outcome, reason);
        self.evidence.leave(&last)
    }

    fn last(&mut self, outcome: ResponseOutcome, reason: Option<String>) -> Record {
        let body = std::mem::take(&mut self.pending);
        Record::now(self.session.clone(), self.event(&body, true, outcome, reason))
    }

    fn event(&mut self, body: &[u8], last: bool, outcome: ResponseOutcome, reason: Option<String>) -> Event {
        let decisions = self.told();
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
