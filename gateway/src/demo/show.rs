//! `sluice demo`: asks the bundled server directly and through a gateway, and shows what differs and what is on record.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use super::server::COUNT_URI;
use crate::{
    cli::{Outcome, failed, print_record},
    config::Config,
    evidence::{Reader, SessionId},
    identity::dev::{DEV_AUDIENCE, DevIssuer, TokenRequest},
    private,
};

const REVISION: &str = "2025-06-18";
/// Nothing in the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the demo in a directory of its own, which it removes.
pub(crate) async fn run() -> Outcome {
    let data = std::env::temp_dir().join(format!("sluice-demo-{}", uuid::Uuid::new_v4()));
    let shown = match private::create_dir(&data) {
        Ok(()) => tokio::time::timeout(PATIENCE * 3, show(data.clone())).await,
        Err(error) => return failed(&error),
    };
    if let Err(error) = std::fs::remove_dir_all(&data) {
        tracing::warn!(%error, "the demo's directory could not be removed");
    }
    match shown {
        Ok(Ok(())) => Outcome::Clean,
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&"the demo took too long"),
    }
}

async fn show(data: PathBuf) -> Result<(), Failure> {
    let customer = call("get_customer", json!({ "id": 1 }));
    println!("1. Asked directly, the server tells everything:\n\n   {}\n", directly(&customer).await?);

    let mut config = Config::development(&data)?;
    config.listen.set_port(0);
    config.tunnel = None;
    let (shutdown, (ready, bound)) = (CancellationToken::new(), tokio::sync::oneshot::channel());
    let stop = shutdown.clone().drop_guard();
    let gateway = tokio::spawn(crate::serve::run(config, shutdown, move |bound| {
        // Nobody waits any more when the demo has failed already.
        let _ = ready.send(bound.http);
    }));
    let Ok(address) = bound.await else {
        gateway.await??;
        return Err("the gateway did not start".into());
    };
    let token = DevIssuer::open(&data)?.sign(&TokenRequest {
        user: "alice".to_owned(),
        groups: vec!["dev".to_owned()],
        ttl: Duration::from_secs(300),
        audience: DEV_AUDIENCE.to_owned(),
        service: false,
    })?;
    let mut client = McpClient::open(address, token).await?;

    let masked = client.request(&customer).await?;
    println!("2. The same through the gateway, as alice of the group dev:\n\n   {}\n", answer(&masked));

    // A statement that is allowed first: it shows that the server does count.
    client.request(&call("query", json!({ "sql": "SELECT count(*) FROM orders" }))).await?;
    let before = answer(&client.request(&count()).await?);
    let dropped = client.request(&call("query", json!({ "sql": "DROP DATABASE crm" }))).await?;
    let after = answer(&client.request(&count()).await?);
    println!("3. DROP DATABASE through the gateway:\n\n   {}\n", dropped.get("error").unwrap_or(&dropped));
    println!("   Statements the server executed: {before} before (a SELECT), {after} after.\n");

    drop(stop);
    gateway.await??;
    println!("4. What is on record:\n");
    let reader = Reader::open(&data.join("evidence"))?;
    for session in reader.sessions()? {
        let id = SessionId::parse(&session.session).ok_or("a recorded session has no identifier")?;
        reader.session(&id)?.iter().for_each(print_record);
    }
    if dropped.get("error").is_none() || before != "1" || after != "1" {
        return Err("the statement was not blocked".into());
    }
    Ok(())
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

fn count() -> Value {
    json!({ "jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": { "uri": COUNT_URI } })
}

fn initialize() -> Value {
    let client = json!({ "name": "sluice-demo", "version": env!("CARGO_PKG_VERSION") });
    let params = json!({ "protocolVersion": REVISION, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

/// The text of a result, or the whole message when it is something else.
fn answer(message: &Value) -> String {
    let result = &message["result"];
    let text = result["content"][0]["text"].as_str().or_else(|| result["contents"][0]["text"].as_str());
    text.map_or_else(|| message.to_string(), str::to_owned)
}

/// Asks a server of its own over standard input and output, with no gateway between.
async fn directly(request: &Value) -> Result<String, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("demo-server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = child.stdin.take().ok_or("the server has no input")?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the server has no output")?).lines();
    input.write_all(format!("{}\n", initialize()).as_bytes()).await?;
    tokio::time::timeout(PATIENCE, lines.next_line()).await??.ok_or("the server ended")?;
    input.write_all(format!("{}\n{request}\n", initialized()).as_bytes()).await?;
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.ok_or("the server ended")?;
    drop(input);
    tokio::time::timeout(PATIENCE, child.wait()).await??;
    Ok(answer(&serde_json::from_str(&line)?))
}

/// The least a client of Streamable HTTP needs.
struct McpClient {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
    token: String,
    session: Option<String>,
}

impl McpClient {
    async fn open(address: SocketAddr, token: String) -> Result<Self, Failure> {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let mut client = Self { http, url: format!("http://{address}/mcp/demo"), token, session: None };
        client.request(&initialize()).await?;
        client.post(&initialized()).await?;
        Ok(client)
    }

    async fn request(&mut self, message: &Value) -> Result<Value, Failure> {
        let body = self.post(message).await?;
        // One JSON message, or an event stream whose last data is the answer.
        let mut events = body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let text = events.rfind(|data| !data.is_empty()).unwrap_or(&body);
        serde_json::from_str(text).map_err(|error| format!("the gateway's answer is no JSON: {error}").into())
    }

    async fn post(&mut self, message: &Value) -> Result<String, Failure> {
        let mut request = Request::post(&self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("MCP-Protocol-Version", REVISION);
        if let Some(session) = &self.session {
            request = request.header("Mcp-Session-Id", session);
        }
        let sent = self.http.request(request.body(Full::from(message.to_string()))?);
        let response = tokio::time::timeout(PATIENCE, sent).await??;
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.to_str()?.to_owned());
        }
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await??.to_bytes();
        Ok(String::from_utf8(body.to_vec())?)
    }
}
