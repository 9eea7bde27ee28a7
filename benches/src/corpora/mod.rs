//! What is searched through: texts made anew in every run, byte for byte the same on every machine.

mod hostile;
mod json;
mod text;
pub mod values;

use bytes::Bytes;
use sluice_engine::Format;

/// A text with its name and format.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// As `--corpus` takes it and the report shows it.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// How the inspector reads it. Peers read all as raw bytes.
    pub format: Format,
    /// The text.
    pub bytes: Bytes,
    /// The text as a reader of the format sees it, each string and number on a line of its own; the text itself where raw.
    pub decoded: Bytes,
}

/// A corpus that is made when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// As `--corpus` takes it and the report shows it.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    make: Make,
}

#[derive(Clone, Copy, Debug)]
enum Make {
    Raw(fn(usize) -> Vec<u8>),
    Json(fn(usize) -> json::Written),
}

impl Recipe {
    /// Writes about `size` bytes of it.
    #[must_use]
    pub fn make(&self, size: usize) -> Corpus {
        let (format, bytes, decoded) = match self.make {
            Make::Raw(make) => {
                let bytes = Bytes::from(make(size));
                (Format::Raw, bytes.clone(), bytes)
            }
            Make::Json(make) => {
                let written = make(size);
                (Format::Json, Bytes::from(written.wire), Bytes::from(written.decoded))
            }
        };
        Corpus { name: self.name, about: self.about, format, bytes, decoded }
    }

    /// Whether the inspector reads it as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.make, Make::Json(_))
    }
}

/// Every corpus, the realistic ones first.
pub const RECIPES: &[Recipe] = &[
    raw("clean", "logs, tickets and letters without a single match", |size| text::records(size, 0)),
    raw("pii-0.1", "the same, a value in 0.1 % of the records", |size| text::records(size, 1)),
    raw("pii-1", "the same, a value in 1 % of the records", |size| text::records(size, 10)),
    raw("pii-10", "the same, a value in 10 % of the records", |size| text::records(size, 100)),
    raw("csv", "rows of decimal numbers", hostile::csv),
    raw("base64", "base64 in lines of 76", hostile::base64),
    raw("random", "random bytes", hostile::random),
    raw("sql", "SQL in capitals", hostile::sql),
    raw("dense", "a value after every few letters", hostile::dense),
    raw("one-token", "one word as long as the text", hostile::one_token),
    raw("near-email", "`@` after every few letters, and never an address", hostile::near_email),
    raw(
        "near-card",
        "groups of digits, one short of a card, a telephone or a social security number",
        hostile::near_digits,
    ),
    raw("near-ip", "`1.2.3.` and `a:b:c:`, and never an address", hostile::near_address),
    raw("near-key", "prefixes of keys with one character too few behind them", hostile::near_key),
    raw("near-words", "literals whose last byte differs", hostile::near_words),
    raw("near-login", "`://` and `password` without what must follow", hostile::near_login),
    parsed("json-api", "answers of an API: objects with strings, numbers and few escapes", |size| json::api(size, 0)),
    parsed("json-api-1", "the same, a value in 1 % of the objects", |size| json::api(size, 10)),
    parsed("json-mcp", "results of MCP tools: JSON in a string of JSON", |size| json::mcp(size, 0)),
    parsed("json-mcp-1", "the same, a value in 1 % of the inner objects", |size| json::mcp(size, 10)),
];

const fn raw(name: &'static str, about: &'static str, make: fn(usize) -> Vec<u8>) -> Recipe {
    Recipe { name, about, make: Make::Raw(make) }
}

const fn parsed(name: &'static str, about: &'static str, make: fn(usize) -> json::Written) -> Recipe {
    Recipe { name, about, make: Make::Json(make) }
}

/// The recipe of this name.
#[must_use]
pub fn recipe(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}
