//! The front: who may speak to the gateway at all, and the routes.

mod api;
mod counts;
mod guard;
mod handshake;
pub mod postgres;
mod proxy;
pub mod tcp;
pub mod tunnel;
pub mod web;
mod workers;

pub(crate) use api::ApprovalView;
pub use workers::Workers;

use crate::authorisation::Stated;
use crate::config::{ConnectionConfig, UpstreamConfig};
use crate::exchange::{self, Caller, Shared, Table};
use crate::gateway::Gateway;
use crate::identity::dev::DevIssuer;
use crate::identity::{AuthError, Identity, bearer_of, resource};
use crate::protocol::mcp::DEFAULT_CAP;
use crate::protocol::mcp::error::{Refusal, code};
use crate::session::Attempt;
use crate::upstream::http::Clients;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use handshake::Certified;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often sessions in which something runs are marked as used (a long answer is no idleness) and idle ones are ended.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until `shutdown`, then ends all sessions in order; agents by `tunnel`, where there is one.
///
/// # Errors
/// TLS to upstreams can't be set up.
pub async fn serve(
    front: web::Front,
    tunnel: Option<tunnel::Bound>,
    state: Arc<Gateway>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let local = front.address()?;
    let clients = Clients::new(&state.config.connections, &state.agents).map_err(io::Error::other)?;
    let shared = Arc::new(Shared { gateway: state, clients, table: Table::default(), shutdown: shutdown.clone() });
    let sweeper = tokio::spawn(sweep(Arc::clone(&shared)));
    let allowed = guard::Allowed::new(&shared.gateway, shared.gateway.config.scheme(), local);
    let connections = Router::new()
        .route("/mcp/{connection}", post(connection).get(connection).delete(connection))
        .route(&resource::metadata_path("{connection}"), get(metadata))
        .with_state(Arc::clone(&shared));
    let agents = async {
        if let Some(tunnel) = tunnel {
            tunnel.serve(&shared, connections.clone(), allowed.clone()).await;
        }
    };
    let router = connections
        .clone()
        .merge(shared.gateway.dev_issuer.as_ref().map(DevIssuer::router).unwrap_or_default())
        .merge(api::router(&shared.gateway))
        .route("/healthz", get(async || "ok\n"))
        .layer(middleware::from_fn_with_state(allowed.clone(), guard::check));
    tokio::join!(front.serve(router, shutdown), agents);
    sweeper.abort();
    Ok(())
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        shared.table.touch_active();
        shared.gateway.sessions.expire(Instant::now()).await;
        shared.gateway.desk.sweep().await;
        shared.gateway.sessions.close_outside(Timestamp::now()).await;
    }
}

async fn metadata(State(shared): State<Arc<Shared>>, Path(connection): Path<String>) -> Response {
    let gateway = &shared.gateway;
    let found = gateway.config.connections.get(&connection);
    if !found.is_some_and(|config| !matches!(config.upstream, UpstreamConfig::Postgres(_))) {
        return StatusCode::NOT_FOUND.into_response();
    }
    Json(resource::metadata(&gateway.audience(&connection), gateway.authenticator.issuers())).into_response()
}

async fn connection(
    State(shared): State<Arc<Shared>>,
    Path(connection): Path<String>,
    request: Request<Body>,
) -> Response {
    let gateway = &shared.gateway;
    let audience = gateway.audience(&connection);
    let identity = match authenticate(gateway, request.headers(), request.extensions(), &audience).await {
        Ok(identity) => identity,
        Err(reason) => {
            tracing::info!(connection, %reason, "not authenticated");
            return challenged(StatusCode::UNAUTHORIZED, resource::challenge(&gateway.public_url(), &connection));
        }
    };
    let speaks_mcp = |config: &&ConnectionConfig| !matches!(config.upstream, UpstreamConfig::Postgres(_));
    let Some(config) = gateway.config.connections.get(&connection).filter(speaks_mcp).cloned() else {
        return refused(StatusCode::NOT_FOUND, code::FORBIDDEN, "there is no such connection");
    };
    if config.upstream.is_bytes() {
        let message = "this connection carries bytes, not MCP: open it with `sluice connect`";
        return refused(StatusCode::NOT_FOUND, code::FORBIDDEN, message);
    }
    let (parts, body) = request.into_parts();
    let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_string());
    // Which purpose is stated is seen in the body.
    let purpose = Stated::Later;
    let attempt = Attempt {
        identity: &identity,
        connection: &connection,
        config: &config,
        purpose,
        client: None,
        ip: ip.as_deref(),
    };
    if gateway.sessions.admit(attempt).await.is_err() {
        let challenge = resource::insufficient_scope(&gateway.public_url(), &connection);
        return challenged(StatusCode::FORBIDDEN, challenge);
    }
    let encoded = parts.headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
    let caller = Caller { identity, connection, config, headers: parts.headers, ip };
    let upcoming = match parts.method {
        Method::GET => exchange::get(shared, caller),
        Method::DELETE => exchange::delete(shared, caller),
        _ if encoded => {
            let message = "a compressed request is not read; send it as it is";
            return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600, message);
        }
        _ => match Limited::new(body, DEFAULT_CAP).collect().await {
            Ok(body) => exchange::post(shared, caller, body.to_bytes()),
            Err(_) => {
                let message = format!("the body is longer than {DEFAULT_CAP} bytes, or broke off");
                return refused(StatusCode::PAYLOAD_TOO_LARGE, -32600, &message);
            }
        },
    };
    upcoming.response().await
}

/// Who asks: by the token of a request, and by its connection's certificate where there is none. A token that doesn't count is no
/// reason to go by the certificate: whoever brings one means it.
async fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
    connection: &Extensions,
    audience: &str,
) -> Result<Identity, AuthError> {
    match (bearer_of(headers), connection.get::<Arc<Certified>>()) {
        (Ok(bearer), _) => gateway.authenticator.authenticate(Some(bearer), audience).await,
        (Err(AuthError::Missing), Some(certified)) => certified.identity(&gateway.authenticator),
        (Err(error), _) => Err(error),
    }
}

fn refused(status: StatusCode, code: i64, message: &str) -> Response {
    exchange::refuse(status, &Refusal::new(code, message), &[], false).into()
}

fn challenged(status: StatusCode, challenge: String) -> Response {
    let mut response = status.into_response();
    if let Ok(value) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
