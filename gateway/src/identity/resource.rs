//! What the gateway says about itself as an OAuth 2.0 protected resource (RFC 9728).

use serde_json::{Value, json};
use url::Url;

/// Where the metadata of a connection is: the well-known path before the resource's own.
#[must_use]
pub fn metadata_path(connection: &str) -> String {
    format!("/.well-known/oauth-protected-resource/mcp/{connection}")
}

/// The value of `WWW-Authenticate` on a 401 (RFC 6750, RFC 9728): where to learn how to get a token, and nothing else.
#[must_use]
pub fn challenge(public_url: &str, connection: &str) -> String {
    format!("Bearer resource_metadata=\"{}{}\"", public_url, metadata_path(connection))
}

/// Where the metadata of the gateway's own interface is.
pub const API_METADATA: &str = "/.well-known/oauth-protected-resource/api";

/// The value of `WWW-Authenticate` on a 401 of the gateway's own interface.
#[must_use]
pub fn api_challenge(public_url: &str) -> String {
    format!("Bearer resource_metadata=\"{public_url}{API_METADATA}\"")
}

/// The value of `WWW-Authenticate` on a 403 for want of a group.
#[must_use]
pub fn insufficient_scope(public_url: &str, connection: &str) -> String {
    format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{}{}\"", public_url, metadata_path(connection))
}

/// The metadata document of a connection.
#[must_use]
pub fn metadata<'a>(resource: &str, issuers: impl Iterator<Item = &'a str>) -> Value {
    json!({
        "resource": resource,
        "authorization_servers": issuers.filter(|issuer| Url::parse(issuer).is_ok()).collect::<Vec<_>>(),
        "bearer_methods_supported": ["header"],
    })
}
