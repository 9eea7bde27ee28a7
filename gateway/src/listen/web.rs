//! The front for HTTP: connections, their TLS where there is a certificate, and who is behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::{Certified, Handshake};
use crate::config::Config;
use crate::raw;
use crate::tls::Spoken;

/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes of TLS that may be under way at once.
const HANDSHAKES: usize = 512;
/// Where the system ran out of something, connections are taken again after this time.
const REST: Duration = Duration::from_millis(100);
/// How long requests under way may take to end once the certificate of their connection has expired.
pub(super) const DRAIN: Duration = Duration::from_secs(8);
/// What TLS is spoken for (RFC 7301).
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The front, bound and not yet serving.
#[derive(Debug)]
pub struct Front {
    listener: TcpListener,
    tls: Option<Arc<Handshake>>,
}

impl Front {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// It can't be listened on, or the certificate can't be used.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        let certificates = config.certificates.as_ref();
        let tls = config.identity.as_ref();
        let tls = tls.map(|identity| Handshake::new(identity, Spoken::of(PROTOCOLS), certificates)).transpose()?;
        Ok(Self { listener: TcpListener::bind(config.listen).await?, tls })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, and then until the requests under way are answered.
    pub(super) async fn serve(self, router: Router, shutdown: CancellationToken) {
        let Self { listener, tls } = self;
        let connections = TaskTracker::new();
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        if let Some(tls) = tls.clone() {
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move { tls.watch().await }));
        }
        loop {
            let next = async {
                let tls = match &tls {
                    Some(tls) => Some((Arc::clone(tls), Arc::clone(&handshakes).acquire_owned().await.ok()?)),
                    None => None,
                };
                Some((tls, listener.accept().await))
            };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = next => accepted,
            };
            match accepted {
                Some((tls, Ok((socket, peer)))) => {
                    let speaking = Speaking { peer, router: router.clone(), shutdown: shutdown.clone() };
                    connections.spawn(speaking.meet(socket, tls));
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, "a connection can't be taken");
                    sleep(REST).await;
                }
                None => break,
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }
}

/// One connection.
struct Speaking {
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
}

impl Speaking {
    async fn meet(self, socket: TcpStream, tls: Option<(Arc<Handshake>, OwnedSemaphorePermit)>) {
        // Who is gone already is found out by reading.
        let _ = socket.set_nodelay(true).and_then(|()| raw::keep_alive(&socket));
        let Some((tls, permit)) = tls else { return self.speak(socket, None).await };
        let peer = self.peer;
        let shaken = timeout(HANDSHAKE, tls.accept(socket)).await;
        drop(permit);
        match shaken {
            Ok(Ok((stream, certified))) => self.speak(stream, certified).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
            Err(_) => tracing::debug!(%peer, "a handshake took too long"),
        }
    }

    /// Answers requests until the client goes, its certificate expires or the gateway stops; what is under way may end.
    async fn speak<S>(self, stream: S, certified: Option<Arc<Certified>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, router, shutdown } = self;
        let router = TowerToHyperService::new(router);
        let shown = certified.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            shown.iter().for_each(|shown| drop(request.extensions_mut().insert(Arc::clone(shown))));
            router.call(request.map(Body::new))
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let expired = Certified::over(certified.as_deref(), Duration::ZERO);
        tokio::pin!(expired);
        let mut stopping = false;
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        tracing::debug!(%peer, %error, "a connection of HTTP broke off");
                    }
                    return;
                }
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut expired => {
                    tracing::info!(%peer, "a connection ends with its certificate");
                    connection.as_mut().graceful_shutdown();
                    // What is not over by then is cut off.
                    let _ = timeout(DRAIN, connection.as_mut()).await;
                    return;
                }
            }
        }
    }
}
