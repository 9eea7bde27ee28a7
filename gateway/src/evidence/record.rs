//! The records of the evidence store and their canonical form.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_dsl::RuleInfo;

use crate::approval::{Asked, Decision, Party, State};
use crate::identity::Actor;

/// The identifier of a session: a UUID version 7 (RFC 9562), so it sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// A new identifier.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// Reads an identifier as a client or an auditor spells it; `None` when it is no UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|uuid| Self(uuid.to_string()))
    }

    /// The text: 36 characters, lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The session it belongs to.
    pub session: SessionId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// A record of something that happens now.
    #[must_use]
    pub fn now(session: SessionId, event: Event) -> Self {
        Self { session, at: Timestamp::now(), event }
    }
}

/// The kinds of things that are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An identity opened a connection; the rules named by the digest hold until it is closed.
    SessionOpened {
        /// Who, as rules name them.
        user: String,
        /// Their email.
        email: Option<String>,
        /// `person` or `service`.
        kind: String,
        /// Their groups.
        groups: Vec<String>,
        /// Their roles by the issuer's word.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        roles: Vec<String>,
        /// Who acts for them, the first one now; empty where they act themselves.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        actors: Vec<Actor>,
        /// The identifier of the token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_id: Option<String>,
        /// Who vouches for them.
        issuer: String,
        /// The issuer's name for them.
        subject: String,
        /// The connection's name.
        connection: String,
        /// What they said they do it for.
        purpose: Option<String>,
        /// The client program, by its own word.
        client: Option<String>,
        /// The peer's address.
        ip: Option<String>,
        /// `mcp`, …
        protocol: String,
        /// The digest of the rules in force.
        rules_digest: String,
    },
    /// A command, before it goes upstream (or instead of going).
    Request {
        /// Numbers the exchanges of a session; its responses carry the same.
        exchange: u64,
        /// The protocol's method.
        method: String,
        /// The tool, URI or prompt.
        name: Option<String>,
        /// The command as it is sent on.
        body: String,
        /// The purpose in force for this command.
        purpose: Option<String>,
        /// Whether it went on.
        outcome: RequestOutcome,
        /// The rules that hit.
        hits: Vec<HitRecord>,
        /// The approval by which it went on, or for which it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
    /// A command waits for an approval; nothing of it has gone upstream.
    ApprovalRequested(Box<Asked>),
    /// Somebody decided about a request for approval, or tried to.
    ApprovalDecided {
        /// The request.
        approval: String,
        /// Who decides.
        approver: Party,
        /// Those of their groups that may decide.
        groups: Vec<String>,
        /// What they say.
        decision: Decision,
        /// Why.
        justification: String,
        /// Why the decision doesn't count, where it doesn't.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// Somebody looked at a command that went on without an approval.
    ApprovalReviewed {
        /// The request.
        approval: String,
        /// Who looked.
        reviewer: Party,
        /// What they found.
        justification: String,
    },
    /// A request for approval is over.
    ApprovalClosed {
        /// The request.
        approval: String,
        /// How it ended.
        state: State,
        /// Why.
        reason: String,
    },
    /// What the user saw, in parts when it is long.
    Response {
        /// The exchange it answers.
        exchange: u64,
        /// The HTTP status; 0 where the protocol has none.
        status: u16,
        /// Exactly the bytes the user saw.
        body: String,
        /// The number of the part, from 0.
        part: u32,
        /// Whether this is the last part.
        last: bool,
        /// What the rules did, counted.
        decisions: Vec<DecisionRecord>,
        /// How it ended.
        outcome: ResponseOutcome,
        /// Why, when it did not end well.
        reason: Option<String>,
    },
    /// What passed on a connection of bytes since the last such record. The bytes themselves are not kept.
    Passed {
        /// The exchange that opened it.
        exchange: u64,
        /// Bytes that went upstream.
        sent: u64,
        /// Bytes that the client got.
        received: u64,
        /// What the rules did to what went upstream, counted.
        requests: Vec<DecisionRecord>,
        /// What the rules did to what came back, counted.
        responses: Vec<DecisionRecord>,
        /// Whether this is the last such record.
        last: bool,
        /// How it ended, where it is the last.
        outcome: ResponseOutcome,
        /// Why, when it did not end well.
        reason: Option<String>,
    },
    /// Somebody who is known was not let in. It is the one record of a session that never opened.
    AccessRefused {
        /// Who, as rules name them.
        user: String,
        /// `person` or `service`.
        kind: String,
        /// Their groups.
        groups: Vec<String>,
        /// Their roles by the issuer's word.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        roles: Vec<String>,
        /// Who acts for them, the first one now; empty where they act themselves.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        actors: Vec<Actor>,
        /// The identifier of the token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_id: Option<String>,
        /// Who vouches for them.
        issuer: String,
        /// The issuer's name for them.
        subject: String,
        /// The connection's name.
        connection: String,
        /// What they said they want it for.
        purpose: Option<String>,
        /// The client program, by its own word.
        client: Option<String>,
        /// The peer's address.
        ip: Option<String>,
        /// `mcp`, …
        protocol: String,
        /// Why; the client was not told.
        reason: String,
    },
    /// Somebody who may has done something to the gateway itself, or to this session.
    Administered {
        /// Who, as rules name them; over the control socket the system's user.
        user: String,
        /// Who vouches for them; `control` where it is the system.
        issuer: String,
        /// The issuer's name for them.
        subject: String,
        /// The roles by which they may.
        roles: Vec<String>,
        /// What: `end_session`, `issue_service_token`, `revoke_service_token`.
        action: String,
        /// To what, where it is not the session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Value>,
        /// Their address.
        ip: Option<String>,
    },
    /// The end of the log was torn by a crash and was cut off when the store was opened: what stood there had not been acknowledged.
    TailCut {
        /// The number of the first record of the segment.
        segment: u64,
        /// How many bytes were cut off.
        bytes: u64,
    },
    /// From here on another key signs the log's checkpoints.
    KeyRotated {
        /// The public key until now.
        from: String,
        /// The public key from now on.
        to: String,
    },
    /// The session is over.
    SessionClosed {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The tag under which the event is stored.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionOpened { .. } => "session_opened",
            Self::Request { .. } => "request",
            Self::ApprovalRequested(_) => "approval_requested",
            Self::ApprovalDecided { .. } => "approval_decided",
            Self::ApprovalReviewed { .. } => "approval_reviewed",
            Self::ApprovalClosed { .. } => "approval_closed",
            Self::Response { .. } => "response",
            Self::Passed { .. } => "passed",
            Self::AccessRefused { .. } => "access_refused",
            Self::Administered { .. } => "administered",
            Self::TailCut { .. } => "tail_cut",
            Self::KeyRotated { .. } => "key_rotated",
            Self::SessionClosed { .. } => "session_closed",
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// It was cleared to go upstream.
    Forwarded,
    /// Nothing of it went upstream.
    Refused,
    /// Nothing of it went upstream; the client was told for which approval it waits.
    Held,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseOutcome {
    /// To its end.
    Complete,
    /// A rule or the inspector stopped it.
    Blocked,
    /// The upstream failed.
    UpstreamError,
    /// The client or the gateway gave up.
    Cancelled,
}

/// A rule that hit a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitRecord {
    /// The rule's name.
    pub rule: String,
    /// Its stable identifier, if it has one.
    pub id: Option<String>,
    /// The pack it is from.
    pub pack: String,
    /// `block`, `approve`, `alert`; `audit` when the rule only watches.
    pub action: String,
    /// The rule's message.
    pub message: Option<String>,
    /// What hit, without matched values.
    pub detail: Option<String>,
}

impl HitRecord {
    /// A hit of this rule.
    #[must_use]
    pub fn of(rule: &RuleInfo, action: &str, detail: Option<String>) -> Self {
        Self {
            rule: rule.name.clone(),
            id: rule.id.clone(),
            pack: rule.pack.clone(),
            action: action.to_owned(),
            message: rule.message.clone(),
            detail,
        }
    }
}

/// What a rule did to a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The rule's name.
    pub rule: String,
    /// Its stable identifier, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pattern that matched.
    pub pattern: String,
    /// `mask`, `block`, `alert`.
    pub action: String,
    /// How often.
    pub count: u64,
}
