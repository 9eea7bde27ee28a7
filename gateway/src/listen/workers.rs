//! Threads with a runtime of their own each, for sessions whose both sides are sockets. Such a session stays on one thread: what
//! comes is read and sent on by the thread that waited for it, and wakes no other.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// As many as the machine has cores; they end when this is dropped, and what still runs on them with them.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _stop: DropGuard,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// The system gives no thread, or none with what a runtime needs.
    pub fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let count = thread::available_parallelism()?.get();
        let mut handles = Vec::with_capacity(count);
        for nth in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let stopped = stop.clone();
            let run = move || runtime.block_on(stopped.cancelled());
            thread::Builder::new().name(format!("sessions-{nth}")).spawn(run)?;
        }
        Ok(Self { handles, next: AtomicUsize::new(0), _stop: stop.drop_guard() })
    }

    /// The one whose turn it is.
    pub(super) fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}
