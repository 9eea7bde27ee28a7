//! Where the words go: standard output and standard error, neither of which may panic.

use std::io::{self, Write};

/// Why a command could not do it.
pub(crate) enum Failure {
    /// The reader of the output is gone; it wants no more.
    ClosedPipe,
    /// Already told on standard error.
    Told,
    /// A sentence for standard error.
    Because(String),
}

impl Failure {
    /// What went wrong with a file.
    pub(crate) fn of(path: &str, error: &io::Error) -> Self {
        Self::Because(format!("{path}: {error}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Because(format!("the output can't be written: {error}")),
        }
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard error; where that is closed nobody is there to hear it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// With the lines they speak of.
    #[default]
    Full,
    /// A line each.
    Concise,
    /// A JSON object a line.
    Json,
    /// Workflow commands of GitHub Actions.
    Github,
    /// One SARIF 2.1.0 log; of `check` alone, elsewhere the same as `json`.
    Sarif,
}

/// A property of a GitHub workflow command, such as its file.
pub(crate) fn github_property(text: &str) -> String {
    github(text).replace(':', "%3A").replace(',', "%2C")
}

/// The message of a GitHub workflow command.
pub(crate) fn github(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
