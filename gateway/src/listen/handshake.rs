//! The TLS of a listener whose clients may show certificates: set up anew when the list of those taken back changes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::ClientCertificates;
use crate::exchange::farewell;
use crate::identity::{AuthError, Authenticator, Identity, WATCH, certified};
use crate::stamp::Stamp;
use crate::tls::{Revoked, ServerIdentity, Spoken, Verifier, verifier};

/// How long a timer runs at most: clocks are set, and certificates outlast what timers can count.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is shown to clients, and what is believed of what they show.
pub(super) struct Handshake {
    identity: ServerIdentity,
    spoken: Spoken,
    certificates: Option<ClientCertificates>,
    current: ArcSwap<Setup>,
    stamp: Option<Stamp>,
}

/// The handshake as it is for a time.
pub(super) struct Setup {
    server: Arc<ServerConfig>,
    /// None where no certificate of a client counts.
    verifier: Option<Verifier>,
}

impl Setup {
    /// For whoever shakes hands.
    pub(super) fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Handshake {
    /// Clients may show `certificates`, but for those that were revoked.
    ///
    /// # Errors
    ///
    /// The certificate can't be used, or the file of those revoked not be read.
    pub(super) fn new(
        identity: &ServerIdentity,
        spoken: Spoken,
        certificates: Option<&ClientCertificates>,
    ) -> io::Result<Arc<Self>> {
        let file = certificates.and_then(|certificates| certificates.revoked.as_ref());
        let stamp = file.and_then(|file| std::fs::metadata(file).ok()).as_ref().map(Stamp::of);
        let setup = setup(identity, spoken, certificates).map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            identity: identity.clone(),
            spoken,
            certificates: certificates.cloned(),
            current: ArcSwap::from_pointee(setup),
            stamp,
        }))
    }

    /// As it is now.
    pub(super) fn current(&self) -> Arc<Setup> {
        self.current.load_full()
    }

    /// Shakes hands; who the client is by its certificate, if it is somebody.
    ///
    /// # Errors
    ///
    /// The client goes away, or shows what doesn't count.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Arc<Self>,
        socket: S,
    ) -> io::Result<(TlsStream<S>, Option<Arc<Certified>>)> {
        let setup = self.current();
        let accepting = TlsAcceptor::from(Arc::clone(&setup.server)).accept(socket).into_fallible();
        let stream = match accepting.await {
            Ok(stream) => stream,
            Err((error, socket)) => {
                // TLS has said why; that arrives only where nothing of the client is left unread.
                let (mut read, mut write) = tokio::io::split(socket);
                farewell(&mut read, &mut write, None).await;
                return Err(error);
            }
        };
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certified = self.certified(setup, shown);
        Ok((stream, certified))
    }

    /// Whom a chain that `setup` has verified stands for; None where that is nobody.
    pub(super) fn certified(
        self: &Arc<Self>,
        setup: Arc<Setup>,
        chain: &[CertificateDer<'_>],
    ) -> Option<Arc<Certified>> {
        let identity = certified(chain.first()?, &self.certificates.as_ref()?.clients)?;
        Some(Arc::new(Certified {
            handshake: Arc::clone(self),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            identity,
            verified: ArcSwap::from(setup),
        }))
    }

    /// Follows the file, without end where there is one. While it can't be read no client is asked for a certificate.
    pub(super) async fn watch(&self) {
        let Some(file) = self.certificates.as_ref().and_then(|certificates| certificates.revoked.as_ref()) else {
            return;
        };
        let mut seen = self.stamp;
        loop {
            sleep(WATCH).await;
            let now = tokio::fs::metadata(file).await.ok().as_ref().map(Stamp::of);
            if now == seen {
                continue;
            }
            seen = now;
            let read = match setup(&self.identity, self.spoken, self.certificates.as_ref()) {
                Ok(read) => {
                    tracing::info!(path = %file.display(), "the list of revoked certificates was read");
                    Ok(read)
                }
                Err(reason) => {
                    let path = file.display();
                    tracing::error!(%path, reason, "no client's certificate counts until the list of revoked ones can be read");
                    setup(&self.identity, self.spoken, None)
                }
            };
            if let Ok(read) = read {
                self.current.store(Arc::new(read));
            }
        }
    }
}

fn setup(
    identity: &ServerIdentity,
    spoken: Spoken,
    certificates: Option<&ClientCertificates>,
) -> Result<Setup, String> {
    let verifier = match certificates {
        None => None,
        Some(ClientCertificates { authorities, revoked, .. }) => {
            let lists = revoked.as_ref().map(|file| Revoked::read(file)).transpose()?;
            Some(verifier(authorities, lists.as_ref()).map_err(|error| error.to_string())?)
        }
    };
    let server = identity.server(spoken, verifier.clone()).map_err(|error| error.to_string())?;
    Ok(Setup { server, verifier })
}

/// Who a client is by the certificate that it showed when it connected.
pub(super) struct Certified {
    handshake: Arc<Handshake>,
    chain: Vec<CertificateDer<'static>>,
    identity: Identity,
    /// What the chain was verified by last.
    verified: ArcSwap<Setup>,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certified").field("user", &self.identity.user_id).finish_non_exhaustive()
    }
}

impl Certified {
    /// The identity, for something that begins now: a certificate that was revoked since it was shown begins nothing.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: it counts no longer, or the deny list names it.
    pub(super) fn identity(&self, authenticator: &Authenticator) -> Result<Identity, AuthError> {
        let now = self.handshake.current();
        if !Arc::ptr_eq(&now, &self.verified.load()) {
            let Some((first, others)) = self.chain.split_first() else { return Err(AuthError::Missing) };
            let verifier = now.verifier.as_ref();
            let verifier =
                verifier.ok_or_else(|| AuthError::Certificate("the list of revoked ones can't be read".to_owned()))?;
            verifier
                .verify_client_cert(first, others, UnixTime::now())
                .map_err(|error| AuthError::Certificate(error.to_string()))?;
            self.verified.store(now);
        }
        self.held(authenticator)
    }

    /// The identity, for what is under way: that goes on until the certificate's end, unless the deny list names it.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub(super) fn held(&self, authenticator: &Authenticator) -> Result<Identity, AuthError> {
        authenticator.admit(self.identity.clone())
    }

    /// Who it is, whether or not it still counts.
    pub(super) fn named(&self) -> &Identity {
        &self.identity
    }

    /// Resolves `after` the time of a certificate is over; never where there is none.
    pub(super) async fn over(certified: Option<&Self>, after: Duration) {
        match certified {
            Some(certified) => certified.expired().await,
            None => std::future::pending().await,
        }
        sleep(after).await;
    }

    /// Resolves when the certificate's time is over.
    async fn expired(&self) {
        loop {
            let left = self.identity.expires.duration_since(Timestamp::now());
            match Duration::try_from(left) {
                Ok(left) if !left.is_zero() => sleep(left.min(LONGEST)).await,
                _ => return,
            }
        }
    }
}
