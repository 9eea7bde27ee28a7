//! Who asks: bearer tokens, the issuers that sign them, and the development issuer.

use jiff::Timestamp;
pub use sluice_dsl::UserKind;

mod certified;
mod check;
mod claims;
mod denied;
pub mod dev;
mod issuer;
mod key;
pub mod resource;
mod roles;
mod service;
#[cfg(test)]
mod tests;

pub use certified::{CERTIFICATE_ISSUER, CertifiedClient, certified};
pub(crate) use check::algorithm_named;
pub use check::{AuthError, Authenticator, bearer_of};
pub use claims::{Actor, ClaimMapping, ClaimPath, KindMapping};
pub use denied::{DenyList, WATCH};
pub(crate) use issuer::is_trustworthy;
pub use roles::{Holders, RoleSet, Roles};
pub use service::{MAX_TTL, SERVICE_ISSUER, ServiceToken, ServiceTokenError, ServiceTokens, Wanted};

/// Somebody whose token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The issuer that vouches for them.
    pub issuer: String,
    /// The issuer's name for them; unique within the issuer.
    pub subject: String,
    /// What rules and records call them: the verified email, else the subject.
    pub user_id: String,
    /// The email, when the issuer gives one and does not call it unverified.
    pub email: Option<String>,
    /// A person or a machine.
    pub kind: UserKind,
    /// Their groups, sorted, without duplicates.
    pub groups: Vec<String>,
    /// Their roles by the issuer's word, sorted, without duplicates.
    pub roles: Vec<String>,
    /// Who acts for them (RFC 8693): the first one now, those before it after it. Empty: they act themselves.
    pub actors: Vec<Actor>,
    /// The token's own identifier (`jti`).
    pub token_id: Option<String>,
    /// When the token stops being valid.
    pub expires: Timestamp,
}

impl Identity {
    /// Whether both are the same subject of the same issuer, with the same one acting for it; tokens come and go.
    #[must_use]
    pub fn is_same_subject(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject && self.actors == other.actors
    }

    /// Whether all that rules, connections and roles depend on is as it was.
    #[must_use]
    pub fn is_unchanged(&self, other: &Self) -> bool {
        self.is_same_subject(other)
            && self.user_id == other.user_id
            && self.email == other.email
            && self.kind == other.kind
            && self.groups == other.groups
            && self.roles == other.roles
    }
}
