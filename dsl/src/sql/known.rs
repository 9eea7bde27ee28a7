//! Texts that were read lately, with their facts: drivers send the same text again and again, with other parameters.

use super::SqlFacts;
use std::collections::HashMap;
use std::mem::{replace, take};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest text that is remembered, in bytes.
const LONGEST: usize = 4 * 1024;
/// How much is remembered of each of two generations: texts, and their bytes. Facts take a few times as much.
const TEXTS: usize = 1024;
const BYTES: usize = 512 * 1024;

/// Texts in two generations: what isn't asked for in the time that it takes to fill one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Arc<SqlFacts>>,
    old: HashMap<Box<str>, Arc<SqlFacts>>,
    /// The bytes of the young texts.
    bytes: usize,
}

impl Known {
    /// The facts of this very text, if it was read lately.
    pub(super) fn facts(&self, sql: &str) -> Option<Arc<SqlFacts>> {
        if sql.len() > LONGEST {
            return None;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.young.get(sql) {
            return Some(Arc::clone(facts));
        }
        let (text, facts) = known.old.remove_entry(sql)?;
        known.keep(text, Arc::clone(&facts));
        Some(facts)
    }

    /// Remembers a text.
    pub(super) fn keep(&self, sql: String, facts: &Arc<SqlFacts>) {
        if sql.len() <= LONGEST {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(sql.into(), Arc::clone(facts));
        }
    }
}

impl Generations {
    fn keep(&mut self, sql: Box<str>, facts: Arc<SqlFacts>) {
        if self.young.len() >= TEXTS || self.bytes + sql.len() > BYTES {
            self.old = replace(&mut self.young, take(&mut self.old));
            self.young.clear();
            self.bytes = 0;
        }
        self.bytes += sql.len();
        self.young.insert(sql, facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(known: &Known, sql: String) {
        known.keep(sql, &Arc::default());
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_is_forgotten() {
        let known = Known::default();
        keep(&known, "kept".to_owned());
        keep(&known, "forgotten".to_owned());
        for number in 0..3 * TEXTS {
            keep(&known, number.to_string());
            assert!(known.facts("kept").is_some(), "{number}");
        }
        assert!(known.facts("forgotten").is_none());
        let generations = known.0.lock().unwrap();
        assert!(generations.young.len() <= TEXTS && generations.old.len() <= TEXTS);
    }

    #[test]
    fn memory_is_bounded_whatever_the_texts() {
        let known = Known::default();
        for number in 0..2000 {
            keep(&known, format!("{number:04000}"));
        }
        keep(&known, "x".repeat(LONGEST + 1));
        let generations = known.0.lock().unwrap();
        for texts in [&generations.young, &generations.old] {
            assert!(texts.keys().map(|text| text.len()).sum::<usize>() <= BYTES);
        }
        assert!(generations.young.keys().all(|text| text.len() <= LONGEST));
    }
}
