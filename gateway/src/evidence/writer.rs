//! The writer thread: gathers the appends that wait and makes them durable in one transaction.

use std::sync::{
    OnceLock,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};
use std::time::{Duration, Instant};
use std::{sync::Arc, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    record::Record,
    store::{APPEND_TIMEOUT, EvidenceError, write_batch},
};

/// Appends that may wait for the disk; more are refused.
const QUEUE: usize = 4096;
/// Records made durable by one sync at most.
const BATCH: usize = 512;

/// How long what nobody waits for waits for company.
const LINGER: Duration = Duration::from_millis(20);

/// Whether somebody waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    Now,
    Soon,
}

/// The numbers of records that are durable.
type Answer = Result<Vec<u64>, EvidenceError>;

/// Records that are to be made durable together.
struct Job {
    records: Vec<Record>,
    haste: Haste,
    answer: oneshot::Sender<Answer>,
}

type Failure = Arc<OnceLock<String>>;

/// The sending side; the thread ends, everything written, when it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    failure: Failure,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let failure = Failure::default();
        let shared = Arc::clone(&failure);
        let thread =
            thread::Builder::new().name("evidence".to_owned()).spawn(move || run(connection, &queue, &shared))?;
        Ok(Self { jobs: Some(jobs), failure, thread: Some(thread) })
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub(super) async fn append(&self, records: Vec<Record>, haste: Haste) -> Answer {
        if let Some(reason) = self.failure() {
            return Err(EvidenceError::Failed(reason.to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(EvidenceError::Closed)?;
        match jobs.try_send(Job { records, haste, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EvidenceError::Stalled),
            Err(TrySendError::Disconnected(_)) => return Err(EvidenceError::Closed),
        }
        match tokio::time::timeout(APPEND_TIMEOUT, answered).await {
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
    let (end, mut hurries, mut records) = (Instant::now() + LINGER, false, 0);
    loop {
        let last = batch.last()?;
        hurries |= last.haste == Haste::Now;
        records += last.records.len();
        let wait = if hurries { Duration::ZERO } else { end.saturating_duration_since(Instant::now()) };
        // What is taken from the queue is written: the end of the batch is told before.
        let more = if records < BATCH { queue.recv_timeout(wait).ok() } else { None };
        match more {
            Some(job) => batch.push(job),
            None => return Some(batch),
        }
    }
}

fn run(mut connection: Connection, queue: &Receiver<Job>, failure: &Failure) {
    while let Some(batch) = next(queue) {
        let result = match failure.get() {
            Some(reason) => Err(EvidenceError::Failed(reason.clone())),
            None => {
                let records = batch.iter().flat_map(|job| &job.records);
                write_batch(&mut connection, records).map_err(|error| {
                    let reason = error.to_string();
                    tracing::error!(%reason, "the evidence store has failed; no more records are taken");
                    // Set once: the first failure is the one to report. A failed sync is never tried again, since the
                    // kernel may have dropped the pages it could not write.
                    let _ = failure.set(reason.clone());
                    EvidenceError::Write(reason)
                })
            }
        };
        // Whoever no longer waits has timed out and was told so.
        match result {
            Ok(numbers) => {
                let mut numbers = numbers.into_iter();
                for job in batch {
                    let _ = job.answer.send(Ok(numbers.by_ref().take(job.records.len()).collect()));
                }
            }
            Err(error) => {
                for job in batch {
                    let _ = job.answer.send(Err(error.clone()));
                }
            }
        }
    }
}
