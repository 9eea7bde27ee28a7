//! Whether a file is another one than before.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// What is another one as soon as the file is: its inode, its length in bytes, and when it was last touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, i64, i64);

impl Stamp {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self(file.ino(), file.len(), file.ctime(), file.ctime_nsec())
    }
}
