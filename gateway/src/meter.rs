//! How fast one identity's bytes may pass: a debt that is paid before more is read.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Shared by all sessions of one identity.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes_per_second: u32,
    /// When all that passed so far has been paid for.
    paid: Mutex<Instant>,
}

/// So much may pass at once after a rest.
const BURST: Duration = Duration::from_millis(250);

impl Meter {
    pub(crate) fn new(bytes_per_second: u32) -> Self {
        Self { bytes_per_second, paid: Mutex::new(Instant::now()) }
    }

    /// Notes bytes, and says how long to wait before more are taken.
    pub(crate) fn spend(&self, bytes: usize) -> Duration {
        self.spend_at(bytes, Instant::now())
    }

    fn spend_at(&self, bytes: usize, now: Instant) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.checked_sub(BURST).map_or(*paid, |earliest| (*paid).max(earliest));
        *paid = from + cost;
        paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_over_time_is_the_rate_and_a_rest_allows_a_burst() {
        let meter = Meter::new(1000);
        let start = Instant::now() + Duration::from_secs(10);
        let (mut now, mut passed) = (start, 0);
        while now < start + Duration::from_secs(5) {
            now += meter.spend_at(100, now);
            passed += 100;
        }
        assert!((4900..=5400).contains(&passed), "{passed} bytes in five seconds");
        assert_eq!(meter.spend_at(100, now + Duration::from_secs(60)), Duration::ZERO, "a rest pays for a little");
    }
}
