//! MCP on standard input and output, for a client that starts commands: each line is carried to the gateway's Streamable HTTP,
//! and what comes back, in one body or in events, is a line each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, BodyStream, Full, Limited};
use serde_json::Value;
use sluice_client::Channel;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Outcome, Wanted,
    calls::{Call, Calls},
    failed,
};
use crate::protocol::mcp::{
    DEFAULT_CAP,
    error::{Refusal, code},
    events::{Event, Events},
    headers,
    message::{Body, Id, Kind, Message},
    stdio::{Lines, line},
};

/// The longest answer that is handed on as a line, in bytes.
const LONGEST: usize = 64 << 20;
/// Lines that may wait for a slow client.
const WAITING: usize = 16;
/// Requests under way at once: a few streams fewer than a connection may have.
const MOST: usize = 56;
/// How long requests under way may take once the client has ended its input.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a session's end may take.
const DELETE: Duration = Duration::from_millis(500);
/// How long to wait before a stream that ended is asked for again, unless the server says otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// A stream that breaks off without its answer is resumed so many times.
const RESUMES: usize = 3;

/// Carries messages until standard input ends.
pub(super) async fn run(wanted: Wanted, first: Channel) -> Outcome {
    let calls = match Calls::new(wanted, first).await {
        Ok(calls) => calls,
        Err(error) => return failed(&error),
    };
    let (out, mut lines) = mpsc::channel::<Bytes>(WAITING);
    let writing = tokio::spawn(async move {
        let mut output = tokio::io::stdout();
        while let Some(line) = lines.recv().await {
            if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
                return;
            }
        }
    });
    let bridge = Arc::new(Bridge {
        calls,
        out,
        session: Mutex::default(),
        running: Mutex::default(),
        room: Arc::new(Semaphore::new(MOST)),
    });
    let outcome = bridge.read().await;
    drop(bridge);
    // What is still to be written is written, as long as somebody reads it.
    let _ = timeout(FAREWELL, writing).await;
    outcome
}

struct Bridge {
    calls: Calls,
    out: mpsc::Sender<Bytes>,
    session: Mutex<Session>,
    /// What ends a request under way, by its id.
    running: Mutex<HashMap<String, AbortHandle>>,
    room: Arc<Semaphore>,
}

/// What the server gave in answer to `initialize`.
#[derive(Clone, Default)]
struct Session {
    id: Option<HeaderValue>,
    revision: Option<HeaderValue>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    async fn read(self: &Arc<Self>) -> Outcome {
        let mut tasks = JoinSet::new();
        let mut listening = None;
        let mut lines = Lines::new(DEFAULT_CAP);
        let mut input = tokio::io::stdin();
        let mut buffer = vec![0; 64 * 1024];
        let outcome = 'read: loop {
            loop {
                match lines.next_line() {
                    Ok(Some(message)) => self.take(message, &mut tasks, &mut listening).await,
                    Ok(None) => break,
                    Err(error) => break 'read failed(&error),
                }
            }
            while tasks.try_join_next().is_some() {}
            match input.read(&mut buffer).await {
                Ok(0) => break Outcome::Clean,
                Ok(read) => lines.push(&buffer[..read]),
                Err(error) => break failed(&error),
            }
        };
        let _ = timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
        tasks.shutdown().await;
        drop(listening);
        let has_session = lock(&self.session).id.is_some();
        if has_session && let Ok(request) = self.request(Method::DELETE, Bytes::new(), None) {
            let _ = timeout(DELETE, self.calls.send(request)).await;
        }
        outcome
    }

    /// One line of the client.
    async fn take(self: &Arc<Self>, message: Bytes, tasks: &mut JoinSet<()>, listening: &mut Option<JoinSet<()>>) {
        let body = match Body::parse(message, DEFAULT_CAP) {
            Ok(body) => body,
            Err(error) => return self.say(&Refusal::new(error.code(), error.to_string()).answer(None)).await,
        };
        let first = &body.messages()[0];
        if let (Kind::Notification { method }, false) = (first.kind(), body.is_batch())
            && method == "notifications/cancelled"
            && self.is_stateless(first)
        {
            // There the end of the answer's stream is what tells the server.
            if let Some(running) = cancelled(first).and_then(|key| lock(&self.running).remove(&key)) {
                running.abort();
            }
            return;
        }
        let asks = body.request_ids().next().is_some();
        let (is_handshake, is_initialized) =
            (first.is_handshake(), first.method() == Some("notifications/initialized"));
        if is_handshake {
            *lock(&self.session) = Session::default();
        }
        if !asks || is_handshake {
            // In order: what follows may depend on it.
            self.carry(body).await;
            if is_initialized {
                let mut task = JoinSet::new();
                let bridge = Arc::clone(self);
                task.spawn(async move { bridge.listen().await });
                *listening = Some(task);
            }
            return;
        }
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            let ids: Vec<Id> = body.request_ids().cloned().collect();
            let busy = Refusal::new(code::BUSY, "too many requests are under way; wait for one to be answered");
            return self.say(&busy.answers(&ids, body.is_batch())).await;
        };
        let keys: Vec<String> = body.request_ids().map(|id| id.key().to_owned()).collect();
        let bridge = Arc::clone(self);
        let ended = keys.clone();
        let task = tasks.spawn(async move {
            bridge.carry(body).await;
            let mut running = lock(&bridge.running);
            ended.iter().for_each(|key| drop(running.remove(key)));
            drop(room);
        });
        let mut running = lock(&self.running);
        if !task.is_finished() {
            keys.into_iter().for_each(|key| drop(running.insert(key, task.clone())));
        }
    }

    fn is_stateless(&self, message: &Message) -> bool {
        let agreed =
            lock(&self.session).revision.as_ref().and_then(|revision| revision.to_str().ok().map(str::to_owned));
        agreed.or_else(|| message.revision().map(str::to_owned)).is_none_or(|revision| headers::is_stateless(&revision))
    }

    /// Sends a body and hands on what comes back; whatever goes wrong, each request gets an answer.
    async fn carry(&self, body: Body) {
        let mut open: Vec<Id> = body.request_ids().cloned().collect();
        if let Err(refusal) = self.exchange(&body, &mut open).await {
            if open.is_empty() {
                tracing::warn!(reason = refusal.message, "a message was not taken");
            }
            for id in open {
                self.say(&refusal.answer(Some(&id))).await;
            }
        }
    }

    /// `open`: the requests that have no answer yet.
    async fn exchange(&self, body: &Body, open: &mut Vec<Id>) -> Result<(), Refusal> {
        let request = self.request(Method::POST, body.raw().clone(), Some(&body.messages()[0]))?;
        let call = self.calls.send(request).await.map_err(|error| Refusal::new(code::UPSTREAM, error))?;
        if body.messages()[0].is_handshake() {
            lock(&self.session).id = call.response.headers().get(headers::SESSION_ID).cloned();
        }
        let status = call.response.status();
        if !is_events(&call) {
            return self.whole(call, status, open).await;
        }
        let mut cursor = self.events(call, open).await?;
        for _ in 0..RESUMES {
            // A stream that broke off with its answer still to come goes on where the server says that it can.
            let Some(Cursor { id, retry }) = cursor.take().filter(|_| !open.is_empty()) else { break };
            sleep(retry).await;
            cursor = self.resume(&id, open).await?;
        }
        if open.is_empty() { Ok(()) } else { Err(Refusal::new(code::UPSTREAM, "the answer broke off")) }
    }

    /// An answer in one body.
    async fn whole(&self, mut call: Call, status: StatusCode, open: &mut Vec<Id>) -> Result<(), Refusal> {
        let answer = Limited::new(call.response.body_mut(), LONGEST).collect().await;
        let answer = answer.map_err(|error| Refusal::new(code::UPSTREAM, format!("the answer broke off: {error}")))?;
        let answer = answer.to_bytes();
        self.calls.done(call).await;
        let is_message = self.hand_on(&answer, open).await;
        if open.is_empty() {
            if !status.is_success() && !is_message {
                return Err(Refusal::new(code::UPSTREAM, format!("the gateway answers {status}")));
            }
            return Ok(());
        }
        let code = match status {
            StatusCode::NOT_FOUND => code::SESSION,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => code::FORBIDDEN,
            _ => code::UPSTREAM,
        };
        Err(Refusal::new(code, format!("the gateway answers {status}, and no message")))
    }

    /// An answer in events; where it may go on is given back.
    async fn events(&self, call: Call, open: &mut Vec<Id>) -> Result<Option<Cursor>, Refusal> {
        let Call { response, .. } = call;
        let mut events = Events::new(LONGEST);
        let mut cursor = None;
        let mut retry = RETRY;
        let mut body = BodyStream::new(response.into_body());
        while let Some(Ok(frame)) = body.next().await {
            let Some(bytes) = frame.data_ref() else { continue };
            events.push(bytes);
            while let Some(event) =
                events.next_event().map_err(|error| Refusal::new(code::UPSTREAM, error.to_string()))?
            {
                let Event { data, id, retry: told } = event;
                retry = told.unwrap_or(retry);
                if let Some(id) = id.filter(|id| !id.is_empty()) {
                    cursor = Some(id);
                }
                if let Some(data) = data {
                    self.hand_on(&data, open).await;
                }
            }
        }
        Ok(cursor.map(|id| Cursor { id, retry }))
    }

    async fn resume(&self, id: &str, open: &mut Vec<Id>) -> Result<Option<Cursor>, Refusal> {
        let mut request = self.request(Method::GET, Bytes::new(), None)?;
        let id = HeaderValue::from_str(id).map_err(|_| Refusal::new(code::UPSTREAM, "the answer broke off"))?;
        request.headers_mut().insert("last-event-id", id);
        let call = self.calls.send(request).await.map_err(|error| Refusal::new(code::UPSTREAM, error))?;
        if call.response.status().is_success() && is_events(&call) { self.events(call, open).await } else { Ok(None) }
    }

    /// The stream of what answers no request, where the server has one, until the session ends.
    async fn listen(&self) {
        let mut cursor: Option<Cursor> = None;
        loop {
            let Ok(mut request) = self.request(Method::GET, Bytes::new(), None) else { return };
            if let Some(id) = cursor.as_ref().and_then(|cursor| HeaderValue::from_str(&cursor.id).ok()) {
                request.headers_mut().insert("last-event-id", id);
            }
            if let Ok(call) = self.calls.send(request).await {
                let status = call.response.status();
                if status.is_client_error() || (status.is_success() && !is_events(&call)) {
                    return;
                }
                if status.is_success()
                    && let Ok(Some(next)) = self.events(call, &mut Vec::new()).await
                {
                    cursor = Some(next);
                }
            }
            sleep(cursor.as_ref().map_or(RETRY, |cursor| cursor.retry)).await;
        }
    }

    /// Writes a message of the server as a line; true where it was one.
    async fn hand_on(&self, message: &Bytes, open: &mut Vec<Id>) -> bool {
        let Ok(body) = Body::parse_for_routing(message.clone(), LONGEST) else { return false };
        for message in body.messages() {
            if let Kind::Response { id } = message.kind() {
                match id {
                    Some(id) => open.retain(|other| other != id),
                    // An error of the whole body: the client knows its requests by their ids alone.
                    None if !open.is_empty() => return false,
                    None => {}
                }
                if lock(&self.session).revision.is_none()
                    && let Some(revision) = agreed(message.raw())
                {
                    lock(&self.session).revision = Some(revision);
                }
            }
        }
        self.say(message).await;
        true
    }

    async fn say(&self, message: &[u8]) {
        // Nobody reads any more: the end of standard input comes next.
        let _ = self.out.send(line(message)).await;
    }

    fn request(&self, method: Method, body: Bytes, message: Option<&Message>) -> Result<Request<Full<Bytes>>, Refusal> {
        let session = lock(&self.session).clone();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.calls.path().parse().map_err(|_| Refusal::new(code::UPSTREAM, "no such path"))?;
        let map = request.headers_mut();
        let accept = if message.is_some() { "application/json, text/event-stream" } else { "text/event-stream" };
        map.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(message) = message {
            map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let stated = message.revision().filter(|_| !message.is_handshake());
            let revision = stated.and_then(|revision| HeaderValue::from_str(revision).ok()).or(session.revision);
            if revision.as_ref().and_then(|revision| revision.to_str().ok()).is_some_and(headers::is_stateless) {
                repeat(map, message);
            }
            revision.map(|revision| map.insert(headers::PROTOCOL_VERSION, revision));
        } else {
            session.revision.map(|revision| map.insert(headers::PROTOCOL_VERSION, revision));
        }
        session.id.map(|id| map.insert(headers::SESSION_ID, id));
        Ok(request)
    }
}

/// Where a stream may go on, and when.
struct Cursor {
    id: String,
    retry: Duration,
}

fn is_events(call: &Call) -> bool {
    let kind = call.response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"))
}

/// The headers that repeat the body, which a server of a revision without sessions asks for.
fn repeat(map: &mut http::HeaderMap, message: &Message) {
    let parts = [(headers::METHOD, message.method()), (headers::NAME, message.subject())];
    for (name, part) in parts {
        if let Some(value) = part.and_then(|part| HeaderValue::from_str(&headers::encode(part)).ok()) {
            map.insert(name, value);
        }
    }
}

/// The revision that an answer to `initialize` agrees on.
fn agreed(answer: &Bytes) -> Option<HeaderValue> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    HeaderValue::from_str(answer.get("result")?.get("protocolVersion")?.as_str()?).ok()
}

/// The request that a notification cancels, as [`Id::key`] has it.
fn cancelled(message: &Message) -> Option<String> {
    message.params().get("requestId").map(ToString::to_string)
}
