//! Verifies a log from its files and a public key alone: every record's hash and place, and every checkpoint. Also while a gateway writes.

use std::{fs::File, io, path::Path, time::Duration};

use data_encoding::BASE64;

use super::{
    checkpoint::Checkpoint,
    ledger,
    log::{
        folder::Folder,
        frame::Header,
        segment::{Frames, Step, header, written_later},
        tree::{CompactRange, Hash, leaf_hash},
    },
    note::Verifier,
    report::{Finding, Kind, Report},
    signed::Signed,
    store::EvidenceError,
};

/// So many records since the last good checkpoint are tried in other orders, to say which were swapped.
const PAIRS: usize = 128;
/// So many are tried with one left out, or with neighbours swapped.
const SINGLE: usize = 2048;
/// How long a record that is being written is waited for.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// Verifies the log in a folder. `first` is the key that signed its first checkpoint, `kept` a checkpoint of it that was kept elsewhere.
///
/// # Errors
///
/// [`EvidenceError`] where the files can't be read. What is wrong with what they say is a finding.
pub fn verify(store: &Path, first: &Verifier, kept: Option<&str>) -> Result<Report, EvidenceError> {
    let folder = Folder::at(store);
    let unreadable = |reason: String| EvidenceError::Open { path: store.to_owned(), reason };
    if let Some(reason) = folder.is_wrong() {
        return Err(unreadable(reason));
    }
    let run = || -> io::Result<Report> {
        // Before the records: what a checkpoint is of was durable before it was signed.
        let signed = Signed::open(&folder, first)?;
        let mut check = Check::new(signed, kept);
        check.walk(&folder)?;
        check.finish(first, kept)
    };
    run().map_err(|error| unreadable(error.to_string()))
}

/// A leaf since the last good checkpoint.
#[derive(Clone, Copy)]
struct Leaf {
    stored: Hash,
    /// What the record gives, where that is another hash.
    actual: Option<Hash>,
}

/// A checkpoint whose root is another one.
struct Mismatch {
    /// The tree up to the last one that was right.
    base: CompactRange,
    /// The leaves since, or the first of them.
    leaves: Vec<Leaf>,
    size: u64,
    root: Hash,
    /// What it turned out to be.
    finding: Option<Finding>,
}

/// A verification under way.
struct Check {
    signed: Signed,
    next: Option<Checkpoint>,
    /// The size of the newest checkpoint so far.
    newest: u64,
    right: u64,
    tree: CompactRange,
    base: CompactRange,
    leaves: Vec<Leaf>,
    /// The one that is being looked into, until the leaf behind it is known.
    open: Option<Mismatch>,
    /// All whose roots are wrong.
    wrong: Vec<Mismatch>,
    /// What is read has no place in the tree any more: roots say nothing.
    lost: bool,
    kept: Option<Checkpoint>,
    kept_root: Option<Hash>,
    torn: u64,
    findings: Vec<Finding>,
}

impl Check {
    fn new(signed: Signed, kept: Option<&str>) -> Self {
        let kept = kept.and_then(|note| Checkpoint::unverified(note).ok());
        Self {
            signed,
            next: None,
            newest: 0,
            right: 0,
            tree: CompactRange::default(),
            base: CompactRange::default(),
            leaves: Vec::new(),
            open: None,
            wrong: Vec::new(),
            lost: false,
            kept,
            kept_root: None,
            torn: 0,
            findings: Vec::new(),
        }
    }

    fn find(&mut self, kind: Kind, records: (Option<u64>, Option<u64>), place: Option<(u64, u64)>, text: String) {
        let (segment, at) = place.unzip();
        self.findings.push(Finding { kind, record: records.0, last: records.1, segment, at, text });
    }

    fn walk(&mut self, folder: &Folder) -> io::Result<()> {
        self.advance()?;
        self.compare()?;
        let mut segments = folder.segments()?;
        let (mut place, mut before) = (0, None);
        while let Some(&first) = segments.get(place) {
            // Something may have been written between the look at the end of a segment and the look for what follows.
            if let Some((file, segment, at)) = before.take().filter(|_| first > self.tree.size())
                && self.frames(&file, segment, at, false)?.is_none()
            {
                self.lost = true;
                return Ok(());
            }
            let file = File::open(folder.segment(first))?;
            let whole = match header(&file)? {
                Some(head) if head.first == first => self.enter(&head)?,
                Some(head) => {
                    let text =
                        format!("the segment that begins with record {} has the name of another one", head.first);
                    self.find(Kind::Moved, (Some(first), None), Some((first, 0)), text);
                    false
                }
                None => {
                    self.find(
                        Kind::Damaged,
                        (Some(first), None),
                        Some((first, 0)),
                        "the header of a segment is damaged".to_owned(),
                    );
                    first == self.tree.size()
                }
            };
            if whole {
                let last = place + 1 == segments.len();
                let Some(end) = self.frames(&file, first, Header::size(first) as u64, last)? else {
                    self.lost = true;
                    return Ok(());
                };
                before = last.then_some((file, first, end));
            }
            place += 1;
            if place == segments.len() {
                // Another one may have been begun since.
                segments = folder.segments()?;
            }
        }
        Ok(())
    }

    /// Goes on with a segment; false where its records have no place in the log.
    fn enter(&mut self, head: &Header) -> io::Result<bool> {
        let Header { first, peaks, .. } = head;
        let have = self.tree.size();
        if *first < have {
            let text = format!("a segment begins with record {first}, which was there already");
            self.find(Kind::Added, (Some(*first), None), Some((*first, 0)), text);
            return Ok(false);
        }
        if *first > have {
            let text = match first - have {
                1 => format!("record {have} is gone, with its segment or the end of it"),
                _ => format!("records {have} to {} are gone, with their segment or the end of it", first - 1),
            };
            self.find(Kind::Deleted, (Some(have), Some(first - 1)), Some((*first, 0)), text);
        } else if self.tree.peaks() == peaks {
            return Ok(true);
        } else if self.wrong.is_empty() && self.open.is_none() {
            let from = self.base.size();
            let text = format!("among the records {from} to {} one is not what was written", first - 1);
            self.find(Kind::Edited, (Some(from), Some(first - 1)), Some((*first, 0)), text);
        }
        // The segment's own word for what was before it: whether that is right is shown by the next checkpoint.
        self.settle(None);
        if let Some(tree) = CompactRange::new(*first, peaks.clone()) {
            self.tree = tree;
            self.base = self.tree.clone();
            self.leaves.clear();
        }
        self.skip()?;
        Ok(true)
    }

    /// Reads the frames of a segment from this place on, and gives where they end; None where they end in something that can't be told.
    fn frames(&mut self, file: &File, segment: u64, from: u64, last: bool) -> io::Result<Option<u64>> {
        let mut frames = Frames::new(file, from);
        let mut lead = 0;
        let mut again = false;
        loop {
            let record = self.tree.size();
            match frames.next()? {
                Step::Frame(frame, at)
                    if last && !again && !frame.is_intact() && is_last(file, at + frame.size() as u64)? =>
                {
                    // It may be under way: it is whole when the writer is done with it.
                    std::thread::sleep(UNDER_WAY);
                    (frames, again) = (Frames::new(file, at), true);
                }
                Step::Frame(frame, at) => {
                    again = false;
                    let actual = leaf_hash(frame.record);
                    let size = frame.size() as u64;
                    let (stored, leads) = (frame.leaf, u64::from(frame.lead));
                    if leads != 0 && leads != lead {
                        let text = format!("record {record} does not stand behind what was written before it");
                        self.find(Kind::Moved, (Some(record), None), Some((segment, at)), text);
                    }
                    lead = leads + size;
                    if actual != stored {
                        let text = format!("record {record} was edited: its hash is another one");
                        self.find(Kind::Edited, (Some(record), None), Some((segment, at)), text);
                    }
                    self.leaf(Leaf { stored, actual: (actual != stored).then_some(actual) })?;
                }
                Step::End(at) | Step::Bad(at) => {
                    let later = written_later(file, at)?;
                    let rest = file.metadata()?.len().saturating_sub(at);
                    if later.is_some() && !again {
                        // Both may have been written since it was looked at.
                        again = true;
                        continue;
                    }
                    if later.is_some() {
                        let text = format!("record {record} is damaged, and with it the way to what stands behind it");
                        self.find(Kind::Damaged, (Some(record), None), Some((segment, at)), text);
                        return Ok(None);
                    }
                    if last && !is_zero(file, at, rest)? {
                        self.torn = rest;
                    } else if !last && rest > 0 && !is_zero(file, at, rest)? {
                        let text = format!("record {record} is damaged");
                        self.find(Kind::Damaged, (Some(record), None), Some((segment, at)), text);
                    }
                    return Ok(Some(at));
                }
            }
        }
    }

    fn leaf(&mut self, leaf: Leaf) -> io::Result<()> {
        self.settle(Some(leaf));
        self.tree.push(leaf.stored);
        // More are not tried in other orders.
        if self.leaves.len() <= SINGLE {
            self.leaves.push(leaf);
        }
        self.compare()
    }

    /// Holds the tree against the checkpoints of its size.
    fn compare(&mut self) -> io::Result<()> {
        if self.kept.as_ref().is_some_and(|kept| kept.size == self.tree.size()) {
            self.kept_root = Some(self.tree.root());
        }
        while let Some(next) = self.next.take_if(|next| next.size == self.tree.size()) {
            if next.root == self.tree.root() {
                self.right += 1;
                self.base = self.tree.clone();
                self.leaves.clear();
            } else if self.open.is_none() && self.wrong.is_empty() {
                let (base, leaves) = (self.base.clone(), self.leaves.clone());
                self.open = Some(Mismatch { base, leaves, size: next.size, root: next.root, finding: None });
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Takes the next checkpoint that doesn't go back.
    fn advance(&mut self) -> io::Result<()> {
        while let Some(next) = self.signed.next()? {
            if next.size >= self.newest {
                self.newest = next.size;
                self.next = Some(next);
                return Ok(());
            }
            let text = format!(
                "a checkpoint of {} records follows one of {}: an older state was gone on with",
                next.size, self.newest
            );
            self.find(Kind::RolledBack, (Some(next.size), None), None, text);
        }
        Ok(())
    }

    /// Passes over checkpoints of records that are not there.
    fn skip(&mut self) -> io::Result<()> {
        while self.next.take_if(|next| next.size < self.tree.size()).is_some() {
            self.advance()?;
        }
        self.compare()
    }

    /// Says what a wrong root comes from, now that the leaf behind it is known.
    fn settle(&mut self, behind: Option<Leaf>) {
        let Some(mut mismatch) = self.open.take() else { return };
        mismatch.finding = mismatch.diagnose(behind);
        self.wrong.push(mismatch);
    }

    fn finish(mut self, first: &Verifier, kept: Option<&str>) -> io::Result<Report> {
        self.settle(None);
        while self.next.is_some() {
            self.next = None;
            self.advance()?;
        }
        let (size, newest) = (self.tree.size(), self.newest);
        for mismatch in std::mem::take(&mut self.wrong) {
            let told = mismatch.finding.clone();
            let edited = self.findings.iter().any(|finding| finding.kind == Kind::Edited);
            match told {
                Some(finding) => self.findings.push(finding),
                None if edited => {}
                None => self.findings.push(mismatch.told_by_sizes(size, newest)),
            }
        }
        let explained = self.lost || self.findings.iter().any(|finding| finding.kind == Kind::Deleted);
        if newest > size && !explained {
            let text =
                format!("the log was truncated: it has {size} records, and its newest checkpoint is of {newest}");
            self.find(Kind::Truncated, (Some(size), Some(newest - 1)), None, text);
        }
        if let Some((line, error)) = self.signed.first_bad {
            let text = match self.signed.bad {
                1 => format!("the checkpoint at line {line} of `{}` does not count: {error}", ledger::NAME),
                bad => {
                    format!("{bad} checkpoints of `{}` do not count, the first at line {line}: {error}", ledger::NAME)
                }
            };
            self.find(Kind::Checkpoint, (None, None), None, text);
        } else if self.right == 0 && self.wrong.is_empty() && self.findings.is_empty() {
            self.find(
                Kind::Checkpoint,
                (None, None),
                None,
                "there is no checkpoint: nothing shows what the log was".to_owned(),
            );
        }
        if let Some(note) = kept {
            self.against(note);
        }
        Ok(Report {
            origin: first.name().to_owned(),
            records: size,
            root: BASE64.encode(&self.tree.root()),
            checkpoints: self.right,
            signed: newest,
            keys: self.signed.keys.len(),
            torn: self.torn,
            findings: self.findings,
        })
    }

    /// Holds the log against a checkpoint that was kept.
    fn against(&mut self, note: &str) {
        let size = self.tree.size();
        let signed = self.signed.keys.iter().find_map(|key| Checkpoint::verified(note, key).ok());
        let Some(kept) = signed else {
            let text = "the checkpoint that was kept is not signed by a key of this log".to_owned();
            return self.find(Kind::Checkpoint, (None, None), None, text);
        };
        match self.kept_root {
            Some(root) if root == kept.root => {}
            Some(_) => {
                let text = format!("the first {} records are not those of the checkpoint that was kept", kept.size);
                self.find(Kind::Rewritten, (Some(0), kept.size.checked_sub(1)), None, text);
            }
            None if self.lost => {}
            None if kept.size > size => {
                let text = format!(
                    "the log was rolled back: it has {size} records, and the checkpoint that was kept is of {}",
                    kept.size
                );
                self.find(Kind::RolledBack, (Some(size), kept.size.checked_sub(1)), None, text);
            }
            None => {
                let text =
                    format!("the first {} records can't be held against the checkpoint that was kept", kept.size);
                self.find(Kind::Deleted, (None, kept.size.checked_sub(1)), None, text);
            }
        }
    }
}

impl Mismatch {
    fn gives(&self, leaves: impl Iterator<Item = Hash>) -> bool {
        let mut tree = self.base.clone();
        leaves.for_each(|leaf| tree.push(leaf));
        tree.root() == self.root
    }

    /// The one change that gives the root which was signed; None where there is none, or too much to try.
    fn diagnose(&self, behind: Option<Leaf>) -> Option<Finding> {
        if self.leaves.len() > SINGLE {
            return None;
        }
        let stored: Vec<Hash> = self.leaves.iter().map(|leaf| leaf.stored).collect();
        let number = |place: usize| self.base.size() + place as u64;
        let finding = |kind, record, last, text| {
            Some(Finding { kind, record: Some(record), last, segment: None, at: None, text })
        };
        if self.leaves.iter().any(|leaf| leaf.actual.is_some())
            && self.gives(self.leaves.iter().map(|leaf| leaf.actual.unwrap_or(leaf.stored)))
        {
            // The record is the one that was written, and the hash beside it is not: that was said.
            let place = self.leaves.iter().position(|leaf| leaf.actual.is_some())?;
            return finding(
                Kind::Edited,
                number(place),
                None,
                format!("the hash of record {} was edited, the record was not", number(place)),
            );
        }
        for a in 0..stored.len() {
            let reach = if stored.len() > PAIRS { 2 } else { stored.len() };
            for b in a + 1..stored.len().min(a + reach) {
                let mut other = stored.clone();
                other.swap(a, b);
                if self.gives(other.into_iter()) {
                    let text = format!("the records {} and {} were swapped", number(a), number(b));
                    return finding(Kind::Swapped, number(a), Some(number(b)), text);
                }
            }
        }
        let behind = behind?;
        (0..stored.len()).find_map(|left_out| {
            let others = stored.iter().enumerate().filter(|(place, _)| *place != left_out).map(|(_, leaf)| *leaf);
            let gives = self.gives(others.chain([behind.stored]));
            let text =
                format!("record {} was added: it was not there when the checkpoint was signed", number(left_out));
            if gives { finding(Kind::Added, number(left_out), None, text) } else { None }
        })
    }

    /// What is left to say where no one change explains it.
    fn told_by_sizes(&self, size: u64, newest: u64) -> Finding {
        let (first, last) = (self.base.size(), self.size.saturating_sub(1));
        let among =
            if first == last { format!("at record {first}") } else { format!("among the records {first} to {last}") };
        let (kind, text) = if newest > size {
            let gone = newest - size;
            (Kind::Deleted, format!("{gone} of the records are gone, the first of them {among}"))
        } else {
            (Kind::Edited, format!("a record was edited together with its hash, {among}"))
        };
        Finding { kind, record: Some(first), last: Some(last), segment: None, at: None, text }
    }
}

/// Whether nothing was written behind this place, and there is space for it, as there is while a gateway writes.
fn is_last(file: &File, end: u64) -> io::Result<bool> {
    let rest = file.metadata()?.len().saturating_sub(end);
    Ok(rest > 0 && is_zero(file, end, rest)?)
}

/// Whether so many bytes from this place on are zero.
fn is_zero(file: &File, at: u64, length: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    let mut done = 0;
    while done < length {
        let read = std::os::unix::fs::FileExt::read_at(file, &mut buffer, at + done)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        done += read as u64;
    }
    Ok(true)
}
