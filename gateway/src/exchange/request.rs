//! The way there: who, which session, what is asked, whether the rules let it, and its record, before it goes upstream.

use super::bridge;
use super::inspect::{Inspector, general_options};
use super::reply::Upcoming;
use super::respond::{Done, stop_refusal};
use super::{Downstream, Exchange, Head, Open, Recorder, Shared, Sharing, refuse};
use crate::authorisation::{self, Asking, Stated};
use crate::config::{ConnectionConfig, UpstreamConfig};
use crate::evidence::{Event, HitRecord, Record, RequestOutcome};
use crate::identity::Identity;
use crate::protocol::mcp::DEFAULT_CAP;
use crate::protocol::mcp::error::{Refusal, code};
use crate::protocol::mcp::headers::{self, HEADER_MISMATCH, HeaderError, SESSION_ID};
use crate::protocol::mcp::message::{Body, Id, Message};
use crate::protocol::mcp::params;
use crate::session::{self, Attempt, NewSession, PURPOSE_META, Purpose, PurposeError, SessionError};
use crate::upstream::{http as http_upstream, stdio as stdio_upstream};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sluice_dsl::{HitAction, RequestFacts};
use sluice_engine::{ActionKind, Decision, Format, RuleSet};
use std::sync::Arc;

/// The header that carries the purpose, as header names are compared.
const PURPOSE: &str = "sluice-purpose";
/// Methods that carry no data of the upstream: they need no purpose.
const LIFECYCLE: [&str; 3] = ["initialize", "ping", "server/discover"];

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
        session::may(&self.config, &self.connection, asking).await
    }

    /// What the client is told where it may not.
    fn told(&self, why: &authorisation::Refusal) -> Refused {
        SessionError::told(why, &self.config).into()
    }
}

/// What the record says of a request that may not be made.
fn not_allowed(why: &authorisation::Refusal) -> HitRecord {
    HitRecord {
        rule: "access".to_owned(),
        id: None,
        pack: "sluice".to_owned(),
        action: "block".to_owned(),
        message: None,
        detail: Some(why.to_string()),
    }
}

/// A refusal before anything went upstream.
pub(super) struct Refused {
    status: StatusCode,
    refusal: Refusal,
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
        match prepare(&shared, &caller, &body).await {
            Ok(ready) => ready.run(shared, caller, body, ids, downstream).await,
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
        (UpstreamConfig::Postgres(_) | UpstreamConfig::Tcp { .. } | UpstreamConfig::Agents { .. }, _) => {
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
        over: None,
    }
}

/// A body that may go upstream.
struct Ready {
    session: Arc<Open>,
    exchange: u64,
    revision: String,
    /// The messages as they go upstream, one by one.
    sent: Vec<Bytes>,
    headers: HeaderMap,
    rules: RuleSet,
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

    async fn run(self, shared: Arc<Shared>, caller: Caller, body: Body, ids: Vec<Id>, downstream: Downstream) {
        let running = self.session.enter();
        let sharing = Sharing::of(&body, &self.rules, self.session.rules());
        let mut exchange = begin(&shared, &self.session, self.exchange, self.rules, downstream);
        exchange.sharing = sharing;
        (exchange.ids, exchange.batch) = (ids, body.is_batch());
        match &caller.config.upstream {
            UpstreamConfig::Http { url, headers, .. } => {
                let carried = !self.initialize && !headers::is_stateless(&self.revision);
                let bytes = assemble(&body, &self.sent);
                let mut call = http_upstream::Call::new(Method::POST, url, headers, &self.headers, bytes, carried);
                call.opens = self.initialize;
                exchange.run(async move |exchange| http_upstream::relay(exchange, call).await).await;
            }
            UpstreamConfig::Stdio { .. } => {
                let post = stdio_upstream::Post {
                    messages: body.messages().iter().cloned().zip(self.sent).collect(),
                    opens: self.initialize,
                    stateless: headers::is_stateless(&self.revision),
                    json_only: !accepts_events(&caller.headers),
                };
                exchange.run(async move |exchange| stdio_upstream::relay(exchange, post).await).await;
            }
            UpstreamConfig::Postgres(_) | UpstreamConfig::Tcp { .. } | UpstreamConfig::Agents { .. } => {
                exchange.run(async |_: &mut Exchange| foreign()).await
            }
        }
        drop(running);
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    values.peek().is_none() || values.any(|value| value.contains("text/event-stream") || value.contains("*/*"))
}

async fn prepare(shared: &Arc<Shared>, caller: &Caller, body: &Body) -> Result<Ready, Refused> {
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
        if !is_lifecycle(message) && !caller.headers.contains_key(SESSION_ID) {
            let stated = Stated::Known(purpose.as_ref().map(Purpose::as_str));
            shared.gateway.sessions.admit(caller.attempt(stated)).await?;
        }
    }
    let session = session(shared, caller, Some(first), &revision, purposes[0].as_ref()).await?;
    let exchange = session.next_exchange();
    let mut ready = Ready {
        session,
        exchange,
        revision,
        sent: Vec::with_capacity(body.messages().len()),
        headers: caller.headers.clone(),
        rules: RuleSet::none(),
        initialize,
    };
    let mut records = Vec::new();
    let mut refusal = None;
    for (message, purpose) in body.messages().iter().zip(purposes) {
        let purpose = purpose.map(|purpose| purpose.to_string()).or_else(|| ready.session.stated());
        let stated =
            if is_lifecycle(message) && purpose.is_none() { Stated::Later } else { Stated::Known(purpose.as_deref()) };
        let may = caller.may(stated).await.map_err(|why| (caller.told(&why), not_allowed(&why)));
        let (event, outcome) = judge(shared, &mut ready, message, purpose, may.err());
        records.push(event);
        if let Err(error) = outcome {
            refusal = Some(error);
            break;
        }
    }
    for mut event in records {
        if let (Some(_), Event::Request { outcome, .. }) = (&refusal, &mut event) {
            *outcome = RequestOutcome::Refused;
        }
        append(shared, &ready.session, event).await?;
    }
    match refusal {
        None => Ok(ready),
        Some(error) => Err(Refused { recorded: Some(Box::new(ready)), ..error }),
    }
}

/// Whether a message carries no data of the upstream: it needs no purpose.
fn is_lifecycle(message: &Message) -> bool {
    message.request_id().is_none() || message.method().is_some_and(|name| LIFECYCLE.contains(&name))
}

/// Decides about one message, masks it, and says what its record is. `refused`: it may not be made at all.
fn judge(
    shared: &Shared,
    ready: &mut Ready,
    message: &Message,
    purpose: Option<String>,
    refused: Option<(Refused, HitRecord)>,
) -> (Event, Result<(), Refused>) {
    let session = Arc::clone(&ready.session);
    let facts = RequestFacts {
        mcp_method: message.method().map(str::to_owned),
        tool_name: message.tool_name().map(str::to_owned),
        tool_args: message.tool_args().cloned(),
        resource_uri: message.resource_uri().map(str::to_owned),
        prompt_name: message.prompt_name().map(str::to_owned),
        size: message.raw().len() as u64,
        now: Some(jiff::ZonedDateTime::now()),
        ..RequestFacts::default()
    };
    let policy = session.policy_for(purpose.as_deref());
    let (mut refusal, not_allowed) = refused.unzip();
    let mut hits: Vec<HitRecord> = not_allowed.into_iter().collect();
    for hit in policy.decide(&facts) {
        let (name, id, pack) = (&hit.rule.name, hit.rule.id.as_deref(), &hit.rule.pack);
        let (action, by_rule) = match &hit.action {
            HitAction::Block { message } => {
                ("block", Some(Refusal::by_rule(code::REFUSED, name, id, pack, Some(message))))
            }
            HitAction::Approve { .. } => {
                let message = "it needs an approval, and approvals are not available in this version";
                ("approve", Some(Refusal::by_rule(code::APPROVAL, name, id, pack, Some(message))))
            }
            HitAction::Alert => (if hit.rule.audit { "audit" } else { "alert" }, None),
        };
        if let (None, Some(by_rule)) = (&refusal, by_rule) {
            refusal = Some(Refused::new(StatusCode::OK, by_rule));
        }
        hits.push(HitRecord {
            rule: name.clone(),
            id: hit.rule.id.clone(),
            pack: pack.clone(),
            action: action.to_owned(),
            message: hit.rule.message.clone(),
            detail: hit.detail.clone(),
        });
    }
    let rules = policy.request_rules(&facts);
    let (program, budget) = (session.rules().program(), &shared.gateway.budget);
    let inspector = Inspector::open(program, general_options(Format::Json, rules), budget);
    let released = inspector.whole(message.raw().clone());
    count_hits(&session, &released.decisions, &mut hits);
    let mut body = released.bytes;
    if let Some(stop) = &released.stop {
        // What led to a match is not kept either: the record of a refused body holds no part of it.
        body = Bytes::new();
        let (_, status, by_stop) = stop_refusal(stop, session.rules());
        refusal.get_or_insert(Refused::new(status, by_stop));
    }
    if refusal.is_none()
        && let Err(error) = mask_headers(ready, message, released.masked.then_some(&body))
    {
        refusal = Some(error);
    }
    session.add(&mut ready.rules, &policy.response_rules(&facts));
    session.widen(&ready.rules);
    let event = Event::Request {
        exchange: ready.exchange,
        method: message.method().unwrap_or("response").to_owned(),
        name: masked_subject(message, released.masked || released.stop.is_some(), &body),
        body: String::from_utf8_lossy(&body).into_owned(),
        purpose,
        outcome: RequestOutcome::Forwarded,
        hits,
    };
    ready.sent.push(body);
    (event, refusal.map_or(Ok(()), Err))
}

/// The subject as the record may name it: that of the masked message where something was masked.
fn masked_subject(message: &Message, changed: bool, body: &Bytes) -> Option<String> {
    if !changed {
        return message.subject().map(str::to_owned);
    }
    let body = Body::parse(body.clone(), usize::MAX).ok()?;
    body.messages().first()?.subject().map(str::to_owned)
}

/// Headers repeat parts of the body: they say nothing else, and what is masked there must be masked here.
fn mask_headers(ready: &mut Ready, message: &Message, masked: Option<&Bytes>) -> Result<(), Refused> {
    let arguments = message.tool_args().unwrap_or(&serde_json::Value::Null);
    let repeated = params::repeated(&ready.headers, arguments)?;
    let Some(masked) = masked else { return Ok(()) };
    let masked = Body::parse(masked.clone(), usize::MAX)
        .map_err(|_| refused(StatusCode::INTERNAL_SERVER_ERROR, -32603, "a masked request is no longer a message"))?;
    let masked = &masked.messages()[0];
    let after = masked.tool_args().unwrap_or(&serde_json::Value::Null);
    repeated.into_iter().for_each(|header| header.follow(&mut ready.headers, arguments, after));
    if let (Some(subject), true) = (masked.subject(), ready.headers.contains_key(headers::NAME)) {
        set(&mut ready.headers, http::HeaderName::from_static(headers::NAME), subject);
    }
    Ok(())
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    match HeaderValue::from_str(&headers::encode(value)) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

fn count_hits(session: &Open, decisions: &[Decision], hits: &mut Vec<HitRecord>) {
    for decision in decisions {
        let rule = session.rules().rule(decision.rule);
        let action = match decision.action {
            ActionKind::Alert if rule.audit => "audit",
            ActionKind::Alert => "alert",
            ActionKind::Mask => "mask",
            ActionKind::Block => "block",
        };
        let detail = Some(session.rules().program().pattern_name(decision.pattern).to_owned());
        if hits.iter().any(|hit| hit.rule == rule.name && hit.detail == detail && hit.action == action) {
            continue;
        }
        hits.push(HitRecord {
            rule: rule.name.clone(),
            id: rule.id.clone(),
            pack: rule.pack.clone(),
            action: action.to_owned(),
            message: rule.message.clone(),
            detail,
        });
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

fn evidence_refused(error: &crate::evidence::EvidenceError) -> Refused {
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

/// The session a request belongs to; opened where the request opens one or none is needed.
async fn session(
    shared: &Arc<Shared>,
    caller: &Caller,
    message: Option<&Message>,
    revision: &str,
    purpose: Option<&Purpose>,
) -> Result<Arc<Open>, Refused> {
    let opens = message.is_some_and(Message::is_handshake);
    let stateless = headers::is_stateless(revision);
    if !opens && !stateless {
        if let Some(id) = headers::single(&caller.headers, SESSION_ID)? {
            return shared
                .table
                .carried(&caller.connection, &id, &caller.identity)
                .ok_or_else(|| refused(StatusCode::NOT_FOUND, code::SESSION, "the session is not known"));
        }
        if matches!(caller.config.upstream, UpstreamConfig::Stdio { .. }) {
            let message = "the header `Mcp-Session-Id` is missing; begin with `initialize`";
            return Err(refused(StatusCode::BAD_REQUEST, code::SESSION, message));
        }
    }
    if stateless && message.is_none() && matches!(caller.config.upstream, UpstreamConfig::Stdio { .. }) {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, code::SESSION, "this revision has no such stream"));
    }
    let implied = || shared.table.implied(&caller.connection, &caller.identity, purpose.map(Purpose::as_str));
    if !opens && let Some(session) = implied() {
        return Ok(session);
    }
    let _opening = shared.table.opening.lock().await;
    if !opens && let Some(session) = implied() {
        return Ok(session);
    }
    let child = match &caller.config.upstream {
        UpstreamConfig::Http { .. }
        | UpstreamConfig::Postgres(_)
        | UpstreamConfig::Tcp { .. }
        | UpstreamConfig::Agents { .. } => None,
        UpstreamConfig::Stdio { command, env, cwd } => {
            let child = stdio_upstream::Child::spawn(command, env, cwd.as_deref()).map_err(|error| {
                tracing::error!(connection = caller.connection, %error, "an upstream can't be started");
                refused(StatusCode::BAD_GATEWAY, code::UPSTREAM, "the upstream can't be started")
            })?;
            Some(child)
        }
    };
    let (client, ip) = (message.and_then(client_of), caller.ip.clone());
    let new = NewSession {
        identity: caller.identity.clone(),
        connection: caller.connection.clone(),
        purpose: purpose.cloned(),
        client: client.clone(),
        ip: ip.clone(),
        protocol: "mcp".to_owned(),
    };
    // Each request is asked for its purpose; what opens a session carries no data and may come without one.
    let policy = shared.gateway.policy.load_full();
    let opened = match shared.gateway.sessions.open(new, &caller.config, &policy).await {
        Ok(opened) => opened,
        Err(error) => {
            child.iter().for_each(|child| child.end());
            return Err(error.into());
        }
    };
    let session = Open::new(opened, child, client, ip);
    watch(shared, &session);
    if !opens {
        shared.table.imply(&session);
    }
    Ok(session)
}

fn client_of(message: &Message) -> Option<String> {
    let params = message.params();
    let info = if message.is_handshake() {
        params.get("clientInfo")
    } else {
        params.get("_meta")?.get("io.modelcontextprotocol/clientInfo")
    }?;
    let name = info.get("name")?.as_str()?;
    let version = info.get("version").and_then(|version| version.as_str()).unwrap_or_default();
    Some(format!("{name} {version}").trim().chars().take(200).collect())
}

/// Ends the child with its session, and the session with its child.
fn watch(shared: &Arc<Shared>, session: &Arc<Open>) {
    let (shared, session) = (Arc::clone(shared), Arc::clone(session));
    tokio::spawn(async move {
        let over = async {
            match &session.child {
                Some(child) => child.over().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            biased;
            () = session.closed.cancelled() => "closed",
            () = over => "the upstream process ended",
        };
        shared.end(&session, reason).await;
    });
}
