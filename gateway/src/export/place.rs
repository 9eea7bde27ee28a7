//! How far a destination is, kept beside the store: the number of the next record for it.

use std::io;
use std::path::{Path, PathBuf};

use super::feed::Feed;
use crate::private;

/// How far a destination is.
#[derive(Debug)]
pub(super) struct Place {
    file: PathBuf,
    next: u64,
}

impl Place {
    /// Where the destination of this name was, in this log; where there was none, before the first record, or behind the last one there is.
    ///
    /// # Errors
    /// The file can't be read or made, or is none of ours.
    pub(super) fn open(folder: &Path, name: &str, from_now: bool, feed: &Feed) -> Result<Self, String> {
        let file = folder.join(name);
        let wrong = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
        match private::read(&file) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                let next = text.trim_end().parse().map_err(|_| {
                    wrong(&"not the number of a record; write that of the next one for it, or remove the file to begin anew")
                })?;
                let mut place = Self { file: file.clone(), next };
                if next > feed.size() {
                    tracing::warn!(
                        export = name,
                        next,
                        "an export was further than the log is, so this is another log: it begins anew"
                    );
                    place.advance(0).map_err(|error| wrong(&error))?;
                }
                Ok(place)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let next = if from_now { feed.size() } else { 0 };
                private::create_dir(folder).map_err(|error| wrong(&error))?;
                let mut place = Self { file: file.clone(), next };
                place.advance(next).map_err(|error| wrong(&error))?;
                Ok(place)
            }
            Err(error) => Err(wrong(&error)),
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Everything before this record has arrived.
    ///
    /// # Errors
    /// The place can't be kept, and is what it was.
    pub(super) fn advance(&mut self, next: u64) -> io::Result<()> {
        private::replace(&self.file, format!("{next}\n").as_bytes())?;
        self.next = next;
        Ok(())
    }
}
