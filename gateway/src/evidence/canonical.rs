//! The canonical form of records: JSON without white space and with the keys of every object sorted (RFC 8785), written in one
//! go and put in order in place.

use std::{
    cell::RefCell,
    cmp::Ordering,
    io::{self, Write},
    ops::Range,
};

use serde::Serialize;
use serde_json::{
    Value,
    ser::{CompactFormatter, Formatter, Serializer},
};

/// The canonical text of a value, as RFC 8785 has it for the values records are made of (strings, booleans, null, and integers,
/// which are written with all their digits).
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = Vec::new();
    write(value, &mut out).expect("all keys of a JSON value are text, and memory takes what is written");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Appends the canonical text of `value` to `out`.
///
/// # Errors
///
/// When a key of a map is no text.
pub(super) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let shared = RefCell::new(std::mem::take(out));
    let sorted = Sorted { out: &shared, objects: Vec::new(), entries: Vec::new() };
    let done = value.serialize(&mut Serializer::with_formatter(Sink(&shared), sorted));
    *out = shared.into_inner();
    done
}

/// Where the text goes; the formatter sees it as well.
struct Sink<'o>(&'o RefCell<Vec<u8>>);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An entry of an object in the text: its key with the quotes, and the whole of it.
struct Entry {
    key: Range<usize>,
    end: usize,
}

/// Writes objects as they come, remembers where their entries stand, and sorts them when the object ends.
struct Sorted<'o> {
    out: &'o RefCell<Vec<u8>>,
    /// The objects that are open: where each begins, and its first one of `entries`.
    objects: Vec<(usize, usize)>,
    entries: Vec<Entry>,
}

impl Formatter for Sorted<'_> {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object(writer)?;
        self.objects.push((self.out.borrow().len(), self.entries.len()));
        Ok(())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        CompactFormatter.begin_object_key(writer, first)?;
        let at = self.out.borrow().len();
        self.entries.push(Entry { key: at..at, end: at });
        Ok(())
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        if let Some(entry) = self.entries.last_mut() {
            entry.key.end = self.out.borrow().len();
        }
        Ok(())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        // Entries of objects inside this value are gone already.
        if let Some(entry) = self.entries.last_mut() {
            entry.end = self.out.borrow().len();
        }
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if let Some((start, first)) = self.objects.pop() {
            let mut out = self.out.borrow_mut();
            let entries = self.entries.get(first..).unwrap_or_default();
            if !entries.is_sorted_by(|a, b| order(&out, &a.key, &b.key).is_le()) {
                sort(&mut out, start, entries);
            }
            self.entries.truncate(first);
        }
        CompactFormatter.end_object(writer)
    }
}

/// Puts the entries of the object whose text begins at `start` in order.
fn sort(out: &mut Vec<u8>, start: usize, entries: &[Entry]) {
    let mut order_of: Vec<&Entry> = entries.iter().collect();
    order_of.sort_by(|a, b| order(out, &a.key, &b.key));
    let mut sorted = Vec::with_capacity(out.len() - start);
    for entry in order_of {
        if !sorted.is_empty() {
            sorted.push(b',');
        }
        sorted.extend_from_slice(&out[entry.key.start..entry.end]);
    }
    out.truncate(start);
    out.extend_from_slice(&sorted);
}

/// By the UTF-16 code units of what the keys say.
fn order(out: &[u8], a: &Range<usize>, b: &Range<usize>) -> Ordering {
    let (a, b) = (&out[a.clone()], &out[b.clone()]);
    let plain = |key: &[u8]| key.is_ascii() && !key.contains(&b'\\');
    if plain(a) && plain(b) {
        // Without the quotes, which stand before some characters and behind others.
        return a[1..a.len() - 1].cmp(&b[1..b.len() - 1]);
    }
    let units = |key: &[u8]| -> Vec<u16> {
        let said: String = serde_json::from_slice(key).unwrap_or_default();
        said.encode_utf16().collect()
    };
    units(a).cmp(&units(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The same by way of a tree of values: what records were written with before.
    fn plainly(value: &Value) -> String {
        let list = |items: Vec<String>| items.join(",");
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_cached_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
                let entry = |(key, value): (&String, &Value)| format!("{}:{}", json!(key), plainly(value));
                format!("{{{}}}", list(entries.into_iter().map(entry).collect()))
            }
            Value::Array(items) => format!("[{}]", list(items.iter().map(plainly).collect())),
            leaf => leaf.to_string(),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("(.{0,3}|[a-c\"\\\\!#]{0,3})", inner, 0..8).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_is_the_one_that_a_tree_of_values_gives(value in values()) {
            prop_assert_eq!(canonical(&value), plainly(&value));
        }
    }

    #[test]
    fn names_are_sorted_by_their_code_units_and_there_are_no_spaces() {
        let value = json!({ "b": [1, null, "é\n"], "a": { "z": true, "A": 0 } });
        assert_eq!(canonical(&value), r#"{"a":{"A":0,"z":true},"b":[1,null,"é\n"]}"#);
        // The example of RFC 8785, section 3.2.3: a surrogate pair stands before U+FB33.
        let value = json!({ "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7 });
        let sorted = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(&value), sorted);
    }
}
