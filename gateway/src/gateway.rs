//! What every part of the running gateway shares.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sluice_dsl::Policy;
use sluice_engine::Budget;

use crate::{
    agents::Agents,
    approval::Desk,
    config::Config,
    evidence::Evidence,
    identity::{Authenticator, dev::DevIssuer},
    limits::Limits,
    session::Sessions,
};

/// The state of one gateway process; shared as `Arc<Gateway>`.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration the process was started with.
    pub config: Config,
    /// Checks bearer tokens.
    pub authenticator: Authenticator,
    /// The append-only record.
    pub evidence: Evidence,
    /// The live sessions.
    pub sessions: Sessions,
    /// The requests for approval.
    pub desk: Desk,
    /// The agents that serve targets.
    pub agents: Arc<Agents>,
    /// The rules in force; a session keeps the ones it was opened with.
    pub policy: ArcSwap<Policy>,
    /// Counts what rules with a limit let through.
    pub limits: Limits,
    /// Bounds the memory of all inspected streams together.
    pub budget: Budget,
    /// The development issuer, whose discovery and keys are to be served; only in development mode.
    pub dev_issuer: Option<DevIssuer>,
}

impl Gateway {
    /// The URL clients know the gateway by, without a trailing slash: `public_url`, else `http://`, or `https://` where it has a
    /// certificate, and the listen address.
    #[must_use]
    pub fn public_url(&self) -> String {
        match &self.config.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("{}://{}", self.config.scheme(), self.config.listen),
        }
    }

    /// The audience a token must name to use `connection`: the connection's own URL (RFC 8707), `PUBLIC/mcp/NAME`.
    #[must_use]
    pub fn audience(&self, connection: &str) -> String {
        format!("{}/mcp/{connection}", self.public_url())
    }

    /// The audience a token must name to use the gateway's own API: `PUBLIC/api`.
    #[must_use]
    pub fn api_audience(&self) -> String {
        format!("{}/api", self.public_url())
    }

    /// The audience a token must name to use `connection` by PostgreSQL's protocol: `PUBLIC/postgres/NAME`.
    #[must_use]
    pub fn postgres_audience(&self, connection: &str) -> String {
        format!("{}/postgres/{connection}", self.public_url())
    }
}
