//! Limits of rules: how much passes before they act, in which window, and whose it is.

use super::{Effect, SessionFacts, SessionPolicy};
use crate::fields::FieldId;
use sluice_engine::RuleId;
use std::time::Duration;

/// `limit 500 records per 10m by user.id`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// How many records pass.
    pub count: u64,
    /// In a window of this length.
    pub per: Duration,
    /// Those with the same value of this field are counted together.
    pub by: FieldId,
}

impl serde::Serialize for Limited {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{} records per {}s by {}", self.count, self.per.as_secs(), self.by.info().name))
    }
}

/// A limit as it holds in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// The rule of the engine whose matches are counted.
    pub rule: RuleId,
    /// Pack, name and window of the rule, with the value by which it is counted: what has the same counts together.
    pub key: String,
    /// The limit.
    pub limit: Limited,
}

impl SessionFacts {
    /// How to read the one value that the field has in every session; empty where it isn't known. None for other fields.
    pub(crate) fn counts_by(field: FieldId) -> Option<fn(&Self) -> String> {
        let read: fn(&Self) -> String = match field {
            FieldId::UserId => |facts| facts.user_id.clone(),
            FieldId::UserEmail => |facts| facts.user_email.clone().unwrap_or_default(),
            FieldId::UserKind => |facts| facts.user_kind.name().to_owned(),
            FieldId::SessionPurpose => |facts| facts.purpose.clone().unwrap_or_default(),
            FieldId::SessionClient => |facts| facts.client.clone().unwrap_or_default(),
            FieldId::SessionIp => |facts| facts.ip.clone().unwrap_or_default(),
            FieldId::Target => |facts| facts.target.clone(),
            FieldId::Protocol => |facts| facts.protocol.clone(),
            _ => return None,
        };
        Some(read)
    }
}

impl SessionPolicy {
    /// The limits of the rules that may hold in this session, but for those that only record.
    #[must_use]
    pub fn limits(&self) -> Vec<SessionLimit> {
        let rules = self.rules.iter().filter_map(|(index, rule)| {
            let info = &self.policy.inner.infos[*index];
            let (Effect::Engine(rule), Some(limit), false) = (&rule.effect, info.limit, info.audit) else {
                return None;
            };
            let value = SessionFacts::counts_by(limit.by)?(&self.session);
            Some(SessionLimit {
                rule: *rule,
                key: format!("{}.{} {} {value}", info.pack, info.name, limit.per.as_secs()),
                limit,
            })
        });
        rules.collect()
    }
}
