//! Fuzzing: what was once found is replayed, then each target runs for a while.

use std::fs;
use std::time::Duration;

use crate::checks::skipped;
use crate::machine;
use crate::shell::{Outcome, Step, have, root, target_dir};

/// How long each target runs in `cargo xtask ci`: all of them together stay below four minutes.
const BRIEF: Duration = Duration::from_secs(10);
/// The longest run of one target.
const LONGEST: u64 = 24 * 60;
/// Targets that need the engine alone: where no other is wanted, the rules, their parser and the gateway aren't built.
const OF_THE_ENGINE: &[&str] = &["base64", "escapes", "json", "laws", "path", "percent"];

/// `[--minutes N] [TARGET…]`: replays the regressions of the targets, then fuzzes them one after the other.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (time, wanted) = arguments(args)?;
    if !Step::new("cargo").args(["+nightly", "--version"]).succeeds() {
        return skipped("fuzzing", "it needs the nightly toolchain");
    }
    machine::for_build()?;
    if !have("cargo-fuzz") {
        Step::cargo("install").args(["cargo-fuzz", "--locked", "--quiet"]).run()?;
    }
    let listed = Step::new("cargo").args(["+nightly", "fuzz", "list"]).output().unwrap_or_default();
    let all: Vec<&str> = listed.split_whitespace().collect();
    if let Some(unknown) = wanted.iter().find(|target| !all.contains(target)) {
        return Err(format!("no target `{unknown}`; there are {}", all.join(", ")));
    }
    let targets = if wanted.is_empty() { all } else { wanted };
    if targets.is_empty() {
        return Err("fuzz/ has no targets".into());
    }
    let features: &[&str] = match targets.iter().all(|target| OF_THE_ENGINE.contains(target)) {
        true => &["--no-default-features"],
        false => &[],
    };
    let fuzz = |command: &str| Step::new("cargo").args(["+nightly", "fuzz", command]).args(features.iter().copied());
    fuzz("build").run()?;
    targets.iter().try_for_each(|target| replay(target, &fuzz))?;
    targets.iter().try_for_each(|target| explore(target, time, &fuzz))
}

fn arguments(args: &[String]) -> Result<(Duration, Vec<&str>), String> {
    let (mut time, mut targets) = (BRIEF, Vec::new());
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if arg == "--minutes" {
            let minutes = args.next().and_then(|minutes| minutes.parse().ok());
            let minutes = minutes.filter(|minutes| (1..=LONGEST).contains(minutes));
            time = Duration::from_secs(60 * minutes.ok_or(format!("`--minutes` takes 1 to {LONGEST}"))?);
        } else if arg.starts_with('-') {
            return Err(format!("no option `{arg}`; the only one is `--minutes N`"));
        } else {
            targets.push(arg);
        }
    }
    Ok((time, targets))
}

/// Runs what the target once failed on, each input once.
fn replay(target: &str, fuzz: &dyn Fn(&str) -> Step) -> Outcome {
    let regressions = format!("fuzz/regressions/{target}");
    if !root().join(&regressions).is_dir() {
        return Ok(());
    }
    fuzz("run").args([target, &regressions, "--", "-runs=0"]).run()
}

/// Fuzzes from the committed corpus. What is found on the way stays in the target directory and serves the next run; the
/// corpus in the repository changes by hand alone.
fn explore(target: &str, time: Duration, fuzz: &dyn Fn(&str) -> Step) -> Outcome {
    let found = target_dir().join("fuzz-corpus").join(target);
    fs::create_dir_all(&found).map_err(|error| format!("can't create {}: {error}", found.display()))?;
    let (found, corpus) = (found.to_string_lossy().into_owned(), format!("fuzz/corpus/{target}"));
    let dictionary = format!("fuzz/dictionaries/{target}.dict");
    let (time, dict) = (format!("-max_total_time={}", time.as_secs()), format!("-dict={dictionary}"));
    let mut options = vec![time.as_str(), "-rss_limit_mb=2048", "-timeout=60", "-print_final_stats=1"];
    if root().join(&dictionary).is_file() {
        options.push(&dict);
    }
    fuzz("run").args([target, &found, &corpus]).args(fixtures(target).iter().copied()).args(["--"]).args(options).run()
}

/// Folders of the repository that hold good inputs already.
fn fixtures(target: &str) -> &'static [&'static str] {
    match target {
        "rules" => &["examples/staff"],
        "config" => &["examples/sqlite", "examples/postgres"],
        _ => &[],
    }
}
