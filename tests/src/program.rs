//! Programs that run beside a test: bounded in time, ended with it.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a program may take to start, and how long one may take to end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs beside the test. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it said it listens on, such as `http://127.0.0.1:40123`.
    pub address: String,
    /// The lines that it printed before.
    pub said: Vec<String>,
}

impl Server {
    /// Starts a server that prints `listening on ADDRESS` as a line on its standard output.
    pub async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let shown = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start {shown}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = timeout(PATIENCE, async {
            loop {
                let line =
                    lines.next_line().await.unwrap().unwrap_or_else(|| panic!("{shown} ended before it listened"));
                if let Some(address) = line.strip_prefix("listening on ") {
                    return address.to_owned();
                }
                said.push(line);
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{shown} didn't listen in time"));
        // Read on, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address, said }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it is still running")
    }

    /// Sends it a signal by name, such as `INT`.
    pub async fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits for its end and gives its exit code; none when a signal ended it.
    pub async fn wait(mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("it doesn't end").unwrap().code()
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What a program that ran to its end left.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("it printed UTF-8")
    }
}

/// Runs a program to its end with this on its standard input.
pub async fn run(mut command: Command, input: impl AsRef<[u8]>, limit: Duration) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start {shown}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let all = async {
        let feed = async move {
            // A program may end without reading all of it.
            let _ = stdin.write_all(input.as_ref()).await;
            drop(stdin);
        };
        let (_, read, read_err, status) =
            tokio::join!(feed, out.read_to_end(&mut stdout), err.read_to_end(&mut stderr), child.wait());
        read.unwrap();
        read_err.unwrap();
        status.unwrap()
    };
    let status = timeout(limit, all).await.unwrap_or_else(|_| panic!("{shown} took longer than {limit:?}"));
    Finished { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

/// A command with its arguments.
pub fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
