//! A session that is open: an identity on a connection, and the rules that hold for it.

use crate::protocol::mcp::message::Id;
use crate::session::Session;
use crate::upstream::stdio::Child;
use sluice_dsl::{Policy, SessionFacts, SessionPolicy};
use sluice_engine::RuleSet;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// A session with what this protocol adds to it.
pub(crate) struct Open {
    pub(crate) session: Arc<Session>,
    /// The child process of a stdio upstream.
    pub(crate) child: Option<Arc<Child>>,
    facts: SessionFacts,
    specialised: Mutex<HashMap<Option<String>, SessionPolicy>>,
    /// All response rules that any request of this session selected: they hold for what answers no request.
    general: Mutex<RuleSet>,
    active: AtomicU64,
    /// The client shows links of the server to its user (elicitation in the mode `url`, revision 2025-11-25).
    pub(crate) elicits: bool,
    /// Requests that wait for an approval, by the key of their id.
    waiting: Mutex<HashMap<String, CancellationToken>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("session", &self.session.id).finish_non_exhaustive()
    }
}

impl std::ops::Deref for Open {
    type Target = Session;
    fn deref(&self) -> &Session {
        &self.session
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Different purposes a session may state before their specialisations are made anew.
const MAX_PURPOSES: usize = 64;

impl Open {
    /// A session and its child. `client` and `ip` are those it was opened with.
    pub(crate) fn new(
        session: Arc<Session>,
        child: Option<Arc<Child>>,
        client: Option<String>,
        ip: Option<String>,
        elicits: bool,
    ) -> Arc<Self> {
        let facts = SessionFacts {
            protocol: "mcp".to_owned(),
            target: session.connection.clone(),
            user_id: session.identity.user_id.clone(),
            user_email: session.identity.email.clone(),
            user_kind: session.identity.kind,
            user_groups: session.identity.groups.clone(),
            purpose: session.purpose.as_ref().map(ToString::to_string),
            client,
            ip,
        };
        Arc::new(Self {
            session,
            child,
            facts,
            specialised: Mutex::default(),
            general: Mutex::new(RuleSet::none()),
            active: AtomicU64::new(0),
            elicits,
            waiting: Mutex::default(),
        })
    }

    /// A request with this id waits for an approval until the guard is dropped.
    pub(crate) fn waits(self: &Arc<Self>, id: &Id) -> Waits {
        let cancelled = CancellationToken::new();
        lock(&self.waiting).insert(id.key().to_owned(), cancelled.clone());
        Waits { session: Arc::clone(self), key: id.key().to_owned(), cancelled }
    }

    /// Cancels the request that waits under this key of an id; false where none does.
    pub(crate) fn cancel(&self, key: &str) -> bool {
        let found = lock(&self.waiting).get(key).cloned();
        found.inspect(CancellationToken::cancel).is_some()
    }

    /// The purpose it was opened with.
    pub(crate) fn stated(&self) -> Option<String> {
        self.facts.purpose.clone()
    }

    /// The rules for a purpose.
    pub(crate) fn policy_for(&self, purpose: Option<&str>) -> SessionPolicy {
        let purpose = purpose.map(str::to_owned);
        let mut specialised = lock(&self.specialised);
        if let Some(policy) = specialised.get(&purpose) {
            return policy.clone();
        }
        if specialised.len() >= MAX_PURPOSES {
            specialised.clear();
        }
        let policy = if purpose == self.facts.purpose {
            self.session.policy.clone()
        } else {
            self.rules().specialise(&SessionFacts { purpose: purpose.clone(), ..self.facts.clone() })
        };
        specialised.insert(purpose, policy.clone());
        policy
    }

    /// The policy in force since the session opened.
    pub(crate) fn rules(&self) -> &Policy {
        self.session.policy.policy()
    }

    /// Adds rules to a set.
    pub(crate) fn add(&self, set: &mut RuleSet, rules: &RuleSet) {
        self.rules().program().rules().filter(|rule| rules.contains(*rule)).for_each(|rule| set.insert(rule));
    }

    /// Adds response rules that a request selected to those for what answers no request.
    pub(crate) fn widen(&self, rules: &RuleSet) {
        self.add(&mut lock(&self.general), rules);
    }

    /// These rules, and those that any request of this session selected so far: for what answers no request, since it
    /// may speak of any of them.
    pub(crate) fn general(&self, rules: &RuleSet) -> RuleSet {
        let mut all = lock(&self.general).clone();
        self.add(&mut all, rules);
        all
    }

    /// Counts an exchange as running until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Running {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.session.touch();
        Running(Arc::clone(self))
    }

    /// True where an exchange is running: then the session isn't idle, however long it takes.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }
}

/// A request that waits for an approval.
pub(crate) struct Waits {
    session: Arc<Open>,
    key: String,
    pub(crate) cancelled: CancellationToken,
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.session.waiting).remove(&self.key);
    }
}

/// An exchange that is running.
pub(crate) struct Running(Arc<Open>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.session.touch();
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
