//! Proofs that a record is in the log (C2SP tlog-proof): its place, the hashes up to the root, and the checkpoint, with the record itself
//! as extra data, so that a proof is checked without the log.

use std::{fs::File, io, path::Path};

use data_encoding::BASE64;

use super::{
    checkpoint::Checkpoint,
    ledger,
    log::{
        folder::Folder,
        frame::Header,
        segment::{Frames, Step},
        tree::{CompactRange, Hash, inclusion_ranges, leaf_hash, root_of_inclusion},
    },
    note::Verifier,
    store::EvidenceError,
};

/// Begins a proof.
const FORM: &str = "c2sp.org/tlog-proof@v1";

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The number of the record.
    pub record: u64,
    /// The record: canonical JSON.
    pub text: String,
    /// The checkpoint under which it is.
    pub checkpoint: Checkpoint,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The text is no proof with its record.
    #[error("it is no proof of the form {FORM} with its record as extra data")]
    Form,
    /// None of the keys has signed the checkpoint.
    #[error("its checkpoint is not signed by any of the keys")]
    Checkpoint,
    /// The hashes don't lead from the record to the root.
    #[error("the record is not in the log that the checkpoint is of")]
    Root,
}

/// Proves that the record of this number is under the newest checkpoint of the log.
///
/// # Errors
///
/// [`EvidenceError::Read`] where the log has no such record, or no checkpoint over it; [`EvidenceError::Open`] where it can't be read.
pub fn prove(store: &Path, record: u64) -> Result<String, EvidenceError> {
    let folder = Folder::at(store);
    let unreadable = |error: io::Error| EvidenceError::Open { path: store.to_owned(), reason: error.to_string() };
    let note = newest(store)?;
    let size = Checkpoint::unverified(&note).map_err(|error| EvidenceError::Read(error.to_string()))?.size;
    if record >= size {
        return Err(EvidenceError::Read(format!("the newest checkpoint is of {size} records, numbered from 0")));
    }
    let ranges = inclusion_ranges(record, size);
    let mut trees = vec![CompactRange::default(); ranges.len()];
    let mut text = None;
    each(&folder, size, |number, leaf, bytes| {
        if number == record {
            text = Some(bytes.to_vec());
        } else if let Some(place) = ranges.iter().position(|range| range.contains(&number)) {
            trees[place].push(leaf);
        }
    })
    .map_err(unreadable)?;
    let text = text.ok_or_else(|| {
        EvidenceError::Read(format!("the log has no record {record}; `sluice evidence verify` says more"))
    })?;
    let mut proof = format!("{FORM}\nextra {}\nindex {record}\n", BASE64.encode(&text));
    for tree in trees {
        proof.push_str(&format!("{}\n", BASE64.encode(&tree.root())));
    }
    Ok(format!("{proof}\n{note}"))
}

/// The newest checkpoint of a log, as it was signed.
///
/// # Errors
///
/// [`EvidenceError::Open`] where it can't be read, [`EvidenceError::Read`] where there is none.
pub fn newest(store: &Path) -> Result<String, EvidenceError> {
    let note = ledger::newest(&Folder::at(store));
    let note = note.map_err(|error| EvidenceError::Open { path: store.to_owned(), reason: error.to_string() })?;
    note.ok_or_else(|| EvidenceError::Read("there is no checkpoint".to_owned()))
}

/// Checks a proof by any of these keys, without the log.
///
/// # Errors
///
/// [`ProofError`]: the proof shows nothing.
pub fn check(proof: &str, keys: &[Verifier]) -> Result<Proven, ProofError> {
    let (hashes, note) = proof.split_once("\n\n").ok_or(ProofError::Form)?;
    let mut lines = hashes.split('\n');
    let mut told = |word: &str| lines.next().and_then(|line| line.strip_prefix(word));
    told(FORM).filter(|rest| rest.is_empty()).ok_or(ProofError::Form)?;
    let text = told("extra ").and_then(|text| BASE64.decode(text.as_bytes()).ok()).ok_or(ProofError::Form)?;
    let digits = told("index ").ok_or(ProofError::Form)?;
    let record: u64 = digits.parse().map_err(|_| ProofError::Form)?;
    if digits != record.to_string() {
        return Err(ProofError::Form);
    }
    let hash = |line: &str| BASE64.decode(line.as_bytes()).ok().and_then(|hash| Hash::try_from(hash).ok());
    let hashes = lines.map(hash).collect::<Option<Vec<_>>>().ok_or(ProofError::Form)?;
    let checkpoint = keys.iter().find_map(|key| Checkpoint::verified(note, key).ok()).ok_or(ProofError::Checkpoint)?;
    let root = root_of_inclusion(leaf_hash(&text), record, checkpoint.size, &hashes).ok_or(ProofError::Root)?;
    if root != checkpoint.root {
        return Err(ProofError::Root);
    }
    let text = String::from_utf8(text).map_err(|_| ProofError::Form)?;
    Ok(Proven { record, text, checkpoint })
}

/// Goes through the first `size` records of a log.
fn each(folder: &Folder, size: u64, mut with: impl FnMut(u64, Hash, &[u8])) -> io::Result<()> {
    let mut number = 0;
    for first in folder.segments()? {
        let file = File::open(folder.segment(first))?;
        let mut frames = Frames::new(&file, Header::size(first) as u64);
        while let Step::Frame(frame, _) = frames.next()? {
            if number == size {
                return Ok(());
            }
            with(number, frame.leaf, frame.record);
            number += 1;
        }
    }
    Ok(())
}
