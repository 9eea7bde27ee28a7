//! `sluice evidence`: shows by a public key alone that the log is what was written.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Outcome, failed, sessions::line, store::Store};
use crate::evidence::{Verifier, check_proof, newest_checkpoint, prove, rotate_key, verify};

#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    #[command(subcommand)]
    command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
enum EvidenceCommand {
    /// Check every record and every checkpoint; also while a gateway writes. Exit code 0: all is as it was written, 1: something isn't, 2: it can't be read.
    Verify {
        #[command(flatten)]
        from: Store,
        /// The file with the public key that signed the log's first checkpoint (a copy of `evidence.pub`, kept elsewhere).
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A checkpoint that was kept elsewhere: shows that the log goes on from there.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Check this proof of one record instead, without the log.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["checkpoint", "store", "config"])]
        proof: Option<PathBuf>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the newest checkpoint, to be kept elsewhere.
    Checkpoint {
        #[command(flatten)]
        from: Store,
    },
    /// Print a proof that a record is under the newest checkpoint.
    Prove {
        /// The number of the record, as `sluice sessions show` has it.
        record: u64,
        #[command(flatten)]
        from: Store,
    },
    /// Let another key sign from here on, while no gateway runs. Both sign the checkpoint that says so.
    RotateKey {
        #[command(flatten)]
        from: Store,
        /// Where the new private key is written, a file that isn't there yet; then name it in the configuration. Left out: in the place of the old
        /// one, beside the store.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

pub(super) fn evidence(arguments: &EvidenceArgs) -> Outcome {
    let done = match &arguments.command {
        EvidenceCommand::Verify { proof: Some(proof), key, json, .. } => check_one(proof, key, *json),
        EvidenceCommand::Verify { from, key, checkpoint, json, .. } => check(from, key, checkpoint.as_deref(), *json),
        EvidenceCommand::Checkpoint { from } => from
            .path()
            .and_then(|store| newest_checkpoint(&store).map_err(|error| error.to_string()))
            .map(|note| printed(&note)),
        EvidenceCommand::Prove { record, from } => from
            .path()
            .and_then(|store| prove(&store, *record).map_err(|error| error.to_string()))
            .map(|proof| printed(&proof)),
        EvidenceCommand::RotateKey { from, to } => rotate(from, to.as_deref()),
    };
    done.unwrap_or_else(|reason| failed(&reason))
}

fn printed(text: &str) -> Outcome {
    print!("{text}");
    Outcome::Clean
}

fn rotate(from: &Store, to: Option<&Path>) -> Result<Outcome, String> {
    let (store, key) = from.with_key()?;
    let new = rotate_key(&store, &key, to).map_err(|error| error.to_string())?;
    println!("{new}");
    Ok(Outcome::Clean)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("can't read {}: {error}", path.display()))
}

/// The keys in a file, one a line.
fn keys(path: &Path) -> Result<Vec<Verifier>, String> {
    let text = read(path)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let keys = lines.map(Verifier::parse).collect::<Result<Vec<_>, _>>();
    keys.map_err(|error| format!("{}: {error}", path.display()))
}

fn check(from: &Store, key: &Path, kept: Option<&Path>, json: bool) -> Result<Outcome, String> {
    let keys = keys(key)?;
    let first = keys.first().ok_or_else(|| format!("{} holds no key", key.display()))?;
    let kept = kept.map(read).transpose()?;
    let report = verify(&from.path()?, first, kept.as_deref()).map_err(|error| error.to_string())?;
    let outcome = if report.findings.is_empty() { Outcome::Clean } else { Outcome::Findings };
    if json {
        line(&report)?;
        return Ok(outcome);
    }
    println!(
        "{}: {} records, {} checkpoints, the newest of {} records",
        report.origin, report.records, report.checkpoints, report.signed
    );
    println!("root {}", report.root);
    if report.keys > 1 {
        println!("signed by {} keys, one after the other", report.keys);
    }
    if report.torn > 0 {
        println!(
            "{} bytes behind the last record are a write that is under way, or that a crash has torn",
            report.torn
        );
    }
    report.findings.iter().for_each(|finding| println!("WRONG: {finding}"));
    if outcome == Outcome::Clean {
        println!("every record is as it was written");
    }
    Ok(outcome)
}

fn check_one(proof: &Path, key: &Path, json: bool) -> Result<Outcome, String> {
    let proven = match check_proof(&read(proof)?, &keys(key)?) {
        Ok(proven) => proven,
        Err(error) => {
            println!("WRONG: {error}");
            return Ok(Outcome::Findings);
        }
    };
    if !json {
        println!(
            "record {} of {}, under the checkpoint of {} records:",
            proven.record, proven.checkpoint.origin, proven.checkpoint.size
        );
    }
    println!("{}", proven.text);
    Ok(Outcome::Clean)
}
