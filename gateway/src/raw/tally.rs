//! What passed and what the rules did to it, counted, and on record in time.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sluice_dsl::Policy;
use sluice_engine::{ActionKind, Decision};

use super::pass::Side;
use crate::{
    evidence::{DecisionRecord, Event, Evidence, EvidenceError, Record, ResponseOutcome, SessionId},
    session::Session,
};

type Counts = BTreeMap<(String, Option<String>, String, &'static str), u64>;

/// The counts of one session since its last record.
pub(super) struct Tally {
    evidence: Evidence,
    session: SessionId,
    exchange: u64,
    policy: Policy,
    sent: AtomicU64,
    received: AtomicU64,
    /// Of requests, of responses.
    counts: Mutex<[Counts; 2]>,
}

impl Tally {
    pub(super) fn new(evidence: &Evidence, session: &Session, exchange: u64, policy: Policy) -> Self {
        let (sent, received, counts) = Default::default();
        Self { evidence: evidence.clone(), session: session.id.clone(), exchange, policy, sent, received, counts }
    }

    /// Bytes that left; `from` is the side they came from.
    pub(super) fn passed(&self, from: Side, bytes: usize) {
        let counter = match from {
            Side::Client => &self.sent,
            Side::Target => &self.received,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what was decided about bytes from this side.
    pub(super) fn decided(&self, from: Side, decisions: &[Decision]) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut counts[usize::from(from == Side::Target)];
        for decision in decisions {
            let rule = self.policy.rule(decision.rule);
            let action = match decision.action {
                ActionKind::Alert if rule.audit => "audit",
                ActionKind::Alert => "alert",
                ActionKind::Mask => "mask",
                ActionKind::Block => "block",
            };
            let pattern = self.policy.program().pattern_name(decision.pattern).to_owned();
            *counts.entry((rule.name.clone(), rule.id.clone(), pattern, action)).or_default() += 1;
        }
    }

    /// What was decided is durable when this returns; nothing is written where nothing was.
    pub(super) async fn flush(&self) -> Result<(), EvidenceError> {
        let [requests, responses] = self.take();
        if requests.is_empty() && responses.is_empty() {
            return Ok(());
        }
        self.append([requests, responses], false, ResponseOutcome::Complete, None).await
    }

    /// The last record.
    pub(super) async fn close(self, outcome: ResponseOutcome, reason: Option<String>) -> Result<(), EvidenceError> {
        self.append(self.take(), true, outcome, reason).await
    }

    fn take(&self) -> [Counts; 2] {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn append(
        &self,
        counts: [Counts; 2],
        last: bool,
        outcome: ResponseOutcome,
        reason: Option<String>,
    ) -> Result<(), EvidenceError> {
        let [requests, responses] = counts.map(|counts| {
            let records = counts.into_iter();
            records
                .map(|((rule, id, pattern, action), count)| DecisionRecord {
                    rule,
                    id,
                    pattern,
                    action: action.to_owned(),
                    count,
                })
                .collect()
        });
        let event = Event::Passed {
            exchange: self.exchange,
            sent: self.sent.swap(0, Ordering::Relaxed),
            received: self.received.swap(0, Ordering::Relaxed),
            requests,
            responses,
            last,
            outcome,
            reason,
        };
        self.evidence.append(Record::now(self.session.clone(), event)).await.map(drop)
    }
}
