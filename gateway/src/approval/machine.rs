//! The life of one request for approval, without clocks, stores or sockets: who may decide, when it counts, and that it is used once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment by two clocks: a steady one that nobody sets, and the wall's, which goes on while a machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the gateway began.
    pub steady: Duration,
    /// As people tell it.
    pub wall: Timestamp,
}

impl Moment {
    /// The moment this much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let wall = jiff::SignedDuration::try_from(time).ok().and_then(|time| self.wall.checked_add(time).ok());
        Self { steady: self.steady.saturating_add(time), wall: wall.unwrap_or(Timestamp::MAX) }
    }

    /// Whether this moment has come by either clock: a clock that is set back gives nobody more time.
    #[must_use]
    pub fn has_come(self, now: Self) -> bool {
        now.steady >= self.steady || now.wall >= self.wall
    }
}

/// Somebody as the issuer names them, and as people do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Who vouches for them.
    pub issuer: String,
    /// The issuer's name for them.
    pub subject: String,
    /// What rules and records call them.
    pub user: String,
    /// Their email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Party {
    /// Whether both may be the same one: by the issuer's name, or by any name that people know them by, at whichever issuer.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        let names =
            |party: &Self| [Some(party.user.to_lowercase()), party.email.as_ref().map(|mail| mail.to_lowercase())];
        let known = names(other);
        (self.issuer == other.issuer && self.subject == other.subject)
            || names(self).iter().flatten().any(|name| known.iter().flatten().any(|other| other == name))
    }
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Who they are.
    pub party: Party,
    /// Their groups, as their token has them now.
    pub groups: Vec<String>,
    /// They decide themselves: they are a person, and nobody acts for them.
    pub in_person: bool,
}

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may be done.
    Approve,
    /// It must not be done.
    Deny,
    /// It is done without an approval, since nobody can be waited for: it is reviewed afterwards.
    BreakGlass,
}

impl Decision {
    /// The word that records and people have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::BreakGlass => "break_glass",
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Fewer have approved than have to.
    Pending,
    /// Enough have approved; it was not used yet.
    Approved,
    /// It was used: the command went upstream.
    Used,
    /// Somebody denied it.
    Denied,
    /// Its time ran out before it was used.
    Expired,
    /// Whoever asked doesn't want it any more.
    Withdrawn,
    /// What was approved is not what would be done, or the gateway that held it ended.
    Void,
}

impl State {
    /// Nothing changes it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved)
    }

    /// The word that records and people have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Void => "void",
        }
    }
}

/// Why a decision doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request is over.
    #[error("the request is {} already", .0.name())]
    Closed(State),
    /// It is the approver's own request, or that of an agent that acts for them.
    #[error("nobody decides about a request of their own, or of an agent that acts for them")]
    Own,
    /// The approver is in none of the groups that may decide.
    #[error("only members of the groups that the rule names decide")]
    NotApprover,
    /// A program decides, or somebody in the name of somebody else.
    #[error("a person decides, by a token of their own: not a service, and not somebody who acts for them")]
    NotInPerson,
    /// They have approved before.
    #[error("you have approved this request already; it takes somebody else")]
    Again,
    /// They may not break the glass.
    #[error(
        "only the requester breaks the glass, in person, and where `[approvals] break_glass` names a group of theirs"
    )]
    Glass,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Groups whose members may decide.
    pub by: Vec<String>,
    /// How many have to approve.
    pub count: u32,
    /// How long the same command goes on once enough have approved; None: once.
    pub grant: Option<Duration>,
    /// Groups whose members may go on without an approval.
    pub glass: Vec<String>,
    /// Those who asked: whom it is for, and whoever acts for them.
    pub parties: Vec<Party>,
    /// From when on it counts no longer.
    pub deadline: Moment,
}

/// One request for approval.
#[derive(Clone, Debug)]
pub struct Request {
    terms: Terms,
    state: State,
    approvers: Vec<Party>,
    /// Who went on without an approval.
    broken: Option<Party>,
    /// Until when it goes on, where it was approved for a time.
    granted: Option<Moment>,
    /// How often it went on.
    uses: u64,
}

impl Request {
    /// A request that nobody has decided about.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, state: State::Pending, approvers: Vec::new(), broken: None, granted: None, uses: 0 }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Those who have approved.
    #[must_use]
    pub fn approvers(&self) -> &[Party] {
        &self.approvers
    }

    /// Who went on without an approval, where somebody did.
    #[must_use]
    pub fn broken(&self) -> Option<&Party> {
        self.broken.as_ref()
    }

    /// How many more have to approve.
    #[must_use]
    pub fn missing(&self) -> usize {
        (self.terms.count as usize).saturating_sub(self.approvers.len())
    }

    /// Those who asked.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.terms.parties
    }

    /// Whether this one could decide about it, were it open.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, approver: &Approver) -> Result<(), Refused> {
        if self.terms.parties.iter().any(|party| party.may_be(&approver.party)) {
            return Err(Refused::Own);
        }
        if !self.terms.by.iter().any(|group| approver.groups.contains(group)) {
            return Err(Refused::NotApprover);
        }
        if !approver.in_person {
            return Err(Refused::NotInPerson);
        }
        Ok(())
    }

    /// Whether this one could go on without an approval: the requester, who is there in person, and in a group that may.
    fn may_break(&self, approver: &Approver) -> Result<(), Refused> {
        let is_requester = self.terms.parties.first().is_some_and(|requester| requester.may_be(&approver.party));
        let may = self.terms.glass.iter().any(|group| approver.groups.contains(group));
        if is_requester && may && approver.in_person { Ok(()) } else { Err(Refused::Glass) }
    }

    /// Its time may have run out.
    pub fn look(&mut self, now: Moment) -> State {
        let deadline = self.granted.unwrap_or(self.terms.deadline);
        if !self.state.is_final() && deadline.has_come(now) {
            self.state = if self.uses > 0 { State::Used } else { State::Expired };
        }
        self.state
    }

    /// An approver decides. One denial is enough, also after enough have approved, as long as it was not used.
    ///
    /// # Errors
    /// The decision doesn't count, and nothing has changed but that time may have run out.
    pub fn decide(&mut self, now: Moment, approver: &Approver, decision: Decision) -> Result<State, Refused> {
        self.look(now);
        match decision {
            Decision::BreakGlass => self.may_break(approver)?,
            Decision::Approve | Decision::Deny => self.admits(approver)?,
        }
        if self.state.is_final() {
            return Err(Refused::Closed(self.state));
        }
        match decision {
            Decision::BreakGlass => {
                self.broken = Some(approver.party.clone());
                self.settle(now);
            }
            Decision::Deny => self.state = State::Denied,
            Decision::Approve if self.approvers.iter().any(|party| party.may_be(&approver.party)) => {
                return Err(Refused::Again);
            }
            Decision::Approve => {
                self.approvers.push(approver.party.clone());
                self.settle(now);
            }
        }
        Ok(self.state)
    }

    /// The command is about to go upstream: true where enough approve who still may (`stands`); once, or for a time where that was granted.
    pub fn take(&mut self, now: Moment, stands: impl Fn(&Party) -> bool) -> bool {
        self.look(now);
        if self.state.is_final() {
            return false;
        }
        self.approvers.retain(&stands);
        self.broken = self.broken.take().filter(|party| stands(party));
        self.settle(now);
        if self.state != State::Approved {
            return false;
        }
        self.uses += 1;
        if self.granted.is_none() {
            self.state = State::Used;
        }
        true
    }

    /// Ends it without a decision; nothing happens where it has ended.
    pub fn close(&mut self, now: Moment, state: State) -> State {
        self.look(now);
        if !self.state.is_final() && matches!(state, State::Withdrawn | State::Void) {
            self.state = state;
        }
        self.state
    }

    fn settle(&mut self, now: Moment) {
        let was = self.state;
        let goes_on = self.missing() == 0 || self.broken.is_some();
        self.state = if goes_on { State::Approved } else { State::Pending };
        self.granted = match (was, self.state, self.terms.grant) {
            // Whoever breaks the glass does it once.
            (State::Pending, State::Approved, Some(grant)) if self.missing() == 0 => Some(now.after(grant)),
            (State::Approved, State::Approved, _) if self.missing() == 0 => self.granted,
            _ => None,
        };
    }
}
