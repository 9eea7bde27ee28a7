//! The records of answers that are under way.

use std::collections::HashMap;

use super::Middle;
use crate::evidence::{EvidenceError, ResponseOutcome};
use crate::exchange::Recorder;
use crate::protocol::postgres::Note;

/// The records of answers that are under way.
pub(super) struct Records<'a> {
    middle: &'a Middle,
    open: HashMap<u64, Recorder>,
}

impl<'a> Records<'a> {
    pub(super) fn new(middle: &'a Middle) -> Self {
        Self { middle, open: HashMap::new() }
    }

    pub(super) async fn keep(&mut self, notes: Vec<Note>) -> Result<(), EvidenceError> {
        for note in notes {
            match note {
                Note::Seen(exchange, text) => self.of(exchange).seen(&text).await?,
                Note::Decided(exchange, decisions) => self.of(exchange).decided(&decisions),
                Note::Done(exchange, outcome, reason) => {
                    self.of(exchange);
                    if let Some(recorder) = self.open.remove(&exchange) {
                        close(recorder, outcome, reason);
                    }
                }
            }
        }
        Ok(())
    }

    fn of(&mut self, exchange: u64) -> &mut Recorder {
        let Middle { gateway, session, .. } = self.middle;
        self.open.entry(exchange).or_insert_with(|| {
            let policy = session.policy.policy().clone();
            Recorder::new(gateway.evidence.clone(), session.id.clone(), exchange, policy)
        })
    }

    /// The session is over: what was under way is on record as far as it went.
    pub(super) fn finish(self, reason: &str) {
        for recorder in self.open.into_values() {
            close(recorder, ResponseOutcome::Cancelled, Some(reason.to_owned()));
        }
    }
}

/// The last part is left to the store: what is recorded later stands behind it.
fn close(recorder: Recorder, outcome: ResponseOutcome, reason: Option<String>) {
    if let Err(error) = recorder.leave(outcome, reason) {
        // The store is closed by its failure: no command passes any more.
        tracing::error!(%error, "the end of an answer is not on record");
    }
}
