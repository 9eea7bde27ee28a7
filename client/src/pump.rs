//! Bytes both ways between a socket of this machine and a stream of the gateway.

use std::io;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    stream::{Reader, Writer},
    wire::Code,
};

/// The most that is read in one go, in bytes.
const PIECE: usize = 32 * 1024;

/// Carries bytes until both sides have ended. What ends in order is closed in order; whatever breaks off is a reset on the other
/// side, of the stream with `code`, so that nobody takes a part for the whole.
///
/// # Errors
///
/// One side broke off; [`code_of`](crate::stream::code_of) may say why.
pub async fn pump(socket: TcpStream, (mut reader, mut writer): (Reader, Writer), code: Code) -> io::Result<()> {
    // However this ends, also by the end of the process: closed in order is what ends in order.
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    let (mut from_socket, mut to_socket) = socket.into_split();
    let done = tokio::try_join!(up(&mut from_socket, &mut writer), down(&mut reader, &mut to_socket));
    match &done {
        Ok(_) => {
            let _ = SockRef::from(to_socket.as_ref()).set_linger(None);
        }
        Err(_) => {
            writer.reset(code);
            reader.stop(code);
        }
    }
    // Dropped as it is, a half says that it has ended.
    to_socket.forget();
    done.map(drop)
}

/// What a side that takes no more says is still to be heard: its end, or its error, is told by the other direction.
async fn up(socket: &mut OwnedReadHalf, writer: &mut Writer) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let taken = match socket.read_buf(&mut buffer).await? {
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

async fn down(reader: &mut Reader, socket: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(bytes) = reader.next().await? {
        socket.write_all(&bytes).await?;
    }
    match socket.shutdown().await {
        // It has gone already, with all that there was.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        done => done,
    }
}
