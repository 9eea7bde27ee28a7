//! The child process: its three pipes, and its end (stdin closed, then TERM, then KILL).

use super::WAITING;
use super::routes::{Incoming, Route, Routes, Want};
use crate::protocol::mcp::DEFAULT_CAP;
use crate::protocol::mcp::message::Body;
use crate::protocol::mcp::stdio::Lines;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a child may take to end after each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a child keeps of the gateway's environment; everything else may be a secret.
const ENVIRONMENT: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "SYSTEMROOT"];

/// A child process that speaks MCP.
pub(crate) struct Child {
    input: mpsc::Sender<Bytes>,
    routes: Mutex<Routes>,
    /// Cancelled to end the child.
    ending: CancellationToken,
    /// Cancelled when nothing more comes from it.
    over: CancellationToken,
}

impl Child {
    /// Starts a child.
    pub(crate) fn spawn(
        command: &[String],
        env: &BTreeMap<String, String>,
        cwd: Option<&Path>,
    ) -> io::Result<Arc<Self>> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let mut builder = Command::new(program);
        builder.args(arguments).env_clear();
        builder.envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
        builder.envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what the child starts ends with it.
        builder.process_group(0).kill_on_drop(true);
        if let Some(cwd) = cwd {
            builder.current_dir(cwd);
        }
        let mut process = builder.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::Error::other("a pipe of the child is missing"));
        };
        let (input, lines) = mpsc::channel(WAITING);
        let child = Arc::new(Self {
            input,
            routes: Mutex::default(),
            ending: CancellationToken::new(),
            over: CancellationToken::new(),
        });
        tokio::spawn(write(stdin, lines, child.ending.clone()));
        tokio::spawn(count(stderr));
        tokio::spawn(Arc::clone(&child).read(stdout));
        tokio::spawn(reap(process, child.ending.clone()));
        Ok(child)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a line; the error says that the child has ended.
    pub(super) async fn send(&self, line: Bytes) -> Result<(), ()> {
        tokio::select! {
            sent = self.input.send(line) => sent.map_err(|_| ()),
            () = self.over.cancelled() => Err(()),
        }
    }

    /// The requests of an exchange: given up when this is dropped.
    pub(super) fn waiting(self: &Arc<Self>) -> Waiting {
        Waiting { child: Arc::clone(self), keys: Vec::new() }
    }

    /// The stream of what answers no request; the error says that there is one already.
    pub(super) fn attach(&self) -> Result<mpsc::Receiver<Bytes>, ()> {
        self.routes().attach().ok_or(())
    }

    /// Ends the child in order.
    pub(crate) fn end(&self) {
        self.ending.cancel();
    }

    /// Resolves when nothing more comes from the child.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    async fn read(self: Arc<Self>, mut stdout: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(DEFAULT_CAP);
        let mut buffer = vec![0; 64 * 1024];
        'reading: loop {
            let read = tokio::select! {
                read = stdout.read(&mut buffer) => read.unwrap_or(0),
                () = self.ending.cancelled() => 0,
            };
            if read == 0 {
                break;
            }
            lines.push(&buffer[..read]);
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => self.deliver(line).await,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "an upstream process is ended");
                        break 'reading;
                    }
                }
            }
        }
        self.routes().close();
        self.over.cancel();
        self.ending.cancel();
    }

    async fn deliver(&self, line: Bytes) {
        let Ok(body) = Body::parse_for_routing(line.clone(), DEFAULT_CAP) else {
            let looks_like_json =
                line.trim_ascii_start().starts_with(b"{") || line.trim_ascii_start().starts_with(b"[");
            tracing::warn!(bytes = line.len(), looks_like_json, "an upstream process wrote a line that is no message");
            if looks_like_json {
                let waiting = self.routes().all_waiting();
                for sender in waiting {
                    self.hand(&sender, Incoming::Broken).await;
                }
            }
            return;
        };
        for message in body.messages() {
            let route = self.routes().route(message);
            match route {
                Route::Exchange(sender, incoming) => self.hand(&sender, incoming).await,
                Route::Stream(sender, bytes) => self.hand(&sender, bytes).await,
                Route::Nowhere => {}
            }
        }
    }

    async fn hand<T>(&self, sender: &mpsc::Sender<T>, value: T) {
        tokio::select! {
            _ = sender.send(value) => {}
            () = self.ending.cancelled() => {}
        }
    }
}

/// The requests of one exchange that wait for answers.
pub(super) struct Waiting {
    child: Arc<Child>,
    keys: Vec<String>,
}

impl Waiting {
    /// Enters a request; gives its bytes as they go to the child.
    pub(super) fn register(&mut self, want: Want, bytes: &Bytes) -> Result<Bytes, &'static str> {
        let (key, bytes) = self.child.routes().register(want, bytes)?;
        self.keys.push(key);
        Ok(bytes)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for key in &self.keys {
            let told = self.child.routes().give_up(key);
            if let Some(line) = told
                && let Err(mpsc::error::TrySendError::Full(line)) = self.child.input.try_send(line)
            {
                let child = Arc::clone(&self.child);
                tokio::spawn(async move { child.send(line).await });
            }
        }
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Bytes>, ending: CancellationToken) {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = ending.cancelled() => None,
        };
        let Some(line) = line else { return };
        let written = tokio::select! {
            written = stdin.write_all(&line) => written,
            () = ending.cancelled() => return,
        };
        if written.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// Drains what the child logs. It may hold personal data, so the gateway's log gets its length alone.
async fn count(mut stderr: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        tracing::debug!(bytes = read, "an upstream process wrote to its stderr");
    }
}

async fn reap(mut process: tokio::process::Child, ending: CancellationToken) {
    let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    tokio::select! {
        status = process.wait() => {
            tracing::info!(status = ?status.ok(), "an upstream process ended");
            return;
        }
        () = ending.cancelled() => {}
    }
    for signal in [Signal::TERM, Signal::KILL] {
        if tokio::time::timeout(PATIENCE, process.wait()).await.is_ok() {
            break;
        }
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
    }
    let _ = process.wait().await;
}
