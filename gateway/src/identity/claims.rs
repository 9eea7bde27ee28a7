//! What an issuer's claims mean here: which of them name the user, the groups, the roles and the kind, and who acts for whom.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_dsl::UserKind;

use super::check::AuthError;

/// Longer names (subjects, groups, roles) are refused, in bytes.
pub(super) const MAX_NAME: usize = 512;
/// More groups or roles than this are refused.
const MAX_GROUPS: usize = 1024;
/// A longer chain of those who act for one another is refused.
const MAX_ACTORS: usize = 8;

/// Where a claim is: by name, along a dotted path (`realm_access.roles`), or by a JSON Pointer (RFC 6901) where a name has dots
/// (`/kubernetes.io/namespace`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(String);

impl ClaimPath {
    /// Reads a path; `None` where it is empty or has an empty step.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_path = match text.strip_prefix('/') {
            Some(steps) => !steps.is_empty() && steps.split('/').all(|step| !step.is_empty()),
            // A name may be a URL, which is no path: it only has to be there.
            None => !text.is_empty(),
        };
        is_path.then(|| Self(text.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim; null counts as not there.
    fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let found = if let Some(steps) = self.0.strip_prefix('/') {
            walk(claims, steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")))
        } else {
            claims.get(&self.0).or_else(|| walk(claims, self.0.split('.').map(str::to_owned)))
        };
        found.filter(|value| !value.is_null())
    }
}

fn walk(claims: &Map<String, Value>, mut steps: impl Iterator<Item = String>) -> Option<&Value> {
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(&step))
}

/// How it is told whether a token is a person's or a program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KindMapping {
    /// By what standards and common issuers say: `idtyp`, `gty`, a subject that is the client (RFC 9068).
    #[default]
    Standard,
    /// All tokens of the issuer are of one kind.
    Fixed(UserKind),
    /// By a claim, which has to be there: these values are programs, all others people.
    Claim(ClaimPath, Vec<String>),
}

/// What an issuer's claims mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMapping {
    /// What rules and records call them; None: the verified email, else the subject. A claim that is named has to be there.
    pub user: Option<ClaimPath>,
    /// Claims with groups: a list of strings or one string each; those that are not there give none.
    pub groups: Vec<ClaimPath>,
    /// Claims with roles, in the same way.
    pub roles: Vec<ClaimPath>,
    /// Put before each group and role, so that two issuers' groups of one name are not taken for each other.
    pub prefix: String,
    /// Groups that everybody of this issuer is in, as they are.
    pub everybody: Vec<String>,
    /// Person or program.
    pub kind: KindMapping,
    /// Claims that have to have one of these values; `*` at the end of a value stands for any characters.
    pub require: Vec<(ClaimPath, Vec<String>)>,
    /// Who may act for others (`act`, RFC 8693), by subject; None: whoever the issuer says. Empty: nobody.
    pub actors: Option<Vec<String>>,
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self {
            user: None,
            groups: vec![ClaimPath("groups".to_owned())],
            roles: Vec::new(),
            prefix: String::new(),
            everybody: Vec::new(),
            kind: KindMapping::default(),
            require: Vec::new(),
            actors: None,
        }
    }
}

/// One who acts for somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Actor {
    /// The issuer's name for them.
    pub subject: String,
    /// Who vouches for that name, where it isn't the token's own issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

impl ClaimMapping {
    /// Whether the claims have what has to be there.
    pub(super) fn check_required(&self, claims: &Map<String, Value>) -> Result<(), AuthError> {
        for (path, accepted) in &self.require {
            let is_accepted = match path.find(claims) {
                Some(Value::String(found)) => accepted.iter().any(|value| fits(value, found)),
                Some(Value::Bool(found)) => accepted.iter().any(|value| *value == found.to_string()),
                _ => false,
            };
            if !is_accepted {
                return Err(AuthError::Required(path.0.clone()));
            }
        }
        Ok(())
    }

    /// What they are called, where a claim is named for that.
    pub(super) fn user(&self, claims: &Map<String, Value>) -> Result<Option<String>, AuthError> {
        let Some(path) = &self.user else { return Ok(None) };
        match path.find(claims) {
            Some(Value::String(name)) if is_name(name) => Ok(Some(name.clone())),
            _ => Err(AuthError::Claim("user")),
        }
    }

    /// The groups, sorted, without duplicates.
    pub(super) fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, AuthError> {
        let mut groups = self.names(&self.groups, claims, "groups")?;
        groups.extend(self.everybody.iter().cloned());
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// The roles, sorted, without duplicates.
    pub(super) fn roles(&self, claims: &Map<String, Value>) -> Result<Vec<String>, AuthError> {
        let mut roles = self.names(&self.roles, claims, "roles")?;
        roles.sort();
        roles.dedup();
        Ok(roles)
    }

    fn names(
        &self,
        paths: &[ClaimPath],
        claims: &Map<String, Value>,
        what: &'static str,
    ) -> Result<Vec<String>, AuthError> {
        let mut names = Vec::new();
        for found in paths.iter().filter_map(|path| path.find(claims)) {
            let listed = match found {
                Value::Array(many) => many.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in listed {
                let name = value.as_str().filter(|name| is_name(name)).ok_or(AuthError::Claim(what))?;
                names.push(format!("{}{name}", self.prefix));
            }
            if names.len() > MAX_GROUPS {
                return Err(AuthError::Claim(what));
            }
        }
        Ok(names)
    }

    /// Person or program.
    pub(super) fn kind(&self, claims: &Map<String, Value>, subject: &str) -> Result<UserKind, AuthError> {
        let is_service = match &self.kind {
            KindMapping::Fixed(kind) => return Ok(*kind),
            KindMapping::Claim(path, services) => match path.find(claims) {
                Some(Value::String(kind)) => services.contains(kind),
                _ => return Err(AuthError::Claim("kind")),
            },
            KindMapping::Standard => {
                let says = |name: &str| claims.get(name).and_then(Value::as_str);
                says("idtyp") == Some("app")
                    || says("gty") == Some("client-credentials")
                    // RFC 9068, section 2.2: without a resource owner the subject is the client.
                    || ["client_id", "azp"].into_iter().any(|name| says(name) == Some(subject))
            }
        };
        Ok(if is_service { UserKind::Service } else { UserKind::Person })
    }

    /// Who acts for the subject (RFC 8693, section 4.1): the first one now, those before it one after the other.
    pub(super) fn actors(&self, claims: &Map<String, Value>, issuer: &str) -> Result<Vec<Actor>, AuthError> {
        let mut actors = Vec::new();
        let mut next = claims.get("act");
        while let Some(act) = next {
            let act = act.as_object().filter(|_| actors.len() < MAX_ACTORS).ok_or(AuthError::Claim("act"))?;
            let text = |name: &str| match act.get(name) {
                None => Ok(None),
                Some(Value::String(text)) if is_name(text) => Ok(Some(text.clone())),
                Some(_) => Err(AuthError::Claim("act")),
            };
            let subject = text("sub")?.ok_or(AuthError::Claim("act"))?;
            actors.push(Actor { subject, issuer: text("iss")?.filter(|own| own != issuer) });
            next = act.get("act");
        }
        if let (Some(listed), Some(now)) = (&self.actors, actors.first())
            && (now.issuer.is_some() || !listed.contains(&now.subject))
        {
            return Err(AuthError::Actor);
        }
        Ok(actors)
    }
}

/// Whether a value is the one that is asked for, or begins as it does up to its `*`.
fn fits(asked: &str, found: &str) -> bool {
    asked.strip_suffix('*').map_or(asked == found, |start| found.starts_with(start))
}

/// A name that can stand in rules, records and logs: short, not empty, without control characters.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
