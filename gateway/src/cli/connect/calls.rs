//! Requests to the MCP endpoint of a connection, over sessions of the tunnel that are used again.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use sluice_client::Channel;

use super::Wanted;

type Sender = http1::SendRequest<Full<Bytes>>;

/// Sessions that are free are kept, so many.
const KEPT: usize = 8;

/// Calls one endpoint.
pub(super) struct Calls {
    wanted: Wanted,
    free: Mutex<Vec<Sender>>,
}

/// A response, and the session that is free again once its body is read.
pub(super) struct Call {
    pub(super) response: Response<Incoming>,
    sender: Sender,
}

impl Calls {
    /// Calls over sessions like `wanted`, `first` the first of them.
    pub(super) async fn new(wanted: Wanted, first: Channel) -> Result<Self, String> {
        let first = handshake(first).await?;
        Ok(Self { wanted, free: Mutex::new(vec![first]) })
    }

    /// The path of the endpoint.
    pub(super) fn path(&self) -> String {
        format!("/mcp/{}", self.wanted.connection)
    }

    /// Sends a request. One that a kept session didn't take is sent on another.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Call, String> {
        request.headers_mut().insert(header::HOST, http::HeaderValue::from_static("localhost"));
        loop {
            let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(kept) => kept,
                None => handshake(self.wanted.open().await.map_err(|error| error.to_string())?).await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Call { response, sender }),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(error.into_error().to_string()),
                },
            }
        }
    }

    /// The body of the call was read to its end.
    pub(super) async fn done(&self, mut call: Call) {
        if call.sender.ready().await.is_ok() {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < KEPT {
                free.push(call.sender);
            }
        }
    }
}

async fn handshake(channel: Channel) -> Result<Sender, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(channel)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a session broke off");
        }
    });
    Ok(sender)
}
