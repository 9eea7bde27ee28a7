//! The checkpoints of a log as they are verified: one after the other, from the first key to the last.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Take},
};

use super::{
    checkpoint::Checkpoint,
    ledger,
    log::folder::Folder,
    note::{NoteError, Verifier},
};

/// The checkpoints of a log in their order, each verified by the key that is in force.
pub(super) struct Signed {
    lines: Option<BufReader<Take<File>>>,
    /// The line that begins the next note.
    ahead: String,
    line: u64,
    /// The keys that have been in force, the first one first.
    pub(super) keys: Vec<Verifier>,
    /// How many are wrong, and the first of them.
    pub(super) bad: u64,
    pub(super) first_bad: Option<(u64, NoteError)>,
}

impl Signed {
    /// Those of the log in a folder, as many as there are now. `first` is the key that signed the first one.
    pub(super) fn open(folder: &Folder, first: &Verifier) -> io::Result<Self> {
        let lines = match File::open(folder.file(ledger::NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => {
                let file = file?;
                let size = file.metadata()?.len();
                Some(BufReader::new(file.take(size)))
            }
        };
        Ok(Self { lines, ahead: String::new(), line: 0, keys: vec![first.clone()], bad: 0, first_bad: None })
    }

    /// The text of the next note, and its first line's number; None behind the last.
    fn note(&mut self) -> io::Result<Option<(String, u64)>> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut note = std::mem::take(&mut self.ahead);
        let (begin, mut signed) = (self.line.max(1), false);
        loop {
            let mut bytes = Vec::new();
            if lines.read_until(b'\n', &mut bytes)? == 0 {
                self.lines = None;
                return Ok((!note.is_empty()).then_some((note, begin)));
            }
            self.line += 1;
            // What is no text is no checkpoint: the replacement makes the signature wrong.
            let line = String::from_utf8_lossy(&bytes).into_owned();
            let signature = line.starts_with('\u{2014}');
            if signed && !signature {
                self.ahead = line;
                return Ok(Some((note, begin)));
            }
            signed |= signature;
            note.push_str(&line);
        }
    }

    /// The next checkpoint that is right; the others are counted.
    pub(super) fn next(&mut self) -> io::Result<Option<Checkpoint>> {
        while let Some((note, line)) = self.note()? {
            let key = self.keys.last().map(|key| Checkpoint::verified(&note, key));
            match key {
                Some(Ok(checkpoint)) => {
                    self.keys.extend(checkpoint.next_key.clone());
                    return Ok(Some(checkpoint));
                }
                Some(Err(error)) => {
                    self.bad += 1;
                    self.first_bad.get_or_insert((line, error));
                }
                None => {}
            }
        }
        Ok(None)
    }
}
