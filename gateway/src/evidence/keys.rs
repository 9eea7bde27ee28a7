//! The key that signs a log's checkpoints: made when the log is, kept beside it or given, and replaced by another in the open.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    checkpoint::Checkpoint,
    note::{NoteError, Signer},
};
use crate::private;

/// Where the private key of a log is.
#[derive(Clone)]
pub enum SigningKey {
    /// In this file, which is made when it is missing.
    File(PathBuf),
    /// Given, as it is spelt.
    Given(String),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Given(_) => f.write_str("Given(…)"),
        }
    }
}

impl SigningKey {
    /// The file beside a store where the key is kept unless another one is configured.
    #[must_use]
    pub fn beside(store: &Path) -> Self {
        Self::File(store.with_file_name("signing.key"))
    }

    /// Reads the key, or makes the file with a new one. `newest` is the newest checkpoint: it says whether a change of keys that a crash has
    /// cut short is to be completed.
    pub(super) fn open(&self, newest: Option<&str>) -> io::Result<Signer> {
        let path = match self {
            Self::File(path) => path,
            Self::Given(text) => return read(text).map_err(|error| said("the signing key that is configured", &error)),
        };
        let said = |error: io::Error| said(&format!("the signing key {}", path.display()), &error);
        if let Some(signer) = next(path, newest).map_err(said)? {
            return Ok(signer);
        }
        let made = || Ok(new_log().map_err(io::Error::other)?.secret().into_bytes());
        read_file(private::read_or_create(path, made)).map_err(said)
    }
}

/// The file of a key that is not in force yet.
fn waiting(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Completes a change of keys: the next key, where the newest checkpoint has put it in force.
fn next(path: &Path, newest: Option<&str>) -> io::Result<Option<Signer>> {
    let waiting = waiting(path);
    let signer = match private::read(&waiting) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => read_file(text)?,
    };
    if newest.is_some_and(|note| Checkpoint::verified(note, signer.verifier()).is_ok()) {
        std::fs::rename(&waiting, path)?;
        return Ok(Some(signer));
    }
    // It never signed anything.
    std::fs::remove_file(&waiting)?;
    Ok(None)
}

/// A new key for the log of `old`, kept where it is found when the newest checkpoint names it: in `to`, which must not be there, or beside
/// the file of the old one.
pub(super) fn successor(old: &Signer, key: &SigningKey, to: Option<&Path>) -> io::Result<Signer> {
    let signer = Signer::generate(old.verifier().name()).map_err(io::Error::other)?;
    let secret = format!("{}\n", signer.secret()).into_bytes();
    let path = match (to, key) {
        (Some(to), _) if to.exists() => {
            let reason = format!("{} is there already; name a file that isn't", to.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        (Some(to), _) => to.to_owned(),
        (None, SigningKey::File(path)) => waiting(path),
        (None, SigningKey::Given(_)) => {
            return Err(io::Error::other(
                "the signing key comes from the environment; say with `--to` where the new one is written",
            ));
        }
    };
    private::replace(&path, &secret)?;
    Ok(signer)
}

fn read(text: &str) -> io::Result<Signer> {
    Signer::parse(text).map_err(|_| io::Error::other("it is no private key: PRIVATE+KEY+NAME+ID+KEY, in one line"))
}

fn read_file(text: io::Result<Vec<u8>>) -> io::Result<Signer> {
    read(&String::from_utf8(text?).unwrap_or_default())
}

fn said(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The key of a new log, with a name that no other log has.
fn new_log() -> Result<Signer, NoteError> {
    Signer::generate(&format!("sluice-evidence/{}", uuid::Uuid::new_v4()))
}
