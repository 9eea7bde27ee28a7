//! Finds sessions by what happened in them: the question, and the query of the index that answers it.

use jiff::Timestamp;
use rusqlite::types::Value;

use super::{record::RequestOutcome, seen::Clue};

/// Which sessions are looked for. All that is asked has to hold of a session, not of one command of it. A name that ends in `*` stands for
/// all that begin so.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Who opened it.
    pub user: Option<String>,
    /// What they opened.
    pub connection: Option<String>,
    /// A group of theirs.
    pub group: Option<String>,
    /// What for: stated for the session or for a command of it.
    pub purpose: Option<String>,
    /// A tool, resource or prompt of MCP.
    pub tool: Option<String>,
    /// A table that SQL names, with its schema or without.
    pub table: Option<String>,
    /// What SQL does, such as `delete`.
    pub verb: Option<String>,
    /// A rule that hit a command or decided in an answer, by its name or identifier.
    pub rule: Option<String>,
    /// A pattern that was found, such as `std.pii.email`.
    pub entity: Option<String>,
    /// What became of a command; a command that waited for an approval was held, whatever became of it then.
    pub outcome: Option<RequestOutcome>,
    /// With a record at this time or later.
    pub since: Option<Timestamp>,
    /// With a record before this time.
    pub until: Option<Timestamp>,
    /// No more than so many.
    pub limit: Option<usize>,
}

impl Search {
    /// The query, without what it selects, and its values.
    pub(super) fn query(&self) -> (String, Vec<Value>) {
        let mut query = Query { text: "FROM session WHERE opened > 0".to_owned(), values: Vec::new() };
        query.column("user", self.user.as_deref());
        query.column("connection", self.connection.as_deref());
        let outcome = self.outcome.map(|outcome| match outcome {
            RequestOutcome::Forwarded => "forwarded",
            RequestOutcome::Refused => "refused",
            RequestOutcome::Held => "held",
        });
        for (clue, name) in [
            (Clue::Group, self.group.as_deref()),
            (Clue::Purpose, self.purpose.as_deref()),
            (Clue::Tool, self.tool.as_deref()),
            (Clue::Table, self.table.as_deref()),
            (Clue::Verb, self.verb.as_deref()),
            (Clue::Rule, self.rule.as_deref()),
            (Clue::Entity, self.entity.as_deref()),
            (Clue::Outcome, outcome),
        ] {
            query.clue(clue, name);
        }
        query.time("last >=", self.since);
        query.time("first <", self.until);
        query.text.push_str(" ORDER BY session DESC");
        if let Some(limit) = self.limit {
            query.text.push_str(" LIMIT ?");
            query.values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        }
        (query.text, query.values)
    }
}

struct Query {
    text: String,
    values: Vec<Value>,
}

impl Query {
    fn column(&mut self, column: &str, name: Option<&str>) {
        if let Some(name) = name {
            self.text.push_str(&format!(" AND {column} "));
            self.name(name);
        }
    }

    fn clue(&mut self, clue: Clue, name: Option<&str>) {
        if let Some(name) = name {
            let word = clue.word();
            self.text.push_str(&format!(
                " AND id IN (SELECT clue.session FROM clue WHERE clue.name IN (SELECT id FROM name WHERE kind = '{word}' AND name "
            ));
            self.name(name);
            self.text.push_str("))");
        }
    }

    fn time(&mut self, comparison: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.text.push_str(&format!(" AND {comparison} ?"));
            self.values.push(Value::Text(super::index::time(at)));
        }
    }

    /// Compares with a name, or with the beginning of one.
    fn name(&mut self, name: &str) {
        let value = match name.strip_suffix('*') {
            None => {
                self.text.push_str("= ?");
                name.to_owned()
            }
            Some(start) => {
                self.text.push_str("GLOB ?");
                let mut glob = String::with_capacity(start.len() + 1);
                for letter in start.chars() {
                    match letter {
                        '*' | '?' | '[' => glob.extend(['[', letter, ']']),
                        other => glob.push(other),
                    }
                }
                glob + "*"
            }
        };
        self.values.push(Value::Text(value));
    }
}
