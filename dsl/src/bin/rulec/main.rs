//! rulec: checks, tests, formats and tries rules.
//!
//! Exit codes: 0 clean, 1 findings, 2 could not do it. Finding no files, no rules or no tests is 2, and so is a defect
//! of the program itself.

mod bench;
mod build;
mod check;
mod diff;
mod explain;
mod files;
mod fix;
mod fmt;
mod junit;
mod lsp;
mod output;
mod pack;
mod progress;
mod sarif;
mod scan;
mod schema;
mod test;
mod write;

use clap::{Parser, Subcommand};
use output::Failure;
use std::process::ExitCode;

/// Checks, tests, formats and tries the rules of a Sluice gateway.
#[derive(Parser)]
#[command(name = "rulec", version, about, after_help = "Exit codes: 0 clean, 1 findings, 2 could not do it.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check rules: syntax, names, types, patterns, and what protects nothing.
    Check(check::Args),
    /// Run the tests in rule files, each under every cut of its input.
    Test(test::Args),
    /// Put bytes through rules: the masked bytes go to stdout, the decisions to stderr.
    Scan(Box<scan::Args>),
    /// Lay out rule files in the one way there is.
    Fmt(fmt::Args),
    /// Serve an editor: the Language Server Protocol over standard input and output.
    Lsp,
    /// Put rules with all that they import into one file, under one digest.
    Build(build::Args),
    /// Pin the packs that rules import, and check the pins.
    Pack(pack::Args),
    /// Say what each rule costs on a corpus.
    Bench(bench::Args),
    /// Print JSON Schemas of what the tools write, and of the facts that rules ask about.
    Schema(schema::Args),
    /// Explain a code of a message, such as E031; or what the scopes of rules cost.
    Explain(explain::Args),
    /// Say what changes in meaning between two versions of rules; exit code 1 where something got weaker.
    Diff(diff::Args),
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        output::complain(&format!("rulec: defect at {place}; this is not the rules' fault"));
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    ExitCode::from(code(|| match cli.command {
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Scan(args) => scan::run(*args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Lsp => lsp::run(),
        Command::Build(args) => build::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
    }))
}

/// How a command ended, as the program says it to its caller. A defect is no verdict on the rules, so it is never 0 or 1.
fn code(command: impl FnOnce() -> Result<bool, Failure> + std::panic::UnwindSafe) -> u8 {
    match std::panic::catch_unwind(command) {
        Ok(Ok(findings)) => u8::from(findings),
        Ok(Err(Failure::ClosedPipe)) => 0,
        Ok(Err(Failure::Told)) | Err(_) => 2,
        Ok(Err(Failure::Because(reason))) => {
            output::complain(&format!("rulec: {reason}"));
            2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_exit_code_2_and_no_verdict() {
        assert_eq!(code(|| panic!("a defect")), 2);
        assert_eq!(code(|| Ok(true)), 1);
        assert_eq!(code(|| Ok(false)), 0);
        assert_eq!(code(|| Err(Failure::Told)), 2);
        assert_eq!(code(|| Err(Failure::ClosedPipe)), 0);
    }
}
