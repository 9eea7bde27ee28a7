//! The evidence store: a SQLite file with one table that only grows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;

use super::{
    record::{Event, Record, SessionId, canonical},
    writer::{Haste, Writer},
};

/// Longer than this an append does not wait for the disk: a request is refused within a second.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_millis(800);
/// Marks the file as ours: "Slui".
const APPLICATION_ID: i32 = 0x536c_7569;
const VERSION: i32 = 2;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS record_session ON record (session, seq);
CREATE INDEX IF NOT EXISTS record_approval ON record (event, body ->> 'approval')
WHERE event = 'approval_requested' OR event = 'approval_decided' OR event = 'approval_closed' OR event = 'approval_reviewed';
CREATE TRIGGER IF NOT EXISTS record_no_update BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_no_delete BEFORE DELETE ON record
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_no_replace BEFORE INSERT ON record
WHEN EXISTS (SELECT 1 FROM record WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
";

/// Why evidence could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvidenceError {
    /// The file can't be opened or is no evidence store; nothing was changed. Check the path and its permissions.
    #[error("can't open the evidence store {path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The write failed (full disk, input/output error). It is not retried; the store takes no more until a restart.
    #[error("can't write evidence: {0}")]
    Write(String),
    /// An earlier write failed, so the store refuses this one.
    #[error("the evidence store has failed and takes no more records: {0}")]
    Failed(String),
    /// The disk did not answer in time. The record may or may not be stored; treat it as not.
    #[error("the evidence store did not answer within {} ms", APPEND_TIMEOUT.as_millis())]
    Stalled,
    /// The store was closed.
    #[error("the evidence store is closed")]
    Closed,
    /// The file could not be read.
    #[error("can't read evidence: {0}")]
    Read(String),
}

/// A handle on the store; clones share one writer.
#[derive(Debug, Clone)]
pub struct Evidence {
    path: PathBuf,
    writer: Arc<Writer>,
}

impl Evidence {
    /// Opens or creates the store. The file is readable by its owner alone.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Open`] when the file can't be opened, is another kind of database, or has a newer layout.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        Self::open_limited(path.as_ref(), None)
    }

    /// As [`open`](Self::open), for a file of at most `max_pages` pages: what a full disk looks like to SQLite.
    pub(super) fn open_limited(path: &Path, max_pages: Option<u32>) -> Result<Self, EvidenceError> {
        let failed = |reason: String| EvidenceError::Open { path: path.to_owned(), reason };
        create_private(path).map_err(|error| failed(error.to_string()))?;
        let connection = prepare(path, max_pages).map_err(failed)?;
        let writer = Writer::start(connection).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path: path.to_owned(), writer: Arc::new(writer) })
    }

    /// Appends a record and returns its sequence number when it is durable (written and synced to disk).
    ///
    /// Appends that arrive together are made durable together. Cancel-safe in the sense that matters: a dropped future
    /// may leave a record behind, never a gap.
    ///
    /// # Errors
    ///
    /// Any error means: do not go on with what was to be recorded. After [`EvidenceError::Write`]
    /// all further appends are refused with [`EvidenceError::Failed`].
    pub async fn append(&self, record: Record) -> Result<u64, EvidenceError> {
        first(self.writer.append(vec![record], Haste::Now).await?)
    }

    /// Appends records that belong together, in their order, and returns when all are durable: by one sync.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), of all of them.
    pub async fn append_all(&self, records: Vec<Record>) -> Result<(), EvidenceError> {
        self.writer.append(records, Haste::Now).await.map(drop)
    }

    /// The same for what nobody waits for: it takes up to 20 ms more, so that what does wait shares its sync instead of coming
    /// after it.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub async fn append_soon(&self, record: Record) -> Result<u64, EvidenceError> {
        first(self.writer.append(vec![record], Haste::Soon).await?)
    }

    /// Whether appends are still accepted.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.writer.failure().is_none()
    }

    /// The sessions on record, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, EvidenceError> {
        Reader::open(&self.path)?.sessions()
    }

    /// The requests for approval that nothing has ended, each with its session.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn open_approvals(&self) -> Result<Vec<(SessionId, String)>, EvidenceError> {
        Reader::open(&self.path)?.open_approvals()
    }

    /// Commands that went on without an approval and that nobody has reviewed, the oldest first: each the record that it was asked for,
    /// and the one that the glass was broken.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn unreviewed(&self) -> Result<Vec<(Record, Record)>, EvidenceError> {
        Reader::open(&self.path)?.unreviewed()
    }

    /// The records of one session in their order; empty when there are none.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn session(&self, id: &SessionId) -> Result<Vec<StoredRecord>, EvidenceError> {
        Reader::open(&self.path)?.session(id)
    }
}

/// The number of the one record that was appended.
fn first(numbers: Vec<u64>) -> Result<u64, EvidenceError> {
    numbers.first().copied().ok_or(EvidenceError::Closed)
}

/// Reads a store, also while a gateway writes it.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens an existing store for reading.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Open`] when there is none at the path.
    pub fn open(path: &Path) -> Result<Self, EvidenceError> {
        let failed = |reason: String| EvidenceError::Open { path: path.to_owned(), reason };
        if !path.exists() {
            return Err(failed("no such file".to_owned()));
        }
        // A reader of a WAL store takes part in its shared memory, so it opens for writing and is told not to write.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|connection| {
                connection.busy_timeout(Duration::from_secs(5))?;
                connection.pragma_update(None, "query_only", true)?;
                Ok(connection)
            })
            .map_err(|error| failed(error.to_string()))?;
        let id: i32 = connection
            .pragma_query_value(None, "application_id", |row| row.get(0))
            .map_err(|error| failed(error.to_string()))?;
        if id != APPLICATION_ID {
            return Err(failed("not an evidence store".to_owned()));
        }
        Ok(Self { connection })
    }

    /// The sessions on record, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, EvidenceError> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT session, min(at), max(at),
                        sum(event = 'request'), sum(event = 'request' AND body ->> 'outcome' = 'refused'),
                        max(CASE WHEN event = 'session_opened' THEN body END),
                        max(CASE WHEN event = 'session_closed' THEN body ->> 'reason' END)
                 FROM record GROUP BY session
                 HAVING sum(event NOT IN ('access_refused', 'administered')) > 0 ORDER BY session DESC",
            )
            .map_err(read_error)?;
        let rows = statement
            .query_map([], |row| {
                let opened: Option<String> = row.get(5)?;
                let opened = opened.and_then(|body| serde_json::from_str::<Record>(&body).ok());
                let (mut user, mut connection, mut purpose) = (None, None, None);
                if let Some(Event::SessionOpened { user: u, connection: c, purpose: p, .. }) = opened.map(|r| r.event) {
                    (user, connection, purpose) = (Some(u), Some(c), p);
                }
                Ok(SessionSummary {
                    session: row.get(0)?,
                    user,
                    connection,
                    purpose,
                    first: row.get(1)?,
                    last: row.get(2)?,
                    requests: count(row.get(3)?),
                    refused: count(row.get(4)?),
                    closed: row.get(6)?,
                })
            })
            .map_err(read_error)?;
        rows.collect::<Result<_, _>>().map_err(read_error)
    }

    /// The requests for approval that nothing has ended, each with its session.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn open_approvals(&self) -> Result<Vec<(SessionId, String)>, EvidenceError> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT asked.session, asked.body ->> 'approval' FROM record AS asked
                 WHERE asked.event = 'approval_requested' AND NOT EXISTS (
                     SELECT 1 FROM record AS ended WHERE ended.event = 'approval_closed'
                     AND ended.body ->> 'approval' = asked.body ->> 'approval') ORDER BY asked.seq",
            )
            .map_err(read_error)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .map_err(read_error)?;
        rows.map(|row| {
            let (session, approval) = row.map_err(read_error)?;
            let session = SessionId::parse(&session);
            session.map(|session| (session, approval)).ok_or_else(|| EvidenceError::Read("a session's name".to_owned()))
        })
        .collect()
    }

    /// Commands that went on without an approval and that nobody has reviewed, the oldest first: each the record that it was asked for,
    /// and the one that the glass was broken.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn unreviewed(&self) -> Result<Vec<(Record, Record)>, EvidenceError> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT asked.body, broken.body FROM record AS broken JOIN record AS asked
                 ON asked.event = 'approval_requested' AND asked.body ->> 'approval' = broken.body ->> 'approval'
                 WHERE broken.event = 'approval_decided' AND broken.body ->> 'decision' = 'break_glass'
                 AND broken.body ->> 'refused' IS NULL AND NOT EXISTS (
                     SELECT 1 FROM record AS done WHERE done.event = 'approval_reviewed'
                     AND done.body ->> 'approval' = broken.body ->> 'approval') ORDER BY broken.seq",
            )
            .map_err(read_error)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .map_err(read_error)?;
        let read = |body: &str| serde_json::from_str(body).map_err(|error| EvidenceError::Read(error.to_string()));
        rows.map(|row| {
            let (asked, broken) = row.map_err(read_error)?;
            Ok((read(&asked)?, read(&broken)?))
        })
        .collect()
    }

    /// Who was not let in, newest first: the records of sessions that never opened.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn refusals(&self) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("SELECT seq, body FROM record WHERE event = 'access_refused' ORDER BY seq DESC", [])
    }

    /// What administrators did, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn administered(&self) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("SELECT seq, body FROM record WHERE event = 'administered' ORDER BY seq DESC", [])
    }

    /// The records of one session in their order; empty when there are none.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`], also when a stored record is not one that this version knows.
    pub fn session(&self, id: &SessionId) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("SELECT seq, body FROM record WHERE session = ?1 ORDER BY seq", [id.as_str()])
    }

    /// The records after this number in their order, as many as asked for at most.
    ///
    /// # Errors
    ///
    /// As for [`session`](Self::session).
    pub fn after(&self, seq: u64, most: usize) -> Result<Vec<StoredRecord>, EvidenceError> {
        let (seq, most) = (i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(i64::MAX));
        self.records("SELECT seq, body FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2", [seq, most])
    }

    /// The number of the newest record; 0 where there is none.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn newest(&self) -> Result<u64, EvidenceError> {
        let newest = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| row.get(0));
        newest.map(count).map_err(read_error)
    }

    /// How a session was opened; None where it never was.
    ///
    /// # Errors
    ///
    /// As for [`session`](Self::session).
    pub fn opening(&self, id: &SessionId) -> Result<Option<Record>, EvidenceError> {
        let query = "SELECT seq, body FROM record WHERE session = ?1 AND event = 'session_opened' ORDER BY seq LIMIT 1";
        Ok(self.records(query, [id.as_str()])?.pop().map(|stored| stored.record))
    }

    fn records(&self, query: &str, values: impl rusqlite::Params) -> Result<Vec<StoredRecord>, EvidenceError> {
        let mut statement = self.connection.prepare(query).map_err(read_error)?;
        let rows = statement
            .query_map(values, |row| Ok((count(row.get(0)?), row.get::<_, String>(1)?)))
            .map_err(read_error)?;
        rows.map(|row| {
            let (seq, body) = row.map_err(read_error)?;
            let record = serde_json::from_str(&body)
                .map_err(|error| EvidenceError::Read(format!("record {seq} is not readable: {error}")))?;
            Ok(StoredRecord { seq, record })
        })
        .collect()
    }
}

/// A record with its place in the store.
#[derive(Debug, Clone, Serialize)]
pub struct StoredRecord {
    /// Its number: strictly rising over the whole store.
    pub seq: u64,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// One line of `sessions list`.
#[derive(Debug, Clone, Serialize)]
pub struct SessionSummary {
    /// The session's identifier.
    pub session: String,
    /// Who opened it.
    pub user: Option<String>,
    /// What they opened.
    pub connection: Option<String>,
    /// What for.
    pub purpose: Option<String>,
    /// The time of the first record (RFC 3339, UTC).
    pub first: String,
    /// The time of the last record.
    pub last: String,
    /// How many commands were recorded.
    pub requests: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// Why it was closed; absent while it lives, or when the process was killed.
    pub closed: Option<String>,
}

/// Writes a batch in one transaction and returns the sequence numbers; durable when it returns.
pub(super) fn write_batch<'a>(
    connection: &mut Connection,
    batch: impl Iterator<Item = &'a Record>,
) -> rusqlite::Result<Vec<u64>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut numbers = Vec::new();
    {
        let mut insert =
            transaction.prepare_cached("INSERT INTO record (session, at, event, body) VALUES (?1, ?2, ?3, ?4)")?;
        for record in batch {
            let body = serde_json::to_value(record)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            insert.execute(params![
                record.session.as_str(),
                instant(record.at),
                record.event.name(),
                canonical(&body)
            ])?;
            numbers.push(count(transaction.last_insert_rowid()));
        }
    }
    transaction.commit()?;
    Ok(numbers)
}

/// SQLite's integers are signed; the ones here are never negative.
fn count(number: i64) -> u64 {
    number.unsigned_abs()
}

fn instant(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn prepare(path: &Path, max_pages: Option<u32>) -> Result<Connection, String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(text)?;
    connection.busy_timeout(APPEND_TIMEOUT / 2).map_err(text)?;
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(text)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(text)?;
    match id {
        APPLICATION_ID => {
            let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(text)?;
            if version > VERSION {
                return Err(format!("its layout is version {version}, this program knows {VERSION}"));
            }
        }
        0 if tables == 0 => {}
        _ => return Err("not an evidence store".to_owned()),
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(text)?;
    if mode != "wal" {
        return Err(format!("the file system offers no write-ahead log (journal mode {mode})"));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(text)?;
    // Without this `INSERT OR REPLACE` would delete a row and fire no trigger.
    connection.pragma_update(None, "recursive_triggers", true).map_err(text)?;
    connection.execute_batch(SCHEMA).map_err(text)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(text)?;
    connection.pragma_update(None, "user_version", VERSION).map_err(text)?;
    if let Some(pages) = max_pages {
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).map_err(text)?;
    }
    Ok(connection)
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}

fn read_error(error: rusqlite::Error) -> EvidenceError {
    EvidenceError::Read(error.to_string())
}
