//! Checkpoints of the log (C2SP tlog-checkpoint): its origin, its size and the root of the tree over it, in a signed note.

use data_encoding::BASE64;

use super::{
    log::tree::Hash,
    note::{Note, NoteError, Signer, Verifier, sign},
};

/// Begins the extension line by which the key that signs names the one that follows it.
const NEXT_KEY: &str = "next-key ";

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// The number of its records.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// The key that signs all later ones, where it is another one from here on.
    pub next_key: Option<Verifier>,
}

impl Checkpoint {
    /// The text that is signed.
    fn text(&self) -> String {
        let Self { origin, size, root, next_key } = self;
        let mut text = format!("{origin}\n{size}\n{}\n", BASE64.encode(root));
        if let Some(key) = next_key {
            text.push_str(&format!("{NEXT_KEY}{key}\n"));
        }
        text
    }

    /// The note of it, signed by these.
    #[must_use]
    pub fn signed(&self, signers: &[&Signer]) -> String {
        sign(&self.text(), signers)
    }

    /// Reads a text. Extension lines of others are passed over.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, digits, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size: u64 = digits.parse().ok()?;
        let root = BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?;
        let mut next_key = None;
        for line in lines {
            match line.strip_prefix(NEXT_KEY) {
                Some(key) if next_key.is_none() => next_key = Some(Verifier::parse(key).ok()?),
                Some(_) => return None,
                None if line.is_empty() => return None,
                None => {}
            }
        }
        // One spelling for each number.
        (!origin.is_empty() && digits == size.to_string()).then(|| Self {
            origin: origin.to_owned(),
            size,
            root,
            next_key,
        })
    }

    /// What a note says, whoever signed it.
    pub(super) fn unverified(note: &str) -> Result<Self, NoteError> {
        Self::parse(Note::parse(note)?.unverified()).ok_or(NoteError::Form)
    }

    /// The checkpoint in a note that this key has signed. One that names the next key has to be signed by that, too.
    ///
    /// # Errors
    ///
    /// [`NoteError`], as for any note; [`NoteError::Form`] also where the text is no checkpoint of the key's log.
    pub fn verified(note: &str, key: &Verifier) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.verified(key)?).ok_or(NoteError::Form)?;
        if checkpoint.origin != key.name() {
            return Err(NoteError::Form);
        }
        if let Some(next) = &checkpoint.next_key {
            note.verified(next)?;
        }
        Ok(checkpoint)
    }
}

/// Cuts a text of many checkpoints into their notes. What is left where the last one is not whole comes last.
pub(super) fn notes(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut signed = false;
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            let signature = line.starts_with('\u{2014}');
            if signed && !signature {
                break;
            }
            signed |= signature;
            end += line.len();
        }
        let (note, left) = rest.split_at(end);
        rest = left;
        (!note.is_empty()).then_some(note)
    })
}
