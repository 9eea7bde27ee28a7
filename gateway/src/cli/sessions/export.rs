//! `sluice sessions export`: a session as a file, for other programs.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{recorded, screen::scenes};
use crate::cli::store::Store;
use crate::evidence::{Event, StoredRecord};

/// The terminal that a recording is for, in characters.
const SIZE: (u16, u16) = (120, 40);

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The session.
    id: String,
    /// How it is written.
    #[arg(long, value_enum)]
    format: Format,
    /// The file, which must not be there yet (default: standard output).
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    from: Store,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Its records with their numbers, one JSON object a line.
    Json,
    /// A recording of a terminal (asciicast, version 2), as players of asciinema show it.
    Asciicast,
}

pub(super) fn export(arguments: &ExportArgs) -> Result<(), String> {
    let ExportArgs { id, format, output, from } = arguments;
    let records = recorded(&from.reader()?, id)?;
    let text = match format {
        Format::Json => {
            let lines: Result<Vec<_>, _> = records.iter().map(serde_json::to_string).collect();
            lines.map_err(|error| error.to_string())?.join("\n") + "\n"
        }
        Format::Asciicast => asciicast(&records)?,
    };
    match output {
        None => match io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("can't write: {error}")),
            _ => Ok(()),
        },
        Some(path) => {
            // What a session saw is for nobody else.
            let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let written = created.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => format!("{} is there already; name another file", path.display()),
                _ => format!("can't write {}: {error}", path.display()),
            })
        }
    }
}

/// The session as an asciicast, version 2: a header, then an event for each text that appears.
fn asciicast(records: &[StoredRecord]) -> Result<String, String> {
    let opened = records.iter().find_map(|stored| match &stored.record.event {
        Event::SessionOpened { user, connection, .. } => Some(format!("{user} on {connection}")),
        _ => None,
    });
    let first = records.first().map(|stored| &stored.record);
    let header = json!({
        "version": 2, "width": SIZE.0, "height": SIZE.1,
        "timestamp": first.map(|record| record.at.as_second()),
        "title": opened.or_else(|| first.map(|record| record.session.to_string())),
    });
    let mut lines = vec![header.to_string()];
    for scene in scenes(records, None, true)? {
        lines.push(json!([scene.at.as_secs_f64(), "o", scene.text.replace('\n', "\r\n")]).to_string());
    }
    Ok(lines.join("\n") + "\n")
}
