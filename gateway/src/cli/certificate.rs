//! The certificate that `sluice connect` and `sluice agent` show in the place of a token.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use clap::Args;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use crate::tls::{IdentityError, ServerIdentity};

#[derive(Debug, Args)]
pub(super) struct CertificateArgs {
    /// Show this certificate to the gateway, in the place of a token: its chain in PEM; read again for each connection.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// The key of `--client-certificate`, in PEM; nobody but its owner may read the file.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
}

impl CertificateArgs {
    /// The certificate that is named, if one is.
    ///
    /// # Errors
    ///
    /// It can't be used.
    pub(super) fn open(&self) -> Result<Option<Arc<dyn ResolvesClientCert>>, String> {
        let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) else { return Ok(None) };
        let last = read(certificate, key)
            .map_err(|error| format!("`--client-certificate` and `--client-key` can't be used: {error}"))?;
        let files = Files { certificate: certificate.clone(), key: key.clone(), last: Mutex::new(last) };
        Ok(Some(Arc::new(files)))
    }
}

/// Files that somebody may renew: certificates of programs often count for an hour.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    last: Mutex<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Files {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.certificate, &self.key) {
            Ok(read) => *last = read,
            // Half written, perhaps.
            Err(error) => eprintln!("sluice: the certificate can't be read anew, the one before is shown: {error}"),
        }
        Some(Arc::clone(&last))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, IdentityError> {
    ServerIdentity::read_private(certificate, key).map(|identity| identity.pair())
}
