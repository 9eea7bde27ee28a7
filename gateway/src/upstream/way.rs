//! The way to a server: directly, or through agents that serve it from inside its network.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use sluice_client::stream::{Reader, Writer};
use sluice_client::wire::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower_service::Service;

use super::postgres::{Socket, keep_alive};
use crate::agents::{Agents, Through};
use crate::config::ConnectionConfig;
use crate::evidence::SessionId;

/// How a server is reached.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// By its own address.
    Direct,
    /// Through whoever serves this connection.
    Served(Served),
}

/// A connection that agents serve.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    agents: Arc<Agents>,
    connection: String,
}

impl Way {
    /// The way to the server of a connection.
    pub(crate) fn of(connection: &str, config: &ConnectionConfig, agents: &Arc<Agents>) -> Self {
        match Served::of(connection, config, agents) {
            Some(served) => Self::Served(served),
            None => Self::Direct,
        }
    }

    /// Connects to the server; its address is of no matter to agents, who have one of their own.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Socket>> {
        match self {
            Self::Direct => {
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                keep_alive(&stream);
                Ok(Box::new(stream))
            }
            Self::Served(served) => Ok(Box::new(served.dial().await?)),
        }
    }
}

impl Served {
    /// None where the connection's server is reached directly.
    pub(crate) fn of(connection: &str, config: &ConnectionConfig, agents: &Arc<Agents>) -> Option<Self> {
        let is_served = !config.agents.is_empty();
        is_served.then(|| Self { agents: Arc::clone(agents), connection: connection.to_owned() })
    }

    async fn dial(&self) -> io::Result<Stream> {
        // Connections to a server are shared by sessions: they have a name of their own.
        let dialled = self.agents.dial(&self.connection, &SessionId::generate()).await;
        let ((reader, writer), through) = dialled.map_err(io::Error::other)?;
        let gone = Box::pin(through.token().cancelled_owned());
        Ok(Stream { reader, writer, gone, _through: through })
    }
}

/// A connection to a server through an agent. Ends when the agent may serve no longer.
pub(crate) struct Stream {
    reader: Reader,
    writer: Writer,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Counts as one of the agent's until it is dropped.
    _through: Through,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.stop(Code::Ended);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the agent may serve no longer")));
        }
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Connects an HTTP client.
impl Service<Uri> for Served {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let served = self.clone();
        Box::pin(async move { served.dial().await.map(TokioIo::new) })
    }
}
