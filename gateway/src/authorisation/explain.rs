//! What the demands of a connection come to for somebody, one by one: for `sluice access explain`.

use serde::Serialize;

use super::{Asking, Demands, Refusal, Stated};

/// What holds, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether they may open the connection.
    pub let_in: bool,
    /// Why not, as the record of the refusal would have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The groups of which one is needed; empty: none is.
    pub groups: Vec<String>,
    /// Those of them that they are in.
    pub groups_held: Vec<String>,
    /// The `allow` tables in their order; one has to hold. Empty: there are none.
    pub allow: Vec<TableExplained>,
    /// Whether a purpose has to be stated, by the connection's own word.
    pub purpose_required: bool,
    /// The purposes that are accepted; None: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purposes: Option<String>,
    /// Whether the stated one is; None where none was stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose_accepted: Option<bool>,
}

/// One `allow` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableExplained {
    /// Its number, from 1.
    pub number: usize,
    /// What it asks for.
    pub asks: String,
    /// Whether it holds.
    pub holds: bool,
    /// The keys that aren't met.
    pub unmet: Vec<&'static str>,
}

impl Demands<'_> {
    /// All that [`check`](Self::check) looks at.
    #[must_use]
    pub fn explain(&self, asking: Asking<'_>) -> Explanation {
        let refusal = self.check(asking).err();
        let explained = |table: &super::Allow| {
            let unmet: Vec<_> = table.unmet(asking).into_iter().map(super::Unmet::key).collect();
            TableExplained { number: table.number, asks: table.to_string(), holds: unmet.is_empty(), unmet }
        };
        let purposes = self.access.purposes.as_ref();
        let stated = match asking.purpose {
            Stated::Known(stated) => stated,
            Stated::Later => None,
        };
        Explanation {
            let_in: refusal.is_none(),
            reason: refusal.as_ref().map(Refusal::to_string),
            groups: self.groups.to_vec(),
            groups_held: self.groups.iter().filter(|group| asking.identity.groups.contains(group)).cloned().collect(),
            allow: self.access.allow.iter().flat_map(|tables| tables.iter()).map(explained).collect(),
            purpose_required: self.require_purpose,
            purposes: purposes.map(ToString::to_string),
            purpose_accepted: stated.map(|stated| purposes.is_none_or(|purposes| purposes.accepts(stated))),
        }
    }
}
