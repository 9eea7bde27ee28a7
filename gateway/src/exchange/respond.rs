//! The way back: what the upstream answers, inspected, recorded and sent on; and what the client gets when that fails.

use super::inspect::Released;
use super::{Downstream, Head, Open, Recorder, Shared, Sharing, refuse};
use crate::evidence::{EvidenceError, ResponseOutcome};
use crate::protocol::mcp::error::{Refusal, code};
use crate::protocol::mcp::message::Id;
use crate::protocol::mcp::sse::{Envelope, Tracker, event};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sluice_engine::{RuleSet, Stop};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One exchange on its way back.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Arc<Open>,
    /// The requests that wait for an answer.
    pub(crate) ids: Vec<Id>,
    pub(crate) batch: bool,
    /// The rules that hold for the answers.
    pub(crate) rules: RuleSet,
    pub(crate) recorder: Recorder,
    pub(crate) downstream: Downstream,
    /// Who else may keep the answers.
    pub(crate) sharing: Sharing,
    /// Set where the response is an event stream.
    pub(crate) events: Option<Tracker>,
    /// Set where a document of the upstream comes as an event, since the stream began before it was known.
    pub(super) envelope: Option<Envelope>,
    /// Set where the session ends with this exchange: why.
    pub(crate) over: Option<&'static str>,
}

/// How an exchange ended.
pub(crate) struct Done {
    outcome: ResponseOutcome,
    reason: Option<String>,
    last: Last,
}

/// What the client gets at the end.
enum Last {
    /// The body ends as it should.
    End,
    /// A whole response.
    Whole(Box<Head>),
    /// An error where one can still be told, otherwise a body that breaks off.
    Failed(StatusCode, Box<Refusal>),
    /// A body that breaks off.
    Abort,
}

impl Done {
    /// To its end.
    pub(crate) fn complete() -> Self {
        Self { outcome: ResponseOutcome::Complete, reason: None, last: Last::End }
    }

    /// A whole response, to its end.
    pub(crate) fn whole(head: Head) -> Self {
        Self { outcome: ResponseOutcome::Complete, reason: None, last: Last::Whole(Box::new(head)) }
    }

    /// The upstream failed.
    pub(crate) fn upstream(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let refusal = Refusal::new(code::UPSTREAM, reason.clone());
        let last = Last::Failed(StatusCode::BAD_GATEWAY, Box::new(refusal));
        Self { outcome: ResponseOutcome::UpstreamError, reason: Some(reason), last }
    }

    /// The upstream broke off a stream that the client can resume: it breaks off for the client as well.
    pub(crate) fn broke_off(reason: impl Into<String>) -> Self {
        Self { outcome: ResponseOutcome::UpstreamError, reason: Some(reason.into()), last: Last::Abort }
    }

    /// The session or the gateway ended.
    pub(crate) fn closed(reason: &str) -> Self {
        let refusal = Refusal::new(code::SESSION, reason);
        let last = Last::Failed(StatusCode::NOT_FOUND, Box::new(refusal));
        Self { outcome: ResponseOutcome::Cancelled, reason: Some(reason.to_owned()), last }
    }

    /// Answers were refused one by one; the stream itself ends as it should.
    pub(crate) fn blocked(reason: String) -> Self {
        Self::complete().because(Some(reason))
    }

    /// The same, with what a rule refused in it.
    pub(crate) fn because(self, blocked: Option<String>) -> Self {
        match blocked {
            Some(reason) => Self { outcome: ResponseOutcome::Blocked, reason: Some(reason), ..self },
            None => self,
        }
    }

    /// The request waits for somebody, and nothing went upstream: the client is told for whom.
    pub(crate) fn held(head: Head) -> Self {
        Self {
            outcome: ResponseOutcome::Complete,
            reason: Some("it waits for an approval".to_owned()),
            last: Last::Whole(Box::new(head)),
        }
    }

    /// The gateway refuses the request.
    pub(crate) fn refused(status: StatusCode, refusal: Refusal) -> Self {
        let reason = Some(refusal.message.clone());
        Self { outcome: ResponseOutcome::Blocked, reason, last: Last::Failed(status, Box::new(refusal)) }
    }

    pub(super) fn cancelled() -> Self {
        let reason = Some("the client went away".to_owned());
        Self { outcome: ResponseOutcome::Cancelled, reason, last: Last::Abort }
    }

    pub(super) fn evidence(error: &EvidenceError) -> Self {
        tracing::error!(%error, "a response is not recorded and does not pass");
        let reason = "the response can't be recorded";
        let last = Last::Failed(StatusCode::SERVICE_UNAVAILABLE, Box::new(Refusal::new(code::EVIDENCE, reason)));
        Self { outcome: ResponseOutcome::Cancelled, reason: Some(reason.to_owned()), last }
    }
}

impl Exchange {
    /// Runs `relay` until it ends, the client goes away, or the session ends; then closes the record.
    pub(crate) async fn run<F>(mut self, relay: F)
    where
        F: AsyncFnOnce(&mut Self) -> Done,
    {
        let gone = self.downstream.gone();
        let closed = self.session.closed.clone();
        let shutdown = self.shared.shutdown.clone();
        let awaited = !self.ids.is_empty();
        let done = tokio::select! {
            biased;
            done = relay(&mut self) => done,
            () = gone => Done::cancelled(),
            () = closed.cancelled() => Done::closed("the session has ended"),
            () = stopped(&shutdown, awaited) => Done::closed("the gateway is stopping"),
        };
        self.end(done).await;
    }

    async fn end(mut self, done: Done) {
        let Done { outcome, reason, last } = done;
        if self.over.is_some() {
            // Before the answer: who has it must not find the session again.
            self.shared.table.forget(&self.session);
        }
        let recorded = match last {
            Last::End => self.sealed().await,
            Last::Abort => {
                self.downstream.abort("broken off").await;
                Ok(())
            }
            Last::Whole(head) => self.whole(*head).await,
            Last::Failed(status, refusal) => self.failed(status, &refusal).await,
        };
        let id = self.session.id.clone();
        let closed = match recorded {
            Ok(()) => self.recorder.close(outcome, reason).await,
            Err(error) => Err(error),
        };
        if let Err(error) = closed {
            tracing::error!(session = %id, %error, "the end of a response is not recorded");
            self.downstream.abort("not recorded").await;
        }
        if let Some(reason) = self.over {
            self.shared.end(&self.session, reason).await;
        }
    }

    /// Ends the event in which a document came.
    async fn sealed(&mut self) -> Result<(), EvidenceError> {
        let Some(envelope) = &self.envelope else { return Ok(()) };
        let end = envelope.end();
        self.recorder.seen(end).await?;
        self.downstream.send(Bytes::from_static(end)).await;
        Ok(())
    }

    async fn whole(&mut self, head: Head) -> Result<(), EvidenceError> {
        if self.downstream.started() {
            return self.whole_event(head).await;
        }
        self.recorder.status(head.status.as_u16());
        self.recorder.seen(head.whole.as_deref().unwrap_or_default()).await?;
        self.downstream.start(head);
        Ok(())
    }

    /// A whole response where a stream of events has begun.
    async fn whole_event(&mut self, head: Head) -> Result<(), EvidenceError> {
        let body = head.whole.unwrap_or_default();
        if !is_json(&head.headers) {
            let reason = format!("the upstream answered {} with what is no message", head.status.as_u16());
            return Box::pin(self.failed(head.status, &Refusal::new(code::UPSTREAM, reason))).await;
        }
        let mut envelope = Envelope::default();
        let mut told = envelope.push(&body).to_vec();
        told.extend_from_slice(envelope.end());
        self.recorder.seen(&told).await?;
        self.downstream.send(Bytes::from(told)).await;
        Ok(())
    }

    async fn failed(&mut self, status: StatusCode, refusal: &Refusal) -> Result<(), EvidenceError> {
        if !self.downstream.started() {
            let head = refuse(status, refusal, &self.ids, self.batch);
            return self.whole(head).await;
        }
        match &self.events {
            Some(tracker) if !self.ids.is_empty() => {
                let mut tail = tracker.abandon().to_vec();
                self.ids.iter().for_each(|id| tail.extend_from_slice(&event(&refusal.answer(Some(id)))));
                self.recorder.seen(&tail).await?;
                self.downstream.send(Bytes::from(tail)).await;
            }
            _ => self.downstream.abort("broken off").await,
        }
        Ok(())
    }

    /// Sends the head of a body that follows. Where a stream of events has begun, the body becomes one of them.
    pub(crate) fn start(&mut self, head: Head) {
        if self.downstream.started() {
            self.envelope = Some(Envelope::default());
            return;
        }
        self.recorder.status(head.status.as_u16());
        self.downstream.start(head);
    }

    /// Sends the head of a stream of events, unless one has begun.
    pub(crate) fn start_events(&mut self, head: Head) {
        if self.downstream.started() {
            return;
        }
        self.events = Some(Tracker::default());
        self.start(head);
    }

    /// Records and sends what was decided; the error says how the exchange ends.
    pub(crate) async fn emit(&mut self, released: Released) -> Result<(), Done> {
        self.recorder.decided(&released.decisions);
        self.send(released.bytes).await?;
        released.stop.map_or(Ok(()), |stop| Err(self.stopped(&stop)))
    }

    /// Records and sends bytes that are decided.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<(), Done> {
        let bytes = match &mut self.envelope {
            Some(envelope) if !bytes.is_empty() => envelope.push(&bytes),
            _ => bytes,
        };
        self.recorder.seen(&bytes).await.map_err(|error| Done::evidence(&error))?;
        if let Some(tracker) = &mut self.events {
            tracker.push(&bytes);
        }
        if self.downstream.send(bytes).await { Ok(()) } else { Err(Done::cancelled()) }
    }

    /// How an exchange ends that the inspector stopped.
    pub(crate) fn stopped(&self, stop: &Stop) -> Done {
        let (outcome, status, refusal) = stop_refusal(stop, self.session.rules());
        Done { outcome, reason: Some(refusal.message.clone()), last: Last::Failed(status, Box::new(refusal)) }
    }
}

/// A stream of events, as a head says it.
pub(crate) fn events_head(mut headers: HeaderMap) -> Head {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Head { status: StatusCode::OK, headers, whole: None }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// How long requests under way may go on once the gateway stops; less than the whole drain, so that their end is
/// recorded.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

/// The gateway stops, and what waits for an answer has had its time.
async fn stopped(shutdown: &CancellationToken, awaited: bool) {
    shutdown.cancelled().await;
    if awaited {
        tokio::time::sleep(GRACE).await;
    }
}

/// A stop of the inspector in the protocol's words.
pub(crate) fn stop_refusal(stop: &Stop, rules: &sluice_dsl::Policy) -> (ResponseOutcome, StatusCode, Refusal) {
    match stop {
        Stop::Blocked(decision) => {
            let rule = rules.rule(decision.rule);
            let message = rule.message.as_deref();
            let refusal = Refusal::by_rule(code::REFUSED, &rule.name, rule.id.as_deref(), &rule.pack, message);
            (ResponseOutcome::Blocked, StatusCode::OK, refusal)
        }
        Stop::Budget { .. } => {
            let refusal = Refusal::new(code::BUSY, "the gateway holds back too much at the moment; try again");
            (ResponseOutcome::Blocked, StatusCode::SERVICE_UNAVAILABLE, refusal)
        }
        Stop::Undecodable { .. } | Stop::Finished => {
            let refusal = Refusal::new(code::UPSTREAM, format!("what the upstream sent can't be read: {stop}"));
            (ResponseOutcome::UpstreamError, StatusCode::BAD_GATEWAY, refusal)
        }
    }
}
