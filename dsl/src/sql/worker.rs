//! The one thread that runs PostgreSQL's parser.
//!
//! One, because the parser redirects the process's standard error while it works, and two at once would leave it
//! redirected. With a stack of its own, because the parser and the code that writes its tree recurse by nesting.

use super::{SqlError, SqlFacts};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

/// Stack of the thread, in bytes: [`super::MAX_SQL`] levels of nesting fit. Address space only: pages are touched by need.
const STACK: usize = 512 * 1024 * 1024;

type Answer = Result<SqlFacts, SqlError>;

struct Job {
    sql: String,
    answer: SyncSender<Answer>,
}

/// Parses on the thread and waits for the answer.
pub(super) fn run(sql: String) -> Answer {
    static THREAD: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let jobs = THREAD.get_or_init(start).as_ref().ok_or(SqlError::Unavailable)?;
    let (answer, answered) = sync_channel(1);
    jobs.send(Job { sql, answer }).map_err(|_| SqlError::Unavailable)?;
    answered.recv().unwrap_or(Err(SqlError::Unavailable))
}

fn start() -> Option<Sender<Job>> {
    let (jobs, queue) = channel::<Job>();
    let work = move || {
        for Job { sql, answer } in queue {
            // A panic costs this one answer, not the thread: the caller sees an error and refuses.
            let facts = std::panic::catch_unwind(|| super::parse(&sql)).unwrap_or(Err(SqlError::Unavailable));
            // The caller may be gone; then nobody misses the answer.
            let _ = answer.send(facts);
        }
    };
    std::thread::Builder::new().name("sql".into()).stack_size(STACK).spawn(work).ok().map(|_| jobs)
}
