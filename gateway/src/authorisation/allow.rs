//! An `allow` table of a connection: whom it lets in, when, and for what.

use std::fmt;

use sluice_dsl::UserKind;

use super::{Asking, Pattern, Stated, Times};

/// One `[[connection.NAME.allow]]`. Whatever is given has to be met; what is left out holds for all.
#[derive(Debug, Clone)]
pub struct Allow {
    /// Its number in the connection, from 1.
    pub number: usize,
    /// The groups of which one is needed.
    pub groups: Option<Vec<String>>,
    /// People, programs.
    pub kinds: Option<Vec<UserKind>>,
    /// The purposes of which one has to be stated.
    pub purposes: Option<Vec<Pattern>>,
    /// When.
    pub times: Times,
}

/// What of a table isn't met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// None of its groups.
    Groups,
    /// Of another kind.
    Kinds,
    /// No purpose, or none of its purposes.
    Purpose,
    /// On another day.
    Days,
    /// At another hour.
    Hours,
    /// After its last day.
    Until,
}

impl Unmet {
    /// The key of the table that isn't met.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Kinds => "kinds",
            Self::Purpose => "purposes",
            Self::Days => "days",
            Self::Hours => "hours",
            Self::Until => "until",
        }
    }

    /// The same in words.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::Groups => "in none of its groups",
            Self::Kinds => "not of its kinds",
            Self::Purpose => "not for its purposes",
            Self::Days => "not on its days",
            Self::Hours => "outside of its hours",
            Self::Until => "after its last day",
        }
    }
}

impl Allow {
    /// What isn't met; empty: it lets them in.
    #[must_use]
    pub fn unmet(&self, asking: Asking<'_>) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        let identity = asking.identity;
        if self.groups.as_ref().is_some_and(|groups| !groups.iter().any(|group| identity.groups.contains(group))) {
            unmet.push(Unmet::Groups);
        }
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&identity.kind)) {
            unmet.push(Unmet::Kinds);
        }
        if let (Some(purposes), Stated::Known(stated)) = (&self.purposes, asking.purpose)
            && !stated.is_some_and(|stated| purposes.iter().any(|purpose| purpose.fits(stated)))
        {
            unmet.push(Unmet::Purpose);
        }
        self.times.unmet(asking.at, &mut unmet);
        unmet
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(groups) = &self.groups {
            parts.push(format!("groups {}", groups.join(", ")));
        }
        if let Some(kinds) = &self.kinds {
            parts.push(format!("kinds {}", kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")));
        }
        if let Some(purposes) = &self.purposes {
            parts.push(format!("purposes {}", purposes.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")));
        }
        parts.push(self.times.to_string());
        f.write_str(&parts.join("; "))
    }
}
