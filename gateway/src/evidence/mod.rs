//! What happened: an append-only log whose appends are durable when they return.
//!
//! - `record`: what is recorded; `canonical`: how it is spelt.
//! - `log`: segments of records in a folder, and the one thread that writes them.
//! - `store`: the handle by which the gateway appends and reads.
//! - `index`: finds records; derived from the log, by what is `seen` of them. `reader` asks it and reads them; `search`: which sessions.
//! - `clerk`: does beside the log what nobody waits for.
//! - `note`, `checkpoint`: what is signed; `ledger`: the file of checkpoints; `keys`: who signs.
//! - `verify`: shows from the files and a public key what a log is, `signed` the checkpoints of it, `report` what was found; `proof`: shows one record without the log.

mod canonical;
mod checkpoint;
mod clerk;
mod index;
mod keys;
mod ledger;
mod log;
mod note;
mod proof;
mod reader;
mod record;
mod report;
mod search;
#[cfg(test)]
mod search_tests;
mod seen;
mod signed;
mod store;
#[cfg(test)]
mod tests;
mod verify;
#[cfg(test)]
mod verify_tests;

pub use canonical::canonical;
pub use checkpoint::Checkpoint;
pub use keys::SigningKey;
pub use log::{segment::read_segment, writer::Pending};
pub use note::{Note, NoteError, Signer, Verifier};
pub use proof::{ProofError, Proven, check as check_proof, newest as newest_checkpoint, prove};
pub use reader::{Reader, SessionSummary, StoredRecord};
pub use record::{DecisionRecord, Event, HitRecord, Record, RequestOutcome, ResponseOutcome, SessionId};
pub use report::{Finding, Kind, Report};
pub use search::Search;
pub use store::{Evidence, EvidenceError, rotate_key};
pub use verify::verify;
