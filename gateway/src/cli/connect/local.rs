//! Local programs over TCP: each connection of theirs is a session.

use std::time::Duration;

use sluice_client::{pump, wire::Code};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{Outcome, Wanted};

/// Where the system ran out of something, connections are taken again after this time.
const REST: Duration = Duration::from_millis(100);

/// Never ends by itself.
pub(super) async fn run(wanted: Wanted, listener: TcpListener) -> Outcome {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(serve(wanted.clone(), socket))),
            Err(error) => {
                eprintln!("sluice: a connection can't be taken: {error}");
                sleep(REST).await;
            }
        }
    }
}

async fn serve(wanted: Wanted, socket: TcpStream) {
    let channel = match wanted.open().await {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("sluice: {}: {error}", wanted.connection);
            let _ = socket.set_zero_linger();
            return;
        }
    };
    let (reader, writer, keep) = channel.split();
    if let Err(error) = pump(socket, (reader, writer), Code::Ended).await {
        let code = sluice_client::stream::code_of(&error);
        tracing::debug!(%error, "a session broke off");
        if let Some(code @ (Code::Blocked | Code::Expired | Code::Evidence | Code::Busy)) = code {
            eprintln!("sluice: {}: the session was broken off: {code}", wanted.connection);
        }
    }
    drop(keep);
}
