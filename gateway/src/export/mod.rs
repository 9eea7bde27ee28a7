//! Evidence for others: each `[[export]]` follows the records in their order and sends them on, at least once.
//!
//! - `feed`: the records that a destination has not got, with what is known of their sessions; `place`: how far it is.
//! - `ocsf`: what a record is called elsewhere. All destinations get that, each in its own envelope.
//! - `http`, `syslog`, `file`: the destinations.
//!
//! The evidence store is the queue: a destination that is down loses nothing, and nothing on the data path waits for one.

mod feed;
mod file;
mod http;
mod ocsf;
mod place;
mod syslog;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::{feed::Feed, file::File, http::Http, ocsf::Event, place::Place, syslog::Syslog};
use crate::backoff::Backoff;
use crate::config::{ExportConfig, ExportTo};
use crate::evidence::Evidence;

/// How often the store is looked at when there was nothing.
const IDLE: Duration = Duration::from_millis(500);
/// How often a failure that lasts is told.
const REMIND: Duration = Duration::from_secs(60);

/// Where records go.
enum Destination {
    File(File),
    Http(Http),
    Syslog(Syslog),
}

impl Destination {
    fn new(config: &ExportConfig) -> Self {
        match &config.to {
            ExportTo::File(path) => Self::File(File::new(path.clone())),
            ExportTo::Http(to) => Self::Http(Http::new(config.name.clone(), to.clone())),
            ExportTo::Syslog(to) => Self::Syslog(Syslog::new(to.clone())),
        }
    }

    /// Sends records, in order. When this returns they have arrived, as far as the destination can say so.
    ///
    /// # Errors
    /// Why they may not have, in words that hold nothing of the records. All of them are to be sent again.
    async fn send(&mut self, events: &[Event]) -> Result<(), String> {
        match self {
            Self::File(file) => file.send(events).await,
            Self::Http(http) => http.send(events).await,
            Self::Syslog(syslog) => syslog.send(events).await,
        }
    }
}

/// Where the places of a store's exports are kept: beside it.
pub(crate) fn folder(store: &Path) -> PathBuf {
    store.with_extension("exports")
}

/// Sends records to all destinations; never ends.
pub(crate) async fn run(exports: &[ExportConfig], evidence: &Evidence, store: &Path) {
    let all = exports.iter().map(|config| follow(config, evidence, store));
    futures_util::future::join_all(all).await;
    std::future::pending().await
}

/// Sends records to one destination, in their order, from where it is; never ends.
async fn follow(config: &ExportConfig, evidence: &Evidence, store: &Path) {
    let name = config.name.as_str();
    let mut feed = Feed::new(evidence.clone(), store.to_owned(), config.commands);
    let mut place = loop {
        match Place::open(&folder(store), name, config.from_now, &feed) {
            Ok(place) => break place,
            Err(reason) => {
                tracing::error!(export = name, reason, "an export doesn't know where it was; nothing is sent")
            }
        }
        Backoff::longest().wait().await;
    };
    let mut destination = Destination::new(config);
    loop {
        let (next, events) = match feed.from(place.next()).await {
            Ok(Some(next)) => next,
            Ok(None) => {
                sleep(IDLE).await;
                continue;
            }
            Err(reason) => {
                tracing::error!(export = name, reason, "an export can't read the evidence store");
                Backoff::longest().wait().await;
                continue;
            }
        };
        deliver(name, &mut destination, &events).await;
        while let Err(error) = place.advance(next) {
            // They would be sent again after a restart, which is allowed; to go on without end is not.
            tracing::error!(export = name, %error, "how far an export is can't be kept");
            Backoff::longest().wait().await;
        }
    }
}

/// Sends records until they have arrived.
async fn deliver(name: &str, destination: &mut Destination, events: &[Event]) {
    let (mut backoff, mut told, mut failed) = (Backoff::new(), None::<Instant>, 0_u32);
    while let Err(reason) = destination.send(events).await {
        failed += 1;
        if told.is_none_or(|told| told.elapsed() >= REMIND) {
            tracing::warn!(export = name, reason, records = events.len(), "an export is held up and tried again");
            told = Some(Instant::now());
        }
        backoff.wait().await;
    }
    if failed > 0 {
        tracing::info!(export = name, attempts = failed + 1, "an export goes on");
    }
}
