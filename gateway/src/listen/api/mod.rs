//! The HTTP API of the gateway itself, under `/api/v1`: who asks, by a token for the audience `PUBLIC/api`, and how errors look; and the pages
//! of requests for approval.

mod approvals;
mod links;
mod service_tokens;
mod sessions;

pub(crate) use approvals::View as ApprovalView;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    evidence::{Event, EvidenceError},
    gateway::Gateway,
    identity::{Identity, RoleSet, bearer_of, resource},
};

/// The routes.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    let v1 = Router::new()
        .merge(sessions::router())
        .merge(approvals::router())
        .merge(service_tokens::router())
        .fallback(async || ApiError::not_found("there is no such resource"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this method doesn't go with this resource",
            )
        })
        .with_state(Arc::clone(gateway));
    let pages = Router::new()
        .route("/approvals/{approval}", get(approvals::page))
        .route("/decide/{link}", get(links::show).post(links::decide))
        .route(resource::API_METADATA, get(approvals::metadata))
        .with_state(Arc::clone(gateway));
    pages.nest("/api/v1", v1)
}

/// Who asks.
///
/// # Errors
///
/// 401, and nothing of the reason, which is logged.
pub(crate) async fn authenticate(gateway: &Gateway, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let checked = match bearer_of(headers) {
        Ok(bearer) => gateway.authenticator.authenticate(Some(bearer), &gateway.api_audience()).await,
        Err(error) => Err(error),
    };
    checked.map_err(|reason| {
        tracing::info!(%reason, "not authenticated for the API");
        let message = format!("a bearer token for {} is needed", gateway.api_audience());
        let challenge = Some(resource::api_challenge(&gateway.public_url()));
        ApiError { challenge, ..ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message) }
    })
}

/// What an administrator does, for the record.
fn act(identity: Identity, roles: RoleSet, action: &str, about: Option<Value>, peer: SocketAddr) -> Event {
    Event::Administered {
        user: identity.user_id,
        issuer: identity.issuer,
        subject: identity.subject,
        roles: roles.names().into_iter().map(str::to_owned).collect(),
        action: action.to_owned(),
        about,
        ip: Some(peer.ip().to_string()),
    }
}

/// An answer that is an error: `{"error":{"code","message"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Where to learn how to get a token.
    challenge: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None }
    }

    /// The identity has no role that may.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// There is nothing of that name.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl From<EvidenceError> for ApiError {
    fn from(error: EvidenceError) -> Self {
        tracing::error!(%error, "an administrative act can't be recorded");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "evidence", "this can't be recorded, so it is not done")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, message, challenge } = self;
        let mut response = (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(Ok(challenge)) = challenge.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
