//! `sluice approvals`: shows what waits for an approval, and decides.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    Outcome,
    api::{Api, Asking},
    failed,
    sessions::line,
    shown,
};
use crate::{
    approval::{Broken, Decision},
    listen::ApprovalView,
};

#[derive(Debug, Args)]
pub(super) struct ApprovalsArgs {
    #[command(subcommand)]
    command: ApprovalsCommand,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// The requests that you may see, the oldest first.
    List {
        /// Those that ended within the last hour as well.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// What a request asks for, whole.
    Show {
        /// The request.
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Let a command go on.
    Approve(Deciding),
    /// Refuse a command.
    Deny(Deciding),
    /// Let a command of your own go on without an approval, where you may: it is reported at once, and reviewed afterwards.
    BreakGlass(Deciding),
    /// What went on without an approval and nobody has reviewed.
    Broken {
        #[command(flatten)]
        asking: Asking,
    },
    /// Say what you found about a command that went on without an approval.
    Review {
        /// The request.
        id: String,
        /// What you found; it goes on record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, Args)]
struct Deciding {
    /// The request.
    id: String,
    /// Why; it goes on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The hash of the command that you were shown; left out: that of the request as it is now, which is printed.
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn approvals(arguments: &ApprovalsArgs) -> Outcome {
    let done = match &arguments.command {
        ApprovalsCommand::List { all, asking } => list(*all, asking).await,
        ApprovalsCommand::Show { id, asking } => show(id, asking).await,
        ApprovalsCommand::Approve(deciding) => decide(Decision::Approve, deciding).await,
        ApprovalsCommand::BreakGlass(deciding) => decide(Decision::BreakGlass, deciding).await,
        ApprovalsCommand::Broken { asking } => broken(asking).await,
        ApprovalsCommand::Review { id, reason, asking } => review(id, reason, asking).await,
        ApprovalsCommand::Deny(deciding) => decide(Decision::Deny, deciding).await,
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(reason) => failed(&reason),
    }
}

fn path(id: &str) -> Result<String, String> {
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_id { Ok(format!("/api/v1/approvals/{id}")) } else { Err("that is no identifier of a request".to_owned()) }
}

fn read(answer: Value) -> Result<ApprovalView, String> {
    serde_json::from_value(answer).map_err(|error| format!("the gateway's answer can't be read: {error}"))
}

async fn list(all: bool, asking: &Asking) -> Result<(), String> {
    let path = if all { "/api/v1/approvals?state=all" } else { "/api/v1/approvals" };
    let answer = asking.api.open()?.ask(Method::GET, path, None).await?;
    let Value::Array(views) = answer else { return Err("the gateway's answer can't be read: no list".to_owned()) };
    if asking.json {
        return views.iter().try_for_each(line);
    }
    println!(
        "{:15}  {:9}  {:24}  {:12}  {:24}  {:>7}  until",
        "approval", "state", "requester", "connection", "command", "missing"
    );
    for view in views {
        let ApprovalView { asked, state, missing, .. } = read(view)?;
        let command = format!("{} {}", asked.method, asked.name.as_deref().unwrap_or_default());
        let (id, user, command) = (shown(&asked.approval), shown(&asked.requester.user), shown(&command));
        let (connection, until) = (shown(&asked.connection), asked.expires.strftime("%FT%TZ"));
        println!("{id:15}  {:9}  {user:24}  {connection:12}  {command:24}  {missing:>7}  {until}", state.name());
    }
    Ok(())
}

async fn get(api: &Api, id: &str) -> Result<Value, String> {
    api.ask(Method::GET, &path(id)?, None).await
}

async fn show(id: &str, asking: &Asking) -> Result<(), String> {
    let answer = get(&asking.api.open()?, id).await?;
    if asking.json {
        return line(&answer);
    }
    print(&read(answer)?);
    Ok(())
}

async fn decide(decision: Decision, deciding: &Deciding) -> Result<(), String> {
    let api = deciding.asking.api.open()?;
    let hash = match &deciding.hash {
        Some(hash) => hash.clone(),
        None => {
            let view = read(get(&api, &deciding.id).await?)?;
            if !deciding.asking.json {
                print(&view);
            }
            view.asked.hash
        }
    };
    let body = json!({ "decision": decision, "justification": deciding.reason, "hash": hash });
    let answer = api.ask(Method::POST, &format!("{}/decision", path(&deciding.id)?), Some(&body)).await?;
    if deciding.asking.json {
        return line(&answer);
    }
    let view = read(answer)?;
    println!("\n{} is {}; {} more to approve", shown(&view.asked.approval), view.state.name(), view.missing);
    Ok(())
}

async fn broken(asking: &Asking) -> Result<(), String> {
    let answer = asking.api.open()?.ask(Method::GET, "/api/v1/broken-glass", None).await?;
    let Value::Array(all) = answer else { return Err("the gateway's answer can't be read: no list".to_owned()) };
    if asking.json {
        return all.iter().try_for_each(line);
    }
    for one in all {
        let one: Broken =
            serde_json::from_value(one).map_err(|error| format!("the gateway's answer can't be read: {error}"))?;
        let (at, by, asked) = (one.at.strftime("%FT%TZ"), shown(&one.broken_by.user), &one.asked);
        println!(
            "{}  {at}  {by} on {}: {}",
            shown(&asked.approval),
            shown(&asked.connection),
            shown(&one.justification)
        );
        asked.command.lines().for_each(|line| println!("{:17}{}", "", shown(line)));
    }
    Ok(())
}

async fn review(id: &str, reason: &str, asking: &Asking) -> Result<(), String> {
    let body = json!({ "justification": reason });
    asking.api.open()?.ask(Method::POST, &format!("{}/review", path(id)?), Some(&body)).await.map(drop)
}

fn print(view: &ApprovalView) {
    let ApprovalView { asked, at, state, approvers, missing, broken, may_decide } = view;
    let say = |name: &str, value: &str| println!("{name:12}{}", shown(value));
    say("approval", &asked.approval);
    say("state", &format!("{}, {missing} of {} missing", state.name(), asked.count));
    say("asked", &at.strftime("%FT%TZ").to_string());
    say("until", &asked.expires.strftime("%FT%TZ").to_string());
    say("requester", &asked.requester.user);
    for actor in &asked.actors {
        say("acting", &actor.subject);
    }
    say("connection", &format!("{} ({})", asked.connection, asked.protocol));
    say("purpose", asked.purpose.as_deref().unwrap_or("none stated"));
    say("rule", &format!("{} ({})", asked.rule, asked.pack));
    if let Some(detail) = &asked.detail {
        say("because", detail);
    }
    say("approvers", &asked.by.join(", "));
    if let Some(grant) = asked.grant {
        say("grants", &format!("the same command for {grant} s once it is approved"));
    }
    for party in approvers {
        say("approved", &party.user);
    }
    if let Some(party) = broken {
        say("broken by", &party.user);
    }
    if !asked.facts.is_empty() {
        say("facts", &Value::Object(asked.facts.clone()).to_string());
    }
    say("command", &format!("{} {}", asked.method, asked.name.as_deref().unwrap_or_default()));
    asked.command.lines().for_each(|line| say("", line));
    say("hash", &asked.hash);
    if !may_decide && !state.is_final() {
        say("", "you can't decide about it");
    }
}
