//! Reads a segment frame by frame, and tells a torn tail from damage.

use std::{fs::File, io, os::unix::fs::FileExt};

use memchr::memmem;

use super::frame::{HEAD, Header, Parsed, parse};

/// So much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// Bytes that can be read from any place.
pub(crate) trait Source {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;
    /// Reads some of them from this place; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }
}

impl Source for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'b> {
    /// A frame, at this place.
    Frame(super::frame::Frame<'b>, u64),
    /// The end: from this place on there is nothing but what was allocated ahead, as far as was looked.
    End(u64),
    /// No frame stands at this place, or only a part of one.
    Bad(u64),
}

/// The frames of a segment in their order.
#[derive(Debug)]
pub(crate) struct Frames<'s, S: ?Sized> {
    source: &'s S,
    buffer: Vec<u8>,
    /// What of the buffer was given out.
    used: usize,
    /// The place of the first byte that was not given out.
    at: u64,
}

impl<'s, S: Source + ?Sized> Frames<'s, S> {
    /// From this place on, where a frame begins.
    pub(crate) fn new(source: &'s S, at: u64) -> Self {
        Self { source, buffer: Vec::new(), used: 0, at }
    }

    /// The next frame. After an end or something bad it says the same again, or what was written since.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        loop {
            let needed = match parse(&self.buffer[self.used..]) {
                Parsed::Short(needed) => needed,
                Parsed::Frame(_) => break,
                Parsed::Nothing => return Ok(self.again(Step::End(self.at))),
                Parsed::Bad => return Ok(self.again(Step::Bad(self.at))),
            };
            if !self.fill(needed)? {
                let rest = self.buffer[self.used..].iter().any(|byte| *byte != 0);
                return Ok(self.again(if rest { Step::Bad(self.at) } else { Step::End(self.at) }));
            }
        }
        let Parsed::Frame(frame) = parse(&self.buffer[self.used..]) else { return Ok(Step::Bad(self.at)) };
        let at = self.at;
        self.used += frame.size();
        self.at += frame.size() as u64;
        Ok(Step::Frame(frame, at))
    }

    /// Reads anew what was no frame, when it is asked for once more.
    fn again<'b>(&mut self, step: Step<'b>) -> Step<'b> {
        self.buffer.clear();
        self.used = 0;
        step
    }

    /// Has at least so many bytes in the buffer; false where the source ends before. Nothing is allocated that the source doesn't have.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let left = self.source.size()?.saturating_sub(self.at);
        if left < needed as u64 {
            // All that is there, to tell zeros from something.
            self.read(usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK.max(HEAD)))?;
            return Ok(false);
        }
        self.read(needed.max(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))))?;
        Ok(self.buffer.len() >= needed)
    }

    fn read(&mut self, wanted: usize) -> io::Result<()> {
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            self.buffer.resize(wanted, 0);
            let read = self.source.read_at(&mut self.buffer[have..], self.at + have as u64);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The header of a segment; None where none is whole.
pub(crate) fn header(source: &(impl Source + ?Sized)) -> io::Result<Option<Header>> {
    let mut bytes = vec![0; Header::size(u64::MAX)];
    let mut have = 0;
    while have < bytes.len() {
        match source.read_at(&mut bytes[have..], have as u64)? {
            0 => break,
            read => have += read,
        }
    }
    bytes.truncate(have);
    Ok(Header::parse(&bytes))
}

/// The records of a segment with the places of their frames, as far as they are whole; of frames alone where there is no header.
#[must_use]
pub fn read_segment(segment: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let start = Header::parse(segment).map_or(0, |head| Header::size(head.first));
    let mut records = Vec::new();
    let mut frames = Frames::new(segment, start as u64);
    // Bytes in memory can always be read.
    while let Ok(Step::Frame(frame, at)) = frames.next() {
        if !frame.is_intact() {
            break;
        }
        records.push((usize::try_from(at).unwrap_or(usize::MAX), frame.record.to_vec()));
    }
    records
}

/// Where no frame stands at `at`: the place of a frame that was written later than what should stand there, or None. What is not
/// whole was made durable before anything later was written, so with such a frame it is damaged; without, the write was torn.
pub(crate) fn written_later(source: &(impl Source + ?Sized), at: u64) -> io::Result<Option<u64>> {
    let size = usize::try_from(source.size()?.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut rest = Frames { source, buffer: Vec::new(), used: 0, at };
    rest.read(size)?;
    // Every record is an object, whose first key is in quotes.
    for record in memmem::find_iter(&rest.buffer, b"{\"") {
        let Some(place) = record.checked_sub(HEAD).filter(|place| *place > 0) else { continue };
        if let Parsed::Frame(frame) = parse(&rest.buffer[place..])
            && place > frame.lead as usize
            && frame.is_intact()
        {
            return Ok(Some(at + place as u64));
        }
    }
    Ok(None)
}
