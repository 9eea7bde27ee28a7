//! A stream of an agent that serves a target: as long as it is open, sessions on the connection may go that way.

use sluice_client::{
    stream::{Reader, Writer},
    wire::{Answer, Code, ConnectionName, Token},
};

use super::{
    Tunnel,
    admit::subject,
    live::{Credential, Holder, seconds_until},
    opening::{Peer, Refused, answer, refuse},
};
use crate::{evidence::SessionId, identity::Identity};

/// Lets the agent serve until it ends the stream, what says who it is counts no longer, or the gateway stops.
pub(super) async fn serve(
    tunnel: &Tunnel,
    peer: &Peer,
    token: Option<Token>,
    connection: &ConnectionName,
    (mut reader, mut writer): (Reader, Writer),
) {
    let (identity, credential, link) = match admit(tunnel, peer, token, connection).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            tracing::info!(address = %peer.address(), %connection, code = %refused.code, reason = refused.message, "refused");
            return refuse(refused, reader, writer).await;
        }
    };
    let user = identity.user_id.clone();
    let seconds = seconds_until(identity.expires);
    let session = SessionId::generate().to_string();
    let holder = Holder::new(identity, connection.as_str(), session, peer.link(), credential);
    let _entered = tunnel.live.enter(&holder);
    if !answer(&Answer::Accepted { session: None, seconds, carries: None }, &mut writer).await {
        return;
    }
    let serving = tunnel.gateway.agents.enter(connection.as_str(), link);
    tracing::info!(address = %peer.address(), %connection, user, "an agent serves");
    let (code, reason) = tokio::select! {
        biased;
        code = holder.lost() => {
            serving.revoke();
            (code, code.to_string())
        }
        // What is under way goes on: it is let go as other sessions are.
        () = tunnel.shutdown.cancelled() => (Code::Draining, Code::Draining.to_string()),
        said = reader.next() => match said {
            Ok(None) => (Code::Done, "it ended".to_owned()),
            Ok(Some(_)) => (Code::Malformed, "it says what has no place here".to_owned()),
            Err(error) => (Code::Ended, error.to_string()),
        },
    };
    tracing::info!(address = %peer.address(), %connection, user, reason, "an agent serves no longer");
    writer.reset(code);
    reader.stop(code);
}

async fn admit(
    tunnel: &Tunnel,
    peer: &Peer,
    token: Option<Token>,
    connection: &ConnectionName,
) -> Result<(Identity, Credential, quinn::Connection), Refused> {
    if tunnel.shutdown.is_cancelled() {
        return Err(Refused::new(Code::Draining, "the gateway is stopping"));
    }
    let link = peer.connection().ok_or_else(|| Refused::new(Code::Forbidden, "agents serve over QUIC alone"))?;
    let (identity, credential) = tunnel.authenticate(peer, token, connection).await?;
    peer.own(tunnel, &subject(&identity))?;
    let found = tunnel.gateway.config.connections.get(connection.as_str());
    match found.map(|config| &config.agents).filter(|groups| !groups.is_empty()) {
        Some(groups) if groups.iter().any(|group| identity.groups.contains(group)) => {
            Ok((identity, credential, link.clone()))
        }
        Some(_) => Err(Refused::new(Code::Forbidden, "the identity is in no group that may serve this connection")),
        // Who may not serve learns nothing of what there is.
        None => Err(Refused::new(Code::NoConnection, "there is no such connection to serve")),
    }
}
