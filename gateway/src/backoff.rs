//! How long to wait before something that failed is tried again: twice as long each time.

use std::time::Duration;

use tokio::time::sleep;

/// The first wait, and the longest.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The waits between the attempts at one thing.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// For something that is tried the first time.
    pub(crate) fn new() -> Self {
        Self(SHORTEST)
    }

    /// For something that won't mend by itself soon.
    pub(crate) fn longest() -> Self {
        Self(LONGEST)
    }

    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}
