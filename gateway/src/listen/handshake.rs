//! The TLS of a listener whose clients may show certificates: set up anew when the list of those taken back changes.

use std::io;
use std::path::PathBuf;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::identity::WATCH;
use crate::stamp::Stamp;
use crate::tls::{Authorities, Revoked, ServerIdentity};

/// What is shown to clients, and what is believed of what they show.
pub(super) struct Handshake {
    identity: ServerIdentity,
    protocols: &'static [&'static [u8]],
    clients: Option<Authorities>,
    revoked: Option<PathBuf>,
    current: ArcSwap<ServerConfig>,
    stamp: Option<Stamp>,
}

impl Handshake {
    /// Clients may show certificates of `clients` but for those that the file `revoked` names.
    ///
    /// # Errors
    ///
    /// The certificate can't be used, or the file not be read.
    pub(super) fn new(
        identity: &ServerIdentity,
        protocols: &'static [&'static [u8]],
        clients: Option<&Authorities>,
        revoked: Option<&PathBuf>,
    ) -> io::Result<Self> {
        let stamp = revoked.and_then(|file| std::fs::metadata(file).ok()).as_ref().map(Stamp::of);
        let lists = revoked.map(|file| Revoked::read(file)).transpose().map_err(io::Error::other)?;
        let current = identity.server_for(protocols, clients, lists.as_ref()).map_err(io::Error::other)?;
        Ok(Self {
            identity: identity.clone(),
            protocols,
            clients: clients.cloned(),
            revoked: revoked.cloned(),
            current: ArcSwap::new(current),
            stamp,
        })
    }

    /// As it is now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Follows the file, without end where there is one. While it can't be read no client is asked for a certificate.
    pub(super) async fn watch(&self) {
        let Some(file) = &self.revoked else { return };
        let mut seen = self.stamp;
        loop {
            sleep(WATCH).await;
            let now = tokio::fs::metadata(file).await.ok().as_ref().map(Stamp::of);
            if now == seen {
                continue;
            }
            seen = now;
            let server = Revoked::read(file).and_then(|lists| {
                let server = self.identity.server_for(self.protocols, self.clients.as_ref(), Some(&lists));
                server.map_err(|error| error.to_string())
            });
            let server = match server {
                Ok(server) => {
                    tracing::info!(path = %file.display(), "the list of revoked certificates was read");
                    Ok(server)
                }
                Err(reason) => {
                    let path = file.display();
                    tracing::error!(%path, reason, "no client's certificate counts until the list of revoked ones can be read");
                    self.identity.server(self.protocols)
                }
            };
            if let Ok(server) = server {
                self.current.store(server);
            }
        }
    }
}
