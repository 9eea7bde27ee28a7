//! `rulec explain`: a code of a message, or what rules cost.

use crate::check::compile;
use crate::output::{Failure, Format, print};
use sluice_dsl::cost::{self, ScopeCost};
use sluice_dsl::{Code, Undecided};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A code, such as E031, or its name in words; or files and directories with rules.
    #[arg(required = true)]
    what: Vec<String>,
    /// How the cost of rules is written; `json` is an object a line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let [what] = &args.what[..] else { return costs(args) };
    if let Some(code) = Code::find(what) {
        print(&page(code))?;
        return Ok(false);
    }
    if std::path::Path::new(what).exists() {
        return costs(args);
    }
    let near = Code::ALL.iter().flat_map(|code| [code.id(), code.name()]);
    let near = sluice_dsl::fields::nearest(what, near);
    let help =
        near.map_or_else(|| "codes look like `E031` or `W004`".to_owned(), |near| format!("did you mean `{near}`?"));
    Err(Failure::Because(format!("there is no code and no file `{what}`; {help}")))
}

/// What the rules cost, scope by scope.
fn costs(args: &Args) -> Result<bool, Failure> {
    let paths: Vec<PathBuf> = args.what.iter().map(PathBuf::from).collect();
    let (compilation, _) = compile(&paths, args.format)?;
    let costs = cost::costs(&compilation);
    let mut out = String::new();
    let mut last = None;
    for cost in &costs {
        if args.format != Format::Full {
            let _ = writeln!(out, "{}", serde_json::to_string(cost).unwrap_or_default());
            continue;
        }
        let scope = (cost.scope.as_deref(), cost.path.as_str());
        if last != Some(scope) {
            let _ = match cost.scope.as_deref() {
                Some(name) => writeln!(out, "scope {name} ({}:{})", cost.path, cost.line),
                None => writeln!(out, "everywhere"),
            };
            last = Some(scope);
        }
        let _ = writeln!(out, "  {}", sentence(cost));
    }
    for unknown in &compilation.undecided {
        let _ = match args.format {
            Format::Full => {
                let Undecided { path, line, rule, question } = unknown;
                writeln!(out, "not decided: rule `{rule}` ({path}:{line}): {question}")
            }
            _ => writeln!(out, "{}", serde_json::json!({ "undecided": unknown })),
        };
    }
    print(&out)?;
    Ok(false)
}

fn sentence(cost: &ScopeCost) -> String {
    let mut out = if cost.response { "responses: ".to_owned() } else { "requests:  ".to_owned() };
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    if !cost.facts.is_empty() {
        out += &format!("{} by facts", plural(cost.facts.len(), "rule"));
        out += if cost.searching.is_empty() { "" } else { ", " };
    }
    if !cost.searching.is_empty() {
        out += &format!("{} on {}", plural(cost.searching.len(), "rule"), plural(cost.patterns, "pattern"));
    }
    if !cost.unfiltered.is_empty() {
        out += &format!(", without a prefilter: {}", cost.unfiltered.join(", "));
    }
    out += if cost.parses_sql { "; SQL is parsed" } else { "" };
    if let Some(longest) = &cost.longest {
        out += &format!("; up to {} wait: {} of `{}`", plural(cost.held, "byte"), longest.bytes, longest.pattern);
        out += &if cost.window > 0 { format!(" and a window of {}", cost.window) } else { String::new() };
    }
    out
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
