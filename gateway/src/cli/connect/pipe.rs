//! A target's bytes on standard input and output.

use std::io;

use sluice_client::{Channel, wire::Code};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Outcome, failed};

const PIECE: usize = 32 * 1024;

pub(super) async fn run(channel: Channel) -> Outcome {
    let (mut reader, mut writer, _keep) = channel.split();
    let up = async {
        let mut input = tokio::io::stdin();
        let mut buffer = vec![0; PIECE];
        loop {
            let taken = match input.read(&mut buffer).await? {
                0 => {
                    let _ = writer.shutdown().await;
                    return Ok::<(), io::Error>(());
                }
                read => writer.write_all(&buffer[..read]).await,
            };
            if taken.is_err() {
                // The other direction tells why.
                return Ok(());
            }
        }
    };
    let down = async {
        let mut output = tokio::io::stdout();
        while let Some(bytes) = reader.next().await? {
            output.write_all(&bytes).await?;
            output.flush().await?;
        }
        Ok::<(), io::Error>(())
    };
    // The target's end is the end: a terminal's input has none.
    let done = tokio::select! {
        done = down => done,
        Err(error) = up => Err(error),
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(error) => {
            let code = sluice_client::stream::code_of(&error);
            failed(&format!("broken off: {}", code.map_or_else(|| error.to_string(), |code: Code| code.to_string())))
        }
    }
}
