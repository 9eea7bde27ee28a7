//! The gateway under test: a data folder of its own, a free port, and connections by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::authority::Authority;
use crate::http::{post_with, send};
use crate::issuer::{AUDIENCE, Issuer};
use crate::place;
use crate::program::{Server, run};

/// The purpose that every token of the tests states where one is asked for.
pub const PURPOSE: &str = "nightly report";

/// What stands behind a connection.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// An HTTP endpoint.
    Http(String),
    /// An HTTPS endpoint, and the file with the authorities that vouch for it.
    Private(String, PathBuf),
    /// A program that the gateway starts, with its arguments.
    Stdio(Vec<String>),
    /// The lines of a connection as they stand in the configuration.
    Lines(String),
    /// Anything over TCP.
    Tcp(SocketAddr),
}

/// Which rules are in force.
#[derive(Debug, Clone)]
pub enum Rules {
    /// A file with one rule that never matches: the gateway refuses to start without rules.
    None,
    /// The standard packs.
    Standard,
    /// The text of one file.
    Text(String),
}

/// A gateway to be started.
#[derive(Debug)]
pub struct Setting {
    rules: Rules,
    connections: BTreeMap<String, Upstream>,
    /// The program that starts it, where it isn't started as it is.
    within: Vec<String>,
    /// Vouches for the issuer.
    authority: Option<Authority>,
    /// Further lines of `[[issuer]]`.
    issuer: String,
    /// Who that is, where it isn't the issuer of the tests.
    provider: Option<String>,
    /// Further tables of the configuration.
    tables: String,
    /// Further lines of connections.
    further: BTreeMap<String, String>,
    /// Lines of `[tunnel]`, where agents are listened for.
    tunnel: Option<String>,
    /// Lines about the address for HTTP.
    web: String,
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Sluice {
    folder: TempDir,
    within: Vec<String>,
    config: Option<PathBuf>,
    /// None in development mode, which has one of its own.
    issuer: Option<Arc<Issuer>>,
    server: Option<Server>,
    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub address: String,
    /// Where agents connect, such as `127.0.0.1:40124`; empty where they can't.
    pub tunnel: String,
    /// Vouches for what agents connect to.
    pub authority: Authority,
}

/// An MCP session through the gateway, already initialized.
#[derive(Debug)]
pub struct Session {
    /// The bearer token.
    pub token: String,
    id: Option<String>,
}

impl Session {
    /// The headers that every request of this session carries.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![("mcp-protocol-version", "2025-11-25")];
        headers.extend(self.id.as_deref().map(|id| ("mcp-session-id", id)));
        headers
    }
}

impl Setting {
    /// With these rules in place of none.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// With this connection.
    pub fn connection(mut self, name: &str, upstream: Upstream) -> Self {
        self.connections.insert(name.to_owned(), upstream);
        self
    }

    /// Started by this program, which gets the command as further arguments and the folder of the store as `$STORE`.
    pub fn within(mut self, wrapper: &[impl AsRef<str>]) -> Self {
        self.within = wrapper.iter().map(|part| part.as_ref().to_owned()).collect();
        self
    }

    /// With an issuer for whom this authority vouches, and these further lines about the issuer.
    pub fn issuer(mut self, authority: Option<Authority>, lines: &str) -> Self {
        (self.authority, self.issuer) = (authority, lines.to_owned());
        self
    }

    /// With this issuer in the place of the tests' own, and these further lines about it.
    pub fn provider(mut self, url: &str, lines: &str) -> Self {
        (self.provider, self.issuer) = (Some(url.to_owned()), lines.to_owned());
        self
    }

    /// With these further tables in its configuration.
    pub fn tables(mut self, tables: &str) -> Self {
        self.tables.push_str(tables);
        self
    }

    /// With these further lines about a connection.
    pub fn further(mut self, connection: &str, lines: &str) -> Self {
        self.further.insert(connection.to_owned(), lines.to_owned());
        self
    }

    /// With these lines about the address for HTTP.
    pub fn web(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.web);
        self
    }

    /// With a listener for agents, and these further lines about it.
    pub fn tunnel(mut self, lines: &str) -> Self {
        self.tunnel = Some(lines.to_owned());
        self
    }

    /// Writes the configuration and starts the gateway.
    pub async fn start(self) -> Sluice {
        let folder = folder();
        let rules: Vec<String> = match &self.rules {
            Rules::None => vec![write(&folder, "none.rules", NO_RULE)],
            Rules::Standard => ["pii", "secrets", "sql"]
                .map(|pack| path(place::root().join(format!("rules/std/{pack}.rules"))))
                .to_vec(),
            Rules::Text(text) => vec![write(&folder, "own.rules", text)],
        };
        let issuer = Issuer::start(self.authority.as_ref()).await;
        let mut config = format!(
            "store = \"store/evidence\"\n{}\n\n[rules]\nfiles = {}\n\n[[issuer]]\nurl = {:?}\naudience = {AUDIENCE:?}\nclock_skew = \"1s\"\n{}\n",
            self.web,
            json!(rules),
            self.provider.as_ref().unwrap_or(&issuer.url),
            self.issuer,
        );
        let authority = Authority::new();
        if let Some(lines) = &self.tunnel {
            let (certificate, key) = authority.issue();
            write(&folder, "tunnel.crt", &certificate);
            let key = write(&folder, "tunnel.key", &key);
            std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
            write(&folder, "ca.pem", &authority.pem());
            config.push_str(&format!(
                "\n[tunnel]\nlisten = \"127.0.0.1:0\"\ncertificate = \"tunnel.crt\"\nkey = \"tunnel.key\"\n{lines}\n"
            ));
        }
        for (name, upstream) in &self.connections {
            let upstream = match upstream {
                Upstream::Http(url) => format!("url = {url:?}"),
                Upstream::Private(url, file) => format!("url = {url:?}\nca_file = {file:?}"),
                Upstream::Stdio(command) => format!("command = {}", json!(command)),
                Upstream::Lines(lines) => lines.clone(),
                Upstream::Tcp(address) => format!("tcp = \"{address}\""),
            };
            let further = self.further.get(name).map_or("", String::as_str);
            config.push_str(&format!("\n[connection.{name}]\n{upstream}\n{further}\n"));
        }
        config.push_str(&self.tables);
        let file = PathBuf::from(write(&folder, "sluice.toml", &config));
        std::fs::create_dir(folder.path().join("store")).unwrap();
        Sluice::launch(folder, self.within, Some(file), Some(issuer), authority).await
    }
}

impl Sluice {
    /// A gateway without rules or connections yet.
    #[expect(clippy::new_ret_no_self, reason = "a test says what it wants and then starts it")]
    pub fn new() -> Setting {
        Setting {
            rules: Rules::None,
            connections: BTreeMap::new(),
            within: Vec::new(),
            authority: None,
            issuer: String::new(),
            provider: None,
            tables: String::new(),
            further: BTreeMap::new(),
            tunnel: None,
            web: String::new(),
        }
    }

    /// The gateway as it is without a configuration: the standard packs and the `demo` connection.
    pub async fn demo() -> Self {
        Self::launch(folder(), Vec::new(), None, None, Authority::new()).await
    }

    /// The gateway on a configuration of `examples/` as it stands, but for these texts of it, and its issuer, which the test has to
    /// replace by its own; and with these variables set.
    pub async fn example(name: &str, replaced: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let root = place::root();
        let folder = folder();
        let copy = folder.path().join("examples").join(name);
        std::fs::create_dir_all(&copy).unwrap();
        for file in std::fs::read_dir(root.join("examples").join(name)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        // Rules are named relative to the example.
        std::os::unix::fs::symlink(root.join("rules"), folder.path().join("rules")).unwrap();
        let config = copy.join("sluice.toml");
        let issuer = Issuer::start(None).await;
        let mut text = std::fs::read_to_string(&config).unwrap();
        let audience = format!("audience = {AUDIENCE:?}");
        let issuers = [("https://login.example.org", issuer.url.as_str()), ("audience = \"sluice\"", &audience)];
        for (from, to) in issuers.iter().chain(replaced) {
            assert!(text.contains(from), "{name} doesn't say {from}");
            text = text.replace(from, to);
        }
        std::fs::write(&config, text).unwrap();
        let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
        let within = std::iter::once("env".to_owned()).chain(variables).collect();
        Self::launch(folder, within, Some(config), Some(issuer), Authority::new()).await
    }

    async fn launch(
        folder: TempDir,
        within: Vec<String>,
        config: Option<PathBuf>,
        issuer: Option<Issuer>,
        authority: Authority,
    ) -> Self {
        let (address, tunnel) = Default::default();
        let issuer = issuer.map(Arc::new);
        let mut sluice = Self { folder, within, config, issuer, server: None, address, tunnel, authority };
        sluice.restart().await;
        sluice
    }

    /// Starts it on what the one before left; agents find it where it was.
    pub async fn restart(&mut self) {
        let mut serve = match self.within.split_first() {
            None => self.command(&[]),
            Some((program, args)) => {
                let mut wrapper = self.prepared(program);
                wrapper.args(args).arg(place::sluice());
                wrapper
            }
        };
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        if let Some(config) = &self.config {
            serve.arg("--config").arg(config);
        }
        if !self.tunnel.is_empty() {
            serve.args(["--tunnel", &self.tunnel]);
        }
        if let Ok(log) = std::fs::File::create(self.folder.path().join("stderr.log")) {
            serve.stderr(log);
        }
        let server = Server::start(serve).await;
        self.address = server.address.clone();
        let agents = server.said.iter().find_map(|line| line.strip_prefix("agents connect to "));
        self.tunnel = agents.and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned();
        self.server = Some(server);
    }

    /// Where clients of this connection are listened for that can't say who they are.
    pub fn listener(&self, connection: &str) -> std::net::SocketAddr {
        let said = &self.server.as_ref().expect("it runs").said;
        let start = format!("clients of {connection} connect to ");
        let address = said.iter().find_map(|line| line.strip_prefix(&start));
        address.unwrap_or_else(|| panic!("no listener for {connection} in {said:?}")).parse().unwrap()
    }

    /// The memory of the gateway, in KiB.
    pub fn memory(&self) -> u64 {
        let pid = self.server.as_ref().expect("it runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `sluice` with these arguments, in the gateway's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut sluice = self.prepared(place::sluice());
        sluice.args(args);
        sluice
    }

    fn prepared(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut prepared = Command::new(program);
        prepared.env("SLUICE_DATA", self.folder.path()).env("STORE", self.folder.path().join("store"));
        prepared.current_dir(self.folder.path());
        prepared
    }

    /// The endpoint of a connection.
    pub fn mcp(&self, connection: &str) -> String {
        format!("{}/mcp/{connection}", self.address)
    }

    /// A token for this user, good for the length of a test.
    pub async fn token(&self, user: &str, groups: &[&str]) -> String {
        if let Some(issuer) = &self.issuer {
            return issuer.token(user, groups, 3600, &Value::Null);
        }
        let mut token = self.command(&["token", "--user", user]);
        for group in groups {
            token.args(["--group", group]);
        }
        let done = run(token, "", Duration::from_secs(30)).await;
        assert_eq!(done.code, Some(0), "no token: {}", done.stderr);
        done.text().trim().to_owned()
    }

    /// The issuer whose tokens it accepts.
    pub fn issuer(&self) -> &Arc<Issuer> {
        self.issuer.as_ref().expect("development mode has an issuer of its own")
    }

    /// Initializes a session as `ada@example.org` of `engineering`, for the purpose of the tests.
    pub async fn open_session(&self, connection: &str) -> Session {
        self.open_session_of(connection, "engineering").await
    }

    /// The same as `ada@example.org` of another group.
    pub async fn open_session_of(&self, connection: &str, group: &str) -> Session {
        let token = self.token("ada@example.org", &[group]).await;
        let url = self.mcp(connection);
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        } });
        let answer = send(post_with(&url, Some(&token), &hello, &[("sluice-purpose", PURPOSE)])).await;
        assert!(answer.message().get("result").is_some(), "{}: {}", answer.status, answer.text());
        let id = Some(answer.header("mcp-session-id").to_owned()).filter(|id| !id.is_empty());
        let session = Session { token, id };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = send(post_with(&url, Some(&session.token), &initialized, &session.headers())).await;
        assert!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
        session
    }

    /// The records of this user's one session, as `sluice sessions show --json` prints them.
    pub async fn session_record(&self, user: &str) -> Value {
        let sessions = self.json(&["sessions", "list", "--json"]).await;
        let mine: Vec<&Value> = sessions.iter().filter(|session| session["user"] == user).collect();
        assert_eq!(mine.len(), 1, "one session of {user} in {sessions:#?}");
        let id = mine[0]["session"].as_str().expect("a session has an id").to_owned();
        self.json(&["sessions", "show", &id, "--json"]).await.into()
    }

    /// The records of all of this user's sessions, the oldest session first.
    pub async fn session_records(&self, user: &str) -> Vec<Value> {
        self.records_of(|session| session["user"] == user).await
    }

    /// The records of all sessions, the oldest session first.
    pub async fn records(&self) -> Vec<Value> {
        self.records_of(|_| true).await
    }

    async fn records_of(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let sessions = self.json(&["sessions", "list", "--json"]).await;
        let mut records = Vec::new();
        for session in sessions.iter().rev().filter(|session| wanted(session)) {
            let id = session["session"].as_str().expect("a session has an id").to_owned();
            records.extend(self.json(&["sessions", "show", &id, "--json"]).await);
        }
        records
    }

    async fn json(&self, args: &[&str]) -> Vec<Value> {
        let mut sluice = self.command(args);
        if let Some(config) = &self.config {
            sluice.arg("--config").arg(config);
        }
        let done = run(sluice, "", Duration::from_secs(30)).await;
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
        done.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Sends it a signal by name.
    pub async fn signal(&self, name: &str) {
        self.server.as_ref().expect("it runs").signal(name).await;
    }

    /// Waits for its end and gives its exit code.
    pub async fn wait(mut self) -> Option<i32> {
        self.server.take().expect("it runs").wait().await
    }

    /// Waits for its end in order; it can be started again.
    pub async fn ended(&mut self) {
        assert_eq!(self.server.take().expect("it runs").wait().await, Some(0), "it ends in order");
    }

    /// Ends it in order, as Ctrl-C does.
    pub async fn stop(self) {
        self.signal("INT").await;
        assert_eq!(self.wait().await, Some(0), "it ends in order");
    }

    /// Ends it at once, as `kill -9` does. What it had stored stays.
    pub async fn crash(&mut self) {
        self.server.take().expect("it runs").kill().await;
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }
}

/// The folder of a gateway, in memory where the machine has a place for that: the gateway refuses what it can't make durable within
/// 800 ms, and a disk that is busy with something else (an install, a build) takes longer. The tests of stores that
/// stall or fail bring that about themselves.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The bodies of all recorded responses, in order, each put together from its parts.
pub fn response_bodies(record: &Value) -> Vec<String> {
    let mut bodies: Vec<String> = Vec::new();
    for event in record.as_array().expect("records are listed") {
        if event["event"] == "response" {
            let body = event["body"].as_str().unwrap_or_default();
            match bodies.last_mut() {
                Some(last) if event["part"].as_u64().unwrap_or(0) > 0 => last.push_str(body),
                _ => bodies.push(body.to_owned()),
            }
        }
    }
    bodies
}

const NO_RULE: &str = r#"language 1
pack tests.none "1.0.0" { owner "tests" reviewed 2026-08-01 }
pattern never = /\bsluice-never-[0-9]{12}\b/
rule never {
  on both
  match never
  then alert
}
"#;

fn path(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    path(file)
}
