//! What an idle connection costs the gateway in memory.

use std::time::Duration;

use sluice_client::Fixed;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{name, settings};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Options;

/// Connections that open at once.
const AT_ONCE: usize = 64;

pub(crate) async fn measure(options: &Options) {
    let target = Target::start(|mut socket, _| async move {
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    })
    .await;
    let sluice = crate::tcp::gateway(Rules::Standard, target.address).await;
    let address = sluice.listener("bytes");
    let before = sluice.memory();
    let mut held = Vec::new();
    while held.len() < options.idle_tcp {
        let some = (0..AT_ONCE).map(|_| async move {
            // Heard by the target, so that all of it is open.
            let mut socket = TcpStream::connect(address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, b"x\n").await.unwrap();
            socket
        });
        held.extend(futures_util::future::join_all(some).await);
    }
    sleep(Duration::from_secs(5)).await;
    say("TCP", held.len(), before, sluice.memory());
    held.clear();
    drop(sluice);

    let limits = "connections_per_identity = 100000\nconnections_per_address = 100000\nstreams_per_identity = 100000\nhandshakes = 4096";
    let sluice = Sluice::new()
        .rules(Rules::Standard)
        .connection("bytes", Upstream::Tcp(target.address))
        .tunnel(limits)
        .start()
        .await;
    let token = sluice.token("bench@example.org", &[]).await;
    let before = sluice.memory();
    let mut held = Vec::new();
    while held.len() < options.idle_quic {
        let some = (0..AT_ONCE / 4).map(|_| {
            let settings = settings(&sluice, &sluice.tunnel, Fixed::new(token.clone()));
            async move { sluice_client::Tunnel::new(settings).unwrap().open(&name("bytes"), None).await.unwrap() }
        });
        held.extend(futures_util::future::join_all(some).await);
    }
    sleep(Duration::from_secs(5)).await;
    say("QUIC", held.len(), before, sluice.memory());
}

fn say(kind: &str, count: usize, before: u64, after: u64) {
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!(
        "| idle {kind} connections: {count} | {each:.1} KiB each | ({} MiB before, {} MiB after) | |",
        before >> 10,
        after >> 10
    );
}
