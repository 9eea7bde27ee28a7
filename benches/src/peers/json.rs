//! `serde_json` over a JSON corpus, values ignored: a tokenizer beside ours. It has the whole text in memory.

use super::{Contender, Report, Semantics};
use bytes::Bytes;

/// `serde_json`, values ignored.
#[derive(Debug)]
pub struct JsonReader;

impl Contender for JsonReader {
    fn name(&self) -> &str {
        "serde_json"
    }

    fn semantics(&self) -> Semantics {
        Semantics::None
    }

    fn search(&mut self, text: &Bytes, _: usize) -> u64 {
        serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>().fold(0, |count, document| {
            document.expect("the corpus is JSON");
            count + 1
        })
    }

    fn reports(&mut self, _: &Bytes, _: usize) -> Vec<Report> {
        Vec::new()
    }
}
