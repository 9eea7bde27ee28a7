//! The records that a destination has not got, with what is known of their sessions.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::ocsf;
use crate::evidence::{Event, Evidence, EvidenceError, Reader, Record, SessionId, StoredRecord};

/// Records that are sent at once at most, and the bytes of their events after which there are no more.
const BATCH: usize = 500;
const BYTES: usize = 1024 * 1024;
/// Records that are read at once.
const PORTION: usize = 25;
/// Sessions that are remembered.
const SESSIONS: usize = 4096;

/// Reads records in their order.
pub(super) struct Feed {
    evidence: Evidence,
    store: PathBuf,
    commands: bool,
    reader: Option<Reader>,
    /// How sessions were opened; None of one that never was.
    sessions: HashMap<SessionId, Option<Record>>,
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
            let (mut events, mut bytes, commands) = (Vec::new(), 0, feed.commands);
            while events.len() < BATCH && bytes < BYTES {
                // Not all at once: a record may be long where its event is short.
                let portion = reader.from(next + events.len() as u64, PORTION)?;
                let count = events.len();
                for stored in portion.into_iter().take_while(|stored| stored.seq < size) {
                    let event = ocsf::event(&stored, feed.opened(reader, &stored)?, commands);
                    bytes += event.text.len();
                    events.push(event);
                }
                if events.len() == count {
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

    /// How the session of a record was opened.
    fn opened(&mut self, reader: &Reader, stored: &StoredRecord) -> Result<Option<&Record>, EvidenceError> {
        let Record { session, event, .. } = &stored.record;
        let opens = matches!(event, Event::SessionOpened { .. });
        if opens || !self.sessions.contains_key(session) {
            // It may have been opened before this began.
            let opening = if opens { Some(stored.record.clone()) } else { reader.opening(session)? };
            if self.sessions.len() >= SESSIONS {
                self.sessions.clear();
            }
            self.sessions.insert(session.clone(), opening);
        }
        Ok(self.sessions.get(session).and_then(Option::as_ref))
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
