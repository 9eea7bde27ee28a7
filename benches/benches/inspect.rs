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

/// JSON of one shape, about [`SIZE`] bytes of it: elements of an array.
fn shape(element: impl Fn(usize) -> String) -> Bytes {
    let mut out = String::with_capacity(SIZE + 8192);
    for at in 0.. {
        out.push(if at == 0 { '[' } else { ',' });
        out.push_str(&element(at));
        if out.len() >= SIZE {
            break;
        }
    }
    out.push(']');
    Bytes::from(out)
}

/// Where the tokenizer's time goes, by what a document consists of: with no rule in force, and with all.
fn tokenizer(criterion: &mut Criterion) {
    let program = Workload::all().program(Work::Find, Vectors::default());
    let clean = corpus("clean");
    let prose = std::str::from_utf8(&clean.bytes).expect("the corpus is text");
    let lines: Vec<&str> = prose.lines().collect();
    let line = |at: usize| lines[at % lines.len()];
    let quoted = |text: &str| serde_json::to_string(text).expect("text is JSON");
    let long = |at: usize| (0..40).map(|next| line(40 * at + next)).collect::<Vec<&str>>();
    let shapes = [
        ("long strings without escapes", shape(|at| quoted(&long(at).join(" ").replace(['"', '\\'], " ")))),
        ("long strings with line feeds and quotes", shape(|at| quoted(&long(at).join("\n\"")))),
        ("short strings", shape(|at| quoted(line(at).split(' ').next().unwrap_or_default()))),
        ("numbers", shape(|at| format!("{},{},{:.4}", at, at * 7919, at as f64 / 7.0))),
        (
            "indented",
            shape(|at| {
                format!("\n    {{\n      \"id\": {at},\n      \"done\": false,\n      \"name\": \"n{at}\"\n    }}")
            }),
        ),
        ("answers of an API", corpus("json-api").bytes),
        ("answers of an MCP tool: JSON in strings", corpus("json-mcp-1").bytes),
    ];
    let mut group = criterion.benchmark_group("json");
    group.sample_size(10);
    for (name, bytes) in shapes {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for (force, rules) in [("no rule", Some(RuleSet::none())), ("all rules", None)] {
            group.bench_function(BenchmarkId::new(name, force), |bencher| {
                bencher.iter(|| inspect(&program, rules.clone(), Format::Json, black_box(&bytes), 16_384));
            });
        }
    }
    group.finish();
}

criterion_group!(all, benches, tokenizer);
criterion_main!(all);
