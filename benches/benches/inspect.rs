//! What an inspection costs in places: structure of JSON without a rule, escapes, small chunks, masks.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluice_benches::corpora::{Corpus, recipe};
use sluice_benches::workload::{Work, Workload};
use sluice_engine::{Budget, Decision, Format, Program, RuleSet, Sink, Stream, StreamOptions, Vectors};
use std::hint::black_box;

/// Bytes of a corpus.
const SIZE: usize = 1 << 20;

/// Counts what comes out, so that nothing is left out of the work.
#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn clean(&mut self, bytes: Bytes) {
        self.0 += bytes.len();
    }

    fn masked(&mut self, replacement: &[u8]) {
        self.0 += replacement.len();
    }

    fn decision(&mut self, _: &Decision) {
        self.0 += 1;
    }
}

fn corpus(name: &str) -> Corpus {
    recipe(name).expect("a corpus of this name").make(SIZE)
}

fn inspect(program: &Program, rules: Option<RuleSet>, format: Format, bytes: &Bytes, chunk: usize) -> usize {
    let options = StreamOptions { format, rules, ..StreamOptions::default() };
    let mut stream = Stream::open(program, options, &Budget::unlimited());
    let mut out = Count::default();
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + chunk).min(bytes.len());
        stream.push(bytes.slice(at..end), &mut out).expect("the corpus is of its format and no rule blocks");
        at = end;
    }
    stream.finish(&mut out).expect("the corpus is of its format and no rule blocks");
    out.0
}

fn benches(criterion: &mut Criterion) {
    let workload = Workload::all();
    let (find, whole) =
        (workload.program(Work::Find, Vectors::default()), workload.program(Work::Whole, Vectors::default()));
    let mut group = criterion.benchmark_group("inspect");
    group.sample_size(10);
    let mut bench = |name: &str, corpus: &Corpus, program: &Program, rules: Option<RuleSet>, chunk: usize| {
        group.throughput(Throughput::Bytes(corpus.bytes.len() as u64));
        group.bench_function(BenchmarkId::new(name, chunk), |bencher| {
            bencher.iter(|| inspect(program, rules.clone(), corpus.format, black_box(&corpus.bytes), chunk));
        });
    };
    let (api, mcp, clean, dense) = (corpus("json-api"), corpus("json-mcp-1"), corpus("clean"), corpus("dense"));
    bench("json, no rule in force", &api, &find, Some(RuleSet::none()), 16_384);
    bench("json, all rules", &api, &find, None, 16_384);
    bench("json in json strings, all rules", &mcp, &find, None, 16_384);
    for chunk in [64, 1_024, 16_384] {
        bench("clean text, all rules", &clean, &find, None, chunk);
    }
    bench("dense matches, masked", &dense, &whole, None, 16_384);
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
