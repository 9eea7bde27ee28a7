//! `sluice sessions`: reads the evidence, also while a gateway writes it, and asks a running gateway about live sessions.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Outcome, failed, shown};
use crate::{
    approval::Asked,
    config::{data_dir, load},
    control::LiveSession,
    evidence::{DecisionRecord, Event, EvidenceError, Reader, RequestOutcome, SessionId, SessionSummary, StoredRecord},
};

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// The sessions on record, newest first.
    List {
        /// Those that are live now, the oldest first, as the running gateway tells them.
        #[arg(long)]
        live: bool,
        /// Those that never opened: who was not let in, and why, newest first.
        #[arg(long, conflicts_with = "live")]
        refused: bool,
        /// What administrators did, newest first.
        #[arg(long, conflicts_with_all = ["live", "refused"])]
        administered: bool,
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
}

#[derive(Debug, Args)]
struct From {
    /// The configuration that names the store (default: the development store).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store itself.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    store: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl From {
    fn path(&self) -> Result<PathBuf, String> {
        Ok(match (&self.store, &self.config) {
            (Some(store), _) => store.clone(),
            (None, Some(config)) => load(config).map_err(|errors| errors.to_string())?.store,
            (None, None) => data_dir().join("evidence"),
        })
    }

    fn open(&self) -> Result<Reader, String> {
        Reader::open(&self.path()?).map_err(|error| error.to_string())
    }
}

pub(super) async fn sessions(arguments: &SessionsArgs) -> Outcome {
    let done = match &arguments.command {
        SessionsCommand::List { live: true, from, .. } => live(from).await,
        SessionsCommand::List { refused: true, from, .. } => records(from, Reader::refusals),
        SessionsCommand::List { administered: true, from, .. } => records(from, Reader::administered),
        SessionsCommand::List { from, .. } => list(from),
        SessionsCommand::Show { id, from } => show(id.as_deref(), from),
        SessionsCommand::Kill { id, from } => kill(id, from).await,
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(reason) => failed(&reason),
    }
}

/// What the running gateway answers.
async fn ask(from: &From, question: &str) -> Result<String, String> {
    let store = from.path()?;
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

fn list(from: &From) -> Result<(), String> {
    let sessions = from.open()?.sessions().map_err(|error| error.to_string())?;
    if from.json {
        return sessions.iter().try_for_each(line);
    }
    println!(
        "{:36}  {:20}  {:24}  {:12}  {:>8}  {:>7}  ended",
        "session", "opened", "user", "connection", "requests", "refused"
    );
    for SessionSummary { session, user, connection, first, requests, refused, closed, .. } in sessions {
        let first = first.get(..19).unwrap_or(&first).to_owned() + "Z";
        let (user, connection) = (shown(&user.unwrap_or_default()), connection.unwrap_or_default());
        let closed = closed.unwrap_or_else(|| "-".to_owned());
        println!("{session:36}  {first:20}  {user:24}  {connection:12}  {requests:>8}  {refused:>7}  {closed}");
    }
    Ok(())
}

fn records(from: &From, which: fn(&Reader) -> Result<Vec<StoredRecord>, EvidenceError>) -> Result<(), String> {
    let records = which(&from.open()?).map_err(|error| error.to_string())?;
    if from.json {
        return records.iter().try_for_each(line);
    }
    records.iter().for_each(print_record);
    Ok(())
}

fn show(id: Option<&str>, from: &From) -> Result<(), String> {
    let reader = from.open()?;
    let id = match id {
        Some(id) => id.to_owned(),
        None => {
            let sessions = reader.sessions().map_err(|error| error.to_string())?;
            sessions.into_iter().next().ok_or("no session is on record")?.session
        }
    };
    let id = SessionId::parse(&id).ok_or("that is no session identifier")?;
    let records = reader.session(&id).map_err(|error| error.to_string())?;
    if records.is_empty() {
        return Err(format!("no session {id} is on record"));
    }
    if from.json {
        return records.iter().try_for_each(line);
    }
    records.iter().for_each(print_record);
    Ok(())
}

pub(super) fn line(value: &impl Serialize) -> Result<(), String> {
    println!("{}", serde_json::to_string(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// Prints a record for people.
pub(crate) fn print_record(stored: &StoredRecord) {
    let StoredRecord { seq, record } = stored;
    print!("{seq:>6}  {:.3}  ", record.at);
    match &record.event {
        Event::SessionOpened { user, groups, actors, connection, purpose, rules_digest, .. } => {
            let purpose = purpose.as_deref().unwrap_or("none stated");
            println!("opened   {} [{}] on {connection}", shown(user), shown(&groups.join(", ")));
            println!("{:36}purpose: {}; rules {rules_digest}", "", shown(purpose));
            if !actors.is_empty() {
                let chain: Vec<String> = actors.iter().map(|actor| shown(&actor.subject)).collect();
                println!("{:36}acted for by {}", "", chain.join(", for whom "));
            }
        }
        Event::Request { exchange, method, name, body, outcome, hits, approval, .. } => {
            let verb = match outcome {
                RequestOutcome::Forwarded => "request ",
                RequestOutcome::Refused => "REFUSED ",
                RequestOutcome::Held => "HELD    ",
            };
            println!("{verb} #{exchange} {} {}", shown(method), shown(name.as_deref().unwrap_or("")));
            for hit in hits {
                let message = hit.message.as_deref().unwrap_or("");
                println!("{:36}{} by {} ({}) {}", "", hit.action, hit.rule, hit.pack, shown(message));
            }
            if let Some(approval) = approval {
                println!("{:36}approval {approval}", "");
            }
            println!("{:36}{}", "", shown(body));
        }
        Event::Response { exchange, status, body, part, decisions, outcome, reason, .. } => {
            // Protocols other than HTTP have none.
            let status = if *status == 0 { String::new() } else { format!(" status {status},") };
            println!(
                "response #{exchange} part {part},{status} {outcome:?} {}",
                shown(reason.as_deref().unwrap_or(""))
            );
            decisions.iter().for_each(|decision| print_decision("", decision));
            println!("{:36}{}", "", shown(body));
        }
        Event::Passed { exchange, sent, received, requests, responses, last, outcome, reason } => {
            let end =
                if *last { format!(", {outcome:?} {}", shown(reason.as_deref().unwrap_or(""))) } else { String::new() };
            println!("passed   #{exchange} {sent} bytes upstream, {received} bytes back{end}");
            requests.iter().for_each(|decision| print_decision("upstream: ", decision));
            responses.iter().for_each(|decision| print_decision("back: ", decision));
        }
        Event::ApprovalRequested(asked) => {
            let Asked { approval, exchange, rule, pack, by, count, expires, hash, .. } = &**asked;
            println!("WAITS    #{exchange} for approval {approval} of {count} in [{}]", shown(&by.join(", ")));
            println!("{:36}by {rule} ({pack}), until {expires:.0}; command {hash}", "");
        }
        Event::ApprovalDecided { approval, approver, decision, justification, refused, .. } => {
            let (said, user) = (decision.name(), shown(&approver.user));
            println!("decided  {approval} {said} by {user}: {}", shown(justification));
            if let Some(refused) = refused {
                println!("{:36}does not count: {refused}", "");
            }
        }
        Event::ApprovalReviewed { approval, reviewer, justification } => {
            println!("reviewed {approval} by {}: {}", shown(&reviewer.user), shown(justification));
        }
        Event::ApprovalClosed { approval, state, reason } => {
            println!("approval {approval} {}: {}", state.name(), shown(reason));
        }
        Event::AccessRefused { user, groups, connection, purpose, reason, .. } => {
            println!("NOT LET IN {} [{}] to {connection}", shown(user), shown(&groups.join(", ")));
            println!("{:36}purpose: {}; {}", "", shown(purpose.as_deref().unwrap_or("none stated")), shown(reason));
        }
        Event::Administered { user, roles, action, about, .. } => {
            println!("administered: {action} by {} ({})", shown(user), roles.join(", "));
            if let Some(about) = about {
                println!("{:36}{}", "", shown(&about.to_string()));
            }
        }
        Event::TailCut { segment, bytes } => {
            println!("the end of the log was torn: {bytes} bytes of segment {segment} were cut off");
        }
        Event::KeyRotated { from, to } => {
            println!("the key of the checkpoints is another one:");
            println!("{:36}from {from}", "");
            println!("{:36}to {to}", "");
        }
        Event::SessionClosed { reason } => println!("closed   {}", shown(reason)),
    }
}

fn print_decision(way: &str, decision: &DecisionRecord) {
    let DecisionRecord { rule, pattern, action, count } = decision;
    println!("{:36}{way}{action} {count} times by {rule} ({pattern})", "");
}
