//! What a rule wants to have approved, and what approvers are shown.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_dsl::{Hit, HitAction, RuleInfo};

use super::machine::Party;
use crate::identity::{Actor, Identity};

/// What is asked for, as approvers are shown it and the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The identifier of the request.
    pub approval: String,
    /// The exchange of the session that waits.
    pub exchange: u64,
    /// Whom the command is for.
    pub requester: Party,
    /// Who acts for them, the first one now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Actor>,
    /// The connection's name.
    pub connection: String,
    /// `mcp`, `postgres` or `tcp`.
    pub protocol: String,
    /// What they said they do it for.
    pub purpose: Option<String>,
    /// The rule that asks.
    pub rule: String,
    /// Its stable identifier, if it has one.
    pub rule_id: Option<String>,
    /// The pack it is from.
    pub pack: String,
    /// What the rule says about itself.
    pub message: Option<String>,
    /// Why it holds, in words of the rule.
    pub detail: Option<String>,
    /// Groups whose members may decide.
    pub by: Vec<String>,
    /// How many have to approve.
    pub count: u32,
    /// How long the same command goes on once it is approved, in seconds; absent where it goes on once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    /// The protocol's method.
    pub method: String,
    /// The tool, prompt or URI; the verbs of SQL.
    pub name: Option<String>,
    /// The command as it would go upstream.
    pub command: String,
    /// What the parser found in it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// The hash of the command.
    pub hash: String,
    /// The digest of the rules in force.
    pub rules_digest: String,
    /// Until when it counts.
    pub expires: Timestamp,
}

/// What a rule wants to have approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The rule.
    pub rule: RuleInfo,
    /// Groups whose members may decide.
    pub by: Vec<String>,
    /// How many have to approve.
    pub count: u32,
    /// How long a request counts.
    pub ttl: Duration,
    /// How long whoever asks waits for it.
    pub wait: Duration,
    /// How long the same command goes on once it is approved; None: once.
    pub grant: Option<Duration>,
    /// Approvers are shown what the server estimates.
    pub estimate: bool,
    /// Why the rule holds, in its words.
    pub detail: Option<String>,
}

impl Want {
    /// What a hit wants to have approved; None where it wants something else.
    #[must_use]
    pub fn of(hit: &Hit) -> Option<Self> {
        let HitAction::Approve { by, count, ttl, wait, grant, estimate } = &hit.action else { return None };
        let (rule, detail) = (hit.rule.clone(), hit.detail.clone());
        Some(Self {
            rule,
            by: by.clone(),
            count: *count,
            ttl: *ttl,
            wait: *wait,
            grant: *grant,
            estimate: *estimate,
            detail,
        })
    }
}

/// The name of somebody whose token was checked.
#[must_use]
pub fn party_of(identity: &Identity) -> Party {
    Party {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        user: identity.user_id.clone(),
        email: identity.email.clone(),
    }
}

/// Whoever must not decide: whom it is for, and all who act for them.
pub(super) fn parties(requester: &Party, actors: &[Actor]) -> Vec<Party> {
    let acting = actors.iter().map(|actor| Party {
        issuer: actor.issuer.clone().unwrap_or_else(|| requester.issuer.clone()),
        subject: actor.subject.clone(),
        user: actor.subject.clone(),
        email: None,
    });
    std::iter::once(requester.clone()).chain(acting).collect()
}
