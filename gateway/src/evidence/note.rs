//! Signed notes (C2SP signed-note) with Ed25519: a text, a blank line, and a line for each signature.
//!
//! A key's public half is spelt `NAME+ID+KEY` (eight hexadecimal digits and base64), its private half `PRIVATE+KEY+NAME+ID+KEY`, as the Go
//! package `golang.org/x/mod/sumdb/note` has it.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};

use super::log::tree::sha256;

/// Ed25519, as signed-note numbers it.
const ALGORITHM: u8 = 1;
/// Begins a line with a signature: an em dash and a space.
const DASH: &str = "\u{2014} ";
/// More signatures than this a note doesn't have.
const SIGNATURES: usize = 16;
/// What stands before the name of a private key.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Why a note or a key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is no note.
    #[error("it is no signed note")]
    Form,
    /// No signature is by this key.
    #[error("the key has not signed it")]
    Unsigned,
    /// A signature that claims to be by this key is not.
    #[error("the signature is wrong")]
    Signature,
    /// The text is no key of Ed25519.
    #[error("it is no key: NAME+ID+KEY, in one line")]
    Key,
}

/// The public half of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl Verifier {
    fn new(name: &str, key: [u8; 32]) -> Result<Self, NoteError> {
        if name.is_empty() || name.contains(|char: char| char.is_whitespace() || char.is_control() || char == '+') {
            return Err(NoteError::Key);
        }
        let said = [name.as_bytes(), &[b'\n', ALGORITHM], &key].concat();
        let [a, b, c, d, ..] = sha256(&said);
        Ok(Self { name: name.to_owned(), id: [a, b, c, d], key })
    }

    /// Reads a key as it is spelt.
    ///
    /// # Errors
    ///
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, key) = encoded(text)?;
        Self::new(name, key).and_then(|key| if key.to_string() == text { Ok(key) } else { Err(NoteError::Key) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ALGORITHM][..], &self.key].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id), BASE64.encode(&key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name and the 32 bytes of `NAME+ID+KEY`.
fn encoded(text: &str) -> Result<(&str, [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key);
    };
    let key = BASE64.decode(key.as_bytes()).map_err(|_| NoteError::Key)?;
    let key = key.strip_prefix(&[ALGORITHM]).and_then(|key| key.try_into().ok());
    Ok((name, key.ok_or(NoteError::Key)?))
}

/// The private half of a key. `Debug` doesn't show it.
pub struct Signer {
    verifier: Verifier,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Signer {
    /// A new key of this name.
    ///
    /// # Errors
    ///
    /// [`NoteError::Key`] when no key can have the name.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        Self::new(name, rand::random())
    }

    fn new(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::Key)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Key)?;
        Ok(Self { verifier: Verifier::new(name, key)?, seed, pair })
    }

    /// Reads a private key as it is spelt.
    ///
    /// # Errors
    ///
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, seed) = encoded(text.trim_end().strip_prefix(PRIVATE).ok_or(NoteError::Key)?)?;
        Self::new(name, seed)
    }

    /// The private key as it is spelt: a secret.
    #[must_use]
    pub fn secret(&self) -> String {
        let key = [&[ALGORITHM][..], &self.seed].concat();
        let Verifier { name, id, .. } = &self.verifier;
        format!("{PRIVATE}{name}+{}+{}", HEXLOWER.encode(id), BASE64.encode(&key))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// The note over this text, which ends in a line break, signed by all of these keys.
pub(super) fn sign(text: &str, signers: &[&Signer]) -> String {
    let mut note = format!("{text}\n");
    for signer in signers {
        let signature = [&signer.verifier.id[..], signer.pair.sign(text.as_bytes()).as_ref()].concat();
        note.push_str(&format!("{DASH}{} {}\n", signer.verifier.name, BASE64.encode(&signature)));
    }
    note
}

/// A note as it was read; nothing of it is trusted before a signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'n> {
    text: &'n str,
    /// Name, identifier and signature.
    signatures: Vec<(&'n str, [u8; 4], Vec<u8>)>,
}

impl<'n> Note<'n> {
    /// Reads a note.
    ///
    /// # Errors
    ///
    /// [`NoteError::Form`].
    pub fn parse(note: &'n str) -> Result<Self, NoteError> {
        if note.contains(|char: char| char < ' ' && char != '\n') {
            return Err(NoteError::Form);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Vec<_> =
            lines.split('\n').take(SIGNATURES + 1).map(signature).collect::<Option<_>>().ok_or(NoteError::Form)?;
        if signatures.len() > SIGNATURES {
            return Err(NoteError::Form);
        }
        Ok(Self { text, signatures })
    }

    /// The text, whoever signed it.
    #[must_use]
    pub fn unverified(&self) -> &'n str {
        self.text
    }

    /// The text, once this key is known to have signed it.
    ///
    /// # Errors
    ///
    /// [`NoteError::Unsigned`], [`NoteError::Signature`].
    pub fn verified(&self, key: &Verifier) -> Result<&'n str, NoteError> {
        let by = |(name, id, _): &&(&str, [u8; 4], Vec<u8>)| *name == key.name && *id == key.id;
        let mut ours = self.signatures.iter().filter(by).peekable();
        ours.peek().ok_or(NoteError::Unsigned)?;
        let public = UnparsedPublicKey::new(&ED25519, key.key);
        let right = ours.all(|(.., signature)| public.verify(self.text.as_bytes(), signature).is_ok());
        if right { Ok(self.text) } else { Err(NoteError::Signature) }
    }
}

/// A line with a signature.
fn signature(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = BASE64.decode(signature.as_bytes()).ok()?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    (!name.is_empty() && !rest.is_empty()).then(|| (name, *id, rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Go package's documentation.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_another_implementation_is_verified() {
        let key = Verifier::parse(GO_KEY).unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        let text = Note::parse(GO_NOTE).unwrap().verified(&key).unwrap();
        assert!(text.ends_with("your problem is.\n"));
        let changed = GO_NOTE.replace("problem is", "problem was");
        assert_eq!(Note::parse(&changed).unwrap().verified(&key), Err(NoteError::Signature));
    }

    #[test]
    fn the_private_key_of_another_implementation_gives_its_public_key() {
        let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let signer = Signer::parse(secret).unwrap();
        assert_eq!((signer.verifier().to_string().as_str(), signer.secret().as_str()), (GO_KEY, secret));
        assert!(!format!("{signer:?}").contains("AYEKFALVFGyNhPJEMzD1QIDr"));
    }

    #[test]
    fn a_note_is_verified_by_each_of_its_keys_and_no_other() {
        let [a, b, c] = ["a.example/log", "a.example/log", "c"].map(|name| Signer::generate(name).unwrap());
        let note = sign("text\n\nwith an empty line\n", &[&a, &b]);
        let read = Note::parse(&note).unwrap();
        assert_eq!(read.verified(a.verifier()), Ok("text\n\nwith an empty line\n"));
        assert!(read.verified(b.verifier()).is_ok());
        assert_eq!(read.verified(c.verifier()), Err(NoteError::Unsigned));
    }

    #[test]
    fn what_is_no_note_or_no_key_is_refused() {
        for text in
            ["", "\n", "a\n\n", "a\n\nb\n", "a\n\n\u{2014} b c", "a\n\n\u{2014} b \n", "a\tb\n\n\u{2014} k AAAAAAA=\n"]
        {
            assert_eq!(Note::parse(text), Err(NoteError::Form), "{text:?}");
        }
        for key in ["", "a", "a+b+c", "a+00000000+AQ==", &GO_KEY.replace("c74f", "c74e"), &format!("{GO_KEY}\n")] {
            assert_eq!(Verifier::parse(key), Err(NoteError::Key), "{key:?}");
        }
        assert!(["", "a b", "a+b", "a\nb"].iter().all(|name| Signer::generate(name).is_err()));
    }
}
