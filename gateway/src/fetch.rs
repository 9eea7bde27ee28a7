//! Asking other servers over HTTP, once: no redirect is followed, and an answer is bounded.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use crate::tls::{self, Authorities};

/// Sends a request and reads the answer, of at most `most` bytes, within `patience`.
///
/// # Errors
/// What went wrong, in words that hold nothing of the request.
pub(crate) async fn fetch(
    request: Request<Full<Bytes>>,
    authorities: Option<&Authorities>,
    most: usize,
    patience: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let connector = tls::connector(authorities).map_err(|error| error.to_string())?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let asked = async {
        let response = client.request(request).await.map_err(|error| format!("not reachable: {error}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|_| "the answer is too long, or was cut off".to_owned())?;
        Ok((status, body.to_bytes()))
    };
    timeout(patience, asked).await.map_err(|_| format!("no answer within {} s", patience.as_secs()))?
}
