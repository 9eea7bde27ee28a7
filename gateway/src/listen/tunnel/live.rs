//! The sessions that tokens and certificates hold open: each lasts as long as what holds it counts, and a newer token makes it last
//! longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sluice_client::wire::{Code, Token};
use tokio_util::sync::CancellationToken;

use crate::{gateway::Gateway, identity::Identity, listen::handshake::Certified};

/// How often it is looked for tokens that have expired: they count for no second longer.
const SWEEP: Duration = Duration::from_millis(250);
/// How often tokens are checked anew where nothing says that the issuer's keys have changed.
const RECHECK: Duration = Duration::from_secs(60);

/// What says who asks.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// A token, which a newer one may follow.
    Token(Token),
    /// The certificate of the connection.
    Certificate(Arc<Certified>),
}

/// A session and what holds it.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) identity: Identity,
    pub(super) connection: String,
    /// The identifier that the client knows it by.
    pub(super) session: String,
    /// The connection of QUIC or TCP that it came by.
    pub(super) link: u64,
    held: Mutex<Held>,
    lost: CancellationToken,
    why: OnceLock<Code>,
}

#[derive(Debug)]
struct Held {
    credential: Credential,
    expires: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many seconds there are until then, none where it is past.
pub(super) fn seconds_until(expires: Timestamp) -> u32 {
    let seconds = expires.as_second().saturating_sub(Timestamp::now().as_second());
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

impl Holder {
    pub(super) fn new(
        identity: Identity,
        connection: &str,
        session: String,
        link: u64,
        credential: Credential,
    ) -> Arc<Self> {
        let held = Mutex::new(Held { credential, expires: identity.expires });
        let (lost, why) = (CancellationToken::new(), OnceLock::new());
        Arc::new(Self { identity, connection: connection.to_owned(), session, link, held, lost, why })
    }

    /// What counts now.
    pub(super) fn credential(&self) -> Credential {
        lock(&self.held).credential.clone()
    }

    /// Resolves when that counts no longer, or the identity is another one; says why.
    pub(super) async fn lost(&self) -> Code {
        self.lost.cancelled().await;
        self.why.get().copied().unwrap_or(Code::Expired)
    }

    fn lose(&self, code: Code) {
        let _ = self.why.set(code);
        self.lost.cancel();
    }
}

/// All sessions that came by the agents' protocol.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<HashMap<String, Arc<Holder>>>);

/// A session that is in the table until this is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    live: Arc<Live>,
    session: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        lock(&self.live.0).remove(&self.session);
    }
}

/// Why a newer token holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRenewed {
    /// The identity has no such session.
    None,
    /// The identity's groups or name are others now: the session, whose rules were made for the old ones, is over.
    Changed,
}

impl Live {
    pub(super) fn enter(self: &Arc<Self>, holder: &Arc<Holder>) -> Entered {
        lock(&self.0).insert(holder.session.clone(), Arc::clone(holder));
        Entered { live: Arc::clone(self), session: holder.session.clone() }
    }

    /// Lets a newer token hold the sessions of its identity on a connection: `session`, or those that came by `link`.
    pub(super) fn renew(
        &self,
        identity: &Identity,
        newer: &Credential,
        connection: &str,
        session: Option<&str>,
        link: u64,
    ) -> Result<(), NotRenewed> {
        let meant: Vec<Arc<Holder>> = {
            let live = lock(&self.0);
            let is_meant = |holder: &&Arc<Holder>| {
                let named = session.map_or(holder.link == link, |session| holder.session == session);
                named && holder.connection == connection && holder.identity.is_same_subject(identity)
            };
            live.values().filter(is_meant).cloned().collect()
        };
        if meant.is_empty() {
            return Err(NotRenewed::None);
        }
        let mut done = Ok(());
        for holder in meant {
            if !holder.identity.is_unchanged(identity) {
                holder.lose(Code::Ended);
                done = Err(NotRenewed::Changed);
            } else {
                *lock(&holder.held) = Held { credential: newer.clone(), expires: identity.expires };
            }
        }
        done
    }

    /// Ends the sessions of what counts no longer, until it is dropped.
    pub(super) async fn watch(&self, gateway: &Gateway) {
        // Apart: an issuer that is slow to answer keeps no expired token alive.
        tokio::join!(self.expire(), self.recheck(gateway));
    }

    fn all(&self) -> Vec<Arc<Holder>> {
        lock(&self.0).values().cloned().collect()
    }

    async fn expire(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Timestamp::now();
            let expired = self.all().into_iter().filter(|holder| lock(&holder.held).expires <= now);
            expired.for_each(|holder| holder.lose(Code::Expired));
        }
    }

    async fn recheck(&self, gateway: &Gateway) {
        let (mut keys, mut checked) = (gateway.authenticator.keys(), Instant::now());
        loop {
            tokio::time::sleep(SWEEP).await;
            let current = gateway.authenticator.keys();
            if keys != current || checked.elapsed() >= RECHECK {
                (keys, checked) = (current, Instant::now());
                for holder in self.all() {
                    check(gateway, &holder).await;
                }
            }
        }
    }
}

/// Checks a token as if it came now: its issuer may have taken the key back. A certificate that was shown holds what is under way,
/// unless the deny list names it.
async fn check(gateway: &Gateway, holder: &Holder) {
    let checked = match holder.credential() {
        Credential::Certificate(certified) => certified.held(&gateway.authenticator),
        Credential::Token(token) => {
            let audience = gateway.audience(&holder.connection);
            let checked = gateway.authenticator.authenticate(Some(token.as_str()), &audience).await;
            if !matches!(holder.credential(), Credential::Token(now) if now == token) {
                return;
            }
            checked
        }
    };
    if let Err(reason) = checked {
        tracing::info!(session = holder.session, %reason, "what holds a session counts no longer");
        holder.lose(Code::Expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UserKind;

    fn identity(subject: &str, groups: &[&str]) -> Identity {
        Identity {
            issuer: "https://login.example.org".to_owned(),
            subject: subject.to_owned(),
            user_id: subject.to_owned(),
            email: None,
            kind: UserKind::Service,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            roles: Vec::new(),
            actors: Vec::new(),
            token_id: None,
            expires: Timestamp::now(),
        }
    }

    fn token(text: &str) -> Credential {
        Credential::Token(Token::new(text).unwrap())
    }

    fn text(holder: &Holder) -> String {
        let Credential::Token(token) = holder.credential() else { panic!("a token holds it") };
        token.as_str().to_owned()
    }

    #[tokio::test]
    async fn a_newer_token_holds_the_sessions_of_its_identity_and_connection_alone() {
        let live = Arc::new(Live::default());
        let holder = |user: &str, connection: &str, session: &str, link| {
            Holder::new(identity(user, &["ops"]), connection, session.to_owned(), link, token("old"))
        };
        let holders = [
            holder("ada", "db", "1", 7),
            holder("ada", "db", "2", 8),
            holder("ada", "mq", "3", 7),
            holder("bob", "db", "4", 7),
        ];
        let entered: Vec<Entered> = holders.iter().map(|holder| live.enter(holder)).collect();
        let tokens = || holders.each_ref().map(|holder| text(holder));

        assert_eq!(live.renew(&identity("ada", &["ops"]), &token("new"), "db", None, 7), Ok(()));
        assert_eq!(tokens(), ["new", "old", "old", "old"]);
        assert_eq!(live.renew(&identity("ada", &["ops"]), &token("newer"), "db", Some("2"), 9), Ok(()));
        assert_eq!(tokens(), ["new", "newer", "old", "old"]);
        let foreign = live.renew(&identity("ada", &["ops"]), &token("newer"), "db", Some("4"), 7);
        assert_eq!(foreign, Err(NotRenewed::None), "somebody else's session is none");

        let changed = live.renew(&identity("bob", &["admins"]), &token("new"), "db", None, 7);
        assert_eq!(changed, Err(NotRenewed::Changed));
        assert_eq!(holders[3].lost().await, Code::Ended);
        drop(entered);
        assert_eq!(live.renew(&identity("ada", &["ops"]), &token("new"), "db", None, 7), Err(NotRenewed::None));
    }
}
