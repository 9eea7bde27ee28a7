//! Requests of `sluice login` to issuers and gateways: JSON over https, or http to this very machine; bounded, and without redirects.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::Value;
use url::Url;

use crate::{fetch::fetch, identity::is_trustworthy, tls::Authorities};

/// How long one exchange may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Longer answers are refused, in bytes.
const MAX: usize = 512 * 1024;

/// Why there is no answer; the text is for the user and holds nothing of what was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WebError(String);

/// A client of HTTP.
pub(super) struct Web(Option<Authorities>);

impl Web {
    /// Who vouches for the other side is `authorities`, else the web's.
    pub(super) fn new(authorities: Option<Authorities>) -> Self {
        Self(authorities)
    }

    /// The JSON document at this place.
    ///
    /// # Errors
    ///
    /// The place isn't trustworthy, nothing answers in time, or the answer is no document.
    pub(super) async fn document(&self, url: &Url) -> Result<Value, String> {
        let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|_| format!("{url} is no place on the web"))?;
        let answer = self.exchange(request).await.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{url} answers {}", answer.status().as_u16()));
        }
        serde_json::from_slice(answer.body()).map_err(|_| format!("what {url} answers is no JSON"))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// The place isn't trustworthy, nothing answers in time, or the answer is too long.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let uri = request.uri().to_string();
        let place = Url::parse(&uri)
            .ok()
            .filter(is_trustworthy)
            .ok_or_else(|| WebError(format!("{}: only https, or http to this machine, is spoken", of(&uri))))?;
        let place = place.origin().ascii_serialization();
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let answer = fetch(request, self.0.as_ref(), MAX, ANSWER).await;
        answer.map(|answer| answer.map(Vec::from)).map_err(|error| WebError(format!("{place}: {error}")))
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

/// A place without what may be secret in it.
fn of(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}
