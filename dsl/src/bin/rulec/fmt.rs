//! `rulec fmt`

use crate::files;
use crate::output::{Failure, complain, print};
use crate::write;
use rayon::prelude::*;
use sluice_dsl::Source;
use sluice_dsl::format::format;
use sluice_dsl::syntax::parse;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules; `-` formats standard input to standard output.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that would change, and exit with 1 where there are any.
    #[arg(long)]
    check: bool,
    /// Change nothing; print what would change, and exit with 1 where there is anything.
    #[arg(long)]
    diff: bool,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    if args.paths == [Path::new("-")] {
        return stdin(args);
    }
    let files = files::find(&args.paths)?;
    // In the order of the files, whichever is ready first.
    let laid: Vec<_> =
        files.par_iter().map(|path| (path, files::read(path).map(|text| (format(&text), text)))).collect();
    let mut changes = false;
    let mut broken = false;
    for (path, read) in laid {
        match read {
            Ok((Ok(laid), text)) if laid == text => {}
            Ok((Ok(laid), text)) => {
                changes = true;
                one(args, path, &text, &laid)?;
            }
            Ok((Err(_), text)) => {
                refuse(&path.display().to_string(), text);
                broken = true;
            }
            Err(Failure::Because(reason)) => {
                complain(&format!("rulec: {reason}"));
                broken = true;
            }
            Err(failure) => return Err(failure),
        }
    }
    if broken {
        return Err(Failure::Told);
    }
    Ok(changes && (args.check || args.diff))
}

fn one(args: &Args, path: &Path, text: &str, laid: &str) -> Result<(), Failure> {
    if args.diff {
        print(&write::diff(path, text, laid))
    } else if args.check {
        print(&format!("{}\n", path.display()))
    } else {
        write::atomically(path, text, laid)
    }
}

/// Standard input to standard output; with `--check` or `--diff` what would change.
fn stdin(args: &Args) -> Result<bool, Failure> {
    const NAME: &str = "<stdin>";
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(|error| Failure::of(NAME, &error))?;
    match format(&text) {
        Err(_) => {
            refuse(NAME, text);
            Err(Failure::Told)
        }
        Ok(laid) if !args.check && !args.diff => print(&laid).map(|()| false),
        Ok(laid) if laid == text => Ok(false),
        Ok(laid) => one(args, Path::new(NAME), &text, &laid).map(|()| true),
    }
}

/// Says what is wrong with the syntax; what can't be read isn't laid out.
fn refuse(path: &str, text: String) {
    let source = Arc::new(Source { path: path.to_owned(), text });
    // Once more, under its name: messages have places in files that have one.
    let diagnostics = parse(&source).diagnostics;
    let shown = sluice_dsl::diagnostic::render(&diagnostics, &[source], std::io::stderr().is_terminal());
    complain(shown.trim_end());
}
