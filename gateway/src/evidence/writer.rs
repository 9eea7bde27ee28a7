//! The writer thread: gathers the appends that wait and makes them durable in one transaction.

use std::sync::{
    OnceLock,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};
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

type Answer = Result<u64, EvidenceError>;
type Job = (Record, oneshot::Sender<Answer>);
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

    pub(super) async fn append(&self, record: Record) -> Answer {
        if let Some(reason) = self.failure() {
            return Err(EvidenceError::Failed(reason.to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(EvidenceError::Closed)?;
        match jobs.try_send((record, answer)) {
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

fn run(mut connection: Connection, queue: &Receiver<Job>, failure: &Failure) {
    while let Ok(first) = queue.recv() {
        let (mut records, mut answers) = (vec![first.0], vec![first.1]);
        while records.len() < BATCH {
            let Ok((record, answer)) = queue.try_recv() else { break };
            records.push(record);
            answers.push(answer);
        }
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
