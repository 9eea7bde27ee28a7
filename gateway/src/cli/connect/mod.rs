//! `sluice connect`: a connection of a gateway, opened to local programs.

mod bridge;
mod calls;
mod local;
mod pipe;

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use serde_json::json;
use sluice_client::{
    Choice, OpenError, Tunnel,
    wire::{Carries, ConnectionName},
};
use tokio::net::TcpListener;

use super::{
    Outcome, failed,
    gateway::{GatewayArgs, name},
    stop_signal,
};

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
    /// Which way to take.
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    transport: Way,
    #[command(flatten)]
    gateway: GatewayArgs,
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
    let mut settings = arguments.gateway.settings(CLIENT, &[arguments.connection.as_str()])?;
    settings.choice = match arguments.transport {
        Way::Auto => Choice::Auto,
        Way::Quic => Choice::Quic,
        Way::Tls => Choice::Tls,
    };
    let tunnel = Tunnel::new(settings).map_err(|error| error.to_string())?;
    Ok(Wanted { tunnel, connection: arguments.connection.clone(), purpose: arguments.purpose.clone() })
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
