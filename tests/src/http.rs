//! A plain HTTP client, for what official clients never send.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; what came of it when the connection broke.
    pub body: Bytes,
    /// Whether the body came to its proper end.
    pub whole: bool,
}

impl Answer {
    /// A response, read to its end or to where it breaks.
    pub async fn of(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Self { status: parts.status, headers: parts.headers, body: bytes.into(), whole }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON-RPC message of a JSON body, or the last one of an event stream.
    pub fn message(&self) -> Value {
        let text = self.text();
        let data =
            text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).rfind(|data| !data.is_empty());
        serde_json::from_str(data.unwrap_or(&text)).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends a request and reads its answer to the end, or to where it breaks.
pub async fn send(request: Request<Full<Bytes>>) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async { Answer::of(client.request(request).await.expect("the gateway answers")).await };
    tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("an answer ends in time")
}

/// A POST of a JSON-RPC message, as an MCP client would send it.
pub fn post(url: &str, token: Option<&str>, message: &Value) -> Request<Full<Bytes>> {
    post_with(url, token, message, &[])
}

/// The same, with more headers.
pub fn post_with(url: &str, token: Option<&str>, message: &Value, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(message.to_string().into())).unwrap()
}
