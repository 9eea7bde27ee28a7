//! `sluice token`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{Outcome, failed};
use crate::{
    config::{data_dir, parse_duration},
    identity::dev::{DEV_AUDIENCE, DevIssuer, TokenRequest},
};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Who the token is for.
    #[arg(long)]
    user: String,
    /// A group of theirs; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// How long it is valid.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// What it is for.
    #[arg(long, default_value = DEV_AUDIENCE)]
    audience: String,
    /// It is a machine's.
    #[arg(long)]
    service: bool,
    /// The data directory of the gateway (default: $SLUICE_DATA, else .sluice).
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Write an object with the token and its lifetime in seconds.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a duration such as 30s, 15m or 1h".to_owned())
}

pub(super) fn token(arguments: &TokenArgs) -> Outcome {
    let data = arguments.data.clone().unwrap_or_else(data_dir);
    let request = TokenRequest {
        user: arguments.user.clone(),
        groups: arguments.groups.clone(),
        ttl: arguments.ttl,
        audience: arguments.audience.clone(),
        service: arguments.service,
    };
    match DevIssuer::open(&data).and_then(|issuer| issuer.sign(&request)) {
        Ok(token) if arguments.json => {
            println!("{}", serde_json::json!({ "access_token": token, "expires_in": arguments.ttl.as_secs() }));
            Outcome::Clean
        }
        Ok(token) => {
            println!("{token}");
            Outcome::Clean
        }
        Err(error) => failed(&error),
    }
}
