//! Rows that came together: their lines for the record, and where each value stands in them and on the wire.

use super::super::frame::{Run, message_of};
use super::super::read::Malformed;
use super::super::value::{Column, is_plain, shown};
use std::borrow::Cow;
use std::ops::Range;

/// What stands for NULL in a line.
pub(super) const NULL: &[u8] = b"\\N";
/// Memory that is kept for the next rows, in bytes.
const KEPT: usize = 256 * 1024;

/// Rows that came together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// A line of each, its values between tabs.
    pub(super) lines: Vec<u8>,
    pub(super) rows: Vec<Row>,
    /// Their values, as many of each row as there are columns.
    pub(super) cells: Vec<Cell>,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// Where its message stands in what came.
    pub(super) message: Range<usize>,
    /// Where its line begins.
    pub(super) line: usize,
    /// No value has to be inspected.
    pub(super) clean: bool,
}

/// A value of a row.
#[derive(Debug)]
pub(super) struct Cell {
    /// Where it stands in what came, behind its length.
    pub(super) value: Range<usize>,
    /// Where it is in the lines.
    pub(super) shown: Range<u32>,
    /// What rules see of it is what stands there.
    pub(super) plain: bool,
    /// It passes as it is.
    pub(super) clean: bool,
}

impl Gathered {
    /// Reads rows of these columns, up to the first that isn't one.
    pub(super) fn read<'a>(
        &mut self,
        run: &Run,
        columns: impl ExactSizeIterator<Item = &'a Column> + Clone,
    ) -> Result<(), Malformed> {
        for body in run.bodies() {
            let (line, first) = (self.lines.len(), self.cells.len());
            if self.row(run.raw(), body.clone(), columns.clone()).is_none() {
                self.lines.truncate(line);
                self.cells.truncate(first);
                return Err(Malformed);
            }
            self.lines.push(b'\n');
            self.rows.push(Row { message: message_of(&body), line, clean: true });
        }
        Ok(())
    }

    fn row<'a>(
        &mut self,
        raw: &[u8],
        body: Range<usize>,
        columns: impl ExactSizeIterator<Item = &'a Column>,
    ) -> Option<()> {
        let (mut at, end) = (body.start, body.end);
        let mut take = |length: usize| {
            let from = at;
            at += length;
            (at <= end).then_some(from..at)
        };
        let count = i16::from_be_bytes(raw[take(2)?].try_into().ok()?);
        if usize::try_from(count).ok()? != columns.len() {
            return None;
        }
        for (index, column) in columns.enumerate() {
            if index > 0 {
                self.lines.push(b'\t');
            }
            let length = i32::from_be_bytes(raw[take(4)?].try_into().ok()?);
            let from = self.lines.len() as u32;
            let (value, plain) = if length == -1 {
                self.lines.extend_from_slice(NULL);
                (take(0)?, None)
            } else {
                let value = take(usize::try_from(length).ok()?)?;
                let as_it_is = show(column, &raw[value.clone()], &mut self.lines);
                let plain = as_it_is && is_plain(column, &raw[value.clone()]);
                (value, Some(plain))
            };
            let shown = from..self.lines.len() as u32;
            self.cells.push(Cell { value, shown, plain: plain == Some(true), clean: plain.is_none() });
        }
        (at == end).then_some(())
    }

    /// The memory for the next rows.
    pub(super) fn emptied(mut self) -> Self {
        self.rows.clear();
        self.cells.clear();
        self.lines.clear();
        self.lines.shrink_to(KEPT);
        self.rows.shrink_to(KEPT / size_of::<Row>());
        self.cells.shrink_to(KEPT / size_of::<Cell>());
        self
    }
}

/// Adds a value to a line, without what would break the line. True where it stands there as it is.
pub(super) fn show(column: &Column, value: &[u8], line: &mut Vec<u8>) -> bool {
    // Text is made readable as a whole where it is recorded.
    let shown = if column.binary { Cow::Owned(shown(column, value).into_owned().into()) } else { Cow::Borrowed(value) };
    let breaks = |byte: u8| matches!(byte, b'\n' | b'\t' | b'\r' | b'\\');
    // Without a way out of the loop it is done many bytes at a time.
    if !shown.iter().fold(false, |found, byte| found | breaks(*byte)) {
        line.extend_from_slice(&shown);
        return true;
    }
    for byte in shown.as_ref() {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            other => line.push(*other),
        }
    }
    false
}
