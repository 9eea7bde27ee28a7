//! Host and Origin checks against DNS rebinding: a page of a stranger must not reach a gateway on this machine.

use crate::gateway::Gateway;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use url::Url;

/// The hosts and origins that are accepted.
#[derive(Clone, Debug)]
pub(super) struct Allowed(Arc<Lists>);

#[derive(Debug)]
struct Lists {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Allowed {
    /// Those of an address, whose URLs begin with `scheme`, and what is configured.
    pub(super) fn new(gateway: &Gateway, scheme: &str, local: SocketAddr) -> Self {
        let config = &gateway.config;
        let mut hosts = vec![local.to_string()];
        if local.ip().is_loopback() || local.ip().is_unspecified() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{}", local.port())));
        }
        let mut origins: Vec<String> = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        if let Some(url) = &config.public_url {
            origins.push(url.origin().ascii_serialization());
            hosts.extend(host_of(url));
        }
        hosts.extend(config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()));
        origins.extend(config.allowed_origins.iter().cloned());
        Self(Arc::new(Lists { hosts, origins }))
    }

    fn host(&self, text: &str) -> bool {
        let Ok(authority) = text.parse::<Authority>() else { return false };
        let host = authority.host().to_ascii_lowercase();
        let with_port = authority.port().map(|port| format!("{host}:{port}"));
        self.0.hosts.iter().any(|allowed| *allowed == host || Some(allowed) == with_port.as_ref())
    }

    fn origin(&self, text: &str) -> bool {
        self.0.origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(text))
    }
}

/// Whether a request that came through a tunnel is one of this machine's programs, and not of a page of a stranger: who connects
/// locally needs no token, so the name that they believe to speak to has to be a local one.
pub(super) fn is_local(allowed: &Allowed, headers: &http::HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let is_loopback = host.parse::<Authority>().is_ok_and(|authority| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| authority.host().eq_ignore_ascii_case(name))
    });
    let mut origins = headers.get_all(header::ORIGIN).iter();
    (is_loopback || allowed.host(host))
        && origins.all(|origin| origin.to_str().is_ok_and(|origin| allowed.origin(origin)))
}

fn host_of(url: &Url) -> Vec<String> {
    let Some(host) = url.host_str() else { return Vec::new() };
    let port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    // A default port is left out by clients.
    port.into_iter().chain(url.port().is_none().then(|| host.to_owned())).collect()
}

pub(super) async fn check(State(allowed): State<Allowed>, request: Request<Body>, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let authority = request.uri().authority().map(Authority::as_str);
    let host = hosts.next().or(authority);
    if hosts.next().is_some() || !host.is_some_and(|host| allowed.host(host)) {
        return (StatusCode::FORBIDDEN, "this host is not served here\n").into_response();
    }
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if !origins.all(|origin| origin.to_str().is_ok_and(|origin| allowed.origin(origin))) {
        return (StatusCode::FORBIDDEN, "this origin is not accepted\n").into_response();
    }
    next.run(request).await
}
