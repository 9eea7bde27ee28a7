//! `COPY … TO` in the binary format. It says nothing about types: a value is inspected as everything that its bytes could be.

use super::super::read::{Malformed, Reader};
use super::super::rows::{RowError, Rows, put_field};
use super::super::value::Field;
use bytes::{Bytes, BytesMut};

/// What the data begins with; flags and an extension of the header follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The type `text`, `jsonb`, and none that is known.
const TEXT: u32 = 25;
const JSONB: u32 = 3802;
const UNKNOWN: u32 = 0;

/// Data that is being read: messages of whole rows, as servers send them.
#[derive(Debug, Default)]
pub(super) struct Binary {
    begun: bool,
    over: bool,
}

impl Binary {
    /// The data of a message as it may leave, or None where nothing changed; `seen` gets a line for each row.
    ///
    /// # Errors
    /// [`RowError`]: nothing of it leaves.
    pub(super) fn data(
        &mut self,
        body: &Bytes,
        count: usize,
        rows: &mut Rows,
        seen: &mut Vec<u8>,
    ) -> Result<Option<Bytes>, RowError> {
        let mut data = Reader(body.clone());
        if !self.begun {
            header(&mut data)?;
            self.begun = true;
        }
        let mut out = BytesMut::new();
        let (mut changed, mut kept) = (false, 0);
        while !data.is_empty() {
            if self.over {
                return Err(RowError::Malformed);
            }
            match data.short()? {
                -1 => self.over = true,
                fields if usize::try_from(fields) == Ok(count) => {
                    rows.next_row();
                    for at in 0..count {
                        let start = body.len() - data.0.len();
                        let value = data.value()?;
                        let end = body.len() - data.0.len();
                        let new = match &value {
                            Some(value) => rows.guessed(at, guess(value), value, seen)?,
                            None => rows.null(at, seen),
                        };
                        let new = match new {
                            Field::Same => continue,
                            Field::New(new) => Some(new),
                            Field::Null => None,
                        };
                        out.extend_from_slice(&body[kept..start]);
                        put_field(&mut out, new.as_deref());
                        (changed, kept) = (true, end);
                    }
                    seen.push(b'\n');
                }
                _ => return Err(RowError::Malformed),
            }
        }
        out.extend_from_slice(&body[kept..]);
        Ok(changed.then(|| out.freeze()))
    }
}

fn header(data: &mut Reader) -> Result<(), Malformed> {
    if data.take(SIGNATURE.len())? != SIGNATURE {
        return Err(Malformed);
    }
    // Flags: bit 16 once said that rows have identifiers, which no server sends any more; the others change nothing.
    if data.oid()? & 0xffff_0000 != 0 {
        return Err(Malformed);
    }
    let extension = usize::try_from(data.int()?).map_err(|_| Malformed)?;
    data.take(extension).map(drop)
}

/// The type that a value is masked in place as. What reads as text is text: a number or a date whose bytes all happen to be letters
/// and to make a value that a rule masks loses its length, and no client takes that for a number.
fn guess(value: &[u8]) -> u32 {
    let is_text = |text: &[u8]| {
        std::str::from_utf8(text)
            .is_ok_and(|text| !text.chars().any(|letter| letter.is_control() && !letter.is_whitespace()))
    };
    match value {
        [1, document @ ..] if matches!(document.first(), Some(b'{' | b'[' | b'"')) && is_text(document) => JSONB,
        value if is_text(value) => TEXT,
        _ => UNKNOWN,
    }
}
