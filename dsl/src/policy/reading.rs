//! A request whose SQL is read once, for all that is asked about it.

use super::condition::Cond;
use super::{Hit, Lowered, Origins, RequestFacts, SessionPolicy, Sql};
use crate::fields::FieldId;
use crate::sql::SqlFacts;
use sluice_engine::{Matcher, RuleSet};
use std::sync::Arc;

/// A request of a session with the facts of its SQL. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Reading {
    policy: SessionPolicy,
    request: Arc<RequestFacts>,
    sql: Arc<Sql>,
}

impl SessionPolicy {
    /// Reads the SQL of a request, once. Answers of the reading are those of the methods of the same name here.
    #[must_use]
    pub fn read(&self, mut request: RequestFacts) -> Reading {
        let sql = Arc::new(self.sql(&request));
        // All that is asked of the text is known.
        request.sql = None;
        Reading { policy: self.clone(), request: Arc::new(request), sql }
    }
}

impl SessionPolicy {
    /// The names of columns by which rules claim values on their way out: `column`, `table.column` or `schema.table.column`.
    #[must_use]
    pub fn claimed_columns(&self) -> Vec<String> {
        let searched = self.policy().searched();
        let patterns = self.rules.iter().filter(|(_, rule)| rule.response).flat_map(|(at, _)| &searched[*at].0);
        let mut names: Vec<String> = patterns
            .filter_map(|pattern| if let Matcher::Column(names) = &pattern.matcher { Some(names) } else { None })
            .flatten()
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether some rule for what goes out depends on the column that a value comes from, or on its table.
    #[must_use]
    pub fn asks_origins(&self) -> bool {
        let asks = |cond: &Cond| cond.asks(|field| matches!(field.id, FieldId::Column | FieldId::SqlTables));
        let mut rules = self.rules.iter().filter(|(_, rule)| rule.response);
        !self.claimed_columns().is_empty()
            || rules.any(|(_, rule)| asks(&rule.holds) || rule.relaxed.iter().any(|relax| asks(&relax.condition)))
    }
}

impl Reading {
    /// The facts of each text of SQL; None for one that can't be parsed.
    pub fn sql(&self) -> impl Iterator<Item = Option<&SqlFacts>> {
        self.sql.texts.iter().map(|text| text.as_deref().ok())
    }

    /// The rules on requests that hold because of the facts alone, the strictest first.
    #[must_use]
    pub fn decide(&self) -> Vec<Hit> {
        self.policy.decide_read(&self.request, &self.sql)
    }

    /// The rules of the engine for the bytes of the request.
    #[must_use]
    pub fn request_rules(&self) -> RuleSet {
        self.policy.engine_rules(&self.request, &self.sql, |rule| rule.request)
    }

    /// The rules of the engine for what the response holds in this column, whose values come from there; or outside of all columns.
    #[must_use]
    pub fn response_rules(&self, column: Option<(&str, &Origins)>) -> RuleSet {
        let way = |rule: &Lowered| rule.response;
        match column {
            None => self.policy.engine_rules(&self.request, &self.sql, way),
            Some((column, origins)) => {
                let (column, origins) = (Some(column.to_owned()), origins.clone());
                let request = RequestFacts { column, origins, ..(*self.request).clone() };
                self.policy.engine_rules(&request, &self.sql, way)
            }
        }
    }
}
