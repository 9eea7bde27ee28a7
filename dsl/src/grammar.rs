//! The grammar that editors colour rules by (TextMate's format), printed from the table of words.

use crate::words::{MASKS, WORDS, WordKind, validators};
use serde_json::{Value, json};

/// The grammar of `source.sluice`, as the value of its JSON.
#[must_use]
pub fn textmate() -> Value {
    let words = |kind| alternatives(WORDS.iter().filter(|word| word.kind == kind).map(|word| word.text));
    let masks = alternatives(MASKS.iter().map(|mask| mask.name));
    let validators = alternatives(validators().map(|(name, ..)| name));
    json!({
        "information_for_contributors": ["Printed from dsl/src/words.rs by `cargo xtask bless`; changes here are lost."],
        "name": "Sluice rules",
        "scopeName": "source.sluice",
        "fileTypes": ["rules"],
        "patterns": [
            { "include": "#comment" },
            { "include": "#string" },
            { "include": "#regex" },
            { "include": "#declaration" },
            { "include": "#call" },
            { "include": "#word" },
            { "include": "#literal" },
        ],
        "repository": {
            "comment": { "name": "comment.line.number-sign.sluice", "match": "#.*$" },
            "string": {
                "name": "string.quoted.double.sluice", "begin": "\"", "end": "\"|$",
                "patterns": [{ "name": "constant.character.escape.sluice", "match": r"\\." }],
            },
            "regex": {
                "name": "string.regexp.sluice", "begin": "(?:^|[=\\s])(/)", "end": "/|$",
                "patterns": [{ "name": "constant.character.escape.sluice", "match": r"\\." }],
            },
            "declaration": {
                "match": r"\b(list|pattern|scope|rule|except|pack|import)\s+([A-Za-z_][A-Za-z0-9_.]*)",
                "captures": {
                    "1": { "name": "keyword.declaration.sluice" },
                    "2": { "name": "entity.name.type.sluice" },
                },
            },
            "call": { "patterns": [
                { "match": format!(r"\b(mask)\s+{masks}"), "captures": {
                    "1": { "name": "keyword.control.sluice" }, "2": { "name": "support.function.mask.sluice" } } },
                { "match": format!(r"\b(validate)\s+{validators}"), "captures": {
                    "1": { "name": "keyword.other.sluice" }, "2": { "name": "support.function.validator.sluice" } } },
            ]},
            "word": { "patterns": [
                { "name": "keyword.declaration.sluice", "match": words(WordKind::Item) },
                { "name": "keyword.other.sluice", "match": words(WordKind::Clause) },
                { "name": "keyword.control.sluice", "match": words(WordKind::Action) },
                { "name": "keyword.operator.word.sluice", "match": words(WordKind::Operator) },
                { "name": "storage.modifier.sluice", "match": words(WordKind::Part) },
            ]},
            "literal": { "patterns": [
                { "name": "constant.other.date.sluice", "match": r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b" },
                { "name": "constant.numeric.sluice", "match": r"\b[0-9]+(?:\.[0-9]+)?(?:[A-Za-z]{1,3})?\b" },
                { "name": "keyword.operator.sluice", "match": "==|!=|<=|>=|<|>" },
            ]},
        },
    })
}

/// An expression for these words, each whole. A name's own dots and underscores make no word of its parts.
fn alternatives<'w>(words: impl Iterator<Item = &'w str>) -> String {
    format!(r"\b({})\b", words.collect::<Vec<_>>().join("|"))
}
