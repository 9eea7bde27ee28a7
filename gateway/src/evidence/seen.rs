//! What of a record is indexed: who, when, what became of it, and the names by which a session is found.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_dsl::sql::facts;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Clue {
    /// A group of whoever opened the session.
    Group,
    /// A purpose of the session or of a command.
    Purpose,
    /// A tool, resource or prompt of MCP.
    Tool,
    /// A table of SQL.
    Table,
    /// What SQL does.
    Verb,
    /// A rule, by name and by identifier.
    Rule,
    /// A pattern that was found.
    Entity,
    /// What became of a command.
    Outcome,
}

impl Clue {
    /// How the index calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Purpose => "purpose",
            Self::Tool => "tool",
            Self::Table => "table",
            Self::Verb => "verb",
            Self::Rule => "rule",
            Self::Entity => "entity",
            Self::Outcome => "outcome",
        }
    }
}

/// What of a record is indexed.
#[derive(Deserialize)]
pub(super) struct Seen<'r> {
    #[serde(borrow)]
    pub(super) session: Cow<'r, str>,
    pub(super) at: Timestamp,
    #[serde(borrow)]
    pub(super) event: Cow<'r, str>,
    pub(super) outcome: Option<String>,
    pub(super) approval: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) refused: Option<String>,
    pub(super) user: Option<String>,
    pub(super) connection: Option<String>,
    pub(super) purpose: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) reason: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    method: Option<String>,
    name: Option<String>,
    /// As it is spelt: what is long and not needed is passed over.
    #[serde(borrow)]
    body: Option<&'r RawValue>,
    rule: Option<String>,
    rule_id: Option<String>,
    #[serde(default)]
    hits: Vec<Decided>,
    #[serde(default)]
    decisions: Vec<Decided>,
    #[serde(default)]
    requests: Vec<Decided>,
    #[serde(default)]
    responses: Vec<Decided>,
}

/// A rule that hit a command, or decided in what passed.
#[derive(Deserialize)]
struct Decided {
    rule: String,
    id: Option<String>,
    pattern: Option<String>,
    /// Of a hit: the pattern, or the condition, which nobody asks for as one.
    detail: Option<String>,
}

impl Seen<'_> {
    /// By what its session is found, which speaks this protocol.
    pub(super) fn clues(&self, protocol: Option<&str>) -> Vec<(Clue, Cow<'_, str>)> {
        let mut clues = Vec::new();
        let mut clue = |kind, name: &Option<String>| clues.extend(name.clone().map(|name| (kind, Cow::Owned(name))));
        match &*self.event {
            "session_opened" => {
                clue(Clue::Purpose, &self.purpose);
                clues.extend(self.groups.iter().map(|group| (Clue::Group, Cow::Borrowed(&**group))));
            }
            "request" => {
                clue(Clue::Purpose, &self.purpose);
                clue(Clue::Outcome, &self.outcome);
                match protocol {
                    Some("mcp") => clue(Clue::Tool, &self.name),
                    Some("postgres") => self.sql(&mut clues),
                    _ => {}
                }
            }
            "approval_requested" => {
                clue(Clue::Rule, &self.rule);
                clue(Clue::Rule, &self.rule_id);
                clues.push((Clue::Outcome, Cow::Borrowed("held")));
            }
            _ => {}
        }
        for decided in [&self.hits, &self.decisions, &self.requests, &self.responses].into_iter().flatten() {
            let Decided { rule, id, pattern, detail } = decided;
            clues.push((Clue::Rule, Cow::Borrowed(rule)));
            clues.extend(id.as_deref().map(|id| (Clue::Rule, Cow::Borrowed(id))));
            let entity = pattern.as_deref().or(detail.as_deref()).filter(|name| !name.contains(' '));
            clues.extend(entity.map(|entity| (Clue::Entity, Cow::Borrowed(entity))));
        }
        clues
    }

    /// What SQL does, by the name that the record has, and to which tables, by PostgreSQL's parser.
    fn sql<'m>(&'m self, clues: &mut Vec<(Clue, Cow<'m, str>)>) {
        let verbs = self.name.iter().flat_map(|name| name.split(' ')).filter(|verb| !verb.is_empty());
        clues.extend(verbs.map(|verb| (Clue::Verb, Cow::Borrowed(verb))));
        if !matches!(self.method.as_deref(), Some("query" | "parse")) {
            return;
        }
        let Some(sql) = self.body.and_then(|body| serde_json::from_str::<Cow<'_, str>>(body.get()).ok()) else {
            return;
        };
        // What can't be parsed was refused, and its record names no table.
        if let Ok(facts) = facts(&sql) {
            clues.extend(facts.tables.iter().map(|table| (Clue::Table, Cow::Owned(table.clone()))));
        }
    }
}
