//! Where `sluice connect` and `sluice agent` get their tokens: a file, a command, the environment, this machine's own issuer, or a login.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    time::Duration,
};

use clap::Args;
use sluice_client::{TokenError, Tokens};
use tokio::process::Command;

use super::login::{Kept, Meant};
use crate::identity::dev::{DEV_AUDIENCE, DevIssuer, TokenRequest};

/// The variable with a token.
const VARIABLE: &str = "SLUICE_TOKEN";
/// How long a token's command may take.
const COMMAND: Duration = Duration::from_secs(30);
/// How long a token of this machine's own issuer counts; a newer one is made in time.
const OWN: Duration = Duration::from_secs(10 * 60);
/// The longest file of a token, in bytes.
const MAX: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct TokenArgs {
    /// A file with the token; read again whenever one is needed.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A command that writes a token; run whenever one is needed (default: the token in $SLUICE_TOKEN).
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// Development: act as this user; `USER` or `USER:GROUP,GROUP`.
    #[arg(long, value_name = "USER[:GROUPS]")]
    user: Option<String>,
    /// The login at this issuer (default: the one that is for the gateway, where there is no token in $SLUICE_TOKEN).
    #[arg(long, value_name = "ISSUER")]
    login: Option<String>,
}

impl TokenArgs {
    /// One of them was said.
    pub(super) fn is_given(&self) -> bool {
        self.token_file.is_some() || self.token_command.is_some() || self.user.is_some() || self.login.is_some()
    }
}

/// Where tokens come from.
pub(super) enum Source {
    File(PathBuf),
    Command(String),
    Fixed(String),
    /// The development issuer.
    Own {
        data: PathBuf,
        user: String,
        groups: Vec<String>,
    },
    /// A login.
    Login(Box<Kept>),
}

impl Source {
    /// What the arguments name, else the environment's token, else the login that is for these connections of this gateway.
    ///
    /// # Errors
    ///
    /// There is none, or it can't be told which login is meant.
    pub(super) fn new(arguments: &TokenArgs, data: &Path, gateway: &str, connections: &[&str]) -> Result<Self, String> {
        if let Some(file) = &arguments.token_file {
            return Ok(Self::File(file.clone()));
        }
        if let Some(command) = &arguments.token_command {
            return Ok(Self::Command(command.clone()));
        }
        if let Some(user) = &arguments.user {
            let (user, groups) = user.split_once(':').unwrap_or((user, ""));
            let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
            return Ok(Self::Own { data: data.to_owned(), user: user.to_owned(), groups });
        }
        let issuer = arguments.login.as_deref();
        if issuer.is_none()
            && let Ok(token) = std::env::var(VARIABLE)
        {
            return Ok(Self::Fixed(token.trim().to_owned()));
        }
        match (Kept::find(&Meant { issuer, gateway, connections })?, issuer) {
            (Some(login), _) => Ok(Self::Login(Box::new(login))),
            (None, Some(issuer)) => Err(format!(
                "nobody is logged in at {issuer} for this gateway and connection: run `sluice login`; `sluice whoami` shows who is"
            )),
            (None, None) => Err(format!(
                "there is no token: run `sluice login`, set {VARIABLE}, or say `--token-file FILE`, `--token-command COMMAND`, or \
                 for this machine's own gateway `--user NAME`"
            )),
        }
    }

    async fn get(&self) -> Result<String, String> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Login(login) => login.token().await,
            Self::File(file) => {
                let failed = |error: std::io::Error| format!("{}: {error}", file.display());
                if tokio::fs::metadata(file).await.map_err(failed)?.len() > MAX {
                    return Err(format!("{} is too long for a token", file.display()));
                }
                tokio::fs::read_to_string(file).await.map_err(failed)
            }
            Self::Command(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
                let output = tokio::time::timeout(COMMAND, shell.output()).await;
                let output = output
                    .map_err(|_| "the command took too long".to_owned())?
                    .map_err(|error| format!("the command can't be run: {error}"))?;
                if !output.status.success() {
                    return Err(format!("the command failed: {}", output.status));
                }
                String::from_utf8(output.stdout).map_err(|_| "the command wrote no text".to_owned())
            }
            Self::Own { data, user, groups } => {
                let request = TokenRequest {
                    user: user.clone(),
                    groups: groups.clone(),
                    ttl: OWN,
                    audience: DEV_AUDIENCE.to_owned(),
                    service: false,
                };
                DevIssuer::open(data).and_then(|issuer| issuer.sign(&request)).map_err(|error| error.to_string())
            }
        }
    }
}

impl Tokens for Source {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + '_>> {
        Box::pin(async { self.get().await.map(|token| token.trim().to_owned()).map_err(TokenError) })
    }
}
