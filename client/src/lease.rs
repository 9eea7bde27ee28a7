//! How long an identity counts, and the renewal of its token in time. A certificate isn't renewed: its sessions end with it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    link::Way,
    settings::Tokens,
    stream::{FrameError, read_frame},
    wire::{Answer, ConnectionName, Frame as _, Opening, Token},
};

/// A token is renewed this long before it expires, or earlier where it lives long.
const SOON: Duration = Duration::from_secs(1);
/// No token is renewed earlier than this before it expires.
const EARLY: Duration = Duration::from_secs(60);
/// How long the gateway may take for its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The sessions that one token holds open: of one connection's name on one connection of QUIC, or one session over TLS.
#[derive(Debug)]
pub(crate) struct Lease {
    _renewal: Option<DropGuard>,
}

impl Lease {
    /// A lease that counts for `seconds`, and is renewed as long as it is held, where there are tokens.
    pub(crate) fn new(
        way: Way,
        tokens: Option<Arc<dyn Tokens>>,
        connection: ConnectionName,
        session: Option<String>,
        seconds: u32,
    ) -> Arc<Self> {
        let Some(tokens) = tokens else { return Arc::new(Self { _renewal: None }) };
        let over = CancellationToken::new();
        let lease = Arc::new(Self { _renewal: Some(over.clone().drop_guard()) });
        let renewing = renew(way, tokens, connection, session, Duration::from_secs(seconds.into()));
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = renewing => {}
            }
        });
        lease
    }
}

/// The leases of a connection of QUIC, by the connection's name.
#[derive(Debug, Default)]
pub(crate) struct Leases(Vec<(ConnectionName, Weak<Lease>)>);

impl Leases {
    /// The lease under this name, made where there is none.
    pub(crate) fn of(&mut self, name: &ConnectionName, make: impl FnOnce() -> Arc<Lease>) -> Arc<Lease> {
        self.0.retain(|(_, lease)| lease.strong_count() > 0);
        if let Some(lease) = self.0.iter().find(|(of, _)| of == name).and_then(|(_, lease)| lease.upgrade()) {
            return lease;
        }
        let lease = make();
        self.0.push((name.clone(), Arc::downgrade(&lease)));
        lease
    }
}

async fn renew(
    way: Way,
    tokens: Arc<dyn Tokens>,
    connection: ConnectionName,
    session: Option<String>,
    counts: Duration,
) {
    let mut until = Instant::now() + counts;
    let mut left = counts;
    loop {
        tokio::time::sleep_until(until - (left / 5).clamp(SOON.min(left / 2), EARLY)).await;
        left = match send(&way, &*tokens, &connection, session.clone()).await {
            Ok(Some(seconds)) => Duration::from_secs(seconds.into()),
            // The gateway doesn't take it: it ends the sessions itself, and says why.
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%connection, %error, "a token could not be renewed");
                Duration::ZERO
            }
        };
        let renewed = Instant::now() + left;
        if renewed > until + SOON {
            until = renewed;
            continue;
        }
        // The same token again, or none: later there may be a newer one, as long as the old one counts.
        left = until.saturating_duration_since(Instant::now());
        if left < SOON / 4 {
            return;
        }
        tokio::time::sleep(left / 4).await;
        left = until.saturating_duration_since(Instant::now());
    }
}

/// Sends a newer token; how many seconds it counts, None where it is refused.
async fn send(
    way: &Way,
    tokens: &dyn Tokens,
    connection: &ConnectionName,
    session: Option<String>,
) -> Result<Option<u32>, String> {
    let token = tokens.token().await.map_err(|error| error.to_string())?;
    let token = Token::new(token).ok_or("it is no token")?;
    let opening = Opening::Token { token, connection: connection.clone(), session };
    let frame = opening.encode().map_err(|error| error.to_string())?;
    let asked = async {
        let (mut reader, _writer) = way.stream(&frame).await?;
        read_frame::<Answer>(&mut reader).await
    };
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(Answer::Accepted { seconds, .. })) => Ok(Some(seconds)),
        Ok(Ok(Answer::Refused { code, message })) => {
            tracing::warn!(%connection, %code, message, "the gateway refuses the newer token");
            Ok(None)
        }
        Ok(Err(FrameError::Io(error))) => Err(error.to_string()),
        Ok(Err(FrameError::Wire(error))) => Err(error.to_string()),
        Err(_) => Err("the gateway doesn't answer".to_owned()),
    }
}
