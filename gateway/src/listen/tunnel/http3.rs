//! MCP over HTTP/3 (RFC 9114): the same service as over HTTP/1.1 and HTTP/2, with a token in each request, or
//! none where the connection showed a certificate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, middleware};
use bytes::{Buf as _, Bytes};
use futures_util::stream;
use h3::{
    error::Code,
    server::{RequestResolver, RequestStream},
};
use h3_quinn::{BidiStream, RecvStream, SendStream};
use http::Response;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use quinn::VarInt;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{AUTHENTICATE, Tunnel};
use crate::listen::{
    guard::{self, Allowed},
    handshake::Certified,
    web::DRAIN,
};

/// Its name in ALPN (RFC 9114, section 3.1).
pub(super) const ALPN: &[u8] = b"h3";
/// The streams for control and for compressed fields (RFC 9114, section 6.2; RFC 9204, section 4.2), and one more whose kind
/// nobody knows.
const ONE_WAY: VarInt = VarInt::from_u32(4);
/// The longest head of a request, in bytes, as RFC 9114 counts them.
const MAX_HEAD: u64 = 64 * 1024;

/// Who may ask, and what answers.
pub(super) fn service(router: &Router, allowed: Allowed) -> Router {
    router.clone().layer(middleware::from_fn_with_state(allowed, guard::check))
}

/// Serves requests until the client goes, or the gateway stops or the certificate expires and those under way are answered.
pub(super) async fn serve(
    tunnel: Arc<Tunnel>,
    service: Router,
    connection: quinn::Connection,
    certified: Option<Arc<Certified>>,
) {
    let address = connection.remote_address();
    connection.set_max_concurrent_uni_streams(ONE_WAY);
    let mut builder = h3::server::builder();
    let built = builder.max_field_section_size(MAX_HEAD).build(h3_quinn::Connection::new(connection));
    let Ok(Ok(mut connection)) = timeout(AUTHENTICATE, built).await else {
        return tracing::debug!(%address, "a connection of HTTP/3 was not set up");
    };
    // What is under way ends with the connection.
    let mut requests = JoinSet::new();
    let (expired, late) =
        (Certified::over(certified.as_deref(), Duration::ZERO), Certified::over(certified.as_deref(), DRAIN));
    tokio::pin!(expired, late);
    let mut stopping = false;
    while !(stopping && requests.is_empty()) {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Ok(Some(request)) => drop(requests.spawn(answer(service.clone(), request, address, certified.clone()))),
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%address, %error, "a connection of HTTP/3 is over");
                    return;
                }
            },
            Some(_) = requests.join_next() => {}
            () = &mut late => return,
            () = async { tokio::select! { () = tunnel.shutdown.cancelled() => {}, () = &mut expired => {} } }, if !stopping => {
                stopping = true;
                if connection.shutdown(0).await.is_err() {
                    return;
                }
            }
            // A client that asks for nothing takes no place from others.
            () = sleep(AUTHENTICATE), if requests.is_empty() => return,
        }
    }
    while requests.join_next().await.is_some() {}
}

type Resolver = RequestResolver<h3_quinn::Connection, Bytes>;

async fn answer(service: Router, resolver: Resolver, address: SocketAddr, certified: Option<Arc<Certified>>) {
    let (request, stream) = match resolver.resolve_request().await {
        Ok(resolved) => resolved,
        Err(error) => return tracing::debug!(%address, %error, "a request of HTTP/3 can't be read"),
    };
    let (mut sending, receiving) = RequestStream::<BidiStream<Bytes>, Bytes>::split(stream);
    let mut request = request.map(|()| body(receiving));
    request.extensions_mut().insert(ConnectInfo(address));
    certified.into_iter().for_each(|certified| drop(request.extensions_mut().insert(certified)));
    let Ok(response) = TowerToHyperService::new(service).call(request).await;
    if let Err(error) = give(response, &mut sending).await {
        tracing::debug!(%address, error, "an answer over HTTP/3 broke off");
        sending.stop_stream(Code::H3_INTERNAL_ERROR);
    }
}

/// The body of a request, as it comes.
fn body(receiving: RequestStream<RecvStream, Bytes>) -> Body {
    Body::from_stream(stream::try_unfold(receiving, async |mut receiving| {
        let data = receiving.recv_data().await?;
        Ok::<_, h3::error::StreamError>(data.map(|mut data| (data.copy_to_bytes(data.remaining()), receiving)))
    }))
}

async fn give(response: Response<Body>, sending: &mut RequestStream<SendStream<Bytes>, Bytes>) -> Result<(), String> {
    let (head, mut body) = response.into_parts();
    sending.send_response(Response::from_parts(head, ())).await.map_err(|error| error.to_string())?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            sending.send_data(data).await.map_err(|error| error.to_string())?;
        }
    }
    sending.finish().await.map_err(|error| error.to_string())
}
