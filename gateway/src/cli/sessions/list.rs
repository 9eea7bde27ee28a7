//! `sluice sessions list`: the sessions on record, all or those that are looked for.

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::{
    From, line,
    show::print_record,
    time::{since, until},
};
use crate::{
    cli::shown,
    evidence::{EvidenceError, Reader, RequestOutcome, Search, SessionSummary, StoredRecord},
};

/// Which sessions. A name that ends in `*` stands for all that begin so; all that is asked has to hold of a session.
#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Who opened it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What they opened.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// A group of theirs.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// What they stated as the purpose, of the session or of a command.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// A tool, resource or prompt of MCP.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// A table that a statement names, with its schema or without.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// What a statement does, such as `delete`.
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// A rule that hit a command or decided in an answer.
    #[arg(long, value_name = "NAME|ID")]
    rule: Option<String>,
    /// A pattern that was found, such as `std.pii.email`.
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// What became of a command; one that waited for an approval was held, whatever became of it then.
    #[arg(long, value_enum)]
    outcome: Option<Became>,
    /// With a record since then: RFC 3339, a date (UTC), or so long ago, such as 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// With a record until then; a date counts as a whole.
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// The newest ones, no more than so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Became {
    Refused,
    Held,
    Forwarded,
}

impl Filters {
    fn search(&self) -> Search {
        let Self { user, connection, group, purpose, tool, table, verb, rule, entity, .. } = self;
        let [user, connection, group, purpose, tool, table, verb, rule, entity] =
            [user, connection, group, purpose, tool, table, verb, rule, entity].map(Clone::clone);
        let outcome = self.outcome.map(|became| match became {
            Became::Refused => RequestOutcome::Refused,
            Became::Held => RequestOutcome::Held,
            Became::Forwarded => RequestOutcome::Forwarded,
        });
        let (since, until, limit) = (self.since, self.until, self.limit);
        Search { user, connection, group, purpose, tool, table, verb, rule, entity, outcome, since, until, limit }
    }
}

pub(super) fn list(from: &From, filters: &Filters) -> Result<(), String> {
    let sessions = from.store.reader()?.find(&filters.search()).map_err(|error| error.to_string())?;
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

pub(super) fn records(
    from: &From,
    which: fn(&Reader) -> Result<Vec<StoredRecord>, EvidenceError>,
) -> Result<(), String> {
    let records = which(&from.store.reader()?).map_err(|error| error.to_string())?;
    if from.json {
        return records.iter().try_for_each(line);
    }
    records.iter().for_each(print_record);
    Ok(())
}
