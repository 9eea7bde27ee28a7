//! The configuration when there is no file: development mode, on this machine only.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{
    Config, ConnectionConfig, DEFAULT_LISTEN, DEFAULT_TUNNEL, DevMode, TunnelConfig, TunnelLimits, UpstreamConfig,
};
use crate::identity::Roles;

/// The data directory of development mode: `$SLUICE_DATA`, else `.sluice` in the working directory.
#[must_use]
pub fn data_dir() -> PathBuf {
    std::env::var_os("SLUICE_DATA").map_or_else(|| PathBuf::from(".sluice"), PathBuf::from)
}

impl Config {
    /// The embedded default: loopback, its own issuer, the standard packs, and the bundled server as connection `demo`.
    ///
    /// # Errors
    ///
    /// When the path of this program can't be told: it is what the connection `demo` runs.
    pub fn development(data: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?
            .into_os_string()
            .into_string()
            .map_err(|_| io::Error::other("the path of this program is not UTF-8"))?;
        let upstream =
            UpstreamConfig::Stdio { command: vec![program, "demo-server".to_owned()], env: BTreeMap::new(), cwd: None };
        Ok(Self {
            listen: DEFAULT_LISTEN,
            identity: None,
            certificates: None,
            tunnel: Some(TunnelConfig {
                listen: DEFAULT_TUNNEL,
                identity: None,
                certificates: None,
                limits: TunnelLimits::default(),
                http3: false,
            }),
            listeners: Vec::new(),
            public_url: None,
            store: data.join("evidence"),
            signing_key: None,
            rules: Vec::new(),
            trusted_keys: Vec::new(),
            issuers: Vec::new(),
            deny_list: None,
            roles: Roles::default(),
            connections: BTreeMap::from([("demo".to_owned(), ConnectionConfig::new(upstream))]),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            mask_keys: BTreeMap::new(),
            break_glass: Vec::new(),
            webhooks: Vec::new(),
            exports: Vec::new(),
            postgres: None,
            dev: Some(DevMode { data: data.to_owned() }),
        })
    }
}
