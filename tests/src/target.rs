//! A target of a connection of kind `tcp`, that does with each connection what a test wants, and keeps what it received.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a target received, of all its connections.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<Mutex<Vec<u8>>>);

impl Received {
    /// Keeps more.
    pub fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    /// All of it so far, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// The running target; ended when dropped.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it received.
    pub received: Received,
    task: JoinHandle<()>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    /// Serves each connection with this.
    pub async fn start<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream, Received) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received::default();
        let kept = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                tokio::spawn(serve(socket, kept.clone()));
            }
        });
        Self { address, received, task }
    }

    /// Says back what it hears, at once, and ends when it hears the end.
    pub async fn echo() -> Self {
        Self::named("").await
    }

    /// The same, which says first which one of several it is.
    pub async fn named(text: &'static str) -> Self {
        Self::start(move |mut socket, received| async move {
            if socket.write_all(text.as_bytes()).await.is_err() {
                return;
            }
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                received.push(&buffer[..read]);
                if socket.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            let _ = socket.shutdown().await;
        })
        .await
    }

    /// Hears everything to the end and then says back how many bytes there were, after this text.
    pub async fn count(text: &'static str) -> Self {
        Self::start(move |mut socket, received| async move {
            let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
            loop {
                match socket.read(&mut buffer).await {
                    Ok(0) => break,
                    Ok(read) => {
                        received.push(&buffer[..read]);
                        all += read;
                    }
                    Err(_) => {
                        received.push(b"[broken off]");
                        return;
                    }
                }
            }
            received.push(b"[end]");
            let _ = socket.write_all(format!("{text}{all}").as_bytes()).await;
            let _ = socket.shutdown().await;
        })
        .await
    }
}
