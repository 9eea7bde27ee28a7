//! The one table of fields: name, type, protocols. The checker, `rulec schema` and the reference are made from it.

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Any text.
    Text,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Several texts; `has` asks for one of them.
    Texts,
    /// Several words of a fixed set; a comparison holds where it holds for one of them, and where it relaxes a rule, for
    /// all of them.
    Enums(&'static [&'static str]),
    /// A number.
    Number,
    /// A number of bytes.
    Bytes,
    /// True or false.
    Flag,
    /// A value inside the arguments of a tool; takes a path: `tool.arg("$.table")`.
    Argument,
}

impl FieldType {
    /// In words, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Argument => "a text",
            Self::Enum(_) => "a word of a fixed set",
            Self::Texts => "a set of texts",
            Self::Enums(_) => "a set of words",
            Self::Number => "a number",
            Self::Bytes => "a size in bytes",
            Self::Flag => "true or false",
        }
    }
}

/// A field of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Which one.
    pub id: FieldId,
    /// The name in the language.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldType,
    /// The protocols that have it; empty: all.
    pub protocols: &'static [&'static str],
    /// True where it is known when the session opens.
    pub session: bool,
    /// One sentence for the reference.
    pub about: &'static str,
}

/// Every protocol there is.
pub const PROTOCOLS: &[&str] = &["mcp", "postgres", "mysql", "http", "ssh", "kubernetes", "redis", "mongodb", "tcp"];
/// The protocols whose requests are SQL.
pub const SQL_PROTOCOLS: &[&str] = &["postgres", "mysql"];
/// The protocols that have `sql.*`: MCP has it through `decode`.
pub const SQL_OR_DECODED: &[&str] = &["postgres", "mysql", "mcp"];
const MCP: &[&str] = &["mcp"];
const WEEKDAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The verbs of SQL statements.
pub const VERBS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "create",
    "alter",
    "alter_system",
    "drop",
    "grant",
    "revoke",
    "copy",
    "copy_program",
    "copy_file",
    "call",
    "do",
    "execute",
    "prepare",
    "deallocate",
    "explain",
    "set",
    "show",
    "reset",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "prepare_transaction",
    "lock",
    "vacuum",
    "analyze",
    "reindex",
    "cluster",
    "refresh",
    "comment",
    "listen",
    "notify",
    "unlisten",
    "declare",
    "fetch",
    "move",
    "close",
    "discard",
    "checkpoint",
    "load",
    "reassign",
    "import",
    "return",
    "security_label",
    "other",
];

macro_rules! fields {
    ($($id:ident $name:literal $kind:expr, $protocols:expr, $session:literal, $about:literal;)*) => {
        /// A field, by name in the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FieldId { $(#[doc = $about] $id,)* }

        /// The table.
        pub const FIELDS: &[FieldInfo] = &[$(FieldInfo {
            id: FieldId::$id, name: $name, kind: $kind, protocols: $protocols, session: $session, about: $about,
        },)*];
    };
}

use FieldType::{Argument, Bytes, Enum, Enums, Flag, Number, Text, Texts};

fields! {
    Protocol "protocol" Enum(PROTOCOLS), &[], true, "The protocol of the connection.";
    Target "target" Text, &[], true, "The name of the connection.";
    UserId "user.id" Text, &[], true, "The user: an e-mail or a subject.";
    UserEmail "user.email" Text, &[], true, "The user's e-mail.";
    UserKind "user.kind" Enum(&["person", "service"]), &[], true, "Whether a person or a program acts.";
    UserGroup "user.group" Texts, &[], true, "The user's groups.";
    SessionPurpose "session.purpose" Text, &[], true, "What the session is for.";
    SessionClient "session.client" Text, &[], true, "The client program.";
    SessionIp "session.ip" Text, &[], true, "The client's address.";
    McpMethod "mcp.method" Text, MCP, false, "The method of the request.";
    ToolName "tool.name" Text, MCP, false, "The tool that is called.";
    ToolArg "tool.arg" Argument, MCP, false, "An argument of the tool, by its path.";
    ResourceUri "resource.uri" Text, MCP, false, "The resource that is read.";
    PromptName "prompt.name" Text, MCP, false, "The prompt that is asked for.";
    SqlVerb "sql.verb" Enums(VERBS), SQL_OR_DECODED, false, "What the statements do.";
    SqlVerbs "sql.verbs" Enums(VERBS), SQL_OR_DECODED, false, "What the statements do; the same as `sql.verb`.";
    SqlTables "sql.tables" Texts, SQL_OR_DECODED, false, "The tables that are named.";
    SqlHasWhere "sql.has_where" Flag, SQL_OR_DECODED, false, "Whether every update and delete has a condition.";
    SqlStatements "sql.statements" Number, SQL_OR_DECODED, false, "How many statements there are.";
    SqlFunctions "sql.functions" Texts, SQL_OR_DECODED, false, "The functions that are called.";
    Column "column" Text, SQL_PROTOCOLS, false, "The column whose value is inspected.";
    TimeHour "time.hour" Number, &[], false, "The hour of the day, 0 to 23, in the gateway's time zone.";
    TimeWeekday "time.weekday" Enum(WEEKDAYS), &[], false, "The day of the week.";
    Size "size" Bytes, &[], false, "The size of the request in bytes.";
}

impl FieldId {
    /// Its line of the table.
    #[must_use]
    pub fn info(self) -> &'static FieldInfo {
        &FIELDS[self as usize]
    }
}

/// The field of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static FieldInfo> {
    FIELDS.iter().find(|field| field.name == name)
}

/// The nearest of `names` to `name`, where one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        // One letter of two says nothing.
        .filter(|(distance, candidate)| {
            let length = candidate.len().min(name.len());
            *distance <= if length < 3 { 0 } else { 1 + length / 4 }
        })
        .min()
        .map(|(_, candidate)| candidate)
}
