//! The index: a SQLite file derived from the log, so that records are found. It proves nothing, and is made anew where it is missing,
//! damaged, or of another log.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    log::{
        folder::Folder,
        frame::{Frame, Header},
        segment::{Frames, Step, written_later},
    },
    seen::{Clue, Seen},
    store::EvidenceError,
};

/// The index's file, in the folder of the log.
const NAME: &str = "index.sqlite";
/// The layout of the tables.
const VERSION: i32 = 2;
/// Records that are indexed in one transaction.
const BATCH: usize = 20_000;
/// How long another process may hold the index.
const PATIENCE: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE place (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    next INTEGER NOT NULL, segment INTEGER NOT NULL, at INTEGER NOT NULL, last INTEGER NOT NULL, leaf BLOB NOT NULL
) STRICT;
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL UNIQUE,
    first TEXT, last TEXT, requests INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
    opened INTEGER NOT NULL DEFAULT 0, user TEXT, connection TEXT, purpose TEXT, protocol TEXT, closed TEXT
) STRICT;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, event TEXT NOT NULL, segment INTEGER NOT NULL, at INTEGER NOT NULL, size INTEGER NOT NULL
) STRICT;
CREATE INDEX record_session ON record (session, seq);
CREATE INDEX record_event ON record (event, seq) WHERE event IN ('access_refused', 'administered');
CREATE TABLE approval (
    seq INTEGER PRIMARY KEY,
    event TEXT NOT NULL, approval TEXT NOT NULL, decision TEXT, refused INTEGER NOT NULL
) STRICT;
CREATE INDEX approval_event ON approval (event, approval);
CREATE TABLE name (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)) STRICT;
CREATE TABLE clue (session INTEGER NOT NULL, name INTEGER NOT NULL, PRIMARY KEY (name, session)) STRICT, WITHOUT ROWID;
";

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number.
    pub(super) seq: u64,
    /// The first record of its segment.
    pub(super) segment: u64,
    /// The place of its frame there.
    pub(super) at: u64,
    /// How long the frame is.
    pub(super) size: u64,
}

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    folder: Folder,
    connection: Connection,
}

impl Index {
    /// Opens the index of a log, or makes it; where the folder can't be written to, in memory.
    pub(super) fn open(folder: &Folder) -> Result<Self, EvidenceError> {
        let path = folder.file(NAME);
        let connection = match at(&path) {
            Err(Unusable::Damaged(reason)) => {
                tracing::warn!(%reason, "the index of the evidence store can't be used and is made anew");
                remove(&path);
                at(&path)
            }
            other => other,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(Unusable::Elsewhere) => in_memory().map_err(failed)?,
            Err(Unusable::Damaged(reason)) => return Err(EvidenceError::Read(format!("the index: {reason}"))),
        };
        Ok(Self { folder: folder.clone(), connection })
    }

    /// Opens it and catches up with the log; an index that turns out to be damaged is made anew.
    pub(super) fn current(folder: &Folder) -> Result<Self, EvidenceError> {
        let mut index = Self::open(folder)?;
        match index.catch_up() {
            Err(CatchUp::Index(error)) if !is_busy(&error) => {
                tracing::warn!(reason = %error, "the index of the evidence store is damaged and is made anew");
                drop(index);
                remove(&folder.file(NAME));
                index = Self::open(folder)?;
                index.catch_up().map_err(EvidenceError::from)?;
            }
            done => done?,
        }
        Ok(index)
    }

    /// What answers queries.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Indexes what the log has and the index hasn't. What was acknowledged before is in the index after.
    pub(super) fn catch_up(&mut self) -> Result<(), CatchUp> {
        let mut walk = Walk::from(&self.folder, read_mark(&self.connection)?)?;
        if walk.mark.is_some() && !walk.peek()? {
            return Ok(());
        }
        loop {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been here.
            walk = Walk::from(&self.folder, read_mark(&transaction)?)?;
            if walk.mark.is_none() {
                transaction.execute_batch(
                    "DELETE FROM record; DELETE FROM session; DELETE FROM approval; DELETE FROM place; DELETE FROM clue; DELETE FROM name;",
                )?;
            }
            let more = fill(&transaction, &mut walk)?;
            transaction.commit()?;
            if !more {
                return Ok(());
            }
        }
    }
}

/// Why an index did not catch up.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatchUp {
    /// The index.
    #[error("the index: {0}")]
    Index(#[from] rusqlite::Error),
    /// A file of the log.
    #[error("the log: {0}")]
    Log(#[from] io::Error),
    /// The log is damaged.
    #[error("record {0} is damaged: `sluice evidence verify` says more")]
    Damaged(u64),
}

impl From<CatchUp> for EvidenceError {
    fn from(error: CatchUp) -> Self {
        Self::Read(error.to_string())
    }
}

/// Why an index can't be opened.
enum Unusable {
    /// It is none, or not of this layout.
    Damaged(String),
    /// The place is not ours to write to.
    Elsewhere,
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Elsewhere,
            _ => Self::Damaged(error.to_string()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What a reader is told of an index that fails.
pub(super) fn failed(error: rusqlite::Error) -> EvidenceError {
    EvidenceError::Read(format!("the index: {error}"))
}

fn at(path: &Path) -> Result<Connection, Unusable> {
    let created = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    created.map_err(|_| Unusable::Elsewhere)?;
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // It can be made anew from the log, so nothing of it has to be durable.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        other => return Err(Unusable::Damaged(format!("its layout is version {other}"))),
    }
    transaction.commit()?;
    Ok(connection)
}

fn in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Removes an index that can't be used. Who still reads it reads on.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // Where it can't be removed it can't be opened either, which is said.
        let _ = fs::remove_file(name);
    }
}

/// Up to where the log is indexed.
struct Mark {
    next: u64,
    segment: u64,
    /// Where the next frame is.
    at: u64,
    /// Where the last one is, and its hash.
    last: u64,
    leaf: Vec<u8>,
}

fn read_mark(connection: &Connection) -> rusqlite::Result<Option<Mark>> {
    let query = "SELECT next, segment, at, last, leaf FROM place";
    let mut statement = connection.prepare_cached(query)?;
    let mark = statement.query_row([], |row| {
        Ok(Mark {
            next: count(row.get(0)?),
            segment: count(row.get(1)?),
            at: count(row.get(2)?),
            last: count(row.get(3)?),
            leaf: row.get(4)?,
        })
    });
    mark.optional()
}

/// The way through the log from where the index ends.
struct Walk {
    folder: Folder,
    /// None where the index is of nothing, or of what is no longer there.
    mark: Option<Mark>,
    next: u64,
    segment: u64,
    at: u64,
}

impl Walk {
    fn from(folder: &Folder, mark: Option<Mark>) -> io::Result<Self> {
        let first = folder.segments()?.first().copied().unwrap_or(0);
        let mark = match mark {
            Some(mark) if still_there(folder, &mark)? => Some(mark),
            _ => None,
        };
        let (next, segment, at) = match &mark {
            Some(mark) => (mark.next, mark.segment, mark.at),
            None => (first, first, Header::size(first) as u64),
        };
        Ok(Self { folder: folder.clone(), mark, next, segment, at })
    }

    /// Whether there is something new.
    fn peek(&self) -> io::Result<bool> {
        let file = File::open(self.folder.segment(self.segment))?;
        let here = !matches!(Frames::new(&file, self.at).next()?, Step::End(_));
        Ok(here || self.folder.segments()?.last().is_some_and(|last| *last > self.segment))
    }
}

/// Whether the last record that was indexed is where it was. A torn end that was cut off may have been indexed before.
fn still_there(folder: &Folder, mark: &Mark) -> io::Result<bool> {
    let file = match File::open(folder.segment(mark.segment)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut frames = Frames::new(&file, mark.last);
    let found = matches!(frames.next()?, Step::Frame(frame, _) if frame.leaf[..] == mark.leaf[..]);
    Ok(found)
}

/// Indexes up to a batch of records; true where there may be more.
fn fill(transaction: &Transaction<'_>, walk: &mut Walk) -> Result<bool, CatchUp> {
    let mut sessions = Sessions::default();
    let (mut last, mut done, mut again) = (None, 0, false);
    let more = 'segments: loop {
        let file = match File::open(walk.folder.segment(walk.segment)) {
            // A log without any record.
            Err(error) if error.kind() == io::ErrorKind::NotFound && walk.next == walk.segment => break false,
            other => other?,
        };
        let mut frames = Frames::new(&file, walk.at);
        let is_bad = loop {
            if done == BATCH {
                break 'segments true;
            }
            match frames.next()? {
                Step::Frame(frame, at) if frame.is_intact() => {
                    let place = Place { seq: walk.next, segment: walk.segment, at, size: frame.size() as u64 };
                    sessions.add(transaction, place, &frame)?;
                    (last, again) = (Some((at, frame.leaf)), false);
                    walk.next += 1;
                    walk.at = at + frame.size() as u64;
                    done += 1;
                }
                Step::Frame(..) | Step::Bad(_) => break true,
                Step::End(_) => break false,
            }
        };
        match walk.folder.segments()?.into_iter().find(|first| *first > walk.segment) {
            Some(first) if first == walk.next && !is_bad => {
                (walk.segment, walk.at) = (first, Header::size(first) as u64);
            }
            // Something may have been written between the look at the end and the look for what follows.
            Some(_) if !again => again = true,
            Some(_) => return Err(CatchUp::Damaged(walk.next)),
            // What is being written is seen in part.
            None if is_bad && written_later(&file, walk.at)?.is_some() => {
                // Both may have been written since it was looked at.
                if again {
                    return Err(CatchUp::Damaged(walk.next));
                }
                again = true;
            }
            None => break false,
        }
    };
    sessions.flush(transaction)?;
    if let Some((at, leaf)) = last {
        let mut statement =
            transaction.prepare_cached("INSERT OR REPLACE INTO place VALUES (0, ?1, ?2, ?3, ?4, ?5)")?;
        // The last record may be in the segment before the one that comes next.
        let (segment, next_at) = match sessions.last {
            Some(place) => (place.segment, place.at + place.size),
            None => (walk.segment, walk.at),
        };
        statement.execute(params![signed(walk.next), signed(segment), signed(next_at), signed(at), leaf.as_slice()])?;
    }
    Ok(more)
}

/// What a batch says of one session.
#[derive(Default)]
struct Session {
    id: i64,
    first: String,
    last: String,
    requests: i64,
    refused: i64,
    /// Records of a session that was let in.
    opened: i64,
    who: Option<(Option<String>, Option<String>, Option<String>)>,
    protocol: Option<String>,
    /// By which it is found.
    clues: HashSet<i64>,
    closed: Option<String>,
}

/// The sessions of a batch.
#[derive(Default)]
struct Sessions {
    of: HashMap<String, Session>,
    /// The numbers of names that were met.
    names: HashMap<(Clue, String), i64>,
    last: Option<Place>,
}

impl Sessions {
    fn add(&mut self, transaction: &Transaction<'_>, place: Place, frame: &Frame<'_>) -> Result<(), CatchUp> {
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(frame.record) else {
            return Err(CatchUp::Damaged(place.seq));
        };
        if !self.of.contains_key(&*seen.session) {
            let (id, protocol) = transaction
                .prepare_cached(
                    "INSERT INTO session (session) VALUES (?1) ON CONFLICT DO UPDATE SET id = id RETURNING id, protocol",
                )?
                .query_row([&seen.session], |row| Ok((row.get(0)?, row.get(1)?)))?;
            self.of.insert(seen.session.clone().into_owned(), Session { id, protocol, ..Session::default() });
        }
        let Some(session) = self.of.get_mut(&*seen.session) else { return Ok(()) };
        transaction.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            signed(place.seq),
            session.id,
            seen.event,
            signed(place.segment),
            signed(place.at),
            signed(place.size)
        ])?;
        self.last = Some(place);
        let at = time(seen.at);
        if session.first.is_empty() || at < session.first {
            session.first.clone_from(&at);
        }
        if at > session.last {
            session.last = at;
        }
        if matches!(&*seen.event, "access_refused" | "administered" | "tail_cut" | "key_rotated") {
            return Ok(());
        }
        for (kind, name) in seen.clues(session.protocol.as_deref()) {
            let id = number(&mut self.names, transaction, kind, &name)?;
            if session.clues.insert(id) {
                transaction.prepare_cached("INSERT OR IGNORE INTO clue VALUES (?1, ?2)")?.execute([session.id, id])?;
            }
        }
        match &*seen.event {
            "request" => {
                session.requests += 1;
                session.refused += i64::from(seen.outcome.as_deref() == Some("refused"));
            }
            "session_opened" => {
                session.who = Some((seen.user, seen.connection, seen.purpose));
                session.protocol = seen.protocol;
            }
            "session_closed" => session.closed = seen.reason,
            "approval_requested" | "approval_decided" | "approval_reviewed" | "approval_closed" => {
                let mut statement = transaction.prepare_cached("INSERT INTO approval VALUES (?1, ?2, ?3, ?4, ?5)")?;
                let values =
                    params![signed(place.seq), seen.event, seen.approval, seen.decision, seen.refused.is_some()];
                statement.execute(values)?;
            }
            _ => {}
        }
        session.opened += 1;
        Ok(())
    }

    fn flush(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached(
            "UPDATE session SET first = min(ifnull(first, ?2), ?2), last = max(ifnull(last, ?3), ?3),
             requests = requests + ?4, refused = refused + ?5, opened = opened + ?6, closed = ifnull(?7, closed) WHERE id = ?1",
        )?;
        let mut who = transaction.prepare_cached(
            "UPDATE session SET user = ?2, connection = ?3, purpose = ?4, protocol = ?5 WHERE id = ?1",
        )?;
        for session in self.of.values() {
            let Session { id, first, last, requests, refused, opened, protocol, closed, .. } = session;
            statement.execute(params![id, first, last, requests, refused, opened, closed])?;
            if let Some((user, connection, purpose)) = &session.who {
                who.execute(params![id, user, connection, purpose, protocol])?;
            }
        }
        Ok(())
    }
}

/// The number of a name, which it gets when it is met first.
fn number(
    known: &mut HashMap<(Clue, String), i64>,
    transaction: &Transaction<'_>,
    kind: Clue,
    name: &str,
) -> rusqlite::Result<i64> {
    let key = (kind, name.to_owned());
    if let Some(id) = known.get(&key) {
        return Ok(*id);
    }
    let query = "INSERT INTO name (kind, name) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET id = id RETURNING id";
    let id = transaction.prepare_cached(query)?.query_row([kind.word(), name], |row| row.get(0))?;
    known.insert(key, id);
    Ok(id)
}

/// A time as the index has it: such texts sort as the times do.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// SQLite's integers are signed; the ones here are never negative.
pub(super) fn count(number: i64) -> u64 {
    number.unsigned_abs()
}

/// Numbers of records and places in files are far from where this would be negative.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}
