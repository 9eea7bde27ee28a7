//! Second readings of JSON: members as they are written, texts as they are meant.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// How often `name` is a member of the object that `text` is; None where it is no object.
pub fn named(text: &str, name: &str) -> Option<usize> {
    struct Names<'a>(&'a str);
    impl<'de> Visitor<'de> for Names<'_> {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
            let mut found = 0;
            while let Some(name) = map.next_key::<String>()? {
                found += usize::from(name == self.0);
                map.next_value::<IgnoredAny>()?;
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Names(name)).ok()
}

/// The colons that stand outside of strings: one for each member that is written, repeated ones included.
pub fn colons(text: &[u8]) -> usize {
    let (mut inside, mut escaped, mut found) = (false, false, 0);
    for byte in text {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => found += 1,
            _ => {}
        }
    }
    found
}

/// The members of a value, at every depth: one that is repeated counts once.
pub fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// Calls `see` with every string of a value, names of members included.
pub fn strings(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, see)),
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            see(name);
            strings(value, see);
        }),
        _ => {}
    }
}
