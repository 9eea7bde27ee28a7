//! Throughput of the inspector beside its peers: all in one process, in interleaved rounds, as the median of paired ratios.
//!
//! `cargo run --release -p sluice-benches -- --help` tells the options; docs/performance.md what the figures mean.

use clap::Parser;
use sluice_benches::corpora::{self, Corpus, Recipe};
use sluice_benches::measure;
use sluice_benches::peers::hyperscan::Hyperscan;
use sluice_benches::peers::{Ceiling, Contender, Inspector, JsonReader, Literals, Meta};
use sluice_benches::reference::Reference;
use sluice_benches::report::{self, Row};
use sluice_benches::workload::{Work, Workload};
use sluice_engine::Vectors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures the inspector beside its peers.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Options {
    /// A few corpora, 8 MiB each, three rounds.
    #[arg(long)]
    quick: bool,
    /// Every corpus with every size of chunks.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// These corpora alone.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    corpus: Vec<String>,
    /// These sizes of chunks alone, in bytes.
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    chunk: Vec<usize>,
    /// These contenders alone: find, whole, framing, memchr3, regex-automata, aho-corasick, serde_json, hyperscan, vectorscan.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// These rules alone: all, anchored, literals-N, regexes-N.
    #[arg(long, value_name = "SET", value_delimiter = ',')]
    rules: Vec<String>,
    /// The size of a corpus in MiB.
    #[arg(long, value_name = "MIB")]
    size: Option<usize>,
    /// How often each contender runs over each corpus.
    #[arg(long)]
    rounds: Option<usize>,
    /// The folder with hyperscan/libhs.so.5 and vectorscan/libhs.so.5, which `cargo xtask bench` fills.
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// The vector instructions of the inspector: avx512, avx2, portable. Without this the widest that the machine has.
    #[arg(long, value_name = "KIND", value_parser = vectors)]
    vectors: Option<Vectors>,
    /// Don't hold what contenders find against the reference: for profiles, never for figures.
    #[arg(long)]
    unchecked: bool,
}

fn vectors(name: &str) -> Result<Vectors, String> {
    let named = |kind: &&Vectors| format!("{kind:?}").eq_ignore_ascii_case(name);
    let here = Vectors::available();
    here.iter().find(named).copied().ok_or_else(|| format!("this machine has {here:?}"))
}

const CHUNKS: &[usize] = &[64, 1 << 10, 4 << 10, 16 << 10, 64 << 10];
const CHUNK: usize = 16 << 10;

/// What one table shows.
struct Table {
    workloads: Vec<Workload>,
    corpora: Vec<(&'static Recipe, Vec<usize>)>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("throughput: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let size = options.size.unwrap_or(if options.quick { 8 } else { 64 }) << 20;
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 });
    let mut wrong = 0;
    for table in tables(options)? {
        wrong += measure_table(options, &table, size, rounds)?;
    }
    match wrong {
        0 => Ok(()),
        _ => Err(format!("{wrong} times a contender did not find what the reference finds; these were not measured")),
    }
}

fn tables(options: &Options) -> Result<Vec<Table>, String> {
    let recipes: Vec<&'static Recipe> = if options.corpus.is_empty() {
        let quick = ["clean", "pii-1", "csv", "near-email", "dense", "json-mcp-1"];
        corpora::RECIPES.iter().filter(|recipe| !options.quick || quick.contains(&recipe.name)).collect()
    } else {
        let find = |name: &String| corpora::recipe(name).ok_or_else(|| format!("no corpus `{name}`"));
        options.corpus.iter().map(find).collect::<Result<_, _>>()?
    };
    let chunks = |recipe: &Recipe| match &options.chunk[..] {
        [] if options.full || (recipe.name == "clean" && !options.quick) => CHUNKS.to_vec(),
        [] => vec![CHUNK],
        chunks => chunks.to_vec(),
    };
    let with_chunks =
        |recipes: Vec<&'static Recipe>| recipes.into_iter().map(|recipe| (recipe, chunks(recipe))).collect();
    if !options.rules.is_empty() {
        let workloads = options.rules.iter().map(|name| workload(name)).collect::<Result<_, _>>()?;
        return Ok(vec![Table { workloads, corpora: with_chunks(recipes) }]);
    }
    let (json, raw): (Vec<&'static Recipe>, Vec<&'static Recipe>) =
        recipes.into_iter().partition(|recipe| recipe.is_json());
    let clean = raw.iter().copied().filter(|recipe| matches!(recipe.name, "clean" | "pii-1")).collect::<Vec<_>>();
    let plain = || clean.iter().filter(|recipe| recipe.name == "clean").map(|recipe| (*recipe, vec![CHUNK])).collect();
    Ok(vec![
        Table { workloads: vec![Workload::all()], corpora: with_chunks(raw) },
        Table { workloads: vec![Workload::all()], corpora: with_chunks(json) },
        Table {
            workloads: vec![Workload::anchored()],
            corpora: clean.iter().map(|recipe| (*recipe, vec![CHUNK])).collect(),
        },
        Table { workloads: [10, 100, 300, 1000, 3000].map(Workload::literals).into(), corpora: plain() },
        Table { workloads: [32, 100, 250, 500].map(Workload::regexes).into(), corpora: plain() },
    ])
}

fn workload(name: &str) -> Result<Workload, String> {
    let count = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number of rules"));
    match name.split_once('-') {
        None if name == "all" => Ok(Workload::all()),
        None if name == "anchored" => Ok(Workload::anchored()),
        Some(("literals", many)) => Ok(Workload::literals(count(many)?)),
        Some(("regexes", many)) => Ok(Workload::regexes(count(many)?)),
        _ => Err(format!("no rules `{name}`")),
    }
}

const OURS: &[&str] = &["whole", "find", "framing"];
const PEERS: &[&str] = &[
    "hyperscan with starts",
    "hyperscan",
    "vectorscan with starts",
    "vectorscan",
    "regex-automata",
    "aho-corasick",
    "serde_json",
    "memchr3",
];

/// Prints a table. Gives the number of contenders that did not find what they must.
fn measure_table(options: &Options, table: &Table, size: usize, rounds: usize) -> Result<usize, String> {
    let mut columns: Option<(Vec<&str>, Vec<&str>)> = None;
    let mut wrong = 0;
    for workload in &table.workloads {
        for (recipe, chunks) in &table.corpora {
            let corpus = recipe.make(size);
            let (mut contenders, missing) = contenders(options, workload, &corpus);
            for (name, reason) in &missing {
                eprintln!("not run: {name} on {} rules: {reason}", workload.name);
            }
            let (ours, peers) = columns.get_or_insert_with(|| {
                let there = |name: &&&str| {
                    let runs = contenders.iter().any(|(peer, _)| peer.name() == **name);
                    runs || missing.iter().any(|(missed, _)| missed == **name)
                };
                let ours: Vec<&str> = OURS.iter().filter(there).copied().collect();
                let peers: Vec<&str> = PEERS.iter().filter(there).copied().collect();
                report::head(&ours, &peers);
                (ours, peers)
            });
            let before = contenders.len();
            let matches = check(options, workload, &corpus, chunks[0], &mut contenders);
            wrong += before - contenders.len();
            for chunk in chunks {
                let times = measure::rounds(&mut contenders, &corpus.bytes, *chunk, rounds)?;
                let row = Row {
                    workload: workload.name.clone(),
                    corpus: corpus.name,
                    chunk: *chunk,
                    bytes: corpus.bytes.len(),
                    matches,
                    times,
                };
                report::row(&row, ours, peers);
            }
        }
    }
    Ok(wrong)
}

/// Keeps the contenders that find what the reference finds, each with the number of its reports. Gives the number of matches.
fn check(
    options: &Options,
    workload: &Workload,
    corpus: &Corpus,
    chunk: usize,
    contenders: &mut Vec<Counted>,
) -> usize {
    if options.unchecked {
        contenders.iter_mut().for_each(|(peer, wanted)| *wanted = peer.search(&corpus.bytes, chunk));
        return 0;
    }
    let reference = Reference::new(workload, corpus);
    contenders.retain_mut(|(peer, wanted)| match reference.check(peer.as_mut(), corpus, chunk) {
        Ok(count) => {
            *wanted = count;
            true
        }
        Err(what) => {
            eprintln!("WRONG: {} with {} rules on {}: {what}", peer.name(), workload.name, corpus.name);
            false
        }
    });
    reference.matches.len()
}

type Counted = (Box<dyn Contender>, u64);

/// Who runs, and who can't with the reason.
fn contenders(options: &Options, workload: &Workload, corpus: &Corpus) -> (Vec<Counted>, Vec<(String, String)>) {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.starts_with(&**only));
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    let mut missing = Vec::new();
    let vectors = options.vectors.unwrap_or_default();
    if wanted("whole") {
        all.push(Box::new(Inspector::new(workload, Work::Whole, corpus.format, vectors)));
    }
    if wanted("find") {
        all.push(Box::new(Inspector::new(workload, Work::Find, corpus.format, vectors)));
    }
    let json = corpus.format != sluice_engine::Format::Raw;
    if json && wanted("framing") {
        all.push(Box::new(Inspector::framing(workload, corpus.format, vectors)));
    }
    if json && wanted("serde_json") {
        all.push(Box::new(JsonReader));
    }
    let dir = options.peers.clone().or_else(default_peers).unwrap_or_default();
    for (name, folder, starts) in [
        ("hyperscan with starts", "hyperscan", true),
        ("hyperscan", "hyperscan", false),
        ("vectorscan with starts", "vectorscan", true),
        ("vectorscan", "vectorscan", false),
    ] {
        if !wanted(name) {
            continue;
        }
        match Hyperscan::new(name, &dir.join(folder).join("libhs.so.5"), workload, starts) {
            Ok(peer) => all.push(Box::new(peer)),
            Err(reason) => missing.push((name.to_owned(), reason.to_string())),
        }
    }
    if wanted("regex-automata") {
        all.push(Box::new(Meta::new(workload)));
    }
    if workload.rules.is_empty() && wanted("aho-corasick") {
        all.extend(Literals::new(workload).map(|peer| Box::new(peer) as Box<dyn Contender>));
    }
    if wanted("memchr3") {
        all.push(Box::new(Ceiling));
    }
    (all.into_iter().map(|peer| (peer, 0)).collect(), missing)
}

/// The folder `peers` of the target folder that this program stands in.
fn default_peers() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent().and_then(Path::parent)?.join("peers"))
}
