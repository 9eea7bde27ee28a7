//! One direction of a session of bytes: read, inspect, record, send on. Nothing more is read before what was read has been taken:
//! a slow reader slows the other side, and memory stays as it is.

use std::{future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use sluice_client::wire::Code;
use sluice_engine::{Budget, Program, RuleSet, Stop};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    carry::{Carried, carry},
    socket::{Source, Target},
    tally::Tally,
};
use crate::{
    evidence::EvidenceError,
    exchange::{Inspector, Patience, Released},
    meter::Meter,
    session::Session,
};

/// A side that has said nothing for so long may wait for an answer to what it said: longer than the pieces of one answer are
/// apart, shorter than a person notices.
const PAUSE: Duration = Duration::from_millis(20);
/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Target,
}

/// Why a direction ended before its end.
#[derive(Debug)]
pub(super) enum Broken {
    Client(io::Error),
    Target(io::Error),
    Stopped(Stop),
    Evidence(EvidenceError),
}

/// One direction.
pub(super) struct Pass<'a> {
    from: Side,
    /// None where no rule holds: there is nothing to look for.
    inspector: Option<Inspector>,
    session: &'a Session,
    tally: &'a Tally,
    meter: Option<Arc<Meter>>,
}

/// What the other end said to bytes.
enum Taken {
    Yes,
    /// It takes no more; what it has said is still to be heard.
    NoMore,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        from: Side,
        program: &Program,
        rules: RuleSet,
        budget: &Budget,
        session: &'a Session,
        tally: &'a Tally,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        let inspector = (!rules.is_empty()).then(|| Inspector::open_paused(program, rules, budget));
        Self { from, inspector, session, tally, meter }
    }

    /// Carries bytes to the end; false where the other side took no more before it.
    pub(super) async fn run(mut self, source: &mut impl Source, target: &mut impl Target) -> Result<bool, Broken> {
        if self.inspector.is_none()
            && self.meter.is_none()
            && let (Some(incoming), Some(outgoing)) = (source.socket(), target.socket())
        {
            let passed = |bytes| {
                self.session.touch();
                self.tally.passed(self.from, bytes);
            };
            return match carry(incoming, outgoing, passed).await {
                Carried::End => self.end(target).await,
                Carried::Unread(error) => Err(broken(self.from, error)),
                // Its answer may be on its way, and be whole.
                Carried::Unsent(_) if self.from == Side::Client => Ok(false),
                Carried::Unsent(error) => Err(broken(self.to(), error)),
            };
        }
        // What is held waits for the end of a pause, and where it is like a value already, for more than that.
        let mut pause = None;
        let mut patience = Patience::default();
        loop {
            let next = tokio::select! {
                biased;
                next = patience.next(source.next()) => next,
                () = until(pause) => None,
            };
            let (mut pieces, released, ends) = match (next, &mut self.inspector) {
                (Some(read), inspector) => {
                    let read = read.map_err(|error| broken(self.from, error))?;
                    if let (Some(meter), Some(bytes)) = (&self.meter, &read) {
                        sleep(meter.spend(bytes.len())).await;
                    }
                    self.session.touch();
                    match (read, inspector) {
                        (Some(bytes), None) => (Vec::new(), Released::clean(bytes), false),
                        (None, None) => (Vec::new(), Released::clean(Bytes::new()), true),
                        (Some(bytes), Some(inspector)) => {
                            let (pieces, released) = inspector.push_pieces(bytes);
                            pause = (inspector.held() > 0).then(|| Instant::now() + PAUSE);
                            patience.set(false);
                            (pieces, released, false)
                        }
                        (None, Some(inspector)) => (Vec::new(), inspector.finish(), true),
                    }
                }
                (None, Some(inspector)) if pause.take().is_some() => {
                    let released = inspector.pause();
                    patience.set(inspector.awaits_event());
                    (Vec::new(), released, false)
                }
                (None, Some(inspector)) => (Vec::new(), inspector.decide(), false),
                (None, None) => continue,
            };
            if let Taken::NoMore = self.release(&mut pieces, released, target).await? {
                source.stop(Code::Upstream);
                return Ok(false);
            }
            if ends {
                return self.end(target).await;
            }
        }
    }

    /// Passes the end on.
    async fn end(&self, target: &mut impl Target) -> Result<bool, Broken> {
        match target.end().await {
            Ok(()) => Ok(true),
            // It has taken all there was, and hears no end.
            Err(_) if self.from == Side::Client => Ok(true),
            Err(error) => Err(broken(self.to(), error)),
        }
    }

    /// Records what was decided and sends what may leave: the pieces, or else the bytes.
    async fn release(
        &self,
        pieces: &mut [Bytes],
        released: Released,
        target: &mut impl Target,
    ) -> Result<Taken, Broken> {
        if !released.decisions.is_empty() {
            self.tally.decided(self.from, &released.decisions);
            if self.from == Side::Client {
                // Before it goes upstream.
                self.tally.flush().await.map_err(Broken::Evidence)?;
            }
        }
        let mut whole = [released.bytes];
        let pieces = if pieces.is_empty() { &mut whole } else { pieces };
        let len = pieces.iter().map(Bytes::len).sum();
        if len > 0 {
            match target.send(pieces).await {
                Ok(()) => self.tally.passed(self.from, len),
                // Its answer may be on its way, and be whole.
                Err(_) if self.from == Side::Client => return Ok(Taken::NoMore),
                Err(error) => return Err(broken(self.to(), error)),
            }
        }
        released.stop.map_or(Ok(Taken::Yes), |stop| Err(Broken::Stopped(stop)))
    }

    fn to(&self) -> Side {
        match self.from {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        }
    }
}

fn broken(side: Side, error: io::Error) -> Broken {
    match side {
        Side::Client => Broken::Client(error),
        Side::Target => Broken::Target(error),
    }
}

/// Never ready where there is no such time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
