//! Both ends of a session of bytes: streams of agents, and sockets, whose end can't be mistaken either.

use std::{
    future::{pending, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    task::{Poll, ready},
};

use bytes::{Bytes, BytesMut};
use sluice_client::{
    stream::{Reader, Writer},
    wire::Code,
};
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::io::poll_read_buf;

/// The most that is read in one go, in bytes.
pub(super) const PIECE: usize = 64 * 1024;
/// Where less than this came last, less is asked for.
pub(super) const SMALL: usize = 8 * 1024;

/// Bytes come from here; `next` loses nothing when it is dropped.
pub(crate) trait Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>>;
    /// Nothing more is taken, for this reason.
    fn stop(&mut self, code: Code);
    /// The socket, where nothing lies between it and the bytes.
    fn socket(&mut self) -> Option<&mut Incoming>;
}

impl Source for Reader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Self::next(self).await
    }
    fn stop(&mut self, code: Code) {
        Self::stop(self, code);
    }
    fn socket(&mut self) -> Option<&mut Incoming> {
        None
    }
}

/// Bytes of a socket.
pub(crate) struct Incoming {
    pub(super) half: OwnedReadHalf,
    /// How much is asked for next.
    size: usize,
}

impl Incoming {
    fn new(half: OwnedReadHalf) -> Self {
        Self { half, size: SMALL }
    }
}

impl Source for Incoming {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|context| {
            // Waiting holds no memory.
            ready!(self.half.as_ref().poll_read_ready(context))?;
            let mut buffer = BytesMut::with_capacity(self.size);
            let read = ready!(poll_read_buf(Pin::new(&mut self.half), context, &mut buffer))?;
            self.size = if read == self.size { PIECE } else { read.clamp(SMALL, self.size) };
            Poll::Ready(Ok((read > 0).then(|| buffer.freeze())))
        })
        .await
    }
    fn stop(&mut self, _: Code) {}
    fn socket(&mut self) -> Option<&mut Incoming> {
        Some(self)
    }
}

/// Bytes go there.
pub(crate) trait Target {
    /// Sends the pieces one after the other, none of them copied where that is possible; what is left in them has no meaning.
    async fn send(&mut self, pieces: &mut [Bytes]) -> io::Result<()>;
    /// No more comes.
    async fn end(&mut self) -> io::Result<()>;
    /// Breaks it off, for this reason.
    fn reset(&mut self, code: Code);
    /// All was said on both sides: what is on its way still arrives.
    fn close(self);
    /// Resolves when the other side takes no more, where that is heard without writing.
    fn gone(&self) -> impl Future<Output = ()> + Send + 'static;
    /// The socket, where nothing lies between it and the bytes.
    fn socket(&mut self) -> Option<&mut Outgoing>;
}

impl Target for Writer {
    async fn send(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        Self::send_all(self, pieces).await
    }
    async fn end(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
    fn reset(&mut self, code: Code) {
        Self::reset(self, code);
    }
    fn close(self) {}
    fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stopped()
    }
    fn socket(&mut self) -> Option<&mut Outgoing> {
        None
    }
}

/// Bytes for a socket. However this ends, by a mistake or by the end of the process, the other side gets a reset: only
/// [`Target::close`] closes the connection in order.
pub(crate) struct Outgoing(Option<OwnedWriteHalf>);

impl Outgoing {
    /// Both halves of a connection.
    pub(crate) fn split(socket: TcpStream) -> io::Result<(Incoming, Self)> {
        socket.set_zero_linger()?;
        let (read, write) = socket.into_split();
        Ok((Incoming::new(read), Self(Some(write))))
    }

    /// The socket.
    pub(super) fn half(&self) -> io::Result<&OwnedWriteHalf> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Dropped as it is, a half says that it has ended.
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Target for Outgoing {
    async fn send(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        let half = self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if let [whole] = pieces {
            return half.write_all(whole).await;
        }
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        // What is empty at the beginning goes: nothing written is an error, below.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match half.write_vectored(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => IoSlice::advance_slices(&mut left, written),
            }
        }
        Ok(())
    }
    async fn end(&mut self) -> io::Result<()> {
        let Some(half) = &mut self.0 else { return Ok(()) };
        match half.shutdown().await {
            // It has ended already, which is what was to be.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }
    // What a reset of TCP says is that something is missing, and no more.
    fn reset(&mut self, _: Code) {}
    fn close(self) {
        if let Some(half) = &self.0 {
            // An error means that the connection is gone already.
            let _ = SockRef::from(half.as_ref()).set_linger(None);
        }
    }
    fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        pending()
    }
    fn socket(&mut self) -> Option<&mut Outgoing> {
        Some(self)
    }
}

/// The target's bytes, from its socket or by way of an agent.
pub(crate) enum FromTarget {
    Socket(Incoming),
    Agent(Reader),
}

impl Source for FromTarget {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Socket(incoming) => incoming.next().await,
            Self::Agent(reader) => reader.next().await,
        }
    }
    fn stop(&mut self, code: Code) {
        match self {
            Self::Socket(incoming) => incoming.stop(code),
            Self::Agent(reader) => reader.stop(code),
        }
    }
    fn socket(&mut self) -> Option<&mut Incoming> {
        match self {
            Self::Socket(incoming) => Some(incoming),
            Self::Agent(_) => None,
        }
    }
}

/// Bytes for the target, to its socket or by way of an agent.
pub(crate) enum ToTarget {
    Socket(Outgoing),
    Agent(Writer),
}

impl Target for ToTarget {
    async fn send(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        match self {
            Self::Socket(outgoing) => outgoing.send(pieces).await,
            Self::Agent(writer) => writer.send_all(pieces).await,
        }
    }
    async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(outgoing) => outgoing.end().await,
            Self::Agent(writer) => writer.shutdown().await,
        }
    }
    fn reset(&mut self, code: Code) {
        match self {
            Self::Socket(outgoing) => outgoing.reset(code),
            Self::Agent(writer) => writer.reset(code),
        }
    }
    fn close(self) {
        match self {
            Self::Socket(outgoing) => outgoing.close(),
            Self::Agent(writer) => writer.close(),
        }
    }
    fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = match self {
            Self::Socket(_) => None,
            Self::Agent(writer) => Some(writer.stopped()),
        };
        async {
            match stopped {
                Some(stopped) => stopped.await,
                None => pending().await,
            }
        }
    }
    fn socket(&mut self) -> Option<&mut Outgoing> {
        match self {
            Self::Socket(outgoing) => Some(outgoing),
            Self::Agent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_whatever_the_socket_takes_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let (_from, mut to) = Outgoing::split(client).unwrap();
        // More than what lies in both sockets, with ends in and between the pieces.
        let lens = [3, 0, 4_000_000, 1, 5_000_000, 0, 2];
        let mut nth = 0_u8;
        let mut pieces = lens.map(|len| {
            nth += 1;
            Bytes::from(vec![nth; len])
        });
        let wanted: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        let sending = async {
            to.send(&mut pieces).await.unwrap();
            to.end().await.unwrap();
        };
        let mut heard = Vec::new();
        let (read, ()) = tokio::join!(tokio::io::AsyncReadExt::read_to_end(&mut other, &mut heard), sending);
        read.unwrap();
        assert!(heard == wanted, "{} of {} bytes", heard.len(), wanted.len());
    }
}
