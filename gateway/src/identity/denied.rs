//! Tokens and subjects that count no longer although their time isn't over: a list in a file, which is watched.

use std::{
    collections::HashSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{AuthError, Identity};
use crate::stamp::Stamp;

/// How often the file is looked at, and live sessions are held against it.
pub const WATCH: Duration = Duration::from_secs(1);
/// A longer list is refused, in bytes.
const MAX: u64 = 16 << 20;

/// What is denied: `jti` or `sub`, the issuer (None: any), and the value.
type Entry = (Kind, Option<String>, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Token,
    Subject,
}

/// The list, as the file has it.
#[derive(Debug)]
pub struct DenyList {
    path: PathBuf,
    entries: ArcSwap<HashSet<Entry>>,
    /// Why the file can't be used as it is now; then no token counts.
    broken: Mutex<Option<String>>,
    seen: Mutex<Stamp>,
    changes: AtomicU64,
}

impl DenyList {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the file, with the line where it is one.
    pub fn open(path: &Path) -> Result<Self, String> {
        let (entries, stamp) = read(path)?;
        let entries = ArcSwap::from_pointee(entries);
        let (broken, changes) = Default::default();
        Ok(Self { path: path.to_owned(), entries, broken, seen: Mutex::new(stamp), changes })
    }

    /// Reads the file again where it is another one now. While it can't be read, no token counts, and what it said before goes
    /// on holding for live sessions.
    pub fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let was_broken = self.broken().is_some();
        let now = std::fs::metadata(&self.path).map(|found| Stamp::of(&found));
        if now.as_ref().is_ok_and(|now| *now == *seen) && !was_broken {
            return;
        }
        let broken = match read(&self.path) {
            Ok((entries, stamp)) => {
                tracing::info!(entries = entries.len(), "the deny list was read");
                self.entries.store(entries.into());
                self.changes.fetch_add(1, Ordering::Release);
                *seen = stamp;
                None
            }
            Err(reason) => {
                if !was_broken {
                    tracing::error!(path = %self.path.display(), reason, "no token counts until the deny list can be read");
                }
                Some(reason)
            }
        };
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }

    fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another number as soon as the list has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the list names this identity's subject or token.
    #[must_use]
    pub fn denies(&self, identity: &Identity) -> bool {
        let entries = self.entries.load();
        let names = |kind, value: &str| names(&entries, kind, &identity.issuer, value);
        !entries.is_empty()
            && (names(Kind::Subject, &identity.subject)
                || identity.token_id.as_ref().is_some_and(|id| names(Kind::Token, id))
                // Whoever acts for somebody is denied as well.
                || identity.actors.iter().any(|actor| names(Kind::Subject, &actor.subject)))
    }

    /// Whether the list, as it was last read, names this subject.
    #[must_use]
    pub fn names_subject(&self, issuer: &str, subject: &str) -> bool {
        names(&self.entries.load(), Kind::Subject, issuer, subject)
    }

    /// Whether what this subject has said before still counts: the list can be read and doesn't name it.
    #[must_use]
    pub fn stands(&self, issuer: &str, subject: &str) -> bool {
        self.broken().is_none() && !self.names_subject(issuer, subject)
    }

    pub(super) fn check(&self, identity: &Identity) -> Result<(), AuthError> {
        if self.broken().is_some() {
            return Err(AuthError::DenyList);
        }
        if self.denies(identity) { Err(AuthError::Denied) } else { Ok(()) }
    }
}

fn names(entries: &HashSet<Entry>, kind: Kind, issuer: &str, value: &str) -> bool {
    [None, Some(issuer.to_owned())].into_iter().any(|issuer| entries.contains(&(kind, issuer, value.to_owned())))
}

fn read(path: &Path) -> Result<(HashSet<Entry>, Stamp), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let stamp = Stamp::of(&file.metadata().map_err(|error| error.to_string())?);
    let mut text = String::new();
    file.take(MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX {
        return Err("it is longer than 16 MiB".to_owned());
    }
    Ok((parse(&text)?, stamp))
}

/// Lines of `sub ISSUER SUBJECT` or `jti ISSUER ID`, with `*` for any issuer; `#` begins a comment line.
fn parse(text: &str) -> Result<HashSet<Entry>, String> {
    let mut entries = HashSet::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let entry = match (words.next(), words.next(), words.next().map(str::trim)) {
            (Some(kind @ ("jti" | "sub")), Some(issuer), Some(value)) if !issuer.is_empty() && !value.is_empty() => {
                let kind = if kind == "jti" { Kind::Token } else { Kind::Subject };
                (kind, (issuer != "*").then(|| issuer.to_owned()), value.to_owned())
            }
            _ => return Err(format!("line {}: a line is `sub ISSUER SUBJECT` or `jti ISSUER ID`", number + 1)),
        };
        entries.insert(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Actor, UserKind};

    fn identity(subject: &str, token: &str) -> Identity {
        Identity {
            issuer: "https://idp.example".to_owned(),
            subject: subject.to_owned(),
            user_id: subject.to_owned(),
            email: None,
            kind: UserKind::Person,
            groups: Vec::new(),
            roles: Vec::new(),
            actors: Vec::new(),
            token_id: Some(token.to_owned()),
            expires: jiff::Timestamp::MAX,
        }
    }

    #[test]
    fn subjects_and_tokens_are_denied_by_issuer_or_everywhere() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("denied.txt");
        std::fs::write(
            &path,
            "# left on Friday\nsub https://idp.example ada\njti * t-1\nsub https://other.example eve\n",
        )
        .unwrap();
        let list = DenyList::open(&path).unwrap();
        assert_eq!(list.check(&identity("ada", "t-9")), Err(AuthError::Denied));
        assert_eq!(list.check(&identity("bob", "t-1")), Err(AuthError::Denied));
        assert_eq!(list.check(&identity("eve", "t-9")), Ok(()), "another issuer's eve");
        assert_eq!(list.check(&identity("bob", "ada")), Ok(()), "a token's name is no subject's");
        let mut delegated = identity("bob", "t-9");
        delegated.actors = vec![Actor { subject: "ada".to_owned(), issuer: None }];
        assert_eq!(list.check(&delegated), Err(AuthError::Denied), "who acts is denied too");
    }

    #[test]
    fn a_changed_list_counts_and_a_broken_one_lets_nobody_in() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("denied.txt");
        std::fs::write(&path, "").unwrap();
        let list = DenyList::open(&path).unwrap();
        let ada = identity("ada", "t-1");
        assert_eq!((list.check(&ada), list.changes()), (Ok(()), 0));
        std::fs::write(&path, "sub * ada\n").unwrap();
        list.refresh();
        assert_eq!((list.check(&ada), list.changes()), (Err(AuthError::Denied), 1));
        std::fs::write(&path, "sub ada\n").unwrap();
        list.refresh();
        assert_eq!(list.check(&identity("bob", "t-2")), Err(AuthError::DenyList), "a line that isn't understood");
        assert!(list.denies(&ada), "what it said goes on holding");
        assert!(!list.denies(&identity("bob", "t-2")), "a slip of the pen ends no session");
        std::fs::remove_file(&path).unwrap();
        list.refresh();
        assert_eq!(list.check(&identity("bob", "t-2")), Err(AuthError::DenyList), "no file");
        std::fs::write(&path, "jti * t-7\n").unwrap();
        list.refresh();
        assert_eq!((list.check(&ada), list.changes()), (Ok(()), 2));
    }

    #[test]
    fn a_list_that_cannot_be_read_says_where() {
        for (text, says) in [("sub\n", "line 1"), ("# ok\n\nuser * ada\n", "line 3"), ("sub * \n", "line 1")] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
