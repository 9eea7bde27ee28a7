//! How long an event waits for the next one, where a value at its end may go on there.

use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest that an event is held for one that has not come: longer than a server that writes a text word by word
/// pauses, shorter than a person notices.
const LONGEST: Duration = Duration::from_millis(100);

/// The time that is left to an event that waits.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    until: Option<Instant>,
}

impl Patience {
    /// Something was read: an event waits now, or none does.
    pub(crate) fn set(&mut self, awaits: bool) {
        let until = self.until.take().unwrap_or_else(|| Instant::now() + LONGEST);
        self.until = awaits.then_some(until);
    }

    /// What comes next; None where an event has waited long enough. `next` must lose nothing when it is dropped.
    pub(crate) async fn next<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        match self.until {
            None => Some(next.await),
            Some(until) => {
                let next = timeout_at(until, next).await.ok();
                if next.is_none() {
                    self.until = None;
                }
                next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_once_and_not_anew_for_each_thing_that_comes() {
        let mut patience = Patience::default();
        let start = Instant::now();
        patience.set(true);
        assert_eq!(patience.next(tokio::time::sleep(LONGEST / 2)).await, Some(()));
        patience.set(true);
        assert_eq!(patience.next(std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed(), LONGEST);
        assert_eq!(patience.next(tokio::time::sleep(LONGEST * 9)).await, Some(()), "nothing waits: there is no hurry");
    }
}
