//! Commands that wait for an approval. A query waits whole; a statement of the extended protocol waits when it is executed, with its
//! parameters. It has no name then, so that nothing but Execute runs it, and each Execute is asked about.

use super::super::report::Report;
use super::{Conversation, Sent};
use crate::approval::{Command, Want};
use serde_json::{Map, Value, json};
use sluice_dsl::Reading;

/// A command that waits.
#[derive(Debug)]
pub struct Hold {
    /// What the rule wants.
    pub want: Want,
    /// What is to be approved.
    pub command: Command,
    /// The number that its exchange will have.
    pub exchange: u64,
}

/// What came of a request for approval.
#[derive(Debug)]
pub enum Verdict {
    /// The command goes on, by this approval.
    Cleared(String),
    /// It doesn't, for want of this approval where one was asked for.
    Refused(Option<String>, Report),
}

/// Whether a command goes on.
pub(super) enum Gate {
    /// It does, by an approval where it wants one.
    Open(Option<String>),
    /// It waits.
    Held,
    /// It doesn't.
    Shut(Option<String>, Report),
}

impl Conversation {
    /// What was decided about a command that waits: it is to be given once more.
    pub fn decided(&mut self, hash: String, verdict: Verdict) {
        self.verdict = Some((hash, verdict));
    }

    /// Tells the client something, whatever it waits for.
    pub fn notify(&mut self, notice: &Report) {
        self.notices.push(notice.to_notice());
    }

    /// Whether a command may go on that wants this; a decision about it counts once.
    pub(super) fn gate(&mut self, want: Option<Want>, command: impl FnOnce() -> Command, sent: &mut Sent) -> Gate {
        let Some(want) = want else { return Gate::Open(None) };
        let command = command();
        match self.verdict.take() {
            Some((hash, Verdict::Cleared(approval))) if hash == command.hash => Gate::Open(Some(approval)),
            Some((hash, Verdict::Refused(approval, report))) if hash == command.hash => Gate::Shut(approval, report),
            _ => {
                sent.hold = Some(Box::new(Hold { want, command, exchange: self.exchanges + 1 }));
                Gate::Held
            }
        }
    }
}

/// What the parser found in SQL, for approvers.
pub(super) fn facts(reading: Option<&Reading>) -> Map<String, Value> {
    let facts = reading.and_then(|reading| reading.sql().next().flatten());
    let told = facts.map(|facts| {
        json!({
            "verbs": facts.verbs, "tables": facts.tables, "functions": facts.functions, "statements": facts.statements,
            "has_where": facts.has_where,
        })
    });
    match told {
        Some(Value::Object(told)) => told,
        _ => Map::new(),
    }
}
