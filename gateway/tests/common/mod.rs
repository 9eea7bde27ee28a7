//! A gateway on a free port, an upstream that answers by script, and a client that sees every byte.
#![allow(dead_code, missing_docs, unreachable_pub)]

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sluice_dsl::{CompileOptions, PackSource};
use sluice_gateway::approval::Desk;
use sluice_gateway::config::{Config, ConnectionConfig, IssuerConfig, UpstreamConfig};
use sluice_gateway::evidence::Evidence;
use sluice_gateway::gateway::Gateway;
use sluice_gateway::identity::Authenticator;
use sluice_gateway::identity::dev::{DEV_AUDIENCE, DEV_ISSUER, DevIssuer, TokenRequest};
use sluice_gateway::limits::Limits;
use sluice_gateway::listen::web::Front;
use sluice_gateway::session::Sessions;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const RULES: &str = r#"
language 1
pack test.path "1.0.0" { owner "tests" reviewed 2026-11-01 }
pattern mail = /\b[a-z0-9.]{1,40}@[a-z0-9]{1,40}\.(?:com|org)\b/
pattern codename = words ["project titan"] nocase
scope all { protocol == mcp }
rule mask_mail {
  meta { id "PATH-1" severity high gdpr ["Art. 32"] }
  on response in all
  match mail
  then mask redact(with: "[mail]")
}
rule no_codename {
  meta { id "PATH-2" severity high tags [secrets] }
  on request in all
  match codename
  then block "It is not to be named."
}
"#;

pub struct Place {
    pub address: SocketAddr,
    pub evidence: Evidence,
    pub connection: ConnectionConfig,
    dev: DevIssuer,
    client: Client<HttpConnector, Full<Bytes>>,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

impl Place {
    pub async fn http(upstream: SocketAddr) -> Self {
        let url = format!("http://{upstream}/mcp").parse().unwrap();
        let headers = BTreeMap::from([("authorization".to_owned(), "Bearer of-the-gateway".to_owned())]);
        Self::with(ConnectionConfig::new(UpstreamConfig::Http { url, headers, authorities: None })).await
    }

    pub async fn stdio(script: &str) -> Self {
        let command = ["python3", "-u", "-c", script].map(str::to_owned).to_vec();
        Self::with(ConnectionConfig::new(UpstreamConfig::Stdio { command, env: BTreeMap::new(), cwd: None })).await
    }

    pub async fn with(connection: ConnectionConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevIssuer::open(dir.path()).unwrap();
        let stop = CancellationToken::new();
        let keys = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut issuer = IssuerConfig::new(DEV_ISSUER);
        issuer.audiences = vec![DEV_AUDIENCE.to_owned()];
        issuer.jwks_url = Some(format!("http://{}/dev-issuer/jwks.json", keys.local_addr().unwrap()).parse().unwrap());
        let router = dev.router::<()>();
        tokio::spawn(async move { axum::serve(keys, router).await });

        let evidence = Evidence::open(dir.path().join("evidence")).unwrap();
        let options = CompileOptions {
            today: jiff::civil::date(2026, 11, 23),
            keys: sluice_engine::Keyring::for_tests(),
            packs: PackSource::embedded(),
        };
        let compiled = sluice_dsl::compile_source("path.rules", RULES, &options);
        let rendered = compiled.render(false);
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            identity: None,
            certificates: None,
            tunnel: None,
            listeners: Vec::new(),
            public_url: None,
            store: dir.path().join("evidence"),
            signing_key: None,
            rules: Vec::new(),
            trusted_keys: Vec::new(),
            issuers: vec![issuer.clone()],
            connections: BTreeMap::from([("up".to_owned(), connection.clone())]),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            mask_keys: BTreeMap::new(),
            break_glass: Vec::new(),
            exports: Vec::new(),
            webhooks: Vec::new(),
            postgres: None,
            deny_list: None,
            roles: sluice_gateway::identity::Roles::default(),
            dev: None,
        };
        let front = Front::bind(&config).await.unwrap();
        let address = front.address().unwrap();
        config.listen = address;
        let gateway = Gateway {
            config,
            desk: Desk::new(evidence.clone(), None, &[], &[]),
            authenticator: Authenticator::new(&[issuer]),
            evidence: evidence.clone(),
            sessions: Sessions::new(evidence.clone()),
            limits: Limits::default(),
            agents: std::sync::Arc::default(),
            policy: ArcSwap::from_pointee(compiled.policy.expect(&rendered)),
            budget: sluice_engine::Budget::new(64 << 20),
            dev_issuer: None,
        };
        tokio::spawn(sluice_gateway::listen::serve(front, None, Arc::new(gateway), stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, evidence, connection, dev, client, _dir: dir, _stop: stop.drop_guard() }
    }

    pub fn token(&self, user: &str) -> String {
        let request = TokenRequest {
            user: user.to_owned(),
            groups: vec!["dev".to_owned()],
            ttl: Duration::from_secs(600),
            audience: DEV_AUDIENCE.to_owned(),
            service: false,
        };
        self.dev.sign(&request).unwrap()
    }

    pub async fn call(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("http://{}/mcp/up", self.address));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.token("ana@corp.example")));
        }
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "application/json, text/event-stream");
        }
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        self.client.request(request).await.unwrap()
    }

    pub async fn post(&self, body: &str) -> (u16, String) {
        read(self.call("POST", &[], body).await).await
    }

    /// All records, as JSON text, once `enough` of them are there.
    pub async fn records(&self, enough: impl Fn(&str) -> bool) -> String {
        for _ in 0..100 {
            let mut all = String::new();
            for session in self.evidence.sessions().unwrap() {
                let session = serde_json::to_value(&session).unwrap();
                let id = session.as_object().unwrap().values().find_map(|v| v.as_str().filter(|s| s.len() == 36));
                let id = sluice_gateway::evidence::SessionId::parse(id.unwrap()).unwrap();
                for record in self.evidence.session(&id).unwrap() {
                    all += &serde_json::to_string(&record).unwrap();
                    all.push('\n');
                }
            }
            if enough(&all) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        panic!("the records never came");
    }
}

pub async fn read(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    (status, String::from_utf8(text).unwrap())
}

/// What the upstream does with one request.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Waits for the other side to close.
    Hang,
}

/// An upstream that answers every request with the same steps and then closes.
pub struct Upstream {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<String>>>,
    /// True once a connection was closed by the other side.
    pub left: Arc<Mutex<bool>>,
    pub steps: Arc<Mutex<Vec<Step>>>,
}

impl Upstream {
    pub async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, left) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<bool>>::default());
        let steps = Arc::new(Mutex::new(steps));
        let up = Self { address, seen: seen.clone(), left: left.clone(), steps: steps.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let steps = steps.lock().unwrap().clone();
                tokio::spawn(answer(socket, steps, seen.clone(), left.clone()));
            }
        });
        up
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(mut socket: TcpStream, steps: Vec<Step>, seen: Arc<Mutex<Vec<String>>>, left: Arc<Mutex<bool>>) {
    socket.set_nodelay(true).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        text.extend_from_slice(&buffer[..read]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            seen.lock().unwrap().push(all);
            break;
        }
    }
    for step in steps {
        match step {
            Step::Send(bytes) => {
                let _ = socket.write_all(&bytes).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Step::Hang => {
                while socket.read(&mut buffer).await.unwrap_or(0) > 0 {}
                *left.lock().unwrap() = true;
            }
        }
    }
}

pub fn head(content_type: &str, more: &str) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n{more}\r\n").into())
}

/// A chunked body whose end may be missing.
pub fn chunk(bytes: &[u8]) -> Step {
    Step::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

pub fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}
