//! What happened: an append-only log whose appends are durable when they return.
//!
//! - `record`: what is recorded; `canonical`: how it is spelt.
//! - `log`: segments of records in a folder, and the one thread that writes them.
//! - `store`: the handle by which the gateway appends and reads.
//! - `index`: finds records; derived from the log. `reader` asks it and reads them.
//! - `clerk`: does beside the log what nobody waits for.

mod canonical;
mod clerk;
mod index;
mod log;
mod reader;
mod record;
mod store;
#[cfg(test)]
mod tests;

pub use canonical::canonical;
pub use reader::{Reader, SessionSummary, StoredRecord};
pub use record::{DecisionRecord, Event, HitRecord, Record, RequestOutcome, ResponseOutcome, SessionId};
pub use store::{Evidence, EvidenceError};
