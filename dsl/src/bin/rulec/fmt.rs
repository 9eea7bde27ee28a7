//! `rulec fmt`

use crate::files;
use crate::output::{Failure, complain, print};
use std::fmt::Write as _;
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
            print(&diff(&path, &text, &laid))?;
        } else if args.check {
            print(&format!("{}\n", path.display()))?;
        } else {
            std::fs::write(&path, laid).map_err(|error| Failure::of(&path.display().to_string(), &error))?;
        }
    }
    if broken {
        return Err(Failure::Told);
    }
    Ok(changes && (args.check || args.diff))
}

/// The lines that change, as a unified diff of one hunk.
fn diff(path: &Path, old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (gone, come) = (&old[same..old.len() - tail], &new[same..new.len() - tail]);
    let path = path.display();
    let mut out = format!("--- {path}\n+++ {path}\n");
    // A String takes every write.
    let _ = writeln!(out, "@@ -{},{} +{},{} @@", same + 1, gone.len(), same + 1, come.len());
    for line in gone {
        let _ = writeln!(out, "-{line}");
    }
    for line in come {
        let _ = writeln!(out, "+{line}");
    }
    out
}
