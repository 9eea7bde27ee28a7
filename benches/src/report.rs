//! Tables for docs/performance.md.

use crate::measure::{Spread, Times};

/// What was measured on one corpus with one size of chunks.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rules.
    pub workload: String,
    /// The corpus.
    pub corpus: &'static str,
    /// Bytes of a chunk.
    pub chunk: usize,
    /// Bytes of the corpus.
    pub bytes: usize,
    /// Matches of the reference.
    pub matches: usize,
    /// The contenders.
    pub times: Vec<Times>,
}

impl Row {
    /// The times of a contender; None where it did not run.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Times> {
        self.times.iter().find(|times| times.name == name)
    }

    /// How many times as fast as `other` the contender `name` is.
    #[must_use]
    pub fn ratio(&self, name: &str, other: &str) -> Option<Spread> {
        Some(self.of(name)?.against(self.of(other)?))
    }
}

/// Prints the head of a table: the speeds of ours, then how many times as fast whole inspection is as each of `peers`.
pub fn head(ours: &[&str], peers: &[&str]) {
    let ours_head: String = ours.iter().map(|name| format!(" {name} MiB/s |")).collect();
    let peers_head: String = peers.iter().map(|name| format!(" {name} |")).collect();
    println!("\n| rules | corpus | chunk |{ours_head}{peers_head} matches |");
    println!("|---|---|---|{}---|", "---|".repeat(ours.len() + peers.len()));
}

/// Prints a row of such a table. A contender that has no times was not run; the reason went to stderr.
pub fn row(row: &Row, ours: &[&str], peers: &[&str]) {
    let base = ours.iter().find(|name| row.of(name).is_some()).copied().unwrap_or_default();
    let speed = |name: &&str| match row.of(name) {
        Some(times) => format!(" {:.0} |", times.speed(row.bytes).median),
        None => " not run |".into(),
    };
    let ratio = |name: &&str| match row.ratio(base, name) {
        Some(Spread { median, least, most }) => {
            format!(" {}x ({}–{}) |", figure(median), figure(least), figure(most))
        }
        None => " not run |".into(),
    };
    let ours: String = ours.iter().map(speed).collect();
    let peers: String = peers.iter().map(ratio).collect();
    println!("| {} | {} | {} |{ours}{peers} {} |", row.workload, row.corpus, bytes(row.chunk), row.matches);
}

/// Three digits that say something.
#[must_use]
pub fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

/// `64 B`, `16 KiB`.
#[must_use]
pub fn bytes(count: usize) -> String {
    match count {
        _ if count >= 1 << 20 && count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count >= 1 << 10 && count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}
