//! A request that waits for somebody's approval: what its client is told meanwhile, and what lets it go on.
//!
//! Up to revision 2025-11-25 the request waits: where the client takes events, it hears that it is not forgotten, and its user is
//! shown where to look. Since 2026-07-28 a client that shows links is answered at once, and sends the request again.

use super::request::{Caller, Ready, Refused, accepts_events, evidence_refused, refused};
use super::respond::Done;
use super::{Exchange, Head, Open, Shared, events_head};
use crate::approval::{self, Asked, Command, Desk, DeskError, Held, Seen, State, Want, is_ticket, party_of, waits_for};
use crate::evidence::{Event, Record, RequestOutcome};
use crate::gateway::Gateway;
use crate::protocol::mcp::DEFAULT_CAP;
use crate::protocol::mcp::error::{Refusal, code};
use crate::protocol::mcp::message::{Body, Kind, Message, without_params};
use crate::protocol::mcp::sse::event;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a client that waits hears that it does.
const BEAT: Duration = Duration::from_secs(5);
/// What the ids of the gateway's own requests to clients begin with.
const OWN: &str = "sluice-approval-";
/// The key of the gateway's own question among those that a client answers.
const QUESTION: &str = "approval";

/// The requests that a client sends again when more is asked of it (revision 2026-07-28).
const COMES_BACK: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// What a client brought back from an answer of ours.
pub(super) struct Returned {
    /// The request for approval that it was told of.
    approval: String,
    /// Its user doesn't want the call any more.
    declined: bool,
}

/// A request that waits.
pub(super) struct Waiting {
    held: Arc<Held>,
    want: Want,
    /// The client knows already: it is not sent away again.
    told: bool,
    /// The client shows links of the server.
    links: bool,
}

/// Takes from a body what the client brought back for us: the server never sees it. None where it brought nothing.
pub(super) fn returned(shared: &Shared, body: &Body) -> Result<Option<(Body, Returned)>, Refused> {
    let [message] = body.messages() else { return Ok(None) };
    let Some(state) = message.params().get("requestState").and_then(Value::as_str).filter(|state| is_ticket(state))
    else {
        return Ok(None);
    };
    let Some(approval) = shared.gateway.desk.of_ticket(state) else {
        let message = "`requestState` is not of this gateway, or it has started anew: send the call again without it";
        return Err(refused(StatusCode::OK, code::APPROVAL, message));
    };
    let answer = message.params().get("inputResponses").and_then(|answers| answers.get(QUESTION));
    let declined = answer.and_then(|answer| answer.get("action")?.as_str()).is_some_and(|action| action != "accept");
    let bare = without_params(message.raw(), &["requestState", "inputResponses"]);
    let bare = bare.and_then(|bare| Body::parse(bare, DEFAULT_CAP).ok());
    let bare = bare.ok_or_else(|| refused(StatusCode::OK, -32602, "`params` can't be read"))?;
    Ok(Some((bare, Returned { approval, declined })))
}

/// Whether a body is for the gateway itself: an answer to a question of ours, or the end of a request that waits here.
pub(super) async fn is_for_us(shared: &Shared, session: &Arc<Open>, body: &Body) -> bool {
    let [message] = body.messages() else { return false };
    match message.kind() {
        Kind::Response { id: Some(id) } => {
            let id: String = serde_json::from_str(id.key()).unwrap_or_default();
            let Some(approval) = id.strip_prefix(OWN) else { return false };
            let action = serde_json::from_slice::<Value>(message.raw()).ok();
            let action = action.as_ref().and_then(|answer| answer.get("result")?.get("action")?.as_str());
            if action.is_some_and(|action| action != "accept") {
                withdraw(&shared.gateway, session, approval).await;
            }
            true
        }
        Kind::Notification { method } if method == "notifications/cancelled" => {
            message.params().get("requestId").is_some_and(|id| session.cancel(&id.to_string()))
        }
        _ => false,
    }
}

/// The requester doesn't want it any more.
async fn withdraw(gateway: &Gateway, session: &Open, approval: &str) {
    let own = party_of(&session.identity);
    if let Some(held) = gateway.desk.find(approval).filter(|held| held.is_of(&own)) {
        close(&gateway.desk, &held, "the requester doesn't want it any more").await;
    }
}

async fn close(desk: &Desk, held: &Arc<Held>, reason: &str) {
    if let Err(error) = desk.close(held, State::Withdrawn, reason).await {
        tracing::error!(approval = held.asked.approval, %error, "the end of a request is not on record");
    }
}

/// Asks for the approval of a request as it would go upstream.
pub(super) async fn ask(
    shared: &Shared,
    ready: &Ready,
    body: &Body,
    want: Want,
    returned: Option<Returned>,
) -> Result<Waiting, Refused> {
    let gateway = &shared.gateway;
    let parsed = ready.sent.first().and_then(|sent| Body::parse(sent.clone(), usize::MAX).ok());
    let Some(command) = parsed.as_ref().map(|sent| Command::mcp(&sent.messages()[0])) else {
        return Err(refused(StatusCode::OK, code::APPROVAL, "the call can't be read after it was masked"));
    };
    if let Some(Returned { approval, declined }) = &returned {
        if *declined {
            withdraw(gateway, &ready.session, approval).await;
        }
        let known = gateway.desk.find(approval).filter(|held| held.is_of(&party_of(&ready.session.identity)));
        match known {
            Some(held) if held.asked.hash == command.hash && !held.seen().state.is_final() => {}
            Some(held) if held.asked.hash == command.hash => return Err(ended(&held)),
            _ => {
                let message =
                    "the call is not the one that the approval was asked for: send it again without `requestState`";
                return Err(refused(StatusCode::OK, code::APPROVAL, message));
            }
        }
    }
    let purpose = ready.purposes.first().and_then(Option::as_deref);
    let held = gateway.desk.ask(&ready.session, ready.exchange, purpose, &want, command).await;
    let held = held.map_err(|error| match error {
        DeskError::Evidence(error) => evidence_refused(&error),
        error => refused(StatusCode::OK, code::BUSY, error.to_string()),
    })?;
    let links = match ready.is_stateless() {
        true => {
            body.messages()[0].takes_links()
                && body.messages()[0].method().is_some_and(|name| COMES_BACK.contains(&name))
        }
        false => ready.session.elicits,
    };
    Ok(Waiting { held, want, told: returned.is_some(), links })
}

/// Waits until the request may go on; then it is on record that it does. Otherwise, how the exchange ends.
pub(super) async fn clear(
    exchange: &mut Exchange,
    mut ready: Ready,
    caller: &Caller,
    body: &Body,
    waiting: Waiting,
) -> Result<Ready, Done> {
    let (shared, held) = (Arc::clone(&exchange.shared), Arc::clone(&waiting.held));
    let stateless = ready.is_stateless();
    if stateless && waiting.links && !waiting.told && held.seen().state == State::Pending {
        record(exchange, &mut ready, caller, body, &held, RequestOutcome::Held).await?;
        return Err(Done::held(input_required(&shared.gateway, &held, body)));
    }
    let mut left = Left { gateway: Arc::clone(&shared.gateway), held: stateless.then(|| Arc::clone(&held)) };
    let waited = wait(exchange, &mut ready, caller, body, &waiting).await;
    left.held = None;
    match waited {
        Ok(()) => Ok(ready),
        Err(Stopped::Done(done)) => Err(done),
        Err(Stopped::Refused(refused)) => {
            record(exchange, &mut ready, caller, body, &held, RequestOutcome::Refused).await?;
            Err(Done::refused(refused.status, refused.refusal))
        }
    }
}

/// Why a request that waited does not go on.
enum Stopped {
    Done(Done),
    Refused(Refused),
}

impl From<Done> for Stopped {
    fn from(done: Done) -> Self {
        Self::Done(done)
    }
}

/// Of a revision in which a client that goes away has cancelled its request: then nobody waits for an approval any more.
struct Left {
    gateway: Arc<Gateway>,
    held: Option<Arc<Held>>,
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let gateway = Arc::clone(&self.gateway);
            tokio::spawn(async move { close(&gateway.desk, &held, "the client went away").await });
        }
    }
}

/// Waits for a decision, as long as the rule lets a caller wait, until the request goes on.
async fn wait(
    exchange: &mut Exchange,
    ready: &mut Ready,
    caller: &Caller,
    body: &Body,
    waiting: &Waiting,
) -> Result<(), Stopped> {
    let (Waiting { held, want, links, .. }, message) = (waiting, &body.messages()[0]);
    let (until, asks) = (Instant::now() + want.wait, *links && !ready.is_stateless());
    let (gateway, shutdown) = (Arc::clone(&exchange.shared.gateway), exchange.shared.shutdown.clone());
    let Some(id) = message.request_id() else { return Err(Stopped::Refused(ended(held))) };
    let waits = exchange.session.waits(id);
    let mut seen = held.watch();
    let tells = accepts_events(&caller.headers) && seen.borrow().state == State::Pending;
    if tells {
        exchange.start_events(events_head(HeaderMap::new()));
        if asks {
            exchange.send(event(elicitation(&gateway, &held.asked).to_string().as_bytes())).await?;
        }
    }
    let mut told = u128::MAX;
    loop {
        let now = seen.borrow_and_update().clone();
        match now.state {
            State::Approved => match go_on(exchange, ready, caller, body, held).await? {
                true => break,
                false => continue,
            },
            State::Pending => {}
            _ => return Err(Stopped::Refused(ended(held))),
        }
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        if tells && left < told {
            told = left;
            exchange.send(beat(message, held, &now, left)).await?;
        }
        tokio::select! {
            biased;
            changed = seen.changed() => changed.map_err(|_| Stopped::Refused(ended(held)))?,
            () = waits.cancelled.cancelled() => {
                close(&gateway.desk, held, "the client cancelled the request").await;
                return Err(Stopped::Done(Done::cancelled()));
            }
            () = shutdown.cancelled() => {
                return Err(Stopped::Refused(refused(StatusCode::OK, code::BUSY, "the gateway is stopping")));
            }
            () = tokio::time::sleep_until(until) => return Err(Stopped::Refused(refusal(held, approval::undecided(&held.asked)))),
            () = tokio::time::sleep(BEAT) => {}
        }
    }
    if tells && asks {
        exchange.send(event(complete(&held.asked).to_string().as_bytes())).await?;
    }
    Ok(())
}

/// It was approved: it goes on where the rules let it still, once. False where somebody who had approved counts no longer.
async fn go_on(
    exchange: &mut Exchange,
    ready: &mut Ready,
    caller: &Caller,
    body: &Body,
    held: &Arc<Held>,
) -> Result<bool, Stopped> {
    let shared = Arc::clone(&exchange.shared);
    // Time has passed: what the rules say now counts.
    let refusal = ready.judge(&shared, caller, body).await.into_iter().find_map(|judged| judged.refusal);
    if let Some(refusal) = refusal {
        close(&shared.gateway.desk, held, "a rule refuses the command now").await;
        return Err(Stopped::Refused(refusal));
    }
    let digest = shared.gateway.policy.load().digest().to_owned();
    match shared.gateway.desk.take(held, &digest).await {
        Ok(true) => {
            record(exchange, ready, caller, body, held, RequestOutcome::Forwarded).await?;
            Ok(true)
        }
        Ok(false) if held.seen().state == State::Pending => Ok(false),
        Ok(false) => Err(Stopped::Refused(ended(held))),
        Err(error) => Err(Stopped::Done(Done::evidence(&error))),
    }
}

/// Puts on record what becomes of the request.
async fn record(
    exchange: &Exchange,
    ready: &mut Ready,
    caller: &Caller,
    body: &Body,
    held: &Held,
    became: RequestOutcome,
) -> Result<(), Done> {
    let shared = &exchange.shared;
    for judged in ready.judge(shared, caller, body).await {
        let mut request = judged.event;
        if let Event::Request { outcome, approval, .. } = &mut request {
            (*outcome, *approval) = (became, Some(held.asked.approval.clone()));
        }
        let appended = shared.gateway.evidence.append(Record::now(ready.session.id.clone(), request)).await;
        appended.map_err(|error| Done::evidence(&error))?;
    }
    Ok(())
}

fn refusal(held: &Held, message: String) -> Refused {
    let asked = &held.asked;
    let mut refusal = Refusal::new(code::APPROVAL, message);
    refusal.data = Some(json!({
        "rule": asked.rule, "id": asked.rule_id, "pack": asked.pack, "approval": asked.approval,
        "state": held.seen().state.name(),
    }));
    Refused::new(StatusCode::OK, refusal)
}

/// The request for approval is over.
fn ended(held: &Held) -> Refused {
    refusal(held, approval::ended(held))
}

/// A sign of life: progress where the client follows it, a comment where it doesn't.
///
/// Progress has to rise, and the server's own begins at nought or above it: ours counts what is left, in milliseconds, from below.
fn beat(message: &Message, held: &Held, seen: &Seen, left: u128) -> Bytes {
    let Some(token) = message.progress_token() else { return Bytes::from_static(b": waiting for an approval\n\n") };
    let text = format!("{}; {} to go", waits_for(&held.asked), seen.missing);
    let message = Value::from(text).to_string();
    let progress = format!("-{}.{:03}", left / 1000, left % 1000);
    event(
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress},"message":{message}}}}}"#
        )
        .as_bytes(),
    )
}

fn link(gateway: &Gateway, asked: &Asked) -> Value {
    json!({
        "mode": "url", "elicitationId": asked.approval, "url": approval::status_url(&gateway.public_url(), &asked.approval),
        "message": format!("This call waits: {}. See there how it stands.", waits_for(asked)),
    })
}

/// Shows the user of a client where to look (revision 2025-11-25).
fn elicitation(gateway: &Gateway, asked: &Asked) -> Value {
    let id = format!("{OWN}{}", asked.approval);
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": link(gateway, asked) })
}

fn complete(asked: &Asked) -> Value {
    let params = json!({ "elicitationId": asked.approval });
    json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": params })
}

/// Sends a client away to come back with the same request (revision 2026-07-28).
fn input_required(gateway: &Gateway, held: &Held, body: &Body) -> Head {
    let question = json!({ "method": "elicitation/create", "params": link(gateway, &held.asked) });
    let result = json!({
        "resultType": "input_required", "inputRequests": { QUESTION: question }, "requestState": gateway.desk.ticket(held),
    });
    let id = body.messages()[0].request_id().map_or("null", |id| id.raw());
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let whole = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    Head { status: StatusCode::OK, headers, whole: Some(whole) }
}
