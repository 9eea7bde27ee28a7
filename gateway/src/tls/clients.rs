//! What clients show: who vouches for their certificates, and which of these count no longer.

use std::{path::Path, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateRevocationListDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{Authorities, read};

/// What authorities have taken back: their lists of revoked certificates (CRLs, RFC 5280).
#[derive(Debug, Clone)]
pub(crate) struct Revoked(Vec<CertificateRevocationListDer<'static>>);

impl Revoked {
    /// The lists of a PEM file; whatever else it holds is passed over.
    ///
    /// # Errors
    ///
    /// A text that says why the file can't be used.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read(path).map_err(|error| error.to_string())?;
        let lists: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
        match lists {
            Ok(lists) if lists.is_empty() => {
                Err("has no list: it needs a `-----BEGIN X509 CRL-----` for each authority".to_owned())
            }
            Ok(lists) => Ok(Self(lists)),
            Err(_) => Err("is not PEM: begin a list with `-----BEGIN X509 CRL-----`".to_owned()),
        }
    }
}

/// Tells which certificates of clients count.
pub(crate) type Verifier = Arc<dyn ClientCertVerifier>;

/// Verifies certificates of these authorities; a client may show none. With lists of revoked ones, what no list that is still
/// current speaks for is refused, too.
///
/// # Errors
///
/// A list can't be read.
pub(crate) fn verifier(authorities: &Authorities, revoked: Option<&Revoked>) -> Result<Verifier, rustls::Error> {
    WebPkiClientVerifier::builder_with_provider(authorities.roots(), Arc::new(default_provider()))
        .with_crls(revoked.map(|lists| lists.0.clone()).unwrap_or_default())
        .enforce_revocation_expiration()
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}
