//! `rulec diff`: what changes in meaning between two versions of rules.

use crate::check::compile;
use crate::output::{Failure, Format, github, github_property, print};
use sluice_dsl::difference::{Difference, RuleChange, RuleDifference, TestDifference, Verdict, difference};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The old rules: a file or a directory.
    old: PathBuf,
    /// The new rules.
    new: PathBuf,
    /// How differences are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let (old, _) = compile(std::slice::from_ref(&args.old), args.format)?;
    let (new, _) = compile(std::slice::from_ref(&args.new), args.format)?;
    let today = jiff::ZonedDateTime::now().date();
    let found = difference(&old, &new, today).ok_or_else(|| Failure::Because("there are no rules".into()))?;
    print(&render(&found, args.format))?;
    Ok(found.verdict == Verdict::Weaker)
}

fn render(found: &Difference, format: Format) -> String {
    let mut out = String::new();
    // A String takes every write.
    match format {
        Format::Json | Format::Sarif => {
            let _ = writeln!(out, "{}", serde_json::to_string(found).unwrap_or_default());
        }
        Format::Full => {
            found.rules.iter().for_each(|rule| full_rule(&mut out, rule));
            found.tests.iter().for_each(|test| full_test(&mut out, test));
            let Difference { same_rules, same_tests, requests, .. } = found;
            let _ = writeln!(out, "same: {same_rules} rules, {same_tests} tests; {requests} requests compared");
        }
        Format::Concise => {
            for rule in &found.rules {
                let RuleDifference { path, line, rule: name, verdict, change, .. } = rule;
                let _ = writeln!(out, "{path}:{line}: {}: rule `{name}` {}", verdict.word(), word(*change));
            }
            for TestDifference { path, line, name, verdict, old, new } in &found.tests {
                let _ = writeln!(out, "{path}:{line}: {}: test `{name}`: {old} -> {new}", verdict.word());
            }
        }
        Format::Github => {
            for rule in &found.rules {
                let (path, line, title) = (github_property(&rule.path), rule.line, rule.verdict.word());
                let example = rule.examples.first();
                let example = example.map(|e| format!(": {} send {:?}: {} -> {}", e.given, e.send, e.old, e.new));
                let text = format!("rule `{}` {}{}", rule.rule, word(rule.change), example.unwrap_or_default());
                let level = level(rule.verdict);
                let _ = writeln!(out, "::{level} file={path},line={line},title={title}::{}", github(&text));
            }
            for test in &found.tests {
                let (path, line, title) = (github_property(&test.path), test.line, test.verdict.word());
                let text = github(&format!("test `{}`: {} -> {}", test.name, test.old, test.new));
                let _ = writeln!(out, "::{} file={path},line={line},title={title}::{text}", level(test.verdict));
            }
        }
    }
    out
}

fn level(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Weaker => "error",
        Verdict::Unknown => "warning",
        Verdict::Changed | Verdict::Stronger | Verdict::Same => "notice",
    }
}

fn word(change: RuleChange) -> &'static str {
    match change {
        RuleChange::Added => "added",
        RuleChange::Removed => "removed",
        RuleChange::Changed => "changed",
    }
}

fn full_rule(out: &mut String, rule: &RuleDifference) {
    let RuleDifference { rule: name, pack, change, path, line, verdict, examples } = rule;
    let _ = writeln!(out, "{:<9} rule {name} of {pack} {}\n  {path}:{line}", verdict.word(), word(*change));
    for example in examples {
        if examples.len() > 1 {
            let _ = writeln!(out, "  {}:", example.verdict.word());
        }
        let _ = writeln!(out, "  {} send {:?}", example.given, example.send);
        let _ = writeln!(out, "  old: {}\n  new: {}", example.old, example.new);
    }
    match verdict {
        Verdict::Unknown => {
            let _ = writeln!(out, "  no request was found that is decided differently; there may be one");
        }
        Verdict::Same => {
            let _ = writeln!(out, "  no request is decided differently");
        }
        _ => {}
    }
    out.push('\n');
}

fn full_test(out: &mut String, test: &TestDifference) {
    let TestDifference { name, path, line, verdict, old, new } = test;
    let _ = writeln!(out, "{:<9} test {name:?}\n  {path}:{line}\n  old: {old}\n  new: {new}\n", verdict.word());
}
