//! The first packet of a connection: what the client wants, before it is asked who it is.

use super::frame::put;
use super::read::{Malformed, Reader};
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The longest first packet, in bytes (the server's own bound).
pub const MAX_STARTUP: usize = 10_000;
/// The parameter that says what the session is for.
pub const PURPOSE: &str = "sluice.purpose";
/// The parameter that says how the token comes.
pub const AUTH: &str = "sluice.auth";

/// The newest version that is spoken, 3.2; its key that cancels is longer than that of 3.0.
const NEWEST: u32 = version(3, 2);
const OLDEST: u32 = version(3, 0);
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;
/// The first byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

const fn version(major: u32, minor: u32) -> u32 {
    major << 16 | minor
}

/// What a client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It asks for TLS.
    Ssl,
    /// It asks for encryption by GSSAPI.
    Gssenc,
    /// It begins with TLS at once; nothing was taken from the buffer.
    DirectTls,
    /// It wants what another connection runs to be cancelled.
    Cancel(CancelKey),
    /// It wants a session.
    Startup(Startup),
}

/// What a client was given to cancel with. `Debug` doesn't show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The number of the process, by its name; here a random number.
    pub process: u32,
    /// The secret: 4 bytes in version 3.0, up to 256 in 3.2.
    pub secret: Bytes,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("process", &self.process).finish_non_exhaustive()
    }
}

impl CancelKey {
    /// The message that gives the key to a client.
    #[must_use]
    pub fn message(&self) -> Bytes {
        let mut out = BytesMut::new();
        put(&mut out, b'K', |out| {
            out.extend_from_slice(&self.process.to_be_bytes());
            out.extend_from_slice(&self.secret);
        });
        out.freeze()
    }

    /// The key of a server's message.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut body = Reader(body);
        let process = body.oid()?;
        let secret = body.0;
        if !(4..=256).contains(&secret.len()) {
            return Err(Malformed);
        }
        Ok(Self { process, secret })
    }

    /// The packet that cancels what the server runs for the key.
    #[must_use]
    pub fn request(&self) -> Bytes {
        packet(CANCEL, |out| {
            out.extend_from_slice(&self.process.to_be_bytes());
            out.extend_from_slice(&self.secret);
        })
    }
}

/// The packet that asks a server for TLS.
#[must_use]
pub fn ssl_request() -> Bytes {
    packet(SSL, |_| {})
}

/// The packet that opens a session of version 3.0 with these parameters.
#[must_use]
pub fn startup<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    packet(OLDEST, |out| {
        for (name, value) in parameters {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&[0]);
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(&[0]);
        }
        out.extend_from_slice(&[0]);
    })
}

fn packet(code: u32, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    fill(&mut out);
    let length = u32::try_from(out.len()).expect("parameters come from packets below the cap");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// How a client shows its token. A server has to ask for one way before it hears of any, so the client says it with its startup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// As its password, which every client can.
    #[default]
    Password,
    /// With SASL OAUTHBEARER.
    OauthBearer,
}

/// A session that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// What the client calls the user.
    pub user: String,
    /// The database: for the gateway the name of a connection. The user's name where the client says none.
    pub database: String,
    /// What it says it does it for.
    pub purpose: Option<String>,
    /// How its token comes.
    pub auth: Auth,
    /// Settings of the session by name, those of `options` among them, in their order.
    pub settings: Vec<(String, String)>,
    /// The answer that a newer version than the ones spoken, or an option that is not known, asks for.
    pub negotiation: Option<Bytes>,
    /// The client speaks 3.2.
    pub long_keys: bool,
}

/// Why a first packet is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartupError {
    /// No first packet of the protocol.
    #[error("this is no first packet of PostgreSQL's protocol")]
    Malformed,
    /// A version that isn't spoken.
    #[error("version {0}.{1} of the protocol is not spoken; 3.0 and 3.2 are")]
    Version(u32, u32),
    /// Replication.
    #[error("replication is not let through")]
    Replication,
    /// Something in `options` that is no setting.
    #[error("`options` may hold settings alone, such as `-c {PURPOSE}=reporting`")]
    Options,
    /// A way to show a token that is none.
    #[error("`{AUTH}` is `password` or `oauthbearer`")]
    Auth,
    /// A parameter twice, with different values.
    #[error("the parameter `{0}` is given twice")]
    Repeated(String),
    /// Names and values are text.
    #[error("a parameter is not UTF-8")]
    Encoding,
}

impl StartupError {
    /// The SQLSTATE to answer with.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Malformed | Self::Version(..) => "08P01",
            Self::Replication => "0A000",
            Self::Options | Self::Auth | Self::Repeated(_) | Self::Encoding => "22023",
        }
    }
}

impl From<Malformed> for StartupError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Takes the first packet from the buffer once it is whole.
///
/// # Errors
/// [`StartupError`]: answer with an error and close.
pub fn opening(buffer: &mut BytesMut) -> Result<Option<Opening>, StartupError> {
    if buffer.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Some(Opening::DirectTls));
    }
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if !(8..=MAX_STARTUP).contains(&length) {
        return Err(StartupError::Malformed);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut packet = Reader(buffer.split_to(length).freeze());
    packet.0.advance(4);
    let code = packet.oid()?;
    let opening = match code {
        SSL => packet.end().map(|()| Opening::Ssl)?,
        GSSENC => packet.end().map(|()| Opening::Gssenc)?,
        CANCEL => Opening::Cancel(CancelKey::parse(packet.0)?),
        _ if code >> 16 == 3 => Opening::Startup(parameters(code, packet)?),
        _ => return Err(StartupError::Version(code >> 16, code & 0xffff)),
    };
    Ok(Some(opening))
}

fn parameters(code: u32, mut packet: Reader) -> Result<Startup, StartupError> {
    let mut startup = Startup::default();
    let (mut user, mut database, mut purpose, mut auth) = (None, None, None, None);
    let mut unknown: Vec<String> = Vec::new();
    loop {
        let name = text(packet.text()?)?;
        if name.is_empty() {
            break;
        }
        let value = text(packet.text()?)?;
        match name.as_str() {
            "user" => once(&name, &mut user, value)?,
            "database" => once(&name, &mut database, value)?,
            PURPOSE => once(&name, &mut purpose, value)?,
            AUTH => once(&name, &mut auth, value)?,
            "replication" if ["false", "off", "no", "0"].contains(&value.to_ascii_lowercase().as_str()) => {}
            "replication" => return Err(StartupError::Replication),
            "options" => {
                for (name, value) in options(&value)? {
                    match name.as_str() {
                        PURPOSE => once(&name, &mut purpose, value)?,
                        AUTH => once(&name, &mut auth, value)?,
                        _ => startup.settings.push((name, value)),
                    }
                }
            }
            _ if name.starts_with("_pq_.") => unknown.push(name),
            _ => startup.settings.push((name, value)),
        }
    }
    packet.end()?;
    startup.user = user.filter(|user| !user.is_empty()).ok_or(StartupError::Malformed)?;
    startup.database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| startup.user.clone());
    startup.purpose = purpose;
    startup.auth = match auth.as_deref() {
        None | Some("password") => Auth::Password,
        Some("oauthbearer") => Auth::OauthBearer,
        Some(_) => return Err(StartupError::Auth),
    };
    startup.long_keys = code >= NEWEST;
    if code != OLDEST && code != NEWEST || !unknown.is_empty() {
        // 3.1 never was; whoever asks for it speaks 3.0.
        let spoken = if code >= NEWEST { NEWEST } else { OLDEST };
        startup.negotiation = Some(negotiation(spoken, &unknown));
    }
    Ok(startup)
}

fn text(bytes: Bytes) -> Result<String, StartupError> {
    String::from_utf8(bytes.into()).map_err(|_| StartupError::Encoding)
}

fn once(name: &str, slot: &mut Option<String>, value: String) -> Result<(), StartupError> {
    match slot {
        Some(known) if *known != value => Err(StartupError::Repeated(name.to_owned())),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// NegotiateProtocolVersion: the newest version that is spoken, and the options that aren't known.
fn negotiation(version: u32, unknown: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, b'v', |out| {
        out.extend_from_slice(&version.to_be_bytes());
        let count = u32::try_from(unknown.len()).expect("the packet is short");
        out.extend_from_slice(&count.to_be_bytes());
        for name in unknown {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&[0]);
        }
    });
    out.freeze()
}

/// The settings of `options`, which is read as the server reads it: words between white space, where a backslash takes the
/// next character as it stands; `-c name=value`, `-cname=value` and `--name=value`.
fn options(text: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.get_or_insert_default().extend(letters.next()),
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") if word == "-c" => words.next().ok_or(StartupError::Options)?,
            Some(setting) => setting.to_owned(),
            None => return Err(StartupError::Options),
        };
        let (name, value) = setting.split_once('=').ok_or(StartupError::Options)?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
            return Err(StartupError::Options);
        }
        // As the server does: a dash stands for an underscore.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet_of(code: u32, parameters: &[(&str, &str)]) -> BytesMut {
        let mut packet = BytesMut::from(&startup(parameters.iter().copied())[..]);
        packet[4..8].copy_from_slice(&code.to_be_bytes());
        packet
    }

    fn read(parameters: &[(&str, &str)]) -> Result<Startup, StartupError> {
        match opening(&mut packet_of(OLDEST, parameters))? {
            Some(Opening::Startup(startup)) => Ok(startup),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_packet_is_taken_when_it_is_whole_and_what_follows_it_stays() {
        let whole = packet_of(OLDEST, &[("user", "ada"), ("database", "crm")]);
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            assert_eq!(opening(&mut part), Ok(None));
            assert_eq!(part.len(), end);
        }
        let mut more = whole;
        more.extend_from_slice(b"p...");
        assert!(matches!(opening(&mut more), Ok(Some(Opening::Startup(_)))));
        assert_eq!(&more[..], b"p...");
    }

    #[test]
    fn the_purpose_stands_in_options_or_by_its_own_name_and_differs_nowhere() {
        let options = [("user", "ada"), ("options", r"-c sluice.purpose=nightly\ report --work-mem=1MB -cgeqo=off")];
        let startup = read(&options).unwrap();
        assert_eq!(startup.purpose.as_deref(), Some("nightly report"));
        let settings = [("work_mem", "1MB"), ("geqo", "off")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(startup.settings, settings);
        assert_eq!(startup.database, "ada");
        assert_eq!(read(&[("user", "a"), (PURPOSE, "x")]).unwrap().purpose.as_deref(), Some("x"));
        let twice = [("user", "a"), (PURPOSE, "x"), ("options", "-c sluice.purpose=y")];
        assert_eq!(read(&twice), Err(StartupError::Repeated(PURPOSE.to_owned())));
    }

    #[test]
    fn a_client_says_how_its_token_comes() {
        assert_eq!(read(&[("user", "a")]).unwrap().auth, Auth::Password);
        assert_eq!(read(&[("user", "a"), (AUTH, "password")]).unwrap().auth, Auth::Password);
        let bearer = read(&[("user", "a"), ("options", "-c sluice.auth=oauthbearer")]).unwrap();
        assert_eq!((bearer.auth, bearer.settings), (Auth::OauthBearer, Vec::new()));
        assert_eq!(read(&[("user", "a"), (AUTH, "md5")]), Err(StartupError::Auth));
    }

    #[test]
    fn what_the_gateway_does_not_do_is_refused() {
        assert_eq!(read(&[("user", "a"), ("replication", "database")]), Err(StartupError::Replication));
        assert!(read(&[("user", "a"), ("replication", "off")]).is_ok());
        for options in ["-B 100", "x", "-c", "-c work_mem", "-c a b=c", "--=1", "-c a;b=1"] {
            assert_eq!(read(&[("user", "a"), ("options", options)]), Err(StartupError::Options), "{options}");
        }
        assert_eq!(read(&[("database", "crm")]), Err(StartupError::Malformed));
        assert_eq!(opening(&mut packet_of(version(2, 0), &[])), Err(StartupError::Version(2, 0)));
        assert_eq!(opening(&mut BytesMut::from(&b"\x00\x00\x00\x07...."[..])), Err(StartupError::Malformed));
        assert_eq!(opening(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..])), Err(StartupError::Malformed));
    }

    #[test]
    fn a_newer_version_is_answered_with_the_newest_that_is_spoken() {
        let mut newer = packet_of(version(3, 9999), &[("user", "a"), ("_pq_.later", "1")]);
        let Ok(Some(Opening::Startup(startup))) = opening(&mut newer) else { panic!("it is a startup packet") };
        assert!(startup.long_keys);
        let answer = startup.negotiation.unwrap();
        assert_eq!(&answer[..], b"v\0\0\0\x17\0\x03\0\x02\0\0\0\x01_pq_.later\0");
        let Ok(Some(Opening::Startup(startup))) = opening(&mut packet_of(NEWEST, &[("user", "a")])) else { panic!() };
        assert_eq!((startup.negotiation, startup.long_keys), (None, true));
    }

    #[test]
    fn a_key_survives_its_message_and_its_request() {
        let key = CancelKey { process: 7, secret: Bytes::from_static(b"abcd") };
        assert_eq!(CancelKey::parse(key.message().slice(5..)), Ok(key.clone()));
        assert_eq!(opening(&mut BytesMut::from(&key.request()[..])), Ok(Some(Opening::Cancel(key))));
        assert_eq!(CancelKey::parse(Bytes::from_static(b"\0\0\0\x01abc")), Err(Malformed));
    }
}
