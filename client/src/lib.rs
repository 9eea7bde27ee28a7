//! The agents' protocol `sluice/1`, and a client of the gateway for programs to embed.
//!
//! [`wire`] is the frames alone, without sockets. A [`Tunnel`] is one connection to a gateway, over QUIC or, where UDP is blocked,
//! over TLS; [`Tunnel::open`] opens a session on it and gives a [`Channel`] that reads and writes as a socket does. Tokens are asked
//! for when they are needed and renewed before they expire; a certificate may stand in their place ([`Settings::certified`]). A
//! [`Service`] is the other way round: it serves targets of its own network through the gateway, and listens nowhere.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluice_client::{Fixed, Settings, Tunnel, wire::ConnectionName};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let token = std::env::var("SLUICE_TOKEN")?;
//! let tunnel = Tunnel::new(Settings::new("gateway.example.org:7701", Fixed::new(token)))?;
//! let name = ConnectionName::new("ledger").ok_or("no name of a connection")?;
//! let mut channel = tunnel.open(&name, Some("nightly report")).await?;
//! channel.write_all(b"PING\r\n").await?;
//! channel.shutdown().await?;
//! let mut answer = Vec::new();
//! channel.read_to_end(&mut answer).await?;
//! # Ok(())
//! # }
//! ```

mod channel;
mod lease;
mod link;
mod pump;
mod serve;
mod settings;
pub mod stream;
mod tunnel;
pub mod wire;

pub use channel::{Channel, Keep};
pub use link::Transport;
pub use pump::pump;
pub use serve::{Event, Service, Targets};
pub use settings::{Choice, Fixed, Settings, TokenError, Tokens};
pub use tunnel::{OpenError, Tunnel};
