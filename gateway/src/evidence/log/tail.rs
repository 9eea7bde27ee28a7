//! The end of the log, where records are appended: opened, made whole after a crash, written to and rolled.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use super::{
    folder::Folder,
    frame::{Header, Sealed},
    segment::{Frames, Source, Step, header, written_later},
    tree::{CompactRange, Hash},
};

/// A segment that is so long gets no more, in bytes.
pub(crate) const SEGMENT: u64 = 64 << 20;
/// Space is allocated ahead in steps of so many bytes.
const AHEAD: u64 = 1 << 20;

/// Why a log can't be appended to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was durable is not what it was. Nothing was changed.
    #[error(
        "record {record} is damaged, at byte {at} of its segment {segment:020}: {reason}; what is behind it would be lost, so nothing was \
         changed: bring back the folder from a backup, or keep it as it is and let `store` name a new one"
    )]
    Damaged {
        /// The number of the record.
        record: u64,
        /// The first record of its segment.
        segment: u64,
        /// The place in the segment.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What was cut off the end because a crash had torn it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first record of the segment.
    pub(crate) segment: u64,
    /// From this place on.
    pub(crate) at: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
}

/// The end of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: Folder,
    file: File,
    first: u64,
    /// Where the next frame goes.
    end: u64,
    /// Up to here the file has space.
    allocated: u64,
    /// A segment of this length gets no more.
    limit: u64,
}

impl Tail {
    /// Opens the end of the log, which may be empty; gives the tree over all records, and what was cut off. `signed` is the size and root of the
    /// newest checkpoint: what is under it was durable, and is not cut off.
    ///
    /// Of the segments before the last one the names and headers are checked, and the rest by whoever verifies the log.
    pub(crate) fn open(
        folder: &Folder,
        limit: u64,
        signed: Option<(u64, Hash)>,
    ) -> Result<(Self, CompactRange, Option<Cut>), OpenError> {
        let segments = folder.segments()?;
        let Some(&last) = segments.last() else {
            if signed.is_some_and(|(size, _)| size > 0) {
                return Err(damaged(0, 0, 0, "the segment is missing"));
            }
            let (tail, tree) = Self::create(folder, 0, 0, CompactRange::default(), limit)?;
            return Ok((tail, tree, None));
        };
        let file = OpenOptions::new().read(true).write(true).open(folder.segment(last))?;
        let Some(head) = header(&file)? else {
            if written_later(&file, 0)?.is_some() || (last > 0 && segments.len() == 1) {
                return Err(damaged(last, last, 0, "the segment's header is wrong"));
            }
            // The crash was between creating the segment and its first record.
            let bytes = file.size()?;
            fs::remove_file(folder.segment(last))?;
            let (tail, tree, cut) = Self::open(folder, limit, signed)?;
            return if tree.size() == last {
                Ok((tail, tree, cut.or(Some(Cut { segment: last, at: 0, bytes }))))
            } else {
                Err(damaged(tree.size(), last, 0, "the segment's header is wrong"))
            };
        };
        check_before(folder, &segments, &head)?;
        let tree = CompactRange::new(head.first, head.peaks);
        let mut tree = tree.ok_or_else(|| damaged(last, last, 0, "the segment's header is wrong"))?;
        let whole = read(&file, last, &mut tree, signed)?;
        let cut = whole.cut.then(|| -> io::Result<Cut> {
            Ok(Cut { segment: last, at: whole.end, bytes: file.size()?.saturating_sub(whole.end) })
        });
        let cut = cut.transpose()?;
        file.set_len(whole.end)?;
        // A write whose sync failed can be read and still not be on the disk: the last one is written again.
        let mut again = vec![0; usize::try_from(whole.end - whole.write).unwrap_or(0)];
        file.read_exact_at(&mut again, whole.write)?;
        file.write_all_at(&again, whole.write)?;
        file.sync_all()?;
        let folder = folder.clone();
        Ok((Self { folder, file, first: last, end: whole.end, allocated: whole.end, limit }, tree, cut))
    }

    fn create(
        folder: &Folder,
        first: u64,
        previous: u64,
        tree: CompactRange,
        limit: u64,
    ) -> io::Result<(Self, CompactRange)> {
        let header = Header { first, previous, peaks: tree.peaks().to_vec() }.bytes();
        let file = folder.create_segment(first, &header)?;
        let end = header.len() as u64;
        Ok((Self { folder: folder.clone(), file, first, end, allocated: end, limit }, tree))
    }

    /// Makes these records durable: one write, one sync. `tree` is the one over all records before them.
    ///
    /// # Errors
    ///
    /// After one nothing more may be written: what of it is durable can't be told.
    pub(crate) fn write<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Sealed>,
        buffer: &mut Vec<u8>,
        tree: impl FnOnce() -> CompactRange,
    ) -> io::Result<()> {
        buffer.clear();
        records.for_each(|record| record.place(buffer));
        if self.end >= self.limit {
            self.roll(tree())?;
        }
        let end = self.end + buffer.len() as u64;
        self.allocate(end);
        self.file.write_all_at(buffer, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Has space in the file up to `end` and some more. The zeros are made durable with what is written over them: so a sync seldom
    /// has to change anything but the data.
    fn allocate(&mut self, end: u64) {
        if end <= self.allocated {
            return;
        }
        let ahead = end + AHEAD;
        let zeros = vec![0; usize::try_from(ahead - self.allocated).unwrap_or(0)];
        // Where there is no space, the write itself will say so, or go on with what there was.
        if self.file.write_all_at(&zeros, self.allocated).is_ok() {
            self.allocated = ahead;
        }
    }

    /// Ends this segment and begins the next.
    fn roll(&mut self, tree: CompactRange) -> io::Result<()> {
        self.close()?;
        let (next, _) = Self::create(&self.folder, tree.size(), self.first, tree, self.limit)?;
        *self = next;
        Ok(())
    }

    /// Gives back what was allocated ahead.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.allocated = self.end;
        self.file.sync_all()
    }
}

/// What of a segment is whole.
struct Whole {
    /// Where its frames end.
    end: u64,
    /// Where the last write of them begins.
    write: u64,
    /// Whether something stands behind them.
    cut: bool,
}

/// Reads the frames of the last segment into the tree, up to where a crash has torn it.
fn read(file: &File, segment: u64, tree: &mut CompactRange, signed: Option<(u64, Hash)>) -> Result<Whole, OpenError> {
    let start = Header::size(segment) as u64;
    let mut frames = Frames::new(file, start);
    let mut whole = Whole { end: start, write: start, cut: false };
    loop {
        if signed.is_some_and(|(size, root)| size == tree.size() && root != tree.root()) {
            let reason = "up to it the records are not those of the newest checkpoint";
            return Err(damaged(tree.size().saturating_sub(1), segment, whole.write, reason));
        }
        let (at, reason) = match frames.next()? {
            Step::Frame(frame, at) if frame.is_intact() => {
                tree.push(frame.leaf);
                let write = at.saturating_sub(u64::from(frame.lead)).max(start);
                whole = Whole { end: at + frame.size() as u64, write, cut: false };
                continue;
            }
            Step::Frame(_, at) => (at, "its hash is another one"),
            Step::End(at) | Step::Bad(at) => (at, "it is no record"),
        };
        if written_later(file, at)?.is_some() || signed.is_some_and(|(size, _)| size > tree.size()) {
            return Err(damaged(tree.size(), segment, at, reason));
        }
        whole.cut = !is_zero(file, at)?;
        return Ok(whole);
    }
}

/// Whether nothing but zeros stands behind this place.
fn is_zero(file: &File, mut at: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match FileExt::read_at(file, &mut buffer, at)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            read => at += read as u64,
        }
    }
}

/// Whether the segments before the last one are there and belong to each other, by their headers.
fn check_before(folder: &Folder, segments: &[u64], last: &Header) -> Result<(), OpenError> {
    let mut after = last.clone();
    for (place, &first) in segments.iter().enumerate().rev() {
        let head = if first == last.first { Some(last.clone()) } else { header(&File::open(folder.segment(first))?)? };
        let head = head.ok_or_else(|| damaged(first, first, 0, "the segment's header is wrong"))?;
        if head.first != first {
            return Err(damaged(first, first, 0, "the segment has the name of another one"));
        }
        if place + 1 < segments.len() && after.previous != first {
            return Err(damaged(after.previous, after.previous, 0, "the segment is missing"));
        }
        if place == 0 && head.previous != head.first {
            return Err(damaged(head.previous, head.previous, 0, "the segment is missing"));
        }
        after = head;
    }
    Ok(())
}

fn damaged(record: u64, segment: u64, at: u64, reason: &'static str) -> OpenError {
    OpenError::Damaged { record, segment, at, reason }
}
