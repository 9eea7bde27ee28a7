//! The agents that serve targets from inside other networks: who is there for which connection, and sessions through them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluice_client::{
    stream::{Reader, Writer, read_frame},
    wire::{Answer, Code, ConnectionName, Dial, Frame as _},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::evidence::SessionId;

/// How long an agent may take to reach its target; then another one is tried.
const DIAL: Duration = Duration::from_secs(8);
/// An agent that was late before gets this much alone, where others are there.
const HURRY: Duration = Duration::from_secs(2);

/// An agent that serves one connection.
#[derive(Debug)]
pub(crate) struct Agent {
    link: quinn::Connection,
    /// Sessions under way.
    sessions: AtomicUsize,
    /// The last session that it should have opened did not come about.
    suspect: AtomicBool,
    gone: CancellationToken,
}

/// All agents by the names of the connections that they serve.
#[derive(Debug, Default)]
pub struct Agents(Mutex<HashMap<String, Vec<Arc<Agent>>>>);

/// An agent that is among those that serve, until this is dropped. Its sessions go on where it ends in order, and are broken
/// off by [`revoke`](Self::revoke).
#[derive(Debug)]
pub(crate) struct Serving<'a> {
    agents: &'a Agents,
    connection: String,
    agent: Arc<Agent>,
}

impl Serving<'_> {
    /// Its sessions are over.
    pub(crate) fn revoke(&self) {
        self.agent.gone.cancel();
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        let mut table = self.agents.table();
        if let Some(agents) = table.get_mut(&self.connection) {
            agents.retain(|agent| !Arc::ptr_eq(agent, &self.agent));
            if agents.is_empty() {
                table.remove(&self.connection);
            }
        }
    }
}

/// A session through an agent, until this is dropped.
#[derive(Debug)]
pub(crate) struct Through(Arc<Agent>);

impl Through {
    /// Cancelled when the agent may serve no longer.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.gone.clone()
    }

    /// Resolves when the agent may serve no longer.
    pub(crate) async fn gone(&self) {
        self.0.gone.cancelled().await;
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Agents {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Agent>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more that serves this connection.
    pub(crate) fn enter(&self, connection: &str, link: quinn::Connection) -> Serving<'_> {
        let agent = Arc::new(Agent {
            link,
            sessions: AtomicUsize::new(0),
            suspect: AtomicBool::new(false),
            gone: CancellationToken::new(),
        });
        self.table().entry(connection.to_owned()).or_default().push(Arc::clone(&agent));
        Serving { agents: self, connection: connection.to_owned(), agent }
    }

    /// Those that serve this connection: the least busy first, those that failed last time after all others.
    fn candidates(&self, connection: &str) -> Vec<Arc<Agent>> {
        let mut agents = self.table().get(connection).cloned().unwrap_or_default();
        // Among equals another one begins each time.
        let turn = rand::random::<u32>() as usize;
        let len = agents.len().max(1);
        agents.rotate_left(turn % len);
        let rank = |agent: &Arc<Agent>| (agent.suspect.load(Ordering::Relaxed), agent.sessions.load(Ordering::Relaxed));
        agents.sort_by_key(rank);
        agents
    }

    /// The target's bytes for this session, through the first agent that reaches it; why not, where none does.
    pub(crate) async fn dial(
        &self,
        connection: &str,
        session: &SessionId,
    ) -> Result<((Reader, Writer), Through), String> {
        let mut reason = "no agent serves it now".to_owned();
        let candidates = self.candidates(connection);
        let are_several = candidates.len() > 1;
        for agent in candidates {
            agent.sessions.fetch_add(1, Ordering::Relaxed);
            let through = Through(Arc::clone(&agent));
            let limit = if are_several { HURRY } else { DIAL };
            let asked = timeout(limit, ask(&agent.link, connection, session)).await;
            match asked.unwrap_or_else(|_| Err("an agent doesn't answer".to_owned())) {
                Ok(streams) => {
                    agent.suspect.store(false, Ordering::Relaxed);
                    return Ok((streams, through));
                }
                Err(why) => {
                    tracing::warn!(connection, agent = %agent.link.remote_address(), reason = why, "an agent fails");
                    agent.suspect.store(true, Ordering::Relaxed);
                    reason = why;
                }
            }
        }
        Err(reason)
    }
}

async fn ask(link: &quinn::Connection, connection: &str, session: &SessionId) -> Result<(Reader, Writer), String> {
    let connection = ConnectionName::new(connection).ok_or("it has no name that an agent could serve")?;
    let frame = Dial { connection, session: session.to_string() }.encode().map_err(|error| error.to_string())?;
    let (mut send, receive) = link.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(&frame).await.map_err(|error| error.to_string())?;
    let (mut reader, writer) = (Reader::quic(receive), Writer::quic(send, Code::Ended));
    match read_frame::<Answer>(&mut reader).await.map_err(|error| error.to_string())? {
        Answer::Accepted { .. } => Ok((reader, writer)),
        Answer::Refused { message, .. } => Err(message),
    }
}
