//! The bytes of a segment, without files: its header, and the frames of its records.
//!
//! A frame is three numbers of four bytes (little-endian), the hash of its record as a leaf of the tree, and the record. The numbers are the
//! record's length, the bytes of the same write that stand before this frame, and the complement of both, which shows that they
//! are what was written. One write is made durable as a whole: where the last one is torn, frames behind the tear can be whole, and
//! the second number tells them from what was written later.

use super::tree::{Hash, leaf_hash, sha256};

/// What stands before a record, in bytes.
pub(crate) const HEAD: usize = 44;
/// The longest record, in bytes.
pub(crate) const MAX_RECORD: usize = 128 << 20;
/// Begins every segment: the kind of file, and the version of its layout.
const MAGIC: [u8; 8] = *b"sluice\x00\x01";
/// The header of a segment without the peaks.
const FIXED: usize = 8 + 8 + 8 + 32;

/// A record as it is stored, with its hash.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Room for the head, and the record.
    bytes: Vec<u8>,
    /// The hash of the record as a leaf.
    pub(crate) leaf: Hash,
}

impl Sealed {
    /// Seals the record that `write` appends to what it gets; None where it is longer than [`MAX_RECORD`].
    pub(crate) fn new<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Option<Self>, E> {
        let mut bytes = Vec::with_capacity(1024);
        bytes.resize(HEAD, 0);
        write(&mut bytes)?;
        let record = bytes.get(HEAD..).unwrap_or_default();
        if record.len() > MAX_RECORD {
            return Ok(None);
        }
        let leaf = leaf_hash(record);
        Ok(Some(Self { bytes, leaf }))
    }

    /// How long its frame is, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the frame to a write.
    pub(crate) fn place(&self, out: &mut Vec<u8>) {
        let record = self.bytes.get(HEAD..).unwrap_or_default();
        // Neither a record nor a write is longer than four bytes can say: `MAX_RECORD` and the writer's own limit are far below.
        let (length, lead) = (record.len() as u32, out.len() as u32);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&lead.to_le_bytes());
        out.extend_from_slice(&(!(length ^ lead)).to_le_bytes());
        out.extend_from_slice(&self.leaf);
        out.extend_from_slice(record);
    }
}

/// A frame as it was read. Its hash was not compared yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    /// The record: canonical JSON.
    pub(crate) record: &'b [u8],
    /// The hash that stands beside it.
    pub(crate) leaf: Hash,
    /// The bytes of the same write that stand before it.
    pub(crate) lead: u32,
}

impl Frame<'_> {
    /// Whether the hash beside the record is the record's.
    pub(crate) fn is_intact(&self) -> bool {
        leaf_hash(self.record) == self.leaf
    }

    /// Its length with the head, in bytes.
    pub(crate) fn size(&self) -> usize {
        HEAD + self.record.len()
    }
}

/// What stands at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed<'b> {
    /// A frame.
    Frame(Frame<'b>),
    /// Nothing: space that was allocated ahead.
    Nothing,
    /// So many bytes from this place are needed to tell.
    Short(usize),
    /// No frame.
    Bad,
}

/// Reads the frame at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Parsed::Short(HEAD) };
    if head.iter().all(|byte| *byte == 0) {
        return Parsed::Nothing;
    }
    let [length, lead, check] =
        [0, 4, 8].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let size = length as usize;
    if check != !(length ^ lead) || size > MAX_RECORD {
        return Parsed::Bad;
    }
    let mut leaf = [0; 32];
    leaf.copy_from_slice(&head[12..]);
    match rest.get(..size) {
        Some(record) => Parsed::Frame(Frame { record, leaf, lead }),
        None => Parsed::Short(HEAD + size),
    }
}

/// What a segment says about itself and the log before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of its first record.
    pub(crate) first: u64,
    /// The number of the first record of the segment before it; its own where there is none.
    pub(crate) previous: u64,
    /// The peaks of the tree over all records before it, the oldest first.
    pub(crate) peaks: Vec<Hash>,
}

impl Header {
    /// The bytes of the header.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::size(self.first));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak));
        let hash = sha256(&bytes);
        bytes.extend_from_slice(&hash);
        bytes
    }

    /// How long the header of a segment is whose first record has this number, in bytes.
    pub(crate) fn size(first: u64) -> usize {
        // There is one peak for each binary digit of the number of records before.
        FIXED + 32 * first.count_ones() as usize
    }

    /// Reads a header from the beginning of a segment; None where none is whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<8>()?;
        let (first, previous) = (u64::from_le_bytes(*first), u64::from_le_bytes(*previous));
        let (peaks, rest) = rest.split_at_checked(32 * first.count_ones() as usize)?;
        let said = rest.get(..32)?;
        if sha256(bytes.get(..Self::size(first) - 32)?) != said {
            return None;
        }
        let peaks = peaks.chunks_exact(32).map(|peak| peak.try_into().unwrap_or_default()).collect();
        Some(Self { first, previous, peaks })
    }
}
