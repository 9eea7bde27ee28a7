//! The handle by which the gateway appends to its evidence and reads it.

use std::{
    iter::once,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    canonical,
    clerk::Clerk,
    keys::{SigningKey, successor},
    ledger::{self, Ledger},
    log::{
        folder::{Folder, Lock},
        frame::{MAX_RECORD, Sealed},
        tail::{SEGMENT, Tail},
        tree::CompactRange,
        writer::{Haste, Pending, Writer},
    },
    reader::{Reader, SessionSummary, StoredRecord},
    record::{Event, Record, SessionId},
};

/// Longer than this an append does not wait for the disk: a request is refused within a second.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_millis(800);

/// Why evidence could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvidenceError {
    /// The folder can't be opened or is no evidence store; nothing was changed. The reason says what to do.
    #[error("can't open the evidence store {path}: {reason}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The write failed (full disk, input/output error). It is not retried; the store takes no more until a restart.
    #[error("can't write evidence: {0}")]
    Write(String),
    /// An earlier write failed, so the store refuses this one.
    #[error("the evidence store has failed and takes no more records: {0}")]
    Failed(String),
    /// The disk did not answer in time. The record may or may not be stored; treat it as not.
    #[error("the evidence store did not answer within {} ms", APPEND_TIMEOUT.as_millis())]
    Stalled,
    /// The record is too long, or can't be written as JSON; it is not stored. The store takes others.
    #[error("the record is longer than {} MiB, or can't be written as JSON", MAX_RECORD >> 20)]
    Unfit,
    /// The store was closed.
    #[error("the evidence store is closed")]
    Closed,
    /// The store could not be read.
    #[error("can't read evidence: {0}")]
    Read(String),
}

/// A handle on the store; clones share one writer.
#[derive(Debug, Clone)]
pub struct Evidence {
    folder: Folder,
    hands: Arc<Hands>,
}

/// What writes. The order is the one in which it ends: all is written, then indexed, then the folder is let go.
#[derive(Debug)]
struct Hands {
    writer: Writer,
    _clerk: Clerk,
    _lock: Lock,
}

impl Evidence {
    /// Opens or creates the store, a folder that nobody else can look into, and holds it until the last clone is dropped. Its checkpoints are
    /// signed by the key in the file `signing.key` beside it.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Open`] when the folder can't be made or is another kind of thing, when another process writes to it, and
    /// when the log is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        Self::open_signed(path.as_ref(), &SigningKey::beside(path.as_ref()))
    }

    /// As [`open`](Self::open), with another key.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and when the key can't be read or is another log's.
    pub fn open_signed(path: &Path, key: &SigningKey) -> Result<Self, EvidenceError> {
        Self::open_with(path, key, SEGMENT)
    }

    /// As [`open`](Self::open), with segments of this length in bytes.
    pub(super) fn open_with(path: &Path, key: &SigningKey, segment: u64) -> Result<Self, EvidenceError> {
        let failed = |error: std::io::Error| EvidenceError::Open { path: path.to_owned(), reason: error.to_string() };
        let Opened { folder, lock, mut ledger, tail, tree } = Opened::open(path, key, segment)?;
        ledger.keep(&tree).map_err(failed)?;
        let writer = Writer::start(tail, tree).map_err(failed)?;
        let clerk = Clerk::start(folder.clone(), Arc::clone(writer.shared()), ledger).map_err(failed)?;
        Ok(Self { folder, hands: Arc::new(Hands { writer, _clerk: clerk, _lock: lock }) })
    }

    /// Appends a record and returns its number when it is durable (written and synced to disk).
    ///
    /// Appends that arrive together are made durable together. Cancel-safe in the sense that matters: a dropped future
    /// may leave a record behind, never a gap.
    ///
    /// # Errors
    ///
    /// Any error means: do not go on with what was to be recorded. After [`EvidenceError::Write`]
    /// all further appends are refused with [`EvidenceError::Failed`].
    pub async fn append(&self, record: Record) -> Result<u64, EvidenceError> {
        self.begin(&record)?.durable().await
    }

    /// Appends records that belong together, in their order, and returns when all are durable: by one sync.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), of all of them.
    pub async fn append_all(&self, records: Vec<Record>) -> Result<(), EvidenceError> {
        // Records are sealed by whoever appends them: the writer has nothing to do but write.
        let sealed = records.iter().map(seal).collect::<Result<_, _>>()?;
        self.hands.writer.take(sealed, Haste::Now)?.durable().await.map(drop)
    }

    /// Takes a record, behind those that were taken before, and says later when it is durable.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), as far as it is known now.
    pub fn begin(&self, record: &Record) -> Result<Pending, EvidenceError> {
        self.hands.writer.take(vec![seal(record)?], Haste::Now)
    }

    /// The same for what nobody waits for: it takes up to 20 ms more, so that what does wait shares its sync instead of coming
    /// after it. If it fails later, the store says so in the log and takes nothing more.
    ///
    /// # Errors
    ///
    /// As for [`begin`](Self::begin).
    pub fn leave(&self, record: &Record) -> Result<(), EvidenceError> {
        self.hands.writer.take(vec![seal(record)?], Haste::Soon).map(drop)
    }

    /// Whether appends are still accepted.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.hands.writer.shared().failure().is_none()
    }

    /// How many records are durable: the number that the next one gets.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.hands.writer.shared().size()
    }

    /// The sessions on record, newest first.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, EvidenceError> {
        self.reader()?.sessions()
    }

    /// The requests for approval that nothing has ended, each with its session.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn open_approvals(&self) -> Result<Vec<(SessionId, String)>, EvidenceError> {
        self.reader()?.open_approvals()
    }

    /// Commands that went on without an approval and that nobody has reviewed, the oldest first: each the record that it was asked for,
    /// and the one that the glass was broken.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn unreviewed(&self) -> Result<Vec<(Record, Record)>, EvidenceError> {
        self.reader()?.unreviewed()
    }

    /// The records of one session in their order; empty when there are none.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Read`].
    pub fn session(&self, id: &SessionId) -> Result<Vec<StoredRecord>, EvidenceError> {
        self.reader()?.session(id)
    }

    fn reader(&self) -> Result<Reader, EvidenceError> {
        Reader::open(self.folder.path())
    }
}

/// A store that is held, before anything is started on it.
struct Opened {
    folder: Folder,
    lock: Lock,
    ledger: Ledger,
    tail: Tail,
    tree: CompactRange,
}

impl Opened {
    fn open(path: &Path, key: &SigningKey, segment: u64) -> Result<Self, EvidenceError> {
        let failed = |reason: String| EvidenceError::Open { path: path.to_owned(), reason };
        let said = |error: std::io::Error| failed(error.to_string());
        let folder = Folder::at(path);
        if let Some(reason) = folder.is_wrong() {
            return Err(failed(reason));
        }
        folder.create().map_err(said)?;
        let lock = folder.lock().map_err(said)?;
        let signer = ledger::newest(&folder).and_then(|newest| key.open(newest.as_deref())).map_err(said)?;
        let ledger = Ledger::open(&folder, signer).map_err(said)?;
        let signed = ledger.newest().map(|newest| (newest.size, newest.root));
        let (tail, tree, cut) = Tail::open(&folder, segment, signed).map_err(|error| failed(error.to_string()))?;
        let mut opened = Self { folder, lock, ledger, tail, tree };
        if let Some(cut) = cut {
            tracing::warn!(
                segment = cut.segment,
                at = cut.at,
                bytes = cut.bytes,
                "the end of the evidence log was torn and is cut off: it was not acknowledged"
            );
            opened.append(Event::TailCut { segment: cut.segment, bytes: cut.bytes })?;
        }
        Ok(opened)
    }

    /// Records something about the store itself, durably.
    fn append(&mut self, event: Event) -> Result<(), EvidenceError> {
        let sealed = seal(&Record::now(SessionId::generate(), event))?;
        let tree = &self.tree;
        let written = self.tail.write(once(&sealed), &mut Vec::new(), || tree.clone());
        written.map_err(|error| EvidenceError::Write(error.to_string()))?;
        self.tree.push(sealed.leaf);
        Ok(())
    }
}

/// Lets another key sign the checkpoints of a store that no gateway holds, and gives its public half. The new private key is written to
/// `to`, which must not be there, or in the place of the old one.
///
/// # Errors
///
/// As for [`Evidence::open_signed`]; [`EvidenceError::Write`] where the new key, the record or the checkpoint can't be written: then it is
/// said which key is in force when the store is opened next.
pub fn rotate_key(path: &Path, key: &SigningKey, to: Option<&Path>) -> Result<String, EvidenceError> {
    if let Err(error) = Folder::at(path).segments() {
        return Err(EvidenceError::Open {
            path: path.to_owned(),
            reason: format!("there is no evidence store: {error}"),
        });
    }
    let failed = |error: std::io::Error| EvidenceError::Write(error.to_string());
    let mut opened = Opened::open(path, key, SEGMENT)?;
    let old = opened.ledger.signer();
    let next = successor(old, key, to).map_err(failed)?;
    let (from, new) = (old.verifier().to_string(), next.verifier().to_string());
    opened.append(Event::KeyRotated { from, to: new.clone() })?;
    opened.ledger.hand_over(&opened.folder, &opened.tree, next).map_err(failed)?;
    opened.tail.close().map_err(failed)?;
    if to.is_none() {
        // Puts the new key in the place of the old one, as it would after a crash at this point.
        ledger::newest(&opened.folder).and_then(|newest| key.open(newest.as_deref())).map_err(failed)?;
    }
    Ok(new)
}

fn seal(record: &Record) -> Result<Sealed, EvidenceError> {
    Sealed::new(|out| canonical::write(record, out)).ok().flatten().ok_or(EvidenceError::Unfit)
}
