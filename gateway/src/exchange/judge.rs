//! Whether a message may go upstream: its facts and its bytes under the rules, and what its record says.

use super::inspect::{Inspector, general_options};
use super::request::{Ready, Refused, refused};
use super::respond::stop_refusal;
use super::{Open, Shared};
use crate::approval::Want;
use crate::authorisation;
use crate::evidence::{Event, HitRecord, RequestOutcome};
use crate::protocol::mcp::error::{Refusal, code};
use crate::protocol::mcp::headers;
use crate::protocol::mcp::message::{Body, Message};
use crate::protocol::mcp::params;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use sluice_dsl::{HitAction, RequestFacts};
use sluice_engine::{ActionKind, Decision, Format};
use std::sync::Arc;

/// Methods that carry no data of the upstream: they need no purpose.
const LIFECYCLE: [&str; 3] = ["initialize", "ping", "server/discover"];

/// A message, judged.
pub(super) struct Judged {
    pub(super) event: Event,
    /// Why it does not go on.
    pub(super) refusal: Option<Refused>,
    /// What has to approve it before it does.
    pub(super) want: Option<Want>,
}

/// Decides about one message, masks it, and says what its record is. `refused`: it may not be made at all.
pub(super) fn judge(
    shared: &Shared,
    ready: &mut Ready,
    message: &Message,
    purpose: Option<String>,
    refused: Option<(Refused, HitRecord)>,
) -> Judged {
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
    let (mut hits, mut want): (Vec<HitRecord>, _) = (not_allowed.into_iter().collect(), None);
    for hit in policy.decide(&facts) {
        let (name, id, pack) = (&hit.rule.name, hit.rule.id.as_deref(), &hit.rule.pack);
        let (action, by_rule) = match &hit.action {
            HitAction::Block { message } => {
                ("block", Some(Refusal::by_rule(code::REFUSED, name, id, pack, Some(message))))
            }
            HitAction::Approve { .. } => {
                want = want.or_else(|| Want::of(&hit));
                let alone = message.request_id().is_some() && !ready.batch;
                let message = "it needs an approval: send it as a request of its own";
                ("approve", (!alone).then(|| Refusal::by_rule(code::APPROVAL, name, id, pack, Some(message))))
            }
            HitAction::Alert => (if hit.rule.audit { "audit" } else { "alert" }, None),
        };
        if let (None, Some(by_rule)) = (&refusal, by_rule) {
            refusal = Some(Refused::new(StatusCode::OK, by_rule));
        }
        hits.push(HitRecord::of(&hit.rule, action, hit.detail.clone()));
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
        approval: None,
    };
    ready.sent.push(body);
    Judged { event, want: want.filter(|_| refusal.is_none()), refusal }
}

/// What the record says of a request that may not be made.
pub(super) fn not_allowed(why: &authorisation::Refusal) -> HitRecord {
    HitRecord {
        rule: "access".to_owned(),
        id: None,
        pack: "sluice".to_owned(),
        action: "block".to_owned(),
        message: None,
        detail: Some(why.to_string()),
    }
}

/// Whether a message carries no data of the upstream, so that it needs no purpose.
pub(super) fn is_exempt(message: &Message) -> bool {
    message.request_id().is_none() || message.method().is_some_and(|name| LIFECYCLE.contains(&name))
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
        hits.push(HitRecord::of(rule, action, detail));
    }
}
