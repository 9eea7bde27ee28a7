//! How far a destination is, kept beside the store: the number of the last record that has arrived.

use std::io;
use std::path::{Path, PathBuf};

use super::feed::Feed;
use crate::private;

/// How far a destination is.
#[derive(Debug)]
pub(super) struct Place {
    file: PathBuf,
    last: u64,
}

impl Place {
    /// Where the destination of this name was; where there was none, before the first record, or behind the last one there is.
    ///
    /// # Errors
    /// The file can't be read or made, or is none of ours.
    pub(super) async fn open(folder: &Path, name: &str, from_now: bool, feed: &mut Feed) -> Result<Self, String> {
        let file = folder.join(name);
        let wrong = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
        match private::read(&file) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                let last = text.trim_end().parse().map_err(|_| {
                    wrong(&"not the number of a record; write the last one that has arrived, or remove the file to begin anew")
                })?;
                Ok(Self { file, last })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let last = if from_now { feed.newest().await? } else { 0 };
                private::create_dir(folder).map_err(|error| wrong(&error))?;
                let mut place = Self { file: file.clone(), last };
                place.advance(last).map_err(|error| wrong(&error))?;
                Ok(place)
            }
            Err(error) => Err(wrong(&error)),
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Everything up to this record has arrived.
    ///
    /// # Errors
    /// The place can't be kept, and is what it was.
    pub(super) fn advance(&mut self, last: u64) -> io::Result<()> {
        private::replace(&self.file, format!("{last}\n").as_bytes())?;
        self.last = last;
        Ok(())
    }
}
