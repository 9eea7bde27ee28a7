//! Throughput of the inspector beside its peers: all in one process, in interleaved rounds, as the median of paired ratios.
//!
//! `cargo run --release -p sluice-benches` prints a table for docs/performance.md. The peers search alone; the inspector
//! searches, validates nothing extra, masks and emits. Both must find the same number of matches.

use bytes::Bytes;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use sluice_engine::{Action, Budget, Decision, Mask, PatternSpec, Program, RuleSpec, Sink, Stream, StreamOptions};
use std::hint::black_box;
use std::time::Instant;

/// Bounded expressions, none of which can overlap another on the text below.
const PATTERNS: &[(&str, &str)] = &[
    ("email", r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,3}\.[A-Za-z]{2,24}\b"),
    ("card", r"\b[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}\b"),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    ("iban", r"\b[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\b"),
    ("aws", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("github", r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
];

const SIZE: usize = 16 << 20;
const ROUNDS: usize = 7;

/// Realistic text: words of a log and a support desk, with a value in one of `every` lines; 0 for none.
fn corpus(every: usize) -> Bytes {
    const WORDS: &[&str] = &[
        "the",
        "request",
        "for",
        "order",
        "was",
        "received",
        "from",
        "customer",
        "and",
        "forwarded",
        "to",
        "billing",
        "status",
        "pending",
        "retry",
        "in",
        "minutes",
        "invoice",
        "total",
        "amount",
        "delivered",
        "warehouse",
        "error",
        "timeout",
        "user",
    ];
    const VALUES: &[&str] = &["bob.miller@example.com", "4111 1111 1111 1111", "536-90-4399", "DE89370400440532013000"];
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let mut text = Vec::with_capacity(SIZE + 256);
    let mut line = 0;
    while text.len() < SIZE {
        line += 1;
        for _ in 0..8 + next() % 8 {
            text.extend_from_slice(WORDS[next() % WORDS.len()].as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(format!("#{} ", next() % 100_000).as_bytes());
        if every > 0 && line % every == 0 {
            text.extend_from_slice(VALUES[next() % VALUES.len()].as_bytes());
        }
        text.push(b'\n');
    }
    Bytes::from(text)
}

#[derive(Default)]
struct Count {
    matches: usize,
    bytes: usize,
}

impl Sink for Count {
    fn clean(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.bytes += replacement.len();
    }
    fn decision(&mut self, _: &Decision) {
        self.matches += 1;
    }
}

fn inspect(program: &Program, text: &Bytes, chunk: usize) -> usize {
    let mut count = Count::default();
    let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
    let mut at = 0;
    while at < text.len() {
        let end = (at + chunk).min(text.len());
        stream.push(text.slice(at..end), &mut count).expect("no rule blocks");
        at = end;
    }
    stream.finish(&mut count).expect("no rule blocks");
    black_box(count.bytes);
    count.matches
}

fn seconds(mut run: impl FnMut() -> usize) -> (f64, usize) {
    let start = Instant::now();
    let found = run();
    (start.elapsed().as_secs_f64(), found)
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn main() {
    let mut builder = Program::builder();
    for (name, source) in PATTERNS {
        let pattern = builder.pattern(PatternSpec::regex(*name, *source)).expect("valid");
        builder.rule(RuleSpec::new(*name, Action::Mask(Mask::redact("[x]")), [pattern]));
    }
    let program = builder.build().expect("valid");
    let sources: Vec<&str> = PATTERNS.iter().map(|(_, source)| *source).collect();
    let config = syntax::Config::new().unicode(false).utf8(false);
    let meta = Regex::builder().syntax(config).build_many(&sources).expect("valid");

    println!("| text | chunk | MiB/s | against regex-automata meta | against memchr3 | matches |");
    println!("|---|---|---|---|---|---|");
    for (label, every) in [("clean", 0), ("1 % lines with PII", 100), ("10 % lines with PII", 10)] {
        let text = corpus(every);
        for chunk in [64, 1 << 10, 16 << 10, 64 << 10] {
            let (mut ours, mut against_meta, mut against_memchr, mut found) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for _ in 0..ROUNDS {
                let (a, here) = seconds(|| inspect(&program, &text, chunk));
                let (b, there) = seconds(|| meta.find_iter(&text[..]).count());
                let (c, _) = seconds(|| memchr::memchr3_iter(0, 1, 2, black_box(&text)).count());
                assert_eq!(here, there, "the inspector and the peer disagree");
                found = here;
                ours.push(text.len() as f64 / a / f64::from(1 << 20));
                against_meta.push(b / a);
                against_memchr.push(c / a);
            }
            let (_, speed, _) = median(ours);
            let (low, mid, high) = median(against_meta);
            let (_, share, _) = median(against_memchr);
            println!(
                "| {label} | {chunk} B | {speed:.0} | {mid:.2}x ({low:.2} to {high:.2}) | {:.2} % | {found} |",
                share * 100.0
            );
        }
    }
}
