//! The configuration: one strict TOML file, read into types that can't be wrong.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

use crate::authorisation::{Access, Demands, Stated};
use crate::evidence::SigningKey;
use crate::identity::{CertifiedClient, ClaimMapping, Roles};
use crate::session::Confirm;
use crate::signing::Signer;
use crate::tls::{Authorities, ServerIdentity};

mod dev;
mod export;
mod postgres;
mod read;
#[cfg(test)]
mod tests;

pub use dev::data_dir;
pub use export::{ExportConfig, ExportHttp, ExportSyslog, ExportTo, HttpEnvelope};
pub use read::{ConfigErrors, Problem, load, parse, parse_duration};

/// Where the gateway listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);

/// Where agents connect unless told otherwise.
pub const DEFAULT_TUNNEL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7701);

/// The whole configuration of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The certificate that HTTP's clients see, all of which speak TLS then; None: plain HTTP.
    pub identity: Option<ServerIdentity>,
    /// Certificates that HTTP's clients may show in the place of a token; None: nobody's count.
    pub certificates: Option<ClientCertificates>,
    /// Where agents connect by `sluice/1`; None: nowhere.
    pub tunnel: Option<TunnelConfig>,
    /// Where clients connect that can't say who they are.
    pub listeners: Vec<ListenerConfig>,
    /// The URL clients use, when it differs from the listen address (a TLS front, a name).
    pub public_url: Option<Url>,
    /// The evidence store's folder.
    pub store: PathBuf,
    /// Signs its checkpoints; None: the file `signing.key` beside the store.
    pub signing_key: Option<SigningKey>,
    /// Rule files or directories, or one bundle. Empty only in development mode: the embedded standard packs.
    pub rules: Vec<PathBuf>,
    /// Public keys, of which one must have signed the bundle. Empty: no signature is asked for.
    pub trusted_keys: Vec<PathBuf>,
    /// The issuers whose tokens are accepted.
    pub issuers: Vec<IssuerConfig>,
    /// The file that names subjects and tokens that count no longer.
    pub deny_list: Option<PathBuf>,
    /// Who may do what with the gateway itself.
    pub roles: Roles,
    /// The connections by name (`/mcp/NAME`).
    pub connections: BTreeMap<String, ConnectionConfig>,
    /// `Origin` values accepted besides the gateway's own; requests without an `Origin` are not browsers'.
    pub allowed_origins: Vec<String>,
    /// `Host` values accepted besides the public URL's and loopback at the listen port.
    pub allowed_hosts: Vec<String>,
    /// Keys for hash, token and format-preserving masks, by name.
    pub mask_keys: BTreeMap<String, MaskKey>,
    /// Groups whose members may go on without an approval, which is reviewed afterwards.
    pub break_glass: Vec<String>,
    /// Who is told what waits for an approval.
    pub webhooks: Vec<WebhookConfig>,
    /// Where records of the evidence are sent.
    pub exports: Vec<ExportConfig>,
    /// Where clients of PostgreSQL connect.
    pub postgres: Option<PostgresListen>,
    /// Set when no file was given: loopback only, with its own issuer and the bundled demo server.
    pub dev: Option<DevMode>,
}

impl Config {
    /// What URLs of the address for HTTP begin with: `https` where there is a certificate.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.identity.is_some() { "https" } else { "http" }
    }

    /// The key that signs the store's checkpoints.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.signing_key.clone().unwrap_or_else(|| SigningKey::beside(&self.store))
    }
}

/// The listener for PostgreSQL's own clients. The database that a client names is the name of a connection.
#[derive(Debug, Clone)]
pub struct PostgresListen {
    /// The address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The certificate that clients see. None only where `plaintext` is set.
    pub identity: Option<ServerIdentity>,
    /// Clients may connect without TLS; only on loopback, since their tokens pass in clear text.
    pub plaintext: bool,
    /// Certificates that clients may show in the place of a token; None: nobody's count.
    pub certificates: Option<ClientCertificates>,
}

/// Certificates that clients of a listener may show in the place of a token.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// Who vouches for them.
    pub authorities: Authorities,
    /// The file with the authorities' lists of revoked certificates, which is watched.
    pub revoked: Option<PathBuf>,
    /// Whom they stand for: the first that fits.
    pub clients: Vec<CertifiedClient>,
}

/// Somebody who is told what waits for an approval. `Debug` doesn't show the URL, which may be a secret, nor the key.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Where messages are sent.
    pub url: Url,
    /// How they are written.
    pub format: WebhookFormat,
    /// Signs them, where whoever gets them can check that.
    pub signer: Option<Signer>,
    /// Only requests are told that one of these groups may decide; empty: all.
    pub groups: Vec<String>,
    /// The one person whom the messages reach: they have links to decide with, as a member of `groups`.
    pub approver: Option<String>,
    /// Who vouches for the server, in place of the web's certificate authorities.
    pub authorities: Option<Authorities>,
}

impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("host", &self.url.host_str())
            .field("format", &self.format)
            .field("groups", &self.groups)
            .field("approver", &self.approver)
            .finish_non_exhaustive()
    }
}

/// How messages to a webhook are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// JSON of our own, signed as Standard Webhooks has it.
    Generic,
    /// For an incoming webhook of Slack.
    Slack,
    /// For a workflow of Microsoft Teams: an adaptive card.
    Teams,
}

/// Development mode: what the embedded default adds.
#[derive(Debug, Clone)]
pub struct DevMode {
    /// The directory of the issuer's key and the store.
    pub data: PathBuf,
}

/// The listener of the agents' protocol: QUIC over UDP, and TLS over TCP at the same port.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What the gateway shows; None on loopback alone, where one is made and kept beside the store.
    pub identity: Option<ServerIdentity>,
    /// Certificates that agents may show in the place of a token; None: nobody's count.
    pub certificates: Option<ClientCertificates>,
    /// How much anybody may have at once.
    pub limits: TunnelLimits,
    /// MCP is served over HTTP/3 too.
    pub http3: bool,
}

/// How much one identity and one address may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelLimits {
    /// Streams of one connection.
    pub streams: u32,
    /// Sessions of one identity.
    pub streams_per_identity: u32,
    /// Connections of QUIC of one identity.
    pub connections_per_identity: u32,
    /// Connections of one address.
    pub connections_per_address: u32,
    /// Handshakes under way, of everybody; from a quarter of it on, addresses have to prove themselves first.
    pub handshakes: u32,
    /// Bytes a second of one identity, both directions of all its sessions together; None: as many as there are.
    pub bytes_per_second: Option<u32>,
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self {
            streams: 64,
            streams_per_identity: 256,
            connections_per_identity: 16,
            connections_per_address: 256,
            handshakes: 256,
            bytes_per_second: None,
        }
    }
}

/// A listener for clients that can't say who they are: whoever reaches it from its networks acts as one identity.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The connection that is behind it, of kind `tcp`.
    pub connection: String,
    /// What rules and records call those who connect.
    pub user: String,
    /// Their groups, sorted.
    pub groups: Vec<String>,
    /// What they connect for.
    pub purpose: Option<String>,
    /// What it shows to clients, all of which speak TLS then; None: plain TCP.
    pub identity: Option<ServerIdentity>,
    /// The networks that may connect.
    pub from: Vec<IpNet>,
    /// The proxies that say in the PROXY protocol, version 2, who connects; they have to.
    pub proxies: Vec<IpNet>,
    /// Connections at once.
    pub connections: u32,
    /// Connections of one address at once.
    pub connections_per_address: u32,
    /// Bytes a second, both directions of all connections together; None: as many as there are.
    pub bytes_per_second: Option<u32>,
}

/// An OpenID Connect issuer.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Its identifier, compared byte for byte with the claim `iss`.
    pub url: String,
    /// Accepted audiences besides the connection's own URL.
    pub audiences: Vec<String>,
    /// The clients whose tokens count, by the claims `azp` and `client_id`; empty: any client of the issuer.
    pub clients: Vec<String>,
    /// Where its keys are, when discovery is not to be asked.
    pub jwks_url: Option<Url>,
    /// Who vouches for its servers, in place of the web's certificate authorities.
    pub authorities: Option<Authorities>,
    /// How old known keys may become while the issuer can't be asked for new ones.
    pub keys_max_age: Duration,
    /// What its claims mean.
    pub claims: ClaimMapping,
    /// The signature algorithms accepted.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
}

impl IssuerConfig {
    /// An issuer with the defaults: groups from the claim `groups`, every asymmetric algorithm, 30 seconds of skew.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        Self {
            url: url.into(),
            audiences: Vec::new(),
            clients: Vec::new(),
            jwks_url: None,
            authorities: None,
            keys_max_age: Duration::from_secs(3600),
            claims: ClaimMapping::default(),
            algorithms: vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA],
            clock_skew: Duration::from_secs(30),
        }
    }
}

/// One system behind the gateway.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// How it is reached.
    pub upstream: UpstreamConfig,
    /// Whether a session must state its purpose.
    pub require_purpose: bool,
    /// The groups of agents that its server is reached through; empty: it is reached directly.
    pub agents: Vec<String>,
    /// The groups that may open it; empty: everyone who is authenticated.
    pub groups: Vec<String>,
    /// Who may open it besides, when, and for what.
    pub access: Access,
    /// Who confirms the purposes that are stated; None: nobody is asked.
    pub confirm: Option<Arc<Confirm>>,
    /// A session without traffic for this long is closed.
    pub idle: Duration,
    /// A session is closed when it is this old, whatever happens in it; None: it may last as long as it is used.
    pub lifetime: Option<Duration>,
}

impl ConnectionConfig {
    /// A connection with the defaults: no purpose required, open to everyone authenticated, closed after 15 idle minutes.
    #[must_use]
    pub fn new(upstream: UpstreamConfig) -> Self {
        Self {
            upstream,
            require_purpose: false,
            agents: Vec::new(),
            groups: Vec::new(),
            access: Access::default(),
            confirm: None,
            idle: Duration::from_secs(15 * 60),
            lifetime: None,
        }
    }

    /// What it asks of those who open it.
    #[must_use]
    pub fn demands(&self) -> Demands<'_> {
        Demands { groups: &self.groups, require_purpose: self.require_purpose, access: &self.access }
    }

    /// What is known of the purpose when it is opened, where this was stated: requests of MCP can each state their own.
    #[must_use]
    pub fn stated<'p>(&self, purpose: Option<&'p str>) -> Stated<'p> {
        match (purpose, &self.upstream) {
            (None, UpstreamConfig::Http { .. } | UpstreamConfig::Stdio { .. }) => Stated::Later,
            _ => Stated::Known(purpose),
        }
    }
}

/// How a system is reached. The values of `env` and `headers` are secrets: `Debug` shows their names alone.
#[derive(Clone)]
pub enum UpstreamConfig {
    /// A child process that speaks MCP over its standard input and output.
    Stdio {
        /// The program and its arguments; never empty.
        command: Vec<String>,
        /// What is added to its environment.
        env: BTreeMap<String, String>,
        /// Where it runs.
        cwd: Option<PathBuf>,
    },
    /// A server that speaks Streamable HTTP.
    Http {
        /// Its endpoint.
        url: Url,
        /// Headers sent with each request: the gateway's own credential.
        headers: BTreeMap<String, String>,
        /// Who vouches for the server, in place of the web's certificate authorities.
        authorities: Option<Authorities>,
    },
    /// Anything over TCP: bytes as they are.
    Tcp {
        /// A name or an address, and a port.
        address: String,
    },
    /// Anything over TCP that agents serve from inside another network: bytes as they are.
    Agents,
    /// A PostgreSQL server.
    Postgres(Arc<PostgresUpstream>),
}

/// A PostgreSQL server, and who the gateway is there. `Debug` doesn't show the password.
#[derive(Clone)]
pub struct PostgresUpstream {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database there.
    pub database: String,
    /// The user there.
    pub user: String,
    /// The user's password; empty where the server asks for none.
    pub password: String,
    /// The connection is encrypted and the server's certificate is checked.
    pub tls: bool,
    /// Who vouches for the server, in place of the web's certificate authorities.
    pub authorities: Option<Authorities>,
    /// The certificate that the server is shown, where it asks for one.
    pub identity: Option<ServerIdentity>,
    /// A value that a rule masks and that can't be masked in place ends its result; otherwise it is NULL.
    pub refuses_unmaskable: bool,
}

impl std::fmt::Debug for PostgresUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresUpstream")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl UpstreamConfig {
    /// The protocol that its clients speak, as rules and records name it.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Stdio { .. } | Self::Http { .. } => "mcp",
            Self::Tcp { .. } | Self::Agents { .. } => "tcp",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Whether it carries bytes as they are.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Agents)
    }
}

impl std::fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdio { command, env, cwd } => f
                .debug_struct("Stdio")
                .field("command", &command.first())
                .field("env", &env.keys())
                .field("cwd", cwd)
                .finish(),
            Self::Http { url, headers, .. } => {
                f.debug_struct("Http").field("host", &url.host_str()).field("headers", &headers.keys()).finish()
            }
            Self::Postgres(upstream) => upstream.fmt(f),
            Self::Agents => f.write_str("Agents"),
            Self::Tcp { address } => f.debug_struct("Tcp").field("address", address).finish(),
        }
    }
}

/// A key for masks: 32 bytes that `Debug` does not show.
#[derive(Clone)]
pub struct MaskKey([u8; 32]);

impl MaskKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey(…)")
    }
}
