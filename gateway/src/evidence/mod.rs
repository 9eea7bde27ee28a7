//! What happened: an append-only store whose appends are durable when they return.

mod record;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{DecisionRecord, Event, HitRecord, Record, RequestOutcome, ResponseOutcome, SessionId, canonical};
pub use store::{Evidence, EvidenceError, Reader, SessionSummary, StoredRecord};
