//! A session of PostgreSQL: bytes of both sides through the conversation, records before commands, and its end.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

mod cancels;
mod hold;
mod records;

use cancels::Waiting;
pub(crate) use cancels::{Cancels, Registered};
use records::Records;

use super::farewell;
use crate::evidence::{Event, EvidenceError, Record};
use crate::gateway::Gateway;
use crate::protocol::postgres::frame::{FrameError, Frames, Message, message};
use crate::protocol::postgres::origins::Relations;
use crate::protocol::postgres::report::Report;
use crate::protocol::postgres::startup::CancelKey;
use crate::protocol::postgres::{Conversation, Opened, Out, judge_setting};
use crate::session::Session;
use crate::upstream::catalog::Catalog;
use crate::upstream::postgres::{Connected, Server, Socket, cancel};

/// What is read at once, in bytes: little while a session is idle, more while it fills what was offered.
const READ: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;
/// What is gathered for one write, in bytes.
const GATHER: usize = 64 * 1024;
/// The same of an answer that begins, so that its first rows don't wait for the next ones.
const FIRST: usize = 1024;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long what is under way may take to end when the session has to.
const DRAIN: Duration = Duration::from_secs(8);
/// How often a session that has to end is asked whether it can.
const DRAINING: Duration = Duration::from_millis(20);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no half-made change behind that matters: its session is over.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The settings that a client begins its session with, as they may go on. Each is judged as the `SET` that it stands for, and
/// those that could matter are recorded.
pub(crate) async fn record_settings(
    gateway: &Gateway,
    session: &Session,
    settings: &[(String, String)],
) -> Result<Vec<(String, String)>, Report> {
    let opened = Opened {
        policy: session.policy.clone(),
        budget: gateway.budget.clone(),
        purpose: session.purpose.as_ref().map(ToString::to_string),
        counter: None,
        refuses_unmaskable: false,
        processes: (0, 0),
    };
    let mut passed = Vec::new();
    for (name, value) in settings {
        let (event, refusal) = judge_setting(&opened, name, value);
        if let Some(event) = event {
            gateway
                .evidence
                .append(Record::now(session.id.clone(), event))
                .await
                .map_err(|error| unrecorded(&error))?;
        }
        if let Some(report) = refusal {
            return Err(Report { severity: "FATAL", ..report });
        }
        // The gateway says this one itself.
        if !name.eq_ignore_ascii_case("client_encoding") {
            passed.push((name.clone(), value.clone()));
        }
    }
    Ok(passed)
}

fn unrecorded(error: &EvidenceError) -> Report {
    tracing::error!(%error, "a command is not recorded and does not pass");
    Report::fatal("58030", "the command can't be recorded, so it is refused")
}

/// A session that is open on both sides.
pub(crate) struct Relay {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) shutdown: CancellationToken,
    /// How long it may be without traffic.
    pub(crate) idle: Duration,
    pub(crate) upstream: Arc<Server>,
    /// What the server's tables are called.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) session: Arc<Session>,
    pub(crate) conversation: Conversation,
    pub(crate) key: Registered,
    /// What the client hears before anything of the server.
    pub(crate) hello: Vec<Bytes>,
    pub(crate) client: Box<dyn Socket>,
    pub(crate) client_frames: Frames,
    pub(crate) connected: Connected,
}

/// How a session ended.
enum End {
    /// The client said goodbye.
    Over,
    /// The client went away without a word.
    ClientGone,
    /// The server went away.
    ServerGone,
    /// For this reason, which the client is told.
    Told(&'static str, Report),
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            Self::Over => "the client ended it",
            Self::ClientGone => "the client went away",
            Self::ServerGone => "the upstream went away",
            Self::Told(reason, _) => reason,
        }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Told("a message could not be read", Report::fatal("08P01", error.to_string()))
    }
}

impl From<Report> for End {
    fn from(report: Report) -> Self {
        Self::Told("it could not go on", report)
    }
}

/// What both directions of a session share.
struct Middle {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    catalog: Arc<Catalog>,
    conversation: Mutex<Conversation>,
    /// The server has answered something that the client may wait for.
    answered: Notify,
    /// The client may have an answer of the gateway's own.
    own: Notify,
    /// Part of a message may have left to the client and the rest not.
    cut: AtomicBool,
    /// The server itself, for questions of the gateway's own.
    upstream: Arc<Server>,
    /// What waits for an approval.
    waiting: Arc<Waiting>,
}

impl Relay {
    /// Serves the session to its end.
    pub(crate) async fn run(self) {
        let Self {
            gateway,
            shutdown,
            idle,
            upstream,
            catalog,
            session,
            conversation,
            key,
            hello,
            client,
            client_frames,
            connected,
        } = self;
        let Connected { socket, frames, said, key: upstream_key } = connected;
        let (mut client_read, mut client_write) = tokio::io::split(client);
        let (mut server_read, mut server_write) = tokio::io::split(socket);
        let middle = Middle {
            gateway,
            session,
            catalog,
            conversation: Mutex::new(conversation),
            answered: Notify::new(),
            own: Notify::new(),
            cut: AtomicBool::new(false),
            upstream: Arc::clone(&upstream),
            waiting: key.waiting(),
        };
        let mut records = Records::new(&middle);
        let begun = begin(&middle, hello, &said, key.key(), &mut client_write, &mut records).await;
        let end = match begun {
            Err(end) => end,
            Ok(()) => {
                let commands = client_to_server(&middle, &mut client_read, client_frames, &mut server_write);
                let answers = server_to_client(&middle, &mut server_read, frames, &mut client_write, &mut records);
                tokio::select! {
                    end = commands => end,
                    end = answers => end,
                    end = watch(&middle, &shutdown, idle) => end,
                }
            }
        };
        drop(key);
        // In the middle of a message nothing more can be said.
        let report = match &end {
            _ if middle.cut.load(Ordering::Acquire) => None,
            End::Told(_, report) => Some(report.to_message()),
            End::ServerGone => Some(Report::fatal("08006", "the server behind this connection went away").to_message()),
            End::Over | End::ClientGone => None,
        };
        let upstream_over = async {
            if matches!(end, End::ServerGone) {
                return;
            }
            // What still runs on the server is for nobody.
            if !lock(&middle.conversation).is_idle()
                && !matches!(end, End::Over)
                && let Err(error) = cancel(&upstream, &upstream_key).await
            {
                tracing::debug!(%error, "what a session ran could not be cancelled");
            }
            let _ = timeout(GOODBYE, async {
                server_write.write_all(&message(b'X', b"")).await?;
                server_write.shutdown().await
            })
            .await;
        };
        tokio::join!(farewell(&mut client_read, &mut client_write, report.as_deref()), upstream_over);
        records.finish(end.reason());
        if let Err(error) = middle.gateway.sessions.close(&middle.session.id, end.reason()).await {
            tracing::error!(session = %middle.session.id, %error, "the end of a session is not recorded");
        }
    }
}

/// What the client hears first: that it is let in, the server's parameters, its key, and that it may go on.
async fn begin(
    middle: &Middle,
    hello: Vec<Bytes>,
    said: &[Message],
    key: &CancelKey,
    client: &mut WriteHalf<Box<dyn Socket>>,
    records: &mut Records<'_>,
) -> Result<(), End> {
    let mut out = Out { client: hello, notes: Vec::new() };
    {
        let mut conversation = lock(&middle.conversation);
        for message in said {
            if message.tag() == b'Z' {
                out.client.push(key.message());
            }
            conversation.server(message, &mut out)?;
        }
    }
    give(middle, out, client, records).await
}

/// Ends the session where it must not go on: its token's time is over, it is idle, the gateway stops.
async fn watch(middle: &Middle, shutdown: &CancellationToken, idle: Duration) -> End {
    let left = middle.session.identity.expires.duration_since(jiff::Timestamp::now());
    let expired = tokio::time::sleep(Duration::try_from(left).unwrap_or_default());
    let used = async {
        // An answer that takes long is no idleness.
        let mut ticks = tokio::time::interval((idle / 4).clamp(Duration::from_millis(250), Duration::from_secs(10)));
        loop {
            ticks.tick().await;
            if !lock(&middle.conversation).is_idle() {
                middle.session.touch();
            }
        }
    };
    let (reason, report) = tokio::select! {
        () = middle.session.closed.cancelled() => {
            return End::Told("closed", Report::fatal("57P05", "the session was closed by the gateway"));
        }
        () = shutdown.cancelled() => ("shutdown", Report::fatal("57P01", "the gateway is shutting down")),
        () = expired => {
            let report = Report::fatal("28000", "the token has expired").hint("Connect again with a new one.");
            ("the token expired", report)
        }
        () = used => pending().await,
    };
    // What is under way may end; nothing new begins, since the client is told before it could be answered.
    let idle = async {
        while !lock(&middle.conversation).is_idle() {
            tokio::time::sleep(DRAINING).await;
        }
    };
    let _ = timeout(DRAIN, idle).await;
    End::Told(reason, report)
}

/// The way there.
async fn client_to_server(
    middle: &Middle,
    client: &mut ReadHalf<Box<dyn Socket>>,
    mut frames: Frames,
    server: &mut WriteHalf<Box<dyn Socket>>,
) -> End {
    match commands(middle, client, &mut frames, server).await {
        Ok(end) | Err(end) => end,
    }
}

async fn commands(
    middle: &Middle,
    client: &mut ReadHalf<Box<dyn Socket>>,
    frames: &mut Frames,
    server: &mut WriteHalf<Box<dyn Socket>>,
) -> Result<End, End> {
    let mut room = *READ.start();
    loop {
        let (mut events, mut upstream, mut size) = (Vec::new(), Vec::new(), 0);
        let mut is_over = false;
        while let Some(message) = frames.next_message()? {
            loop {
                let sent = {
                    let mut conversation = lock(&middle.conversation);
                    let sent = conversation.client(&message);
                    is_over = conversation.is_over();
                    sent
                };
                match sent {
                    Ok(Some(sent)) if sent.hold.is_some() => {
                        send(middle, std::mem::take(&mut events), std::mem::take(&mut upstream), server).await?;
                        if let Some(hold) = sent.hold {
                            hold::wait(middle, *hold, client, frames, &mut room).await?;
                        }
                    }
                    Ok(Some(sent)) => {
                        size += sent.upstream.iter().map(Bytes::len).sum::<usize>();
                        gather(&mut events, sent.records);
                        upstream.extend(sent.upstream);
                        break;
                    }
                    Ok(None) => {
                        send(middle, std::mem::take(&mut events), std::mem::take(&mut upstream), server).await?;
                        middle.answered.notified().await;
                    }
                    Err(report) => {
                        send(middle, events, upstream, server).await?;
                        return Err(report.into());
                    }
                }
            }
            if size > GATHER {
                send(middle, std::mem::take(&mut events), std::mem::take(&mut upstream), server).await?;
                size = 0;
            }
        }
        send(middle, events, upstream, server).await?;
        if is_over {
            return Ok(End::Over);
        }
        match fill(client, frames, &mut room).await {
            Ok(0) | Err(_) => return Ok(End::ClientGone),
            Ok(_) => middle.session.touch(),
        }
    }
}

/// Adds events; what goes into the same COPY stands in one.
fn gather(events: &mut Vec<Event>, more: Vec<Event>) {
    for event in more {
        if let (
            Some(Event::Request {
                exchange: known,
                method: before,
                body: text,
                hits: known_hits,
                outcome: known_outcome,
                ..
            }),
            Event::Request { exchange, method, body, hits, outcome, .. },
        ) = (events.last_mut(), &event)
            && before == "copy_data"
            && method == "copy_data"
            && known == exchange
            && known_outcome == outcome
            && known_hits == hits
        {
            text.push_str(body);
            continue;
        }
        events.push(event);
    }
}

/// Records, and only then sends on.
async fn send(
    middle: &Middle,
    events: Vec<Event>,
    upstream: Vec<Bytes>,
    server: &mut WriteHalf<Box<dyn Socket>>,
) -> Result<(), End> {
    if !events.is_empty() {
        let records = events.into_iter().map(|event| Record::now(middle.session.id.clone(), event)).collect();
        middle.gateway.evidence.append_all(records).await.map_err(|error| unrecorded(&error))?;
        middle.own.notify_one();
    }
    write(server, &upstream).await.map_err(|_| End::ServerGone)
}

/// The way back.
async fn server_to_client(
    middle: &Middle,
    server: &mut ReadHalf<Box<dyn Socket>>,
    mut frames: Frames,
    client: &mut WriteHalf<Box<dyn Socket>>,
    records: &mut Records<'_>,
) -> End {
    match answers(middle, server, &mut frames, client, records).await {
        Ok(end) | Err(end) => end,
    }
}

async fn answers(
    middle: &Middle,
    server: &mut ReadHalf<Box<dyn Socket>>,
    frames: &mut Frames,
    client: &mut WriteHalf<Box<dyn Socket>>,
    records: &mut Records<'_>,
) -> Result<End, End> {
    let mut room = *READ.start();
    let (mut most, mut asked) = (FIRST, None);
    loop {
        let mut out = Out::default();
        let heard = {
            let mut conversation = lock(&middle.conversation);
            let heard = hear(&mut conversation, &middle.catalog, asked.take(), frames, &mut out, most);
            conversation.settle(&mut out);
            heard
        };
        give(middle, out, client, records).await?;
        middle.answered.notify_one();
        match heard? {
            Heard::All => most = FIRST,
            Heard::Enough => {
                most = (most * 2).min(GATHER);
                continue;
            }
            Heard::Unknown(message, tables) => {
                asked = Some((message, middle.catalog.ask(&tables).await));
                continue;
            }
        }
        let read = tokio::select! {
            read = fill(server, frames, &mut room) => read,
            () = middle.own.notified() => continue,
        };
        match read {
            Ok(0) | Err(_) => return Ok(End::ServerGone),
            Ok(_) => middle.session.touch(),
        }
    }
}

/// How far the server's messages were heard.
enum Heard {
    /// All that have come.
    All,
    /// As many as are shown at once.
    Enough,
    /// Up to this one, whose tables have to be asked for.
    Unknown(Message, Vec<u32>),
}

/// Takes what has come, beginning with a message whose tables had to be asked for, until so many bytes are to be shown.
fn hear(
    conversation: &mut Conversation,
    catalog: &Catalog,
    mut asked: Option<(Message, Relations)>,
    frames: &mut Frames,
    out: &mut Out,
    most: usize,
) -> Result<Heard, End> {
    let (mut size, mut counted) = (0, 0);
    while size < most {
        let run = if asked.is_none() { frames.next_run(b'D', most - size) } else { None };
        if let Some(run) = run {
            conversation.rows(&run, out)?;
        } else {
            let message = match asked.take() {
                Some((message, relations)) => {
                    conversation.knows(relations);
                    message
                }
                None => {
                    let Some(message) = frames.next_message()? else { return Ok(Heard::All) };
                    let tables = conversation.tables(&message);
                    if !tables.is_empty() {
                        let Some(relations) = catalog.known(&tables) else {
                            return Ok(Heard::Unknown(message, tables));
                        };
                        conversation.knows(relations);
                    }
                    message
                }
            };
            conversation.server(&message, out)?;
            if conversation.has_redefined() {
                catalog.forget();
            }
        }
        size += out.client[counted..].iter().map(Bytes::len).sum::<usize>();
        counted = out.client.len();
    }
    Ok(Heard::Enough)
}

/// Records what the user sees, and shows it.
async fn give(
    middle: &Middle,
    out: Out,
    client: &mut WriteHalf<Box<dyn Socket>>,
    records: &mut Records<'_>,
) -> Result<(), End> {
    records.keep(out.notes).await.map_err(|error| unrecorded(&error))?;
    if out.client.is_empty() {
        return Ok(());
    }
    middle.cut.store(true, Ordering::Release);
    write(client, &out.client).await.map_err(|_| End::ClientGone)?;
    middle.cut.store(false, Ordering::Release);
    Ok(())
}

/// Reads as much as was offered last time, and more where that was too little.
async fn fill(from: &mut ReadHalf<Box<dyn Socket>>, frames: &mut Frames, room: &mut usize) -> io::Result<usize> {
    let buffer = frames.buffer();
    buffer.reserve(*room);
    let offered = buffer.capacity() - buffer.len();
    let read = from.read_buf(buffer).await?;
    *room = if read == offered { (*room * 2).min(*READ.end()) } else { (*room).min(read * 2).max(*READ.start()) };
    Ok(read)
}

/// Writes pieces, small ones together.
async fn write(to: &mut WriteHalf<Box<dyn Socket>>, pieces: &[Bytes]) -> io::Result<()> {
    let mut gathered = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        // What is long needs no company, and the last one gets none.
        if gathered.is_empty() && (piece.len() >= GATHER || at + 1 == pieces.len()) {
            to.write_all(piece).await?;
            continue;
        }
        gathered.extend_from_slice(piece);
        if gathered.len() >= GATHER {
            to.write_all(&gathered).await?;
            gathered.clear();
        }
    }
    to.write_all(&gathered).await?;
    to.flush().await
}
