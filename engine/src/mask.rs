//! Masks: what stands in the place of a matched value.

use aes_siv::aead::KeyInit;
use aes_siv::siv::Aes256Siv;
use fpe::ff1::{FF1, FlexibleNumeralString};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;

/// What a mask writes when a value can't be masked as its rule says (a loser's rest, a value over the cap).
pub(crate) const REDACTED: &str = "[redacted]";

/// A mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// A fixed text in the place of the value.
    Redact {
        /// The text.
        with: String,
    },
    /// Letters and digits replaced one by one, the first and last few kept; separators stay.
    Partial {
        /// Letters and digits kept at the start.
        keep_first: usize,
        /// Letters and digits kept at the end.
        keep_last: usize,
        /// What stands for each other letter or digit.
        with: char,
    },
    /// HMAC-SHA-256 (RFC 2104) of the value under the named key, its first 16 bytes in hexadecimal.
    Hash {
        /// The key's name in the [`Keyring`].
        key: String,
    },
    /// A deterministic token (AES-SIV, RFC 5297), reversible by those who hold the named key.
    Tokenize {
        /// The key's name in the [`Keyring`].
        key: String,
    },
    /// FF1 (NIST SP 800-38G) over the digits; letters and separators stay. Fewer than six digits are redacted: the domain
    /// would be too small to hide in.
    FormatPreserving {
        /// The key's name in the [`Keyring`].
        key: String,
    },
}

/// How strict a mask is: of two that overlap at equal priority and length the stricter wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Some of the value stays readable.
    Partial,
    /// Nothing stays readable, but equal values stay equal.
    Keyed,
    /// Nothing stays.
    Redact,
}

impl Mask {
    /// A fixed text in the place of the value.
    #[must_use]
    pub fn redact(with: impl Into<String>) -> Self {
        Self::Redact { with: with.into() }
    }

    /// How strict this mask is.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        match self {
            Self::Redact { .. } => Strategy::Redact,
            Self::Hash { .. } | Self::Tokenize { .. } | Self::FormatPreserving { .. } => Strategy::Keyed,
            Self::Partial { .. } => Strategy::Partial,
        }
    }

    /// The name of the key it needs.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Hash { key } | Self::Tokenize { key } | Self::FormatPreserving { key } => Some(key),
            Self::Redact { .. } | Self::Partial { .. } => None,
        }
    }
}

/// A mask with its keys derived: what is left to do for each value.
pub(crate) struct Masker {
    strategy: Strategy,
    kind: Kind,
}

enum Kind {
    Redact(String),
    Partial {
        keep_first: usize,
        keep_last: usize,
        with: char,
    },
    Hash(Box<Hmac<Sha256>>),
    Tokenize(Box<[u8; 64]>),
    /// None where the cipher can't be made, which a key of the right length rules out: then all is redacted.
    FormatPreserving(Option<Box<FF1<aes::Aes256>>>),
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        f.debug_struct("Masker").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl Masker {
    pub(crate) fn new(mask: &Mask, keys: &Keyring) -> Self {
        let kind = match mask {
            Mask::Redact { with } => Kind::Redact(with.clone()),
            Mask::Partial { keep_first, keep_last, with } => {
                Kind::Partial { keep_first: *keep_first, keep_last: *keep_last, with: *with }
            }
            Mask::Hash { key } => Kind::Hash(Box::new(keyed(&keys.derive(key, b"hash")))),
            Mask::Tokenize { key } => Kind::Tokenize(Box::new(keys.siv(key))),
            Mask::FormatPreserving { key } => {
                Kind::FormatPreserving(FF1::new(&keys.derive(key, b"ff1"), 10).ok().map(Box::new))
            }
        };
        Self { strategy: mask.strategy(), kind }
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Writes the mask of `value` (decoded bytes) to `out`. Nothing else is allocated, but for the numbers of FF1.
    pub(crate) fn write(&self, value: &[u8], out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Redact(with) => out.extend_from_slice(with.as_bytes()),
            Kind::Partial { keep_first, keep_last, with } => partial(value, *keep_first, *keep_last, *with, out),
            Kind::Hash(key) => {
                let mac = finish(Hmac::clone(key), &[value]);
                append(&data_encoding::HEXLOWER, &mac[..16], out);
            }
            Kind::Tokenize(key) => {
                out.extend_from_slice(b"tok_");
                // The value is sealed behind the place of its token, and then written there.
                let from = out.len();
                out.extend_from_slice(&[0; TAG]);
                out.extend_from_slice(value);
                // AES-SIV refuses only more than 2^36 bytes or 126 headers.
                let mut cipher = Aes256Siv::new((&**key).into());
                match cipher.encrypt_inout_detached([TOKEN], (&mut out[from + TAG..]).into()) {
                    Ok(tag) => out[from..from + TAG].copy_from_slice(&tag),
                    Err(_) => {
                        out.truncate(from);
                        return out.extend_from_slice(REDACTED.as_bytes());
                    }
                }
                spread(&data_encoding::BASE64URL_NOPAD, from, out);
            }
            Kind::FormatPreserving(cipher) => format_preserving(value, cipher.as_deref(), out),
        }
    }
}

/// What a token's seal is bound to.
const TOKEN: &[u8] = b"sluice token 1";

/// The length of a seal before what it seals, in bytes.
const TAG: usize = 16;

/// Writes bytes in an encoding.
fn append(encoding: &data_encoding::Encoding, bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + encoding.encode_len(bytes.len()), 0);
    encoding.encode_mut(bytes, &mut out[from..]);
}

/// Writes what stands at the end of `out` from `from` on in an encoding, in place: a piece after the other from the end, each
/// of whole groups of characters.
fn spread(encoding: &data_encoding::Encoding, from: usize, out: &mut Vec<u8>) {
    const PIECE: usize = 48;
    let len = out.len() - from;
    out.resize(from + encoding.encode_len(len), 0);
    let mut piece = [0; PIECE];
    for at in (0..len).step_by(PIECE).rev() {
        let bytes = PIECE.min(len - at);
        piece[..bytes].copy_from_slice(&out[from + at..from + at + bytes]);
        let (to, chars) = (from + encoding.encode_len(at), encoding.encode_len(bytes));
        encoding.encode_mut(&piece[..bytes], &mut out[to..to + chars]);
    }
}

fn partial(value: &[u8], keep_first: usize, keep_last: usize, with: char, out: &mut Vec<u8>) {
    let text = || {
        value.utf8_chunks().flat_map(|chunk| {
            let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(broken)
        })
    };
    let counted = text().filter(|c| c.is_alphanumeric()).count();
    // A value that the kept ends would show whole is hidden whole.
    let (first, last) = if keep_first + keep_last >= counted { (0, 0) } else { (keep_first, keep_last) };
    let mut seen = 0;
    let mut buffer = [0; 4];
    for c in text() {
        let shown = if c.is_alphanumeric() {
            seen += 1;
            if seen <= first || seen > counted - last { c } else { with }
        } else {
            c
        };
        out.extend_from_slice(shown.encode_utf8(&mut buffer).as_bytes());
    }
}

fn format_preserving(value: &[u8], cipher: Option<&FF1<aes::Aes256>>, out: &mut Vec<u8>) {
    let digits: Vec<u16> = value.iter().filter(|b| b.is_ascii_digit()).map(|b| u16::from(b - b'0')).collect();
    let sealed = cipher
        .filter(|_| digits.len() >= 6)
        .and_then(|cipher| cipher.encrypt(&[], &FlexibleNumeralString::from(digits)).ok().map(Vec::<u16>::from));
    let Some(sealed) = sealed else {
        out.extend_from_slice(REDACTED.as_bytes());
        return;
    };
    let mut sealed = sealed.into_iter();
    out.extend(value.iter().map(|b| match b.is_ascii_digit() {
        // As many digits come out as went in.
        true => sealed.next().map_or(b'*', |d| b'0' + d as u8),
        false => *b,
    }));
}

/// The keys that masks name. A key that is not there is derived from the root, so a name always has a key of its own.
#[derive(Clone)]
pub struct Keyring {
    root: [u8; 32],
    named: BTreeMap<String, [u8; 32]>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("named", &self.named.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Keys derived by HMAC-SHA-256 from one secret, a name each.
    #[must_use]
    pub fn from_root(secret: [u8; 32]) -> Self {
        Self { root: secret, named: BTreeMap::new() }
    }

    /// A fixed, public root: for tests of rules, where masks must be reproducible and hide nothing.
    #[must_use]
    pub fn for_tests() -> Self {
        Self::from_root(*b"sluice test keys: they hide nada")
    }

    /// The same, with this key under this name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, key: [u8; 32]) -> Self {
        self.named.insert(name.into(), key);
        self
    }

    fn derive(&self, name: &str, purpose: &[u8]) -> [u8; 32] {
        let key = self.named.get(name).copied().unwrap_or_else(|| mac(&self.root, &[b"name", name.as_bytes()]));
        mac(&key, &[b"purpose", purpose])
    }

    /// The keyed hash of a value, 32 bytes: how a value is named in reports without being shown.
    #[must_use]
    pub fn mac(&self, name: &str, value: &[u8]) -> [u8; 32] {
        mac(&self.derive(name, b"hash"), &[value])
    }

    fn siv(&self, name: &str) -> [u8; 64] {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.derive(name, b"siv-mac"));
        key[32..].copy_from_slice(&self.derive(name, b"siv-ctr"));
        key
    }

    /// The value behind a token (`tok_…`) of the named key; None where the token is not of this key or was changed.
    #[must_use]
    pub fn reveal(&self, name: &str, token: &str) -> Option<Vec<u8>> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(token.strip_prefix("tok_")?.as_bytes()).ok()?;
        Aes256Siv::new(&self.siv(name).into()).decrypt([TOKEN], &sealed).ok()
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: &Mask, value: &str) -> String {
        let mut out = Vec::new();
        Masker::new(mask, &Keyring::for_tests()).write(value.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn partial_keeps_separators_and_the_ends() {
        let mask = Mask::Partial { keep_first: 0, keep_last: 4, with: '*' };
        assert_eq!(masked(&mask, "4111 1111-1111 1111"), "**** ****-**** 1111");
        assert_eq!(masked(&mask, "1234"), "****");
    }

    #[test]
    fn a_hash_is_keyed_and_deterministic() {
        let hash = |key: &str| masked(&Mask::Hash { key: key.into() }, "bob@example.com");
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!(hash("a").len(), 32);
    }

    #[test]
    fn a_token_is_revealed_by_its_key_alone() {
        let token = masked(&Mask::Tokenize { key: "pay".into() }, "4111111111111111");
        let keys = Keyring::for_tests();
        assert_eq!(keys.reveal("pay", &token).as_deref(), Some(&b"4111111111111111"[..]));
        assert_eq!(keys.reveal("other", &token), None);
    }

    #[test]
    fn format_preserving_keeps_the_form_and_hides_the_digits() {
        let mask = Mask::FormatPreserving { key: "pay".into() };
        let out = masked(&mask, "4111-1111-1111-1111");
        assert_eq!(out.len(), 19);
        assert_eq!(out.matches('-').count(), 3);
        assert_ne!(out, "4111-1111-1111-1111");
        assert_eq!(masked(&mask, "12345"), REDACTED);
    }
}
