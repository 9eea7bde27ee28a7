//! The inspector: a stream of chunks in, slices, masks and decisions out.

use super::{Contender, Report, Semantics};
use crate::workload::{Work, Workload};
use bytes::Bytes;
use sluice_engine::{Budget, Decision, Format, Program, RuleSet, Sink, Stream, StreamOptions, Vectors};
use std::hint::black_box;

/// The inspector with a program and a format.
#[derive(Debug)]
pub struct Inspector {
    name: &'static str,
    semantics: Semantics,
    program: Program,
    options: StreamOptions,
}

impl Inspector {
    /// The inspector over a workload.
    #[must_use]
    pub fn new(workload: &Workload, work: Work, format: Format, vectors: Vectors) -> Self {
        let (name, semantics) = match work {
            Work::Find => ("find", Semantics::EachPattern),
            Work::Whole => ("whole", Semantics::EachValid),
        };
        Self { name, semantics, program: workload.program(work, vectors), options: StreamOptions::format(format) }
    }

    /// The framing alone: the same program, no rule in force.
    #[must_use]
    pub fn framing(workload: &Workload, format: Format, vectors: Vectors) -> Self {
        let options = StreamOptions::format(format).rules(RuleSet::none());
        Self { name: "framing", semantics: Semantics::None, program: workload.program(Work::Find, vectors), options }
    }

    fn run(&self, text: &Bytes, chunk: usize, sink: &mut impl Sink) {
        let mut stream = Stream::open(&self.program, self.options.clone(), &Budget::unlimited());
        let mut at = 0;
        while at < text.len() {
            let end = (at + chunk).min(text.len());
            stream.push(text.slice(at..end), sink).expect("no rule blocks and the corpus is of its format");
            at = end;
        }
        stream.finish(sink).expect("no rule blocks and the corpus is of its format");
    }
}

impl Contender for Inspector {
    fn name(&self) -> &str {
        self.name
    }

    fn semantics(&self) -> Semantics {
        self.semantics
    }

    fn search(&mut self, text: &Bytes, chunk: usize) -> u64 {
        let mut count = Count::default();
        self.run(text, chunk, &mut count);
        black_box(count.bytes);
        count.decisions
    }

    fn reports(&mut self, text: &Bytes, chunk: usize) -> Vec<Report> {
        let mut list = List::default();
        self.run(text, chunk, &mut list);
        list.0
    }
}

/// Takes everything and keeps two numbers.
#[derive(Default)]
struct Count {
    decisions: u64,
    bytes: u64,
}

impl Sink for Count {
    fn clean(&mut self, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.bytes += replacement.len() as u64;
    }
    fn decision(&mut self, _: &Decision) {
        self.decisions += 1;
    }
}

#[derive(Default)]
struct List(Vec<Report>);

impl Sink for List {
    fn clean(&mut self, _: Bytes) {}
    fn masked(&mut self, _: &[u8]) {}
    fn decision(&mut self, decision: &Decision) {
        let pattern = decision.pattern.index() as u32;
        self.0.push(Report { pattern, start: Some(decision.span.start), end: decision.span.end });
    }
}
