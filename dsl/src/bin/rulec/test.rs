//! `rulec test`

use crate::check::compile;
use crate::output::{Failure, Format, github, print};
use sluice_dsl::testing::{self, TestOutcome};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules and their tests.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Run the tests alone whose name contains this.
    #[arg(long)]
    filter: Option<String>,
    /// How outcomes are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let (compilation, _) = compile(&args.paths, args.format)?;
    let outcomes = testing::run(&compilation, args.filter.as_deref());
    if outcomes.is_empty() {
        return Err(Failure::Because("no tests".into()));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let mut out = String::new();
    for outcome in &outcomes {
        write(&mut out, outcome, args.format);
    }
    if args.format == Format::Full {
        let _ = writeln!(out, "{} passed, {failed} failed", outcomes.len() - failed);
    }
    print(&out)?;
    Ok(failed > 0)
}

fn write(out: &mut String, outcome: &TestOutcome, format: Format) {
    let TestOutcome { name, path, line, passed, expected, got, cut } = outcome;
    let cut = cut.as_ref().map(|cut| format!(" ({cut})")).unwrap_or_default();
    // A String takes every write.
    let _ = match format {
        Format::Json | Format::Sarif => writeln!(out, "{}", serde_json::to_string(outcome).unwrap_or_default()),
        Format::Full if *passed => writeln!(out, "ok      {name}"),
        Format::Full => {
            writeln!(out, "FAILED  {name}\n  {path}:{line}\n  expected: {expected}\n  got:      {got}{cut}")
        }
        _ if *passed => Ok(()),
        Format::Concise => writeln!(out, "{path}:{line}: {name}: expected {expected}, got {got}{cut}"),
        Format::Github => {
            let message = github(&format!("{name}: expected {expected}, got {got}{cut}"));
            writeln!(out, "::error file={},line={line}::{message}", github(path))
        }
    };
}
