//! The certificate that this gateway shows: to its clients, or to a server that asks for one.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{AuthoritiesError, Verifier, read};
use crate::private;

/// A chain of certificates, and the key of the first. `Debug` shows neither.
#[derive(Clone)]
pub struct ServerIdentity(Arc<CertifiedKey>);

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerIdentity(…)")
    }
}

/// Why files give no identity of a server.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificates can't be used.
    #[error("`certificate`: the file {0}")]
    Certificate(AuthoritiesError),
    /// The key can't be used.
    #[error("`key`: the file {0}")]
    Key(AuthoritiesError),
    /// The key's file can't be read, or others can read it.
    #[error("`key`: the file can't be read: {0}")]
    Private(std::io::Error),
    /// The file holds no private key.
    #[error("`key`: the file has no private key: it needs a `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// Certificate and key don't fit, or are of a kind that isn't known.
    #[error("`certificate` and `key` can't be used together: {0}")]
    Unfit(rustls::Error),
}

/// What is spoken by whoever shows a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoken {
    /// The protocols (ALPN, RFC 7301); none: it isn't asked.
    pub(crate) protocols: &'static [&'static [u8]],
    /// The versions of TLS.
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

static MODERN: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl Spoken {
    /// These protocols over TLS 1.2 and 1.3.
    pub(crate) fn of(protocols: &'static [&'static [u8]]) -> Self {
        Self { protocols, versions: rustls::DEFAULT_VERSIONS }
    }

    /// These protocols over TLS 1.3 alone.
    pub(crate) fn modern(protocols: &'static [&'static [u8]]) -> Self {
        Self { protocols, versions: MODERN }
    }
}

impl ServerIdentity {
    /// Reads a chain of certificates, the server's own first, and its private key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read(certificate).map_err(IdentityError::Certificate)?;
        Self::of(&chain, &read(key).map_err(IdentityError::Key)?)
    }

    /// The same where nobody but its owner may read the key's file.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]
    pub fn read_private(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read(certificate).map_err(IdentityError::Certificate)?;
        Self::of(&chain, &private::read(key).map_err(IdentityError::Private)?)
    }

    /// For loopback: made once in `folder`, for this machine's own names. `tunnel.pem` there is for clients to believe.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]
    pub(crate) fn local(folder: &Path) -> Result<Self, IdentityError> {
        let made = private::read_or_create(&folder.join("tunnel.key"), || {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
            Ok((made.cert.pem() + &made.signing_key.serialize_pem()).into_bytes())
        });
        let text = made.map_err(IdentityError::Private)?;
        let identity = Self::of(&text, &text)?;
        let unwritten = |error| IdentityError::Certificate(AuthoritiesError::Unreadable(error));
        std::fs::write(folder.join(LOCAL_CERTIFICATE), pem_of(&identity.0.cert)).map_err(unwritten)?;
        Ok(identity)
    }

    fn of(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|_| IdentityError::Certificate(AuthoritiesError::NotPem))?;
        if certificates.is_empty() {
            return Err(IdentityError::Certificate(AuthoritiesError::Empty));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::NoKey)?;
        let pair = CertifiedKey::from_der(certificates, key, &default_provider()).map_err(IdentityError::Unfit)?;
        Ok(Self(Arc::new(pair)))
    }

    /// How to take connections; where there is a `verifier`, clients may show certificates. Nothing early is read: what is sent
    /// early can be replayed.
    ///
    /// # Errors
    ///
    /// TLS can't be set up, which is a mistake of the build.
    pub(crate) fn server(
        &self,
        spoken: Spoken,
        verifier: Option<Verifier>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(spoken.versions)?;
        let asks = verifier.is_some();
        let config = match verifier {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.0))));
        config.alpn_protocols = spoken.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.max_early_data_size = 0;
        if asks {
            // What is resumed has the certificate of the session before, which nobody verifies again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }

    /// The chain and its key.
    pub(crate) fn pair(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }

    /// Shows it to a server that asks.
    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

/// The file of a certificate that was made, without its key, beside the store.
pub(crate) const LOCAL_CERTIFICATE: &str = "tunnel.pem";

/// RFC 7468.
fn pem_of(chain: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in data_encoding::BASE64.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
