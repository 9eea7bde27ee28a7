//! The end of a connection that is told: a close that takes back no word of it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Says the last words, if there are any, and closes. What the client still sends is read and thrown away, for a second at most: a
/// socket that is closed with unread bytes resets the connection, and a reset takes what was said before from a client that
/// has not read it yet.
pub(crate) async fn farewell(
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    words: Option<&[u8]>,
) {
    let _ = timeout(GOODBYE, async {
        if let Some(words) = words {
            write.write_all(words).await?;
        }
        write.shutdown().await?;
        let mut unread = [0; 4096];
        while read.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    /// The client has sent what nobody reads; it hears the words all the same, and then an orderly end.
    #[tokio::test]
    async fn what_is_said_last_arrives_though_bytes_are_unread() {
        for _ in 0..20 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(&[b'x'; 10_000]).await.unwrap();
            server.readable().await.unwrap();
            let served = tokio::spawn(async move {
                let (mut read, mut write) = server.split();
                farewell(&mut read, &mut write, Some(b"told")).await;
            });
            // A client that is slow to read.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"told");
            drop(client);
            served.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_goes_is_left_after_a_second() {
        let (_client, server) = tokio::io::duplex(64);
        let (mut read, mut write) = tokio::io::split(server);
        let begun = tokio::time::Instant::now();
        farewell(&mut read, &mut write, None).await;
        assert_eq!(begun.elapsed(), GOODBYE);
    }
}
