//! Tests, lints and everything else that a change must pass.

use std::path::Path;

use crate::fuzz;
use crate::machine;
use crate::shell::{Outcome, Step, have, root, target_dir};

/// Installs what is missing and runs every test. The binaries that the end-to-end tests start are built with the tests of
/// their packages, before any of them runs: a build of their own would have other features, and compile much again.
pub(crate) fn test(args: &[String]) -> Outcome {
    machine::for_tests()?;
    let args = args.iter().map(String::as_str);
    let cargo = |subcommand| Step::cargo(subcommand).env("SLUICE_TEST_BINARIES", target_dir().join("debug"));
    if have("cargo-nextest") {
        cargo("nextest").args(["run", "--workspace", "--no-fail-fast"]).args(args).run()?;
        cargo("test").args(["--workspace", "--doc"]).run()
    } else {
        cargo("test").args(["--workspace", "--no-fail-fast"]).args(args).run()
    }
}

/// All that a change must pass, the cheap checks first.
pub(crate) fn ci() -> Outcome {
    machine::for_tests()?;
    rustfmt(&["--check"])?;
    test(&[])?;
    rules()?;
    clippy()?;
    docs()?;
    dependencies()?;
    fuzz::run(&[])
}

/// The lints alone.
pub(crate) fn lint() -> Outcome {
    machine::for_build()?;
    rustfmt(&["--check"])?;
    clippy()?;
    docs()
}

/// Formats the code, and the rules once `rulec` is built.
pub(crate) fn format() -> Outcome {
    rustfmt(&[])?;
    if root().join("rules").is_dir() { rulec(&["fmt", "rules"]) } else { Ok(()) }
}

/// Documentation of the public interfaces; a broken link is an error.
pub(crate) fn docs() -> Outcome {
    machine::for_build()?;
    Step::cargo("doc").args(["--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Accepts the output of golden tests as it is now.
pub(crate) fn bless() -> Outcome {
    machine::for_build()?;
    let test = Step::cargo("test").args(["--workspace", "--exclude", "sluice-tests"]);
    test.env("INSTA_UPDATE", "always").env("BLESS", "1").run()
}

/// Of the workspace, and of the fuzz targets, which are one of their own.
fn rustfmt(args: &[&str]) -> Outcome {
    for workspace in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let fmt = Step::cargo("fmt").args(["--all", "--manifest-path", workspace]);
        fmt.args(args.iter().copied()).run()?;
    }
    Ok(())
}

/// With the features that a build has unless told, and with none of them.
fn clippy() -> Outcome {
    let all: [&[&str]; 2] = [&[], &["--no-default-features"]];
    all.into_iter().try_for_each(|features| {
        let clippy = Step::cargo("clippy").args(["--workspace", "--all-targets", "--quiet"]);
        clippy.args(features.iter().copied()).args(["--", "-D", "warnings"]).run()
    })
}

/// The standard packs are checked and proven like anybody's rules.
fn rules() -> Outcome {
    if !root().join("rules").is_dir() {
        return skipped("rules", "there is no rules/ folder");
    }
    rulec(&["fmt", "--check", "rules", "examples"])?;
    rulec(&["check", "rules", "examples"])?;
    rulec(&["test", "rules", "examples"])
}

fn rulec(args: &[&str]) -> Outcome {
    let built = target_dir().join("debug/rulec");
    if !built.is_file() {
        Step::cargo("build").args(["--package", "sluice-dsl", "--bins"]).run()?;
        // Said to the end-to-end tests, which would build them else.
    }
    Step::new(built).args(args.iter().copied()).run()
}

/// Licences, bans and sources; advisories are read from a database that only a network can bring.
fn dependencies() -> Outcome {
    if !have("cargo-deny") {
        return skipped("cargo-deny", "it isn't installed");
    }
    Step::cargo("deny").args(["--all-features", "check", "licenses", "bans", "sources"]).run()?;
    let database = std::env::var_os("CARGO_HOME").map(|home| Path::new(&home).join("advisory-dbs"));
    if database.is_some_and(|path| path.is_dir()) {
        return Step::cargo("deny").args(["check", "--disable-fetch", "advisories"]).run();
    }
    skipped("advisories", "no advisory database on this machine")
}

pub(crate) fn skipped(what: &str, why: &str) -> Outcome {
    eprintln!("\n! NOT RUN: {what}: {why}");
    Ok(())
}
