//! The gateway's own interface over HTTP: for people who decide and for programs that help them.

mod approvals;
mod links;

pub(crate) use approvals::View as ApprovalView;

use crate::exchange::Shared;
use crate::gateway::Gateway;
use crate::identity::{Identity, bearer_of, resource};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use std::sync::Arc;

/// The routes of the interface.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{approval}", get(approvals::show))
        .route("/api/v1/approvals/{approval}/decision", post(approvals::decide))
        .route("/approvals/{approval}", get(approvals::page))
        .route("/decide/{link}", get(links::show).post(links::decide))
        .route(resource::API_METADATA, get(approvals::metadata))
        .with_state(Arc::clone(shared))
}

/// An answer that refuses: `{"error": {"code": …, "message": …}}`.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// One word, for programs.
    code: &'static str,
    /// What is wrong and what to do, for people.
    message: String,
    challenge: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None }
    }

    /// There is nothing of this name, or nothing that the caller may see.
    pub(super) fn unknown(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown", format!("there is no such {what}, or it is none of yours"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, body).into_response();
        if let Some(Ok(challenge)) = self.challenge.as_deref().map(HeaderValue::from_str) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Who asks: a token for the interface itself, since one for a connection must not decide about it.
pub(super) async fn authenticate(gateway: &Gateway, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let checked = match bearer_of(headers) {
        Ok(bearer) => gateway.authenticator.authenticate(Some(bearer), &gateway.api_audience()).await,
        Err(error) => Err(error),
    };
    checked.map_err(|reason| {
        tracing::info!(%reason, "not authenticated at the interface");
        let message = format!("a bearer token for {} is needed", gateway.api_audience());
        let challenge = Some(resource::api_challenge(&gateway.public_url()));
        ApiError { challenge, ..ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message) }
    })
}
