//! Errors and notices: those of the gateway, and the fields of the server's, each of which may carry data.

use super::frame::put;
use super::read::{Malformed, Reader};
use bytes::{Bytes, BytesMut};

/// An error as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `ERROR`: the command failed. `FATAL`: the session is over.
    pub severity: &'static str,
    /// The SQLSTATE.
    pub state: &'static str,
    /// One sentence.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Report {
    /// A command that is refused or failed.
    #[must_use]
    pub fn error(state: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "ERROR", state, message: message.into(), detail: None, hint: None }
    }

    /// The end of the session.
    #[must_use]
    pub fn fatal(state: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "FATAL", ..Self::error(state, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with more about it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What the client may want to know; nothing failed.
    #[must_use]
    pub fn notice(message: impl Into<String>) -> Self {
        Self { severity: "NOTICE", ..Self::error("00000", message) }
    }

    /// As an ErrorResponse.
    #[must_use]
    pub fn to_message(&self) -> Bytes {
        self.put(b'E')
    }

    /// As a NoticeResponse.
    #[must_use]
    pub fn to_notice(&self) -> Bytes {
        self.put(b'N')
    }

    fn put(&self, tag: u8) -> Bytes {
        let mut out = BytesMut::new();
        put(&mut out, tag, |out| {
            let fields = [
                (b'S', Some(self.severity)),
                (b'V', Some(self.severity)),
                (b'C', Some(self.state)),
                (b'M', Some(&*self.message)),
                (b'D', self.detail.as_deref()),
                (b'H', self.hint.as_deref()),
            ];
            for (code, value) in fields.into_iter().filter_map(|(code, value)| Some((code, value?))) {
                out.extend_from_slice(&[code]);
                out.extend(value.bytes().filter(|byte| *byte != 0));
                out.extend_from_slice(&[0]);
            }
            out.extend_from_slice(&[0]);
        });
        out.freeze()
    }

    /// For the record.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}: {}", self.severity, self.state, self.message)
    }
}

/// The fields of an ErrorResponse or NoticeResponse, by their codes.
pub(super) fn fields(body: Bytes) -> Result<Vec<(u8, Bytes)>, Malformed> {
    let mut body = Reader(body);
    let mut fields = Vec::new();
    loop {
        match body.byte()? {
            0 => break,
            code => fields.push((code, body.text()?)),
        }
    }
    body.end()?;
    Ok(fields)
}

/// The fields as a line for the record: severity, SQLSTATE, message, and the detail.
pub(super) fn line(fields: &[(u8, Bytes)]) -> String {
    let field = |code: u8| {
        fields.iter().find(|(known, _)| *known == code).map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let severity = field(b'V').or_else(|| field(b'S')).unwrap_or_default();
    let mut line = format!("{severity} {}: {}", field(b'C').unwrap_or_default(), field(b'M').unwrap_or_default());
    for (name, code) in [("detail", b'D'), ("hint", b'H'), ("context", b'W')] {
        if let Some(value) = field(code) {
            line.push_str(&format!("\n  {name}: {value}"));
        }
    }
    line
}
