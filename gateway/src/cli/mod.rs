//! The command line of `sluice`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod access;
mod agent;
mod api;
mod approvals;
mod certificate;
mod config;
mod connect;
mod evidence;
mod gateway;
mod login;
mod serve;
mod service_token;
mod sessions;
mod store;
mod token;
mod tokens;

pub(crate) use sessions::print_record;

/// What the command did; the exit code says it: 0, 1, 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Clean,
    /// It was done and found something wrong.
    Findings,
    /// It could not be done.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Clean => 0,
            Outcome::Findings => 1,
            Outcome::Failed => 2,
        })
    }
}

/// A gateway between identities and the systems that hold personal data.
#[derive(Debug, Parser)]
#[command(name = "sluice", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; without a configuration: development mode, on this machine only.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Listen here instead; port 0 lets the system choose.
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        listen: Option<SocketAddr>,
        /// Listen for agents here instead: UDP and TCP.
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        tunnel: Option<SocketAddr>,
    },
    /// Open a connection of a gateway to local programs.
    Connect(connect::ConnectArgs),
    /// Serve targets of this network through a gateway, without listening anywhere.
    Agent(agent::AgentArgs),
    /// Show on a bundled server what the gateway does.
    Demo,
    /// Log in at an issuer: through the browser, or with a code on another device.
    Login(login::LoginArgs),
    /// Forget a login, and have the issuer take its tokens back.
    Logout(login::LogoutArgs),
    /// Show who is logged in, where, and until when.
    Whoami(login::WhoamiArgs),
    /// Sign a token of the development issuer.
    Token(token::TokenArgs),
    /// Read the recorded sessions; list and end those that are live.
    Sessions(sessions::SessionsArgs),
    /// Verify the evidence by its public key, and prove what is in it.
    Evidence(evidence::EvidenceArgs),
    /// Issue, list and revoke tokens of a gateway's own, for programs without an issuer.
    ServiceToken(service_token::ServiceTokenArgs),
    /// See what waits for an approval, and decide about it.
    Approvals(approvals::ApprovalsArgs),
    /// Say who may open a connection, and which rules hold then.
    Access(access::AccessArgs),
    /// Work with configuration files.
    Config(config::ConfigArgs),
    /// The bundled MCP server with invented customers, on standard input and output.
    #[command(hide = true)]
    DemoServer,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port, such as 127.0.0.1:7700 or [::1]:7700".to_owned())
}

/// Runs the command; messages go to standard error, results to standard output.
pub async fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Serve { config, listen, tunnel } => serve::serve(config.as_deref(), listen, tunnel).await,
        Command::Connect(arguments) => connect::connect(arguments).await,
        Command::Agent(arguments) => agent::agent(arguments).await,
        Command::Demo => crate::demo::run().await,
        Command::Login(arguments) => login::login(arguments).await,
        Command::Logout(arguments) => login::logout(arguments).await,
        Command::Whoami(arguments) => login::whoami(&arguments),
        Command::Token(arguments) => token::token(&arguments),
        Command::Sessions(arguments) => sessions::sessions(&arguments).await,
        Command::Evidence(arguments) => evidence::evidence(&arguments),
        Command::ServiceToken(arguments) => service_token::service_token(&arguments).await,
        Command::Approvals(arguments) => approvals::approvals(&arguments).await,
        Command::Access(arguments) => access::access(&arguments),
        Command::Config(arguments) => config::config(&arguments),
        Command::DemoServer => crate::demo::server::run().await,
    }
}

/// Text of others for a terminal: without control characters, which could rewrite what is on the screen.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Says why a command failed.
pub(crate) fn failed(error: &dyn std::fmt::Display) -> Outcome {
    eprintln!("sluice: {error}");
    Outcome::Failed
}

/// Resolves when the program is asked to end.
#[cfg(unix)]
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Resolves when the program is asked to end.
#[cfg(not(unix))]
async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
