//! `sluice access`: what holds for somebody on a connection, and why.

use std::{collections::HashMap, fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::{Timestamp, ZonedDateTime};
use serde::Serialize;
use sluice_dsl::{Compilation, Held, HeldWhen, SessionFacts, describe, syntax::tree::ItemKind};

use super::{Outcome, failed};
use crate::{
    authorisation::{Asking, Explanation, Stated},
    config::{Config, data_dir, load},
    identity::{Identity, RoleSet, UserKind},
    serve::compiled_rules,
    session::Purpose,
};

#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    #[command(subcommand)]
    command: AccessCommand,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Say whether somebody may open a connection and which rules would hold; the exit code is 0 where they may and 1 where not.
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Who, as rules and records call them.
    #[arg(long)]
    user: String,
    /// A group of theirs; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A role that their issuer gives them; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A person or a program.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The connection.
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// What they state as the purpose.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// When, such as 2026-11-30T20:00:00Z or 2026-11-30T20:00[Europe/Berlin] (default: now).
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// The configuration (default: that of development mode).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write an object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Kind {
    #[default]
    Person,
    Service,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let zoned = |text: &str| text.parse::<ZonedDateTime>().map(|zoned| zoned.timestamp());
    text.parse::<Timestamp>().or_else(|_| zoned(text)).map_err(|_| {
        "a time such as 2026-11-30T20:00:00Z, 2026-11-30T20:00:00+01:00 or 2026-11-30T20:00[Europe/Berlin]".to_owned()
    })
}

/// All that holds.
#[derive(Debug, Serialize)]
struct Answer {
    user: String,
    connection: String,
    at: Timestamp,
    #[serde(flatten)]
    access: Explanation,
    /// Whether the purpose has to be confirmed besides, by somebody who isn't asked here.
    unconfirmed: bool,
    /// The roles they have with the gateway itself.
    roles: RoleSet,
    rules_digest: String,
    rules: Vec<RuleAnswer>,
}

#[derive(Debug, Serialize)]
struct RuleAnswer {
    #[serde(flatten)]
    held: Held,
    /// What it does, in words.
    does: String,
}

pub(super) fn access(arguments: &AccessArgs) -> Outcome {
    let AccessCommand::Explain(arguments) = &arguments.command;
    match explain(arguments) {
        Ok(answer) => {
            if arguments.json {
                match serde_json::to_string(&answer) {
                    Ok(text) => println!("{text}"),
                    Err(error) => return failed(&error),
                }
            } else {
                print!("{}", told(&answer, arguments.purpose.as_deref()));
            }
            match (answer.access.let_in, answer.unconfirmed) {
                (true, true) => {
                    failed(&"whether the purpose is confirmed is told by `check` alone, which isn't asked here")
                }
                (true, false) => Outcome::Clean,
                (false, _) => Outcome::Findings,
            }
        }
        Err(reason) => failed(&reason),
    }
}

fn explain(arguments: &ExplainArgs) -> Result<Answer, String> {
    let config = match &arguments.config {
        Some(file) => load(file).map_err(|errors| errors.to_string())?,
        None => Config::development(&data_dir()).map_err(|error| error.to_string())?,
    };
    let connection = config.connections.get(&arguments.connection).ok_or_else(|| {
        let known: Vec<&str> = config.connections.keys().map(String::as_str).collect();
        format!("there is no connection `{}`; known are {}", arguments.connection, known.join(", "))
    })?;
    let purpose = arguments.purpose.as_deref().map(Purpose::parse).transpose().map_err(|error| error.to_string())?;
    let purpose = purpose.flatten().map(|purpose| purpose.to_string());
    let identity = identity(arguments);
    let at = arguments.at.unwrap_or_else(Timestamp::now);
    let asking = Asking { identity: &identity, purpose: Stated::Known(purpose.as_deref()), at };
    let access = connection.demands().explain(asking);
    let unconfirmed = connection.confirm.is_some() && purpose.is_some();
    let compilation = compiled_rules(&config).map_err(|error| error.to_string())?;
    let policy = compilation.policy.as_ref().ok_or("the rules give no policy")?;
    let facts = SessionFacts {
        protocol: connection.upstream.protocol().to_owned(),
        target: arguments.connection.clone(),
        user_id: identity.user_id.clone(),
        user_email: identity.email.clone(),
        user_kind: identity.kind,
        user_groups: identity.groups.clone(),
        purpose,
        client: None,
        ip: None,
    };
    let words = words(&compilation);
    // Rules tell days by the clock of the machine.
    let today = at.to_zoned_datetime(jiff::tz::TimeZone::system()).date();
    let rules = policy.specialise(&facts).held(today).into_iter().map(|held| {
        let does = words.get(&(held.rule.pack.as_str(), held.rule.name.as_str())).cloned().unwrap_or_default();
        RuleAnswer { held, does }
    });
    Ok(Answer {
        user: arguments.user.clone(),
        connection: arguments.connection.clone(),
        at,
        access,
        unconfirmed,
        roles: config.roles.of(&identity),
        rules_digest: policy.digest().to_owned(),
        rules: rules.collect(),
    })
}

fn identity(arguments: &ExplainArgs) -> Identity {
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts.dedup();
        texts
    };
    Identity {
        issuer: String::new(),
        subject: arguments.user.clone(),
        user_id: arguments.user.clone(),
        email: arguments.user.contains('@').then(|| arguments.user.clone()),
        kind: match arguments.kind {
            Kind::Person => UserKind::Person,
            Kind::Service => UserKind::Service,
        },
        groups: sorted(&arguments.groups),
        roles: sorted(&arguments.roles),
        actors: Vec::new(),
        token_id: None,
        expires: Timestamp::MAX,
    }
}

/// What the rules do, by pack and name.
fn words(compilation: &Compilation) -> HashMap<(&str, &str), String> {
    let files = compilation.files.iter();
    let rules = files.flat_map(|file| file.tree.items.iter().map(move |item| (file, item)));
    rules
        .filter_map(|(file, item)| match &item.kind {
            ItemKind::Rule(rule) => Some(((file.pack.as_str(), rule.name.value.as_str()), describe::rule(rule))),
            _ => None,
        })
        .collect()
}

/// The answer for people.
fn told(answer: &Answer, purpose: Option<&str>) -> String {
    let access = &answer.access;
    let mut out = String::new();
    let may = if access.let_in { "may open" } else { "may not open" };
    let _ = writeln!(out, "{} {may} {} at {:.0}", answer.user, answer.connection, answer.at);
    if let Some(reason) = &access.reason {
        let _ = writeln!(out, "  because: {reason}");
    }
    if !access.groups.is_empty() {
        let held = if access.groups_held.is_empty() { "none".to_owned() } else { access.groups_held.join(", ") };
        let _ = writeln!(out, "  groups: one of {}; held: {held}", access.groups.join(", "));
    }
    for table in &access.allow {
        let verdict =
            if table.holds { "holds".to_owned() } else { format!("doesn't hold ({})", table.unmet.join(", ")) };
        let _ = writeln!(out, "  allow {}: {verdict}: {}", table.number, table.asks);
    }
    let required = if access.purpose_required { "required" } else { "not required" };
    let accepted = access.purposes.as_deref().unwrap_or("any");
    let stated = match (purpose, access.purpose_accepted) {
        (Some(purpose), Some(true)) => format!("; `{purpose}` is accepted"),
        (Some(purpose), _) => format!("; `{purpose}` is not accepted"),
        (None, _) => String::new(),
    };
    let _ = writeln!(out, "  purpose: {required}; accepted: {accepted}{stated}");
    let roles = answer.roles.names();
    if !roles.is_empty() {
        let _ = writeln!(out, "  roles of the gateway: {}", roles.join(", "));
    }
    let _ = writeln!(out, "rules of such a session ({}):", answer.rules_digest);
    if answer.rules.is_empty() {
        let _ = writeln!(out, "  none");
    }
    for RuleAnswer { held, does } in &answer.rules {
        let id = held.rule.id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let when = match held.when {
            HeldWhen::Always => "always".to_owned(),
            HeldWhen::DependsOnRequest => "depends on the request".to_owned(),
            HeldWhen::After(until) => format!("excepted until {until}"),
        };
        let _ = writeln!(out, "  {}{id} ({}), {when}", held.rule.name, held.rule.pack);
        if !does.is_empty() {
            let _ = writeln!(out, "    {does}");
        }
    }
    out
}
