//! The folder of a log: its segments, and the lock by which one process alone writes.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::private;

/// The folder of the segments, in the one of the log.
const SEGMENTS: &str = "segments";
/// Held by who writes.
const LOCK: &str = "lock";
/// Digits of a segment's name.
const DIGITS: usize = 20;

/// A log's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

/// Held as long as this process may write; the system lets it go with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough where a child that is being started has the file as well. What can't be let go goes with the process.
        let _ = self.file.unlock();
    }
}

impl Folder {
    /// The folder at this path, whether it exists or not.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Creates what is missing; nobody else may look in.
    pub(crate) fn create(&self) -> io::Result<()> {
        private::create_dir(&self.0)?;
        private::create_dir(&self.0.join(SEGMENTS))
    }

    /// Why it can't be a log, in words for who named it; None where it can, or doesn't exist.
    pub(crate) fn is_wrong(&self) -> Option<String> {
        if !self.0.exists() || self.0.is_dir() {
            return None;
        }
        let mut begin = [0; 16];
        let read = File::open(&self.0).and_then(|mut file| io::Read::read_exact(&mut file, &mut begin));
        if read.is_ok() && begin == *b"SQLite format 3\0" {
            return Some(
                "it is an evidence store of an earlier version, one SQLite file; keep it, readable by that version, and let `store` name a new folder"
                    .to_owned(),
            );
        }
        Some("it is a file; let `store` name a folder".to_owned())
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> io::Result<Lock> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(self.file(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another gateway writes to it; end that one, or let `store` name a folder of its own",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The numbers of the first records of all segments, in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut firsts = Vec::new();
        for entry in fs::read_dir(self.0.join(SEGMENTS))? {
            let name = entry?.file_name();
            // What has another name is none of ours.
            let digits = name.to_str().filter(|name| name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_digit()));
            firsts.extend(digits.and_then(|name| name.parse::<u64>().ok()));
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// Where the segment is that begins with this record.
    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.0.join(SEGMENTS).join(format!("{first:0DIGITS$}"))
    }

    /// Creates a segment, which must not be there; it can be found after a crash once this returns.
    pub(crate) fn create_segment(&self, first: u64, header: &[u8]) -> io::Result<File> {
        let path = self.segment(first);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::os::unix::fs::FileExt::write_all_at(&file, header, 0)?;
        file.sync_all()?;
        File::open(self.0.join(SEGMENTS))?.sync_all()?;
        Ok(file)
    }
}
