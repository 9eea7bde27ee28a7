//! Says on a terminal that work is under way. Where nobody looks, nothing is written.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Work that ends before this needs no word.
const PATIENCE: Duration = Duration::from_millis(400);

/// The word, until it is dropped.
pub(crate) struct Progress {
    running: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins; `what` is as in `checking 2000 files`.
    pub(crate) fn of(what: String) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { running: None };
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut told = false;
            // The sender is dropped when the work is done.
            while stopped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                told = true;
                let _ = write!(std::io::stderr(), "\r{what} … {} s", start.elapsed().as_secs());
            }
            if told {
                // To the start of the line, which is cleared.
                let _ = write!(std::io::stderr(), "\r\x1b[2K");
            }
        });
        Self { running: Some((stop, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // It only writes, and may not.
            let _ = thread.join();
        }
    }
}
