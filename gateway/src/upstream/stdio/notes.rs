//! The messages of a child that answer no request, as one event stream: a value that two of them share is found.

use crate::exchange::{Done, Exchange, Inspector, Patience, Released, general_options, stop_refusal};
use crate::protocol::mcp::sse::event;
use bytes::Bytes;
use sluice_engine::Format;

/// The notes of one exchange.
#[derive(Default)]
pub(super) struct Notes {
    inspector: Option<Inspector>,
    /// How long the last one may wait for the next.
    pub(super) patience: Patience,
    /// What a rule refused of them.
    pub(super) blocked: Option<String>,
}

impl Notes {
    /// Sends a message on, as far as it is decided.
    pub(super) async fn push(&mut self, exchange: &mut Exchange, message: &Bytes) -> Result<(), Done> {
        let session = &exchange.session;
        let inspector = self.inspector.get_or_insert_with(|| {
            let options = general_options(Format::Sse, session.general(&exchange.rules));
            Inspector::open(session.rules().program(), options, &exchange.shared.gateway.budget)
        });
        let released = inspector.push(event(message));
        self.patience.set(inspector.awaits_event());
        self.send(exchange, released).await
    }

    /// Sends on what waits for a message that has not come.
    pub(super) async fn decide(&mut self, exchange: &mut Exchange) -> Result<(), Done> {
        self.patience.set(false);
        let Some(inspector) = self.inspector.as_mut().filter(|inspector| inspector.awaits_event()) else {
            return Ok(());
        };
        let released = inspector.decide();
        self.send(exchange, released).await
    }

    async fn send(&mut self, exchange: &mut Exchange, mut released: Released) -> Result<(), Done> {
        exchange.recorder.decided(&released.decisions);
        let Some(stop) = released.stop else { return exchange.send(released.bytes).await };
        // The message that a rule refuses is left out as a whole, and the stream goes on without it.
        let (_, _, refusal) = stop_refusal(&stop, exchange.session.rules());
        self.blocked = Some(refusal.message);
        self.inspector = None;
        let whole = memchr::memmem::rfind(&released.bytes, b"\n\n").map_or(0, |end| end + 2);
        released.bytes.truncate(whole);
        exchange.send(released.bytes).await?;
        let rest = exchange.events.as_ref().map_or(&b""[..], |events| events.abandon());
        exchange.send(Bytes::from_static(rest)).await
    }
}
