//! Who may open a connection, when, and for what: decided from facts, without a clock, sockets or files.
//!
//! [`Access`] is what a connection's configuration says, [`Asking`] who wants in. What rules do afterwards is the policy's.

mod allow;
mod explain;
mod pattern;
mod purposes;
#[cfg(test)]
mod tests;
mod times;

pub use allow::{Allow, Unmet};
pub use explain::{Explanation, TableExplained};
pub use pattern::Pattern;
pub use purposes::{Purposes, PurposesError};
pub use times::{Hours, Times, TimesError, day_named};

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use crate::identity::Identity;

/// What a connection asks of those who open it. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The tables of which one has to hold; None: there are none.
    pub allow: Option<Arc<[Allow]>>,
    /// The purposes that are accepted, the connection's own or those of all connections; None: any.
    pub purposes: Option<Arc<Purposes>>,
}

/// What is known of the purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated<'a> {
    /// What was stated for the session, or for the request that is judged; None: nothing.
    Known(Option<&'a str>),
    /// Each request will state its own: nothing is held against the opening.
    Later,
}

/// Who wants to open a connection.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// What for.
    pub purpose: Stated<'a>,
    /// When.
    pub at: Timestamp,
}

/// Why somebody may not. The text is for records: clients are told less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// In none of the connection's `groups`.
    Groups,
    /// No `allow` table holds; what each of them misses.
    NoTable(Vec<Missed>),
    /// A purpose has to be stated, and none was.
    PurposeMissing,
    /// The purpose is none that is accepted.
    PurposeNotAccepted,
    /// The purpose is accepted, and whoever is asked about it doesn't confirm it; how it went.
    PurposeNotConfirmed(String),
}

/// An `allow` table that doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its number in the connection, from 1.
    pub number: usize,
    /// What of it isn't met; never empty.
    pub unmet: Vec<Unmet>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups => f.write_str("in none of the groups that may open the connection"),
            Self::NoTable(tables) => {
                f.write_str("no `allow` table lets them in")?;
                for (index, Missed { number, unmet }) in tables.iter().enumerate() {
                    let names: Vec<&str> = unmet.iter().map(|unmet| unmet.says()).collect();
                    let separator = if index == 0 { ": " } else { "; " };
                    write!(f, "{separator}table {number}: {}", names.join(", "))?;
                }
                Ok(())
            }
            Self::PurposeMissing => f.write_str("no purpose was stated, and one is required"),
            Self::PurposeNotConfirmed(why) => f.write_str(why),
            Self::PurposeNotAccepted => f.write_str("the stated purpose is none that is accepted"),
        }
    }
}

/// What a connection asks of those who open it, with the rest of its configuration that matters here.
#[derive(Debug, Clone, Copy)]
pub struct Demands<'a> {
    /// The groups of which one is needed; empty: none is.
    pub groups: &'a [String],
    /// Whether a purpose has to be stated.
    pub require_purpose: bool,
    /// Tables and purposes.
    pub access: &'a Access,
}

impl Demands<'_> {
    /// Whether somebody may open the connection, or use it for what they state now.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the first thing that stands against it. Purposes are looked at last, so that nobody who may not come in
    /// learns which ones are accepted.
    pub fn check(&self, asking: Asking<'_>) -> Result<(), Refusal> {
        let held = |group: &String| asking.identity.groups.contains(group);
        if !self.groups.is_empty() && !self.groups.iter().any(held) {
            return Err(Refusal::Groups);
        }
        if let Some(allow) = &self.access.allow {
            one_holds(allow, asking)?;
        }
        let Stated::Known(purpose) = asking.purpose else { return Ok(()) };
        match (purpose, &self.access.purposes) {
            (None, _) if self.require_purpose => Err(Refusal::PurposeMissing),
            (Some(purpose), Some(purposes)) if !purposes.accepts(purpose) => Err(Refusal::PurposeNotAccepted),
            _ => Ok(()),
        }
    }
}

/// Whether one of the tables holds.
fn one_holds(allow: &[Allow], asking: Asking<'_>) -> Result<(), Refusal> {
    let mut missed = Vec::with_capacity(allow.len());
    for table in allow {
        let unmet = table.unmet(asking);
        if unmet.is_empty() {
            return Ok(());
        }
        missed.push(Missed { number: table.number, unmet });
    }
    // Whoever lacks a purpose alone can do something about it.
    let lacks = asking.purpose == Stated::Known(None) && missed.iter().any(|table| table.unmet == [Unmet::Purpose]);
    Err(if lacks { Refusal::PurposeMissing } else { Refusal::NoTable(missed) })
}

impl Access {
    /// Whether what was let in before is let in still, as far as time is concerned: one table has to hold.
    #[must_use]
    pub fn still_holds(&self, asking: Asking<'_>) -> bool {
        self.allow.as_ref().is_none_or(|allow| one_holds(allow, asking).is_ok())
    }

    /// Whether time alone can end what was let in.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        self.allow.as_ref().is_some_and(|allow| allow.iter().any(|table| !table.times.are_any()))
    }
}
