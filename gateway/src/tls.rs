//! TLS: connections out and who is believed about the other side, and the certificate that clients see.

mod clients;
mod identity;

pub(crate) use clients::{Revoked, Verifier, verifier};
pub use identity::{IdentityError, ServerIdentity};
pub(crate) use identity::{LOCAL_CERTIFICATE, Spoken};

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest file of authorities, in bytes: the web's own, some 150 of them, are a quarter of a megabyte.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// Certificate authorities that are believed in place of the web's.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

/// Why a file gives no certificate authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Unreadable(std::io::Error),
    /// It is longer than four mebibytes, or has no end.
    #[error("is longer than 4 MiB, too long for certificates: name the file of the authorities alone")]
    TooLong,
    /// It is no PEM (RFC 7468).
    #[error("is not PEM: begin a certificate with `-----BEGIN CERTIFICATE-----`")]
    NotPem,
    /// It has no certificate.
    #[error("has no certificate: it needs a `-----BEGIN CERTIFICATE-----` for each authority")]
    Empty,
    /// A certificate of it can't stand for an authority.
    #[error("has a certificate that can't be used: {0}")]
    Certificate(rustls::Error),
}

impl Authorities {
    /// The certificates of a PEM file; whatever else it holds is passed over.
    ///
    /// # Errors
    ///
    /// [`AuthoritiesError`]: one certificate that can't be used is enough, so that none is missed in silence.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let text = read(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|_: pem::Error| AuthoritiesError::NotPem)?;
            roots.add(certificate).map_err(AuthoritiesError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Self(Arc::new(roots)))
    }

    /// The certificates.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthoritiesError> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(AuthoritiesError::Unreadable)?;
    file.take(MAX_AUTHORITIES + 1).read_to_end(&mut text).map_err(AuthoritiesError::Unreadable)?;
    if text.len() as u64 > MAX_AUTHORITIES {
        return Err(AuthoritiesError::TooLong);
    }
    Ok(text)
}

/// How to connect over TLS to a server; who vouches for it is `authorities`, else the web's, and what it is shown is `own`.
///
/// # Errors
///
/// TLS can't be set up, which is a mistake of the build.
pub(crate) fn client(
    authorities: Option<&Authorities>,
    own: Option<&ServerIdentity>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let roots = match authorities {
        Some(Authorities(roots)) => Arc::clone(roots),
        None => Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match own {
        Some(own) => config.with_client_cert_resolver(own.resolver()),
        None => config.with_no_client_auth(),
    }))
}

/// Connects over http or https; who vouches for the other side is `authorities`, else the web's.
///
/// # Errors
///
/// TLS can't be set up, which is a mistake of the build.
pub(crate) fn connector(authorities: Option<&Authorities>) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector_over(connector, authorities)
}

/// The same over connections that are made otherwise.
///
/// # Errors
///
/// As for [`connector`].
pub(crate) fn connector_over<C>(
    connector: C,
    authorities: Option<&Authorities>,
) -> Result<HttpsConnector<C>, rustls::Error> {
    let builder = match authorities {
        None => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(default_provider())?,
        Some(Authorities(roots)) => HttpsConnectorBuilder::new().with_tls_config(
            ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(Arc::clone(roots))
                .with_no_client_auth(),
        ),
    };
    Ok(builder.https_or_http().enable_http1().enable_http2().wrap_connector(connector))
}
