//! What leaves of rows that came together: what came, with other values in some places.

use super::super::frame::{Run, put_length};
use super::gathered::{Cell, Row};
use super::{MAX_MASKED, RowError, put_field};
use bytes::{Bytes, BytesMut};

/// The length before a value, in bytes.
const LENGTH: usize = 4;

/// What leaves of rows that came together.
pub(super) struct Passing<'a> {
    came: &'a Bytes,
    /// What leaves so far, where something is changed: up to here it is what came.
    changed: Option<BytesMut>,
    kept: usize,
    /// The row that is being changed: where it begins in what leaves.
    open: Option<usize>,
}

impl<'a> Passing<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self { came: run.raw(), changed: None, kept: 0, open: None }
    }

    /// Another value stands in the place of this one; None is NULL.
    ///
    /// # Errors
    /// [`RowError::TooLong`].
    pub(super) fn replace(&mut self, row: &Row, cell: &Cell, value: Option<&[u8]>) -> Result<(), RowError> {
        let came = self.came;
        let changed = self.changed.get_or_insert_with(|| BytesMut::with_capacity(came.len()));
        let begins = *self.open.get_or_insert_with(|| {
            changed.extend_from_slice(&came[self.kept..row.message.start]);
            self.kept = row.message.start;
            changed.len()
        });
        changed.extend_from_slice(&came[self.kept..cell.value.start - LENGTH]);
        put_field(changed, value);
        self.kept = cell.value.end;
        if changed.len() - begins > MAX_MASKED { Err(RowError::TooLong) } else { Ok(()) }
    }

    /// The row is over.
    pub(super) fn end_row(&mut self, row: &Row) {
        if let (Some(begins), Some(changed)) = (self.open.take(), &mut self.changed) {
            changed.extend_from_slice(&self.came[self.kept..row.message.end]);
            self.kept = row.message.end;
            put_length(&mut changed[begins..]);
        }
    }

    /// The rows up to this place of what came leave; of one that is open nothing does.
    pub(super) fn finish(self, end: usize, client: &mut Vec<Bytes>) {
        let Self { came, changed, kept, open } = self;
        let leaves = match (changed, open) {
            (None, _) => came.slice(..end),
            (Some(mut changed), Some(begins)) => {
                changed.truncate(begins);
                changed.freeze()
            }
            (Some(mut changed), None) => {
                changed.extend_from_slice(&came[kept..end]);
                changed.freeze()
            }
        };
        if !leaves.is_empty() {
            client.push(leaves);
        }
    }
}
