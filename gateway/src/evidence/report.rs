//! What is found out about a log by verifying it.

use std::fmt;

use serde::Serialize;

/// What happened to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A record, or its hash, is not what was written.
    Edited,
    /// Two records have each other's places.
    Swapped,
    /// A record stands where it was not written.
    Moved,
    /// A record that was not there was put in, such as a copy of another.
    Added,
    /// Records are gone.
    Deleted,
    /// The end is gone.
    Truncated,
    /// Bytes are no record, and what stands behind them can't be told.
    Damaged,
    /// The log is an older state of what was kept.
    RolledBack,
    /// The log is not the one that was kept.
    Rewritten,
    /// A checkpoint is not by the log's key, or damaged.
    Checkpoint,
}

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What happened.
    pub kind: Kind,
    /// The record, or the first of those among which it happened.
    pub record: Option<u64>,
    /// The last of those among which it happened.
    pub last: Option<u64>,
    /// The first record of the segment it was found in.
    pub segment: Option<u64>,
    /// The place there, in bytes.
    pub at: Option<u64>,
    /// The same in words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let (Some(segment), Some(at)) = (self.segment, self.at) {
            write!(f, " (segment {segment:020}, byte {at})")?;
        }
        Ok(())
    }
}

/// What was found out about a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name of the log.
    pub origin: String,
    /// How many records it has.
    pub records: u64,
    /// The root of the tree over them, in base64.
    pub root: String,
    /// How many checkpoints were signed by its keys and are right.
    pub checkpoints: u64,
    /// How many records the newest of them is of.
    pub signed: u64,
    /// How many keys have signed, one after the other.
    pub keys: usize,
    /// Bytes behind the last record that are none: a write that a crash has torn, or that is under way.
    pub torn: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
