//! Limits: how many records a rule lets through in a window that slides, for each value that it counts by. One process counts;
//! its memory is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_dsl::{Limited, SessionLimit, SessionPolicy};
use sluice_engine::RuleId;

/// Parts of a window: what is counted is forgotten part by part, never before its window is over.
const PARTS: u32 = 60;
/// Values that are counted at once. Of more, nothing passes until some are forgotten.
const MAX_KEYS: usize = 16_384;

/// All that is counted. Clones share it.
#[derive(Clone, Debug)]
pub struct Limits {
    begun: Instant,
    counts: Arc<Mutex<HashMap<String, Window>>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { begun: Instant::now(), counts: Arc::default() }
    }
}

/// What passed in the last window.
#[derive(Debug, Default)]
struct Window {
    /// The number of a part of time, and what passed in it; the latest is the last.
    parts: VecDeque<(u128, u64)>,
    total: u64,
    /// The length of a part, in nanoseconds.
    part: u128,
}

impl Window {
    fn forget(&mut self, now: Duration) {
        let now = now.as_nanos() / self.part.max(1);
        while let Some((_, count)) = self.parts.front().copied().filter(|(part, _)| part + u128::from(PARTS) < now) {
            self.total -= count;
            self.parts.pop_front();
        }
    }

    fn add(&mut self, now: Duration) {
        let now = now.as_nanos() / self.part.max(1);
        match self.parts.back_mut() {
            // Who took the time first may come last.
            Some((part, count)) if *part >= now => *count += 1,
            _ => self.parts.push_back((now, 1)),
        }
        self.total += 1;
    }
}

impl Limits {
    /// Counts one record, if it may pass.
    fn take(&self, key: &str, limit: &Limited) -> bool {
        self.take_at(key, limit, self.begun.elapsed())
    }

    fn take_at(&self, key: &str, limit: &Limited, now: Duration) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.contains_key(key) {
            if counts.len() >= MAX_KEYS {
                counts.retain(|_, window| {
                    window.forget(now);
                    window.total > 0
                });
            }
            if counts.len() >= MAX_KEYS {
                tracing::warn!("more values are counted than there is room for: what a limit holds for does not pass");
                return false;
            }
        }
        let window = counts.entry(key.to_owned()).or_default();
        window.part = (limit.per / PARTS).as_nanos();
        window.forget(now);
        if window.total >= limit.count {
            return false;
        }
        window.add(now);
        true
    }
}

/// Counts for one session.
#[derive(Clone, Debug)]
pub struct Counter {
    limits: Limits,
    rules: Arc<[SessionLimit]>,
    /// Rules that have counted the record that is being read.
    counted: Arc<Mutex<Vec<RuleId>>>,
}

impl Counter {
    /// None where no rule of the session has a limit.
    #[must_use]
    pub fn new(limits: &Limits, policy: &SessionPolicy) -> Option<Self> {
        let rules = policy.limits();
        (!rules.is_empty()).then(|| Self { limits: limits.clone(), rules: rules.into(), counted: Arc::default() })
    }

    /// The same for other records than those of this one.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { counted: Arc::default(), ..self.clone() }
    }

    /// What comes next is another record.
    pub fn next_record(&self) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A rule matched in the record; false where the record may not pass. It is counted once, however often the rule matches.
    #[must_use]
    pub fn lets_pass(&self, rule: RuleId) -> bool {
        let Some(limit) = self.rules.iter().find(|limit| limit.rule == rule) else { return true };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.contains(&rule) {
            return true;
        }
        counted.push(rule);
        self.limits.take(&limit.key, &limit.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_dsl::fields::FieldId;

    fn limit(count: u64, seconds: u64) -> Limited {
        Limited { count, per: Duration::from_secs(seconds), by: FieldId::UserId }
    }

    #[test]
    fn what_passed_counts_for_its_window_and_a_part_of_it_at_most() {
        let (limits, ten) = (Limits::default(), limit(10, 600));
        let take = |seconds: u64| limits.take_at("r ada", &ten, Duration::from_secs(seconds));
        assert!((0..10).all(take), "one a second");
        assert!(!take(10) && !take(599) && !take(605));
        assert!(limits.take_at("r bob", &ten, Duration::from_secs(10)), "another user");
        // The first ten share a part of ten seconds.
        assert!((0..10).all(|_| take(620)));
        assert!(!take(620));
    }

    #[test]
    fn what_does_not_pass_is_not_counted() {
        let (limits, one) = (Limits::default(), limit(1, 60));
        let take = |seconds: u64| limits.take_at("r", &one, Duration::from_secs(seconds));
        assert!(take(0));
        assert!((1..=60).all(|second| !take(second)));
        assert!(take(62));
    }

    #[test]
    fn memory_is_bounded_and_what_finds_no_room_does_not_pass() {
        let (limits, ten) = (Limits::default(), limit(10, 60));
        let take = |key: usize, seconds: u64| limits.take_at(&key.to_string(), &ten, Duration::from_secs(seconds));
        assert!((0..MAX_KEYS).all(|key| take(key, 0)));
        assert!(!take(MAX_KEYS, 1), "no room");
        assert!(take(1, 2), "it has a place");
        assert!(take(MAX_KEYS, 62), "others are forgotten");
        assert_eq!(limits.counts.lock().unwrap().len(), 2, "what is in its window, and the new one");
    }
}
