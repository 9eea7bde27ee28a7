//! Who may open a session: what the connection demands of them, and the record of a refusal.

use jiff::Timestamp;

use super::{PURPOSE_HEADER, PURPOSE_META, SessionError, Sessions};
use crate::{
    authorisation::{Asking, Refusal, Stated},
    config::ConnectionConfig,
    evidence::{Event, Record, SessionId},
    identity::Identity,
};

/// Somebody who wants to use a connection.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// The connection's name.
    pub connection: &'a str,
    /// What it asks of them.
    pub config: &'a ConnectionConfig,
    /// What for.
    pub purpose: Stated<'a>,
    /// The client program by its own word.
    pub client: Option<&'a str>,
    /// The peer's address.
    pub ip: Option<&'a str>,
}

/// Whether somebody may open a connection, or use it for what they state now; asks who confirms purposes, where somebody does.
///
/// # Errors
///
/// What stands against it.
pub(crate) async fn may(config: &ConnectionConfig, connection: &str, asking: Asking<'_>) -> Result<(), Refusal> {
    config.demands().check(asking)?;
    if let (Some(confirm), Stated::Known(Some(purpose))) = (&config.confirm, asking.purpose) {
        let confirmed = confirm.check(asking.identity, connection, purpose).await;
        return confirmed.map_err(|error| Refusal::PurposeNotConfirmed(error.to_string()));
    }
    Ok(())
}

impl SessionError {
    /// What a client is told of a refusal: that it may not, or what would be accepted as the purpose.
    pub(crate) fn told(refusal: &Refusal, config: &ConnectionConfig) -> Self {
        match (refusal, &config.access.purposes) {
            (Refusal::PurposeMissing, _) => Self::PurposeRequired,
            (Refusal::PurposeNotConfirmed(_), _) => {
                Self::PurposeRefused { accepted: "one that is confirmed".to_owned() }
            }
            (Refusal::PurposeNotAccepted, Some(purposes)) => Self::PurposeRefused { accepted: purposes.to_string() },
            _ => Self::Forbidden,
        }
    }

    /// How MCP's clients state a purpose.
    pub(super) fn how_to_state() -> String {
        format!("send the header {PURPOSE_HEADER} or `_meta[\"{PURPOSE_META}\"]`")
    }
}

impl Sessions {
    /// Whether somebody may use a connection now. A refusal is put on record, with its reason.
    ///
    /// # Errors
    ///
    /// [`SessionError::Forbidden`], or one of a purpose. That the refusal can't be recorded changes nothing about it.
    pub async fn admit(&self, attempt: Attempt<'_>) -> Result<(), SessionError> {
        let Attempt { identity, connection, config, purpose, client, ip } = attempt;
        let asking = Asking { identity, purpose, at: Timestamp::now() };
        let Err(refusal) = may(config, connection, asking).await else { return Ok(()) };
        tracing::info!(connection, user = identity.user_id, reason = %refusal, "may not use the connection");
        let stated = match purpose {
            Stated::Known(stated) => stated.map(str::to_owned),
            Stated::Later => None,
        };
        let event = Event::AccessRefused {
            user: identity.user_id.clone(),
            kind: identity.kind.name().to_owned(),
            groups: identity.groups.clone(),
            roles: identity.roles.clone(),
            actors: identity.actors.clone(),
            token_id: identity.token_id.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            connection: connection.to_owned(),
            purpose: stated,
            client: client.map(str::to_owned),
            ip: ip.map(str::to_owned),
            protocol: config.upstream.protocol().to_owned(),
            reason: refusal.to_string(),
        };
        if let Err(error) = self.evidence.append(Record::now(SessionId::generate(), event)).await {
            tracing::error!(connection, %error, "a refusal is not on record");
        }
        Err(SessionError::told(&refusal, config))
    }
}
