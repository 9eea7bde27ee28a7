//! The memory budget that all streams of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared cap on the bytes that all streams may hold back together. Clones share the same cap.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Shared { limit, used: AtomicUsize::new(0) }) }
    }

    /// A budget that never runs out; for tools that hold one stream at a time.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Bytes held now by all streams that share this budget.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// The cap, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Moves a holder's charge from `from` to `to` bytes. False, and nothing changed, where the cap would be exceeded.
    pub(crate) fn recharge(&self, from: usize, to: usize) -> bool {
        if to <= from {
            self.shared.used.fetch_sub(from - to, Ordering::Relaxed);
            return true;
        }
        let more = to - from;
        self.shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| *sum <= self.shared.limit)
            })
            .is_ok()
    }
}
