//! Connections beside their peers, on loopback, in interleaved rounds: TCP beside HAProxy, QUIC beside quinn, PostgreSQL beside
//! PgBouncer and without anything in between; and what an idle connection costs.
//!
//! `cargo xtask wire` installs the peers, builds the gateway and runs this; docs/performance.md holds a table.
#![allow(clippy::unwrap_used, reason = "a bench: what goes wrong ends it, and says where")]

mod flow;
mod idle;
mod peers;
mod postgres;
mod quic;
mod tcp;

use std::process::ExitCode;

use clap::Parser;
use sluice_benches::measure::Spread;
use sluice_benches::report::figure;

/// Measures connections beside their peers.
#[derive(Debug, Parser)]
#[command(name = "wire")]
struct Options {
    /// These parts alone: tcp, quic, postgres, idle.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    part: Vec<String>,
    /// Rounds; in each every contender runs once.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Bytes that pour in a round, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    size: usize,
    /// Seconds of pgbench in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Rows of the masked answer.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Idle connections over TCP, and over QUIC; each takes two descriptors here and two in the gateway.
    #[arg(long, default_value_t = 9_500)]
    idle_tcp: usize,
    /// Idle connections over QUIC.
    #[arg(long, default_value_t = 2_000)]
    idle_quic: usize,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.part.is_empty() || self.part.iter().any(|wanted| wanted == part)
    }
}

/// How a figure is held against another.
enum Better {
    /// Ours over theirs, where more is better.
    More,
    /// Ours over theirs, where less is better.
    Less,
}

/// Prints a row of the table: both figures, and the median of the paired ratios with the lowest and the highest.
fn row(what: &str, ours: &[f64], theirs: &[f64], unit: &str, better: &Better) {
    let ratio = Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    let (ours, theirs) = (Spread::of(ours.to_vec()), Spread::of(theirs.to_vec()));
    let which = match better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    println!(
        "| {what} | {} {unit} | {} {unit} | **{}x** ({}–{}), {which} |",
        figure(ours.median),
        figure(theirs.median),
        figure(ratio.median),
        figure(ratio.least),
        figure(ratio.most)
    );
}

/// Runs both in turns, each beginning every other round.
async fn pairs(
    rounds: usize,
    mut ours: impl AsyncFnMut() -> f64,
    mut theirs: impl AsyncFnMut() -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            a.push(ours().await);
            b.push(theirs().await);
        } else {
            b.push(theirs().await);
            a.push(ours().await);
        }
    }
    (a, b)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("| figure | ours | theirs | ratio |\n|---|---|---|---|");
    runtime.block_on(async {
        if options.wants("tcp") {
            tcp::measure(&options).await;
        }
        if options.wants("quic") {
            quic::measure(&options).await;
        }
        if options.wants("postgres") {
            postgres::measure(&options).await;
        }
        if options.wants("idle") {
            idle::measure(&options).await;
        }
    });
    ExitCode::SUCCESS
}
