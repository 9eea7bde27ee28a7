//! What a stream has cost so far, counted and not timed.

/// What a stream has cost so far. The look for candidates is not in it: it is the same for all bytes, but for the places
/// that it confirms byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Bytes pushed.
    pub bytes: u64,
    /// Candidates begun: places at which the automaton of a pattern started to read.
    pub candidates: u64,
    /// Bytes that automata have read to decide candidates; a byte counts once for each candidate that reads it.
    pub verified: u64,
    /// The most bytes that were held back when a call ended.
    pub most_held: usize,
}

impl Costs {
    /// Candidates begun for each MiB pushed; 0 before the first byte.
    #[must_use]
    pub fn candidates_per_mib(&self) -> f64 {
        self.per_mib(self.candidates)
    }

    /// Bytes that automata have read for each MiB pushed; 0 before the first byte.
    #[must_use]
    pub fn verified_per_mib(&self) -> f64 {
        self.per_mib(self.verified)
    }

    /// Adds what candidates have cost.
    pub(crate) fn add(&mut self, more: &Self) {
        self.candidates += more.candidates;
        self.verified += more.verified;
    }

    fn per_mib(&self, count: u64) -> f64 {
        if self.bytes == 0 { 0.0 } else { count as f64 * f64::from(1 << 20) / self.bytes as f64 }
    }
}
