//! Sessions: an identity and a connection, bound to the rules that hold while they last.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sluice_dsl::{Policy, SessionFacts, SessionPolicy};
use tokio_util::sync::CancellationToken;

use crate::{
    authorisation::{Access, Asking, Stated},
    config::ConnectionConfig,
    evidence::{Event, Evidence, EvidenceError, Record, SessionId},
    identity::{Actor, Identity, UserKind},
};

mod admission;
mod confirm;
mod purpose;
#[cfg(test)]
mod tests;

pub use admission::Attempt;
pub(crate) use admission::may;
pub use confirm::{Confirm, NotConfirmed};
pub use purpose::{PURPOSE_HEADER, PURPOSE_META, Purpose, PurposeError};

/// Live sessions at most; more are refused.
pub const MAX_SESSIONS: usize = 20_000;
/// Why a session that isn't allowed at this time has ended, as the record has it.
const OUTSIDE: &str = "outside of its allowed times";

/// Why a session can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The identity may not open the connection, or not now. Answer 403.
    #[error("not allowed to open this connection")]
    Forbidden,
    /// The connection wants a purpose and none was stated. Tell the client how to state one.
    #[error("this connection requires a purpose: {}", Self::how_to_state())]
    PurposeRequired,
    /// The stated purpose is none that is accepted. Tell the client which ones are.
    #[error("this purpose is not accepted; accepted is {accepted}: {}", Self::how_to_state())]
    PurposeRefused {
        /// The purposes that are, in words.
        accepted: String,
    },
    /// There is no such session, or it is somebody else's: the answer is the same. Answer 404.
    #[error("no such session")]
    Unknown,
    /// Too many sessions are live. Answer 503.
    #[error("too many sessions")]
    Full,
    /// The gateway is shutting down. Answer 503.
    #[error("the gateway is shutting down")]
    Draining,
    /// The opening could not be recorded, so it did not happen. Answer 503.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Who.
    pub identity: Identity,
    /// The connection's name.
    pub connection: String,
    /// What for.
    pub purpose: Option<Purpose>,
    /// The client program by its own word; never trusted for more than a record.
    pub client: Option<String>,
    /// The peer's address.
    pub ip: Option<String>,
    /// `mcp`, …
    pub protocol: String,
}

/// A live session.
#[derive(Debug)]
pub struct Session {
    /// Its identifier. No credential: every use is checked against the identity.
    pub id: SessionId,
    /// Who opened it.
    pub identity: Identity,
    /// The connection's name.
    pub connection: String,
    /// What for.
    pub purpose: Option<Purpose>,
    /// The rules that hold, specialised once.
    pub policy: SessionPolicy,
    /// The digest of the rules in force when it was opened.
    pub rules_digest: String,
    /// Cancelled when the session is closed: tasks that serve it end.
    pub closed: CancellationToken,
    idle: Duration,
    /// When it is over whatever happens in it.
    ends: Option<Instant>,
    /// What let it in; None where time alone can't end that.
    access: Option<Access>,
    /// Requests state their own purposes.
    purpose_later: bool,
    exchanges: AtomicU64,
    last_use: Mutex<Instant>,
    key: Option<ImplicitKey>,
}

impl Session {
    /// The number of the next exchange, from 1.
    pub fn next_exchange(&self) -> u64 {
        self.exchanges.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that the session is in use.
    pub fn touch(&self) {
        *lock(&self.last_use) = Instant::now();
    }

    /// How long nothing has happened.
    #[must_use]
    pub fn quiet_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*lock(&self.last_use))
    }

    /// Whether nothing happened for longer than the connection's idle time.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.quiet_for(now) >= self.idle
    }

    /// Whether it has lasted as long as the connection lets a session last.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }

    /// Whether the connection would let nobody in for this at this time.
    #[must_use]
    pub fn is_outside(&self, at: Timestamp) -> bool {
        let purpose = self.purpose.as_ref().map(Purpose::as_str);
        let purpose = if self.purpose_later { Stated::Later } else { Stated::Known(purpose) };
        let asking = Asking { identity: &self.identity, purpose, at };
        self.access.as_ref().is_some_and(|access| !access.still_holds(asking))
    }
}

/// What makes two requests of a protocol without sessions belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ImplicitKey {
    issuer: String,
    subject: String,
    actors: Vec<Actor>,
    kind: UserKind,
    groups: Vec<String>,
    roles: Vec<String>,
    connection: String,
    purpose: Option<Purpose>,
    client: Option<String>,
    ip: Option<String>,
    digest: String,
}

#[derive(Debug, Default)]
struct Table {
    live: HashMap<SessionId, Arc<Session>>,
    implicit: HashMap<ImplicitKey, SessionId>,
    draining: bool,
}

/// The live sessions.
#[derive(Debug)]
pub struct Sessions {
    table: Mutex<Table>,
    evidence: Evidence,
    /// Serialises the opening of implicit sessions, so that two first requests at once open one.
    opening: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// No sessions yet; openings and closings are recorded in `evidence`.
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self { table: Mutex::default(), evidence, opening: tokio::sync::Mutex::default() }
    }

    /// Opens a session: checks that the identity may, specialises the rules, records the opening.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] but `Unknown`; then there is no session.
    pub async fn open(
        &self,
        new: NewSession,
        config: &ConnectionConfig,
        policy: &Policy,
    ) -> Result<Arc<Session>, SessionError> {
        self.open_with(new, config, policy, None).await
    }

    /// The session of a protocol that has none (MCP since 2026-07-28): requests of the same subject, groups, connection,
    /// purpose, client and address under the same rules share one until it is idle.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn implicit(
        &self,
        new: NewSession,
        config: &ConnectionConfig,
        policy: &Policy,
    ) -> Result<Arc<Session>, SessionError> {
        let key = ImplicitKey {
            issuer: new.identity.issuer.clone(),
            subject: new.identity.subject.clone(),
            actors: new.identity.actors.clone(),
            kind: new.identity.kind,
            groups: new.identity.groups.clone(),
            roles: new.identity.roles.clone(),
            connection: new.connection.clone(),
            purpose: new.purpose.clone(),
            client: new.client.clone(),
            ip: new.ip.clone(),
            digest: policy.digest().to_owned(),
        };
        let _one_at_a_time = self.opening.lock().await;
        let found = {
            let table = lock(&self.table);
            table.implicit.get(&key).and_then(|id| table.live.get(id)).cloned()
        };
        if let Some(session) = found {
            session.touch();
            return Ok(session);
        }
        self.open_with(new, config, policy, Some(key)).await
    }

    async fn open_with(
        &self,
        new: NewSession,
        config: &ConnectionConfig,
        policy: &Policy,
        key: Option<ImplicitKey>,
    ) -> Result<Arc<Session>, SessionError> {
        let purpose = new.purpose.as_ref().map(|purpose| purpose.as_str().to_owned());
        let stated = config.stated(purpose.as_deref());
        self.admit(Attempt {
            identity: &new.identity,
            connection: &new.connection,
            config,
            purpose: stated,
            client: new.client.as_deref(),
            ip: new.ip.as_deref(),
        })
        .await?;
        self.check_room()?;
        let facts = SessionFacts {
            protocol: new.protocol.clone(),
            target: new.connection.clone(),
            user_id: new.identity.user_id.clone(),
            user_email: new.identity.email.clone(),
            user_kind: new.identity.kind,
            user_groups: new.identity.groups.clone(),
            purpose: purpose.clone(),
            client: new.client.clone(),
            ip: new.ip.clone(),
        };
        let session = Arc::new(Session {
            id: SessionId::generate(),
            policy: policy.specialise(&facts),
            rules_digest: policy.digest().to_owned(),
            connection: new.connection.clone(),
            purpose: new.purpose,
            closed: CancellationToken::new(),
            idle: config.idle,
            ends: config.lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime)),
            access: config.access.depends_on_time().then(|| config.access.clone()),
            purpose_later: stated == Stated::Later,
            exchanges: AtomicU64::new(0),
            last_use: Mutex::new(Instant::now()),
            key: key.clone(),
            identity: new.identity.clone(),
        });
        let event = Event::SessionOpened {
            user: new.identity.user_id.clone(),
            email: new.identity.email.clone(),
            kind: new.identity.kind.name().to_owned(),
            groups: new.identity.groups.clone(),
            roles: new.identity.roles.clone(),
            actors: new.identity.actors.clone(),
            token_id: new.identity.token_id.clone(),
            issuer: new.identity.issuer.clone(),
            subject: new.identity.subject.clone(),
            connection: new.connection,
            purpose,
            client: new.client,
            ip: new.ip,
            protocol: new.protocol,
            rules_digest: session.rules_digest.clone(),
        };
        self.evidence.append(Record::now(session.id.clone(), event)).await?;
        let draining = {
            let mut table = lock(&self.table);
            if !table.draining {
                if let Some(key) = key {
                    table.implicit.insert(key, session.id.clone());
                }
                table.live.insert(session.id.clone(), Arc::clone(&session));
            }
            table.draining
        };
        if draining {
            self.record_close(&session, "shutdown").await?;
            return Err(SessionError::Draining);
        }
        Ok(session)
    }

    /// The session `id` of `connection`, if it is live and `identity`'s. A subject whose groups changed since it was opened
    /// gets [`SessionError::Unknown`], and the session is closed: its rules would be those of the old groups.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unknown`] for a foreign, expired or unknown identifier alike.
    pub async fn find(
        &self,
        id: &SessionId,
        identity: &Identity,
        connection: &str,
    ) -> Result<Arc<Session>, SessionError> {
        let session = lock(&self.table).live.get(id).cloned().ok_or(SessionError::Unknown)?;
        if !session.identity.is_same_subject(identity) || session.connection != connection {
            return Err(SessionError::Unknown);
        }
        if !session.identity.is_unchanged(identity) {
            self.close(id, "identity changed").await?;
            return Err(SessionError::Unknown);
        }
        if session.is_idle(Instant::now()) {
            self.close(id, "idle").await?;
            return Err(SessionError::Unknown);
        }
        if session.is_over(Instant::now()) {
            self.close(id, "lifetime").await?;
            return Err(SessionError::Unknown);
        }
        if session.is_outside(Timestamp::now()) {
            self.close(id, OUTSIDE).await?;
            return Err(SessionError::Unknown);
        }
        session.touch();
        Ok(session)
    }

    /// Ends a session and records why; false, and nothing happens, when it is not live.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] when the end could not be recorded; the session is over all the same.
    pub async fn close(&self, id: &SessionId, reason: &str) -> Result<bool, EvidenceError> {
        let session = {
            let mut table = lock(&self.table);
            let session = table.live.remove(id);
            if let Some(key) = session.as_ref().and_then(|session| session.key.as_ref()) {
                table.implicit.remove(key);
            }
            session
        };
        match session {
            Some(session) => self.record_close(&session, reason).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn record_close(&self, session: &Session, reason: &str) -> Result<(), EvidenceError> {
        session.closed.cancel();
        let event = Event::SessionClosed { reason: reason.to_owned() };
        self.evidence.append(Record::now(session.id.clone(), event)).await.map(drop)
    }

    /// Closes the sessions that are idle at `now`, or have lasted as long as they may; returns how many.
    pub async fn expire(&self, now: Instant) -> usize {
        let idle = self.close_all(&self.which(|session| session.is_idle(now)), "idle").await;
        idle + self.close_all(&self.which(|session| session.is_over(now)), "lifetime").await
    }

    /// Closes the sessions that would not be let in at this time; returns how many.
    pub async fn close_outside(&self, at: Timestamp) -> usize {
        self.close_all(&self.which(|session| session.is_outside(at)), OUTSIDE).await
    }

    /// Closes the sessions of these identities; returns how many.
    pub async fn close_where(&self, ends: impl Fn(&Identity) -> bool, reason: &str) -> usize {
        self.close_all(&self.which(|session| ends(&session.identity)), reason).await
    }

    fn which(&self, meant: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        lock(&self.table).live.values().filter(|session| meant(session)).map(|session| session.id.clone()).collect()
    }

    /// Refuses new sessions from now on and closes all with `reason`; returns how many.
    pub async fn drain(&self, reason: &str) -> usize {
        let all: Vec<SessionId> = {
            let mut table = lock(&self.table);
            table.draining = true;
            table.live.keys().cloned().collect()
        };
        self.close_all(&all, reason).await
    }

    async fn close_all(&self, ids: &[SessionId], reason: &str) -> usize {
        // Together, so that the store makes them durable together.
        let results = futures_util::future::join_all(ids.iter().map(|id| self.close(id, reason))).await;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            tracing::error!(%error, reason, "the end of a session is not on record");
        }
        ids.len()
    }

    /// The live sessions, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = lock(&self.table).live.values().cloned().collect();
        // Identifiers sort by time.
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// Whether a session of this identifier is live, whoever's it is.
    #[must_use]
    pub fn is_live(&self, id: &SessionId) -> bool {
        lock(&self.table).live.contains_key(id)
    }

    /// How many sessions are live.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.table).live.len()
    }

    /// Whether none is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check_room(&self) -> Result<(), SessionError> {
        let table = lock(&self.table);
        if table.draining {
            return Err(SessionError::Draining);
        }
        if table.live.len() >= MAX_SESSIONS {
            return Err(SessionError::Full);
        }
        Ok(())
    }
}

/// The tables hold no invariant across a panic that a later holder could trip over: every change is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
