//! The control socket: whoever runs the gateway sees its live sessions and ends them from outside. It stands beside the
//! evidence store, for the gateway's own user and the system's administrator alone.
//!
//! A connection is one question, a line, and one answer: `list` gives a JSON object a line for each session; `kill ID` gives
//! `ended` or `unknown`, once the end is on record.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::{
    evidence::{Event, Record, SessionId},
    gateway::Gateway,
};

/// The longest question, in bytes.
const MAX_QUESTION: u64 = 256;
/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why a session that is ended here has ended, as the record has it.
const REASON: &str = "ended from outside";

/// Where the control socket of a gateway with this store is.
#[must_use]
pub fn path(store: &Path) -> PathBuf {
    store.with_extension("control")
}

/// A live session as `list` tells it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LiveSession {
    /// Its identifier.
    pub session: String,
    /// Who.
    pub user: String,
    /// The connection's name.
    pub connection: String,
    /// Seconds since something last happened.
    pub quiet: u64,
}

/// The bound socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Control {
    /// Binds it, in the place of what a gateway that crashed left behind.
    ///
    /// # Errors
    ///
    /// The place can't be had: another gateway may have the same store.
    pub async fn bind(store: &Path) -> io::Result<Self> {
        let path = path(store);
        if UnixStream::connect(&path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway runs on the same store"));
        }
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        // Whoever is quicker than this is asked who they are all the same.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    async fn answer_all(&self, gateway: &Arc<Gateway>) {
        loop {
            match self.listener.accept().await {
                Ok((socket, _)) => {
                    let gateway = Arc::clone(gateway);
                    tokio::spawn(async move {
                        if let Ok(Err(error)) = timeout(PATIENCE, answer(&gateway, socket)).await {
                            tracing::warn!(%error, "a question on the control socket has no answer");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket fails");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Answers questions; never ends. Where there is no socket, sessions can't be ended from outside, and all else goes on.
pub(crate) async fn serve(control: io::Result<Control>, gateway: &Arc<Gateway>) {
    match control {
        Ok(control) => control.answer_all(gateway).await,
        Err(error) => {
            let path = path(&gateway.config.store);
            tracing::warn!(path = %path.display(), %error, "no control socket: sessions can't be ended from outside");
            std::future::pending().await
        }
    }
}

async fn answer(gateway: &Gateway, mut socket: UnixStream) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let asking = socket.peer_cred()?.uid();
    if asking != own && asking != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {asking} may not ask")));
    }
    let (read, mut write) = socket.split();
    let mut question = String::new();
    BufReader::new(read.take(MAX_QUESTION)).read_line(&mut question).await?;
    let said = match question.trim_end().split_once(' ') {
        None if question.trim_end() == "list" => list(gateway)?,
        Some(("kill", id)) => kill(gateway, id, asking).await?,
        _ => "questions are `list` and `kill ID`\n".to_owned(),
    };
    write.write_all(said.as_bytes()).await?;
    write.shutdown().await
}

fn list(gateway: &Gateway) -> io::Result<String> {
    let now = Instant::now();
    let mut said = String::new();
    for session in gateway.sessions.all() {
        let live = LiveSession {
            session: session.id.to_string(),
            user: session.identity.user_id.clone(),
            connection: session.connection.clone(),
            quiet: session.quiet_for(now).as_secs(),
        };
        said.push_str(&serde_json::to_string(&live)?);
        said.push('\n');
    }
    Ok(said)
}

async fn kill(gateway: &Gateway, id: &str, asking: u32) -> io::Result<String> {
    let live = SessionId::parse(id).filter(|id| gateway.sessions.is_live(id));
    let Some(id) = live else { return Ok("unknown\n".to_owned()) };
    let act = Event::Administered {
        user: format!("uid {asking}"),
        issuer: "control".to_owned(),
        subject: asking.to_string(),
        roles: Vec::new(),
        action: "end_session".to_owned(),
        about: None,
        ip: None,
    };
    if let Err(error) = gateway.evidence.append(Record::now(id.clone(), act)).await {
        // A session that can't be recorded has to end all the more.
        tracing::error!(session = %id, %error, "who ended a session is not on record");
    }
    let ended = gateway.sessions.close(&id, REASON).await.map_err(io::Error::other)?;
    tracing::info!(session = %id, ended, "asked to end a session");
    Ok(if ended { "ended\n" } else { "unknown\n" }.to_owned())
}

/// Asks the gateway that runs on this store.
///
/// # Errors
///
/// No gateway runs there, or it doesn't answer this user.
pub async fn ask(store: &Path, question: &str) -> io::Result<String> {
    let asked = async {
        let mut socket = UnixStream::connect(path(store)).await?;
        socket.write_all(format!("{question}\n").as_bytes()).await?;
        let mut said = String::new();
        socket.read_to_string(&mut said).await?;
        Ok(said)
    };
    timeout(PATIENCE, asked).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
