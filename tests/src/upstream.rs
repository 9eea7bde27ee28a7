//! An MCP server over HTTP that keeps what it received and answers with exactly the bytes, in exactly the pieces, that a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::authority::{Authority, listen, serve};

/// What the upstream answers to `tools/call`.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers, `content-type` among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body's pieces: each is one HTTP chunk.
    pub pieces: Vec<Bytes>,
    /// How long to wait before each piece but the first.
    pub pause: Duration,
    /// Whether the connection breaks after the last piece, instead of ending in order.
    pub broken: bool,
}

impl Reply {
    /// A body of this type, in these pieces.
    pub fn new(content_type: &str, pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: vec![("content-type", content_type.to_owned())],
            pieces: pieces.into_iter().collect(),
            pause: Duration::ZERO,
            broken: false,
        }
    }

    /// One JSON body in one piece.
    pub fn json(body: &Value) -> Self {
        Self::new("application/json", [Bytes::from(body.to_string())])
    }

    /// With this pause between the pieces.
    pub fn paused(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// With a connection that breaks after the last piece.
    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }
}

/// A request that reached the upstream.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`, `GET` or `DELETE`.
    pub method: Method,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// The JSON-RPC method, when it carried one.
    pub fn rpc_method(&self) -> String {
        let message: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        message["method"].as_str().unwrap_or_default().to_owned()
    }
}

#[derive(Debug)]
struct State {
    reply: Reply,
    /// What GET and DELETE get.
    bodiless: HashMap<Method, Reply>,
    received: Vec<Received>,
}

/// The running upstream; ended when dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Its endpoint, such as `http://127.0.0.1:40123/mcp`.
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Starts it with a harmless answer.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same over TLS.
    pub async fn start_tls(authority: &Authority) -> Self {
        Self::start_with(Some(authority)).await
    }

    async fn start_with(authority: Option<&Authority>) -> Self {
        let (listener, tls, url) = listen(authority).await;
        let url = format!("{url}/mcp");
        let reply = Reply::json(&result(json!(7), "all is well"));
        let state = Arc::new(Mutex::new(State { reply, bodiless: HashMap::new(), received: Vec::new() }));
        let shared = Arc::clone(&state);
        let task = serve(listener, tls, move |request| answer(Arc::clone(&shared), request));
        Self { url, state, task }
    }

    /// Answers tool calls like this from now on.
    pub fn reply(&self, reply: Reply) {
        self.state.lock().unwrap().reply = reply;
    }

    /// Answers a method without a body, GET or DELETE, like this from now on.
    pub fn reply_to(&self, method: Method, reply: Reply) {
        self.state.lock().unwrap().bodiless.insert(method, reply);
    }

    /// What has reached it so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The tool calls that have reached it so far.
    pub fn calls(&self) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.rpc_method() == "tools/call").collect()
    }
}

/// The result of a tool call with one text.
pub fn result(id: Value, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": text }] } })
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (reply, bodiless) = {
        let mut state = state.lock().unwrap();
        state.received.push(Received { method: parts.method.clone(), headers: parts.headers, body });
        (state.reply.clone(), state.bodiless.get(&parts.method).cloned())
    };
    if let Some(reply) = bodiless {
        return respond(reply);
    }
    match (parts.method, message["method"].as_str()) {
        (Method::POST, Some("initialize")) => {
            let info = json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "scripted", "version": "1" },
            });
            let mut reply = Reply::json(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": info }));
            reply.headers.push(("mcp-session-id", "scripted-session".into()));
            respond(reply)
        }
        (Method::POST, Some("tools/list")) => {
            let tool = json!({ "name": "say", "description": "Says it.", "inputSchema": { "type": "object" } });
            respond(Reply::json(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "tools": [tool] } })))
        }
        (Method::POST, Some(method)) if !method.starts_with("notifications/") => respond(reply),
        (Method::POST, None) if message.is_array() => respond(reply),
        (Method::POST, _) => respond(Reply { status: StatusCode::ACCEPTED, ..Reply::new("application/json", []) }),
        (Method::DELETE, _) => respond(Reply::new("text/plain", [])),
        _ => respond(Reply { status: StatusCode::METHOD_NOT_ALLOWED, ..Reply::new("text/plain", []) }),
    }
}

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let pause = reply.pause;
    let pieces =
        futures_util::stream::iter(reply.pieces.into_iter().enumerate()).then(move |(nth, piece)| async move {
            if nth > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Ok(Frame::data(piece))
        });
    let end: Vec<std::io::Result<Frame<Bytes>>> =
        if reply.broken { vec![Err(std::io::Error::other("broken on purpose"))] } else { Vec::new() };
    response.body(BodyExt::boxed_unsync(StreamBody::new(pieces.chain(futures_util::stream::iter(end))))).unwrap()
}
