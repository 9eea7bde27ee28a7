//! `rulec check`, and the compilation that the other commands share.

use crate::files;
use crate::output::{Failure, Format, github, github_property, print};
use crate::progress::Progress;
use crate::sarif;
use sluice_dsl::bundle::{Bundle, ENDING};
use sluice_dsl::codes::Code;
use sluice_dsl::diagnostic::Severity;
use sluice_dsl::{Compilation, CompileOptions, compile_files};
use sluice_engine::Keyring;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// How findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Writes the findings to this file instead.
    #[arg(long, value_name = "FILE", conflicts_with = "diff")]
    output: Option<PathBuf>,
    /// Warnings are findings too: they make the exit code 1.
    #[arg(long)]
    deny_warnings: bool,
    /// Correct what can be corrected without changing what rules that are right decide.
    #[arg(long)]
    fix: bool,
    /// With `--fix`: also what is probably meant, and a person should look at.
    #[arg(long, requires = "fix")]
    suggested: bool,
    /// With `--fix`: change nothing; print what would change, and exit with 1 where there is anything.
    #[arg(long, requires = "fix")]
    diff: bool,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let files = files::find(&args.paths)?;
    let options = options(&args.paths)?;
    let progress = Progress::of(format!("checking {} files", files.len()));
    let mut compilation = compile_files(&files, &options);
    drop(progress);
    if args.fix {
        let fixed = crate::fix::run(&compilation, &options, args.suggested, args.diff)?;
        if args.diff {
            return Ok(fixed);
        }
        compilation = compile_files(&files, &options);
    }
    let color = args.output.is_none() && std::io::stdout().is_terminal();
    let findings = render(&compilation, args.format, color);
    let written = match &args.output {
        Some(path) => std::fs::write(path, findings).map_err(|error| Failure::of(&path.display().to_string(), &error)),
        None => print(&findings),
    };
    match written {
        // Who reads no further still gets the verdict.
        Ok(()) | Err(Failure::ClosedPipe) => {}
        Err(failure) => return Err(failure),
    }
    if could_not(&compilation) {
        return Err(Failure::Told);
    }
    let warnings = compilation.diagnostics.iter().any(|found| found.severity == Severity::Warning);
    Ok(compilation.has_errors() || (args.deny_warnings && warnings))
}

/// How rules of these paths are compiled: with the packs that their `rules.lock` pins.
fn options(paths: &[PathBuf]) -> Result<CompileOptions, Failure> {
    CompileOptions::new(Keyring::for_tests()).beside(paths).map_err(|error| Failure::Because(error.to_string()))
}

/// Nothing was there to be checked, or it could not be read.
pub(crate) fn could_not(compilation: &Compilation) -> bool {
    let found = |code| compilation.diagnostics.iter().any(|d| d.code == code);
    let other = compilation
        .diagnostics
        .iter()
        .any(|d| d.severity == Severity::Error && !matches!(d.code, Code::ZeroRules | Code::Unreadable));
    found(Code::Unreadable) || (found(Code::ZeroRules) && !other)
}

/// The findings in the words of a format; warnings and errors alike.
pub(crate) fn render(compilation: &Compilation, format: Format, color: bool) -> String {
    let mut out = String::new();
    match format {
        Format::Full => {
            out = compilation.render(color);
            let of = |severity| compilation.diagnostics.iter().filter(|d| d.severity == severity).count();
            let read = counted(compilation.files.len(), "file");
            let _ = match (of(Severity::Error), of(Severity::Warning)) {
                (0, 0) => writeln!(out, "{read} read: no findings"),
                (errors, warnings) => {
                    writeln!(out, "{read} read: {}, {}", counted(errors, "error"), counted(warnings, "warning"))
                }
            };
        }
        Format::Concise => {
            for d in &compilation.diagnostics {
                let _ = writeln!(out, "{}:{}:{}: {} {}", d.path, d.line, d.column, d.code.id(), d.message);
            }
        }
        Format::Json => {
            for d in &compilation.diagnostics {
                let _ = writeln!(out, "{}", serde_json::to_string(d).unwrap_or_default());
            }
        }
        Format::Sarif => out = format!("{:#}\n", sarif::log(compilation, !could_not(compilation))),
        Format::Github => {
            for d in &compilation.diagnostics {
                let level = if d.severity == Severity::Error { "error" } else { "warning" };
                let (path, line, column) = (github_property(&d.path), d.line, d.column);
                let (title, message) = (d.code.id(), github(&d.message));
                let _ = writeln!(out, "::{level} file={path},line={line},col={column},title={title}::{message}");
            }
        }
    }
    out
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Compiles rules, or a bundle of them, that another command is to use. Where they can't be, tells why on standard error: a command that has
/// no rules could not do its work.
pub(crate) fn compile(paths: &[PathBuf], format: Format) -> Result<(Compilation, sluice_dsl::Policy), Failure> {
    let compilation = match paths {
        [path] if path.extension().is_some_and(|ending| ending == ENDING) => {
            let bundle = Bundle::read(path).map_err(|error| Failure::Because(error.to_string()))?;
            bundle.compile(&CompileOptions::new(Keyring::for_tests()))
        }
        paths => {
            let files = files::find(paths)?;
            let _progress = Progress::of(format!("reading {} files", files.len()));
            compile_files(&files, &options(paths)?)
        }
    };
    match compilation.policy.clone() {
        Some(policy) if !compilation.has_errors() => Ok((compilation, policy)),
        _ => {
            let color = std::io::stderr().is_terminal();
            crate::output::complain(render(&compilation, format, color).trim_end());
            Err(Failure::Told)
        }
    }
}
