//! The binary `sluice`.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use sluice_gateway::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colors = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_ansi(colors).with_env_filter(filter);
    // PostgreSQL's parser points file descriptor 2 elsewhere while it parses; the log goes to the same place by a
    // descriptor of its own, so that no line is lost.
    match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => log.with_writer(Arc::new(File::from(stderr))).init(),
        Err(_) => log.with_writer(std::io::stderr).init(),
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .enable_all()
        .thread_stack_size(sluice_dsl::sql::STACK)
        .on_thread_start(sluice_dsl::sql::parse_on_this_thread);
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sluice: the runtime can't be started: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(run(cli));
    // Tasks that still run at the end have had their time to drain.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome.into()
}
