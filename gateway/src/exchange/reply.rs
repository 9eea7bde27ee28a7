//! What goes back to the client: a head, then bytes as they are decided.

use crate::protocol::mcp::error::Refusal;
use crate::protocol::mcp::message::Id;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::io;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// Frames that may wait for a slow client.
const WAITING: usize = 8;

/// Status and headers; a body that is whole already, or one that follows.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) whole: Option<Bytes>,
}

/// The client's end of an exchange, as the exchange sees it.
pub(crate) struct Downstream {
    head: Option<oneshot::Sender<Head>>,
    body: mpsc::Sender<Result<Bytes, io::Error>>,
}

/// The exchange's end, as the front sees it. Dropped when the client goes away.
pub(crate) struct Upcoming {
    head: oneshot::Receiver<Head>,
    body: mpsc::Receiver<Result<Bytes, io::Error>>,
}

impl Downstream {
    pub(crate) fn pair() -> (Self, Upcoming) {
        let (head, head_receiver) = oneshot::channel();
        let (body, body_receiver) = mpsc::channel(WAITING);
        (Self { head: Some(head), body }, Upcoming { head: head_receiver, body: body_receiver })
    }

    /// Resolves when the client has gone away.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let body = self.body.clone();
        async move { body.closed().await }
    }

    /// True where the head has left.
    pub(crate) fn started(&self) -> bool {
        self.head.is_none()
    }

    /// Sends the head, once.
    pub(crate) fn start(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            let _ = sender.send(head);
        }
    }

    /// Sends bytes; waits for a slow client. False where the client has gone.
    pub(crate) async fn send(&self, bytes: Bytes) -> bool {
        bytes.is_empty() || self.body.send(Ok(bytes)).await.is_ok()
    }

    /// Breaks the body off, so that no client takes it for whole.
    pub(crate) async fn abort(&self, reason: &'static str) {
        let _ = self.body.send(Err(io::Error::other(reason))).await;
    }
}

impl Upcoming {
    /// The response, once its head is known.
    pub(crate) async fn response(self) -> Response {
        let Ok(head) = self.head.await else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        };
        let body = match head.whole {
            Some(bytes) => Body::from(bytes),
            None => Body::from_stream(ReceiverStream::new(self.body)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

/// A refusal as a whole response.
pub(crate) fn refuse(status: StatusCode, refusal: &Refusal, ids: &[Id], batch: bool) -> Head {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Head { status, headers, whole: Some(refusal.answers(ids, batch)) }
}

impl From<Head> for Response {
    fn from(head: Head) -> Self {
        let mut response = Self::new(Body::from(head.whole.unwrap_or_default()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}
