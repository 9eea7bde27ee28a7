//! `rules.lock`: which packs rules import, by digest. What isn't pinned, or isn't what was pinned, is not compiled.

use crate::load::text_of;
use crate::syntax::tree::ItemKind;
use crate::{Compilation, Source, syntax};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const LOCK: &str = "rules.lock";
const HEAD: &str =
    "# The packs that these rules import, by digest. `rulec pack lock` writes it; commit it with the rules.\n";

/// The pins of a folder of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The version of the format: 1.
    pub version: u32,
    /// The packs by name.
    #[serde(default)]
    pub pack: BTreeMap<String, Pin>,
}

/// One pack as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its version.
    pub version: String,
    /// The digest of its text.
    pub digest: String,
    /// Where it is, relative to the lock; none for a pack that is part of this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Why a lock can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock itself.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The lock.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A pack that the lock names.
    #[error("{}: pack `{pack}` can't be read from `{file}`: {reason}; put it back, or remove the pin", path.display())]
    Pack {
        /// The lock.
        path: PathBuf,
        /// The pack.
        pack: String,
        /// Its file, as the lock has it.
        file: String,
        /// Why not.
        reason: String,
    },
}

/// `sha256:` and hexadecimal digits of a pack's text; the ends of its lines may be written either way.
#[must_use]
pub fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.replace("\r\n", "\n").as_bytes());
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash))
}

/// The name and version that a text says of itself as a pack.
#[must_use]
pub fn head(text: &str) -> Option<(String, String)> {
    let parsed = syntax::parse(&Source { path: String::new(), text: text.to_owned() });
    parsed.file.items.into_iter().find_map(|item| match item.kind {
        ItemKind::Pack(pack) => Some((pack.name.value, pack.version.value)),
        _ => None,
    })
}

impl Lock {
    /// The lock for these files and folders: the nearest one in the folder of the first of them, or above.
    ///
    /// # Errors
    /// [`LockError::Unreadable`] where there is one that can't be read.
    pub fn find(paths: &[PathBuf]) -> Result<Option<(PathBuf, Self)>, LockError> {
        let Some(first) = paths.first().and_then(|path| path.canonicalize().ok()) else { return Ok(None) };
        let found = first.ancestors().map(|folder| folder.join(LOCK)).find(|path| path.is_file());
        found.map(|path| Self::read(&path).map(|lock| (path, lock))).transpose()
    }

    /// Reads a lock.
    ///
    /// # Errors
    /// [`LockError::Unreadable`]
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let failed = |reason: String| LockError::Unreadable { path: path.to_owned(), reason };
        let lock: Self = toml::from_str(&text_of(path).map_err(failed)?)
            .map_err(|error| failed(format!("it is no lock: {}; write it anew: `rulec pack lock`", error.message())))?;
        match lock.version {
            1 => Ok(lock),
            other => Err(failed(format!("its format has version {other}, and this program reads 1"))),
        }
    }

    /// The lock as text.
    #[must_use]
    pub fn text(&self) -> String {
        // Maps of texts can always be written.
        format!("{HEAD}{}", toml::to_string(self).unwrap_or_default())
    }

    /// Pins the packs that a compilation has read. Where `known` pins one to a file, it stays there.
    #[must_use]
    pub fn of(compilation: &Compilation, known: &Self) -> Self {
        let mut lock = Self { version: 1, pack: BTreeMap::new() };
        for source in &compilation.sources {
            let Some(name) = pack_name(source) else { continue };
            let version = head(&source.text).map(|(_, version)| version).unwrap_or_default();
            let file = known.pack.get(name).and_then(|pin| pin.file.clone());
            lock.pack.insert(name.to_owned(), Pin { version, digest: digest(&source.text), file });
        }
        lock
    }
}

/// The name of the pack that a source is, where it is one that was found by name.
pub(crate) fn pack_name(source: &Source) -> Option<&str> {
    source.path.strip_prefix('<')?.strip_suffix('>')
}
