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

type Answer = Result<u64, EvidenceError>;

/// A record that is to be made durable.
struct Job {
    record: Record,
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

    pub(super) async fn append(&self, record: Record, haste: Haste) -> Answer {
        if let Some(reason) = self.failure() {
            return Err(EvidenceError::Failed(reason.to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(EvidenceError::Closed)?;
        match jobs.try_send(Job { record, haste, answer }) {
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

/// The next records that are made durable together: those that are there when somebody waits for one of them, or when the
/// first of them has lingered. None when no more can come.
fn next(queue: &Receiver<Job>) -> Option<Vec<Job>> {
    let mut batch = vec![queue.recv().ok()?];
    let (end, mut hurries) = (Instant::now() + LINGER, false);
    while batch.len() < BATCH {
        hurries |= batch.last().is_some_and(|job: &Job| job.haste == Haste::Now);
        let wait = if hurries { Duration::ZERO } else { end.saturating_duration_since(Instant::now()) };
        let Ok(job) = queue.recv_timeout(wait) else { break };
        batch.push(job);
    }
    Some(batch)
}

fn run(mut connection: Connection, queue: &Receiver<Job>, failure: &Failure) {
    while let Some(batch) = next(queue) {
        let (records, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.record, job.answer)).unzip();
        let result = match failure.get() {
            Some(reason) => Err(EvidenceError::Failed(reason.clone())),
            None => write_batch(&mut connection, &records).map_err(|error| {
                let reason = error.to_string();
                tracing::error!(%reason, "the evidence store has failed; no more records are taken");
                // Set once: the first failure is the one to report. A failed sync is never tried again, since the
                // kernel may have dropped the pages it could not write.
                let _ = failure.set(reason.clone());
                EvidenceError::Write(reason)
            }),
        };
        // Whoever no longer waits has timed out and was told so.
        match result {
            Ok(numbers) => {
                for (answer, number) in answers.into_iter().zip(numbers) {
                    let _ = answer.send(Ok(number));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}
