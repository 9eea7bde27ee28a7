//! `/api/v1/service-tokens`: tokens that the gateway issues itself. Administrators issue and revoke them, auditors see them.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{ApiError, act, authenticate};
use crate::{
    evidence::{Record, SessionId},
    gateway::Gateway,
    identity::{SERVICE_ISSUER, ServiceTokenError, ServiceTokens, Wanted},
};

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/service-tokens", get(list).post(issue)).route("/service-tokens/{id}", delete(revoke))
}

fn tokens(gateway: &Gateway) -> Result<&Arc<ServiceTokens>, ApiError> {
    gateway.authenticator.service_tokens().ok_or_else(|| ApiError::not_found("this gateway issues no tokens"))
}

async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let identity = authenticate(&gateway, &headers).await?;
    if !gateway.config.roles.of(&identity).may_see_sessions() {
        return Err(ApiError::forbidden("service tokens are for administrators and auditors"));
    }
    let shown = Json(json!({ "service_tokens": tokens(&gateway)?.all() }));
    Ok(([(header::CACHE_CONTROL, "no-store")], shown).into_response())
}

async fn issue(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, ApiError> {
    let identity = authenticate(&gateway, &headers).await?;
    let roles = gateway.config.roles.of(&identity);
    if !roles.may_issue_tokens() {
        return Err(ApiError::forbidden("service tokens are issued by administrators"));
    }
    let Json(wanted) = body.map_err(|error| {
        let message = format!("send `name`, `connections`, `groups` and `seconds` as JSON: {}", error.body_text());
        ApiError::new(error.status(), "malformed", message)
    })?;
    if let Some(unknown) = wanted.connections.iter().find(|name| !gateway.config.connections.contains_key(*name)) {
        let unknown: String = unknown.chars().filter(|letter| !letter.is_control()).take(64).collect();
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "malformed", format!("there is no connection `{unknown}`")));
    }
    // On record before it is there: what is on record may not have come about, and never the other way round.
    let about = json!({ "name": wanted.name, "groups": wanted.groups, "connections": wanted.connections, "seconds": wanted.seconds });
    let by = identity.user_id.clone();
    let event = act(identity, roles, "issue_service_token", Some(about), peer);
    gateway.evidence.append(Record::now(SessionId::generate(), event)).await?;
    let store = Arc::clone(tokens(&gateway)?);
    let issued = spawn_blocking(move || store.issue(wanted, &by)).await;
    let issued =
        issued.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let (token, kept) = issued.map_err(|error| match error {
        ServiceTokenError::Malformed(_) => ApiError::new(StatusCode::BAD_REQUEST, "malformed", error.to_string()),
        ServiceTokenError::Full => ApiError::new(StatusCode::CONFLICT, "full", error.to_string()),
        ServiceTokenError::Io(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unkept", error.to_string()),
    })?;
    tracing::info!(id = kept.id, name = kept.name, "a service token was issued");
    let mut body = json!(kept);
    body["token"] = token.into();
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let identity = authenticate(&gateway, &headers).await?;
    let roles = gateway.config.roles.of(&identity);
    if !roles.may_issue_tokens() {
        return Err(ApiError::forbidden("service tokens are revoked by administrators"));
    }
    let known = tokens(&gateway)?.all().into_iter().find(|token| token.id == id);
    let known = known.ok_or_else(|| ApiError::not_found("there is no service token of this identifier"))?;
    let about = json!({ "id": known.id, "name": known.name });
    let event = act(identity, roles, "revoke_service_token", Some(about), peer);
    gateway.evidence.append(Record::now(SessionId::generate(), event)).await?;
    let (store, revoked) = (Arc::clone(tokens(&gateway)?), id.clone());
    let done = spawn_blocking(move || store.revoke(&revoked)).await.map_err(std::io::Error::other).flatten();
    let is_its = |identity: &crate::identity::Identity| {
        identity.issuer == SERVICE_ISSUER && identity.token_id.as_ref().is_some_and(|token| *token == id)
    };
    gateway.sessions.close_where(is_its, "revoked").await;
    match done {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => {
            tracing::error!(%error, "the end of a service token can't be kept");
            let message = "it counts no longer, but that can't be kept: it counts again once the gateway starts anew";
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unkept", message))
        }
    }
}
