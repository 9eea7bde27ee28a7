//! A session that is open: the target's own bytes, both ways.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    lease::Lease,
    link::Transport,
    stream::{Reader, Writer},
    tunnel::Tunnel,
    wire::{Carries, Code},
};

/// A session on a connection. Reads end where the target ended in order; whatever breaks off is an error, whose code
/// [`code_of`](crate::stream::code_of) tells. Dropped before it was shut down, the session is broken off.
#[derive(Debug)]
pub struct Channel {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) session: Option<String>,
    pub(crate) carries: Carries,
    pub(crate) transport: Transport,
    /// Renews the token while the session lasts.
    pub(crate) lease: Arc<Lease>,
    /// Its connection stays as long as the session.
    pub(crate) tunnel: Tunnel,
}

/// Keeps a session's connection, and its token fresh, as long as it is there.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "held for what their end does")]
pub struct Keep(Arc<Lease>, Tunnel);

impl Channel {
    /// The session's identifier, as the gateway's record has it.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// What it carries.
    #[must_use]
    pub fn carries(&self) -> Carries {
        self.carries
    }

    /// The way that it takes.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Breaks the session off.
    pub fn reset(&mut self, code: Code) {
        self.writer.reset(code);
        self.reader.stop(code);
    }

    /// Both directions, to be used by two tasks; [`Keep`] has to live as long as they.
    #[must_use]
    pub fn split(self) -> (Reader, Writer, Keep) {
        (self.reader, self.writer, Keep(self.lease, self.tunnel))
    }
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().writer).poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_shutdown(context)
    }
}
