//! Lines of JSON in a file, or on the standard output.

use std::path::PathBuf;

use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;

use super::ocsf::Event;

/// A file to which lines are added; `-` is the standard output.
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) async fn send(&self, events: &[Event]) -> Result<(), String> {
        let lines: String = events.iter().flat_map(|event| [event.text.as_str(), "\n"]).collect();
        let written = if self.path.as_os_str() == "-" {
            let mut out = tokio::io::stdout();
            async { out.write_all(lines.as_bytes()).await.and(out.flush().await) }.await
        } else {
            self.append(lines.as_bytes()).await
        };
        written.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Opened each time, so that the file may be moved away meanwhile.
    async fn append(&self, lines: &[u8]) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path).await?;
        let before = file.metadata().await?.len();
        let written = async { file.write_all(lines).await.and(file.flush().await).and(file.sync_data().await) }.await;
        if written.is_err() {
            // Half a line is not left behind; they are all written again.
            file.set_len(before).await?;
        }
        written
    }
}
