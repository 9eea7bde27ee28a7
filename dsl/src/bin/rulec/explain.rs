//! `rulec explain`

use crate::output::{Failure, print};
use sluice_dsl::Code;
use std::fmt::Write as _;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The code, or its name in words.
    code: String,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let Some(code) = Code::find(&args.code) else {
        let near = Code::ALL.iter().flat_map(|code| [code.id(), code.name()]);
        let near = sluice_dsl::fields::nearest(&args.code, near);
        let help = near
            .map_or_else(|| "codes look like `E031` or `W004`".to_owned(), |near| format!("did you mean `{near}`?"));
        return Err(Failure::Because(format!("there is no code `{}`; {help}", args.code)));
    };
    print(&page(code))?;
    Ok(false)
}

/// The explanation as people read it on a terminal: headings alone on their line, rules indented.
fn page(code: Code) -> String {
    let mut out = format!("{} {}\n\n{}\n\n", code.id(), code.name(), code.text());
    let mut fence = false;
    for line in code.markdown().lines() {
        // A String takes every write.
        let _ = match line.strip_prefix("```") {
            Some("") => {
                fence = false;
                continue;
            }
            Some(info) => {
                fence = true;
                // Another file that the example imports is named.
                match info.split(' ').find(|word| word.ends_with(".rules")) {
                    Some(file) => writeln!(out, "{file}:"),
                    None => continue,
                }
            }
            None if fence => writeln!(out, "{}", format!("    {line}").trim_end()),
            None => writeln!(out, "{}", line.trim_start_matches("## ")),
        };
    }
    out
}
