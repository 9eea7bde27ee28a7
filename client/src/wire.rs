//! The frames of `sluice/1`: bytes in, frames out, without sockets.
//!
//! A frame is `version`, `kind`, the length of its fields, and the fields, each with a tag and a length; all numbers are big-endian.
//! Tags rise strictly, so that a frame has one spelling and no field stands twice. What isn't known is refused: a change of the
//! frames is another protocol with another name (ALPN, RFC 7301).

use std::fmt;

use thiserror::Error;

/// The protocol's name in TLS and QUIC (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"sluice/1";
/// The first byte of each frame.
pub const VERSION: u8 = 1;
/// The length of what stands before the fields, in bytes.
pub const HEAD: usize = 4;
/// The fields of a frame are at most this long, in bytes.
pub const MAX_FIELDS: usize = 20 * 1024;

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
const MAX_NAME: usize = 64;
const MAX_PURPOSE: usize = 256;
const MAX_CLIENT: usize = 200;
const MAX_MESSAGE: usize = 1024;
const SESSION: usize = 36;

/// What a frame is for: its second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Open = 0x01,
    Token = 0x02,
    Serve = 0x03,
    Dial = 0x41,
    Accepted = 0x81,
    Refused = 0x82,
}

/// A field's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Tag {
    Token = 1,
    Connection = 2,
    Purpose = 3,
    Client = 4,
    Session = 5,
    Code = 6,
    Message = 7,
    Seconds = 8,
    Carries = 9,
}

/// What passes in a session's stream after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Carries {
    /// The target's own bytes, whatever they are.
    Bytes = 1,
    /// MCP over HTTP/1.1, at the path `/mcp/` and the connection's name.
    Mcp = 2,
}

/// Why a session is refused or ended. The numbers stand in frames and are the application error codes of QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Code {
    /// In order; nothing is wrong.
    Done = 0,
    /// What came is no frame of this protocol.
    Malformed = 1,
    /// The token doesn't count.
    Unauthenticated = 2,
    /// The identity may not open this connection.
    Forbidden = 3,
    /// There is no such connection.
    NoConnection = 4,
    /// The connection asks for a purpose.
    PurposeRequired = 5,
    /// A limit is reached; later it may work.
    Busy = 6,
    /// The gateway is stopping; another one, or this one again, takes over.
    Draining = 7,
    /// The system behind the gateway can't be reached or broke off.
    Upstream = 8,
    /// What would happen can't be recorded, so it doesn't happen.
    Evidence = 9,
    /// A rule refuses it.
    Blocked = 10,
    /// The identity counts no longer: its token or its certificate expired or was revoked.
    Expired = 11,
    /// The session was ended: idle, or from outside.
    Ended = 12,
    /// A mistake of the gateway.
    Internal = 13,
}

impl Code {
    const ALL: [Self; 14] = [
        Self::Done,
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NoConnection,
        Self::PurposeRequired,
        Self::Busy,
        Self::Draining,
        Self::Upstream,
        Self::Evidence,
        Self::Blocked,
        Self::Expired,
        Self::Ended,
        Self::Internal,
    ];

    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of this number; None where it is none of ours.
    #[must_use]
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "ended in order",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "not authenticated",
            Self::Forbidden => "not allowed",
            Self::NoConnection => "no such connection",
            Self::PurposeRequired => "a purpose is required",
            Self::Busy => "busy",
            Self::Draining => "the gateway is stopping",
            Self::Upstream => "the upstream can't be reached or broke off",
            Self::Evidence => "can't be recorded",
            Self::Blocked => "refused by a rule",
            Self::Expired => "the token or the certificate counts no longer",
            Self::Ended => "the session was ended",
            Self::Internal => "a mistake of the gateway",
        })
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The first byte is not the version spoken here.
    #[error("version {0} is not spoken here, version {VERSION} is")]
    Version(u8),
    /// The kind is none of ours.
    #[error("there is no frame of kind {0:#04x}")]
    Kind(u8),
    /// The fields are too long.
    #[error("{0} bytes of fields are too many, {MAX_FIELDS} are allowed")]
    TooLong(usize),
    /// The fields don't fill the frame exactly.
    #[error("a field is cut off")]
    CutOff,
    /// The tag is none of ours, or none of this kind of frame.
    #[error("there is no field {0} in this kind of frame")]
    Tag(u8),
    /// A field stands twice, or after one with a higher tag.
    #[error("field {0} is out of order")]
    Order(u8),
    /// A field that has to be there isn't.
    #[error("field {0} is missing")]
    Missing(u8),
    /// A field's value can't be one.
    #[error("field {0} has a value that it can't have")]
    Value(u8),
}

/// A bearer token. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token of 1 to 16384 visible ASCII characters; None where the text can be none.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_token = !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// A connection's name: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionName(String);

impl ConnectionName {
    /// The name; None where the text can be none.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_name = !text.is_empty()
            && text.len() <= MAX_NAME
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_name.then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client begins a stream with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A session on a connection; the target's own bytes follow the answer, and may follow the frame.
    Session {
        /// Who asks; None: the certificate of the connection says it.
        token: Option<Token>,
        /// For what.
        connection: ConnectionName,
        /// Why: 1 to 256 bytes without control characters.
        purpose: Option<String>,
        /// The client program by its own word: 1 to 200 bytes without control characters.
        client: Option<String>,
    },
    /// A newer token for sessions that are open.
    Token {
        /// The token.
        token: Token,
        /// The sessions on this connection are meant.
        connection: ConnectionName,
        /// One session alone, which need not be of the same connection of QUIC or TCP; None: those of this one.
        session: Option<String>,
    },
    /// The client serves this connection's target, as long as the stream is open: the gateway opens a stream for each session.
    Serve {
        /// Who serves; None: the certificate of the connection says it.
        token: Option<Token>,
        /// What.
        connection: ConnectionName,
        /// The client program by its own word: 1 to 200 bytes without control characters.
        client: Option<String>,
    },
}

/// What the gateway begins a stream with, towards a client that serves; it is answered as an [`Opening`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The connection whose target is meant.
    pub connection: ConnectionName,
    /// The session's identifier: a UUID in its usual 36 characters.
    pub session: String,
}

/// What the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was accepted; the target's own bytes follow, where it was a session.
    Accepted {
        /// The session's identifier: a UUID in its usual 36 characters.
        session: Option<String>,
        /// How long the token counts, in seconds from now.
        seconds: u32,
        /// What follows, where it was a session.
        carries: Option<Carries>,
    },
    /// It was refused; nothing follows.
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people: at most 1024 bytes without control characters.
        message: String,
    },
}

/// A frame that can be written and read.
pub trait Frame: Sized {
    /// The frame's bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::Value`] where a field has a value that it can't have, [`WireError::TooLong`].
    fn encode(&self) -> Result<Vec<u8>, WireError>;

    /// The frame that `bytes` begin with, and its length; None where more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`WireError`], as soon as it is certain.
    fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError>;
}

impl Frame for Opening {
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Self::Session { token, connection, purpose, client } => {
                let mut out = Writer::new(Kind::Open);
                out.token(token.as_ref());
                out.field(Tag::Connection, connection.as_str().as_bytes());
                out.text(Tag::Purpose, purpose.as_deref(), MAX_PURPOSE)?;
                out.text(Tag::Client, client.as_deref(), MAX_CLIENT)?;
                out.end()
            }
            Self::Token { token, connection, session } => {
                let mut out = Writer::new(Kind::Token);
                out.token(Some(token));
                out.field(Tag::Connection, connection.as_str().as_bytes());
                out.session(session.as_deref())?;
                out.end()
            }
            Self::Serve { token, connection, client } => {
                let mut out = Writer::new(Kind::Serve);
                out.token(token.as_ref());
                out.field(Tag::Connection, connection.as_str().as_bytes());
                out.text(Tag::Client, client.as_deref(), MAX_CLIENT)?;
                out.end()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((kind, len)) = head(bytes, &[Kind::Open, Kind::Token, Kind::Serve])? else { return Ok(None) };
        let allowed: &[Tag] = match kind {
            Kind::Open => &[Tag::Token, Tag::Connection, Tag::Purpose, Tag::Client],
            Kind::Serve => &[Tag::Token, Tag::Connection, Tag::Client],
            _ => &[Tag::Token, Tag::Connection, Tag::Session],
        };
        let Some(fields) = Fields::read(bytes, len, allowed)? else { return Ok(None) };
        let token = fields.token()?;
        let connection = fields.ascii(Tag::Connection)?.and_then(ConnectionName::new);
        let connection = connection.ok_or(WireError::Value(Tag::Connection as u8))?;
        let opening = match kind {
            Kind::Open => {
                let purpose = fields.text(Tag::Purpose, MAX_PURPOSE)?;
                Self::Session { token, connection, purpose, client: fields.text(Tag::Client, MAX_CLIENT)? }
            }
            Kind::Serve => Self::Serve { token, connection, client: fields.text(Tag::Client, MAX_CLIENT)? },
            _ => {
                let token = token.ok_or(WireError::Missing(Tag::Token as u8))?;
                Self::Token { token, connection, session: fields.session()? }
            }
        };
        Ok(Some((opening, HEAD + len)))
    }
}

impl Frame for Dial {
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Writer::new(Kind::Dial);
        out.field(Tag::Connection, self.connection.as_str().as_bytes());
        out.session(Some(&self.session))?;
        out.end()
    }

    fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((_, len)) = head(bytes, &[Kind::Dial])? else { return Ok(None) };
        let Some(fields) = Fields::read(bytes, len, &[Tag::Connection, Tag::Session])? else { return Ok(None) };
        let connection = fields.ascii(Tag::Connection)?.and_then(ConnectionName::new);
        let connection = connection.ok_or(WireError::Value(Tag::Connection as u8))?;
        let session = fields.session()?.ok_or(WireError::Missing(Tag::Session as u8))?;
        Ok(Some((Self { connection, session }, HEAD + len)))
    }
}

impl Frame for Answer {
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Self::Accepted { session, seconds, carries } => {
                let mut out = Writer::new(Kind::Accepted);
                out.session(session.as_deref())?;
                out.field(Tag::Seconds, &seconds.to_be_bytes());
                if let Some(carries) = carries {
                    out.field(Tag::Carries, &[*carries as u8]);
                }
                out.end()
            }
            Self::Refused { code, message } => {
                let mut out = Writer::new(Kind::Refused);
                out.field(Tag::Code, &code.number().to_be_bytes());
                out.text(Tag::Message, Some(message), MAX_MESSAGE)?;
                out.end()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((kind, len)) = head(bytes, &[Kind::Accepted, Kind::Refused])? else { return Ok(None) };
        let allowed: &[Tag] = match kind {
            Kind::Accepted => &[Tag::Session, Tag::Seconds, Tag::Carries],
            _ => &[Tag::Code, Tag::Message],
        };
        let Some(fields) = Fields::read(bytes, len, allowed)? else { return Ok(None) };
        let answer = if kind == Kind::Accepted {
            let seconds = fields.number(Tag::Seconds)?;
            let carries = match fields.find(Tag::Carries) {
                None => None,
                Some([1]) => Some(Carries::Bytes),
                Some([2]) => Some(Carries::Mcp),
                Some(_) => return Err(WireError::Value(Tag::Carries as u8)),
            };
            Self::Accepted { session: fields.session()?, seconds: u32::from_be_bytes(seconds), carries }
        } else {
            let number = u16::from_be_bytes(fields.number(Tag::Code)?);
            let code = Code::of(number.into()).ok_or(WireError::Value(Tag::Code as u8))?;
            let message = fields.text(Tag::Message, MAX_MESSAGE)?.ok_or(WireError::Missing(Tag::Message as u8))?;
            Self::Refused { code, message }
        };
        Ok(Some((answer, HEAD + len)))
    }
}

impl Answer {
    /// A refusal; what a message can't hold is left out of it.
    #[must_use]
    pub fn refused(code: Code, message: &str) -> Self {
        let mut message: String =
            message.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        while message.len() > MAX_MESSAGE {
            message.pop();
        }
        if message.is_empty() {
            message = code.to_string();
        }
        Self::Refused { code, message }
    }
}

/// The kind and the length of the fields; None where more bytes are needed.
fn head(bytes: &[u8], kinds: &[Kind]) -> Result<Option<(Kind, usize)>, WireError> {
    let Some(version) = bytes.first() else { return Ok(None) };
    if *version != VERSION {
        return Err(WireError::Version(*version));
    }
    let Some(number) = bytes.get(1) else { return Ok(None) };
    let kind = kinds.iter().copied().find(|kind| *kind as u8 == *number).ok_or(WireError::Kind(*number))?;
    let Some(len) = bytes.get(2..HEAD).and_then(|len| len.try_into().ok()) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(len));
    if len > MAX_FIELDS {
        return Err(WireError::TooLong(len));
    }
    Ok(Some((kind, len)))
}

/// How many bytes follow these first four of a frame; the frame is the caller's to decode.
///
/// # Errors
///
/// [`WireError::Version`] and [`WireError::TooLong`].
pub fn fields_len(head: [u8; HEAD]) -> Result<usize, WireError> {
    if head[0] != VERSION {
        return Err(WireError::Version(head[0]));
    }
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if len > MAX_FIELDS { Err(WireError::TooLong(len)) } else { Ok(len) }
}

/// The fields of a frame, by their place in `allowed`.
struct Fields<'a> {
    allowed: &'a [Tag],
    values: Vec<Option<&'a [u8]>>,
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8], len: usize, allowed: &'a [Tag]) -> Result<Option<Self>, WireError> {
        let Some(mut rest) = bytes.get(HEAD..HEAD + len) else { return Ok(None) };
        let mut values = vec![None; allowed.len()];
        let mut last = 0;
        while let Some((tag, after)) = rest.split_first() {
            let place = allowed.iter().position(|known| *known as u8 == *tag).ok_or(WireError::Tag(*tag))?;
            if *tag <= last {
                return Err(WireError::Order(*tag));
            }
            last = *tag;
            let (len, after) = after.split_first_chunk::<2>().ok_or(WireError::CutOff)?;
            let len = usize::from(u16::from_be_bytes(*len));
            let (value, after) = after.split_at_checked(len).ok_or(WireError::CutOff)?;
            values[place] = Some(value);
            rest = after;
        }
        Ok(Some(Self { allowed, values }))
    }

    fn find(&self, tag: Tag) -> Option<&'a [u8]> {
        self.allowed.iter().position(|known| *known == tag).and_then(|place| self.values[place])
    }

    fn number<const N: usize>(&self, tag: Tag) -> Result<[u8; N], WireError> {
        let value = self.find(tag).ok_or(WireError::Missing(tag as u8))?;
        value.try_into().map_err(|_| WireError::Value(tag as u8))
    }

    fn token(&self) -> Result<Option<Token>, WireError> {
        let Some(value) = self.find(Tag::Token) else { return Ok(None) };
        let token = std::str::from_utf8(value).ok().and_then(Token::new);
        token.map(Some).ok_or(WireError::Value(Tag::Token as u8))
    }

    /// A field that has to be there. None where it is no ASCII.
    fn ascii(&self, tag: Tag) -> Result<Option<&'a str>, WireError> {
        let value = self.find(tag).ok_or(WireError::Missing(tag as u8))?;
        Ok(std::str::from_utf8(value).ok().filter(|text| text.is_ascii()))
    }

    fn text(&self, tag: Tag, longest: usize) -> Result<Option<String>, WireError> {
        let Some(value) = self.find(tag) else { return Ok(None) };
        let text = std::str::from_utf8(value).map_err(|_| WireError::Value(tag as u8))?;
        if is_text(text, longest) { Ok(Some(text.to_owned())) } else { Err(WireError::Value(tag as u8)) }
    }

    fn session(&self) -> Result<Option<String>, WireError> {
        let session = self.text(Tag::Session, SESSION)?;
        match session {
            Some(id) if !is_session(&id) => Err(WireError::Value(Tag::Session as u8)),
            session => Ok(session),
        }
    }
}

fn is_text(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
}

/// 36 characters, lower case: RFC 9562, section 4.
fn is_session(id: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == SESSION
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: Kind) -> Self {
        Self(vec![VERSION, kind as u8, 0, 0])
    }

    /// A field that is known to be shorter than 64 KiB.
    fn field(&mut self, tag: Tag, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.push(tag as u8);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(&value[..usize::from(len)]);
    }

    fn token(&mut self, token: Option<&Token>) {
        if let Some(token) = token {
            self.field(Tag::Token, token.as_str().as_bytes());
        }
    }

    fn text(&mut self, tag: Tag, text: Option<&str>, longest: usize) -> Result<(), WireError> {
        match text {
            None => Ok(()),
            Some(text) if is_text(text, longest) => {
                self.field(tag, text.as_bytes());
                Ok(())
            }
            Some(_) => Err(WireError::Value(tag as u8)),
        }
    }

    fn session(&mut self, id: Option<&str>) -> Result<(), WireError> {
        if id.is_some_and(|id| !is_session(id)) {
            return Err(WireError::Value(Tag::Session as u8));
        }
        self.text(Tag::Session, id, SESSION)
    }

    fn end(mut self) -> Result<Vec<u8>, WireError> {
        let len = self.0.len() - HEAD;
        match u16::try_from(len) {
            Ok(written) if len <= MAX_FIELDS => {
                self.0[2..HEAD].copy_from_slice(&written.to_be_bytes());
                Ok(self.0)
            }
            _ => Err(WireError::TooLong(len)),
        }
    }
}
