//! Which evidence store a command is about.

use std::path::PathBuf;

use clap::Args;

use crate::{
    config::{data_dir, load},
    evidence::{Reader, SigningKey},
};

/// The store that a command reads.
#[derive(Debug, Args)]
pub(super) struct Store {
    /// The configuration that names the store (default: the development store).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store itself.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    store: Option<PathBuf>,
}

impl Store {
    /// Its folder.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        Ok(self.with_key()?.0)
    }

    /// Its folder, and the key that signs.
    pub(super) fn with_key(&self) -> Result<(PathBuf, SigningKey), String> {
        let store = match (&self.store, &self.config) {
            (Some(store), _) => store.clone(),
            (None, Some(config)) => {
                let config = load(config).map_err(|errors| errors.to_string())?;
                return Ok((config.store.clone(), config.signing_key()));
            }
            (None, None) => data_dir().join("evidence"),
        };
        let key = SigningKey::beside(&store);
        Ok((store, key))
    }

    /// Opens it for reading.
    pub(super) fn reader(&self) -> Result<Reader, String> {
        Reader::open(&self.path()?).map_err(|error| error.to_string())
    }
}
