//! The file of a log's checkpoints, to which they are appended.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
};

use super::{
    checkpoint::{Checkpoint, notes},
    log::{folder::Folder, tree::CompactRange},
    note::{NoteError, Signer},
};
use crate::private;

/// The checkpoints, in the folder of the log.
pub(super) const NAME: &str = "checkpoints";
/// The public keys, one a line, the first one first.
pub(super) const PUBLIC: &str = "evidence.pub";
/// So much of the end is read to find the newest checkpoint, in bytes.
const END: u64 = 64 * 1024;
/// No checkpoint is so long, in bytes.
const NOTE: u64 = 4096;
/// Begins the line of a signature.
const DASH: &[u8] = "\u{2014}".as_bytes();

/// The newest note in a folder that is whole; None where there is none.
pub(super) fn newest(folder: &Folder) -> io::Result<Option<String>> {
    match File::open(folder.file(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => Ok(end(&mut file?)?.0),
    }
}

/// The newest note that is whole, and how many bytes stand behind it.
fn end(file: &mut File) -> io::Result<(Option<String>, u64)> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END)))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    // A note ends with the line of its last signature. What a crash has cut off need not even be text.
    let line = bytes.split_inclusive(|byte| *byte == b'\n').scan(0, |at, line| {
        *at += line.len();
        Some((*at, line))
    });
    let signed = line.filter(|(_, line)| line.starts_with(DASH) && line.ends_with(b"\n")).last();
    let whole = signed.map_or(0, |(end, _)| end);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    Ok((notes(&text).last().map(str::to_owned), (bytes.len() - whole) as u64))
}

/// The checkpoints of a log that is written.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    signer: Signer,
    newest: Option<Checkpoint>,
}

impl Ledger {
    /// Opens the checkpoints of a folder with the key that signs the next one.
    pub(super) fn open(folder: &Folder, signer: Signer) -> io::Result<Self> {
        let path = folder.file(NAME);
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)?;
        let (note, torn) = end(&mut file)?;
        let newest = note.map(|note| own(&note, &signer)).transpose()?;
        if torn > NOTE {
            return Err(io::Error::other(format!("the end of its file `{NAME}` is damaged")));
        }
        // A checkpoint that a crash has torn was shown to nobody.
        if torn > 0 {
            tracing::warn!(bytes = torn, "the newest checkpoint of the evidence was torn and is cut off");
            file.set_len(file.metadata()?.len().saturating_sub(torn))?;
        }
        let ledger = Self { file, signer, newest };
        ledger.publish(folder)?;
        Ok(ledger)
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// The key that signs.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs and keeps a checkpoint, where there is something new since the newest.
    pub(super) fn keep(&mut self, tree: &CompactRange) -> io::Result<()> {
        if self.newest.as_ref().is_some_and(|newest| newest.size >= tree.size()) {
            return Ok(());
        }
        self.append(tree, None)
    }

    /// Signs a checkpoint with this key and the next one, which signs alone from then on.
    pub(super) fn hand_over(&mut self, folder: &Folder, tree: &CompactRange, next: Signer) -> io::Result<()> {
        self.append(tree, Some(&next))?;
        self.signer = next;
        self.publish(folder)
    }

    fn append(&mut self, tree: &CompactRange, next: Option<&Signer>) -> io::Result<()> {
        let origin = self.signer.verifier().name().to_owned();
        let next_key = next.map(|next| next.verifier().clone());
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root(), next_key };
        let signers: Vec<&Signer> = [&self.signer].into_iter().chain(next).collect();
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(checkpoint.signed(&signers).as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a checkpoint would spoil the next one. Where it can't be taken back, verification says so.
            let _ = self.file.set_len(before);
            return Err(error);
        }
        self.newest = Some(checkpoint);
        Ok(())
    }

    /// Adds the public key to the file of public keys, where it isn't there.
    fn publish(&self, folder: &Folder) -> io::Result<()> {
        let path = folder.file(PUBLIC);
        let mut keys = match private::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            keys => String::from_utf8_lossy(&keys?).into_owned(),
        };
        let key = self.signer.verifier().to_string();
        if keys.lines().any(|line| line == key) {
            return Ok(());
        }
        keys.push_str(&format!("{key}\n"));
        private::replace(&path, keys.as_bytes())
    }
}

/// The checkpoint in a note of a log whose next one this key signs.
fn own(note: &str, signer: &Signer) -> io::Result<Checkpoint> {
    let said = |error: NoteError| match error {
        NoteError::Unsigned => io::Error::other(
            "its newest checkpoint is signed by another key; bring back the file of the key, or let `store` name a new folder",
        ),
        error => io::Error::other(format!("its newest checkpoint is damaged: {error}")),
    };
    let checkpoint = Checkpoint::verified(note, signer.verifier()).map_err(said)?;
    match &checkpoint.next_key {
        Some(next) if next != signer.verifier() => Err(said(NoteError::Unsigned)),
        _ => Ok(checkpoint),
    }
}
