//! `sluice serve`.

use std::{net::SocketAddr, path::Path};

use tokio_util::sync::CancellationToken;

use super::{Outcome, failed, stop_signal};
use crate::config::{Config, data_dir, load};

pub(super) async fn serve(file: Option<&Path>, listen: Option<SocketAddr>, tunnel: Option<SocketAddr>) -> Outcome {
    let loaded = match file {
        Some(file) => load(file).map_err(|errors| match errors.unreadable {
            true => format!("{errors}\nname another file, or leave `--config` out for development mode"),
            false => format!("the configuration can't be used:\n{errors}"),
        }),
        None => Config::development(&data_dir()).map_err(|error| error.to_string()),
    };
    let mut config = match loaded {
        Ok(config) => config,
        Err(errors) => return failed(&errors),
    };
    if let Some(listen) = listen {
        config.listen = listen;
        if let (Some(_), Some(agents)) = (&config.dev, &mut config.tunnel) {
            // Two gateways for development don't meet: agents connect to the next port, or any where any will do.
            agents.listen =
                SocketAddr::new(listen.ip(), if listen.port() == 0 { 0 } else { listen.port().wrapping_add(1) });
        }
    }
    match (tunnel, &mut config.tunnel) {
        (Some(address), Some(tunnel)) => tunnel.listen = address,
        (Some(_), None) => return failed(&"`--tunnel` goes with a configuration that has `[tunnel]`"),
        (None, _) => {}
    }
    if let Some(dev) = &config.dev {
        eprintln!(
            "sluice: DEVELOPMENT MODE, for this machine only: whoever can read {} can make tokens.\n\
             sluice: get one with `sluice token --user alice --group dev`; for real use give `--config sluice.toml`.",
            dev.data.display()
        );
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let signals = tokio::spawn(async move {
        match stop_signal().await {
            Ok(()) => tracing::info!("stopping; a second signal stops at once"),
            Err(error) => tracing::error!(%error, "signals can't be received"),
        }
        stop.cancel();
        // The impatient second signal: nothing acknowledged is lost, sessions stay open on record.
        if stop_signal().await.is_ok() {
            std::process::exit(130);
        }
    });
    let served = crate::serve::run(config, shutdown, |bound| {
        if let Some(agents) = bound.agents {
            println!("agents connect to {agents} (QUIC, and TLS over TCP)");
        }
        for (address, connection) in bound.listeners {
            println!("clients of {connection} connect to {address}");
        }
        println!("listening on {}://{}", bound.scheme, bound.http);
        if let Some(postgres) = bound.postgres {
            println!("listening on postgres://{postgres}");
        }
    })
    .await;
    signals.abort();
    match served {
        Ok(()) => Outcome::Clean,
        Err(error) => failed(&error),
    }
}
