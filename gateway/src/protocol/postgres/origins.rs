//! Which columns of tables the columns of a result come from: what a server reports by numbers, and what its catalog says of them.

use super::frame::Message;
use super::read::{Malformed, Reader};
use super::rows::described;
use bytes::Bytes;
use sluice_dsl::sql::{Reads, SqlFacts};
use sluice_dsl::{Origin, Origins};
use std::collections::HashMap;
use std::sync::Arc;

/// Columns that one may come from; of more, any could be it.
const MAX_ORIGINS: usize = 64;

/// A table or a view: where the values of its columns come from, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    columns: HashMap<i16, Origins>,
}

/// Tables by their numbers; one that is not there is not known.
pub type Relations = HashMap<u32, Arc<Relation>>;

impl Relation {
    /// The origins of a column; unknown where the catalog had no such column.
    #[must_use]
    pub fn column(&self, at: i16) -> Origins {
        self.columns.get(&at).cloned().unwrap_or(Origins::Unknown)
    }

    /// The numbers of its columns.
    #[must_use]
    pub fn numbers(&self) -> Vec<i16> {
        self.columns.keys().copied().collect()
    }

    /// A column comes from here, too.
    pub fn add(&mut self, at: i16, origins: Origins) {
        let known = self.columns.entry(at).or_insert_with(|| Origins::Of(Vec::new()));
        join(known, origins);
    }

    /// The same, with what was known of its columns before: what was renamed keeps its name for the rules.
    pub fn remember(&mut self, before: &Self) {
        for (at, origins) in before.columns.iter().filter(|(_, origins)| **origins != Origins::Unknown) {
            self.add(*at, origins.clone());
        }
    }
}

/// Adds to what is known of where values come from.
fn join(known: &mut Origins, more: Origins) {
    match (&mut *known, more) {
        (Origins::Of(known), Origins::Of(more)) => {
            for origin in more {
                if !known.contains(&origin) {
                    known.push(origin);
                }
            }
        }
        (Origins::Unknown, _) | (_, Origins::Untold) => {}
        (_, more) => *known = more,
    }
    if matches!(known, Origins::Of(all) if all.len() > MAX_ORIGINS) {
        *known = Origins::Unknown;
    }
}

/// What the column of this place of a result is computed from; where the SQL tells no single one, whatever it reads.
#[must_use]
pub fn output(facts: &SqlFacts, at: usize) -> Origins {
    let output = facts.outputs.as_ref().and_then(|outputs| outputs.get(at)?.as_ref());
    computed(output.unwrap_or(&facts.reads))
}

/// What is computed from these columns, of tables that nobody names.
#[must_use]
pub(super) fn computed(reads: &Reads) -> Origins {
    if reads.whole_rows {
        return Origins::Unknown;
    }
    let mut origins = Origins::Of(Vec::new());
    for column in &reads.columns {
        join(&mut origins, Origins::Of(vec![Origin { column: column.clone(), ..Origin::default() }]));
    }
    origins
}

/// What several statements may give: the union of what each reads.
#[derive(Clone, Debug)]
pub(super) struct Kept(Origins);

impl Default for Kept {
    fn default() -> Self {
        Self(Origins::Of(Vec::new()))
    }
}

impl Kept {
    pub(super) fn add(&mut self, reads: &Reads) {
        join(&mut self.0, computed(reads));
    }

    pub(super) fn origins(&self) -> Origins {
        self.0.clone()
    }
}

/// The table and the number of each column that a RowDescription tells; 0 and 0 for what comes from none.
///
/// # Errors
/// It is malformed.
pub fn sources(description: &Message) -> Result<Vec<(u32, i16)>, Malformed> {
    Ok(described(description.body())?.into_iter().map(|column| column.source).collect())
}

/// The values of a DataRow in the text format.
///
/// # Errors
/// It is malformed.
pub fn values(row: &Message) -> Result<Vec<Option<Bytes>>, Malformed> {
    let mut body = Reader(row.body());
    let count = body.count()?;
    let values = (0..count).map(|_| body.value()).collect::<Result<_, _>>()?;
    body.end()?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[&str]) -> Origins {
        let origin = |column: &&str| Origin { column: (*column).to_owned(), ..Origin::default() };
        Origins::Of(columns.iter().map(origin).collect())
    }

    #[test]
    fn a_column_keeps_the_names_that_it_had() {
        let (mut now, mut before) = (Relation::default(), Relation::default());
        before.add(2, of(&["email"]));
        before.add(4, Origins::Unknown);
        now.add(2, of(&["contact"]));
        now.add(4, of(&["note"]));
        now.remember(&before);
        assert!(now.column(2).answer("email") && now.column(2).answer("contact"));
        assert_eq!(now.column(4), of(&["note"]), "what wasn't known then is known now");
        assert_eq!(now.column(3), Origins::Unknown, "a column that the catalog doesn't have");
    }

    #[test]
    fn what_is_too_much_to_tell_is_unknown() {
        let names: Vec<String> = (0..=MAX_ORIGINS).map(|n| format!("c{n}")).collect();
        let reads = |count: usize| Reads { columns: names[..count].to_vec(), whole_rows: false };
        assert!(matches!(computed(&reads(MAX_ORIGINS)), Origins::Of(_)));
        assert_eq!(computed(&reads(MAX_ORIGINS + 1)), Origins::Unknown);
        let mut kept = Kept::default();
        assert_eq!(kept.origins(), of(&[]));
        kept.add(&reads(1));
        assert_eq!(kept.origins(), of(&["c0"]));
        kept.add(&Reads { whole_rows: true, ..Reads::default() });
        assert_eq!(kept.origins(), Origins::Unknown);
    }
}
