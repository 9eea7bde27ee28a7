//! An upstream that speaks Streamable HTTP: the call as it is sent on, and its response through the inspector.

use super::way::Served;
use crate::agents::Agents;
use crate::config::{ConnectionConfig, UpstreamConfig};
use crate::exchange::{Done, Exchange, Head, Inspector, Patience, general_options};
use crate::protocol::mcp::headers::SESSION_ID;
use crate::protocol::mcp::sse::Tracker;
use crate::tls;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use sluice_engine::Format;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// A body that is no event stream is held until so much of it has come, in bytes: a client can't use a part of a JSON
/// text, and until the head has left an error can still be told.
const HOLD: usize = 64 * 1024;

/// Headers of the client that go upstream, besides those that begin with `mcp-`.
const SENT: [HeaderName; 4] =
    [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT, HeaderName::from_static("last-event-id")];
const TRACING: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Headers of the upstream that stay here: they speak of the connection, of the gateway's own credential, or of bytes
/// that a mask may have changed.
const KEPT: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
    "set-cookie",
];

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Calls upstreams; their connections are pooled.
#[derive(Debug)]
pub(crate) struct Clients {
    public: HttpClient,
    /// Those of connections with certificate authorities of their own, by the connection's name.
    private: BTreeMap<String, HttpClient>,
    /// Those of connections whose servers agents serve.
    served: BTreeMap<String, Client<HttpsConnector<Served>, Full<Bytes>>>,
}

impl Clients {
    /// The clients that these connections need.
    pub(crate) fn new(
        connections: &BTreeMap<String, ConnectionConfig>,
        agents: &Arc<Agents>,
    ) -> Result<Self, rustls::Error> {
        let build = || Client::builder(TokioExecutor::new());
        let (mut private, mut served) = (BTreeMap::new(), BTreeMap::new());
        for (name, connection) in connections {
            let UpstreamConfig::Http { authorities, .. } = &connection.upstream else { continue };
            match (Served::of(name, connection, agents), authorities) {
                (Some(through), authorities) => {
                    let connector = tls::connector_over(through, authorities.as_ref())?;
                    served.insert(name.clone(), build().build(connector));
                }
                (None, Some(authorities)) => {
                    private.insert(name.clone(), build().build(tls::connector(Some(authorities))?));
                }
                (None, None) => {}
            }
        }
        Ok(Self { public: build().build(tls::connector(None)?), private, served })
    }

    fn request(&self, connection: &str, request: Request<Full<Bytes>>) -> ResponseFuture {
        match self.served.get(connection) {
            Some(client) => client.request(request),
            None => self.private.get(connection).unwrap_or(&self.public).request(request),
        }
    }
}

/// A call as it goes upstream.
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    /// The response opens a session.
    pub(crate) opens: bool,
}

impl Call {
    /// `own`: the credential and other headers of the gateway. `carried`: the client's session id was checked and goes
    /// along.
    pub(crate) fn new(
        method: Method,
        url: &Url,
        own: &BTreeMap<String, String>,
        client: &HeaderMap,
        body: Bytes,
        carried: bool,
    ) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in client {
            let sent = SENT.contains(name) || TRACING.contains(&name.as_str()) || name.as_str().starts_with("mcp-");
            if sent && (carried || name != SESSION_ID) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in own {
            if let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Self { method, url: url.to_string(), headers, body, opens: false }
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let uri: Uri = self.url.parse().ok()?;
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        *request.headers_mut()? = self.headers.clone();
        request.body(Full::new(self.body.clone())).ok()
    }
}

/// Calls the upstream and sends its response on.
pub(crate) async fn relay(exchange: &mut Exchange, call: Call) -> Done {
    let Some(request) = call.request() else {
        return Done::upstream("the upstream's address can't be called");
    };
    let response = match exchange.shared.clients.request(&exchange.session.connection, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(session = %exchange.session.id, connect = error.is_connect(), "an upstream call failed");
            let reason = if error.is_connect() { "the upstream can't be reached" } else { "the upstream broke off" };
            if call.opens {
                exchange.over = Some(reason);
            }
            return Done::upstream(reason);
        }
    };
    settle(exchange, &call, &response);
    if let Some(refused) = refuse(&response) {
        return Done::upstream(refused);
    }
    match pass(exchange, response).await {
        Ok(done) | Err(done) => done,
    }
}

/// Keeps the table of sessions as the response has it.
fn settle(exchange: &mut Exchange, call: &Call, response: &Response<Incoming>) {
    let (shared, session) = (&exchange.shared, &exchange.session);
    let succeeded = response.status().is_success();
    if call.opens {
        match response.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()) {
            Some(id) if succeeded => shared.table.carry(&session.connection, id, session),
            None if succeeded => shared.table.imply(session),
            _ => exchange.over = Some("the upstream did not open it"),
        }
    } else if call.method == Method::DELETE && succeeded {
        exchange.over = Some("the client ended it");
    }
}

/// Why a response can't be read or must not pass.
fn refuse(response: &Response<Incoming>) -> Option<&'static str> {
    let mut encodings = response.headers().get_all(header::CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some("the upstream compressed its answer although it was told not to");
    }
    if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        return Some("the upstream doesn't accept the gateway's credential");
    }
    None
}

fn head(response: &Response<Incoming>, events: bool) -> Head {
    let mut headers = response.headers().clone();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in KEPT {
        headers.remove(name);
    }
    if events {
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    Head { status: response.status(), headers, whole: None }
}

async fn pass(exchange: &mut Exchange, response: Response<Incoming>) -> Result<Done, Done> {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let format = match essence {
        _ if essence.eq_ignore_ascii_case("text/event-stream") => Format::Sse,
        _ if essence.eq_ignore_ascii_case("application/json") => Format::Json,
        _ => Format::Raw,
    };
    let events = format == Format::Sse;
    let mut head = Some(head(&response, events));
    if events {
        head.take().into_iter().for_each(|head| exchange.start_events(head));
    }
    let (program, budget) = (exchange.session.rules().program(), &exchange.shared.gateway.budget);
    let mut inspector = Inspector::open(program, general_options(format, exchange.rules.clone()), budget);
    let mut narrowing = exchange.sharing.stream(format, budget);
    let (mut held, mut masked) = (BytesMut::new(), false);
    let mut body = response.into_body();
    let mut patience = Patience::default();
    loop {
        let (mut released, last) = match patience.next(body.frame()).await {
            None => (inspector.decide(), false),
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => (inspector.push(bytes), false),
                Err(_trailers) => continue,
            },
            Some(Some(Err(_))) => {
                let resumable = exchange.events.as_ref().is_some_and(Tracker::has_cursor);
                let reason = "the upstream broke off in the middle of its answer";
                return Err(if resumable { Done::broke_off(reason) } else { Done::upstream(reason) });
            }
            Some(None) => (inspector.finish(), true),
        };
        patience.set(events && inspector.awaits_event());
        if let (Some(waiting), None) = (&mut head, &released.stop) {
            held.extend_from_slice(&std::mem::take(&mut released.bytes));
            masked |= released.masked;
            exchange.recorder.decided(&std::mem::take(&mut released.decisions));
            if last {
                let whole = exchange.sharing.whole(held.freeze(), masked, &exchange.shared.gateway.budget);
                waiting.whole = Some(whole.map_err(|stop| exchange.stopped(&stop))?);
                return head.map(Done::whole).ok_or_else(Done::complete);
            }
            if held.len() <= HOLD {
                continue;
            }
            released.bytes = held.split().freeze();
            head.take().into_iter().for_each(|head| exchange.start(head));
        } else if head.is_some() {
            // The head has not left, so the error can be told and nothing before it needs to pass.
            released.bytes = Bytes::new();
        }
        narrowing.pass(&mut released, last);
        exchange.emit(released).await?;
        if last {
            return Ok(Done::complete());
        }
    }
}
