//! Masks: what stands in the place of a matched value.

use aes_siv::aead::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
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

    /// Writes the mask of `value` (decoded bytes) to `out`.
    pub(crate) fn write(&self, value: &[u8], keys: &Keyring, out: &mut Vec<u8>) {
        match self {
            Self::Redact { with } => out.extend_from_slice(with.as_bytes()),
            Self::Partial { keep_first, keep_last, with } => partial(value, *keep_first, *keep_last, *with, out),
            Self::Hash { key } => {
                let mac = keys.mac(key, value);
                out.extend_from_slice(data_encoding::HEXLOWER.encode(&mac[..16]).as_bytes());
            }
            Self::Tokenize { key } => {
                out.extend_from_slice(b"tok_");
                out.extend_from_slice(data_encoding::BASE64URL_NOPAD.encode(&keys.seal(key, value)).as_bytes());
            }
            Self::FormatPreserving { key } => format_preserving(value, key, keys, out),
        }
    }
}

fn partial(value: &[u8], keep_first: usize, keep_last: usize, with: char, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(value);
    let counted = text.chars().filter(|c| c.is_alphanumeric()).count();
    // A value that the kept ends would show whole is hidden whole.
    let (first, last) = if keep_first + keep_last >= counted { (0, 0) } else { (keep_first, keep_last) };
    let mut seen = 0;
    let mut buffer = [0; 4];
    for c in text.chars() {
        let shown = if c.is_alphanumeric() {
            seen += 1;
            if seen <= first || seen > counted - last { c } else { with }
        } else {
            c
        };
        out.extend_from_slice(shown.encode_utf8(&mut buffer).as_bytes());
    }
}

fn format_preserving(value: &[u8], key: &str, keys: &Keyring, out: &mut Vec<u8>) {
    let digits: Vec<u16> = value.iter().filter(|b| b.is_ascii_digit()).map(|b| u16::from(b - b'0')).collect();
    let sealed = (digits.len() >= 6)
        .then(|| {
            use fpe::ff1::{FF1, FlexibleNumeralString};
            let cipher = FF1::<aes::Aes256>::new(&keys.derive(key, b"ff1"), 10).ok()?;
            let text = FlexibleNumeralString::from(digits);
            cipher.encrypt(&[], &text).ok().map(Vec::<u16>::from)
        })
        .flatten();
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

    fn siv(&self, name: &str) -> aes_siv::siv::Aes256Siv {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.derive(name, b"siv-mac"));
        key[32..].copy_from_slice(&self.derive(name, b"siv-ctr"));
        aes_siv::siv::Aes256Siv::new(&key.into())
    }

    fn seal(&self, name: &str, value: &[u8]) -> Vec<u8> {
        // AES-SIV refuses only more than 2^36 bytes or 126 headers; a hash would still hide the value.
        self.siv(name)
            .encrypt([&b"sluice token 1"[..]], value)
            .unwrap_or_else(|_| Sha256::digest(self.mac(name, value)).to_vec())
    }

    /// The value behind a token (`tok_…`) of the named key; None where the token is not of this key or was changed.
    #[must_use]
    pub fn reveal(&self, name: &str, token: &str) -> Option<Vec<u8>> {
        let sealed = data_encoding::BASE64URL_NOPAD.decode(token.strip_prefix("tok_")?.as_bytes()).ok()?;
        self.siv(name).decrypt([&b"sluice token 1"[..]], &sealed).ok()
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
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
        mask.write(value.as_bytes(), &Keyring::for_tests(), &mut out);
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
