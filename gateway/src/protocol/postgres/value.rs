//! One value of a row or a parameter: read as what its type says, masked in place where that can be, else replaced by NULL.

use super::literal::{Element, rewrite};
use super::read::{Malformed, Reader};
use super::texts::{Seen, Texts};
use super::types::Type;
use bytes::{BufMut, Bytes};
use serde::de::IgnoredAny;
use sluice_engine::Stop;
use std::borrow::Cow;

/// Values in values are followed this deep; what is deeper is not passed.
const MAX_DEPTH: usize = 8;

/// The longest value in the binary format that has no room for a text beside what its type says, in bytes: a plain number.
const NUMBER: usize = 8;

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// It passes as it is.
    Same,
    /// This stands in its place.
    New(Vec<u8>),
    /// It can't be masked in place.
    Null,
}

impl From<Seen> for Field {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Same => Self::Same,
            Seen::Changed(text) => Self::New(text),
        }
    }
}

/// What a column is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// In the result.
    pub(super) label: String,
    /// By rules that claim the columns that it comes from.
    pub(super) also: Vec<String>,
}

/// What is known of the column of a value, or of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its names; None for a parameter.
    pub(super) name: Option<Named>,
    /// Its type.
    pub(super) oid: u32,
    /// In the binary format.
    pub(super) binary: bool,
    /// A rule claims every value of it.
    pub(super) selected: bool,
}

/// Inspects a value.
///
/// # Errors
/// A rule blocks it, or the inspector stopped.
pub(super) fn inspect(column: &Column, bytes: &Bytes, texts: &mut Texts) -> Result<Field, Stop> {
    if texts.is_idle() {
        return Ok(Field::Same);
    }
    let name = column.name.as_ref();
    Value { name, selected: column.selected, texts }.of(column.oid, column.binary, bytes, 0)
}

/// The first byte of a text that is no white space.
fn begins(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// What the rules see of a value is the text that is [shown], and nothing in it.
pub(super) fn is_plain(column: &Column, bytes: &[u8]) -> bool {
    match (Type::of(column.oid), column.binary) {
        _ if column.selected => false,
        (Type::Json | Type::Jsonb | Type::Bytea | Type::Array(_), _) | (Type::Unknown, true) => false,
        // A document, an array or a row may stand in it.
        (Type::Text, _) | (Type::Unknown, false) => !matches!(begins(bytes), Some(b'{' | b'[' | b'(')),
        (_, false) => true,
        (Type::Int(size), true) => bytes.len() == size,
        (Type::Oid | Type::Float4, true) => bytes.len() == 4,
        (Type::Float8, true) => bytes.len() == 8,
        (_, true) => false,
    }
}

/// Types whose values in the binary format are read as text; a value is of at most a few of them by its length.
const RENDERED: [Type; 12] = [
    Type::Int(2),
    Type::Int(4),
    Type::Int(8),
    Type::Oid,
    Type::Float4,
    Type::Float8,
    Type::Numeric,
    Type::Uuid,
    Type::Inet,
    Type::Macaddr,
    Type::Date,
    Type::Timestamp,
];

/// Inspects a value in the binary format whose type is a guess: as that, and as everything else that its bytes could be. What a
/// rule finds only there is replaced by NULL.
///
/// # Errors
/// A rule blocks it, or the inspector stopped.
pub(super) fn inspect_guessed(column: &Column, bytes: &Bytes, texts: &mut Texts) -> Result<Field, Stop> {
    let field = inspect(column, bytes, texts)?;
    if field != Field::Same || texts.is_idle() || column.selected {
        return Ok(field);
    }
    for kind in RENDERED {
        if kind == Type::Macaddr && !matches!(bytes.len(), 6 | 8) {
            continue;
        }
        if let Some(text) = kind.render(bytes)
            && texts.text(&text.into(), column.name.as_ref())? != Seen::Same
        {
            return Ok(Field::Null);
        }
    }
    Ok(Field::Same)
}

struct Value<'a> {
    name: Option<&'a Named>,
    selected: bool,
    texts: &'a mut Texts,
}

impl Value<'_> {
    fn of(&mut self, oid: u32, binary: bool, bytes: &Bytes, depth: usize) -> Result<Field, Stop> {
        if depth > MAX_DEPTH {
            return Ok(Field::Null);
        }
        match (Type::of(oid), binary) {
            (Type::Text, _) => self.text(bytes),
            (Type::Json, _) | (Type::Jsonb, false) => self.json(bytes),
            (Type::Jsonb, true) => match bytes.split_first() {
                Some((1, _)) => Ok(match self.json(&bytes.slice(1..))? {
                    Field::New(text) => Field::New([&[1], text.as_slice()].concat()),
                    other => other,
                }),
                _ => Ok(Field::Null),
            },
            (Type::Bytea, true) => self.raw(bytes),
            (Type::Bytea, false) => self.bytea(bytes),
            (Type::Array(_), false) if !self.selected => self.literal(oid, bytes, depth),
            (Type::Array(_), true) if !self.selected => self.array(bytes, depth),
            (Type::Unknown, false) if !self.selected => self.unknown_text(bytes, depth),
            (Type::Unknown, true) if !self.selected => self.unknown_binary(bytes, depth),
            (kind, false) => Ok(match self.raw(bytes)? {
                Field::New(text) if kind.accepts(&text) && !matches!(kind, Type::Array(_)) => Field::New(text),
                Field::New(_) => Field::Null,
                other => other,
            }),
            (kind, true) => {
                let rendered = kind.render(bytes).map(Bytes::from);
                let mut seen = self.raw(rendered.as_ref().unwrap_or(bytes))?;
                // Whatever the type says, the client gets the bytes.
                if seen == Field::Same && rendered.is_some() && bytes.len() > NUMBER && self.raw(bytes)? != Field::Same
                {
                    seen = Field::Null;
                }
                Ok(match (seen, rendered) {
                    (Field::New(text), Some(_)) => kind.encode(&text).map_or(Field::Null, Field::New),
                    (Field::New(_), None) => Field::Null,
                    (other, _) => other,
                })
            }
        }
    }

    /// As it stands.
    fn raw(&mut self, bytes: &Bytes) -> Result<Field, Stop> {
        self.texts.text(bytes, self.name).map(Field::from)
    }

    /// Text; where a document stands in it, that is read as one first.
    fn text(&mut self, bytes: &Bytes) -> Result<Field, Stop> {
        let is_document = matches!(begins(bytes), Some(b'{' | b'['))
            && !self.selected
            && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        if !is_document {
            return self.raw(bytes);
        }
        match self.json(bytes)? {
            Field::Same => self.raw(bytes),
            Field::New(text) => {
                let text = Bytes::from(text);
                Ok(match self.raw(&text)? {
                    Field::Same => Field::New(text.into()),
                    other => other,
                })
            }
            Field::Null => Ok(Field::Null),
        }
    }

    fn json(&mut self, bytes: &Bytes) -> Result<Field, Stop> {
        if self.selected {
            // All of it is masked; what stands for it is a string of JSON.
            return Ok(match self.raw(bytes)? {
                Field::New(text) => {
                    Field::New(serde_json::Value::from(String::from_utf8_lossy(&text)).to_string().into_bytes())
                }
                other => other,
            });
        }
        match self.texts.json(bytes) {
            Ok(seen) => Ok(seen.into()),
            // What can't be read is not passed.
            Err(Stop::Undecodable { .. }) => Ok(Field::Null),
            Err(stop) => Err(stop),
        }
    }

    /// Bytes as text: in hexadecimal, or with octal escapes.
    fn bytea(&mut self, bytes: &Bytes) -> Result<Field, Stop> {
        let decoded = match bytes.strip_prefix(b"\\x") {
            Some(hex) => data_encoding::HEXLOWER_PERMISSIVE.decode(hex).ok(),
            None => unescape(bytes),
        };
        let Some(decoded) = decoded else { return Ok(Field::Null) };
        Ok(match self.raw(&Bytes::from(decoded))? {
            Field::New(bytes) => Field::New(format!("\\x{}", data_encoding::HEXLOWER.encode(&bytes)).into_bytes()),
            other => other,
        })
    }

    /// The elements of an array or the fields of a row, as text.
    fn literal(&mut self, oid: u32, bytes: &Bytes, depth: usize) -> Result<Field, Stop> {
        let element = match Type::of(oid) {
            Type::Array(element) => element,
            _ => 0,
        };
        let changed = rewrite(bytes, |text| {
            Ok(match self.of(element, false, &Bytes::from(text), depth + 1)? {
                Field::Same => Element::Same,
                Field::New(text) => Element::Text(text),
                Field::Null => {
                    self.texts.lost = true;
                    Element::Null
                }
            })
        });
        match changed {
            Ok(None) => Ok(Field::Same),
            Ok(Some(changed)) => Ok(Field::New(changed)),
            Err(Some(stop)) => Err(stop),
            Err(None) => self.raw(bytes),
        }
    }

    /// Text of a type that isn't known: an array or a row of such, or text.
    fn unknown_text(&mut self, bytes: &Bytes, depth: usize) -> Result<Field, Stop> {
        match bytes.first() {
            Some(b'{' | b'(' | b'[') if serde_json::from_slice::<IgnoredAny>(bytes).is_err() => {
                match self.literal(0, bytes, depth)? {
                    Field::Same => self.raw(bytes),
                    other => Ok(other),
                }
            }
            _ => self.text(bytes),
        }
    }

    /// An array in the binary format; its lengths follow what is masked.
    fn array(&mut self, bytes: &Bytes, depth: usize) -> Result<Field, Stop> {
        let Ok(array) = Array::read(bytes.clone()) else { return Ok(Field::Null) };
        let mut out = Vec::with_capacity(bytes.len());
        out.put_slice(&bytes[..array.header]);
        let (mut changed, mut nulls) = (false, false);
        for element in array.elements {
            let field = match &element {
                Some(element) => self.of(array.oid, true, element, depth + 1)?,
                None => Field::Same,
            };
            changed |= field != Field::Same;
            let element = match field {
                Field::Same => element.map(Vec::from),
                Field::New(new) => Some(new),
                Field::Null => {
                    self.texts.lost = true;
                    None
                }
            };
            nulls |= element.is_none();
            put_value(&mut out, element.as_deref());
        }
        if !changed {
            return Ok(Field::Same);
        }
        if nulls {
            // The flag that some element is NULL.
            out[4..8].copy_from_slice(&1_i32.to_be_bytes());
        }
        Ok(Field::New(out))
    }

    /// Bytes of a type that isn't known: as they stand, and part by part where they read as an array or a row. What would have to
    /// be masked is not passed.
    fn unknown_binary(&mut self, bytes: &Bytes, depth: usize) -> Result<Field, Stop> {
        if self.raw(bytes)? != Field::Same {
            return Ok(Field::Null);
        }
        let parts = match Array::read(bytes.clone()) {
            Ok(array) => array.elements.into_iter().flatten().map(|element| (array.oid, element)).collect(),
            Err(_) => row(bytes.clone()).unwrap_or_default(),
        };
        for (oid, part) in parts {
            if self.of(oid, true, &part, depth + 1)? != Field::Same {
                return Ok(Field::Null);
            }
        }
        Ok(Field::Same)
    }
}

fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.put_i32(-1),
        Some(value) => {
            out.put_i32(i32::try_from(value.len()).expect("values come from messages below the cap"));
            out.put_slice(value);
        }
    }
}

/// An array in the binary format.
struct Array {
    oid: u32,
    /// The length of what stands before the elements, in bytes.
    header: usize,
    elements: Vec<Option<Bytes>>,
}

impl Array {
    fn read(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let dimensions = usize::try_from(reader.int()?).ok().filter(|count| *count <= 6).ok_or(Malformed)?;
        if !matches!(reader.int()?, 0 | 1) {
            return Err(Malformed);
        }
        let oid = reader.oid()?;
        let mut count = usize::from(dimensions > 0);
        for _ in 0..dimensions {
            // What is empty has no dimensions.
            let length = usize::try_from(reader.int()?).ok().filter(|length| *length > 0).ok_or(Malformed)?;
            reader.int()?;
            count = count.checked_mul(length).ok_or(Malformed)?;
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(reader.value()?);
        }
        reader.end()?;
        Ok(Self { oid, header: 12 + 8 * dimensions, elements })
    }
}

/// The fields of a row in the binary format that aren't NULL.
fn row(bytes: Bytes) -> Result<Vec<(u32, Bytes)>, Malformed> {
    let mut reader = Reader(bytes);
    let count = usize::try_from(reader.int()?).map_err(|_| Malformed)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let oid = reader.oid()?;
        fields.extend(reader.value()?.map(|value| (oid, value)));
    }
    reader.end()?;
    Ok(fields)
}

/// Bytes in the escape format.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            _ => {
                out.push(*first);
                after
            }
        };
    }
    Some(out)
}

/// A value for the record: text as it stands, what is binary as text where it can be, else in hexadecimal.
pub(super) fn shown<'a>(column: &Column, bytes: &'a [u8]) -> Cow<'a, str> {
    let hex = || Cow::Owned(format!("\\x{}", data_encoding::HEXLOWER.encode(bytes)));
    if !column.binary {
        return String::from_utf8_lossy(bytes);
    }
    match Type::of(column.oid) {
        Type::Text | Type::Json => String::from_utf8_lossy(bytes),
        Type::Jsonb => String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()),
        kind => kind.render(bytes).map_or_else(hex, Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_dsl::{CompileOptions, compile_source};
    use sluice_engine::Budget;

    const RULES: &str = r#"language 1
pack t "1.0.0" { owner "t" reviewed 2026-01-01 }
pattern email = /\b[a-z]{1,20}@[a-z]{1,20}\.[a-z]{2,5}\b/
pattern digits = /\b[0-9]{16}\b/
rule mask_email { meta { severity low } on response match email then mask redact(with: "[email], \"x\"") }
rule mask_digits { meta { severity low } on response match digits then mask partial(keep_last: 4, with: "*") }
rule mask_pan { meta { severity low } on response match column ["pan"] then mask redact(with: "[pan]") }
"#;

    fn inspected(name: &str, oid: u32, binary: bool, bytes: &[u8]) -> Field {
        let compiled = compile_source("t.rules", RULES, &CompileOptions::for_tests());
        let policy = compiled.policy.clone().unwrap_or_else(|| panic!("{}", compiled.render(false)));
        let mut texts = Texts::new(policy.program(), policy.response_patterns(), &Budget::unlimited());
        let name = Named { label: name.to_owned(), also: Vec::new() };
        let selected = texts.selects(&name);
        let column = Column { name: Some(name), oid, binary, selected };
        inspect(&column, &Bytes::copy_from_slice(bytes), &mut texts).unwrap()
    }

    fn new(bytes: impl AsRef<[u8]>) -> Field {
        Field::New(bytes.as_ref().to_vec())
    }

    fn array(oid: u32, elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i32(1);
        out.put_i32(i32::from(elements.iter().any(Option::is_none)));
        out.put_u32(oid);
        out.put_i32(elements.len() as i32);
        out.put_i32(1);
        elements.iter().for_each(|element| put_value(&mut out, *element));
        out
    }

    const MASK: &str = r#"[email], "x""#;

    #[test]
    fn text_is_masked_in_place_in_both_formats() {
        for binary in [false, true] {
            assert_eq!(inspected("note", 25, binary, b"to bob@example.org"), new(format!("to {MASK}")));
            assert_eq!(inspected("note", 25, binary, b"nothing"), Field::Same);
        }
    }

    #[test]
    fn json_is_read_without_its_escapes_and_stays_json() {
        let (json, masked) = (br#"{"a":"bob\u0040example.org"}"#, r#"{"a":"[email], \"x\""}"#);
        assert_eq!(inspected("doc", 114, false, json), new(masked));
        assert_eq!(inspected("doc", 3802, true, &[&[1], &json[..]].concat()), new([&[1], masked.as_bytes()].concat()));
        assert_eq!(inspected("doc", 25, false, json), new(masked), "also where a text holds it");
        assert_eq!(inspected("pan", 114, false, b"{}"), new("\"[pan]\""));
        assert_eq!(inspected("doc", 114, false, b"{\"a"), Field::Null);
    }

    #[test]
    fn bytes_are_read_as_what_they_are() {
        let hex = |text: &str| format!("\\x{}", data_encoding::HEXLOWER.encode(text.as_bytes()));
        assert_eq!(inspected("b", 17, false, hex("bob@example.org").as_bytes()), new(hex(MASK)));
        assert_eq!(inspected("b", 17, false, b"bob\\100example.org"), new(hex(MASK)));
        assert_eq!(inspected("b", 17, true, b"bob@example.org"), new(MASK));
    }

    #[test]
    fn a_text_in_the_bytes_of_another_type_is_found_whatever_they_stand_for() {
        assert_eq!(inspected("id", 2950, true, b" a@example.org  "), Field::Null);
        assert_eq!(inspected("id", 2950, true, b"0123456789abcdef"), Field::Same);
        assert_eq!(inspected("n", 1700, true, &[&[0, 4, 0, 3, 0, 0, 0, 0][..], b"a@bb.org"].concat()), Field::Null);
        let mut empty = array(25, &[]);
        assert_eq!(inspected("a", 1009, true, &empty), Field::Null, "what is empty has no dimensions");
        empty[..4].fill(0);
        assert_eq!(inspected("a", 1009, true, &empty[..12]), Field::Same);
    }

    #[test]
    fn what_no_longer_is_of_its_type_is_null() {
        assert_eq!(inspected("n", 20, false, b"4111111111111111"), Field::Null);
        assert_eq!(inspected("n", 20, true, &4_111_111_111_111_111_i64.to_be_bytes()), Field::Null);
        assert_eq!(inspected("n", 20, true, &7_i64.to_be_bytes()), Field::Same);
        assert_eq!(inspected("pan", 16, true, &[1]), Field::Null);
        assert_eq!(inspected("pan", 1009, false, b"{a}"), Field::Null);
        assert_eq!(inspected("pan", 1009, true, &array(25, &[Some(b"a")])), Field::Null);
    }

    #[test]
    fn elements_of_arrays_are_masked_each_by_itself_and_lengths_follow() {
        let masked = r#"{a,"[email], \"x\""}"#;
        assert_eq!(inspected("a", 1009, false, b"{a,bob@example.org}"), new(masked));
        let elements: [Option<&[u8]>; 3] = [Some(b"a"), None, Some(b"bob@example.org")];
        let masked: [Option<&[u8]>; 3] = [Some(b"a"), None, Some(MASK.as_bytes())];
        assert_eq!(inspected("a", 1009, true, &array(25, &elements)), new(array(25, &masked)));
        let number = 4_111_111_111_111_111_i64.to_be_bytes();
        assert_eq!(inspected("a", 1016, true, &array(20, &[Some(&number)])), new(array(20, &[None])));
        assert_eq!(inspected("a", 1016, false, b"{4111111111111111,7}"), new("{NULL,7}"));
        assert_eq!(inspected("a", 1009, true, &[0, 0, 0, 9]), Field::Null);
    }

    #[test]
    fn what_is_not_known_is_looked_through_and_never_rewritten_in_the_binary_format() {
        let mut row = Vec::new();
        row.put_i32(1);
        row.put_u32(25);
        put_value(&mut row, Some(b"bob@example.org"));
        assert_eq!(inspected("r", 99_999, true, &row), Field::Null);
        assert_eq!(inspected("r", 99_999, false, b"(1,bob@example.org)"), new(r#"(1,"[email], \"x\"")"#));
        assert_eq!(inspected("r", 99_999, false, b"bob@example.org"), new(MASK));
        assert_eq!(inspected("r", 99_999, true, b"enum_label"), Field::Same);
        // A length that is a digit's code stands before the digits, and hides nothing.
        let mut row = Vec::new();
        row.put_i32(1);
        row.put_u32(25);
        put_value(&mut row, Some(b"4111111111111111 and 31 bytes more than that...."));
        assert_eq!(inspected("r", 99_999, true, &row), Field::Null);
    }
}
