//! The records that a destination has not got, with what is known of their sessions.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::ocsf;
use crate::evidence::{Event, Evidence, EvidenceError, Reader, Record, SessionId, StoredRecord};

/// Records that are sent at once at most, and the bytes of their events after which there are no more.
const BATCH: usize = 500;
const BYTES: usize = 1024 * 1024;
/// Sessions that are remembered.
const SESSIONS: usize = 4096;

/// What is known of a session from its first record.
#[derive(Clone, Debug)]
pub(crate) struct Opened(pub(super) Option<Record>);

/// Reads records in their order.
pub(super) struct Feed {
    evidence: Evidence,
    store: PathBuf,
    commands: bool,
    reader: Option<Reader>,
    sessions: HashMap<SessionId, Opened>,
}

impl Feed {
    pub(super) fn new(evidence: Evidence, store: PathBuf, commands: bool) -> Self {
        Self { evidence, store, commands, reader: None, sessions: HashMap::new() }
    }

    /// How many records there are.
    pub(super) fn size(&self) -> u64 {
        self.evidence.size()
    }

    /// The records from this number on, and the number after the last of them; None where there is none yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(super) async fn from(&mut self, next: u64) -> Result<Option<(u64, Vec<ocsf::Event>)>, String> {
        // What isn't durable yet may never have been.
        let size = self.size();
        if size <= next {
            return Ok(None);
        }
        let read = self.reading(move |feed, reader| {
            let (mut events, mut bytes) = (Vec::new(), 0);
            for stored in reader.from(next, BATCH)?.into_iter().take_while(|stored| stored.seq < size) {
                let opened = feed.opened(reader, &stored)?;
                let event = ocsf::event(&stored, &opened, feed.commands);
                bytes += event.text.len();
                events.push(event);
                if bytes >= BYTES {
                    break;
                }
            }
            Ok(events)
        });
        let events = read.await?;
        let Some(last) = events.last() else {
            // The next reader finds what is new.
            self.reader = None;
            return Ok(None);
        };
        Ok(Some((last.seq + 1, events)))
    }

    fn opened(&mut self, reader: &Reader, stored: &StoredRecord) -> Result<Opened, EvidenceError> {
        let session = &stored.record.session;
        if let Event::SessionOpened { .. } = &stored.record.event {
            self.keep(session.clone(), Opened(Some(stored.record.clone())));
        }
        if let Some(opened) = self.sessions.get(session) {
            return Ok(opened.clone());
        }
        // One that was opened before this began, or never.
        let opened = Opened(reader.opening(session)?);
        self.keep(session.clone(), opened.clone());
        Ok(opened)
    }

    fn keep(&mut self, session: SessionId, opened: Opened) {
        if self.sessions.len() >= SESSIONS {
            self.sessions.clear();
        }
        self.sessions.insert(session, opened);
    }

    /// Does what waits for the disk on a thread that may.
    async fn reading<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Self, &Reader) -> Result<T, EvidenceError> + Send + 'static,
    ) -> Result<T, String> {
        let empty = Self::new(self.evidence.clone(), self.store.clone(), self.commands);
        let mut own = std::mem::replace(self, empty);
        let done = spawn_blocking(move || {
            let reader = match own.reader.take() {
                Some(reader) => reader,
                None => Reader::open(&own.store)?,
            };
            let done = act(&mut own, &reader);
            // A reader that has failed is opened anew.
            own.reader = done.is_ok().then_some(reader);
            done.map(|done| (own, done))
        });
        let (own, done) = done.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        *self = own;
        Ok(done)
    }
}
