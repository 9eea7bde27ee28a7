//! Contributor commands: one for each thing a contributor does. `cargo xtask help` lists them.

mod checks;
mod fuzz;
mod machine;
mod peers;
mod shell;

use std::process::ExitCode;

use shell::{Outcome, Step};

const HELP: &str = "\
usage: cargo xtask COMMAND [ARG…]

  run [ARG…]   install what the build needs, then build for release and start the gateway: `sluice serve ARG…`
  setup        install what the build and the tests need: system packages, Node and Python clients
  test [ARG…]  setup, build, then every test of the workspace; ARG… goes to the test runner
  ci           all that a change must pass: tests, format, lints, documentation, dependencies, rules, fuzzing
  fmt          format the code and the rules
  lint         format check, lints and documentation, without tests
  docs         build the documentation of the public interfaces
  fuzz [--minutes N] [TARGET…]
               replay what fuzzing once found, then fuzz the targets (all unless told), N minutes each (10 seconds unless told)
  bench [ARG…] measure the inspector beside its peers; `bench -- --help` lists what ARG… can be
  wire [ARG…]  measure connections beside HAProxy, PgBouncer and quinn; `wire --help` lists what ARG… can be
  bless        accept what golden tests print now
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".into());
    let rest: Vec<String> = args.collect();
    match dispatch(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[String]) -> Outcome {
    match command {
        "run" => run(rest),
        "setup" => machine::for_tests(),
        "test" => checks::test(rest),
        "ci" => checks::ci(),
        "fmt" => checks::format(),
        "lint" => checks::lint(),
        "docs" => checks::docs(),
        "fuzz" => fuzz::run(rest),
        "bench" => bench(rest),
        "wire" => wire(rest),
        "bless" => checks::bless(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => {
            eprint!("{HELP}");
            Err(format!("no command `{other}`"))
        }
    }
}

/// Builds for release and becomes the gateway.
fn run(rest: &[String]) -> Outcome {
    machine::for_build()?;
    Step::cargo("run")
        .args(["--release", "--package", "sluice-gateway", "--bin", "sluice", "--", "serve"])
        .args(rest.iter().map(String::as_str))
        .replace()
}

/// Builds the benches for release and becomes them.
fn bench(rest: &[String]) -> Outcome {
    let peers = peers::fetch();
    Step::cargo("run")
        .args(["--release", "--package", "sluice-benches", "--bin", "throughput", "--", "--peers"])
        .args([&*peers.to_string_lossy()])
        .args(rest.iter().map(String::as_str).filter(|arg| *arg != "--"))
        .replace()
}

/// Builds the gateway and the bench for release, and becomes the bench.
fn wire(rest: &[String]) -> Outcome {
    machine::for_wire()?;
    Step::cargo("build").args(["--release", "--package", "sluice-gateway", "--bin", "sluice"]).run()?;
    Step::cargo("run")
        .env("SLUICE_TEST_BINARIES", shell::target_dir().join("release"))
        .args(["--release", "--package", "sluice-benches", "--bin", "wire", "--"])
        .args(rest.iter().map(String::as_str).filter(|arg| *arg != "--"))
        .replace()
}
