//! MCP in a stream: HTTP/1.1 as on the gateway's own front, but who asks is known by the stream.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::{body::Body, extract::ConnectInfo, response::IntoResponse as _};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use sluice_client::stream::{Reader, Writer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    Tunnel,
    live::{Credential, Holder},
};
use crate::{
    identity::resource,
    listen::guard,
    meter::Meter,
    protocol::mcp::headers,
    session::{PURPOSE_HEADER, Purpose},
};

/// How long the head of a request may take. Between two requests there is no limit: the stream's own idle time holds.
const HEAD: Duration = Duration::from_secs(30);

/// Serves requests until the client ends the stream, what says who it is counts no longer, or the gateway stops.
pub(super) async fn serve(
    tunnel: &Tunnel,
    holder: &Arc<Holder>,
    purpose: Option<Purpose>,
    address: SocketAddr,
    (reader, writer): (Reader, Writer),
    meter: Option<Arc<Meter>>,
) {
    let on_drop = writer.on_drop();
    let io = TokioIo::new(Metered { inner: tokio::io::join(reader, writer), meter, debt: None });
    let router = TowerToHyperService::new(tunnel.router.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let refused = prepare(&mut request, tunnel, holder, purpose.as_ref(), address);
        let router = router.clone();
        async move {
            match refused {
                Some(refused) => Ok::<_, Infallible>(refused),
                None => router.call(request.map(Body::new)).await,
            }
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            code = holder.lost() => {
                on_drop.set(code);
                return;
            }
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(session = holder.session, %error, "a stream of requests broke off");
                }
                return;
            }
            () = tunnel.shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Makes a request one of the stream's identity, to the stream's connection; a response where it is none.
fn prepare(
    request: &mut Request<Incoming>,
    tunnel: &Tunnel,
    holder: &Holder,
    purpose: Option<&Purpose>,
    address: SocketAddr,
) -> Option<Response<Body>> {
    let path = request.uri().path();
    let is_here = path == format!("/mcp/{}", holder.connection) || path == resource::metadata_path(&holder.connection);
    if !is_here {
        let message = format!("this stream is for /mcp/{}\n", holder.connection);
        return Some((StatusCode::NOT_FOUND, message).into_response());
    }
    let sent = request.headers_mut();
    if !guard::is_local(&tunnel.allowed, sent) {
        return Some((StatusCode::FORBIDDEN, "this host or origin is not accepted\n").into_response());
    }
    // Whatever a request says of itself: the stream was opened by somebody, and by that it is judged.
    sent.remove(header::AUTHORIZATION);
    let mut certificate = None;
    match holder.credential() {
        Credential::Certificate(certified) => certificate = Some(certified),
        Credential::Token(token) => {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.as_str()));
            let Ok(mut bearer) = bearer else { return Some(StatusCode::UNAUTHORIZED.into_response()) };
            bearer.set_sensitive(true);
            sent.insert(header::AUTHORIZATION, bearer);
        }
    }
    if let (Some(purpose), false) = (purpose, sent.contains_key(PURPOSE_HEADER)) {
        let Ok(stated) = HeaderValue::from_str(&headers::encode(purpose.as_str())) else {
            return Some(StatusCode::BAD_REQUEST.into_response());
        };
        sent.insert(PURPOSE_HEADER, stated);
    }
    certificate.into_iter().for_each(|certified| drop(request.extensions_mut().insert(certified)));
    request.extensions_mut().insert(ConnectInfo(address));
    None
}

/// A stream whose identity's bytes are counted.
struct Metered<S> {
    inner: S,
    meter: Option<Arc<Meter>>,
    /// To be waited for before more is read or written.
    debt: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    fn poll_paid(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(debt) = &mut self.debt {
            ready!(debt.as_mut().poll(context));
            self.debt = None;
        }
        Poll::Ready(())
    }

    fn spend(&mut self, bytes: usize) {
        let Some(meter) = &self.meter else { return };
        let wait = meter.spend(bytes);
        if !wait.is_zero() {
            self.debt = Some(Box::pin(sleep(wait)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let metered = self.get_mut();
        ready!(metered.poll_paid(context));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut metered.inner).poll_read(context, buffer))?;
        metered.spend(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        ready!(metered.poll_paid(context));
        let written = ready!(Pin::new(&mut metered.inner).poll_write(context, bytes))?;
        metered.spend(written);
        Poll::Ready(Ok(written))
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
