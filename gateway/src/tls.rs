//! TLS: connections out and who is believed about the other side, and the certificate that clients see.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::private;

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

/// What authorities have taken back: their lists of revoked certificates (CRLs, RFC 5280).
#[derive(Debug, Clone)]
pub struct Revoked(Vec<CertificateRevocationListDer<'static>>);

impl Revoked {
    /// The lists of a PEM file; whatever else it holds is passed over.
    ///
    /// # Errors
    ///
    /// A text that says why the file can't be used.
    pub fn read(path: &Path) -> Result<Self, String> {
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

/// The longest chain of certificates of a server, in bytes.
const MAX_CHAIN: u64 = 256 * 1024;

/// What this gateway shows to those who connect to it: a chain of certificates, and the key of the first.
#[derive(Debug, Clone)]
pub struct ServerCertificate(Arc<CertifiedKey>);

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate's file can't be read.
    #[error("the certificate can't be read: {0}")]
    Unreadable(std::io::Error),
    /// The key's file can't be read, or others can read it.
    #[error("the key can't be read: {0}")]
    Key(std::io::Error),
    /// A file is no PEM (RFC 7468), or hasn't what it should have.
    #[error("{0} is not in PEM, or not there")]
    NotPem(&'static str),
    /// They don't go together, or are of a kind that isn't known.
    #[error("{0}")]
    Unusable(rustls::Error),
}

impl ServerCertificate {
    /// The chain of one PEM file and the key of another, which nobody but its owner may read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]: among others where the key is not the certificate's.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let mut text = Vec::new();
        let file = File::open(chain).map_err(CertificateError::Unreadable)?;
        file.take(MAX_CHAIN).read_to_end(&mut text).map_err(CertificateError::Unreadable)?;
        let key = private::read(key).map_err(CertificateError::Key)?;
        Self::of(&text, &key)
    }

    /// For loopback: made once in `folder`, for this machine's own names. `tunnel.pem` there is for clients to believe.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub(crate) fn local(folder: &Path) -> Result<Self, CertificateError> {
        let made = private::read_or_create(&folder.join("tunnel.key"), || {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
            Ok((made.cert.pem() + &made.signing_key.serialize_pem()).into_bytes())
        });
        let text = made.map_err(CertificateError::Key)?;
        let certificate = Self::of(&text, &text)?;
        let public = pem_of(&certificate.0.cert);
        std::fs::write(folder.join(LOCAL_CERTIFICATE), public).map_err(CertificateError::Unreadable)?;
        Ok(certificate)
    }

    fn of(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_: pem::Error| CertificateError::NotPem("the certificate"))?;
        if chain.is_empty() {
            return Err(CertificateError::NotPem("the certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NotPem("the key"))?;
        let pair = CertifiedKey::from_der(chain, key, &default_provider()).map_err(CertificateError::Unusable)?;
        Ok(Self(Arc::new(pair)))
    }

    /// TLS 1.3 with these protocols (ALPN, RFC 7301) alone, and nothing early: what is sent early can be replayed.
    ///
    /// # Errors
    ///
    /// TLS can't be set up, which is a mistake of the build.
    pub(crate) fn server(&self, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.0))));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.max_early_data_size = 0;
        Ok(config)
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

fn read(path: &Path) -> Result<Vec<u8>, AuthoritiesError> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(AuthoritiesError::Unreadable)?;
    file.take(MAX_AUTHORITIES + 1).read_to_end(&mut text).map_err(AuthoritiesError::Unreadable)?;
    if text.len() as u64 > MAX_AUTHORITIES {
        return Err(AuthoritiesError::TooLong);
    }
    Ok(text)
}

/// The certificate that clients see, or a server that asks for one, with its key. `Debug` shows neither.
#[derive(Clone)]
pub struct ServerIdentity {
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

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
    /// The file holds no private key.
    #[error("`key`: the file has no private key: it needs a `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// Certificate and key don't fit.
    #[error("`certificate` and `key` can't be used together: {0}")]
    Unfit(rustls::Error),
}

impl ServerIdentity {
    /// Reads a chain of certificates, the server's own first, and its private key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read(certificate).map_err(IdentityError::Certificate)?;
        let certificates = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|_| IdentityError::Certificate(AuthoritiesError::NotPem))?;
        if certificates.is_empty() {
            return Err(IdentityError::Certificate(AuthoritiesError::Empty));
        }
        let key = read(key).map_err(IdentityError::Key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| IdentityError::NoKey)?;
        let identity = Self { certificates, key: Arc::new(key) };
        identity.server(&[]).map_err(IdentityError::Unfit)?;
        Ok(identity)
    }

    /// How to take TLS connections; `protocols` are those of ALPN (RFC 7301) that are spoken.
    ///
    /// # Errors
    ///
    /// Certificate and key don't fit.
    pub(crate) fn server(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.server_for(protocols, None, None)
    }

    /// The same, for clients that may show certificates of these authorities: what a client shows is verified, and it may show none.
    /// With lists of revoked ones, what no list that is still current speaks for is refused, too.
    ///
    /// # Errors
    ///
    /// Certificate and key don't fit, or a list can't be read.
    pub(crate) fn server_for(
        &self,
        protocols: &[&[u8]],
        clients: Option<&Authorities>,
        revoked: Option<&Revoked>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(default_provider());
        let verifier = match clients {
            None => rustls::server::WebPkiClientVerifier::no_client_auth(),
            Some(authorities) => {
                rustls::server::WebPkiClientVerifier::builder_with_provider(authorities.roots(), Arc::clone(&provider))
                    .with_crls(revoked.map(|lists| lists.0.clone()).unwrap_or_default())
                    .enforce_revocation_expiration()
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| rustls::Error::General(error.to_string()))?
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.certificates.clone(), self.key.clone_key())?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// How to connect over TLS to a server; who vouches for it is `authorities`, else the web's, and what it is shown is `own`.
///
/// # Errors
///
/// Certificate and key of `own` don't fit.
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
        Some(own) => config.with_client_auth_cert(own.certificates.clone(), own.key.clone_key())?,
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
