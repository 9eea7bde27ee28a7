//! `rulec test`

use crate::check::compile;
use crate::junit;
use crate::output::{Failure, Format, github, github_property, print};
use crate::progress::Progress;
use serde_json::json;
use sluice_dsl::testing::{self, Change, Count, Coverage, TestOutcome};
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
    /// Say which rules, patterns and branches of conditions no test reaches.
    #[arg(long)]
    coverage: bool,
    /// Write the outcomes to this file too, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How outcomes are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let (compilation, _) = compile(&args.paths, args.format)?;
    let progress = Progress::of("running the tests".to_owned());
    let outcomes = testing::run(&compilation, args.filter.as_deref());
    drop(progress);
    if outcomes.is_empty() {
        return Err(Failure::Because("no tests".into()));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if let Some(path) = &args.junit {
        junit::write(path, &outcomes)?;
    }
    let mut out = String::new();
    for outcome in &outcomes {
        write(&mut out, outcome, args.format);
    }
    if args.format == Format::Full {
        let _ = writeln!(out, "{} passed, {failed} failed", outcomes.len() - failed);
    }
    if args.coverage
        && let Some(coverage) = testing::coverage(&compilation, args.filter.as_deref())
    {
        write_coverage(&mut out, &coverage, args.format);
    }
    print(&out)?;
    Ok(failed > 0)
}

fn write(out: &mut String, outcome: &TestOutcome, format: Format) {
    let TestOutcome { name, path, line, passed, expected, got, cut, .. } = outcome;
    let cut = cut.as_ref().map(|cut| format!(" ({cut})")).unwrap_or_default();
    // A String takes every write.
    let _ = match format {
        Format::Json | Format::Sarif => writeln!(out, "{}", serde_json::to_string(outcome).unwrap_or_default()),
        Format::Full if *passed => writeln!(out, "ok      {name}"),
        Format::Full => {
            let _ = writeln!(out, "FAILED  {name}\n  {path}:{line}\n  expected: {expected}\n  got:      {got}{cut}");
            match diff(outcome) {
                Some(diff) => writeln!(out, "  change:   {diff}"),
                None => Ok(()),
            }
        }
        _ if *passed => Ok(()),
        Format::Concise => writeln!(out, "{path}:{line}: {name}: expected {expected}, got {got}{cut}"),
        Format::Github => {
            let message = github(&format!("{name}: expected {expected}, got {got}{cut}"));
            writeln!(out, "::error file={},line={line}::{message}", github_property(path))
        }
    };
}

/// Expected and got in one line, as `git diff --word-diff` writes them.
pub(crate) fn diff(outcome: &TestOutcome) -> Option<String> {
    let shown = outcome.diff.iter().map(|part| {
        let text = part.text.escape_debug();
        match part.change {
            Change::Same => text.to_string(),
            Change::Expected => format!("[-{text}-]"),
            Change::Got | Change::Hidden => format!("{{+{text}+}}"),
        }
    });
    (!outcome.diff.is_empty()).then(|| shown.collect())
}

fn write_coverage(out: &mut String, coverage: &Coverage, format: Format) {
    let Coverage { rules, patterns, branches, missed } = coverage;
    let _ = match format {
        Format::Json | Format::Sarif => writeln!(out, "{}", json!({ "coverage": coverage })),
        Format::Full | Format::Concise => {
            for missed in missed {
                let _ = writeln!(out, "{}:{}:{}: {}", missed.path, missed.line, missed.column, missed.message);
            }
            let (rules, patterns, branches) = (of(*rules), of(*patterns), of(*branches));
            writeln!(out, "tests reach {rules} rules, {patterns} patterns and {branches} branches")
        }
        Format::Github => {
            for missed in missed {
                let (path, line, column) = (github_property(&missed.path), missed.line, missed.column);
                let message = github(&missed.message);
                let _ = writeln!(out, "::notice file={path},line={line},col={column},title=coverage::{message}");
            }
            Ok(())
        }
    };
}

fn of(count: Count) -> String {
    format!("{} of {}", count.reached, count.of)
}
