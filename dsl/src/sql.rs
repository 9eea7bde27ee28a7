//! Facts about SQL, read with PostgreSQL's own parser: what a statement does, to which tables, by which functions.
//!
//! A fact errs on the side of the guard: what is stored for later (`PREPARE`, `CREATE RULE`) counts as done, a condition
//! that holds for every row counts as none, and what can't be parsed is an error, which rules take as a match. No parser
//! sees inside a `DO` body, a function or a text that is executed: those have verbs and names of their own to refuse.

mod known;
mod reads;
mod tree;
mod worker;

use known::Known;
pub use reads::Reads;
use std::sync::{Arc, LazyLock};
use thiserror::Error;
use tree::Tree;
pub use worker::{STACK, parse_on_this_thread};

/// The longest text that is parsed, in bytes. A longer one is an error, and so refused.
pub const MAX_SQL: usize = 256 * 1024;

/// What SQL does. Names are lower case unless quoted, as PostgreSQL folds them. No name stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlFacts {
    /// What is done: `select`, `insert`, `update`, `delete`, `merge`, `create`, `alter`, `drop`, `truncate`, `grant`, `revoke`,
    /// `copy`, `copy_program`, `copy_file`, `do`, `call`, `alter_system`, `explain`, … and `other` for a kind without a word.
    /// One for each statement, and one for each data-modifying part of it: a `WITH`, what `EXPLAIN ANALYZE` runs, what
    /// `PREPARE` keeps. A subquery's `select` is not listed.
    pub verbs: Vec<String>,
    /// Tables and views by name; one with a schema stands by both `name` and `schema.name`. Includes the names of common
    /// table expressions.
    pub tables: Vec<String>,
    /// False where an `update` or `delete` has no condition, or one that no row decides (`true`, `1 = 1`, `… or true`). Where
    /// there is neither, false where a top-level `select` from a table has none.
    pub has_where: bool,
    /// Number of statements.
    pub statements: usize,
    /// Functions called or defined, by name; one with a schema stands by both `name` and `schema.name`.
    pub functions: Vec<String>,
    /// Every constant and other text of the SQL as the server reads it: quotes and escapes are resolved. Names that stand
    /// for something in the database are left out.
    pub constants: Vec<String>,
    /// What `COPY` moves, once for each way of moving it.
    pub copies: Vec<CopyFacts>,
    /// What the results of all statements are made of.
    pub reads: Reads,
    /// What each column of the result is made of, where there is one statement that writes its columns out; None for a column that
    /// any of `reads` may be in.
    pub outputs: Option<Vec<Option<Reads>>>,
    /// Parameters that are set, by lower-case name, and their new values as text; None for one that is reset.
    pub settings: Vec<(String, Option<String>)>,
}

/// What a `COPY` does, and how the data is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyFacts {
    /// Into the database.
    pub from: bool,
    /// The columns that are named, in their order; empty: all, or those of a query.
    pub columns: Vec<String>,
    /// `text`, `csv`, `binary`, or what else the option `format` says.
    pub format: String,
    /// The option `delimiter`.
    pub delimiter: Option<String>,
    /// The option `null`.
    pub null: Option<String>,
    /// The option `quote`.
    pub quote: Option<String>,
    /// The option `escape`.
    pub escape: Option<String>,
    /// The option `encoding`.
    pub encoding: Option<String>,
    /// The first line names the columns.
    pub header: bool,
}

/// Why a text has no facts. The message never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SqlError {
    /// Longer than [`MAX_SQL`].
    #[error("the SQL is {0} bytes long; the most is {MAX_SQL}")]
    TooLong(usize),
    /// Not SQL as PostgreSQL reads it.
    #[error("PostgreSQL's parser doesn't accept the SQL")]
    Syntax,
    /// Nested deeper than the parser follows.
    #[error("the SQL is nested too deeply")]
    TooDeep,
    /// The thread that parses could not be started or was lost.
    #[error("the SQL parser is not available")]
    Unavailable,
}

/// Reads the facts of one text of SQL, which may hold several statements. Takes time linear in the text; a short one that was read
/// lately isn't read again.
///
/// # Errors
/// [`SqlError`]: the text is too long, too deep or not SQL. The caller takes this as a match of every guarding rule.
pub fn facts(sql: &str) -> Result<Arc<SqlFacts>, SqlError> {
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    if sql.len() > MAX_SQL {
        return Err(SqlError::TooLong(sql.len()));
    }
    if let Some(facts) = KNOWN.facts(sql) {
        return Ok(facts);
    }
    let facts = Arc::new(worker::run(sql)?);
    KNOWN.keep(sql.to_owned(), &facts);
    Ok(facts)
}

fn parse(sql: &str) -> Result<SqlFacts, SqlError> {
    let parsed = pg_query::parse(sql, 0).map_err(|error| match error {
        // The tree's wire form has a limit on its depth.
        pg_query::Error::Decode(_) => SqlError::TooDeep,
        // The parser's own checks of its stack.
        pg_query::Error::Parse(message) if message.contains("stack depth") || message.contains("exhausted") => {
            SqlError::TooDeep
        }
        _ => SqlError::Syntax,
    })?;
    let mut facts = Collector::default();
    for statement in &parsed.protobuf.stmts {
        let tree = Tree::of(&statement.stmt);
        facts.statement(&tree);
        facts.reads(&tree);
        facts.out.statements += 1;
    }
    Ok(facts.finish())
}

#[derive(Default)]
struct Collector {
    out: SqlFacts,
    /// An update or delete; whether one of them has no condition.
    changes: Option<bool>,
    /// A top-level select without a condition.
    open_select: bool,
}

impl Collector {
    /// A statement that is run, or kept to be run.
    fn statement(&mut self, tree: &Tree) {
        if tree.kind() == "SelectStmt" {
            self.verb("select");
            self.open_select |= open_select(tree);
            if !tree.field("into_clause").is_none() {
                self.verb("create");
            }
        }
        if tree.kind() == "VariableSetStmt" {
            // VariableSetKind: reset, reset all.
            self.verb(if tree.field("kind").int() >= 5 { "reset" } else { "set" });
        }
        self.walk(tree, true);
    }

    fn reads(&mut self, tree: &Tree) {
        let reads = reads::reads(tree);
        self.out.reads.whole_rows |= reads.whole_rows;
        for column in &reads.columns {
            note(&mut self.out.reads.columns, column);
            self.out.reads.bound();
        }
        self.out.outputs = if self.out.statements == 0 { reads::outputs(tree) } else { None };
    }

    fn finish(mut self) -> SqlFacts {
        self.out.has_where = match self.changes {
            Some(open) => !open,
            None => !self.open_select,
        };
        self.out
    }

    fn verb(&mut self, verb: &str) {
        note(&mut self.out.verbs, verb);
    }

    /// Collects from a node and all below it. `runs` is false inside a plain `EXPLAIN`, which plans and doesn't run.
    fn walk(&mut self, tree: &Tree, runs: bool) {
        let kind = tree.kind();
        if runs && kind.ends_with("Stmt") && kind != "SelectStmt" {
            for verb in verbs(tree) {
                self.verb(verb);
            }
        }
        let mut runs = runs;
        match kind {
            "VariableSetStmt" => setting(&mut self.out.settings, tree),
            "CopyStmt" => {
                let copy = copy(tree);
                if !self.out.copies.contains(&copy) {
                    self.out.copies.push(copy);
                }
            }
            _ => {}
        }
        self.constants(tree);
        match kind {
            "UpdateStmt" | "DeleteStmt" if runs => {
                let open = !decides(tree.field("where_clause"));
                self.changes = Some(self.changes.unwrap_or(false) || open);
            }
            "MergeStmt" if runs => {
                for clause in tree.field("merge_when_clauses").items() {
                    match clause.field("command_type").int() {
                        // CmdType: update, delete.
                        3 => self.verb("update"),
                        5 => self.verb("delete"),
                        _ => {}
                    }
                }
            }
            "ExplainStmt" => {
                runs = tree.field("options").items().iter().any(|option| option.field("defname").text() == "analyze");
                if runs {
                    self.inner(tree.field("query"));
                }
            }
            "PrepareStmt" | "DeclareCursorStmt" | "CreateTableAsStmt" | "CopyStmt" | "ViewStmt" if runs => {
                self.inner(tree.field("query"));
            }
            "RangeVar" => {
                let (schema, name) = (tree.field("schemaname").text(), tree.field("relname").text());
                qualified(&mut self.out.tables, &[schema, name]);
            }
            "FuncCall" => qualified(&mut self.out.functions, &names(tree.field("funcname"))),
            "CreateFunctionStmt" => qualified(&mut self.out.functions, &names(tree.field("funcname"))),
            "ObjectWithArgs" => qualified(&mut self.out.functions, &names(tree.field("objname"))),
            // ObjectType: foreign table, materialized view, table, view.
            "DropStmt" if matches!(tree.field("remove_type").int(), 19 | 24 | 42 | 52) => {
                for object in tree.field("objects").items() {
                    qualified(&mut self.out.tables, &names(object.field("items")));
                }
            }
            _ => {}
        }
        for child in tree.children() {
            self.walk(child, runs);
        }
    }

    /// The texts of a node that are no names of something: constants, and what statements carry beside them.
    fn constants(&mut self, tree: &Tree) {
        let texts: &[&str] = match tree.kind() {
            "AConst" => &["val"],
            "DefElem" => &["arg"],
            "CommentStmt" => &["comment"],
            "SecLabelStmt" => &["label"],
            "NotifyStmt" => &["payload"],
            "CopyStmt" => &["filename"],
            "CreatePublicationStmt" | "CreateSubscriptionStmt" | "AlterSubscriptionStmt" => &["conninfo"],
            _ => return,
        };
        for field in texts {
            let value = tree.field(field);
            for text in
                [value.text(), value.field("sval").text(), value.field("fval").text(), value.field("bsval").text()]
            {
                note(&mut self.out.constants, text);
            }
            if value.kind() == "Integer" {
                note(&mut self.out.constants, &value.field("ival").int().to_string());
            }
            for item in value.items() {
                note(&mut self.out.constants, item.field("sval").text());
            }
        }
    }

    /// The query of a statement that runs or keeps one: its verb counts, though a subquery's doesn't.
    fn inner(&mut self, query: &Tree) {
        if query.kind() == "SelectStmt" {
            self.verb("select");
            self.open_select |= open_select(query);
        }
    }
}

fn setting(settings: &mut Vec<(String, Option<String>)>, tree: &Tree) {
    let name = tree.field("name").text().to_ascii_lowercase();
    // VariableSetKind: a value.
    let value = (tree.field("kind").int() == 1).then(|| {
        let values = tree.field("args").items().iter().map(|arg| {
            let value = arg.field("val");
            match value.kind() {
                "Integer" => value.field("ival").int().to_string(),
                _ => value.field("sval").text().to_owned(),
            }
        });
        values.collect::<Vec<_>>().join(",")
    });
    let setting = (name, value);
    if !settings.contains(&setting) {
        settings.push(setting);
    }
}

fn copy(tree: &Tree) -> CopyFacts {
    let mut copy = CopyFacts {
        from: tree.field("is_from").is_true(),
        columns: names(tree.field("attlist")).into_iter().map(str::to_owned).collect(),
        format: "text".to_owned(),
        ..CopyFacts::default()
    };
    for option in tree.field("options").items() {
        let value = option.field("arg");
        let text = || Some(value.field("sval").text().to_owned());
        match option.field("defname").text() {
            "format" => copy.format = value.field("sval").text().to_ascii_lowercase(),
            "delimiter" => copy.delimiter = text(),
            "null" => copy.null = text(),
            "quote" => copy.quote = text(),
            "escape" => copy.escape = text(),
            "encoding" => copy.encoding = text(),
            "header" => {
                let off = ["false", "off"].contains(&value.field("sval").text().to_ascii_lowercase().as_str())
                    || value.field("boolval").kind() == "Boolean"
                    || (value.kind() == "Integer" && value.field("ival").is_none())
                    || (value.kind() == "Boolean" && !value.field("boolval").is_true());
                copy.header = !off;
            }
            _ => {}
        }
    }
    copy
}

fn note(list: &mut Vec<String>, name: &str) {
    if !name.is_empty() && !list.iter().any(|known| known == name) {
        list.push(name.to_owned());
    }
}

/// Notes the last part of a dotted name, and its last two parts where it has a schema.
fn qualified(list: &mut Vec<String>, parts: &[&str]) {
    let Some((name, rest)) = parts.split_last() else { return };
    note(list, name);
    if let Some(schema) = rest.last().filter(|schema| !schema.is_empty()) {
        note(list, &format!("{schema}.{name}"));
    }
}

fn names(list: &Tree) -> Vec<&str> {
    list.items().iter().map(|item| item.field("sval").text()).collect()
}

/// A select from a table without a condition. Of a union, one side is enough.
fn open_select(tree: &Tree) -> bool {
    let sides = [tree.field("larg"), tree.field("rarg")];
    if sides.iter().any(|side| !side.is_none()) {
        return sides.into_iter().any(open_select);
    }
    !tree.field("from_clause").is_none() && !decides(tree.field("where_clause"))
}

/// True where a condition depends on the row: it names a column, a parameter, a subquery or a cursor, and no `or` beside
/// it holds always.
fn decides(condition: &Tree) -> bool {
    match condition.kind() {
        "" => false,
        "BoolExpr" => {
            let mut args = condition.field("args").items().iter();
            // BoolExprType: and, or, not.
            if condition.field("boolop").int() == 2 { args.all(decides) } else { args.any(decides) }
        }
        "AExpr" => {
            let (left, right) = (condition.field("lexpr"), condition.field("rexpr"));
            let same = left.kind() == "ColumnRef" && right.kind() == "ColumnRef" && column(left) == column(right);
            !same && (reads_row(left) || reads_row(right))
        }
        _ => reads_row(condition),
    }
}

fn column(tree: &Tree) -> Vec<&str> {
    names(tree.field("fields"))
}

fn reads_row(tree: &Tree) -> bool {
    match tree.kind() {
        "ColumnRef" | "ParamRef" | "SubLink" | "CurrentOfExpr" => true,
        _ => tree.children().any(reads_row),
    }
}

/// The words for a statement. The kinds' names are the parser's; a kind that is not here goes by its first word, and
/// one without a known first word is `other`.
fn verbs(tree: &Tree) -> Vec<&'static str> {
    let kind = tree.kind();
    let flag = |name: &str| tree.field(name).is_true();
    let number = |name: &str| tree.field(name).int();
    vec![match kind {
        "InsertStmt" => "insert",
        "UpdateStmt" => "update",
        "DeleteStmt" => "delete",
        "MergeStmt" => "merge",
        "TruncateStmt" => "truncate",
        "CopyStmt" if flag("is_program") => return vec!["copy", "copy_program"],
        "CopyStmt" if !tree.field("filename").is_none() => return vec!["copy", "copy_file"],
        "CopyStmt" => "copy",
        "DoStmt" => "do",
        "CallStmt" => "call",
        "GrantStmt" | "GrantRoleStmt" => {
            if flag("is_grant") {
                "grant"
            } else {
                "revoke"
            }
        }
        "AlterSystemStmt" => return vec!["alter", "alter_system"],
        "AlterDefaultPrivilegesStmt" => "alter",
        "ExplainStmt" => "explain",
        "PrepareStmt" => "prepare",
        "ExecuteStmt" => "execute",
        "DeallocateStmt" => "deallocate",
        "DeclareCursorStmt" => "declare",
        "FetchStmt" if flag("ismove") => "move",
        "FetchStmt" => "fetch",
        "ClosePortalStmt" => "close",
        // Below another statement it is a clause, such as the SET of ALTER ROLE.
        "VariableSetStmt" => return Vec::new(),
        "ConstraintsSetStmt" => "set",
        "VariableShowStmt" => "show",
        "TransactionStmt" => match number("kind") {
            1 | 2 => "begin",
            3 | 9 => "commit",
            4 | 7 | 10 => "rollback",
            5 => "savepoint",
            6 => "release",
            8 => "prepare_transaction",
            _ => "other",
        },
        "ViewStmt" | "RuleStmt" | "IndexStmt" | "DefineStmt" | "CompositeTypeStmt" => "create",
        "RenameStmt" => "alter",
        "CommentStmt" => "comment",
        "SecLabelStmt" => "security_label",
        "NotifyStmt" => "notify",
        "ListenStmt" => "listen",
        "UnlistenStmt" => "unlisten",
        "LoadStmt" => "load",
        "ClusterStmt" => "cluster",
        "VacuumStmt" if flag("is_vacuumcmd") => "vacuum",
        "VacuumStmt" => "analyze",
        "RefreshMatViewStmt" => "refresh",
        "CheckPointStmt" => "checkpoint",
        "DiscardStmt" => "discard",
        "LockStmt" => "lock",
        "ReindexStmt" => "reindex",
        "ReassignOwnedStmt" => "reassign",
        "ImportForeignSchemaStmt" => "import",
        // Part of a function's body.
        "ReturnStmt" => "return",
        // Part of an ALTER TABLE.
        "ReplicaIdentityStmt" => "alter",
        _ if kind.starts_with("Create") => "create",
        _ if kind.starts_with("Alter") => "alter",
        _ if kind.starts_with("Drop") => "drop",
        _ => "other",
    }]
}

#[cfg(test)]
mod tests;
