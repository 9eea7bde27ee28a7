//! `sluice connect`: a connection of a gateway, opened to local programs.

mod bridge;
mod calls;
mod local;
mod pipe;
mod tokens;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use rustls::RootCertStore;
use serde_json::json;
use sluice_client::{
    Choice, OpenError, Settings, Tunnel,
    wire::{Carries, ConnectionName},
};
use tokio::net::TcpListener;

use super::{Outcome, failed, stop_signal};
use crate::{
    config::{DEFAULT_TUNNEL, data_dir},
    tls::{Authorities, LOCAL_CERTIFICATE},
};
use tokens::Source;

/// What this program calls itself in the gateway's record.
const CLIENT: &str = concat!("sluice connect ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// The connection's name.
    #[arg(value_parser = name)]
    connection: ConnectionName,
    /// Listen here for local programs; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS", value_parser = super::address, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Let other machines use `--listen`, with this user's token.
    #[arg(long, requires = "listen")]
    expose: bool,
    /// Speak on standard input and output instead, as a command of an MCP client.
    #[arg(long, conflicts_with_all = ["listen", "expose"])]
    stdio: bool,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The gateway: a name or an address, and a port (default: $SLUICE_GATEWAY, else this machine's).
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// The name that the gateway's certificate is for, where that isn't the one in `--gateway`.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The authorities that vouch for the gateway, in PEM (default: the web's; for this machine's own gateway its certificate).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Which way to take.
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    transport: Way,
    #[command(flatten)]
    token: tokens::TokenArgs,
    /// The data directory of this machine's own gateway (default: $SLUICE_DATA, else .sluice).
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Write an object with the address and the way taken.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Way {
    /// QUIC, and TLS over TCP where UDP is blocked.
    Auto,
    /// QUIC alone.
    Quic,
    /// TLS over TCP alone.
    Tls,
}

fn name(text: &str) -> Result<ConnectionName, String> {
    ConnectionName::new(text).ok_or_else(|| "a connection's name is 1 to 64 of A-Z, a-z, 0-9, `-` and `_`".to_owned())
}

/// What is opened, and for what.
#[derive(Clone)]
struct Wanted {
    tunnel: Tunnel,
    connection: ConnectionName,
    purpose: Option<String>,
}

impl Wanted {
    async fn open(&self) -> Result<sluice_client::Channel, OpenError> {
        self.tunnel.open(&self.connection, self.purpose.as_deref()).await
    }
}

pub(super) async fn connect(arguments: ConnectArgs) -> Outcome {
    let wanted = match prepare(&arguments) {
        Ok(wanted) => wanted,
        Err(reason) => return failed(&reason),
    };
    let tunnel = wanted.tunnel.clone();
    let telling = tokio::spawn(tell(tunnel.clone(), arguments.connection.clone()));
    let outcome = tokio::select! {
        outcome = serve(wanted, &arguments) => outcome,
        stopped = stop_signal() => match stopped {
            Ok(()) => Outcome::Clean,
            Err(error) => failed(&error),
        },
    };
    telling.abort();
    tunnel.close().await;
    outcome
}

async fn serve(wanted: Wanted, arguments: &ConnectArgs) -> Outcome {
    if arguments.stdio {
        // The first session tells at once whether it may be, and what it carries.
        return match wanted.open().await {
            Ok(channel) if channel.carries() == Carries::Bytes => pipe::run(channel).await,
            Ok(channel) => bridge::run(wanted, channel).await,
            Err(error) => failed(&error),
        };
    }
    let listener = match TcpListener::bind(arguments.listen).await {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("can't listen on {}: {error}", arguments.listen)),
    };
    let address = listener.local_addr().unwrap_or(arguments.listen);
    let transport = wanted.tunnel.connect().await;
    if let Err(error) = &transport {
        eprintln!("sluice: {error}; trying again when somebody connects");
    }
    if arguments.json {
        let transport = transport.ok().map(|transport| transport.to_string());
        println!("{}", json!({ "listening": address.to_string(), "transport": transport }));
    } else {
        println!("listening on {address}");
    }
    local::run(wanted, listener).await
}

fn prepare(arguments: &ConnectArgs) -> Result<Wanted, String> {
    if !arguments.listen.ip().is_loopback() && !arguments.expose {
        return Err(format!(
            "whoever reaches {} acts with your token; say `--expose` if that is meant, or listen on 127.0.0.1",
            arguments.listen
        ));
    }
    let data = arguments.data.clone().unwrap_or_else(data_dir);
    let configured = arguments.gateway.clone().or_else(|| std::env::var("SLUICE_GATEWAY").ok());
    let is_own = configured.is_none();
    let gateway = configured.unwrap_or_else(|| DEFAULT_TUNNEL.to_string());
    let mut settings = Settings::new(gateway, Source::new(&arguments.token, &data)?);
    settings.roots = roots(arguments, &data, is_own)?;
    settings.server_name.clone_from(&arguments.server_name);
    settings.client = Some(CLIENT.to_owned());
    settings.choice = match arguments.transport {
        Way::Auto => Choice::Auto,
        Way::Quic => Choice::Quic,
        Way::Tls => Choice::Tls,
    };
    let tunnel = Tunnel::new(settings).map_err(|error| error.to_string())?;
    Ok(Wanted { tunnel, connection: arguments.connection.clone(), purpose: arguments.purpose.clone() })
}

fn roots(arguments: &ConnectArgs, data: &std::path::Path, is_own: bool) -> Result<Option<Arc<RootCertStore>>, String> {
    let own = data.join(LOCAL_CERTIFICATE);
    let file = match &arguments.ca {
        Some(file) => file,
        None if is_own && own.exists() => &own,
        None => return Ok(None),
    };
    Authorities::read(file).map(|read| Some(read.roots())).map_err(|error| format!("{} {error}", file.display()))
}

/// Says which way is taken, each time that it is another one.
async fn tell(tunnel: Tunnel, connection: ConnectionName) {
    let mut transport = tunnel.transport();
    while transport.changed().await.is_ok() {
        let now = *transport.borrow_and_update();
        match now {
            Some(transport) => eprintln!("sluice: {connection} by {transport}"),
            None => eprintln!("sluice: {connection}: the connection to the gateway was lost"),
        }
    }
}
