//! How `sluice connect` and `sluice agent` find their gateway, and what they show it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use rustls::RootCertStore;
use sluice_client::{Settings, wire::ConnectionName};

use super::{
    certificate::CertificateArgs,
    tokens::{Source, TokenArgs},
};
use crate::{
    config::{DEFAULT_TUNNEL, data_dir},
    tls::{Authorities, LOCAL_CERTIFICATE},
};

#[derive(Debug, Args)]
pub(super) struct GatewayArgs {
    /// The gateway: a name or an address, and a port (default: $SLUICE_GATEWAY, else this machine's).
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// The name that the gateway's certificate is for, where that isn't the one in `--gateway`.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The authorities that vouch for the gateway, in PEM (default: the web's; for this machine's own gateway its certificate).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    certificate: CertificateArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// The data directory of this machine's own gateway (default: $SLUICE_DATA, else .sluice).
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

impl GatewayArgs {
    /// The settings of a client for these connections; `client` is what it calls itself.
    ///
    /// # Errors
    ///
    /// There is neither a token nor a certificate, or nobody that vouches for the gateway.
    pub(super) fn settings(&self, client: &str, connections: &[&str]) -> Result<Settings, String> {
        let data = self.data.clone().unwrap_or_else(data_dir);
        let configured = self.gateway.clone().or_else(|| std::env::var("SLUICE_GATEWAY").ok());
        let is_own = configured.is_none();
        let gateway = configured.unwrap_or_else(|| DEFAULT_TUNNEL.to_string());
        let certificate = self.certificate.open()?;
        let mut settings = match certificate {
            // With a certificate a token is brought where an option names it, and not because there is one.
            Some(certificate) if !self.token.is_given() => Settings::certified(gateway, certificate),
            certificate => {
                let tokens = Source::new(&self.token, &data, &gateway, connections)?;
                Settings { certificate, ..Settings::new(gateway, tokens) }
            }
        };
        settings.roots = self.roots(&data, is_own)?;
        settings.server_name.clone_from(&self.server_name);
        settings.client = Some(client.to_owned());
        Ok(settings)
    }

    fn roots(&self, data: &Path, is_own: bool) -> Result<Option<Arc<RootCertStore>>, String> {
        let own = data.join(LOCAL_CERTIFICATE);
        let file = match &self.ca {
            Some(file) => file,
            None if is_own && own.exists() => &own,
            None => return Ok(None),
        };
        Ok(authorities(Some(file))?.map(|authorities| authorities.roots()))
    }
}

/// The authorities that `--ca` names, if it does.
pub(super) fn authorities(file: Option<&Path>) -> Result<Option<Authorities>, String> {
    file.map(|file| Authorities::read(file).map_err(|error| format!("{} {error}", file.display()))).transpose()
}

pub(super) fn name(text: &str) -> Result<ConnectionName, String> {
    ConnectionName::new(text).ok_or_else(|| "a connection's name is 1 to 64 of A-Z, a-z, 0-9, `-` and `_`".to_owned())
}
