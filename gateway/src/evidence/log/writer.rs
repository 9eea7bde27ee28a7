//! The writer thread: gathers the records that wait and makes them durable by one write and one sync.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{frame::Sealed, tail::Tail, tree::CompactRange};
use crate::evidence::store::{APPEND_TIMEOUT, EvidenceError};

/// Appends that may wait for the disk; more are refused.
const QUEUE: usize = 4096;
/// Records made durable by one sync at most.
const BATCH: usize = 4096;
/// Bytes gathered for one write at most; one append that is longer is written all the same.
const BYTES: usize = 8 << 20;
/// How long what nobody waits for waits for company.
const LINGER: Duration = Duration::from_millis(20);

/// Whether somebody waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    Now,
    Soon,
}

/// The number of the first of some records that are durable.
type Answer = Result<u64, EvidenceError>;

/// Records that are to be made durable together.
struct Job {
    records: Vec<Sealed>,
    haste: Haste,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    fn size(&self) -> usize {
        self.records.iter().map(Sealed::size).sum()
    }
}

/// What the writer shows.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    failure: OnceLock<String>,
    tree: Mutex<CompactRange>,
}

impl Shared {
    /// Why nothing more is taken, where that is so.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The tree over what is durable.
    pub(crate) fn tree(&self) -> CompactRange {
        self.lock().clone()
    }

    /// How many records are durable.
    pub(crate) fn size(&self) -> u64 {
        self.lock().size()
    }

    fn lock(&self) -> MutexGuard<'_, CompactRange> {
        // Nothing that holds it can panic half-way.
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending side; the thread ends, everything written, when it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on the end of a log, over whose records `tree` is.
    pub(crate) fn start(tail: Tail, tree: CompactRange) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let shared = Arc::new(Shared { failure: OnceLock::new(), tree: Mutex::new(tree) });
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("evidence".to_owned()).spawn(move || run(tail, &queue, &seen))?;
        Ok(Self { jobs: Some(jobs), shared, thread: Some(thread) })
    }

    /// What the writer shows.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes records, behind those that were taken before: [`Pending`] says when they are durable.
    pub(crate) fn take(&self, records: Vec<Sealed>, haste: Haste) -> Result<Pending, EvidenceError> {
        if let Some(reason) = self.shared.failure() {
            return Err(EvidenceError::Failed(reason.to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(EvidenceError::Closed)?;
        match jobs.try_send(Job { records, haste, answer }) {
            Ok(()) => Ok(Pending { answered, until: Instant::now() + APPEND_TIMEOUT }),
            Err(TrySendError::Full(_)) => Err(EvidenceError::Stalled),
            Err(TrySendError::Disconnected(_)) => Err(EvidenceError::Closed),
        }
    }
}

/// Records that were taken and aren't durable yet. They are written also where nobody waits for it.
#[derive(Debug)]
#[must_use = "a record counts when it is durable"]
pub struct Pending {
    answered: oneshot::Receiver<Answer>,
    until: Instant,
}

impl Pending {
    /// Returns when they are durable, with the number of the first one.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`]: do not go on with what was to be recorded.
    pub async fn durable(self) -> Result<u64, EvidenceError> {
        match tokio::time::timeout_at(self.until.into(), self.answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EvidenceError::Closed),
            Err(_) => Err(EvidenceError::Stalled),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The thread has no more work than what was queued; a panic of it was already answered with `Closed`.
            let _ = thread.join();
        }
    }
}

/// What is made durable next: what is there when somebody waits for some of it, or when the first of it has lingered. None
/// when no more can come.
fn next(queue: &Receiver<Job>) -> Option<Vec<Job>> {
    let mut batch = vec![queue.recv().ok()?];
    let (end, mut hurries, mut records, mut bytes) = (Instant::now() + LINGER, false, 0, 0);
    loop {
        let last = batch.last()?;
        hurries |= last.haste == Haste::Now;
        records += last.records.len();
        bytes += last.size();
        // What is taken from the queue is written: the end of the batch is told before.
        let more = if records >= BATCH || bytes >= BYTES {
            None
        } else if hurries {
            queue.try_recv().ok()
        } else {
            queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
        };
        match more {
            Some(job) => batch.push(job),
            None => return Some(batch),
        }
    }
}

fn run(mut tail: Tail, queue: &Receiver<Job>, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(batch) = next(queue) {
        let result = match shared.failure() {
            Some(reason) => Err(EvidenceError::Failed(reason.to_owned())),
            None => {
                let records = batch.iter().flat_map(|job| &job.records);
                tail.write(records, &mut buffer, || shared.tree()).map_err(|error| {
                    let reason = error.to_string();
                    tracing::error!(%reason, "the evidence store has failed; no more records are taken");
                    // A failed sync is never tried again, since the kernel may have dropped the pages it could not write.
                    let _ = shared.failure.set(reason.clone());
                    EvidenceError::Write(reason)
                })
            }
        };
        // Whoever no longer waits has timed out and was told so.
        match result {
            Ok(()) => {
                let mut tree = shared.lock();
                let mut number = tree.size();
                for Job { records, answer, .. } in batch {
                    let _ = answer.send(Ok(number));
                    number += records.len() as u64;
                    records.iter().for_each(|record| tree.push(record.leaf));
                }
            }
            Err(error) => {
                for job in batch {
                    let _ = job.answer.send(Err(error.clone()));
                }
            }
        }
        // One long write needs no memory for ever.
        buffer.shrink_to(BYTES);
    }
    if shared.failure().is_none()
        && let Err(error) = tail.close()
    {
        tracing::warn!(%error, "what the evidence store had allocated ahead can't be given back");
    }
}
