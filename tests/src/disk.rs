//! A disk that stalls or fails when a test says so, under a gateway that is started with it.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It works.
    Well,
    /// A sync waits until the mood changes.
    Stalls,
    /// A sync fails, as an input/output error.
    FailsToSync,
    /// A write fails: there is no space.
    Full,
}

/// The disk, well at first.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Builds what stands between a program and its disk.
    pub fn new() -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(disk.library())
            .arg(crate::place::root().join("tests/src/disk.c"));
        let built = cc.arg("-ldl").status().expect("a compiler of C, which the build needs as well");
        assert!(built.success(), "the disk doesn't build");
        disk.is(Mood::Well);
        disk
    }

    /// Changes what it does, from now on.
    pub fn is(&self, mood: Mood) {
        let word = match mood {
            Mood::Well => "well",
            Mood::Stalls => "stall",
            Mood::FailsToSync => "eio",
            Mood::Full => "enospc",
        };
        // In one go, so that nobody reads half a word.
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, word).unwrap();
        std::fs::rename(draft, self.mood()).unwrap();
    }

    /// What starts a program on this disk.
    pub fn wrapper(&self) -> [String; 3] {
        let preload = format!("LD_PRELOAD={}", self.library().display());
        ["env".to_owned(), preload, format!("SLUICE_TEST_DISK={}", self.mood().display())]
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("disk.so")
    }

    fn mood(&self) -> PathBuf {
        self.folder.path().join("mood")
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}
