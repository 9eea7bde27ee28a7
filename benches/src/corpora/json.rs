//! JSON as servers answer it, and JSON in strings as MCP tools answer it.

use super::{text, values};
use crate::rng::Rng;
use serde_json::{Value, json};

/// A document with what its strings and numbers say.
pub(super) struct Written {
    /// The bytes on the wire.
    pub(super) wire: Vec<u8>,
    /// Every string and number, decoded to the innermost, each on a line of its own.
    pub(super) decoded: Vec<u8>,
}

/// One array of objects, `permille` of them with a value that a rule finds.
pub(super) fn api(size: usize, permille: usize) -> Written {
    let mut rng = Rng::named("json api");
    let mut places = Rng::named("values");
    let mut written = Written { wire: Vec::with_capacity(size + 4096), decoded: Vec::with_capacity(size) };
    let mut before = b'[';
    while written.wire.len() < size {
        written.wire.push(before);
        let object = object(&mut rng, &mut places, permille);
        written.wire.extend_from_slice(object.to_string().as_bytes());
        leaves(&object, &mut written.decoded);
        before = b',';
    }
    written.wire.push(b']');
    written
}

/// JSON-RPC answers, one after another; each holds a page of objects as text.
pub(super) fn mcp(size: usize, permille: usize) -> Written {
    let mut rng = Rng::named("json mcp");
    let mut places = Rng::named("values");
    let mut written = Written { wire: Vec::with_capacity(size + 65_536), decoded: Vec::with_capacity(size) };
    for id in 1.. {
        if written.wire.len() >= size {
            break;
        }
        let page: Vec<Value> = (0..rng.between(5, 40)).map(|_| object(&mut rng, &mut places, permille)).collect();
        page.iter().for_each(|object| leaves(object, &mut written.decoded));
        let text = json!({ "rows": page, "next": null }).to_string();
        let answer = json!({
            "jsonrpc": "2.0",
            "id": id,
            "result": { "content": [{ "type": "text", "text": text }], "isError": false },
        });
        written.wire.extend_from_slice(answer.to_string().as_bytes());
        written.wire.push(b'\n');
    }
    written
}

fn object(rng: &mut Rng, places: &mut Rng, permille: usize) -> Value {
    let mut note = text::sentence(rng, 6, 40);
    if rng.below(8) == 0 {
        note.push_str("\nHe said \"yes\".");
    }
    if places.below(1000) < permille {
        text::insert(&mut note, &values::any(places), places);
    }
    json!({
        "id": rng.between(1, 9_999_999),
        "created": format!("2026-{:02}-{:02}T{:02}:{:02}:00Z", rng.between(1, 12), rng.between(1, 28), rng.below(24), rng.below(60)),
        "status": rng.pick(&["open", "paid", "shipped", "returned"]),
        "amount": rng.between(100, 99_999) as f64 / 100.0,
        "tags": [rng.pick(&["retail", "export", "gift"]), rng.pick(&["north", "south", "west"])],
        "lines": [
            { "sku": format!("SKU-{}", rng.between(1000, 9999)), "quantity": rng.between(1, 9), "title": text::sentence(rng, 3, 6) },
            { "sku": format!("SKU-{}", rng.between(1000, 9999)), "quantity": rng.between(1, 9), "title": text::sentence(rng, 3, 6) },
        ],
        "note": note,
        "gift": rng.below(2) == 0,
        "parent": null,
    })
}

fn leaves(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            out.extend_from_slice(number.to_string().as_bytes());
            out.push(b'\n');
        }
        Value::String(text) => {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(value, out)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            out.extend_from_slice(name.as_bytes());
            out.push(b'\n');
            leaves(value, out);
        }),
    }
}
