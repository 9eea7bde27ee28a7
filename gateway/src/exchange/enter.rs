//! The session that a request belongs to.

use super::request::{Caller, Refused, refused};
use super::{Open, Shared};
use crate::config::UpstreamConfig;
use crate::protocol::mcp::error::code;
use crate::protocol::mcp::headers::{self, SESSION_ID};
use crate::protocol::mcp::message::Message;
use crate::session::{NewSession, Purpose};
use crate::upstream::stdio as stdio_upstream;
use http::StatusCode;
use std::sync::Arc;

/// The session a request belongs to; opened where the request opens one or none is needed.
pub(super) async fn session(
    shared: &Arc<Shared>,
    caller: &Caller,
    message: Option<&Message>,
    revision: &str,
    purpose: Option<&Purpose>,
) -> Result<Arc<Open>, Refused> {
    let opens = message.is_some_and(Message::is_handshake);
    let stateless = headers::is_stateless(revision);
    if !opens && !stateless {
        if let Some(id) = headers::single(&caller.headers, SESSION_ID)? {
            return shared
                .table
                .carried(&caller.connection, &id, &caller.identity)
                .ok_or_else(|| refused(StatusCode::NOT_FOUND, code::SESSION, "the session is not known"));
        }
        if matches!(caller.config.upstream, UpstreamConfig::Stdio { .. }) {
            let message = "the header `Mcp-Session-Id` is missing; begin with `initialize`";
            return Err(refused(StatusCode::BAD_REQUEST, code::SESSION, message));
        }
    }
    if stateless && message.is_none() && matches!(caller.config.upstream, UpstreamConfig::Stdio { .. }) {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, code::SESSION, "this revision has no such stream"));
    }
    let implied = || shared.table.implied(&caller.connection, &caller.identity, purpose.map(Purpose::as_str));
    if !opens && let Some(session) = implied() {
        return Ok(session);
    }
    let _opening = shared.table.opening.lock().await;
    if !opens && let Some(session) = implied() {
        return Ok(session);
    }
    let child = match &caller.config.upstream {
        UpstreamConfig::Http { .. }
        | UpstreamConfig::Postgres(_)
        | UpstreamConfig::Tcp { .. }
        | UpstreamConfig::Agents => None,
        UpstreamConfig::Stdio { command, env, cwd } => {
            let child = stdio_upstream::Child::spawn(command, env, cwd.as_deref()).map_err(|error| {
                tracing::error!(connection = caller.connection, %error, "an upstream can't be started");
                refused(StatusCode::BAD_GATEWAY, code::UPSTREAM, "the upstream can't be started")
            })?;
            Some(child)
        }
    };
    let (client, ip) = (message.and_then(client_of), caller.ip.clone());
    let new = NewSession {
        identity: caller.identity.clone(),
        connection: caller.connection.clone(),
        purpose: purpose.cloned(),
        client: client.clone(),
        ip: ip.clone(),
        protocol: "mcp".to_owned(),
    };
    // Each request is asked for its purpose; what opens a session carries no data and may come without one.
    let policy = shared.gateway.policy.load_full();
    let opened = match shared.gateway.sessions.open(new, &caller.config, &policy).await {
        Ok(opened) => opened,
        Err(error) => {
            child.iter().for_each(|child| child.end());
            return Err(error.into());
        }
    };
    let elicits = message.is_some_and(Message::takes_links);
    let session = Open::new(opened, child, client, ip, elicits);
    watch(shared, &session);
    if !opens {
        shared.table.imply(&session);
    }
    Ok(session)
}

fn client_of(message: &Message) -> Option<String> {
    let params = message.params();
    let info = if message.is_handshake() {
        params.get("clientInfo")
    } else {
        params.get("_meta")?.get("io.modelcontextprotocol/clientInfo")
    }?;
    let name = info.get("name")?.as_str()?;
    let version = info.get("version").and_then(|version| version.as_str()).unwrap_or_default();
    Some(format!("{name} {version}").trim().chars().take(200).collect())
}

/// Ends the child with its session, and the session with its child.
fn watch(shared: &Arc<Shared>, session: &Arc<Open>) {
    let (shared, session) = (Arc::clone(shared), Arc::clone(session));
    tokio::spawn(async move {
        let over = async {
            match &session.child {
                Some(child) => child.over().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            biased;
            () = session.closed.cancelled() => "closed",
            () = over => "the upstream process ended",
        };
        shared.end(&session, reason).await;
    });
}
