//! Conditions, lowered: no names, no negation but at the tests, and four truths.
//!
//! - A test on what the request doesn't have (a tool's name where no tool is called) is [`Truth::NotApplicable`], and so
//!   is its negation; a rule whose whole condition is not applicable doesn't hold.
//! - A test that can't be decided (SQL that no parser accepts) is [`Truth::Unknown`]: it counts as true where it makes a
//!   rule hold, and as false where it relaxes one.

use super::facts::{RequestFacts, SessionFacts};
use super::origin::{Origin, Origins};
use crate::fields::FieldId;
use crate::sql::SqlFacts;
use crate::syntax::tree::Operator;
use sluice_engine::{JsonPath, PathStep};

/// The value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
    NotApplicable,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cond {
    All(Vec<Cond>),
    Any(Vec<Cond>),
    Test(Test),
    Const(Truth),
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) field: FieldId,
    pub(crate) path: Option<JsonPath>,
    pub(crate) negated: bool,
    /// Of several values all must pass, not one: where a condition relaxes a rule.
    pub(crate) every: bool,
    pub(crate) how: How,
}

/// How a value is tested.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    Flag,
    AnyOf(Vec<String>),
    Glob(Vec<String>),
    Number(Operator, f64),
}

/// What a condition is evaluated over.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) session: &'a SessionFacts,
    /// None while only the session is known.
    pub(crate) request: Option<View<'a>>,
}

/// A request with one of its SQL texts.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) facts: &'a RequestFacts,
    /// None: no SQL; an error: SQL that can't be parsed.
    pub(crate) sql: Option<Result<&'a SqlFacts, ()>>,
    pub(crate) now: &'a jiff::ZonedDateTime,
}

/// The values of a field.
enum Values<'a> {
    Texts(Vec<std::borrow::Cow<'a, str>>),
    /// Several words of which a comparison picks one; negation is per word.
    Words(&'a [String]),
    /// A column: its name in the result, and where its values come from.
    Columns(&'a str, &'a [Origin]),
    Number(f64),
    Flag(bool),
    Unknown,
    NotApplicable,
    /// The field is of the request, which isn't known yet.
    Later,
}

impl Cond {
    pub(crate) fn truth(&self, facts: Facts<'_>) -> Truth {
        match self {
            Self::Const(truth) => *truth,
            Self::Test(test) => test.truth(facts),
            Self::All(parts) => all(parts.iter().map(|part| part.truth(facts))),
            Self::Any(parts) => any(parts.iter().map(|part| part.truth(facts))),
        }
    }

    /// Whether a test speaks of such a field.
    pub(crate) fn asks(&self, field: fn(&crate::fields::FieldInfo) -> bool) -> bool {
        match self {
            Self::Const(_) => false,
            Self::Test(test) => field(test.field.info()),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.asks(field)),
        }
    }

    /// The truth of a condition that asks nothing: of constants alone.
    pub(crate) fn constant(&self) -> Truth {
        match self {
            Self::Const(truth) => *truth,
            // A test is decided by facts, and there are none.
            Self::Test(_) => Truth::Unknown,
            Self::All(parts) => all(parts.iter().map(Self::constant)),
            Self::Any(parts) => any(parts.iter().map(Self::constant)),
        }
    }

    /// The same condition with what the session decides put in.
    pub(crate) fn specialise(&self, session: &SessionFacts) -> Self {
        let facts = Facts { session, request: None };
        match self {
            Self::Const(truth) => Self::Const(*truth),
            Self::Test(test) if test.field.info().session => Self::Const(test.truth(facts)),
            Self::Test(_) => self.clone(),
            Self::All(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.specialise(session)).collect();
                if parts.contains(&Self::Const(Truth::False)) {
                    return Self::Const(Truth::False);
                }
                fold(parts, Self::All, all)
            }
            Self::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.specialise(session)).collect();
                if parts.contains(&Self::Const(Truth::True)) {
                    return Self::Const(Truth::True);
                }
                fold(parts, Self::Any, any)
            }
        }
    }

    /// What made it true, for people: names of fields, and words of the fixed sets; never a value of the user's.
    pub(crate) fn reasons(&self, facts: Facts<'_>, out: &mut Vec<String>) {
        match self {
            Self::Const(_) => {}
            Self::All(parts) | Self::Any(parts) => {
                for part in parts.iter().filter(|p| matches!(p.truth(facts), Truth::True | Truth::Unknown)) {
                    part.reasons(facts, out);
                }
            }
            Self::Test(test) => out.push(test.reason(facts)),
        }
    }
}

fn fold(parts: Vec<Cond>, keep: fn(Vec<Cond>) -> Cond, join: fn(std::vec::IntoIter<Truth>) -> Truth) -> Cond {
    let consts: Vec<Truth> =
        parts.iter().filter_map(|part| if let Cond::Const(truth) = part { Some(*truth) } else { None }).collect();
    if consts.len() == parts.len() { Cond::Const(join(consts.into_iter())) } else { keep(parts) }
}

fn all(parts: impl Iterator<Item = Truth>) -> Truth {
    let (mut unknown, mut inapplicable, mut truths) = (false, false, false);
    for part in parts {
        match part {
            Truth::False => return Truth::False,
            Truth::Unknown => unknown = true,
            Truth::NotApplicable => inapplicable = true,
            Truth::True => truths = true,
        }
    }
    match (inapplicable, unknown || truths) {
        (true, true) => Truth::False,
        (true, false) => Truth::NotApplicable,
        (false, _) if unknown => Truth::Unknown,
        (false, _) => Truth::True,
    }
}

fn any(parts: impl Iterator<Item = Truth>) -> Truth {
    let (mut unknown, mut inapplicable, mut falsehoods) = (false, false, false);
    for part in parts {
        match part {
            Truth::True => return Truth::True,
            Truth::Unknown => unknown = true,
            Truth::NotApplicable => inapplicable = true,
            Truth::False => falsehoods = true,
        }
    }
    match (unknown, inapplicable && !falsehoods) {
        (true, _) => Truth::Unknown,
        (false, true) => Truth::NotApplicable,
        (false, false) => Truth::False,
    }
}

impl Test {
    pub(crate) fn truth(&self, facts: Facts<'_>) -> Truth {
        let held = match (self.values(facts), &self.how) {
            (Values::Unknown, _) => return Truth::Unknown,
            (Values::NotApplicable, _) => return Truth::NotApplicable,
            (Values::Later, _) => return Truth::Unknown,
            (Values::Flag(flag), _) => flag != self.negated,
            (Values::Number(number), How::Number(operator, with)) => compare(number, *operator, *with) != self.negated,
            (Values::Texts(texts), how) => {
                let one = texts.iter().any(|text| how.holds(text));
                // With no value nothing is equal, so a negation holds.
                if self.every && texts.len() > 1 && self.field == FieldId::ToolArg {
                    texts.iter().all(|text| how.holds(text) != self.negated)
                } else {
                    one != self.negated
                }
            }
            // For each word by itself: `not sql.verb == select` holds where one statement is something else.
            (Values::Words(words), how) => {
                let holds = |word: &String| how.holds(word) != self.negated;
                if self.every { !words.is_empty() && words.iter().all(holds) } else { words.iter().any(holds) }
            }
            // The name in the result is the client's word: alone it relaxes nothing.
            (Values::Columns(_, origins), how) if self.every => {
                let holds = |origin: &Origin| origin.names().iter().any(|name| how.holds(name)) != self.negated;
                !origins.is_empty() && origins.iter().all(holds)
            }
            (Values::Columns(label, origins), how) => {
                let holds = |origin: &Origin| how.may_hold(origin) != self.negated;
                how.holds(label) != self.negated || origins.iter().any(holds) || (origins.is_empty() && self.negated)
            }
            // The checker lets no other pair through; an error counts as a match.
            (Values::Number(_), _) => return Truth::Unknown,
        };
        if held { Truth::True } else { Truth::False }
    }

    fn values<'a>(&self, facts: Facts<'a>) -> Values<'a> {
        let session = facts.session;
        let text = |text: Option<&'a String>| Values::Texts(text.into_iter().map(|t| t.as_str().into()).collect());
        match self.field {
            FieldId::Protocol => return text(Some(&session.protocol)),
            FieldId::Target => return text(Some(&session.target)),
            FieldId::UserId => return text(Some(&session.user_id)),
            FieldId::UserEmail => return text(session.user_email.as_ref()),
            FieldId::UserGroup => {
                return Values::Texts(session.user_groups.iter().map(|g| g.as_str().into()).collect());
            }
            FieldId::SessionPurpose => return text(session.purpose.as_ref()),
            FieldId::SessionClient => return text(session.client.as_ref()),
            FieldId::SessionIp => return text(session.ip.as_ref()),
            FieldId::UserKind => return Values::Texts(vec![session.user_kind.name().into()]),
            _ => {}
        }
        let Some(view) = facts.request else { return Values::Later };
        let optional =
            |value: Option<&'a String>| value.map_or(Values::NotApplicable, |v| Values::Texts(vec![v.as_str().into()]));
        let request = view.facts;
        match self.field {
            FieldId::McpMethod => optional(request.mcp_method.as_ref()),
            FieldId::ToolName => optional(request.tool_name.as_ref()),
            FieldId::ResourceUri => optional(request.resource_uri.as_ref()),
            FieldId::PromptName => optional(request.prompt_name.as_ref()),
            FieldId::Column => match (&request.column, &request.origins) {
                (None, _) => Values::NotApplicable,
                (Some(_), Origins::Unknown) => Values::Unknown,
                (Some(label), Origins::Of(origins)) => Values::Columns(label, origins),
                (Some(label), Origins::Untold) => Values::Texts(vec![label.as_str().into()]),
            },
            FieldId::Size => Values::Number(request.size as f64),
            FieldId::TimeHour => Values::Number(f64::from(view.now.hour())),
            FieldId::TimeWeekday => Values::Texts(vec![weekday(view.now).into()]),
            FieldId::ToolArg => match (&request.tool_name, &request.tool_args, &self.path) {
                (None, _, _) => Values::NotApplicable,
                (_, Some(args), Some(path)) => {
                    Values::Texts(select(args, &path.steps).into_iter().map(|v| argument(v).into()).collect())
                }
                _ => Values::Texts(Vec::new()),
            },
            _ => match view.sql {
                None => Values::NotApplicable,
                Some(Err(())) => Values::Unknown,
                Some(Ok(sql)) => match self.field {
                    FieldId::SqlVerb | FieldId::SqlVerbs => Values::Words(&sql.verbs),
                    FieldId::SqlTables => {
                        let mut tables: Vec<_> = sql.tables.iter().map(|t| t.as_str().into()).collect();
                        match &request.origins {
                            // It could be any table.
                            Origins::Unknown => return Values::Unknown,
                            // What a view reads is named by the view alone. Where a condition relaxes a rule, no more is known than is said.
                            Origins::Of(origins) if !self.every => {
                                tables.extend(origins.iter().flat_map(Origin::tables).map(Into::into));
                            }
                            _ => {}
                        }
                        Values::Texts(tables)
                    }
                    FieldId::SqlFunctions => Values::Texts(sql.functions.iter().map(|t| t.as_str().into()).collect()),
                    FieldId::SqlHasWhere => Values::Flag(sql.has_where),
                    FieldId::SqlStatements => Values::Number(sql.statements as f64),
                    _ => Values::Unknown,
                },
            },
        }
    }

    fn reason(&self, facts: Facts<'_>) -> String {
        let name = self.field.info().name;
        match self.values(facts) {
            Values::Words(words) => {
                let words: Vec<_> =
                    words.iter().filter(|w| self.how.holds(w) != self.negated).map(String::as_str).collect();
                format!("{name} = {}", words.join(", "))
            }
            Values::Flag(flag) => format!("{name} = {flag}"),
            Values::Unknown => format!("{name} can't be told: the SQL can't be parsed"),
            _ => name.to_owned(),
        }
    }
}

impl How {
    /// How many words it compares with.
    pub(crate) fn words(&self) -> usize {
        match self {
            Self::AnyOf(words) | Self::Glob(words) => words.len(),
            Self::Flag | Self::Number(..) => 0,
        }
    }

    /// Whether a column may be meant, negation left aside.
    fn may_hold(&self, origin: &Origin) -> bool {
        match self {
            Self::AnyOf(words) => words.iter().any(|word| origin.answers(word)),
            // Of a table that isn't known, the glob of the column has to do.
            Self::Glob(globs) if origin.table.is_none() => {
                globs.iter().any(|each| glob(each.rsplit('.').next().unwrap_or(each), &origin.column))
            }
            _ => origin.names().iter().any(|name| self.holds(name)),
        }
    }

    /// Whether a text passes, negation left aside.
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            Self::AnyOf(words) => words.iter().any(|word| word == text),
            Self::Glob(globs) => globs.iter().any(|g| glob(g, text)),
            Self::Flag => text == "true",
            Self::Number(operator, with) => text.parse().is_ok_and(|number| compare(number, *operator, *with)),
        }
    }
}

fn compare(number: f64, operator: Operator, with: f64) -> bool {
    match operator {
        Operator::Less => number < with,
        Operator::AtMost => number <= with,
        Operator::Greater => number > with,
        Operator::AtLeast => number >= with,
        Operator::NotEqual => (number - with).abs() > f64::EPSILON,
        _ => (number - with).abs() <= f64::EPSILON,
    }
}

pub(crate) fn weekday(now: &jiff::ZonedDateTime) -> &'static str {
    use jiff::civil::Weekday;
    match now.weekday() {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

fn argument(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `*` stands for any characters, `?` for one. Takes time linear in the product of the lengths.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    p = back + 1;
                    t = from + 1;
                    star = Some((back, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The values at a path.
pub(crate) fn select<'v>(value: &'v serde_json::Value, steps: &[PathStep]) -> Vec<&'v serde_json::Value> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let children = || -> Vec<&'v serde_json::Value> {
        match value {
            serde_json::Value::Array(items) => items.iter().collect(),
            serde_json::Value::Object(members) => members.values().collect(),
            _ => Vec::new(),
        }
    };
    match step {
        PathStep::Key(key) => value.get(key).map(|v| select(v, rest)).unwrap_or_default(),
        PathStep::Index(index) => value.get(index).map(|v| select(v, rest)).unwrap_or_default(),
        PathStep::Any => children().into_iter().flat_map(|v| select(v, rest)).collect(),
        PathStep::Descend => {
            let mut found = select(value, rest);
            for child in children() {
                found.extend(select(child, steps));
            }
            found
        }
    }
}
