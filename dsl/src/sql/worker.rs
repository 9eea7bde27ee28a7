//! Where PostgreSQL's parser runs: one text at a time, on a stack that is large enough.
//!
//! One, because the parser redirects the process's standard error while it works, and two at once would leave it
//! redirected. On a large stack, because the parser and the code that writes its tree recurse by nesting: it counts up to 2 MiB and gives up
//! there, but on a thread with less it would count wrong. Threads that are large enough say so and parse themselves, since waiting for
//! another one takes longer than to parse; for all others there is one that does nothing else.

use super::{SqlError, SqlFacts};
use std::cell::Cell;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The stack of a thread that parses, in bytes: what the parser takes at most, what it keeps clear, and what leads to it. Address space
/// only: pages are touched by need.
pub const STACK: usize = 8 * 1024 * 1024;

thread_local! {
    static IS_LARGE: Cell<bool> = const { Cell::new(false) };
}

type Answer = Result<SqlFacts, SqlError>;

struct Job {
    sql: String,
    answer: SyncSender<Answer>,
}

/// Says that this thread has a stack of [`STACK`] bytes or more: what it asks for is parsed here and not on another thread.
pub fn parse_on_this_thread() {
    IS_LARGE.set(true);
}

/// Parses a text.
pub(super) fn run(sql: &str) -> Answer {
    static THREAD: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    if IS_LARGE.get() {
        return parse(sql);
    }
    let jobs = THREAD.get_or_init(start).as_ref().ok_or(SqlError::Unavailable)?;
    let (answer, answered) = sync_channel(1);
    jobs.send(Job { sql: sql.to_owned(), answer }).map_err(|_| SqlError::Unavailable)?;
    answered.recv().unwrap_or(Err(SqlError::Unavailable))
}

fn parse(sql: &str) -> Answer {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A panic costs this one answer, not the thread: the caller sees an error and refuses.
    std::panic::catch_unwind(|| super::parse(sql)).unwrap_or(Err(SqlError::Unavailable))
}

fn start() -> Option<Sender<Job>> {
    let (jobs, queue) = channel::<Job>();
    let work = move || {
        for Job { sql, answer } in queue {
            // The caller may be gone; then nobody misses the answer.
            let _ = answer.send(parse(&sql));
        }
    };
    std::thread::Builder::new().name("sql".into()).stack_size(STACK).spawn(work).ok().map(|_| jobs)
}
