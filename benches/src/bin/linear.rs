//! Linear time, shown: each hostile text in sizes from 64 KiB to 64 MiB, with the time and the counted work of a byte. What
//! costs more for each byte of a long text than for each of a short one ends the run in an error.
//!
//! `cargo run --release -p sluice-benches --bin linear -- --help` tells the options; docs/performance.md holds a table.

use bytes::Bytes;
use clap::Parser;
use sluice_benches::corpora::{self, Recipe};
use sluice_benches::measure::processor_time;
use sluice_benches::report;
use sluice_benches::workload::{Work, Workload};
use sluice_engine::{
    Action, Budget, Costs, Decision, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSpec, Sink, Stream,
    StreamOptions, Vectors,
};
use std::hint::black_box;
use std::process::ExitCode;

/// Shows that time and work grow with the bytes alone.
#[derive(Debug, Parser)]
#[command(name = "linear")]
struct Options {
    /// These texts alone.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    text: Vec<String>,
    /// The longest texts, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    size: usize,
    /// Bytes that are inspected of each text and size at least; the fastest of the passes counts.
    #[arg(long, value_name = "MIB", default_value_t = 2)]
    least: usize,
}

/// The shortest texts, in bytes; each size is eight times the one before, or the longest.
const SHORTEST: usize = 64 << 10;

/// Bytes of a chunk, where a text isn't pushed at once.
const CHUNK: usize = 16 << 10;

/// Work that may be counted for a byte of the longest text, where 1 is that of the shortest.
const MORE_WORK: f64 = 1.1;

/// Time that a byte of the longest text may take, where 1 is that of the shortest: short texts stay in the caches.
const MORE_TIME: f64 = 2.5;

/// Which rules hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Those of the benches.
    All,
    /// The same, each looked for in base64 too.
    Base64,
    /// A pattern of 8 KiB that begins anywhere inside itself.
    Long,
    /// Values that a path selects, capped.
    Path,
}

/// A text of any size, and how it is read.
struct Case {
    name: &'static str,
    format: Format,
    rules: Rules,
    chunk: usize,
    make: Box<dyn Fn(usize) -> Vec<u8>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("linear: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let longest = options.size << 20;
    let sizes: Vec<usize> =
        std::iter::successors(Some(SHORTEST), |size| Some(size * 8)).take_while(|size| *size < longest).collect();
    let sizes: Vec<usize> = sizes.into_iter().chain([longest]).collect();
    let cases = cases();
    if let Some(unknown) = options.text.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        return Err(format!("no text `{unknown}`; there are {}", names.join(", ")));
    }
    let wanted = |case: &&Case| options.text.is_empty() || options.text.iter().any(|name| name == case.name);
    let programs = [Rules::All, Rules::Base64, Rules::Long, Rules::Path].map(|rules| (rules, program(rules)));
    let head: String = sizes.iter().map(|size| format!(" {}, ns |", report::bytes(*size))).collect();
    println!("| text | chunk |{head} time | work of a byte | work |");
    println!("|---|---|{}---|---|---|", "---|".repeat(sizes.len()));
    let mut worse = Vec::new();
    for case in cases.iter().filter(wanted) {
        let program = programs.iter().find(|(rules, _)| *rules == case.rules).map(|(_, program)| program);
        let program = program.ok_or("every set of rules has its program")?;
        let figures: Vec<Figures> =
            sizes.iter().map(|size| measure(case, program, *size, options.least << 20)).collect();
        let (first, last) = (figures[0], figures[figures.len() - 1]);
        let time = last.nanoseconds / first.nanoseconds;
        // Where next to nothing is counted, one candidate more is no growth.
        let work = (last.work + 0.05) / (first.work + 0.05);
        let times: String = figures.iter().map(|of| format!(" {} |", report::figure(of.nanoseconds))).collect();
        let chunk = if case.chunk == usize::MAX { "all".into() } else { report::bytes(case.chunk) };
        println!("| {} | {chunk} |{times} {time:.2}x | {:.3} | {work:.2}x |", case.name, last.work);
        if time > MORE_TIME || work > MORE_WORK {
            worse.push(case.name);
        }
    }
    match worse[..] {
        [] => Ok(()),
        _ => Err(format!("not linear: {}", worse.join(", "))),
    }
}

/// What a byte costs.
#[derive(Clone, Copy)]
struct Figures {
    nanoseconds: f64,
    /// Candidates begun, and bytes that automata read.
    work: f64,
}

fn measure(case: &Case, program: &Program, size: usize, least: usize) -> Figures {
    let text = Bytes::from((case.make)(size));
    let mut best = f64::INFINITY;
    let mut costs = Costs::default();
    for _ in 0..least.div_ceil(text.len()) {
        let start = processor_time();
        costs = inspect(program, case, &text);
        best = best.min(processor_time() - start);
    }
    let bytes = text.len() as f64;
    Figures { nanoseconds: best * 1e9 / bytes, work: (costs.candidates + costs.verified) as f64 / bytes }
}

fn inspect(program: &Program, case: &Case, text: &Bytes) -> Costs {
    let mut stream = Stream::open(program, StreamOptions::format(case.format), &Budget::unlimited());
    let mut out = Count::default();
    let mut at = 0;
    while at < text.len() {
        let end = at.saturating_add(case.chunk).min(text.len());
        stream.push(text.slice(at..end), &mut out).expect("the text is of its format and no rule blocks");
        at = end;
    }
    stream.finish(&mut out).expect("the text is of its format and no rule blocks");
    black_box(out.0);
    stream.costs()
}

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

fn program(rules: Rules) -> Program {
    let workload = Workload::all();
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec, mask: Mask| {
        let name = spec.name.clone();
        let pattern = builder.pattern(spec).expect("a pattern of the benches is valid");
        builder.rule(RuleSpec::new(name, Action::Mask(mask), [pattern]));
    };
    match rules {
        Rules::All => return workload.program(Work::Whole, Vectors::default()),
        Rules::Base64 => {
            for rule in workload.rules {
                let mut spec = PatternSpec::regex(&*rule.name, &*rule.regex).base64();
                spec.validators.extend(rule.validator);
                add(spec, rule.mask);
            }
        }
        Rules::Long => add(
            PatternSpec::regex("long", r"-----BEGIN [A-Z ]{0,20}KEY-----[\s\S]*?-----END").max(8192),
            Mask::redact("[key]"),
        ),
        Rules::Path => {
            let path = JsonPath::parse("$..v").expect("a path of the benches is valid");
            add(PatternSpec::new("path", Matcher::Json(path)).max(4096), Mask::redact("[v]"));
            add(PatternSpec::regex("mail", r"[a-z.]{1,64}@[a-z]{1,64}\.com"), Mask::redact("[m]"));
        }
    }
    builder.build().expect("the rules of the benches are valid")
}

/// About `size` bytes of a unit between two ends.
fn repeated(first: &'static str, unit: &'static str, last: &'static str) -> Box<dyn Fn(usize) -> Vec<u8>> {
    Box::new(move |size| {
        let middle = unit.repeat(size.saturating_sub(first.len() + last.len()).div_ceil(unit.len()));
        [first, &middle, last].concat().into_bytes()
    })
}

/// About `size` bytes of a unit that is made.
fn made(unit: String) -> Box<dyn Fn(usize) -> Vec<u8>> {
    Box::new(move |size| unit.repeat(size.div_ceil(unit.len())).into_bytes())
}

fn cases() -> Vec<Case> {
    let hostile = corpora::RECIPES.iter().filter(|recipe| !recipe.name.starts_with("pii-"));
    let hostile = hostile.map(|recipe: &'static Recipe| Case {
        name: recipe.name,
        format: if recipe.is_json() { Format::Json } else { Format::Raw },
        rules: Rules::All,
        chunk: CHUNK,
        make: Box::new(|size| recipe.make(size).bytes.to_vec()),
    });
    let dense = || -> Box<dyn Fn(usize) -> Vec<u8>> {
        let recipe = corpora::recipe("dense").expect("a corpus of this name");
        Box::new(|size| recipe.make(size).bytes.to_vec())
    };
    let base64 = || -> Box<dyn Fn(usize) -> Vec<u8>> {
        let recipe = corpora::recipe("base64").expect("a corpus of this name");
        Box::new(|size| recipe.make(size).bytes.iter().copied().filter(|byte| !b"\n=".contains(byte)).collect())
    };
    let case = |name, format, rules, chunk, make| Case { name, format, rules, chunk, make };
    let (raw, json, sse, all) = (Format::Raw, Format::Json, Format::Sse, Rules::All);
    let deep = 255;
    let nested = |open: &str, inner: &str, close: &str| format!("{}{inner}{} ", open.repeat(deep), close.repeat(deep));
    let inner = serde_json::json!({"v": ["x", 1, {"w": "a@b"}]}).to_string();
    let twice = serde_json::json!({ "t": serde_json::json!({ "t": inner }).to_string() }).to_string();
    let more = vec![
        case("dense-one-push", raw, all, usize::MAX, dense()),
        case("dense-64-bytes", raw, all, 64, dense()),
        case("key-beginnings", raw, Rules::Long, CHUNK, repeated("", "-----BEGIN KEY-----", "")),
        case("key-beginnings-in-json", json, Rules::Long, CHUNK, repeated("[\"", "-----BEGIN\\u0020KEY-----", "\"]")),
        case("key-beginnings-one-push", raw, Rules::Long, usize::MAX, repeated("", "-----BEGIN KEY-----", "")),
        case("mail-beginnings", raw, all, CHUNK, repeated("", "a.a@a@", "")),
        case("deep-arrays", json, all, CHUNK, made(nested("[", "1", "]"))),
        case("deep-objects", json, all, CHUNK, made(nested("{\"k\":", "\"a@b\"", "}"))),
        case("deep-objects-path", json, Rules::Path, CHUNK, made(nested("{\"k\":", "\"a@b\"", "}"))),
        case("document-in-document", json, Rules::Path, CHUNK, made(twice)),
        case("brackets-in-a-string", json, all, CHUNK, repeated("[\"[", "[],", "1]\"]")),
        case("selected-without-end", json, Rules::Path, CHUNK, repeated("{\"v\":\"", "ab@c ", "\"}")),
        case("backslashes", json, all, CHUNK, repeated("[\"", "\\\\", "\"]")),
        case("backslashes-one-push", json, all, usize::MAX, repeated("[\"", "\\\\", "\"]")),
        case("half-pairs", json, all, CHUNK, repeated("[\"", "\\ud83d", "\"]")),
        case("quotes", json, all, CHUNK, repeated("[\"", "\\\"", "\"]")),
        case("backslashes-raw", raw, all, CHUNK, repeated("", "\\", "")),
        case("percent-25", raw, all, CHUNK, repeated("%", "25", "")),
        case("percent-signs", raw, all, CHUNK, repeated("", "%", "")),
        case("percent-mails", raw, all, CHUNK, repeated("", "a.a%40a%2540", "")),
        case("percent-25-in-json", json, all, CHUNK, repeated("[\"%", "25", "\"]")),
        case("base64-run", raw, Rules::Base64, CHUNK, base64()),
        case("base64-run-one-push", raw, Rules::Base64, usize::MAX, base64()),
        case("base64-both", raw, Rules::Base64, CHUNK, repeated("", "QWEuYUBhLmFAYS5hQGEuYUB-+", "")),
        case("base64-of-mails", raw, Rules::Base64, CHUNK, repeated("", "YS5hQGFA", "")),
        case("events-of-a-letter", sse, all, CHUNK, repeated("", "data: {\"t\":\"a\"}\n\n", "")),
        case("events-of-a-digit", sse, all, CHUNK, repeated("", "data: {\"t\":\"4\"}\n\n", "")),
    ];
    hostile.chain(more).collect()
}
