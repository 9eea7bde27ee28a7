//! Keys with which clients cancel what their sessions run: the gateway's own in the place of the server's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::lock;
use crate::evidence::{Event, Record, RequestOutcome};
use crate::gateway::Gateway;
use crate::protocol::postgres::startup::CancelKey;
use crate::session::Session;
use crate::upstream::postgres::{Server, cancel};

/// The keys that cancel, by the number that stands for the process. Clones share one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancels {
    table: Arc<Mutex<HashMap<u32, Target>>>,
}

#[derive(Clone, Debug)]
struct Target {
    key: CancelKey,
    waiting: Arc<Waiting>,
    upstream: Arc<Server>,
    upstream_key: CancelKey,
    session: Arc<Session>,
}

/// A command of a session that waits for an approval, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waits: AtomicBool,
    cancelled: Notify,
}

impl Waiting {
    /// A command waits until the guard is dropped.
    pub(super) fn begin(&self) -> impl Drop + '_ {
        struct Waits<'a>(&'a AtomicBool);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        // What was cancelled before is not this one.
        let _ = self.cancelled.notified().now_or_never();
        self.waits.store(true, Ordering::Release);
        Waits(&self.waits)
    }

    /// Resolves when the client cancels what waits.
    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// Cancels what waits; false where nothing does.
    fn cancel(&self) -> bool {
        let waits = self.waits.load(Ordering::Acquire);
        if waits {
            self.cancelled.notify_one();
        }
        waits
    }
}

/// A key that cancels, until it is dropped.
pub(crate) struct Registered {
    cancels: Cancels,
    key: CancelKey,
    waiting: Arc<Waiting>,
}

impl Registered {
    /// What waits in the session.
    pub(crate) fn waiting(&self) -> Arc<Waiting> {
        Arc::clone(&self.waiting)
    }

    pub(crate) fn key(&self) -> &CancelKey {
        &self.key
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.cancels.table).remove(&self.key.process);
    }
}

impl Cancels {
    /// A key for a session, which nobody can guess: its process is as random as its secret.
    pub(crate) fn register(
        &self,
        session: &Arc<Session>,
        upstream: &Arc<Server>,
        upstream_key: CancelKey,
        long: bool,
    ) -> Registered {
        let secret = rand::random::<[u8; 32]>();
        let secret = Bytes::copy_from_slice(&secret[..if long { 32 } else { 4 }]);
        let mut table = lock(&self.table);
        let process = loop {
            // Positive, since clients take it for a signed number.
            let process = rand::random::<u32>() >> 1;
            if process != 0 && !table.contains_key(&process) {
                break process;
            }
        };
        let key = CancelKey { process, secret };
        let (upstream, session, waiting) = (Arc::clone(upstream), Arc::clone(session), Arc::<Waiting>::default());
        table.insert(
            process,
            Target { key: key.clone(), waiting: Arc::clone(&waiting), upstream, upstream_key, session },
        );
        Registered { cancels: self.clone(), key, waiting }
    }

    /// Cancels what the session of this key runs; whoever asks learns nothing.
    pub(crate) async fn cancel(&self, gateway: &Gateway, key: &CancelKey) {
        let found = lock(&self.table).get(&key.process).cloned();
        let Some(target) = found.filter(|target| verify_slices_are_equal(&target.key.secret, &key.secret).is_ok())
        else {
            tracing::info!("a request to cancel with an unknown key");
            return;
        };
        let event = Event::Request {
            exchange: 0,
            method: "cancel".to_owned(),
            name: None,
            body: String::new(),
            purpose: target.session.purpose.as_ref().map(ToString::to_string),
            outcome: RequestOutcome::Forwarded,
            hits: Vec::new(),
            approval: None,
        };
        if let Err(error) = gateway.evidence.append(Record::now(target.session.id.clone(), event)).await {
            tracing::error!(%error, "a request to cancel is not recorded and does not pass");
            return;
        }
        if target.waiting.cancel() {
            // The server runs nothing of it; to cancel there would hit what comes next.
            return;
        }
        if let Err(error) = cancel(&target.upstream, &target.upstream_key).await {
            tracing::warn!(session = %target.session.id, %error, "a request to cancel did not arrive");
        }
    }
}
