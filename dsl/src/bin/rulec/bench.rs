//! `rulec bench`: what each rule costs on a corpus. Machines differ and are noisy, so rules are compared with each other in
//! turns of one run, and told as ratios.

use crate::check::compile;
use crate::output::{Failure, Format, complain, print};
use bytes::Bytes;
use serde::Serialize;
use sluice_dsl::Policy;
use sluice_engine::{Budget, Decision, RuleId, RuleSet, Sink, Stop, Stream, StreamOptions};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of one chunk: what a read from a socket brings at most.
const CHUNK: usize = 64 * 1024;
/// A shorter corpus is repeated until it has so many bytes, or a turn would be too short to be measured.
const LEAST: usize = 1 << 20;
/// A longer one is cut.
const MOST: u64 = 64 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules, or a bundle.
    #[arg(long, required = true, num_args = 1)]
    rules: Vec<PathBuf>,
    /// The rules of which direction are measured.
    #[arg(long, value_enum, default_value_t)]
    direction: crate::scan::Direction,
    /// How the corpus is written.
    #[arg(long, value_enum, default_value_t)]
    corpus: Corpus,
    /// Turns; the figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=1000))]
    turns: u16,
    /// How the figures are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The corpus: bytes like those that will pass, without anybody's data. At most 64 MiB of it are read.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Corpus {
    #[default]
    Raw,
    Json,
    Sse,
}

/// What was measured.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct Report {
    /// Bytes that each turn puts through.
    bytes: usize,
    turns: u16,
    /// False where the program was built without optimisation: such figures say little.
    optimised: bool,
    all: Figures,
    rules: Vec<RuleReport>,
}

/// A set of rules.
#[derive(Serialize, schemars::JsonSchema)]
struct Figures {
    mib_per_second: f64,
    /// The most that a stream holds back, in bytes.
    hold_back: usize,
    matches: usize,
}

#[derive(Serialize, schemars::JsonSchema)]
struct RuleReport {
    rule: String,
    pack: String,
    /// How many times as fast the others are without it.
    without: Ratio,
    /// What the others hold back.
    hold_back_without: usize,
    /// The rule by itself.
    alone: Figures,
}

/// The median of the turns, with the lowest and the highest.
#[derive(Clone, Copy, Serialize, schemars::JsonSchema)]
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let (_, policy) = compile(&args.rules, args.format)?;
    let corpus = read(&args.files)?;
    let all = match args.direction {
        crate::scan::Direction::Request => policy.request_patterns(),
        crate::scan::Direction::Response => policy.response_patterns(),
    };
    let ids: Vec<RuleId> = policy.program().rules().filter(|id| all.contains(*id)).collect();
    if ids.is_empty() {
        return Err(Failure::Because("no rule of this direction searches bytes".into()));
    }
    let report = measure(args, &policy, &corpus, &all, &ids)?;
    if !report.optimised {
        complain("rulec: built without optimisation; these figures say little");
    }
    print(&match args.format {
        Format::Json | Format::Sarif => serde_json::to_string(&report).unwrap_or_default() + "\n",
        _ => table(&report),
    })?;
    Ok(false)
}

/// The corpus, long enough to be measured.
fn read(files: &[PathBuf]) -> Result<Bytes, Failure> {
    let mut text = Vec::new();
    for path in files {
        let failed = |error: &std::io::Error| Failure::of(&path.display().to_string(), error);
        let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
        let left = MOST - (text.len() as u64).min(MOST);
        file.take(left).read_to_end(&mut text).map_err(|error| failed(&error))?;
    }
    if text.is_empty() {
        return Err(Failure::Because("the corpus is empty".into()));
    }
    Ok(text.into())
}

fn measure(args: &Args, policy: &Policy, corpus: &Bytes, all: &RuleSet, ids: &[RuleId]) -> Result<Report, Failure> {
    let repeat = LEAST.div_ceil(corpus.len());
    let format = match args.corpus {
        Corpus::Raw => sluice_engine::Format::Raw,
        Corpus::Json => sluice_engine::Format::Json,
        Corpus::Sse => sluice_engine::Format::Sse,
    };
    // All rules, then without each, then each alone: in turns, so that what slows the machine slows all of them.
    let mut sets = vec![all.clone()];
    sets.extend(ids.iter().map(|out| ids.iter().copied().filter(|id| id != out).collect()));
    sets.extend(ids.iter().map(|id| std::iter::once(*id).collect::<RuleSet>()));
    let mut seconds = vec![Vec::new(); sets.len()];
    let mut matches = vec![0; sets.len()];
    for turn in 0..=args.turns {
        for (index, set) in sets.iter().enumerate() {
            let start = Instant::now();
            matches[index] = 0;
            for _ in 0..repeat {
                matches[index] += pass(policy, corpus, set, format)?;
            }
            // The first turn warms the caches.
            if turn > 0 {
                seconds[index].push(start.elapsed().as_secs_f64());
            }
        }
    }
    let bytes = corpus.len() * repeat;
    let program = policy.program();
    let figures = |index: usize| Figures {
        mib_per_second: bytes as f64 / f64::from(1 << 20) / median(&seconds[index]),
        hold_back: program.hold_back(&sets[index]).bytes(),
        matches: matches[index] / repeat,
    };
    let rules = ids.iter().enumerate().map(|(at, id)| {
        let info = policy.rule(*id);
        let (without, alone) = (1 + at, 1 + ids.len() + at);
        let ratios: Vec<f64> = seconds[0].iter().zip(&seconds[without]).map(|(all, rest)| all / rest).collect();
        let fold = |pick: fn(f64, f64) -> f64| ratios.iter().copied().reduce(pick).unwrap_or(1.0);
        let (rule, pack) = (info.name.clone(), info.pack.clone());
        RuleReport {
            rule,
            pack,
            without: Ratio { median: median(&ratios), low: fold(f64::min), high: fold(f64::max) },
            hold_back_without: program.hold_back(&sets[without]).bytes(),
            alone: figures(alone),
        }
    });
    let mut rules: Vec<RuleReport> = rules.collect();
    rules.sort_by(|a, b| b.without.median.total_cmp(&a.without.median));
    Ok(Report { bytes, turns: args.turns, optimised: !cfg!(debug_assertions), all: figures(0), rules })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(1.0)
}

/// Counts decisions, and lets the bytes go.
#[derive(Default)]
struct Count {
    matches: usize,
    out: usize,
}

impl Sink for Count {
    fn clean(&mut self, bytes: Bytes) {
        self.out += bytes.len();
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.out += replacement.len();
    }
    fn decision(&mut self, _: &Decision) {
        self.matches += 1;
    }
}

/// Puts the corpus through once. After a block a new stream goes on behind it, so that every set sees every byte.
fn pass(policy: &Policy, corpus: &Bytes, rules: &RuleSet, format: sluice_engine::Format) -> Result<usize, Failure> {
    let mut sink = Count::default();
    let mut rest = corpus.clone();
    let budget = Budget::unlimited();
    while !rest.is_empty() {
        let options = StreamOptions { format, rules: Some(rules.clone()), ..StreamOptions::default() };
        let mut stream = Stream::open(policy.program(), options, &budget);
        let mut ended = Ok(());
        for at in (0..rest.len()).step_by(CHUNK) {
            ended = stream.push(rest.slice(at..(at + CHUNK).min(rest.len())), &mut sink);
            if ended.is_err() {
                break;
            }
        }
        match ended.and_then(|()| stream.finish(&mut sink)) {
            Ok(()) => break,
            Err(Stop::Blocked(_)) if format != sluice_engine::Format::Raw => {
                let reason = "a rule blocks the corpus, and a document can't be taken up again in the middle";
                return Err(Failure::Because(reason.into()));
            }
            Err(Stop::Blocked(decision)) => {
                let end = usize::try_from(decision.span.end).unwrap_or(usize::MAX).clamp(1, rest.len());
                rest = rest.slice(end..);
            }
            Err(stop) => return Err(Failure::Because(stop.to_string())),
        }
    }
    // What came out is looked at, so that nothing of the work can be left away.
    std::hint::black_box(sink.out);
    Ok(sink.matches)
}

fn table(report: &Report) -> String {
    let Report { bytes, turns, all, rules, .. } = report;
    let mut out = String::new();
    // A String takes every write.
    let _ = writeln!(
        out,
        "all rules: {:.1} MiB/s, hold-back {} B, {} matches; {bytes} bytes, medians of {turns} turns",
        all.mib_per_second, all.hold_back, all.matches
    );
    let width = rules.iter().map(|rule| rule.rule.len()).max().unwrap_or(0).max(4);
    let _ =
        writeln!(out, "{:width$}  {:>22}  {:>12}  {:>9}  {:>8}", "rule", "without it", "alone", "hold-back", "matches");
    for RuleReport { rule, without, alone, .. } in rules {
        let ratio = format!("{:.2}x ({:.2} to {:.2})", without.median, without.low, without.high);
        let speed = format!("{:.1} MiB/s", alone.mib_per_second);
        let _ =
            writeln!(out, "{rule:width$}  {ratio:>22}  {speed:>12}  {:>7} B  {:>8}", alone.hold_back, alone.matches);
    }
    out
}
