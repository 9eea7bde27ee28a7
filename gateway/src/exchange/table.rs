//! The open sessions: by the id the client carries, or by who and where for clients that carry none.

use super::Open;
use crate::identity::{Actor, Identity};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A session id with the connection it belongs to: two upstreams may give the same id.
type Carried = (String, String);
/// Connection, issuer, subject, who acts for it, groups and purpose: what the rules of a session depend on.
type Implied = (String, String, String, Vec<Actor>, Vec<String>, Option<String>);

/// The open sessions of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sessions: Mutex<Sessions>,
    /// Held while an implied session is opened, so that it is opened once.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sessions {
    carried: HashMap<Carried, Arc<Open>>,
    implied: HashMap<Implied, Arc<Open>>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session with this id; None where it is unknown, closed, or another identity's.
    pub(crate) fn carried(&self, connection: &str, id: &str, identity: &Identity) -> Option<Arc<Open>> {
        let found = self.lock().carried.get(&(connection.to_owned(), id.to_owned())).cloned()?;
        found.touch();
        let same = found.identity.is_unchanged(identity);
        (same && !found.closed.is_cancelled()).then_some(found)
    }

    pub(crate) fn carry(&self, connection: &str, id: &str, session: &Arc<Open>) {
        self.lock().carried.insert((connection.to_owned(), id.to_owned()), Arc::clone(session));
    }

    pub(crate) fn implied(&self, connection: &str, identity: &Identity, purpose: Option<&str>) -> Option<Arc<Open>> {
        let found = self.lock().implied.get(&implied_key(connection, identity, purpose)).cloned();
        found.filter(|session| !session.closed.is_cancelled() && session.identity.is_unchanged(identity))
    }

    pub(crate) fn imply(&self, session: &Arc<Open>) {
        let key = implied_key(&session.connection, &session.identity, session.stated().as_deref());
        self.lock().implied.insert(key, Arc::clone(session));
    }

    pub(crate) fn forget(&self, session: &Arc<Open>) {
        let mut sessions = self.lock();
        sessions.carried.retain(|_, other| !Arc::ptr_eq(other, session));
        sessions.implied.retain(|_, other| !Arc::ptr_eq(other, session));
    }

    /// Marks the sessions in which something runs as used.
    pub(crate) fn touch_active(&self) {
        let sessions = self.lock();
        sessions
            .carried
            .values()
            .chain(sessions.implied.values())
            .filter(|open| open.is_active())
            .for_each(|open| open.touch());
    }
}

fn implied_key(connection: &str, identity: &Identity, purpose: Option<&str>) -> Implied {
    (
        connection.to_owned(),
        identity.issuer.clone(),
        identity.subject.clone(),
        identity.actors.clone(),
        identity.groups.clone(),
        purpose.map(str::to_owned),
    )
}
