//! The HTTP API of the gateway itself, under `/api/v1`: who asks, by a token for the audience `PUBLIC/api`, and how errors look.

mod sessions;

use std::sync::Arc;

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::{
    evidence::EvidenceError,
    gateway::Gateway,
    identity::{Identity, bearer_of},
};

/// The routes.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    let v1 = Router::new()
        .merge(sessions::router())
        .fallback(async || ApiError::not_found("there is no such resource"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this method doesn't go with this resource",
            )
        })
        .with_state(Arc::clone(gateway));
    Router::new().nest("/api/v1", v1)
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
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", "a token for this API is needed")
    })
}

/// An answer that is an error: `{"error":{"code","message"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
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
        let Self { status, code, message } = self;
        let mut response = (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
