//! The typed syntax tree. Every node that a message may point at has a span, in bytes of its file.

use std::ops::Range;

/// A place in a file, in bytes from its start.
pub type Span = Range<usize>;

/// A value with the place where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A name, dotted or not, as written: `card`, `std.pii.email`.
pub type Name = Spanned<String>;

/// A string literal, its escapes resolved; the span has the quotes.
pub type Text = Spanned<String>;

/// A file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// The items, in the order in which they stand.
    pub items: Vec<Item>,
    /// The comments, in the order in which they stand.
    pub comments: Vec<Comment>,
}

/// A comment, from `#` to the end of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// What stands after the `#`, trimmed.
    pub text: String,
    /// Where it stands, the `#` included.
    pub span: Span,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// All of it.
    pub span: Span,
}

impl Item {
    /// What it is and what it is called, where it has a name of its own.
    #[must_use]
    pub fn named(&self) -> Option<(&'static str, &Name)> {
        match &self.kind {
            ItemKind::Pack(pack) => Some(("pack", &pack.name)),
            ItemKind::List(list) => Some(("list", &list.name)),
            ItemKind::Pattern(pattern) => Some(("pattern", &pattern.name)),
            ItemKind::Scope(scope) => Some(("scope", &scope.name)),
            ItemKind::Rule(rule) => Some(("rule", &rule.name)),
            ItemKind::Test(test) => Some(("test", &test.name)),
            _ => None,
        }
    }
}

/// What a top-level item is.
// A file has few items, and most are rules: a box would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// `language 1`
    Language(Spanned<u64>),
    /// `pack acme.payments "2.3.0" { … }`
    Pack(Pack),
    /// `import std.pii "1"` or `import "./org.rules" as org`
    Import(Import),
    /// `defaults { mode enforce on_error block }`
    Defaults(Defaults),
    /// `list NAME = ["a", "b"]`
    List(List),
    /// `pattern NAME = …`
    Pattern(Pattern),
    /// `decode tool "query*" arg "$.sql" as sql`
    Decode(Decode),
    /// `scope NAME { … }`
    Scope(Scope),
    /// `rule NAME { … }`
    Rule(Rule),
    /// `except NAME { … }`
    Except(Except),
    /// `test "…" { … }`
    Test(Test),
}

/// The head of a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    /// Its dotted name.
    pub name: Name,
    /// Its version.
    pub version: Text,
    /// Who answers for it.
    pub owner: Option<Text>,
    /// When it was last reviewed.
    pub reviewed: Option<Spanned<jiff::civil::Date>>,
    /// `mode audit` or `mode enforce`.
    pub mode: Option<Spanned<Mode>>,
}

/// An import.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// From where.
    pub source: ImportSource,
    /// The prefix of its names; a pack's own name where none is given.
    pub alias: Option<Name>,
}

/// From where an import takes its names.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportSource {
    /// A pack by name and version.
    Pack {
        /// The dotted name.
        name: Name,
        /// The version, or its first numbers.
        version: Text,
    },
    /// A file, relative to the importing one.
    File(Text),
}

/// Whether a rule acts or only records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It acts.
    Enforce,
    /// It records what it would have done.
    Audit,
}

/// `defaults { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// `mode …`
    pub mode: Option<Spanned<Mode>>,
    /// `on_error …`; only `block` is allowed.
    pub on_error: Option<Name>,
}

/// A list of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Its name.
    pub name: Name,
    /// What it holds: texts, or names of other lists.
    pub values: Vec<Value>,
}

/// A named pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Its name.
    pub name: Name,
    /// What it searches for.
    pub body: PatternBody,
    /// `validate NAME(…)`, in order.
    pub validators: Vec<Validate>,
    /// `near […] within N`
    pub near: Option<Near>,
    /// `max N`, in bytes.
    pub max: Option<Spanned<u64>>,
    /// `nocase`
    pub nocase: Option<Span>,
    /// `base64`
    pub base64: Option<Span>,
}

/// What a pattern searches for.
#[derive(Clone, Debug, PartialEq)]
pub enum PatternBody {
    /// `/…/`; the text between the slashes.
    Regex(Text),
    /// `words […]`
    Words(Vec<Value>),
    /// `detect NAME`: another pattern, with more conditions.
    Detect(Name),
}

/// `validate NAME` or `validate NAME(NUMBER)`
#[derive(Clone, Debug, PartialEq)]
pub struct Validate {
    /// The validator.
    pub name: Name,
    /// Its argument.
    pub argument: Option<Spanned<f64>>,
}

/// `near […] within N`
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// The words, or names of lists.
    pub words: Vec<Value>,
    /// The window in bytes.
    pub within: Spanned<u64>,
}

/// `decode tool "query*" arg "$.sql" as sql`
#[derive(Clone, Debug, PartialEq)]
pub struct Decode {
    /// A glob over tool names.
    pub tool: Text,
    /// The path of the argument.
    pub arg: Text,
    /// What it is: `sql`.
    pub language: Name,
}

/// A named condition that says where rules hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: Name,
    /// Where it holds.
    pub condition: Condition,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: Name,
    /// `sealed`: no exception may touch it.
    pub sealed: Option<Span>,
    /// `meta { … }`
    pub meta: Meta,
    /// `mode …`
    pub mode: Option<Spanned<Mode>>,
    /// `on request|response|both`
    pub direction: Spanned<Direction>,
    /// `in NAME, …`: the scopes, of which one must hold.
    pub scopes: Vec<Name>,
    /// `when …`
    pub when: Option<Condition>,
    /// `unless …`
    pub unless: Option<Condition>,
    /// `match …`
    pub matches: Vec<Match>,
    /// `limit …`
    pub limit: Option<Limit>,
    /// `then …`
    pub actions: Vec<Action>,
    /// `priority N`
    pub priority: Option<Spanned<u64>>,
}

/// What people want to know about a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// `id "…"`
    pub id: Option<Text>,
    /// `severity low|medium|high|critical`
    pub severity: Option<Name>,
    /// `tags [a, b]`
    pub tags: Vec<Name>,
    /// `gdpr ["Art. 32"]`
    pub gdpr: Vec<Text>,
    /// `message "…"`
    pub message: Option<Text>,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the system behind.
    Request,
    /// Back.
    Response,
    /// Both ways.
    Both,
}

/// What a rule searches the bytes for.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// A pattern by name.
    Pattern(Name),
    /// `json "$.path"`
    Json(Text),
    /// `column NAME` or `column ["a", "b"]`: names of columns, or of lists of them.
    Column(Vec<Value>),
}

/// `limit 500 records per 10m by user.id`
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// How many.
    pub count: Spanned<u64>,
    /// The window, in seconds.
    pub per: Spanned<u64>,
    /// The field whose values are counted apart.
    pub by: Name,
    /// All of it.
    pub span: Span,
}

/// An action with its place.
pub type Action = Spanned<ActionKind>;

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// `block "message"`
    Block(Option<Text>),
    /// `mask STRATEGY(…)`
    Mask {
        /// `redact`, `partial`, …
        strategy: Name,
        /// Named arguments.
        arguments: Vec<(Name, Value)>,
    },
    /// `approve by […] count N ttl D wait D grant D estimate`
    Approve {
        /// Groups, or lists of them.
        by: Vec<Value>,
        /// How many must approve.
        count: Option<Spanned<u64>>,
        /// How long an approval holds, in seconds.
        ttl: Option<Spanned<u64>>,
        /// How long a request waits for it, in seconds.
        wait: Option<Spanned<u64>>,
        /// How long the same command goes on once it is approved, in seconds.
        grant: Option<Spanned<u64>>,
        /// Approvers are shown the server's estimate.
        estimate: bool,
    },
    /// `alert`
    Alert,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It doesn't hold.
    Not(Box<Condition>),
    /// A field that is true or false by itself.
    Field(Field),
    /// A comparison.
    Compare {
        /// The field.
        field: Field,
        /// How.
        operator: Spanned<Operator>,
        /// With what.
        value: Value,
    },
}

/// A field, with its path where it takes one: `tool.arg("$.table")`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The dotted name.
    pub name: Name,
    /// The path in parentheses.
    pub path: Option<Text>,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `in`
    In,
    /// `has`
    Has,
    /// `matches`
    Matches,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `"text"`
    Text(Text),
    /// `3`, `2.5`
    Number(Spanned<f64>),
    /// `8KiB`, in bytes.
    Size(Spanned<u64>),
    /// `10m`, in seconds.
    Duration(Spanned<u64>),
    /// A word: `postgres`, `true`, or the name of a list.
    Word(Name),
    /// `[…]`
    List(Spanned<Vec<Value>>),
}

impl Value {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            Self::Text(t) | Self::Word(t) => &t.span,
            Self::Number(n) => &n.span,
            Self::Size(n) | Self::Duration(n) => &n.span,
            Self::List(l) => &l.span,
        }
    }
}

/// `except RULE { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Except {
    /// The rule it relaxes.
    pub rule: Name,
    /// When.
    pub when: Condition,
    /// The last day on which it holds.
    pub until: Spanned<jiff::civil::Date>,
    /// Why.
    pub reason: Text,
    /// Who approved it.
    pub approved_by: Text,
}

/// `test "…" { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// A sentence.
    pub name: Text,
    /// Request or response.
    pub direction: Spanned<Direction>,
    /// What is given: fields and their values.
    pub given: Vec<(Field, Value)>,
    /// What is sent.
    pub send: Text,
    /// What must happen.
    pub expect: Spanned<Expect>,
    /// By which rule.
    pub by: Option<Name>,
}

/// What a test expects.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// `pass`: nothing happens.
    Pass,
    /// `block`
    Block,
    /// `approve`
    Approve,
    /// `alert`: passes unchanged, and is reported.
    Alert,
    /// `mask "…"`: this comes out.
    Mask(Text),
}
