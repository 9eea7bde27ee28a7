//! The peers in Rust. They have the whole text in memory, which no stream has, and only find.

use super::{Contender, Report, Semantics};
use crate::workload::Workload;
use aho_corasick::{AhoCorasick, MatchKind};
use bytes::Bytes;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use std::hint::black_box;

/// Memory for the lazy automaton of a peer, in bytes: enough that it never starts over.
const CACHE: usize = 512 << 20;

/// `regex-automata`'s meta engine over all patterns at once.
#[derive(Debug)]
pub struct Meta(Regex);

impl Meta {
    /// Compiles the workload.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        Self(compile(&workload.expressions()))
    }
}

/// The meta engine over these expressions, as bytes without Unicode.
pub(crate) fn compile(expressions: &[String]) -> Regex {
    Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(None).hybrid_cache_capacity(CACHE))
        .build_many(expressions)
        .expect("every expression of a workload compiles")
}

impl Contender for Meta {
    fn name(&self) -> &str {
        "regex-automata"
    }

    fn semantics(&self) -> Semantics {
        Semantics::AllPatterns
    }

    fn search(&mut self, text: &Bytes, _: usize) -> u64 {
        self.0.find_iter(&text[..]).count() as u64
    }

    fn reports(&mut self, text: &Bytes, _: usize) -> Vec<Report> {
        let report = |found: regex_automata::Match| Report {
            pattern: found.pattern().as_u32(),
            start: Some(found.start() as u64),
            end: found.end() as u64,
        };
        self.0.find_iter(&text[..]).map(report).collect()
    }
}

/// `aho-corasick` over the literals.
#[derive(Debug)]
pub struct Literals {
    automaton: AhoCorasick,
    pattern: u32,
}

impl Literals {
    /// Compiles the literals of the workload; None where it has none.
    #[must_use]
    pub fn new(workload: &Workload) -> Option<Self> {
        let automaton = literals(workload)?;
        Some(Self { automaton, pattern: workload.rules.len() as u32 })
    }
}

/// The literals of a workload, the longest where several start at one place.
pub(crate) fn literals(workload: &Workload) -> Option<AhoCorasick> {
    (!workload.words.is_empty()).then(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&workload.words)
            .expect("a few thousand words fit")
    })
}

impl Contender for Literals {
    fn name(&self) -> &str {
        "aho-corasick"
    }

    fn semantics(&self) -> Semantics {
        // Of the one pattern it knows; it stands beside workloads that have no other.
        Semantics::EachPattern
    }

    fn search(&mut self, text: &Bytes, _: usize) -> u64 {
        self.automaton.find_iter(&text[..]).count() as u64
    }

    fn reports(&mut self, text: &Bytes, _: usize) -> Vec<Report> {
        let report = |found: aho_corasick::Match| Report {
            pattern: self.pattern,
            start: Some(found.start() as u64),
            end: found.end() as u64,
        };
        self.automaton.find_iter(&text[..]).map(report).collect()
    }
}

/// `memchr3` for bytes that are rare in text: the speed of memory, more or less.
#[derive(Debug)]
pub struct Ceiling;

impl Contender for Ceiling {
    fn name(&self) -> &str {
        "memchr3"
    }

    fn semantics(&self) -> Semantics {
        Semantics::None
    }

    fn search(&mut self, text: &Bytes, _: usize) -> u64 {
        memchr::memchr3_iter(0, 1, 2, black_box(text)).count() as u64
    }

    fn reports(&mut self, _: &Bytes, _: usize) -> Vec<Report> {
        Vec::new()
    }
}
