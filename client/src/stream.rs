//! A stream of either kind, over QUIC or TLS, with an end that can't be mistaken: what breaks off is never taken for whole.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use quinn::VarInt;
use rustls::AlertDescription;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use crate::wire::{Code, Frame, HEAD, WireError, fields_len};

/// Why a frame can't be had.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The stream broke off.
    #[error("the stream broke off: {0}")]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads one frame and not a byte more. Memory grows with what came, not with what a length says.
///
/// # Errors
///
/// [`FrameError`].
pub async fn read_frame<F: Frame>(from: &mut (impl AsyncRead + Unpin)) -> Result<F, FrameError> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head).await?;
    let len = fields_len(head)?;
    let mut frame = head.to_vec();
    from.take(len as u64).read_to_end(&mut frame).await?;
    match F::decode(&frame)? {
        Some((frame, _)) => Ok(frame),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// The code that the other side reset the stream or closed the connection with; None where the failure is of another kind.
#[must_use]
pub fn code_of(error: &io::Error) -> Option<Code> {
    let inner = error.get_ref()?;
    let closed = |error: &quinn::ConnectionError| match error {
        quinn::ConnectionError::ApplicationClosed(close) => Code::of(close.error_code.into_inner()),
        _ => None,
    };
    if let Some(error) = inner.downcast_ref::<quinn::ReadError>() {
        return match error {
            quinn::ReadError::Reset(code) => Code::of(code.into_inner()),
            quinn::ReadError::ConnectionLost(error) => closed(error),
            _ => None,
        };
    }
    match inner.downcast_ref::<quinn::WriteError>()? {
        quinn::WriteError::Stopped(code) => Code::of(code.into_inner()),
        quinn::WriteError::ConnectionLost(error) => closed(error),
        _ => None,
    }
}

/// What TLS of the other side ended the connection for (RFC 8446, section 6); None where it ended for something else.
pub(crate) fn alert_of(error: &io::Error) -> Option<AlertDescription> {
    let inner = error.get_ref()?;
    if let Some(rustls::Error::AlertReceived(alert)) = inner.downcast_ref::<rustls::Error>() {
        return Some(*alert);
    }
    let lost = match (inner.downcast_ref(), inner.downcast_ref()) {
        (Some(quinn::ReadError::ConnectionLost(lost)), _) | (_, Some(quinn::WriteError::ConnectionLost(lost))) => lost,
        _ => inner.downcast_ref::<quinn::ConnectionError>()?,
    };
    let quinn::ConnectionError::ConnectionClosed(close) = lost else { return None };
    // CRYPTO_ERROR: RFC 9001, section 4.8.
    let alert = u64::from(close.error_code).checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// The code as QUIC has it.
#[must_use]
pub fn error_code(code: Code) -> VarInt {
    VarInt::from_u32(code.number().into())
}

/// The most that is read in one go, in bytes.
const PIECE: usize = 64 * 1024;
/// What is kept for a read from TLS that finds less.
const SMALL: usize = 16 * 1024;

#[derive(Debug)]
enum In {
    Quic(quinn::RecvStream),
    Tls(ReadHalf<TlsStream<TcpStream>>, BytesMut),
}

/// Where bytes come from. A stream that ends without having been ended in order is an error, not an end.
#[derive(Debug)]
pub struct Reader(In);

impl Reader {
    /// A stream of QUIC.
    #[must_use]
    pub fn quic(stream: quinn::RecvStream) -> Self {
        Self(In::Quic(stream))
    }

    /// True for TLS over TCP.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.0, In::Tls(..))
    }

    /// The next bytes, as they came where that is possible; None at the end. Dropped before it is ready, nothing is lost.
    ///
    /// # Errors
    ///
    /// The stream broke off; [`code_of`] may say why.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            In::Quic(stream) => Ok(stream.read_chunk(PIECE, true).await?.map(|chunk| chunk.bytes)),
            In::Tls(stream, buffer) => {
                buffer.reserve(SMALL);
                let read = stream.read_buf(buffer).await?;
                Ok((read > 0).then(|| buffer.split().freeze()))
            }
        }
    }

    /// Tells the other side that nothing more is read; over TLS that is known by the end of the connection.
    pub fn stop(&mut self, code: Code) {
        if let In::Quic(stream) = &mut self.0 {
            // An error means that it has ended already.
            let _ = stream.stop(error_code(code));
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            In::Quic(stream) => AsyncRead::poll_read(Pin::new(stream), context, buffer),
            In::Tls(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

#[derive(Debug)]
enum Out {
    Quic(quinn::SendStream),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

/// Where bytes go. Dropped without [`shutdown`](tokio::io::AsyncWriteExt::shutdown), the stream is reset: the other side
/// learns that something is missing.
#[derive(Debug)]
pub struct Writer {
    out: Out,
    ended: bool,
    dropped: OnDrop,
}

/// What a stream is reset with where its writer is dropped before the end.
#[derive(Clone, Debug)]
pub struct OnDrop(Arc<AtomicU16>);

impl OnDrop {
    fn new(code: Code) -> Self {
        Self(Arc::new(AtomicU16::new(code.number())))
    }

    /// Another code from now on.
    pub fn set(&self, code: Code) {
        self.0.store(code.number(), Ordering::Release);
    }
}

/// Both ways of a connection of TLS over TCP; `dropped` is what a [`Writer`] means that isn't ended in order.
#[must_use]
pub fn tls(stream: TlsStream<TcpStream>, dropped: Code) -> (Reader, Writer) {
    let (reader, writer) = tokio::io::split(stream);
    let writer = Writer { out: Out::Tls(writer), ended: false, dropped: OnDrop::new(dropped) };
    (Reader(In::Tls(reader, BytesMut::new())), writer)
}

impl Writer {
    /// A stream of QUIC; `dropped` is the code that it is reset with where it isn't ended in order.
    #[must_use]
    pub fn quic(stream: quinn::SendStream, dropped: Code) -> Self {
        Self { out: Out::Quic(stream), ended: false, dropped: OnDrop::new(dropped) }
    }

    /// Sends bytes, without a copy where that is possible; waits for a slow reader.
    ///
    /// # Errors
    ///
    /// The other side reads no more; [`code_of`] may say why.
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        match &mut self.out {
            Out::Quic(stream) => Ok(stream.write_chunk(bytes).await?),
            Out::Tls(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Sends pieces one after the other, as [`send`](Self::send) does; what is left in them has no meaning.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    pub async fn send_all(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        match &mut self.out {
            Out::Quic(stream) => Ok(stream.write_all_chunks(pieces).await?),
            Out::Tls(stream) => {
                for piece in pieces {
                    stream.write_all(piece).await?;
                }
                stream.flush().await
            }
        }
    }

    /// Breaks the stream off. What waits to be sent is thrown away; over TLS nothing is said, and the missing end tells.
    pub fn reset(&mut self, code: Code) {
        if let (Out::Quic(stream), false) = (&mut self.out, self.ended) {
            // An error means that it has ended already.
            let _ = stream.reset(error_code(code));
        }
        self.ended = true;
    }

    /// Says what the stream is reset with where this is dropped before the end, also once somebody else holds it.
    #[must_use]
    pub fn on_drop(&self) -> OnDrop {
        self.dropped.clone()
    }

    /// Resolves when the other side reads no more, or is gone; never over TLS, where a failed write tells.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = match &self.out {
            Out::Quic(stream) => Some(stream.stopped()),
            Out::Tls(_) => None,
        };
        async move {
            match stopped {
                // Ended in order and all of it received: nobody has gone.
                Some(stopped) => {
                    if let Ok(None) = stopped.await {
                        std::future::pending().await
                    }
                }
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let code = self.dropped.0.load(Ordering::Acquire);
        self.reset(Code::of(code.into()).unwrap_or(Code::Internal));
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().out {
            Out::Quic(stream) => AsyncWrite::poll_write(Pin::new(stream), context, bytes),
            Out::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().out {
            Out::Quic(stream) => Pin::new(stream).poll_flush(context),
            Out::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = self.get_mut();
        if writer.ended {
            return Poll::Ready(Ok(()));
        }
        let done = match &mut writer.out {
            Out::Quic(stream) => Pin::new(stream).poll_shutdown(context),
            Out::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        };
        writer.ended |= matches!(done, Poll::Ready(Ok(())));
        done
    }
}
