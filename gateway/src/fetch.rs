//! Asking other servers over HTTP, once: no redirect is followed, and an answer is bounded.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
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
) -> Result<Response<Bytes>, String> {
    let connector = tls::connector(authorities).map_err(|error| error.to_string())?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let asked = async {
        let response = client.request(request).await.map_err(|error| format!("not reachable: {}", causes(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|_| "the answer is too long, or was cut off".to_owned())?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    timeout(patience, asked).await.map_err(|_| format!("no answer within {} s", patience.as_secs()))?
}

/// An error and what caused it, such as a certificate that nobody vouches for.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
