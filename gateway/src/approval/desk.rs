//! The requests for approval of a running gateway: each is on record before anybody can decide about it, and each decision before it
//! counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::asked::{Asked, Want, parties, party_of};
use super::command::{Command, digest};
use super::held::Held;
use super::machine::{Approver, Decision, Moment, Party, Refused, Request, State, Terms};
use super::ticket::{Link, Tickets};
use super::webhook::Outbox;
use crate::config::WebhookConfig;
use crate::evidence::{Event, Evidence, EvidenceError, Record, SessionId};
use crate::identity::DenyList;
use crate::session::Session;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Requests that are open at once; more are refused.
const MAX_OPEN: usize = 10_000;
/// Of these, those of one requester.
const MAX_OWN: usize = 100;
/// How long a request that is over can still be looked at here; the record keeps it.
const KEPT: Duration = Duration::from_secs(3600);
/// The longest justification, in characters.
const MAX_JUSTIFICATION: usize = 1_000;

/// Why something can't be asked for or decided.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Too many requests are open.
    #[error("too many requests for approval are open; wait until some are decided")]
    Full,
    /// There is no such request.
    #[error("there is no such request")]
    Unknown,
    /// What the approver was shown is not what is asked for.
    #[error("the hash is not that of the command: look at the request again")]
    Drift,
    /// A decision needs a reason.
    #[error("a decision needs a justification of 1 to {MAX_JUSTIFICATION} characters, without control characters")]
    Justification,
    /// The decision doesn't count.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It can't be recorded, so it did not happen.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// All requests of a gateway.
#[derive(Debug)]
pub struct Desk {
    evidence: Evidence,
    denied: Option<Arc<DenyList>>,
    began: Instant,
    table: Mutex<Table>,
    /// One request is made at a time, so that two equal commands make one.
    making: tokio::sync::Mutex<()>,
    tickets: Tickets,
    outboxes: Vec<Outbox>,
    /// Groups whose members may go on without an approval.
    glass: Vec<String>,
}

#[derive(Debug, Default)]
struct Table {
    all: HashMap<String, Arc<Held>>,
    open: HashMap<String, Arc<Held>>,
}

impl Desk {
    /// No requests yet; who is on the deny list has approved nothing.
    #[must_use]
    pub fn new(
        evidence: Evidence,
        denied: Option<Arc<DenyList>>,
        webhooks: &[WebhookConfig],
        glass: &[String],
    ) -> Self {
        let (table, making, tickets) = (Mutex::default(), tokio::sync::Mutex::default(), Tickets::new());
        let outboxes = webhooks.iter().cloned().map(Outbox::new).collect();
        Self { evidence, denied, began: Instant::now(), table, making, tickets, outboxes, glass: glass.to_vec() }
    }

    /// Closes what an earlier process left open on record: what it held is gone, and is not run.
    ///
    /// # Errors
    /// The record can't be read or written.
    pub async fn recover(&self) -> Result<(), EvidenceError> {
        let reading = self.evidence.clone();
        let left = tokio::task::spawn_blocking(move || reading.open_approvals()).await;
        let left = left.map_err(|error| EvidenceError::Read(error.to_string()))??;
        let void =
            |(session, approval)| Record::now(session, closed(approval, State::Void, "the gateway that held it ended"));
        let records: Vec<Record> = left.into_iter().map(void).collect();
        if records.is_empty() {
            return Ok(());
        }
        tracing::warn!(requests = records.len(), "requests for approval that were left open are void");
        self.evidence.append_all(records).await
    }

    /// Tells webhooks what happens, with links to `public`, the gateway's URL; never ends.
    pub async fn deliver(&self, public: &str) {
        futures_util::future::join_all(self.outboxes.iter().map(|outbox| outbox.deliver(self, public))).await;
        std::future::pending().await
    }

    /// A link by which this person may decide once.
    #[must_use]
    pub fn link(&self, held: &Held, approver: &str, groups: &[String]) -> String {
        let approval = held.asked.approval.clone();
        self.tickets.link(&Link { approval, approver: approver.to_owned(), groups: groups.to_vec() })
    }

    /// What a link is for, with its request; None where this gateway did not sign it, or the request ended long ago.
    #[must_use]
    pub fn of_link(&self, link: &str) -> Option<(Link, Arc<Held>)> {
        let link = self.tickets.read_link(link)?;
        let held = self.find(&link.approval)?;
        Some((link, held))
    }

    /// What a client carries back to say that its retry is for this request.
    #[must_use]
    pub fn ticket(&self, held: &Held) -> String {
        self.tickets.mint(&held.asked.approval)
    }

    /// The request that a ticket is for; None where this gateway did not sign it.
    #[must_use]
    pub fn of_ticket(&self, ticket: &str) -> Option<String> {
        self.tickets.read(ticket).map(str::to_owned)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is one insert or remove.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment { steady: self.began.elapsed(), wall: Timestamp::now() }
    }

    /// Whether nobody has asked for this yet.
    #[must_use]
    pub fn is_new(&self, session: &Session, purpose: Option<&str>, want: &Want, command: &Command) -> bool {
        !self.table().open.contains_key(&key(session, purpose, want, command))
    }

    /// The request for this command of this session: one that is open, or a new one, which is on record when this returns.
    ///
    /// # Errors
    /// [`DeskError::Full`], [`DeskError::Evidence`].
    pub async fn ask(
        &self,
        session: &Session,
        exchange: u64,
        purpose: Option<&str>,
        want: &Want,
        command: Command,
    ) -> Result<Arc<Held>, DeskError> {
        let key = key(session, purpose, want, &command);
        let _one_at_a_time = self.making.lock().await;
        let found = self.table().open.get(&key).cloned();
        if let Some(held) = found
            && !self.look(&held).await.is_final()
        {
            return Ok(held);
        }
        let requester = party_of(&session.identity);
        {
            let table = self.table();
            let own = table.open.values().filter(|held| held.asked.requester == requester).count();
            if table.open.len() >= MAX_OPEN || own >= MAX_OWN {
                return Err(DeskError::Full);
            }
        }
        let (now, actors) = (self.now(), session.identity.actors.clone());
        let deadline = now.after(want.ttl);
        let asked = Asked {
            approval: identifier(),
            exchange,
            connection: session.connection.clone(),
            protocol: command.protocol.to_owned(),
            purpose: purpose.map(str::to_owned),
            rule: want.rule.name.clone(),
            rule_id: want.rule.id.clone(),
            pack: want.rule.pack.clone(),
            message: want.rule.message.clone(),
            detail: want.detail.clone(),
            by: want.by.clone(),
            count: want.count,
            grant: want.grant.map(|grant| grant.as_secs()),
            method: command.method,
            name: command.name,
            command: command.text,
            facts: command.facts,
            hash: command.hash,
            rules_digest: session.rules_digest.clone(),
            expires: deadline.wall,
            requester,
            actors,
        };
        let event = Event::ApprovalRequested(Box::new(asked.clone()));
        self.evidence.append(Record { session: session.id.clone(), at: now.wall, event }).await?;
        let parties = parties(&asked.requester, &asked.actors);
        let request = Request::new(Terms {
            by: want.by.clone(),
            count: want.count,
            grant: want.grant,
            glass: self.glass.clone(),
            parties,
            deadline,
        });
        let held = Arc::new(Held::new(asked, now.wall, session.id.clone(), key.clone(), request));
        tracing::info!(approval = held.asked.approval, rule = held.asked.rule, "a command waits for an approval");
        {
            let mut table = self.table();
            table.all.insert(held.asked.approval.clone(), Arc::clone(&held));
            table.open.insert(key, Arc::clone(&held));
        }
        self.tell(&held);
        Ok(held)
    }

    /// The request of this identifier.
    #[must_use]
    pub fn find(&self, approval: &str) -> Option<Arc<Held>> {
        self.table().all.get(approval).cloned()
    }

    /// All requests that are open, and those that ended within an hour; the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Held>> {
        let mut all: Vec<_> = self.table().all.values().cloned().collect();
        all.sort_by(|one, other| (one.at, &one.asked.approval).cmp(&(other.at, &other.asked.approval)));
        all
    }

    /// Somebody decides. `hash` is that of the command that they were shown. A decision that doesn't count is on record as well.
    ///
    /// # Errors
    /// [`DeskError`]; the request is as it was, but that its time may have run out.
    pub async fn decide(
        &self,
        approval: &str,
        approver: &Approver,
        decision: Decision,
        justification: &str,
        hash: &str,
    ) -> Result<State, DeskError> {
        let held = self.find(approval).ok_or(DeskError::Unknown)?;
        let justification = justified(justification)?;
        if hash != held.asked.hash {
            return Err(DeskError::Drift);
        }
        let mut request = held.request.lock().await;
        self.expire(&held, &mut request).await?;
        let mut next = request.clone();
        let decided = next.decide(self.now(), approver, decision);
        let mut records = vec![Event::ApprovalDecided {
            approval: approval.to_owned(),
            approver: approver.party.clone(),
            groups: approver.groups.iter().filter(|group| held.asked.by.contains(group)).cloned().collect(),
            decision,
            justification: justification.to_owned(),
            refused: decided.err().map(|refused| refused.to_string()),
        }];
        if decided.is_ok() && next.state().is_final() {
            records.push(closed(approval.to_owned(), next.state(), "denied by an approver"));
        }
        self.record(&held, records).await?;
        let state = decided?;
        *request = next;
        self.changed(&held, &request);
        if decision == Decision::BreakGlass {
            let (user, connection) = (&approver.party.user, &held.asked.connection);
            tracing::error!(approval, user, connection, "THE GLASS WAS BROKEN: a command goes on without an approval");
        } else {
            tracing::info!(approval, state = state.name(), "an approver has decided");
        }
        Ok(state)
    }

    /// Commands that went on without an approval and that nobody has reviewed.
    ///
    /// # Errors
    /// The record can't be read.
    pub async fn unreviewed(&self) -> Result<Vec<Broken>, EvidenceError> {
        let reading = self.evidence.clone();
        let read = tokio::task::spawn_blocking(move || reading.unreviewed()).await;
        let read = read.map_err(|error| EvidenceError::Read(error.to_string()))??;
        let broken = read.into_iter().filter_map(|(asked, decided)| match (asked.event, decided.event) {
            (Event::ApprovalRequested(shown), Event::ApprovalDecided { approver, justification, .. }) => Some(Broken {
                asked: *shown,
                broken_by: approver,
                at: decided.at,
                justification,
                session: asked.session,
            }),
            _ => None,
        });
        Ok(broken.collect())
    }

    /// Somebody who could have approved it has looked at a command that went on without.
    ///
    /// # Errors
    /// [`DeskError`]; it is not reviewed then.
    pub async fn review(&self, approval: &str, reviewer: &Approver, justification: &str) -> Result<(), DeskError> {
        let justification = justified(justification)?;
        // One at a time, so that each is reviewed once.
        let _one_at_a_time = self.making.lock().await;
        let found = self.unreviewed().await?.into_iter().find(|broken| broken.asked.approval == approval);
        let Broken { asked, session, .. } = found.ok_or(DeskError::Unknown)?;
        let parties = parties(&asked.requester, &asked.actors);
        let terms =
            Terms { by: asked.by, count: asked.count, grant: None, glass: Vec::new(), parties, deadline: self.now() };
        Request::new(terms).admits(reviewer)?;
        let (approval, justification) = (approval.to_owned(), justification.to_owned());
        let event = Event::ApprovalReviewed { approval, reviewer: reviewer.party.clone(), justification };
        self.evidence.append(Record::now(session, event)).await?;
        Ok(())
    }

    /// The command is about to go upstream: true once, and on record, where enough approve. What was approved has to be in force still
    /// (`rules`: the digest of the rules).
    ///
    /// # Errors
    /// [`EvidenceError`]: the command must not go on.
    pub async fn take(&self, held: &Arc<Held>, rules: &str) -> Result<bool, EvidenceError> {
        if rules != held.asked.rules_digest {
            self.close(held, State::Void, "other rules are in force").await?;
            return Ok(false);
        }
        let mut request = held.request.lock().await;
        self.expire(held, &mut request).await?;
        let mut next = request.clone();
        let stands = |party: &Party| self.denied.as_ref().is_none_or(|list| list.stands(&party.issuer, &party.subject));
        let taken = next.take(self.now(), stands);
        // Where it goes on for a time, the record of each request names it.
        if taken && next.state().is_final() {
            self.record(held, vec![closed(held.asked.approval.clone(), State::Used, "the command goes upstream")])
                .await?;
        }
        *request = next;
        self.changed(held, &request);
        Ok(taken)
    }

    /// Ends a request without a decision.
    ///
    /// # Errors
    /// [`EvidenceError`]: it is as it was.
    pub async fn close(&self, held: &Arc<Held>, state: State, reason: &str) -> Result<(), EvidenceError> {
        let mut request = held.request.lock().await;
        self.expire(held, &mut request).await?;
        if request.state().is_final() {
            return Ok(());
        }
        let mut next = request.clone();
        let state = next.close(self.now(), state);
        self.record(held, vec![closed(held.asked.approval.clone(), state, reason)]).await?;
        *request = next;
        self.changed(held, &request);
        Ok(())
    }

    /// Ends what has run out of time, and forgets what ended long ago.
    pub async fn sweep(&self) {
        let all = self.table().all.values().cloned().collect::<Vec<_>>();
        for held in all {
            let state = self.look(&held).await;
            let requester = &held.asked.requester;
            let stands =
                self.denied.as_ref().is_none_or(|list| !list.names_subject(&requester.issuer, &requester.subject));
            if !state.is_final() && !stands {
                self.end(&held, State::Void, "the requester was revoked").await;
            }
            let seen = held.seen();
            if seen.over.is_some_and(|over| over.elapsed() > KEPT) {
                self.table().all.remove(&held.asked.approval);
            }
        }
    }

    /// Ends all that is open: the gateway stops.
    pub async fn drain(&self) {
        let open = self.table().open.values().cloned().collect::<Vec<_>>();
        for held in open {
            self.end(&held, State::Void, "the gateway stopped").await;
        }
    }

    async fn end(&self, held: &Arc<Held>, state: State, reason: &str) {
        if let Err(error) = self.close(held, state, reason).await {
            tracing::error!(approval = held.asked.approval, %error, "the end of a request is not on record");
        }
    }

    async fn look(&self, held: &Arc<Held>) -> State {
        let mut request = held.request.lock().await;
        if let Err(error) = self.expire(held, &mut request).await {
            tracing::error!(approval = held.asked.approval, %error, "the end of a request is not on record");
        }
        request.state()
    }

    /// A request whose time has run out ends, on record.
    async fn expire(&self, held: &Arc<Held>, request: &mut Request) -> Result<(), EvidenceError> {
        let was = request.state();
        if was.is_final() || request.look(self.now()) == was {
            return Ok(());
        }
        self.changed(held, request);
        self.record(held, vec![closed(held.asked.approval.clone(), request.state(), "its time ran out")]).await
    }

    /// Shows what has changed to all who look at it.
    fn changed(&self, held: &Arc<Held>, request: &Request) {
        if held.show(request) {
            self.tell(held);
        }
        if request.state().is_final() {
            let mut table = self.table();
            if table.open.get(&held.key).is_some_and(|open| Arc::ptr_eq(open, held)) {
                table.open.remove(&held.key);
            }
        }
    }

    fn tell(&self, held: &Arc<Held>) {
        self.outboxes.iter().for_each(|outbox| outbox.tell(held));
    }

    async fn record(&self, held: &Held, events: Vec<Event>) -> Result<(), EvidenceError> {
        let records = events.into_iter().map(|event| Record::now(held.session.clone(), event));
        self.evidence.append_all(records.collect()).await
    }
}

/// A command that went on without an approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broken {
    /// What was asked for.
    #[serde(flatten)]
    pub asked: Asked,
    /// Who went on.
    pub broken_by: Party,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub justification: String,
    /// The session that has the record of it.
    pub session: SessionId,
}

/// A justification that is one.
fn justified(text: &str) -> Result<&str, DeskError> {
    let text = text.trim();
    let is_text = (1..=MAX_JUSTIFICATION).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if is_text { Ok(text) } else { Err(DeskError::Justification) }
}

fn closed(approval: String, state: State, reason: &str) -> Event {
    Event::ApprovalClosed { approval, state, reason: reason.to_owned() }
}

/// What makes two commands the same request: who, for what, which command, which rule of which rules.
fn key(session: &Session, purpose: Option<&str>, want: &Want, command: &Command) -> String {
    let identity = &session.identity;
    let mut texts = vec![identity.issuer.as_str(), &identity.subject, &session.connection, purpose.unwrap_or_default()];
    texts.extend([want.rule.pack.as_str(), &want.rule.name, &session.rules_digest, &command.hash]);
    texts
        .extend(identity.actors.iter().flat_map(|actor| [actor.issuer.as_deref().unwrap_or_default(), &actor.subject]));
    digest(&texts)
}

/// A new identifier: 60 random bits, in letters and digits that can be read aloud.
fn identifier() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random: u64 = rand::random();
    let letters = (0..12).map(|at| char::from(LETTERS[usize::try_from(random >> (at * 5) & 31).unwrap_or_default()]));
    std::iter::once("ap-".to_owned()).chain(letters.map(String::from)).collect()
}
