//! Roles of the gateway itself: who may see what it does and end sessions, told by groups and by the issuer's roles.

use serde::Serialize;

use super::Identity;

/// What is before the name of a role in the configuration; a name without it is a group's.
const ROLE: &str = "role:";

/// Who has which role; nobody where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Who may see and end sessions.
    pub admin: Vec<Holders>,
    /// Who may decide about what is held.
    pub approver: Vec<Holders>,
    /// Who may see all and change nothing.
    pub auditor: Vec<Holders>,
}

/// Those who have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holders {
    /// Everybody in this group.
    Group(String),
    /// Everybody to whom the issuer gives this role.
    Role(String),
}

impl Holders {
    /// Reads `GROUP` or `role:NAME`; None where there is no name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, make): (_, fn(String) -> Self) = match text.strip_prefix(ROLE) {
            Some(role) => (role, Self::Role),
            None => (text, Self::Group),
        };
        (!name.trim().is_empty()).then(|| make(name.to_owned()))
    }

    fn include(&self, identity: &Identity) -> bool {
        match self {
            Self::Group(group) => identity.groups.contains(group),
            Self::Role(role) => identity.roles.contains(role),
        }
    }
}

/// The roles that somebody has. Without one they are a user, who may open connections and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RoleSet {
    /// See [`Roles::admin`].
    pub admin: bool,
    /// See [`Roles::approver`].
    pub approver: bool,
    /// See [`Roles::auditor`].
    pub auditor: bool,
}

impl Roles {
    /// The roles of somebody. A token that an agent uses for somebody gives none: what an administrator may do is not lent.
    #[must_use]
    pub fn of(&self, identity: &Identity) -> RoleSet {
        if !identity.actors.is_empty() {
            return RoleSet::default();
        }
        let has = |holders: &[Holders]| holders.iter().any(|holders| holders.include(identity));
        RoleSet { admin: has(&self.admin), approver: has(&self.approver), auditor: has(&self.auditor) }
    }
}

impl RoleSet {
    /// Whether they may see other people's sessions.
    #[must_use]
    pub fn may_see_sessions(self) -> bool {
        self.admin || self.auditor
    }

    /// Whether they may see requests for approval that are none of theirs.
    #[must_use]
    pub fn may_see_approvals(self) -> bool {
        self.admin || self.auditor
    }

    /// Whether they may end other people's sessions.
    #[must_use]
    pub fn may_end_sessions(self) -> bool {
        self.admin
    }

    /// Whether they may issue and revoke the gateway's own tokens.
    #[must_use]
    pub fn may_issue_tokens(self) -> bool {
        self.admin
    }

    /// The roles' names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let named = [("admin", self.admin), ("approver", self.approver), ("auditor", self.auditor)];
        named.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Actor, UserKind};

    fn identity(groups: &[&str], roles: &[&str]) -> Identity {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Identity {
            issuer: "https://login.example.org".to_owned(),
            subject: "ada".to_owned(),
            user_id: "ada@example.org".to_owned(),
            email: None,
            kind: UserKind::Person,
            groups: texts(groups),
            roles: texts(roles),
            actors: Vec::new(),
            token_id: None,
            expires: jiff::Timestamp::MAX,
        }
    }

    fn roles() -> Roles {
        let holders = |text| vec![Holders::parse(text).unwrap()];
        Roles { admin: holders("platform"), approver: holders("leads"), auditor: holders("role:audit") }
    }

    #[test]
    fn a_role_comes_of_a_group_or_of_the_issuers_role_and_of_nothing_else() {
        let names = |groups: &[&str], given: &[&str]| roles().of(&identity(groups, given)).names();
        assert_eq!(names(&["platform"], &[]), ["admin"]);
        assert_eq!(names(&["leads", "platform"], &["audit"]), ["admin", "approver", "auditor"]);
        assert_eq!(
            names(&["audit", "role:audit"], &["platform", "leads"]),
            [""; 0],
            "a group is no role, a role no group"
        );
        assert_eq!(Roles::default().of(&identity(&["platform"], &["admin"])).names(), [""; 0]);
        assert_eq!((Holders::parse("role: "), Holders::parse("")), (None, None));
    }

    #[test]
    fn auditors_see_and_change_nothing_administrators_end_sessions_and_users_do_neither() {
        let may = |groups: &[&str], given: &[&str]| {
            let roles = roles().of(&identity(groups, given));
            (roles.may_see_sessions(), roles.may_end_sessions())
        };
        assert_eq!(may(&[], &["audit"]), (true, false));
        assert_eq!(may(&["platform"], &[]), (true, true));
        assert_eq!(may(&["leads"], &[]), (false, false));
        assert_eq!(may(&[], &[]), (false, false));
    }

    #[test]
    fn an_agent_that_acts_for_an_administrator_is_none() {
        let agent = Actor { subject: "agent".to_owned(), issuer: None };
        let lent = Identity { actors: vec![agent], ..identity(&["platform"], &["audit"]) };
        assert_eq!(roles().of(&lent), RoleSet::default());
    }
}
