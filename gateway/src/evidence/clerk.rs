//! The clerk: a thread that does beside the log what nobody waits for.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{
    index::Index,
    ledger::Ledger,
    log::{folder::Folder, writer::Shared},
};

/// How often it looks for something new.
const INTERVAL: Duration = Duration::from_secs(1);

/// Its handle; the thread looks a last time and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Clerk {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Clerk {
    /// Starts it on a log and its checkpoints.
    pub(super) fn start(folder: Folder, shared: Arc<Shared>, ledger: Ledger) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let desk = Desk { folder, shared, ledger, index: None, indexed: 0, unsigned: false };
        let thread = thread::Builder::new().name("evidence-clerk".to_owned()).spawn(move || desk.work(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What it does can be done again; a panic was printed.
            let _ = thread.join();
        }
    }
}

struct Desk {
    folder: Folder,
    shared: Arc<Shared>,
    ledger: Ledger,
    index: Option<Index>,
    /// The size of the log when the index was last caught up.
    indexed: u64,
    /// Checkpoints can't be kept, as was said.
    unsigned: bool,
}

impl Desk {
    fn work(mut self, stopped: &Receiver<()>) {
        loop {
            let ends = stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
            self.sign();
            self.index();
            if ends {
                return;
            }
        }
    }

    /// Signs a checkpoint of what is durable.
    fn sign(&mut self) {
        match self.ledger.keep(&self.shared.tree()) {
            Ok(()) => self.unsigned = false,
            Err(error) if !self.unsigned => {
                tracing::error!(%error, "checkpoints of the evidence can't be kept; it is tried again");
                self.unsigned = true;
            }
            Err(_) => {}
        }
    }

    fn index(&mut self) {
        let size = self.shared.size();
        if size == self.indexed {
            return;
        }
        self.indexed = size;
        let caught_up = match &mut self.index {
            Some(index) => index.catch_up().map_err(Into::into),
            None => Index::current(&self.folder).map(|index| self.index = Some(index)),
        };
        if let Err(error) = caught_up {
            // Whoever reads makes it anew.
            tracing::warn!(%error, "the index of the evidence store is behind");
            self.index = None;
        }
    }
}
