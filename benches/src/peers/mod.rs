//! Who is measured: the inspector and its peers, each behind one interface.

pub mod hyperscan;
mod inspector;
mod json;
mod search;

pub use inspector::Inspector;
pub use json::JsonReader;
pub use search::{Ceiling, Literals, Meta};
pub(crate) use search::{compile, literals};

use bytes::Bytes;

/// A match as a contender reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    /// The place of the pattern in the workload.
    pub pattern: u32,
    /// Where it starts, in bytes; None where the contender doesn't know.
    pub start: Option<u64>,
    /// Where it ends, in bytes.
    pub end: u64,
}

/// What a contender's reports can be held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// For each pattern the leftmost matches that don't overlap: the reports must be those of the reference, one for one.
    EachPattern,
    /// The same, of the matches that the validators accept.
    EachValid,
    /// The leftmost matches that don't overlap, of all patterns together.
    AllPatterns,
    /// Every place where a match ends.
    EveryEnd,
    /// Nothing: it is there for its speed.
    None,
}

/// One way to search a text.
pub trait Contender {
    /// As the report shows it.
    fn name(&self) -> &str;

    /// What its reports can be held against.
    fn semantics(&self) -> Semantics;

    /// Searches the text once, in chunks of so many bytes where it streams. Gives the number of reports.
    fn search(&mut self, text: &Bytes, chunk: usize) -> u64;

    /// The same, with the reports themselves.
    fn reports(&mut self, text: &Bytes, chunk: usize) -> Vec<Report>;
}
