//! Which columns the results of SQL are made of, where the server reports no origin: what is computed, united or aggregated.
//!
//! Nothing is resolved: a column is known by the last part of its name. Where columns can be read without being named (a row as a
//! value, `*` in a subquery, other names for a table's columns) that is said, and the reader takes it for any column.

use super::tree::Tree;
use std::collections::HashSet;

/// What is read to make something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Columns, by the last part of their names. No name stands twice.
    pub columns: Vec<String>,
    /// Columns may be read that are not named.
    pub whole_rows: bool,
}

impl Reads {
    /// Keeps no more columns than are told.
    pub(super) fn bound(&mut self) {
        if self.columns.len() > MAX_COLUMNS {
            *self = Self { columns: Vec::new(), whole_rows: true };
        }
    }
}

/// Functions of one argument that take any row: `c.to_json` calls one of them with the row `c`.
const OF_ROWS: &[&str] = &[
    "array_agg",
    "concat",
    "hash_record",
    "json_agg",
    "json_build_array",
    "jsonb_agg",
    "jsonb_build_array",
    "max",
    "min",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// Columns that are told; where there are more, any may be read.
const MAX_COLUMNS: usize = 256;

/// What a statement reads.
pub(super) fn reads(statement: &Tree) -> Reads {
    let rows = Rows::of(statement);
    let mut reader = Reader::new(&rows);
    // What its own `*` stands for is a column of a table, whose origin the server reports, or stands in a subquery.
    match statement.kind() {
        "PrepareStmt" | "DeclareCursorStmt" => reader.top(statement.field("query")),
        _ => reader.top(statement),
    }
    reader.reads
}

/// What each column of a statement's result is made of, None for one that all that the statement reads may be in; None where its
/// columns aren't all written out.
pub(super) fn outputs(statement: &Tree) -> Option<Vec<Option<Reads>>> {
    if statement.kind() == "ExplainStmt" {
        // A plan names columns and has none of their values.
        return Some(vec![Some(Reads::default())]);
    }
    let targets = statement.field("target_list").items();
    let is_plain = statement.kind() == "SelectStmt" && !targets.is_empty();
    if !is_plain || targets.iter().any(|target| is_star(value_of(target))) {
        return None;
    }
    let from = statement.field("from_clause").items();
    let only_tables = statement.field("with_clause").is_none() && from.iter().all(is_tables);
    let rows = Rows::of(statement);
    let outputs = targets.iter().map(|target| {
        let mut reader = Reader::new(&rows);
        reader.walk(value_of(target));
        let is_told = !reader.subqueries && (only_tables || reader.reads == Reads::default());
        is_told.then_some(reader.reads)
    });
    Some(outputs.collect())
}

/// The expression of a target.
fn value_of(target: &Tree) -> &Tree {
    target.field("val")
}

fn is_star(value: &Tree) -> bool {
    value.kind() == "ColumnRef" && value.field("fields").items().last().is_some_and(|last| last.kind() == "AStar")
}

/// Tables and joins of such, under the names of their own columns.
fn is_tables(from: &Tree) -> bool {
    match from.kind() {
        "RangeVar" => !renames(from),
        "JoinExpr" => !renames(from) && is_tables(from.field("larg")) && is_tables(from.field("rarg")),
        _ => false,
    }
}

/// Whether a table or a join gives its columns other names.
fn renames(from: &Tree) -> bool {
    !from.field("alias").field("colnames").items().is_empty() || !from.field("join_using_alias").is_none()
}

/// Names of what has rows: of tables and their aliases.
struct Rows<'a>(HashSet<&'a str>);

impl<'a> Rows<'a> {
    fn of(statement: &'a Tree) -> Self {
        let mut rows = Self(HashSet::new());
        rows.add(statement);
        rows
    }

    fn add(&mut self, tree: &'a Tree) {
        self.0.insert(match tree.kind() {
            "RangeVar" => tree.field("relname").text(),
            "Alias" => tree.field("aliasname").text(),
            "CommonTableExpr" => tree.field("ctename").text(),
            _ => "",
        });
        tree.children().for_each(|child| self.add(child));
    }
}

struct Reader<'a> {
    rows: &'a Rows<'a>,
    reads: Reads,
    /// A subquery was met.
    subqueries: bool,
}

impl<'a> Reader<'a> {
    fn new(rows: &'a Rows<'a>) -> Self {
        Self { rows, reads: Reads::default(), subqueries: false }
    }

    /// A statement whose own targets may be `*`.
    fn top(&mut self, statement: &Tree) {
        let Tree::Node(_, fields) = statement else { return };
        for (name, tree) in fields {
            let targets = match *name {
                "target_list" => Some(tree),
                "returning_clause" => Some(tree.field("exprs")),
                _ => None,
            };
            if let Some(targets) = targets {
                let written = targets.items().iter().filter(|target| !is_star(value_of(target)));
                written.for_each(|target| self.walk(target));
            } else {
                self.walk(tree);
            }
        }
    }

    fn walk(&mut self, tree: &Tree) {
        match tree.kind() {
            "ColumnRef" => self.column(tree.field("fields").items()),
            "AIndirection" => tree.field("indirection").items().iter().for_each(|part| match part.kind() {
                "AStar" => self.reads.whole_rows = true,
                _ => self.name(part.field("sval").text()),
            }),
            "SubLink" => {
                self.subqueries = true;
                // SubLinkType: exists. Its targets are not looked at.
                if tree.field("sub_link_type").int() == 1 {
                    return self.top(tree.field("subselect"));
                }
            }
            // Other names for the columns of a table.
            "RangeVar" | "JoinExpr" => self.reads.whole_rows |= renames(tree),
            _ => {}
        }
        tree.children().for_each(|child| self.walk(child));
    }

    fn column(&mut self, fields: &[Tree]) {
        let Some(last) = fields.last() else { return };
        let name = last.field("sval").text();
        let is_row = last.kind() == "AStar"
            || (fields.len() == 1 && self.rows.0.contains(name))
            || (fields.len() > 1 && OF_ROWS.contains(&name));
        self.reads.whole_rows |= is_row;
        self.name(name);
    }

    fn name(&mut self, name: &str) {
        super::note(&mut self.reads.columns, name);
        self.reads.bound();
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::facts;

    /// The columns that make up the result, `*` where any may be among them.
    fn read(sql: &str) -> String {
        let reads = facts(sql).unwrap().reads.clone();
        format!("{}{}", reads.columns.join(" "), if reads.whole_rows { " *" } else { "" })
    }

    /// The same for each column of the result; `?` where all of it may be in it.
    fn each(sql: &str) -> Option<Vec<String>> {
        let told = |reads: Option<super::Reads>| match reads {
            Some(reads) => format!("{}{}", reads.columns.join(" "), if reads.whole_rows { "*" } else { "" }),
            None => "?".to_owned(),
        };
        Some(facts(sql).unwrap().outputs.clone()?.into_iter().map(told).collect())
    }

    #[test]
    fn columns_are_known_by_the_last_part_of_their_names() {
        assert_eq!(read("SELECT upper(c.pan) || name FROM customer c WHERE id = 1"), "pan name id");
        assert_eq!(read("SELECT (SELECT \"Pan\" FROM customer) AS x"), "Pan");
        assert_eq!(read("SELECT pan FROM customer UNION SELECT ''"), "pan");
        assert_eq!(read("SELECT count(*) FROM customer"), "");
        assert_eq!(read("SELECT * FROM customer WHERE id = 1"), "id");
        assert_eq!(read("UPDATE customer SET name = upper(pan) RETURNING *"), "pan");
    }

    #[test]
    fn what_reads_rows_may_read_any_column() {
        for sql in [
            "SELECT row_to_json(c) FROM customer c",
            "SELECT customer::text FROM customer",
            "SELECT c.to_jsonb FROM customer c",
            "SELECT (c).pan FROM customer c",
            "SELECT count(c.*) FROM customer c",
            "SELECT upper(x) FROM (SELECT * FROM customer) AS c (a, b, x)",
            "SELECT upper(x) FROM customer AS c (a, b, x)",
            "WITH c (a, b, x) AS (TABLE customer) SELECT x || '' FROM c",
            "SELECT * FROM customer UNION TABLE customer",
            "WITH c AS (DELETE FROM customer RETURNING *) SELECT 1 FROM c",
        ] {
            assert!(read(sql).ends_with('*'), "{sql}: {}", read(sql));
        }
        for sql in [
            "SELECT 1 WHERE EXISTS (SELECT * FROM customer)",
            "SELECT n FROM generate_series(1, 3) AS g (n)",
            "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t) SELECT sum(n) FROM t",
        ] {
            assert!(!read(sql).ends_with('*'), "{sql}: {}", read(sql));
        }
    }

    #[test]
    fn what_each_column_is_made_of_is_told_where_it_is_written_out() {
        let each = |sql| each(sql).map(|each| each.join("|"));
        assert_eq!(each("SELECT count(*), upper(pan), 1 FROM customer WHERE name = ''").unwrap(), "|pan|");
        assert_eq!(each("SELECT now(), x || '' FROM (SELECT pan AS x FROM customer) AS s").unwrap(), "|?");
        assert_eq!(each("SELECT (SELECT pan FROM customer), id FROM customer").unwrap(), "?|id");
        assert_eq!(each("SELECT upper(x), 1 FROM customer AS c (a, x) WHERE a = 1").unwrap(), "?|");
        assert_eq!(each("EXPLAIN SELECT pan FROM customer").unwrap(), "");
        assert_eq!(each("SELECT *, 1 FROM customer"), None);
        assert_eq!(each("SELECT pan FROM customer UNION SELECT ''"), None);
        assert_eq!(each("SELECT 1; SELECT 2"), None);
    }
    #[test]
    fn many_columns_are_any_and_take_no_more_than_their_share_of_time() {
        let columns: Vec<String> = (0..30_000).map(|n| format!("c{n}")).collect();
        let sql = format!("SELECT {} FROM t", columns.join(", "));
        assert!(sql.len() < crate::sql::MAX_SQL);
        let start = std::time::Instant::now();
        let facts = facts(&sql).unwrap();
        assert!(facts.reads.whole_rows && facts.reads.columns.len() <= super::MAX_COLUMNS);
        assert_eq!(facts.outputs.as_ref().unwrap()[29_999].as_ref().unwrap().columns, ["c29999"]);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
