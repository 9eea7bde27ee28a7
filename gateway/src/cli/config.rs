//! `sluice config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use crate::{config::load, serve::check_rules};

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say everything that is wrong with a configuration and the rules it names.
    Check {
        /// The file.
        #[arg(default_value = "sluice.toml")]
        file: PathBuf,
        /// Write an object with the problems.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn config(arguments: &ConfigArgs) -> Outcome {
    let ConfigCommand::Check { file, json } = &arguments.command;
    let errors = match load(file) {
        Ok(config) => match check_rules(&config) {
            Ok(()) if *json => {
                println!("{}", json!({ "file": file, "problems": [] }));
                return Outcome::Clean;
            }
            Ok(()) => {
                let (issuers, connections) = (config.issuers.len(), config.connections.len());
                println!("{}: good ({connections} connections, {issuers} issuers)", file.display());
                return Outcome::Clean;
            }
            Err(error) if *json => {
                println!("{}", json!({ "file": file, "problems": [{ "message": error.to_string() }] }));
                return Outcome::Findings;
            }
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return Outcome::Findings;
            }
        },
        Err(errors) => errors,
    };
    if *json {
        let problems: Vec<_> = errors
            .problems
            .iter()
            .map(|at| json!({ "line": at.line, "column": at.column, "message": at.message }))
            .collect();
        println!("{}", json!({ "file": errors.file, "problems": problems }));
    } else {
        eprintln!("{errors}");
    }
    if errors.unreadable { Outcome::Failed } else { Outcome::Findings }
}
