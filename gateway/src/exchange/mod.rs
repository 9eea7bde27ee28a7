//! The way of one request: session, message, rules, record, upstream, and its response back through the inspector.

mod bridge;
mod enter;
mod farewell;
mod hold;
mod inspect;
mod judge;
mod open;
mod patience;
pub(crate) mod postgres;
mod record;
mod reply;
mod request;
mod respond;
mod sharing;
mod table;

pub(crate) use farewell::farewell;
pub(crate) use inspect::{Inspector, Released, general_options};
pub(crate) use open::Open;
pub(crate) use patience::Patience;
pub(crate) use record::Recorder;
pub(crate) use reply::{Downstream, Head, refuse};
pub(crate) use request::{Caller, delete, get, post};
pub(crate) use respond::{Done, Exchange, GRACE, events_head, stop_refusal};
pub(crate) use sharing::Sharing;
pub(crate) use table::Table;

use crate::gateway::Gateway;
use crate::upstream::http::Clients;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What all exchanges of a running gateway share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clients: Clients,
    pub(crate) table: Table,
    /// Cancelled when the gateway stops.
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    /// Ends a session and records why, once.
    pub(crate) async fn end(&self, session: &Arc<Open>, reason: &str) {
        self.table.forget(session);
        if let Some(child) = &session.child {
            child.end();
        }
        if let Err(error) = self.gateway.sessions.close(&session.id, reason).await {
            tracing::error!(session = %session.id, %error, "the end of a session is not recorded");
        }
    }
}
