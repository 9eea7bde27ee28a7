//! `rulec fmt`

use crate::files;
use crate::output::{Failure, complain, print};
use crate::write;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(|error| Failure::of("<stdin>", &error))?;
        let laid = sluice_dsl::format::format(&text).map_err(|_| Failure::Because("<stdin>: syntax errors".into()))?;
        print(&laid)?;
        return Ok(false);
    }
    let mut changes = false;
    let mut broken = false;
    for path in files::find(&args.paths)? {
        let text = files::read(&path)?;
        let Ok(laid) = sluice_dsl::format::format(&text) else {
            complain(&format!("rulec: {}: syntax errors; `rulec check` names them", path.display()));
            broken = true;
            continue;
        };
        if laid == text {
            continue;
        }
        changes = true;
        if args.diff {
            print(&write::diff(&path, &text, &laid))?;
        } else if args.check {
            print(&format!("{}\n", path.display()))?;
        } else {
            write::atomically(&path, &text, &laid)?;
        }
    }
    if broken {
        return Err(Failure::Told);
    }
    Ok(changes && (args.check || args.diff))
}
