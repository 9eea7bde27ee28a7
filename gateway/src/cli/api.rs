//! How commands ask a gateway over its HTTP interface.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde_json::Value;
use sluice_client::Tokens as _;
use url::Url;

use super::{
    gateway::authorities,
    login::API,
    tokens::{Source, TokenArgs},
};
use crate::{
    config::{DEFAULT_LISTEN, data_dir},
    fetch::fetch,
    identity::is_trustworthy,
    tls::Authorities,
};

/// The variable with the gateway's URL.
const VARIABLE: &str = "SLUICE_URL";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const MAX: usize = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct ApiArgs {
    /// The gateway's public URL (default: $SLUICE_URL, else this machine's gateway).
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authorities that vouch for the gateway, in PEM (default: the web's).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
    /// The data directory of this machine's own gateway (default: $SLUICE_DATA, else .sluice).
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

/// How a command asks, and how it tells.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A gateway that can be asked.
pub(super) struct Api {
    base: String,
    authorities: Option<Authorities>,
    tokens: Source,
}

impl ApiArgs {
    /// # Errors
    /// The URL is none, there is no token, or nobody that vouches for the gateway.
    pub(super) fn open(&self) -> Result<Api, String> {
        let written = self.url.clone().or_else(|| std::env::var(VARIABLE).ok());
        let base = written.unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        let url = Url::parse(&base).map_err(|error| format!("`{base}` is no URL: {error}"))?;
        if !is_trustworthy(&url) {
            return Err(format!("`{base}` has to be https (http only for this machine): a token is sent there"));
        }
        let authorities = authorities(self.ca.as_deref())?;
        let data = self.data.clone().unwrap_or_else(data_dir);
        let gateway =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let tokens = Source::new(&self.token, &data, &gateway, &[API])?;
        Ok(Api { base: base.trim_end_matches('/').to_owned(), authorities, tokens })
    }
}

impl Api {
    /// Asks, and gives the answer's body.
    ///
    /// # Errors
    /// The gateway can't be reached, or what it says against it.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let token = self.tokens.token().await.map_err(|error| format!("there is no token: {}", error.0))?;
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token is none".to_owned())?;
        bearer.set_sensitive(true);
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| "the URL can't be asked".to_owned())?;
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(|error| error.to_string())?;
        let asked = fetch(request, self.authorities.as_ref(), MAX, PATIENCE).await;
        let answered = asked.map_err(|error| format!("{}: {error}", self.base))?;
        let status = answered.status();
        let answer = serde_json::from_slice::<Value>(answered.body()).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Err(format!("{} answered {}: is it a gateway?", self.base, status.as_u16())),
        }
    }
}
