//! The Model Context Protocol, revisions 2024-11-05 to 2026-07-28: messages, headers, refusals and framing.

pub mod error;
pub mod events;
pub mod headers;
pub mod message;
pub(crate) mod params;
pub mod sse;
pub mod stdio;

/// The largest body or line that is read, in bytes, unless the caller says otherwise.
pub const DEFAULT_CAP: usize = 4 * 1024 * 1024;

/// The first revision without sessions: each request stands alone.
pub const STATELESS: &str = "2026-07-28";

/// The revisions that are spoken, oldest first.
pub const REVISIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS];

pub use crate::session::PURPOSE_META;

/// The member of `_meta` that carries the revision of a request since 2026-07-28.
pub const VERSION_META: &str = "io.modelcontextprotocol/protocolVersion";

/// The member of `_meta` that says what the client can do, in every request since 2026-07-28.
pub const CAPABILITIES_META: &str = "io.modelcontextprotocol/clientCapabilities";

/// The member of `_meta` that says which `subscriptions/listen` request a notification belongs to, since 2026-07-28.
pub const SUBSCRIPTION_META: &str = "io.modelcontextprotocol/subscriptionId";
