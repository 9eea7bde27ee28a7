//! A request that was made, and where it stands.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use super::asked::{Asked, parties};
use super::machine::{Approver, Party, Refused, Request, State};
use super::ticket::Link;
use crate::evidence::SessionId;

/// A request that was made.
#[derive(Debug)]
pub struct Held {
    /// What is asked for.
    pub asked: Asked,
    /// When.
    pub at: Timestamp,
    pub(super) session: SessionId,
    pub(super) key: String,
    /// Held while a change is made durable, so that changes come one after the other.
    pub(super) request: tokio::sync::Mutex<Request>,
    seen: watch::Sender<Seen>,
    /// Those who have decided by a link, which counts once.
    linked: Mutex<Vec<String>>,
}

/// Where a request stands, for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub state: State,
    /// Those who have approved.
    pub approvers: Vec<Party>,
    /// How many more have to.
    pub missing: usize,
    /// Who went on without an approval.
    pub broken: Option<Party>,
    /// Since when it is over.
    pub(super) over: Option<Instant>,
}

impl Held {
    /// A request that nobody has decided about.
    pub(super) fn new(asked: Asked, at: Timestamp, session: SessionId, key: String, request: Request) -> Self {
        let seen = Seen {
            state: request.state(),
            approvers: Vec::new(),
            missing: request.missing(),
            broken: None,
            over: None,
        };
        let (seen, linked) = (watch::Sender::new(seen), Mutex::default());
        Self { asked, at, session, key, request: request.into(), seen, linked }
    }

    /// Where it stands.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Tells of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Whether this one may decide about it.
    ///
    /// # Errors
    /// Why not.
    pub async fn admits(&self, approver: &Approver) -> Result<(), Refused> {
        self.request.lock().await.admits(approver)
    }

    /// Whether this one has asked for it, or acts for whoever has.
    #[must_use]
    pub fn is_of(&self, party: &Party) -> bool {
        parties(&self.asked.requester, &self.asked.actors).iter().any(|known| known.may_be(party))
    }

    /// Whether whoever got a link has decided by it.
    #[must_use]
    pub fn is_spent(&self, link: &Link) -> bool {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).contains(&link.approver)
    }

    /// A link does what it is for; false where it has. It can be given back where nothing came of it.
    #[must_use]
    pub fn spend(&self, link: &Link) -> bool {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = !linked.contains(&link.approver);
        if fresh {
            linked.push(link.approver.clone());
        }
        fresh
    }

    /// Nothing came of the use of a link.
    pub fn give_back(&self, link: &Link) {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).retain(|spent| *spent != link.approver);
    }

    /// Shows where it stands now; false where that is nothing new.
    pub(super) fn show(&self, request: &Request) -> bool {
        let over = request.state().is_final().then(Instant::now);
        let (state, missing, approvers) = (request.state(), request.missing(), request.approvers().to_vec());
        let now = Seen { state, approvers, missing, broken: request.broken().cloned(), over };
        self.seen.send_if_modified(|seen| {
            let is_new = seen.state != now.state || seen.approvers != now.approvers || seen.broken != now.broken;
            if is_new {
                *seen = now;
            }
            is_new
        })
    }
}
