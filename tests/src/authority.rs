//! A certificate authority of a company's own, which no browser knows, and servers that show its certificates.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::SystemTime;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The authority.
#[derive(Debug)]
pub struct Authority {
    certificate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: what has the name of its issuer is taken for self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        Self { certificate: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its own certificate, as `ca_file` has it.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for a server on 127.0.0.1, and its key.
    fn sign(&self) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // Named like its authority it would pass for a certificate that signs itself.
        params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        (params.signed_by(&key, &self.certificate).unwrap(), key)
    }

    /// A certificate that says who its holder is, and its key, in PEM.
    pub fn issue_for(&self, name: &str) -> (String, String) {
        self.issue_with(name, CertificateParams::default())
    }

    /// The same, that counts until this moment.
    pub fn issue_until(&self, name: &str, end: SystemTime) -> (String, String) {
        let mut params = CertificateParams::default();
        params.not_after = end.into();
        self.issue_with(name, params)
    }

    fn issue_with(&self, name: &str, mut params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial(name));
        (params.signed_by(&key, &self.certificate).unwrap().pem(), key.serialize_pem())
    }

    /// A list of revoked certificates, those of these names, that counts until a year (of our era).
    pub fn revoke(&self, names: &[&str], until: i32) -> String {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: serial(name),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.certificate).unwrap().pem().unwrap()
    }

    /// The same in PEM: the certificate and the key.
    pub fn issue(&self) -> (String, String) {
        let (certificate, key) = self.sign();
        (certificate.pem(), key.serialize_pem())
    }

    /// Its own certificate as clients believe it.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }

    /// What a server on 127.0.0.1 shows.
    pub fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.sign();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The number of the certificate of this name.
fn serial(name: &str) -> SerialNumber {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    SerialNumber::from(hasher.finish())
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A listener on a free port of this machine, and its URL; over TLS with a certificate of the authority.
pub(crate) async fn listen(authority: Option<&Authority>) -> (TcpListener, Option<TlsAcceptor>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if authority.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, authority.map(Authority::acceptor), url)
}

/// Answers every request on the listener until the task is ended.
pub(crate) fn serve<A, F, B>(listener: TcpListener, tls: Option<TlsAcceptor>, answer: A) -> JoinHandle<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            tokio::spawn(connection(socket, tls.clone(), answer.clone()));
        }
    })
}

async fn connection<A, F, B>(socket: TcpStream, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // Whoever goes away, or doesn't believe the certificate, is no failure of the server.
    match tls {
        None => drop(http.serve_connection(TokioIo::new(socket), service).await),
        Some(tls) => {
            if let Ok(socket) = tls.accept(socket).await {
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            }
        }
    }
}
