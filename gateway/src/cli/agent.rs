//! `sluice agent`: targets of this network, served through a gateway that is dialled from here.

use std::io::Write as _;

use clap::Args;
use sluice_client::{Event, Service, Targets, wire::ConnectionName};

use super::{
    Outcome, failed,
    gateway::{GatewayArgs, name},
    stop_signal,
};

/// What this program calls itself to the gateway.
const CLIENT: &str = concat!("sluice agent ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// Serve this target as the gateway's connection NAME; may be given several times.
    #[arg(long, value_name = "NAME=HOST:PORT", value_parser = target, required = true)]
    serve: Vec<(ConnectionName, String)>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

fn target(text: &str) -> Result<(ConnectionName, String), String> {
    let (connection, address) =
        text.split_once('=').ok_or("a target is NAME=HOST:PORT, such as ledger=127.0.0.1:6379")?;
    let port =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok((name(connection)?, address.to_owned())),
        _ => Err(format!("`{address}` is no name or address with a port, such as 127.0.0.1:6379")),
    }
}

pub(super) async fn agent(arguments: AgentArgs) -> Outcome {
    let count = arguments.serve.len();
    let targets: Targets = arguments.serve.into_iter().collect();
    if targets.len() < count {
        return failed(&"a connection is served twice; an agent has one target for each");
    }
    let names: Vec<&str> = targets.keys().map(ConnectionName::as_str).collect();
    let service = arguments
        .gateway
        .settings(CLIENT, &names)
        .and_then(|settings| Service::new(settings, targets.clone()).map_err(|error| error.to_string()));
    let service = match service {
        Ok(service) => service,
        Err(reason) => return failed(&reason),
    };
    let names = names.join(", ");
    let tell = |event| match event {
        // Whoever reads no more has heard enough: the targets are served all the same.
        Event::Serving => drop(writeln!(std::io::stdout(), "serving {names}")),
        Event::Lost(reason) => eprintln!("sluice: the gateway is lost: {reason}; trying again"),
    };
    tokio::select! {
        error = service.run(tell) => failed(&error),
        stopped = stop_signal() => match stopped {
            Ok(()) => Outcome::Clean,
            Err(error) => failed(&error),
        },
    }
}
