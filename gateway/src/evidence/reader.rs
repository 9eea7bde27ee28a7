//! Reads a store, also while a gateway writes it: found by the index, read from the log.

use std::{cell::RefCell, collections::HashMap, fs::File, os::unix::fs::FileExt, path::Path};

use rusqlite::Row;
use serde::Serialize;

use super::{
    index::{Index, Place, count, failed},
    log::{
        folder::Folder,
        frame::{Parsed, parse},
    },
    record::{Record, SessionId},
    search::Search,
    store::EvidenceError,
};

/// Reads a store.
#[derive(Debug)]
pub struct Reader {
    folder: Folder,
    index: Index,
    /// Segments that were opened, by their first records.
    segments: RefCell<HashMap<u64, File>>,
}

/// A record with its place in the store.
#[derive(Debug, Clone, Serialize)]
pub struct StoredRecord {
    /// Its number, from 0 on: its place in the whole log, and in the tree over it.
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

impl Reader {
    /// Opens an existing store for reading: all that was acknowledged before is seen.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Open`] when there is none at the path, [`EvidenceError::Read`] when the log is damaged.
    pub fn open(path: &Path) -> Result<Self, EvidenceError> {
        let folder = Folder::at(path);
        let failed = |reason: String| EvidenceError::Open { path: path.to_owned(), reason };
        if let Some(reason) = folder.is_wrong() {
            return Err(failed(reason));
        }
        if let Err(error) = folder.segments() {
            return Err(failed(format!("there is no evidence store: {error}")));
        }
        let index = Index::current(&folder)?;
        Ok(Self { folder, index, segments: RefCell::default() })
    }

    /// The sessions on record, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, EvidenceError> {
        self.find(&Search::default())
    }

    /// The sessions of which all holds that is asked, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn find(&self, search: &Search) -> Result<Vec<SessionSummary>, EvidenceError> {
        let (which, values) = search.query();
        let query =
            format!("SELECT session, user, connection, purpose, first, last, requests, refused, closed {which}");
        self.query(&query, rusqlite::params_from_iter(values), |row| {
            Ok(SessionSummary {
                session: row.get(0)?,
                user: row.get(1)?,
                connection: row.get(2)?,
                purpose: row.get(3)?,
                first: row.get(4)?,
                last: row.get(5)?,
                requests: count(row.get(6)?),
                refused: count(row.get(7)?),
                closed: row.get(8)?,
            })
        })
    }

    /// The requests for approval that nothing has ended, each with its session.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn open_approvals(&self) -> Result<Vec<(SessionId, String)>, EvidenceError> {
        let rows = self.query(
            "SELECT session.session, asked.approval FROM approval AS asked JOIN record USING (seq)
             JOIN session ON session.id = record.session
             WHERE asked.event = 'approval_requested' AND NOT EXISTS (
                 SELECT 1 FROM approval AS ended WHERE ended.event = 'approval_closed'
                 AND ended.approval = asked.approval) ORDER BY asked.seq",
            [],
            |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
        )?;
        let named = |(session, approval): (String, String)| {
            let session = SessionId::parse(&session);
            session.map(|session| (session, approval)).ok_or_else(|| EvidenceError::Read("a session's name".to_owned()))
        };
        rows.into_iter().map(named).collect()
    }

    /// Commands that went on without an approval and that nobody has reviewed, the oldest first: each the record that it was asked for,
    /// and the one that the glass was broken.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn unreviewed(&self) -> Result<Vec<(Record, Record)>, EvidenceError> {
        let rows = self.query(
            "SELECT a.seq, a.segment, a.at, a.size, b.seq, b.segment, b.at, b.size
             FROM approval AS broken JOIN approval AS asked
             ON asked.event = 'approval_requested' AND asked.approval = broken.approval
             JOIN record AS a ON a.seq = asked.seq JOIN record AS b ON b.seq = broken.seq
             WHERE broken.event = 'approval_decided' AND broken.decision = 'break_glass'
             AND NOT broken.refused AND NOT EXISTS (
                 SELECT 1 FROM approval AS done WHERE done.event = 'approval_reviewed'
                 AND done.approval = broken.approval) ORDER BY broken.seq",
            [],
            |row| Ok((place(row, 0)?, place(row, 4)?)),
        )?;
        rows.into_iter().map(|(asked, broken)| Ok((self.read(asked)?.record, self.read(broken)?.record))).collect()
    }

    /// Who was not let in, newest first: the records of sessions that never opened.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn refusals(&self) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("event = 'access_refused' ORDER BY seq DESC", [])
    }

    /// What administrators did, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn administered(&self) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("event = 'administered' ORDER BY seq DESC", [])
    }

    /// The records of one session in their order; empty when there are none.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`], also when a stored record is not one that this version knows.
    pub fn session(&self, id: &SessionId) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.records("session = (SELECT id FROM session WHERE session = ?1) ORDER BY seq", [id.as_str()])
    }

    /// The records from this number on in their order, as many as asked for at most: those that were there when the reader was
    /// opened, and what was indexed since.
    ///
    /// # Errors
    ///
    /// As for [`session`](Self::session).
    pub fn from(&self, seq: u64, most: usize) -> Result<Vec<StoredRecord>, EvidenceError> {
        let (seq, most) = (i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(i64::MAX));
        self.records("seq >= ?1 ORDER BY seq LIMIT ?2", [seq, most])
    }

    /// How a session was opened; None where it never was.
    ///
    /// # Errors
    ///
    /// As for [`session`](Self::session).
    pub fn opening(&self, id: &SessionId) -> Result<Option<Record>, EvidenceError> {
        let which =
            "session = (SELECT id FROM session WHERE session = ?1) AND event = 'session_opened' ORDER BY seq LIMIT 1";
        Ok(self.records(which, [id.as_str()])?.pop().map(|stored| stored.record))
    }

    fn records(&self, which: &str, values: impl rusqlite::Params) -> Result<Vec<StoredRecord>, EvidenceError> {
        let query = format!("SELECT seq, segment, at, size FROM record WHERE {which}");
        let places = self.query(&query, values, |row| place(row, 0))?;
        places.into_iter().map(|place| self.read(place)).collect()
    }

    fn query<T>(
        &self,
        query: &str,
        values: impl rusqlite::Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, EvidenceError> {
        let mut statement = self.index.connection().prepare(query).map_err(failed)?;
        let rows = statement.query_map(values, row).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// The record at a place.
    fn read(&self, place: Place) -> Result<StoredRecord, EvidenceError> {
        let Place { seq, segment, at, size } = place;
        let failed = |reason: String| EvidenceError::Read(format!("record {seq} is not readable: {reason}"));
        let mut segments = self.segments.borrow_mut();
        let file = match segments.entry(segment) {
            std::collections::hash_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let file = File::open(self.folder.segment(segment));
                vacant.insert(file.map_err(|error| failed(error.to_string()))?)
            }
        };
        let length = file.metadata().map_err(|error| failed(error.to_string()))?.len();
        // No more than the file has, whatever the index says.
        let mut frame = vec![0; usize::try_from(size.min(length)).unwrap_or(0)];
        file.read_exact_at(&mut frame, at).map_err(|error| failed(error.to_string()))?;
        let Parsed::Frame(frame) = parse(&frame) else {
            return Err(failed("the index names another place".to_owned()));
        };
        if !frame.is_intact() {
            return Err(failed("its hash is another one; `sluice evidence verify` says more".to_owned()));
        }
        let record = serde_json::from_slice(frame.record).map_err(|error| failed(error.to_string()))?;
        Ok(StoredRecord { seq, record })
    }
}

fn place(row: &Row<'_>, from: usize) -> rusqlite::Result<Place> {
    let column = |at: usize| row.get(from + at).map(count);
    Ok(Place { seq: column(0)?, segment: column(1)?, at: column(2)?, size: column(3)? })
}
