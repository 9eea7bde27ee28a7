//! `/api/v1/sessions`: the live sessions, for auditors and administrators; administrators end them.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{ApiError, act, authenticate};
use crate::{
    evidence::{Record, SessionId},
    gateway::Gateway,
    session::Session,
};

/// Why a session that is ended here has ended, as the record has it.
const REASON: &str = "ended by an administrator";

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/sessions", get(list)).route("/sessions/{id}", delete(end))
}

async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let identity = authenticate(&gateway, &headers).await?;
    if !gateway.config.roles.of(&identity).may_see_sessions() {
        return Err(ApiError::forbidden("sessions are for administrators and auditors"));
    }
    let now = Instant::now();
    let sessions: Vec<Value> = gateway.sessions.all().iter().map(|session| shown(&gateway, session, now)).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "sessions": sessions }))).into_response())
}

fn shown(gateway: &Gateway, session: &Session, now: Instant) -> Value {
    let identity = &session.identity;
    let config = gateway.config.connections.get(&session.connection);
    json!({
        "id": session.id,
        "user": identity.user_id,
        "kind": identity.kind.name(),
        "groups": identity.groups,
        "actors": identity.actors,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "connection": session.connection,
        "protocol": config.map(|config| config.upstream.protocol()),
        "purpose": session.purpose.as_ref().map(ToString::to_string),
        "quiet_seconds": session.quiet_for(now).as_secs(),
        "rules_digest": session.rules_digest,
    })
}

async fn end(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let identity = authenticate(&gateway, &headers).await?;
    let roles = gateway.config.roles.of(&identity);
    if !roles.may_end_sessions() {
        return Err(ApiError::forbidden("sessions are ended by administrators"));
    }
    let unknown = || ApiError::not_found("no session of this identifier is live");
    let id = SessionId::parse(&id).filter(|id| gateway.sessions.is_live(id)).ok_or_else(unknown)?;
    let event = act(identity, roles, "end_session", None, peer);
    gateway.evidence.append(Record::now(id.clone(), event)).await?;
    match gateway.sessions.close(&id, REASON).await {
        // It ended by itself in the meantime.
        Ok(false) => return Err(unknown()),
        Ok(true) => {}
        // It is over all the same, and who has ended it is on record.
        Err(error) => tracing::error!(session = %id, %error, "the end of a session is not on record"),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
