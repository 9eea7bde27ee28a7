//! The file of logins: readable by its owner alone, replaced as a whole, and changed by one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::provider::{Granted, Wanted};
use crate::{private, strict::Strict};

/// How long another process may take over a change; asking an issuer for newer tokens is part of one.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often it is looked whether it is done.
const PACE: Duration = Duration::from_millis(50);
/// A longer file is refused, in bytes.
const MAX: u64 = 4 << 20;
/// Tokens are renewed when a quarter of their time is left, but not earlier than this before they expire.
const EARLY: SignedDuration = SignedDuration::from_secs(120);
/// They are renewed this long before they expire, at least.
const LATE: SignedDuration = SignedDuration::from_secs(2);

/// What is kept of a login.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// The gateway that it is for.
    pub(super) gateway: Option<String>,
    /// The one connection that it is for.
    pub(super) connection: Option<String>,
    pub(super) resources: Vec<String>,
    pub(super) audience: Option<String>,
    /// The authorities that vouch for the issuer.
    pub(super) ca: Option<PathBuf>,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) obtained: Timestamp,
    pub(super) expires: Option<Timestamp>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Login {
    /// Whether both are the same login, before and after.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.client_id == other.client_id
            && self.gateway == other.gateway
            && self.connection == other.connection
            && self.resources == other.resources
            && self.audience == other.audience
    }

    /// Takes what the issuer gave; a refresh token stays where there is no newer one.
    pub(super) fn take(&mut self, granted: Granted) {
        self.obtained = Timestamp::now();
        let lifetime = granted.lifetime.and_then(|lifetime| SignedDuration::try_from(lifetime).ok());
        self.expires = lifetime
            .and_then(|lifetime| self.obtained.checked_add(lifetime).ok())
            .or_else(|| super::claims::expiry(&granted.access));
        self.access_token = granted.access;
        self.refresh_token = granted.refresh.or_else(|| self.refresh_token.take());
    }

    /// Whether its token counts, for all that is known here.
    pub(super) fn counts(&self) -> bool {
        self.expires.is_none_or(|expires| expires > Timestamp::now())
    }

    /// Whether its token should be renewed.
    pub(super) fn is_due(&self) -> bool {
        let Some(expires) = self.expires else { return false };
        let lifetime = expires.duration_since(self.obtained);
        let early = (lifetime / 4).clamp(LATE, EARLY);
        expires.duration_since(Timestamp::now()) <= early
    }

    /// What is asked of the issuer for it.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            client_id: self.client_id.clone(),
            scopes: Vec::new(),
            resources: self.resources.clone(),
            audience: self.audience.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    logins: Vec<Login>,
}

/// The file of logins of this user.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The one in `$XDG_CONFIG_HOME/sluice`, else in `~/.config/sluice`.
    ///
    /// # Errors
    ///
    /// There is no such place.
    pub(super) fn of_user() -> Result<Self, String> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let config = config.ok_or("there is no place for logins: set HOME or XDG_CONFIG_HOME")?;
        Ok(Self { folder: config.join("sluice") })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("logins.json")
    }

    /// The logins.
    ///
    /// # Errors
    ///
    /// Others can read or change the file, or it isn't understood.
    pub(super) fn read(&self) -> Result<Vec<Login>, String> {
        let file = self.file();
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        match private::is_own(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{}: {error}", self.folder.display())),
            Ok(()) => {}
        }
        let text = match private::read_within(&file, MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| failed(&error))?,
        };
        let broken = "it isn't understood; remove it and log in again";
        let Strict(value) = serde_json::from_slice(&text).map_err(|_| failed(&broken))?;
        let document: Document = serde_json::from_value(value).map_err(|_| failed(&broken))?;
        if document.version != 1 {
            return Err(failed(&"it was written by a newer version of sluice"));
        }
        Ok(document.logins)
    }

    /// Waits until no other process changes the file, and keeps others from it.
    ///
    /// # Errors
    ///
    /// The folder can't be used, or another process takes too long.
    pub(super) async fn lock(&self) -> Result<Locked<'_>, String> {
        let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        private::create_dir(&self.folder).map_err(|error| failed(&self.folder, error))?;
        private::is_own(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let path = self.folder.join("logins.lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&path).map_err(|error| failed(&path, error))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Locked { store: self, _lock: lock }),
                Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
                Err(TryLockError::WouldBlock) if Instant::now() > until => {
                    return Err(format!("{}: another process doesn't let go of it", path.display()));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PACE).await,
            }
        }
    }
}

/// The file of logins, while no other process changes it.
pub(super) struct Locked<'s> {
    store: &'s Store,
    _lock: File,
}

impl Locked<'_> {
    /// The logins.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    pub(super) fn read(&self) -> Result<Vec<Login>, String> {
        self.store.read()
    }

    /// Writes them in place of all that were there, durably and at once.
    ///
    /// # Errors
    ///
    /// The file can't be written; what was there stays.
    pub(super) fn write(&self, logins: Vec<Login>) -> Result<(), String> {
        let file = self.store.file();
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = serde_json::to_vec(&Document { version: 1, logins }).map_err(|error| failed(&error))?;
        private::replace(&file, &text).map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(refresh: &str, lifetime: u64) -> Login {
        let mut login = Login {
            issuer: "https://idp.example".to_owned(),
            client_id: "sluice".to_owned(),
            gateway: None,
            connection: None,
            resources: Vec::new(),
            audience: None,
            ca: None,
            access_token: String::new(),
            refresh_token: None,
            obtained: Timestamp::UNIX_EPOCH,
            expires: None,
        };
        let lifetime = Some(Duration::from_secs(lifetime));
        login.take(Granted { access: "a".to_owned(), refresh: Some(refresh.to_owned()), lifetime });
        login
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_and_what_is_not_understood_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let store = Store { folder: place.path().join("sluice") };
        assert!(store.read().unwrap().is_empty(), "there is none yet");
        store.lock().await.unwrap().write(vec![login("r", 60)]).unwrap();
        assert_eq!(store.read().unwrap()[0].refresh_token.as_deref(), Some("r"));
        for text in ["", "[]", "{\"version\":2,\"logins\":[]}", "{\"version\":1,\"logins\":[{\"issuer\":\"x\"}]}"] {
            private::replace(&store.file(), text.as_bytes()).unwrap();
            let reason = store.read().unwrap_err();
            assert!(reason.contains("logins.json"), "{text}: {reason}");
        }
        let drafts = std::fs::read_dir(&store.folder).unwrap().count();
        assert_eq!(drafts, 2, "the file and its lock are all that is left");
    }

    #[tokio::test]
    async fn one_process_at_a_time_changes_the_file() {
        let place = tempfile::tempdir().unwrap();
        let store = Store { folder: place.path().join("sluice") };
        let held = store.lock().await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(300), store.lock()).await;
        assert!(waiting.is_err(), "another one waits");
        drop(held);
        assert!(store.lock().await.is_ok());
    }

    #[test]
    fn a_token_is_renewed_before_it_expires_and_a_refresh_token_stays_until_there_is_a_newer_one() {
        let mut long = login("r", 3600);
        assert!(!long.is_due() && long.counts());
        assert!(login("r", 1).is_due(), "shorter than the least notice");
        long.take(Granted { access: "b".to_owned(), refresh: None, lifetime: None });
        assert_eq!((long.access_token.as_str(), long.refresh_token.as_deref()), ("b", Some("r")));
        assert!(long.counts() && !long.is_due(), "nobody says when it expires");
        long.take(Granted { access: "c".to_owned(), refresh: Some("s".to_owned()), lifetime: Some(Duration::ZERO) });
        assert_eq!((long.refresh_token.as_deref(), long.counts(), long.is_due()), (Some("s"), false, true));
    }
}
