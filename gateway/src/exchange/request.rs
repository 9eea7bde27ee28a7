//! The way there: who, which session, what is asked, whether the rules let it, and its record, before it goes upstream.

use super::enter::session;
use super::hold::{self, Returned, Waiting};
use super::judge::{Judged, is_exempt, judge, not_allowed};
use super::reply::Upcoming;
use super::respond::Done;
use super::{Downstream, Exchange, Head, Open, Recorder, Shared, Sharing, bridge, refuse};
use crate::authorisation::{self, Asking, Stated};
use crate::config::{ConnectionConfig, UpstreamConfig};
use crate::evidence::{Event, EvidenceError, Record, RequestOutcome};
use crate::identity::Identity;
use crate::protocol::mcp::DEFAULT_CAP;
use crate::protocol::mcp::error::{Refusal, code};
use crate::protocol::mcp::headers::{self, HEADER_MISMATCH, HeaderError, SESSION_ID};
use crate::protocol::mcp::message::{Body, Id, Message};
use crate::protocol::mcp::params;
use crate::session::{self as sessions, Attempt, PURPOSE_META, Purpose, PurposeError, SessionError};
use crate::upstream::{http as http_upstream, stdio as stdio_upstream};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use sluice_dsl::RequestFacts;
use sluice_engine::RuleSet;
use std::sync::Arc;

/// The header that carries the purpose, as header names are compared.
const PURPOSE: &str = "sluice-purpose";

/// Who calls, and how.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) connection: String,
    pub(crate) config: ConnectionConfig,
    pub(crate) headers: HeaderMap,
    pub(crate) ip: Option<String>,
}

impl Caller {
    /// The same as somebody who wants to use the connection for this.
    fn attempt<'a>(&'a self, purpose: Stated<'a>) -> Attempt<'a> {
        let (identity, connection, config) = (&self.identity, &self.connection, &self.config);
        Attempt { identity, connection, config, purpose, client: None, ip: self.ip.as_deref() }
    }

    /// Whether a request of a session may be made for this.
    async fn may(&self, purpose: Stated<'_>) -> Result<(), authorisation::Refusal> {
        let asking = Asking { identity: &self.identity, purpose, at: jiff::Timestamp::now() };
        sessions::may(&self.config, &self.connection, asking).await
    }

    /// What the client is told where it may not.
    fn told(&self, why: &authorisation::Refusal) -> Refused {
        SessionError::told(why, &self.config).into()
    }
}

/// A refusal before anything went upstream.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) refusal: Refusal,
    /// The exchange that it ends, where the request is on record.
    recorded: Option<Box<Ready>>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, refusal: Refusal) -> Self {
        Self { status, refusal, recorded: None }
    }
}

pub(super) fn refused(status: StatusCode, code: i64, message: impl Into<String>) -> Refused {
    Refused::new(status, Refusal::new(code, message))
}

impl From<HeaderError> for Refused {
    fn from(error: HeaderError) -> Self {
        let code = if error == HeaderError::Revision { -32600 } else { HEADER_MISMATCH };
        refused(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

/// A POST: messages of the client.
pub(crate) fn post(shared: Arc<Shared>, caller: Caller, body: Bytes) -> Upcoming {
    spawn(|mut downstream: Downstream| async move {
        let body = match Body::parse(body, DEFAULT_CAP) {
            Ok(body) => body,
            Err(error) => {
                let refusal = Refusal::new(error.code(), error.to_string());
                return downstream.start(refuse(StatusCode::BAD_REQUEST, &refusal, &[], false));
            }
        };
        let ids: Vec<Id> = body.request_ids().cloned().collect();
        let (body, prepared) = match hold::returned(&shared, &body) {
            Ok(None) => {
                let prepared = prepare(&shared, &caller, &body, None).await;
                (body, prepared)
            }
            Ok(Some((bare, returned))) => {
                let prepared = prepare(&shared, &caller, &bare, Some(returned)).await;
                (bare, prepared)
            }
            Err(refused) => (body, Err(refused)),
        };
        match prepared {
            Ok(Prepared::Clear(ready)) => ready.run(shared, caller, body, ids, downstream, None).await,
            Ok(Prepared::Held(ready, waiting)) => ready.run(shared, caller, body, ids, downstream, Some(waiting)).await,
            Ok(Prepared::Taken) => downstream.start(empty(StatusCode::ACCEPTED)),
            Err(Refused { status, refusal, recorded }) => {
                // A refusal that answers no request can't be told as an answer.
                let silent = ids.is_empty() && status == StatusCode::OK;
                let status = if silent { StatusCode::FORBIDDEN } else { status };
                match recorded {
                    Some(ready) => ready.refuse(&shared, ids, body.is_batch(), downstream, (status, refusal)).await,
                    None => downstream.start(refuse(status, &refusal, &ids, body.is_batch())),
                }
            }
        }
    })
}

/// A GET: the stream of messages that answer no request.
pub(crate) fn get(shared: Arc<Shared>, caller: Caller) -> Upcoming {
    bodiless(shared, caller, Method::GET)
}

/// A DELETE: the end of a session.
pub(crate) fn delete(shared: Arc<Shared>, caller: Caller) -> Upcoming {
    bodiless(shared, caller, Method::DELETE)
}

fn spawn<F, W>(work: F) -> Upcoming
where
    F: FnOnce(Downstream) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let (downstream, upcoming) = Downstream::pair();
    // A task of its own: the record must be closed also where the client goes away.
    tokio::spawn(work(downstream));
    upcoming
}

fn bodiless(shared: Arc<Shared>, caller: Caller, method: Method) -> Upcoming {
    spawn(|mut downstream: Downstream| async move {
        if let Err(refusal) = open_bodiless(shared, caller, method, &mut downstream).await {
            downstream.start(refuse(refusal.status, &refusal.refusal, &[], false));
        }
    })
}

async fn open_bodiless(
    shared: Arc<Shared>,
    caller: Caller,
    method: Method,
    downstream: &mut Downstream,
) -> Result<(), Refused> {
    let revision = headers::revision(&caller.headers, None)?;
    params::repeated(&caller.headers, &serde_json::Value::Null)?;
    let purpose = header_purpose(&caller)?;
    let session = session(&shared, &caller, None, &revision, purpose.as_ref()).await?;
    let purpose = purpose.map(|purpose| purpose.to_string()).or_else(|| session.stated());
    if method == Method::GET {
        shared.gateway.sessions.admit(caller.attempt(Stated::Known(purpose.as_deref()))).await?;
    }
    let exchange = session.next_exchange();
    let event = Event::Request {
        exchange,
        method: method.to_string(),
        name: None,
        body: String::new(),
        purpose: purpose.clone(),
        outcome: RequestOutcome::Forwarded,
        hits: Vec::new(),
        approval: None,
    };
    append(&shared, &session, event).await?;
    let rules = session.general(&session.policy_for(purpose.as_deref()).response_rules(&RequestFacts::default()));
    let (placeholder, _) = Downstream::pair();
    let downstream = std::mem::replace(downstream, placeholder);
    let mut exchange = begin(&shared, &session, exchange, rules, downstream);
    let running = session.enter();
    match (&caller.config.upstream, method) {
        (UpstreamConfig::Http { url, headers, .. }, method) => {
            let call = http_upstream::Call::new(method, url, headers, &caller.headers, Bytes::new(), true);
            exchange.run(async move |exchange| http_upstream::relay(exchange, call).await).await;
        }
        (UpstreamConfig::Stdio { .. }, Method::DELETE) => {
            exchange.over = Some("the client ended it");
            exchange.run(async |_: &mut Exchange| Done::whole(empty(StatusCode::OK))).await;
        }
        (UpstreamConfig::Stdio { .. }, _) => {
            exchange.run(async |exchange| stdio_upstream::relay_stream(exchange).await).await;
        }
        (UpstreamConfig::Postgres(_) | UpstreamConfig::Tcp { .. } | UpstreamConfig::Agents, _) => {
            exchange.run(async |_: &mut Exchange| foreign()).await
        }
    }
    drop(running);
    Ok(())
}

/// A connection that speaks another protocol; the front lets no request for it come here.
fn foreign() -> Done {
    Done::refused(StatusCode::NOT_FOUND, Refusal::new(code::FORBIDDEN, "this connection does not speak MCP"))
}

fn empty(status: StatusCode) -> Head {
    Head { status, headers: HeaderMap::new(), whole: Some(Bytes::new()) }
}

fn begin(shared: &Arc<Shared>, session: &Arc<Open>, exchange: u64, rules: RuleSet, downstream: Downstream) -> Exchange {
    let policy = session.rules().clone();
    let recorder = Recorder::new(shared.gateway.evidence.clone(), session.id.clone(), exchange, policy);
    Exchange {
        shared: Arc::clone(shared),
        session: Arc::clone(session),
        ids: Vec::new(),
        batch: false,
        rules,
        recorder,
        downstream,
        sharing: Sharing::AsSaid,
        events: None,
        envelope: None,
        over: None,
    }
}

/// What becomes of a body.
enum Prepared {
    /// It may go upstream, and is on record.
    Clear(Ready),
    /// It may once somebody has approved it.
    Held(Ready, Box<Waiting>),
    /// It was for the gateway itself.
    Taken,
}

/// A body that may go upstream.
pub(super) struct Ready {
    pub(super) session: Arc<Open>,
    pub(super) exchange: u64,
    revision: String,
    pub(super) batch: bool,
    /// What each message is for.
    pub(super) purposes: Vec<Option<String>>,
    /// The messages as they go upstream, one by one.
    pub(super) sent: Vec<Bytes>,
    pub(super) headers: HeaderMap,
    pub(super) rules: RuleSet,
    initialize: bool,
}

impl Ready {
    /// Answers a request that does not go upstream, and records the answer as the client sees it.
    async fn refuse(
        self,
        shared: &Arc<Shared>,
        ids: Vec<Id>,
        batch: bool,
        downstream: Downstream,
        (status, refusal): (StatusCode, Refusal),
    ) {
        let mut exchange = begin(shared, &self.session, self.exchange, self.rules, downstream);
        (exchange.ids, exchange.batch) = (ids, batch);
        if self.initialize {
            exchange.over = Some("refused");
        }
        exchange.run(async |_: &mut Exchange| Done::refused(status, refusal)).await;
    }

    /// Takes the body upstream, where it waits for nobody or has waited, and the answer back.
    async fn run(
        self,
        shared: Arc<Shared>,
        caller: Caller,
        body: Body,
        ids: Vec<Id>,
        downstream: Downstream,
        waiting: Option<Box<Waiting>>,
    ) {
        let running = self.session.enter();
        let mut exchange = begin(&shared, &self.session, self.exchange, self.rules.clone(), downstream);
        (exchange.ids, exchange.batch) = (ids, body.is_batch());
        exchange
            .run(async move |exchange| {
                let cleared = match waiting {
                    None => Ok(self),
                    Some(waiting) => Box::pin(hold::clear(exchange, self, &caller, &body, *waiting)).await,
                };
                match cleared {
                    Ok(ready) => Box::pin(ready.relay(exchange, &caller, body)).await,
                    Err(done) => done,
                }
            })
            .await;
        drop(running);
    }

    /// The body goes upstream, and the answer comes back.
    async fn relay(self, exchange: &mut Exchange, caller: &Caller, body: Body) -> Done {
        exchange.sharing = Sharing::of(&body, &self.rules, self.session.rules());
        exchange.rules = self.rules;
        match &caller.config.upstream {
            UpstreamConfig::Http { url, headers, .. } => {
                let carried = !self.initialize && !headers::is_stateless(&self.revision);
                let bytes = assemble(&body, &self.sent);
                let mut call = http_upstream::Call::new(Method::POST, url, headers, &self.headers, bytes, carried);
                call.opens = self.initialize;
                http_upstream::relay(exchange, call).await
            }
            UpstreamConfig::Stdio { .. } => {
                let post = stdio_upstream::Post {
                    messages: body.messages().iter().cloned().zip(self.sent).collect(),
                    opens: self.initialize,
                    stateless: headers::is_stateless(&self.revision),
                    json_only: !accepts_events(&caller.headers),
                };
                stdio_upstream::relay(exchange, post).await
            }
            UpstreamConfig::Postgres(_) | UpstreamConfig::Tcp { .. } | UpstreamConfig::Agents => foreign(),
        }
    }

    /// Of a revision without sessions.
    pub(super) fn is_stateless(&self) -> bool {
        headers::is_stateless(&self.revision)
    }

    /// Decides about all messages anew, as they are to go upstream now.
    pub(super) async fn judge(&mut self, shared: &Shared, caller: &Caller, body: &Body) -> Vec<Judged> {
        (self.sent, self.headers, self.rules) = (Vec::new(), caller.headers.clone(), RuleSet::none());
        let mut all = Vec::with_capacity(body.messages().len());
        for (message, purpose) in body.messages().iter().zip(self.purposes.clone()) {
            let later = is_exempt(message) && purpose.is_none();
            let stated = if later { Stated::Later } else { Stated::Known(purpose.as_deref()) };
            let may = caller.may(stated).await.map_err(|why| (caller.told(&why), not_allowed(&why)));
            all.push(judge(shared, self, message, purpose, may.err()));
            if all.last().is_some_and(|judged| judged.refusal.is_some()) {
                break;
            }
        }
        all
    }
}

pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    values.peek().is_none() || values.any(|value| value.contains("text/event-stream") || value.contains("*/*"))
}

async fn prepare(
    shared: &Arc<Shared>,
    caller: &Caller,
    body: &Body,
    returned: Option<Returned>,
) -> Result<Prepared, Refused> {
    let first = &body.messages()[0];
    let revision = headers::revision(&caller.headers, Some(first))?;
    for message in body.messages() {
        headers::agree(&caller.headers, message, false)?;
        headers::revision(&caller.headers, Some(message))?;
    }
    if matches!(caller.config.upstream, UpstreamConfig::Stdio { .. }) {
        bridge::check(&caller.headers, body, &revision)?;
    }
    let header_purpose = header_purpose(caller)?;
    let purposes: Vec<Option<Purpose>> = body
        .messages()
        .iter()
        .map(|message| Purpose::of(header_purpose.as_ref().map(Purpose::as_str), message.purpose()))
        .collect::<Result<_, _>>()?;
    let initialize = body.messages().iter().any(Message::is_handshake);
    if initialize && body.messages().len() > 1 {
        return Err(refused(StatusCode::BAD_REQUEST, -32600, "`initialize` must not be part of a batch"));
    }
    for (message, purpose) in body.messages().iter().zip(&purposes) {
        if !is_exempt(message) && !caller.headers.contains_key(SESSION_ID) {
            let stated = Stated::Known(purpose.as_ref().map(Purpose::as_str));
            shared.gateway.sessions.admit(caller.attempt(stated)).await?;
        }
    }
    let session = session(shared, caller, Some(first), &revision, purposes[0].as_ref()).await?;
    if hold::is_for_us(shared, &session, body).await {
        return Ok(Prepared::Taken);
    }
    let exchange = session.next_exchange();
    let stated = |purpose: Option<Purpose>| purpose.map(|purpose| purpose.to_string()).or_else(|| session.stated());
    let mut ready = Ready {
        purposes: purposes.into_iter().map(stated).collect(),
        session,
        exchange,
        revision,
        batch: body.messages().len() > 1,
        sent: Vec::new(),
        headers: HeaderMap::new(),
        rules: RuleSet::none(),
        initialize,
    };
    let mut judged = ready.judge(shared, caller, body).await;
    if let [Judged { want: Some(want), refusal: None, .. }] = &judged[..] {
        let want = want.clone();
        let waiting = hold::ask(shared, &ready, body, want, returned).await?;
        return Ok(Prepared::Held(ready, Box::new(waiting)));
    }
    let refusal = judged.last_mut().and_then(|last| last.refusal.take());
    for Judged { mut event, .. } in judged {
        if let (Some(_), Event::Request { outcome, .. }) = (&refusal, &mut event) {
            *outcome = RequestOutcome::Refused;
        }
        append(shared, &ready.session, event).await?;
    }
    match refusal {
        None => Ok(Prepared::Clear(ready)),
        Some(error) => Err(Refused { recorded: Some(Box::new(ready)), ..error }),
    }
}

/// The body as it goes upstream: the bytes between the messages of a batch stay as they came.
fn assemble(body: &Body, sent: &[Bytes]) -> Bytes {
    let start = body.raw().as_ptr() as usize;
    let mut out = BytesMut::with_capacity(body.raw().len());
    let mut at = 0;
    for (message, sent) in body.messages().iter().zip(sent) {
        let begin = message.raw().as_ptr() as usize - start;
        out.extend_from_slice(&body.raw()[at..begin]);
        out.extend_from_slice(sent);
        at = begin + message.raw().len();
    }
    out.extend_from_slice(&body.raw()[at..]);
    out.freeze()
}

async fn append(shared: &Shared, session: &Open, event: Event) -> Result<(), Refused> {
    let appended = shared.gateway.evidence.append(Record::now(session.id.clone(), event)).await;
    appended.map(|_| ()).map_err(|error| evidence_refused(&error))
}

pub(super) fn evidence_refused(error: &EvidenceError) -> Refused {
    tracing::error!(%error, "a request is not recorded and does not pass");
    refused(StatusCode::SERVICE_UNAVAILABLE, code::EVIDENCE, "the request can't be recorded, so it is refused")
}

impl From<PurposeError> for Refused {
    fn from(error: PurposeError) -> Self {
        let code = if error == PurposeError::Ambiguous { HEADER_MISMATCH } else { code::PURPOSE };
        refused(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Evidence(error) => evidence_refused(&error),
            SessionError::Forbidden => refused(StatusCode::FORBIDDEN, code::FORBIDDEN, error.to_string()),
            SessionError::PurposeRequired => purpose_missing(),
            SessionError::PurposeRefused { .. } => refused(StatusCode::OK, code::PURPOSE, error.to_string()),
            SessionError::Unknown => refused(StatusCode::NOT_FOUND, code::SESSION, error.to_string()),
            SessionError::Full | SessionError::Draining => {
                refused(StatusCode::SERVICE_UNAVAILABLE, code::BUSY, error.to_string())
            }
        }
    }
}

fn header_purpose(caller: &Caller) -> Result<Option<Purpose>, Refused> {
    let text = headers::single(&caller.headers, PURPOSE)?;
    Ok(Purpose::of(text.as_deref(), None)?)
}

fn purpose_missing() -> Refused {
    let message = format!(
        "this connection needs a purpose: send the header `Sluice-Purpose` or the member `{PURPOSE_META}` of `_meta`"
    );
    refused(StatusCode::OK, code::PURPOSE, message)
}
