//! Local programs over TCP: each connection of theirs is a session.

use std::{io, time::Duration};

use bytes::BytesMut;
use sluice_client::{
    stream::{Reader, Writer},
    wire::Code,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::sleep,
};

use super::{Outcome, Wanted};

/// The most that is read in one go, in bytes.
const PIECE: usize = 32 * 1024;
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
    // However this ends, what breaks off must not look like an end: closed in order is what ends in order.
    let _ = socket.set_zero_linger();
    let _ = socket.set_nodelay(true);
    let (mut from_local, mut to_local) = socket.into_split();
    let (mut reader, mut writer, keep) = channel.split();
    let done = tokio::try_join!(up(&mut from_local, &mut writer), down(&mut reader, &mut to_local));
    if let Err(error) = &done {
        let code = sluice_client::stream::code_of(error);
        tracing::debug!(%error, "a session broke off");
        if let Some(code @ (Code::Blocked | Code::Expired | Code::Evidence | Code::Busy)) = code {
            eprintln!("sluice: {}: the session was broken off: {code}", wanted.connection);
        }
        writer.reset(Code::Ended);
        reader.stop(Code::Ended);
    } else {
        let _ = SockRef::from(to_local.as_ref()).set_linger(None);
    }
    // Dropped as it is, a half says that it has ended.
    to_local.forget();
    drop(keep);
}

/// What a side that takes no more says is still to be heard: its end, or its error, is told by the other direction.
async fn up(local: &mut OwnedReadHalf, writer: &mut Writer) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let taken = match local.read_buf(&mut buffer).await? {
            0 => {
                let _ = writer.shutdown().await;
                return Ok(());
            }
            _ => writer.send(buffer.split().freeze()).await,
        };
        if taken.is_err() {
            return Ok(());
        }
    }
}

async fn down(reader: &mut Reader, local: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(bytes) = reader.next().await? {
        local.write_all(&bytes).await?;
    }
    match local.shutdown().await {
        // It has gone already, with all that there was.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        done => done,
    }
}
