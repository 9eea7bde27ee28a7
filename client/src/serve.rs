//! The other way round: a program beside targets dials out to the gateway and serves them back through it.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use quinn::Endpoint;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    lease::Lease,
    link::{Dialer, Way},
    pump::pump,
    settings::Settings,
    stream::{FrameError, Reader, Writer, error_code, read_frame},
    tunnel::{OpenError, lost},
    wire::{Answer, Carries, Code, ConnectionName, Dial, Frame as _, Opening},
};

/// How long the gateway may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the gateway may take to say what a stream is for.
const DIAL: Duration = Duration::from_secs(5);
/// How long a target may take to be reached.
const CONNECT: Duration = Duration::from_secs(5);
/// The first wait before another attempt; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// How long sessions may go on after the gateway has said that no more come.
const GRACE: Duration = Duration::from_secs(10);
/// How long a connection may take to end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Targets of this network, by the names of the gateway's connections that they are served as.
pub type Targets = BTreeMap<ConnectionName, String>;

/// Serves targets through a gateway.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    dialer: Dialer,
    targets: Arc<Targets>,
}

/// What happens to a service, for whoever watches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All targets are served.
    Serving,
    /// The gateway was lost, or can't be had; it is tried again.
    Lost(String),
}

impl Service {
    /// A service; nothing is connected before [`run`](Self::run). Only QUIC is used, whatever the settings choose: the gateway
    /// opens streams here, which TLS hasn't got.
    ///
    /// # Errors
    ///
    /// [`OpenError::Impossible`] where the gateway's address can't be one.
    pub fn new(settings: Settings, targets: Targets) -> Result<Self, OpenError> {
        let dialer = Dialer::serving(&settings).map_err(OpenError::Impossible)?;
        Ok(Self { settings, dialer, targets: Arc::new(targets) })
    }

    /// Serves until the gateway refuses before it has ever accepted; afterwards it is dialled again and again, with growing waits.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`], [`OpenError::Token`].
    pub async fn run(&self, mut tell: impl FnMut(Event)) -> OpenError {
        let (mut wait, mut served) = (BACKOFF, false);
        loop {
            let error = match self.begin().await {
                Ok((endpoint, connection, held)) => {
                    (wait, served) = (BACKOFF, true);
                    tell(Event::Serving);
                    let reason = self.accept(&connection, held).await;
                    connection.close(error_code(Code::Done), b"");
                    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
                    reason
                }
                Err(error) if !served && !error.is_passing() => return error,
                Err(error) => error.to_string(),
            };
            tell(Event::Lost(error));
            sleep(wait.mul_f32(0.5 + rand::random::<f32>())).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    /// Connects, and says what is served.
    async fn begin(&self) -> Result<(Endpoint, quinn::Connection, Vec<Served>), OpenError> {
        let (endpoint, connection) = self.dialer.quic().await.map_err(OpenError::Unreachable)?;
        let mut held = Vec::new();
        for name in self.targets.keys() {
            held.push(self.offer(&connection, name).await?);
        }
        Ok((endpoint, connection, held))
    }

    async fn offer(&self, connection: &quinn::Connection, name: &ConnectionName) -> Result<Served, OpenError> {
        let token = self.settings.token().await?;
        let opening = Opening::Serve { token, connection: name.clone(), client: self.settings.client.clone() };
        let frame = opening.encode().map_err(|error| OpenError::Impossible(error.to_string()))?;
        let way = Way::Quic(connection.clone());
        let asked = async {
            let (mut reader, writer) = way.stream(&frame).await?;
            let answer = read_frame::<Answer>(&mut reader).await?;
            Ok::<_, FrameError>((reader, writer, answer))
        };
        let (reader, writer, answer) = timeout(ANSWER, asked)
            .await
            .map_err(|_| OpenError::Unreachable("it doesn't answer".to_owned()))?
            .map_err(|error| lost(&error))?;
        match answer {
            Answer::Refused { code, message } => Err(OpenError::Refused { code, message }),
            Answer::Accepted { seconds, .. } => {
                let tokens = self.settings.tokens.clone();
                let lease = Lease::new(way, tokens, name.clone(), None, seconds);
                Ok(Served { reader, writer, lease })
            }
        }
    }

    /// Serves what the gateway opens, until it is lost or wants one of the targets no longer; says why.
    async fn accept(&self, connection: &quinn::Connection, held: Vec<Served>) -> String {
        let mut sessions = JoinSet::new();
        let mut offers = JoinSet::new();
        for served in held {
            offers.spawn(async move {
                // All of it: what is left behind ends the offer.
                let Served { mut reader, writer: _writer, lease: _lease } = served;
                match reader.next().await {
                    Err(error) => error.to_string(),
                    Ok(_) => "the gateway wants a target no longer".to_owned(),
                }
            });
        }
        let (mut why, mut until) = (None, Instant::now());
        loop {
            tokio::select! {
                accepted = connection.accept_bi() => match accepted {
                    Ok((send, receive)) => {
                        let streams = (Reader::quic(receive), Writer::quic(send, Code::Upstream));
                        sessions.spawn(session(Arc::clone(&self.targets), streams));
                    }
                    Err(error) => return why.unwrap_or_else(|| error.to_string()),
                },
                Some(ended) = offers.join_next(), if why.is_none() => {
                    why = Some(ended.unwrap_or_else(|error| error.to_string()));
                    until = Instant::now() + GRACE;
                }
                Some(_) = sessions.join_next() => {}
                () = sleep_until(until), if why.is_some() => sessions.abort_all(),
            }
            if sessions.is_empty()
                && let Some(why) = why.take()
            {
                return why;
            }
        }
    }
}

/// A target that the gateway has accepted, as long as its stream is open.
struct Served {
    reader: Reader,
    writer: Writer,
    lease: Arc<Lease>,
}

/// One session: the gateway says for which target, and its bytes follow.
async fn session(targets: Arc<Targets>, (mut reader, mut writer): (Reader, Writer)) {
    let Ok(Ok(dial)) = timeout(DIAL, read_frame::<Dial>(&mut reader)).await else { return };
    let reached = match targets.get(&dial.connection) {
        None => Err((Code::NoConnection, "it is not served here".to_owned())),
        Some(address) => match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err((Code::Upstream, error.to_string())),
            Err(_) => Err((Code::Upstream, "the target doesn't answer".to_owned())),
        },
    };
    let socket = match reached {
        Ok(socket) => socket,
        Err((code, message)) => {
            tracing::warn!(connection = %dial.connection, message, "a target can't be reached");
            let _ = answer(&mut writer, &Answer::refused(code, &message)).await;
            return;
        }
    };
    let accepted = Answer::Accepted { session: Some(dial.session.clone()), seconds: 0, carries: Some(Carries::Bytes) };
    if answer(&mut writer, &accepted).await.is_err() {
        let _ = socket.set_zero_linger();
        return;
    }
    if let Err(error) = pump(socket, (reader, writer), Code::Upstream).await {
        tracing::debug!(session = dial.session, %error, "a session broke off");
    }
}

async fn answer(writer: &mut Writer, answer: &Answer) -> io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    writer.write_all(&answer.encode().map_err(io::Error::other)?).await?;
    if matches!(answer, Answer::Refused { .. }) { writer.shutdown().await } else { writer.flush().await }
}
