//! Assembles a gateway from its configuration and runs it: the way of the data in one function.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sluice_dsl::{Compilation, CompileOptions, Policy};
use sluice_engine::{Budget, Keyring};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::Agents,
    approval::Desk,
    config::Config,
    control::Control,
    evidence::{Evidence, EvidenceError},
    gateway::Gateway,
    identity::{
        Authenticator, DenyList, ServiceTokens, WATCH,
        dev::{DevIssuer, DevIssuerError},
    },
    limits::Limits,
    listen::{Workers, postgres, tcp, tunnel, web},
    private,
    session::Sessions,
    tls::{IdentityError, ServerIdentity},
};

/// All inspected streams together hold at most this, in bytes.
const INSPECTION_MEMORY: usize = 256 * 1024 * 1024;
/// How long requests under way may take to end after the gateway was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How often it is kept when service tokens were last used.
const USES: Duration = Duration::from_secs(60);
/// The packs in force when no rules are configured.
const STANDARD: [&str; 3] = ["std.pii", "std.secrets", "std.sql"];

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The rules have errors; the text shows them with their lines.
    #[error("the rules can't be used:\n{0}")]
    Rules(String),
    /// Development mode is for this machine alone. Write a configuration to listen elsewhere.
    #[error("without a configuration, or a certificate for agents, the gateway listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The evidence store can't be used.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The development issuer can't be used.
    #[error(transparent)]
    DevIssuer(#[from] DevIssuerError),
    /// The deny list can't be read.
    #[error("can't use the deny list {path}: {reason}")]
    DenyList {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The gateway's own tokens can't be read.
    #[error("can't use the service tokens {path}: {source}")]
    ServiceTokens {
        /// Their file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The root of the mask keys can't be read or made.
    #[error("can't use the mask key {path}: {source}")]
    MaskKey {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate that was made for agents on this machine can't be used.
    #[error(
        "can't use the certificate that was made in {folder}: {source}; remove its files `tunnel.*` to have a new one"
    )]
    Certificate {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// Agents can't be listened for.
    #[error("can't listen for agents on {address}: {source}{}", tunnel_hint(source))]
    Tunnel {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address can't be listened on, or the listener failed.
    #[error("can't listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; end what listens there, or choose another port with `--listen`",
        io::ErrorKind::AddrNotAvailable => "; the address is none of this machine's",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are the system's: choose another with `--listen`",
        _ => "",
    }
}

fn tunnel_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; end what listens there, or choose another port with `--tunnel`",
        io::ErrorKind::AddrNotAvailable => "; the address is none of this machine's",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are the system's: choose another with `--tunnel`",
        _ => "",
    }
}

/// Where a gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// For HTTP.
    pub http: SocketAddr,
    /// How URLs of that address begin: `http` or `https`.
    pub scheme: &'static str,
    /// For PostgreSQL's clients, where that is configured.
    pub postgres: Option<SocketAddr>,
    /// For agents, where that is configured.
    pub agents: Option<SocketAddr>,
    /// For clients that can't say who they are, each with its connection's name.
    pub listeners: Vec<(SocketAddr, String)>,
}

/// Runs a gateway until `shutdown`; `ready` learns the addresses when connections are accepted.
///
/// # Errors
///
/// [`ServeError`]; nothing was served unless the listener failed later.
pub async fn run(mut config: Config, shutdown: CancellationToken, ready: impl FnOnce(Bound)) -> Result<(), ServeError> {
    if config.dev.is_some() && !config.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.listen));
    }
    let address = config.listen;
    let failed = |source| ServeError::Listen { address, source };

    let policy = compile(&config)?;
    let evidence = Evidence::open_signed(&config.store, &config.signing_key())?;
    let control = Control::bind(&config.store).await;
    let web = web::Front::bind(&config).await.map_err(failed)?;
    config.listen = web.address().map_err(failed)?;
    let front = match &config.postgres {
        None => None,
        Some(listen) => {
            let address = listen.address;
            let failed = |source| ServeError::Listen { address, source };
            let front = postgres::Front::bind(listen).await.map_err(failed)?;
            Some((front.address().map_err(failed)?, front))
        }
    };
    let tunnel = bind_tunnel(&mut config).await?;
    let mut plain = Vec::new();
    for listener in &config.listeners {
        let address = listener.listen;
        let failed = |source| ServeError::Listen { address, source };
        let bound = tcp::Bound::bind(listener).await.map_err(failed)?;
        plain.push((bound.address().map_err(failed)?, listener.connection.clone(), bound));
    }
    let bound = Bound {
        http: config.listen,
        scheme: config.scheme(),
        postgres: front.as_ref().map(|(address, _)| *address),
        agents: tunnel.as_ref().map(tunnel::Bound::address),
        listeners: plain.iter().map(|(address, connection, _)| (*address, connection.clone())).collect(),
    };

    let gateway = Arc::new(assemble(config, policy, evidence)?);
    gateway.desk.recover().await?;
    let stopping = CancellationToken::new();
    ready(bound);

    let http = crate::listen::serve(web, tunnel, Arc::clone(&gateway), stopping.clone());
    let postgres = async {
        if let Some((_, front)) = front {
            front.serve(Arc::clone(&gateway), stopping.clone()).await;
        }
    };
    // Threads that nobody would use are not started.
    let workers = if plain.is_empty() { None } else { Some(Arc::new(Workers::start().map_err(failed)?)) };
    let plain = plain
        .into_iter()
        .zip(std::iter::repeat(workers))
        .filter_map(|((.., bound), workers)| Some(bound.serve(Arc::clone(&gateway), workers?, stopping.clone())));
    let plain = futures_util::future::join_all(plain);
    // Boxed: the sessions of all are long futures.
    let serving = Box::pin(async {
        let (served, (), _) = tokio::join!(http, postgres, plain);
        served
    });
    let public = gateway.public_url();
    let serving = async {
        tokio::select! {
            served = serving => served,
            () = crate::control::serve(control, &gateway) => Ok(()),
            () = watch_denied(&gateway) => Ok(()),
            () = gateway.desk.deliver(&public) => Ok(()),
            () = keep_uses(&gateway) => Ok(()),
            () = crate::export::run(&gateway.config.exports, &gateway.evidence, &gateway.config.store) => Ok(()),
        }
    };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown.cancelled() => {
            stopping.cancel();
            tokio::time::timeout(DRAIN, serving).await.unwrap_or_else(|_| {
                tracing::warn!(seconds = DRAIN.as_secs(), "requests under way did not end in time and are cut off");
                Ok(())
            })
        }
    };
    stopping.cancel();
    gateway.desk.drain().await;
    if let Some(Err(error)) = gateway.authenticator.service_tokens().map(|tokens| tokens.keep_uses()) {
        tracing::warn!(%error, "when service tokens were last used can't be kept");
    }
    // Sessions end with their connections where those have an end; the others end here.
    let closed = gateway.sessions.drain("shutdown").await;
    tracing::info!(left_behind = closed, "stopped");
    served.map_err(failed)
}

/// Holds live sessions against the deny list, where there is one; never ends.
async fn watch_denied(gateway: &Gateway) {
    let Some(list) = gateway.authenticator.deny_list() else { return std::future::pending().await };
    loop {
        tokio::time::sleep(WATCH).await;
        let reading = Arc::clone(list);
        // A task that panics has left the list as it was; it is looked at again.
        let _ = tokio::task::spawn_blocking(move || reading.refresh()).await;
        gateway.sessions.close_where(|identity| list.denies(identity), "revoked").await;
    }
}

/// Keeps when the gateway's own tokens were last used; never ends.
async fn keep_uses(gateway: &Gateway) {
    let Some(tokens) = gateway.authenticator.service_tokens() else { return std::future::pending().await };
    loop {
        tokio::time::sleep(USES).await;
        let tokens = Arc::clone(tokens);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || tokens.keep_uses()).await {
            tracing::warn!(%error, "when service tokens were last used can't be kept");
        }
    }
}

/// The listener for agents, where one is configured.
async fn bind_tunnel(config: &mut Config) -> Result<Option<tunnel::Bound>, ServeError> {
    let folder = config.store.parent().map_or_else(PathBuf::new, Path::to_owned);
    let Some(tunnel) = &mut config.tunnel else { return Ok(None) };
    if tunnel.identity.is_none() {
        if !tunnel.listen.ip().is_loopback() {
            return Err(ServeError::NotLoopback(tunnel.listen));
        }
        let made = ServerIdentity::local(&folder);
        tunnel.identity = Some(made.map_err(|source| ServeError::Certificate { folder, source })?);
    }
    let address = tunnel.listen;
    let bound = tunnel::Bound::bind(tunnel).await.map_err(|source| ServeError::Tunnel { address, source })?;
    tunnel.listen = bound.address();
    Ok(Some(bound))
}

/// The parts of a gateway, put together: identity, sessions, rules, evidence.
///
/// # Errors
///
/// [`ServeError::DevIssuer`] in development mode, [`ServeError::DenyList`].
pub fn assemble(config: Config, policy: Policy, evidence: Evidence) -> Result<Gateway, ServeError> {
    let mut authenticator = Authenticator::new(&config.issuers);
    let dev_issuer = config.dev.as_ref().map(|dev| DevIssuer::open(&dev.data)).transpose()?;
    if let Some(issuer) = &dev_issuer {
        authenticator = authenticator.with_dev_issuer(issuer);
    }
    if let Some(path) = &config.deny_list {
        let unusable = |reason| ServeError::DenyList { path: path.clone(), reason };
        authenticator = authenticator.with_deny_list(DenyList::open(path).map_err(unusable)?);
    }
    let path = config.store.with_file_name("service-tokens.json");
    let tokens = ServiceTokens::open(&path).map_err(|source| ServeError::ServiceTokens { path, source })?;
    let authenticator = authenticator.with_service_tokens(tokens);
    Ok(Gateway {
        desk: Desk::new(evidence.clone(), authenticator.deny_list().cloned(), &config.webhooks, &config.break_glass),
        authenticator,
        sessions: Sessions::new(evidence.clone()),
        agents: Arc::new(Agents::default()),
        evidence,
        policy: ArcSwap::from_pointee(policy),
        limits: Limits::default(),
        budget: Budget::new(INSPECTION_MEMORY),
        dev_issuer,
        config,
    })
}

/// Compiles the configured rules or bundle, or the standard packs in development mode.
///
/// # Errors
///
/// [`ServeError::Rules`] with the rendered diagnostics, [`ServeError::MaskKey`].
pub fn compile(config: &Config) -> Result<Policy, ServeError> {
    compile_with(config, keyring(config, mask_root(config)?))
}

/// Says whether the configured rules can be used; makes no key and keeps nothing.
///
/// # Errors
///
/// [`ServeError::Rules`] with the rendered diagnostics.
pub fn check_rules(config: &Config) -> Result<(), ServeError> {
    compile_with(config, keyring(config, [0; 32])).map(drop)
}

/// The configured rules with their texts, for those who explain them; makes no key, so that it masks nothing.
///
/// # Errors
///
/// [`ServeError::Rules`] with the rendered diagnostics.
pub fn compiled_rules(config: &Config) -> Result<Compilation, ServeError> {
    compilation(config, keyring(config, [0; 32]))
}

fn compile_with(config: &Config, keys: Keyring) -> Result<Policy, ServeError> {
    compilation(config, keys)?.policy.ok_or_else(|| ServeError::Rules("they give no policy".to_owned()))
}

fn compilation(config: &Config, keys: Keyring) -> Result<Compilation, ServeError> {
    let options = CompileOptions::new(keys);
    let compilation = if config.rules.is_empty() {
        sluice_dsl::compile_packs(&STANDARD, &options)
    } else {
        sluice_dsl::bundle::deploy(&config.rules, &config.trusted_keys, &options)
            .map_err(|error| ServeError::Rules(error.to_string()))?
    };
    if compilation.has_errors() {
        return Err(ServeError::Rules(compilation.render(false)));
    }
    Ok(compilation)
}

/// The keys of masks: the configured ones; the others come from the root.
fn keyring(config: &Config, root: [u8; 32]) -> Keyring {
    let named = config.mask_keys.iter().filter(|(name, _)| *name != "root");
    named.fold(Keyring::from_root(root), |keys, (name, key)| keys.with(name, key.bytes()))
}

/// What keys without an entry are made of: the key `root`, or a file made beside the store.
fn mask_root(config: &Config) -> Result<[u8; 32], ServeError> {
    if let Some(root) = config.mask_keys.get("root") {
        return Ok(root.bytes());
    }
    let path = config.store.with_file_name("mask-root.key");
    private::read_or_create(&path, || Ok(rand::random::<[u8; 32]>().to_vec()))
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).map_err(|_| io::Error::other("it is not 32 bytes")))
        .map_err(|source| ServeError::MaskKey { path, source })
}
