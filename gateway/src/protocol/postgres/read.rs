//! Reads the body of a message piece by piece; what is missing or left over is an error.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// A message whose body is not what its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a malformed message")]
pub struct Malformed;

/// A body that is being read.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(super) fn short(&mut self) -> Result<i16, Malformed> {
        self.0.try_get_i16().map_err(|_| Malformed)
    }

    /// A count of things to come: never negative.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.short()?).map_err(|_| Malformed)
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_| Malformed)
    }

    pub(super) fn oid(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    /// A value behind its length; None for NULL.
    pub(super) fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.int()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }

    /// A text that a NUL ends, without the NUL.
    pub(super) fn text(&mut self) -> Result<Bytes, Malformed> {
        let end = memchr::memchr(0, &self.0).ok_or(Malformed)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        Ok(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left, which is this many bytes.
    pub(super) fn exactly(mut self, length: usize) -> Result<Bytes, Malformed> {
        let rest = self.take(length)?;
        self.end().map(|()| rest)
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
