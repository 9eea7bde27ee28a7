//! `sluice sessions`: reads the evidence, also while a gateway writes it, and asks a running gateway about live sessions.
//!
//! - `list`: which sessions there are; `time`: since when, until when.
//! - `show`: the records of one.
//! - `screen`: one as its user saw it; `replay` plays that, `export` writes it for other programs.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Outcome, failed, shown, store::Store};
use crate::{
    control::LiveSession,
    evidence::{Reader, SessionId, StoredRecord},
};

mod export;
mod list;
mod replay;
mod screen;
#[cfg(test)]
mod screen_tests;
mod show;
mod time;

use export::ExportArgs;
use list::Filters;
use replay::ReplayArgs;
pub(crate) use show::print_record;

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// The sessions on record, newest first: all, or those of which all holds that is asked. A name that ends in `*` stands for all that begin so.
    List {
        /// Those that are live now, the oldest first, as the running gateway tells them.
        #[arg(long, conflicts_with = "Filters")]
        live: bool,
        /// Those that never opened: who was not let in, and why, newest first.
        #[arg(long, conflicts_with_all = ["live", "Filters"])]
        refused: bool,
        /// What administrators did, newest first.
        #[arg(long, conflicts_with_all = ["live", "refused", "Filters"])]
        administered: bool,
        #[command(flatten)]
        filters: Box<Filters>,
        #[command(flatten)]
        from: From,
    },
    /// End a live session at once.
    Kill {
        /// The session.
        id: String,
        #[command(flatten)]
        from: From,
    },
    /// The records of one session.
    Show {
        /// The session; the newest one when left out.
        id: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Play a session as its user saw it, with its timing.
    Replay(ReplayArgs),
    /// Write a session for other programs.
    Export(ExportArgs),
}

/// Where records are read from, and how they are printed.
#[derive(Debug, Args)]
struct From {
    #[command(flatten)]
    store: Store,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn sessions(arguments: &SessionsArgs) -> Outcome {
    let done = match &arguments.command {
        SessionsCommand::List { live: true, from, .. } => live(from).await,
        SessionsCommand::List { refused: true, from, .. } => list::records(from, Reader::refusals),
        SessionsCommand::List { administered: true, from, .. } => list::records(from, Reader::administered),
        SessionsCommand::List { filters, from, .. } => list::list(from, filters),
        SessionsCommand::Show { id, from } => show::show(id.as_deref(), from),
        SessionsCommand::Replay(arguments) => replay::replay(arguments).await,
        SessionsCommand::Export(arguments) => export::export(arguments),
        SessionsCommand::Kill { id, from } => kill(id, from).await,
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(reason) => failed(&reason),
    }
}

/// What the running gateway answers.
async fn ask(from: &From, question: &str) -> Result<String, String> {
    let store = from.store.path()?;
    crate::control::ask(&store, question).await.map_err(|error| {
        let path = crate::control::path(&store);
        format!("no gateway answers at {}: {error}; run this where it runs, as its user", path.display())
    })
}

async fn live(from: &From) -> Result<(), String> {
    let said = ask(from, "list").await?;
    if from.json {
        print!("{said}");
        return Ok(());
    }
    println!("{:36}  {:24}  {:12}  {:>8}", "session", "user", "connection", "quiet, s");
    for line in said.lines() {
        let LiveSession { session, user, connection, quiet } =
            serde_json::from_str(line).map_err(|error| format!("the gateway's answer can't be read: {error}"))?;
        println!("{session:36}  {:24}  {connection:12}  {quiet:>8}", shown(&user));
    }
    Ok(())
}

async fn kill(id: &str, from: &From) -> Result<(), String> {
    let id = SessionId::parse(id).ok_or("that is no session identifier")?;
    match ask(from, &format!("kill {id}")).await?.trim_end() {
        "ended" => Ok(()),
        "unknown" => Err(format!("no session {id} is live; `sluice sessions list --live` names those that are")),
        other => Err(format!("the gateway says: {other}")),
    }
}

/// The records of a session.
///
/// # Errors
///
/// What to do where it isn't on record, or which of its records can't be read.
fn recorded(reader: &Reader, id: &str) -> Result<Vec<StoredRecord>, String> {
    let named = "`sluice sessions list` names those that are on record";
    let id = SessionId::parse(id).ok_or_else(|| format!("that is no session identifier; {named}"))?;
    let records = reader.session(&id).map_err(|error| error.to_string())?;
    if records.is_empty() {
        return Err(format!("no session {id} is on record; {named}"));
    }
    Ok(records)
}

pub(super) fn line(value: &impl Serialize) -> Result<(), String> {
    println!("{}", serde_json::to_string(value).map_err(|error| error.to_string())?);
    Ok(())
}
