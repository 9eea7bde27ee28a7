//! Requests for approval over HTTP: who may see them, and how they are decided.

use super::{ApiError, authenticate};
use crate::approval::{
    Approver, Asked, Broken, Decision, DeskError, Held, Party, Refused, Seen, State as Standing, party_of,
};
use crate::gateway::Gateway;
use crate::identity::{Identity, RoleSet, UserKind, resource};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request as it is shown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct View {
    /// What is asked for.
    #[serde(flatten)]
    pub(crate) asked: Asked,
    /// When it was asked for.
    pub(crate) at: Timestamp,
    /// Where it stands.
    pub(crate) state: Standing,
    /// Those who have approved.
    pub(crate) approvers: Vec<Party>,
    /// How many more have to.
    pub(crate) missing: usize,
    /// Who went on without an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<Party>,
    /// Whether whoever asks may decide about it.
    pub(crate) may_decide: bool,
}

/// A decision as it is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decided {
    /// What the approver says.
    pub(crate) decision: Decision,
    /// Why; required.
    pub(crate) justification: String,
    /// The hash of the command that they were shown.
    pub(crate) hash: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// `all`: those that have ended lately as well.
    state: Option<String>,
}

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{approval}", get(show))
        .route("/approvals/{approval}/decision", post(decide))
        .route("/approvals/{approval}/review", post(review))
        .route("/broken-glass", get(broken))
}

/// Whoever asks, as an approver, and whether they see what is none of theirs.
async fn asking(gateway: &Gateway, headers: &HeaderMap) -> Result<(Approver, RoleSet), ApiError> {
    let identity = authenticate(gateway, headers).await?;
    Ok((approver(&identity), gateway.config.roles.of(&identity)))
}

fn approver(identity: &Identity) -> Approver {
    let in_person = identity.kind == UserKind::Person && identity.actors.is_empty();
    Approver { party: party_of(identity), groups: identity.groups.clone(), in_person }
}

/// The request as this one sees it; None where they may not see it.
async fn view(held: &Held, approver: &Approver, roles: RoleSet) -> Option<View> {
    let admits = held.admits(approver).await;
    if matches!(admits, Err(Refused::NotApprover)) && !roles.may_see_approvals() {
        return None;
    }
    let seen = held.seen();
    let may_decide = admits.is_ok() && !seen.state.is_final() && !seen.approvers.contains(&approver.party);
    let (asked, at) = (held.asked.clone(), held.at);
    let Seen { state, approvers, missing, broken, .. } = seen;
    Some(View { asked, at, state, approvers, missing, broken, may_decide })
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let (approver, roles) = asking(&gateway, &headers).await?;
    let all = match which.state.as_deref() {
        Some("all") => true,
        None | Some("open") => false,
        Some(_) => {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "malformed", "`state` is `open` or `all`"));
        }
    };
    let mut views = Vec::new();
    for held in gateway.desk.all() {
        let seen = view(&held, &approver, roles).await;
        views.extend(seen.filter(|view| all || !view.state.is_final()));
    }
    Ok(private(Json(views)))
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Path(approval): Path<String>,
) -> Result<Response, ApiError> {
    let (approver, roles) = asking(&gateway, &headers).await?;
    shown(&gateway, &approval, &approver, roles).await
}

async fn shown(gateway: &Gateway, approval: &str, approver: &Approver, roles: RoleSet) -> Result<Response, ApiError> {
    let held = gateway.desk.find(approval).ok_or_else(unknown)?;
    view(&held, approver, roles).await.map(|view| private(Json(view))).ok_or_else(unknown)
}

pub(super) async fn decide(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Path(approval): Path<String>,
    body: Result<Json<Decided>, JsonRejection>,
) -> Result<Response, ApiError> {
    let (approver, roles) = asking(&gateway, &headers).await?;
    let Json(Decided { decision, justification, hash }) = body.map_err(|error| {
        let message = format!("send `decision`, `justification` and `hash` as JSON: {}", error.body_text());
        ApiError::new(error.status(), "malformed", message)
    })?;
    if decision != Decision::BreakGlass && !gateway.config.roles.approver.is_empty() && !roles.approver {
        return Err(ApiError::forbidden(
            "deciding needs the role `approver` of this gateway, besides the rule's groups",
        ));
    }
    let decided = gateway.desk.decide(&approval, &approver, decision, &justification, &hash).await;
    decided.map_err(refused)?;
    shown(&gateway, &approval, &approver, roles).await
}

/// What went on without an approval and nobody has reviewed, as far as whoever asks may see it.
pub(super) async fn broken(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let (approver, roles) = asking(&gateway, &headers).await?;
    let mut all = gateway.desk.unreviewed().await?;
    let may_see = |broken: &Broken| {
        roles.may_see_approvals()
            || broken.asked.requester == approver.party
            || broken.asked.by.iter().any(|group| approver.groups.contains(group))
    };
    all.retain(may_see);
    Ok(private(Json(all)))
}

/// What somebody found who looked at such a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviewed {
    justification: String,
}

pub(super) async fn review(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Path(approval): Path<String>,
    body: Result<Json<Reviewed>, JsonRejection>,
) -> Result<Response, ApiError> {
    let (approver, _) = asking(&gateway, &headers).await?;
    let Json(Reviewed { justification }) = body.map_err(|error| {
        let message = format!("send `justification` as JSON: {}", error.body_text());
        ApiError::new(error.status(), "malformed", message)
    })?;
    gateway.desk.review(&approval, &approver, &justification).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn refused(error: DeskError) -> ApiError {
    let message = error.to_string();
    let of = |status, code| ApiError::new(status, code, message);
    match error {
        DeskError::Unknown | DeskError::Refused(Refused::NotApprover) => unknown(),
        DeskError::Justification => of(StatusCode::BAD_REQUEST, "justification"),
        DeskError::Drift => of(StatusCode::CONFLICT, "drift"),
        DeskError::Refused(Refused::Closed(_)) => of(StatusCode::CONFLICT, "closed"),
        DeskError::Refused(Refused::Again) => of(StatusCode::CONFLICT, "again"),
        DeskError::Refused(Refused::Own) => of(StatusCode::FORBIDDEN, "own"),
        DeskError::Refused(Refused::NotInPerson) => of(StatusCode::FORBIDDEN, "in_person"),
        DeskError::Refused(Refused::Glass) => of(StatusCode::FORBIDDEN, "glass"),
        DeskError::Full => of(StatusCode::SERVICE_UNAVAILABLE, "full"),
        DeskError::Evidence(_) => of(StatusCode::SERVICE_UNAVAILABLE, "unrecorded"),
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no such request for approval, or it is none of yours")
}

/// How a request stands, for whoever has its link: nothing of what is asked for.
pub(super) async fn page(State(gateway): State<Arc<Gateway>>, Path(approval): Path<String>) -> Response {
    let Some(held) = gateway.desk.find(&approval) else {
        let page = "<!doctype html><title>Sluice</title><p>There is no such request, or it ended long ago.</p>";
        return (StatusCode::NOT_FOUND, Html(page)).into_response();
    };
    let (seen, asked) = (held.seen(), &held.asked);
    let refresh = if seen.state.is_final() { "" } else { "<meta http-equiv=\"refresh\" content=\"5\">" };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{refresh}<title>{id}: {state}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}}</style>\
         <h1>{id}</h1><p>This request for approval is <strong>{state}</strong>. {missing} of {count} approvals are missing; it is open \
         until {expires}.</p><p>Approvers decide with <code>sluice approvals show {id}</code>.</p></html>",
        id = asked.approval,
        state = seen.state.name(),
        missing = seen.missing,
        count = asked.count,
        expires = asked.expires.strftime("%F %T UTC"),
    );
    private(Html(page))
}

pub(super) async fn metadata(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(resource::metadata(&gateway.api_audience(), gateway.authenticator.issuers())).into_response()
}

/// An answer that nobody keeps, and that no page of others shows.
pub(super) fn private(answer: impl IntoResponse) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, answer).into_response()
}
