//! An upstream that is a child process, as one session of Streamable HTTP: what goes to it, and where its lines belong.

mod child;
mod notes;
mod routes;

pub(crate) use child::Child;

use crate::exchange::{Done, Exchange, Head, Inspector, events_head, general_options, stop_refusal};
use crate::protocol::mcp::error::{METHOD_NOT_FOUND, Refusal};
use crate::protocol::mcp::headers::{HEADER_MISMATCH, MISSING_CAPABILITY, SESSION_ID, UNSUPPORTED_REVISION};
use crate::protocol::mcp::message::{Id, Message, error_code};
use crate::protocol::mcp::sse::event;
use crate::protocol::mcp::stdio::line;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use notes::Notes;
use routes::{Incoming, Want};
use sluice_engine::Format;
use tokio::sync::mpsc;

/// Lines that may wait for a slow client.
const WAITING: usize = 64;

/// A POST to the child.
pub(crate) struct Post {
    /// The messages, each with its bytes as they go upstream.
    pub(crate) messages: Vec<(Message, Bytes)>,
    /// It opens a session.
    pub(crate) opens: bool,
    /// Of a revision without sessions: clients share the child, so ids may meet.
    pub(crate) stateless: bool,
    /// The client takes no event stream.
    pub(crate) json_only: bool,
}

const ENDED: &str = "the upstream process ended before it answered";

/// Sends the messages to the child and its answers on.
pub(crate) async fn relay(exchange: &mut Exchange, post: Post) -> Done {
    match relay_inner(exchange, post).await {
        Ok(done) | Err(done) => done,
    }
}

async fn relay_inner(exchange: &mut Exchange, post: Post) -> Result<Done, Done> {
    let Some(child) = exchange.session.child.clone() else { return Err(Done::upstream(ENDED)) };
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let mut waiting = child.waiting();
    let mut lines = Vec::with_capacity(post.messages.len());
    for (message, bytes) in &post.messages {
        if post.stateless && message.method() == Some("notifications/cancelled") {
            // Over HTTP a request of this revision is cancelled by the end of its response, and the id may be another's.
            continue;
        }
        let Some(id) = message.request_id() else {
            lines.push(line(bytes));
            continue;
        };
        let want = Want {
            id: id.clone(),
            sender: sender.clone(),
            token: message.progress_token(),
            json_only: post.json_only,
            cancellable: !post.opens,
            renumber: post.stateless,
        };
        match waiting.register(want, bytes) {
            Ok(bytes) => lines.push(line(&bytes)),
            Err(refused) => return Err(Done::refused(StatusCode::BAD_REQUEST, Refusal::new(-32600, refused))),
        }
    }
    drop(sender);
    let mut headers = HeaderMap::new();
    if post.opens {
        let id = uuid::Uuid::new_v4().to_string();
        exchange.shared.table.carry(&exchange.session.connection, &id, &exchange.session);
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(SESSION_ID, value);
        }
    }
    for line in lines {
        child.send(line).await.map_err(|()| Done::upstream(ENDED))?;
    }
    if exchange.ids.is_empty() {
        return Ok(Done::whole(Head { status: StatusCode::ACCEPTED, headers, whole: Some(Bytes::new()) }));
    }
    if post.json_only {
        return collect(exchange, &mut receiver, headers, &post).await;
    }
    let mut headers = Some(headers);
    if !post.opens && !post.stateless {
        exchange.start_events(events_head(headers.take().unwrap_or_default()));
    }
    let mut notes = Notes::default();
    loop {
        let incoming = match notes.patience.next(receiver.recv()).await {
            None => {
                notes.decide(exchange).await?;
                continue;
            }
            Some(None) => break,
            Some(Some(incoming)) => incoming,
        };
        // The head of a new session waits for its first answer, so that a child that fails is told by the status.
        let (bytes, id) = match incoming {
            Incoming::Broken => {
                return Err(Done::upstream("the upstream wrote a line that is not a JSON-RPC message"));
            }
            Incoming::Other(bytes) => {
                if let Some(headers) = headers.take() {
                    exchange.start_events(events_head(headers));
                }
                notes.push(exchange, &bytes).await?;
                continue;
            }
            Incoming::Answer { bytes, id } => (bytes, id),
        };
        // So does that of a request without a session, whose refusals have a status of their own.
        if post.stateless
            && let Some(headers) = headers.take()
        {
            let status = status_of(&post, &bytes);
            let answer = inspect(exchange, bytes, &id, &mut notes.blocked);
            return Ok(Done::whole(json_head(status, headers, answer)).because(notes.blocked));
        }
        if let Some(headers) = headers.take() {
            exchange.start_events(events_head(headers));
        }
        notes.decide(exchange).await?;
        let answer = inspect(exchange, bytes, &id, &mut notes.blocked);
        exchange.send(event(&answer)).await?;
        if exchange.ids.is_empty() {
            return Ok(notes.blocked.map_or_else(Done::complete, Done::blocked));
        }
    }
    notes.decide(exchange).await?;
    Err(Done::upstream(ENDED))
}

/// Answers for a client that takes no event stream.
async fn collect(
    exchange: &mut Exchange,
    receiver: &mut mpsc::Receiver<Incoming>,
    headers: HeaderMap,
    post: &Post,
) -> Result<Done, Done> {
    let mut answers: Vec<Bytes> = Vec::new();
    let mut status = StatusCode::OK;
    let mut blocked = None;
    while !exchange.ids.is_empty() {
        match receiver.recv().await {
            None => return Err(Done::upstream(ENDED)),
            Some(Incoming::Broken) => {
                return Err(Done::upstream("the upstream wrote a line that is not a JSON-RPC message"));
            }
            // A client that takes no event stream takes no notes either.
            Some(Incoming::Other(_)) => {}
            Some(Incoming::Answer { bytes, id }) => {
                status = status_of(post, &bytes);
                answers.push(inspect(exchange, bytes, &id, &mut blocked));
            }
        }
    }
    let whole = if exchange.batch {
        let inner = answers.join(&b","[..]);
        Bytes::from([&b"["[..], &inner, b"]"].concat())
    } else {
        answers.pop().unwrap_or_default()
    };
    Ok(Done::whole(json_head(status, headers, whole)).because(blocked))
}

fn json_head(status: StatusCode, mut headers: HeaderMap, whole: Bytes) -> Head {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Head { status, headers, whole: Some(whole) }
}

/// The status of an answer: revision 2026-07-28 gives some errors one of their own. A server that doesn't know
/// `server/discover` is older, and its client has to see that no server of this revision answered.
fn status_of(post: &Post, answer: &Bytes) -> StatusCode {
    if !post.stateless {
        return StatusCode::OK;
    }
    let discovers = post.messages.iter().any(|(message, _)| message.method() == Some("server/discover"));
    match error_code(answer) {
        Some(METHOD_NOT_FOUND) if !discovers => StatusCode::NOT_FOUND,
        Some(METHOD_NOT_FOUND | HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_REVISION) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// An answer of the child as the client may see it: a refusal where nothing of it may pass.
fn inspect(exchange: &mut Exchange, bytes: Bytes, id: &Id, blocked: &mut Option<String>) -> Bytes {
    exchange.ids.retain(|other| other != id);
    let session = &exchange.session;
    let options = general_options(Format::Json, exchange.rules.clone());
    let budget = &exchange.shared.gateway.budget;
    let released = Inspector::open(session.rules().program(), options, budget).whole(bytes);
    exchange.recorder.decided(&released.decisions);
    let passed = match released.stop {
        None => exchange.sharing.whole(released.bytes, released.masked, budget),
        Some(stop) => Err(stop),
    };
    let stop = match passed {
        Ok(bytes) => return bytes,
        Err(stop) => stop,
    };
    let (_, _, refusal) = stop_refusal(&stop, session.rules());
    *blocked = Some(refusal.message.clone());
    refusal.answer(Some(id))
}

/// The stream of messages that answer no request, until the client or the child ends it.
pub(crate) async fn relay_stream(exchange: &mut Exchange) -> Done {
    let attached = exchange.session.child.as_ref().map(|child| child.attach());
    let mut receiver = match attached {
        Some(Ok(receiver)) => receiver,
        Some(Err(())) => {
            let refusal = Refusal::new(-32600, "this session has such a stream already");
            return Done::refused(StatusCode::CONFLICT, refusal);
        }
        None => return Done::upstream(ENDED),
    };
    exchange.start_events(events_head(HeaderMap::new()));
    let mut notes = Notes::default();
    let passed = async {
        loop {
            match notes.patience.next(receiver.recv()).await {
                None => notes.decide(exchange).await?,
                Some(Some(bytes)) => notes.push(exchange, &bytes).await?,
                Some(None) => return notes.decide(exchange).await,
            }
        }
    };
    passed.await.map_or_else(|done| done, |()| Done::complete())
}
