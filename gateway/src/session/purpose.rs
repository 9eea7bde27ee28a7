//! The purpose somebody states for what they do.

use std::fmt;

/// The header that states it.
pub const PURPOSE_HEADER: &str = "Sluice-Purpose";
/// The key of MCP's `_meta` that states it.
pub const PURPOSE_META: &str = "dev.sluice/purpose";
/// Longer ones are refused, in bytes.
const MAX: usize = 256;

/// A stated purpose: 1 to 256 bytes, trimmed, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purpose(String);

impl Purpose {
    /// Reads a purpose; blank text is none.
    ///
    /// # Errors
    ///
    /// [`PurposeError::Malformed`] when it is too long or has control characters.
    pub fn parse(text: &str) -> Result<Option<Self>, PurposeError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > MAX || text.chars().any(char::is_control) {
            return Err(PurposeError::Malformed);
        }
        Ok(Some(Self(text.to_owned())))
    }

    /// The purpose of a request: stated in the header, in `_meta`, or in both alike.
    ///
    /// # Errors
    ///
    /// [`PurposeError::Malformed`], or [`PurposeError::Ambiguous`] when the two places differ.
    pub fn of(header: Option<&str>, meta: Option<&str>) -> Result<Option<Self>, PurposeError> {
        let header = header.map(Self::parse).transpose()?.flatten();
        let meta = meta.map(Self::parse).transpose()?.flatten();
        match (header, meta) {
            (Some(header), Some(meta)) if header != meta => Err(PurposeError::Ambiguous),
            (header, meta) => Ok(header.or(meta)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a stated purpose is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurposeError {
    /// Too long, or control characters in it.
    #[error("a purpose is at most {MAX} bytes of text without control characters")]
    Malformed,
    /// Header and `_meta` disagree.
    #[error("the header {PURPOSE_HEADER} and `_meta[\"{PURPOSE_META}\"]` state different purposes")]
    Ambiguous,
}
