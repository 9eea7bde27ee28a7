//! One direction of a session of bytes: read, inspect, record, send on. Nothing more is read before what was read has been taken:
//! a slow reader slows the other side, and memory stays as it is.

use std::{future::pending, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use sluice_client::{
    stream::{Reader, Writer},
    wire::Code,
};
use sluice_engine::{Budget, Program, RuleSet, Stop};
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, sleep_until},
};

use super::tally::Tally;
use crate::{
    evidence::EvidenceError,
    exchange::{Inspector, Patience, Released},
    meter::Meter,
    session::Session,
};

/// A side that has said nothing for so long may wait for an answer to what it said: longer than the pieces of one answer are
/// apart, shorter than a person notices.
const PAUSE: Duration = Duration::from_millis(20);
/// The most that is read in one go, in bytes.
const PIECE: usize = 64 * 1024;
/// Where less than this came last, less is asked for.
const SMALL: usize = 8 * 1024;

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

/// Bytes come from here; `next` loses nothing when it is dropped.
pub(super) trait Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>>;
    /// Nothing more is taken.
    fn stop(&mut self);
}

impl Source for Reader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Self::next(self).await
    }
    fn stop(&mut self) {
        Self::stop(self, Code::Upstream);
    }
}

/// The target's bytes.
pub(super) struct Incoming {
    half: OwnedReadHalf,
    /// How much is asked for next.
    size: usize,
}

impl Incoming {
    fn new(half: OwnedReadHalf) -> Self {
        Self { half, size: SMALL }
    }
}

impl Source for Incoming {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Waiting holds no memory.
            self.half.readable().await?;
            let mut buffer = BytesMut::with_capacity(self.size);
            match self.half.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => {
                    self.size = if read == self.size { PIECE } else { read.clamp(SMALL, self.size) };
                    return Ok(Some(buffer.freeze()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    fn stop(&mut self) {}
}

/// Bytes go there.
pub(super) trait Target {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()>;
    async fn end(&mut self) -> io::Result<()>;
}

impl Target for Writer {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        Self::send(self, bytes).await
    }
    async fn end(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

/// Bytes for the target. However this ends, by a mistake or by the end of the process, the target gets a reset: only
/// [`Outgoing::close`] closes the connection in order.
pub(super) struct Outgoing(Option<OwnedWriteHalf>);

impl Outgoing {
    /// Both halves of a connection.
    pub(super) fn split(target: TcpStream) -> io::Result<(Incoming, Self)> {
        target.set_zero_linger()?;
        let (read, write) = target.into_split();
        Ok((Incoming::new(read), Self(Some(write))))
    }

    /// All was said on both sides: what is on its way still arrives.
    pub(super) fn close(self) {
        if let Some(half) = &self.0 {
            // An error means that the connection is gone already.
            let _ = SockRef::from(half.as_ref()).set_linger(None);
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Dropped as it is, a half says that it has ended.
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Target for Outgoing {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        match &mut self.0 {
            Some(half) => half.write_all(&bytes).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    async fn end(&mut self) -> io::Result<()> {
        let Some(half) = &mut self.0 else { return Ok(()) };
        match half.shutdown().await {
            // It has ended already, which is what was to be.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }
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
        // What is held waits for the end of a pause, and where it is like a value already, for more than that.
        let mut pause = None;
        let mut patience = Patience::default();
        loop {
            let next = tokio::select! {
                biased;
                next = patience.next(source.next()) => next,
                () = until(pause) => None,
            };
            let (released, ends) = match (next, &mut self.inspector) {
                (Some(read), inspector) => {
                    let read = read.map_err(|error| broken(self.from, error))?;
                    if let (Some(meter), Some(bytes)) = (&self.meter, &read) {
                        sleep(meter.spend(bytes.len())).await;
                    }
                    self.session.touch();
                    match (read, inspector) {
                        (Some(bytes), None) => (Released::clean(bytes), false),
                        (None, None) => (Released::clean(Bytes::new()), true),
                        (Some(bytes), Some(inspector)) => {
                            let released = inspector.push(bytes);
                            pause = (inspector.held() > 0).then(|| Instant::now() + PAUSE);
                            patience.set(false);
                            (released, false)
                        }
                        (None, Some(inspector)) => (inspector.finish(), true),
                    }
                }
                (None, Some(inspector)) if pause.take().is_some() => {
                    let released = inspector.pause();
                    patience.set(inspector.awaits_event());
                    (released, false)
                }
                (None, Some(inspector)) => (inspector.decide(), false),
                (None, None) => continue,
            };
            if let Taken::NoMore = self.release(released, target).await? {
                source.stop();
                return Ok(false);
            }
            if ends {
                return match target.end().await {
                    Ok(()) => Ok(true),
                    // It has taken all there was, and hears no end.
                    Err(_) if self.from == Side::Client => Ok(true),
                    Err(error) => Err(broken(self.to(), error)),
                };
            }
        }
    }

    /// Records what was decided and sends what may leave.
    async fn release(&self, released: Released, target: &mut impl Target) -> Result<Taken, Broken> {
        if !released.decisions.is_empty() {
            self.tally.decided(self.from, &released.decisions);
            if self.from == Side::Client {
                // Before it goes upstream.
                self.tally.flush().await.map_err(Broken::Evidence)?;
            }
        }
        let len = released.bytes.len();
        if len > 0 {
            match target.send(released.bytes).await {
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
