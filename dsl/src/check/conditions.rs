//! Conditions: fields, types, protocols; and their lowering.

use super::Checker;
use super::names::Kind;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Fix};
use crate::fields::{FIELDS, FieldId, FieldInfo, FieldType, PROTOCOLS, find, nearest};
use crate::policy::condition::{Cond, How, Test, Truth};
use crate::syntax::tree::{Condition, Field, Name, Operator, Rule, Spanned, Value};
use sluice_engine::JsonPath;
use std::collections::BTreeSet;

/// Where a condition stands.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) unit: usize,
    /// True in `unless` and `except`.
    pub(crate) relaxing: bool,
    /// The protocols that the scope leaves.
    pub(crate) protocols: BTreeSet<&'static str>,
    /// True where `decode` gives MCP its SQL.
    pub(crate) decoded: bool,
}

/// Every protocol.
pub(crate) fn all_protocols() -> BTreeSet<&'static str> {
    PROTOCOLS.iter().copied().collect()
}

impl Checker<'_> {
    /// The protocols for which a condition can hold.
    pub(crate) fn protocols(&self, unit: usize, condition: &Condition) -> BTreeSet<&'static str> {
        match condition {
            Condition::And(parts) => {
                parts.iter().map(|p| self.protocols(unit, p)).fold(all_protocols(), |a, b| &a & &b)
            }
            Condition::Or(parts) => parts.iter().map(|p| self.protocols(unit, p)).fold(BTreeSet::new(), |a, b| &a | &b),
            Condition::Not(inner) => match &**inner {
                Condition::Compare { field, .. } if field.name.value == "protocol" => {
                    &all_protocols() - &self.protocols(unit, inner)
                }
                _ => all_protocols(),
            },
            Condition::Compare { field, operator, value } if field.name.value == "protocol" => {
                let named = |value: &Value| match value {
                    Value::Word(w) | Value::Text(w) => vec![w.value.clone()],
                    _ => Vec::new(),
                };
                let words: Vec<String> = match value {
                    Value::List(list) => list.value.iter().flat_map(named).collect(),
                    Value::Word(name) if operator.value == Operator::In => {
                        self.find(unit, Kind::List, &name.value).map(|_| self.list(unit, name)).unwrap_or_default()
                    }
                    other => named(other),
                };
                let set: BTreeSet<_> = PROTOCOLS.iter().copied().filter(|p| words.iter().any(|w| w == p)).collect();
                if operator.value == Operator::NotEqual { &all_protocols() - &set } else { set }
            }
            _ => all_protocols(),
        }
    }

    /// The protocols for which a rule can hold, by its scopes and its `when`.
    pub(crate) fn rule_protocols(&self, unit: usize, rule: &Rule) -> BTreeSet<&'static str> {
        let scopes = rule.scopes.iter().filter_map(|name| self.find(unit, Kind::Scope, &name.value));
        let scopes = scopes
            .map(|(target, last)| self.protocols(target, &self.names.tables[target].scopes[last].condition))
            .reduce(|a, b| &a | &b);
        let scopes = scopes.unwrap_or_else(all_protocols);
        rule.when.iter().fold(scopes, |left, when| &left & &self.protocols(unit, when))
    }

    /// Checks and lowers. What is wrong is reported, and lowered to unknown.
    pub(crate) fn condition(&self, place: &Place, condition: &Condition, negated: bool) -> Cond {
        let parts = |parts: &[Condition]| parts.iter().map(|p| self.condition(place, p, negated)).collect();
        match condition {
            Condition::And(list) if negated => Cond::Any(parts(list)),
            Condition::And(list) => Cond::All(parts(list)),
            Condition::Or(list) if negated => Cond::All(parts(list)),
            Condition::Or(list) => Cond::Any(parts(list)),
            Condition::Not(inner) => self.condition(place, inner, !negated),
            Condition::Field(field) => self.flag(place, field, negated),
            Condition::Compare { field, operator, value } => {
                let test = self.field(place, field).and_then(|(info, path)| {
                    let (how, flip) = self.compare(place.unit, info, operator, value)?;
                    let negated = negated != flip;
                    Some(Cond::Test(Test { field: info.id, path, negated, every: place.relaxing, how }))
                });
                test.unwrap_or(Cond::Const(Truth::Unknown))
            }
        }
    }

    fn flag(&self, place: &Place, field: &Field, negated: bool) -> Cond {
        let Some((info, path)) = self.field(place, field) else { return Cond::Const(Truth::Unknown) };
        if info.kind != FieldType::Flag {
            let message = format!("`{}` is {}, so it needs a comparison", info.name, info.kind.name());
            self.error(place.unit, &field.name.span, Code::Type, message, |d| {
                d.help(format!("write `{}`", example(info)))
            });
            return Cond::Const(Truth::Unknown);
        }
        Cond::Test(Test { field: info.id, path, negated, every: place.relaxing, how: How::Flag })
    }

    /// The field's line of the table, checked against the protocols.
    fn field(&self, place: &Place, field: &Field) -> Option<(&'static FieldInfo, Option<JsonPath>)> {
        let info = self.known(place.unit, &field.name)?;
        if !info.protocols.is_empty() && !info.protocols.iter().any(|p| place.protocols.contains(p)) {
            let scope = place.protocols.iter().copied().collect::<Vec<_>>();
            let (of, left) = (words(info.protocols), if scope.is_empty() { "none".to_owned() } else { words(&scope) });
            let message = format!("`{}` is a field of {of}, and the scope leaves {left}", info.name);
            self.error(place.unit, &field.name.span, Code::Protocol, message, |d| {
                d.label("could never hold").help("widen the scope, or remove the condition")
            });
        }
        let only_mcp = place.protocols.len() == 1 && place.protocols.contains("mcp");
        if info.name.starts_with("sql.") && only_mcp && !place.decoded {
            let message = format!("`{}` needs to know where MCP tools keep their SQL", info.name);
            let help = r#"say so: `decode tool "query*" arg "$.sql" as sql`"#;
            self.error(place.unit, &field.name.span, Code::NeedsDecode, message, |d| d.help(help));
        }
        let path = match (info.id, &field.path) {
            (FieldId::ToolArg, Some(path)) => match JsonPath::parse(&path.value) {
                Ok(path) => Some(path),
                Err(message) => {
                    let help = "write it as in `$.customer.name`";
                    self.error(place.unit, &path.span, Code::Path, message, |d| d.help(help));
                    return None;
                }
            },
            (FieldId::ToolArg, None) => {
                let help = r#"write `tool.arg("$.table")`"#;
                self.error(place.unit, &field.name.span, Code::Type, "`tool.arg` needs a path", |d| d.help(help));
                return None;
            }
            (_, Some(path)) => {
                self.error(place.unit, &path.span, Code::Type, format!("`{}` takes no path", info.name), |d| {
                    d.help(format!("write `{}` without parentheses", info.name))
                });
                return None;
            }
            (_, None) => None,
        };
        Some((info, path))
    }

    /// The field of this name.
    pub(crate) fn known(&self, unit: usize, name: &Name) -> Option<&'static FieldInfo> {
        let found = find(&name.value);
        if found.is_none() {
            let near = nearest(&name.value, FIELDS.iter().map(|f| f.name));
            self.error(unit, &name.span, Code::UnknownField, format!("unknown field `{}`", name.value), |d| {
                d.meant(near, &name.span, "`rulec schema` prints all fields")
            });
        }
        found
    }

    /// How to test, and whether the operator turns the answer round.
    fn compare(
        &self,
        unit: usize,
        info: &FieldInfo,
        operator: &Spanned<Operator>,
        value: &Value,
    ) -> Option<(How, bool)> {
        use FieldType as T;
        use Operator as O;
        let wrong = || {
            let message = format!("`{}` is {}, which doesn't go with this operator", info.name, info.kind.name());
            self.error(unit, &operator.span, Code::Type, message, |d| {
                let d = d.help(format!("write `{}`", example(info)));
                // One text of a set is asked for by `has`, and nothing else can be meant.
                if info.kind == T::Texts && matches!(operator.value, O::Equal | O::In) {
                    d.fix(Fix::new("write `has`", Applicability::Safe, operator.span.clone(), "has"))
                } else {
                    d
                }
            });
            None
        };
        let flip = operator.value == O::NotEqual;
        match (info.kind, operator.value) {
            (T::Text | T::Argument, O::Equal | O::NotEqual) => {
                Some((How::AnyOf(vec![self.text(unit, value, operator)?]), flip))
            }
            (T::Text | T::Argument, O::In) | (T::Texts, O::Has) => {
                Some((How::AnyOf(self.several(unit, info, value)?), false))
            }
            (T::Text | T::Argument | T::Texts, O::Matches) => {
                Some((How::Glob(self.several(unit, info, value)?), false))
            }
            (T::Enum(words) | T::Enums(words), O::Equal | O::NotEqual) => {
                Some((How::AnyOf(self.words(unit, info, words, value)?), flip))
            }
            (T::Enum(words) | T::Enums(words), O::In) | (T::Enums(words), O::Has) => {
                Some((How::AnyOf(self.words_of(unit, info, words, value)?), false))
            }
            (T::Number | T::Bytes, O::Equal | O::NotEqual | O::Less | O::AtMost | O::Greater | O::AtLeast) => {
                let number = match (info.kind, value) {
                    (_, Value::Number(n)) => n.value,
                    (T::Bytes, Value::Size(n)) => n.value as f64,
                    (_, other) => return self.mistyped(unit, info, other),
                };
                Some((How::Number(operator.value, number), false))
            }
            (T::Flag, O::Equal | O::NotEqual) => match value {
                Value::Word(word) if word.value == "true" => Some((How::Flag, flip)),
                Value::Word(word) if word.value == "false" => Some((How::Flag, !flip)),
                other => self.mistyped(unit, info, other),
            },
            _ => wrong(),
        }
    }

    fn mistyped<T>(&self, unit: usize, info: &FieldInfo, value: &Value) -> Option<T> {
        let message = format!("`{}` is {}, and this is not", info.name, info.kind.name());
        self.error(unit, value.span(), Code::Type, message, |d| d.help(format!("write `{}`", example(info))));
        None
    }

    fn text(&self, unit: usize, value: &Value, operator: &Spanned<Operator>) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.value.clone()),
            Value::Word(word) => {
                let message = format!("`{}` is not a string", word.value);
                let list = self.find(unit, Kind::List, &word.value).is_some();
                self.error(unit, &word.span, Code::Type, message, |d| {
                    if list && operator.value == Operator::Equal {
                        let title = format!("write `in {}`", word.value);
                        let fix = Fix::new(&title, Applicability::Safe, operator.span.clone(), "in");
                        d.help(format!("`{}` is a list: {title}", word.value)).fix(fix)
                    } else if list {
                        d.help(format!("`{0}` is a list: write `not … in {0}`", word.value))
                    } else {
                        let quoted = format!("\"{}\"", word.value);
                        let title = format!("write it in quotes: `{quoted}`");
                        d.help(&title).fix(Fix::new(title, Applicability::Safe, word.span.clone(), quoted))
                    }
                });
                None
            }
            other => {
                self.error(unit, other.span(), Code::Type, "a string is expected here", |d| {
                    d.help("write it in quotes")
                });
                None
            }
        }
    }

    fn several(&self, unit: usize, info: &FieldInfo, value: &Value) -> Option<Vec<String>> {
        match value {
            Value::Text(_) | Value::Word(_) | Value::List(_) => {
                let before = self.diagnostics.borrow().len();
                let texts = self.texts(unit, std::slice::from_ref(value));
                if texts.is_empty() && before == self.diagnostics.borrow().len() {
                    let message = format!("nothing to compare `{}` with: the list is empty", info.name);
                    self.error(unit, value.span(), Code::UnknownValue, message, |d| {
                        d.help("give it a value, or remove the comparison")
                    });
                }
                Some(texts)
            }
            other => self.mistyped(unit, info, other),
        }
    }

    fn words(&self, unit: usize, info: &FieldInfo, words: &[&str], value: &Value) -> Option<Vec<String>> {
        let (Value::Word(name) | Value::Text(name)) = value else { return self.mistyped(unit, info, value) };
        self.word(unit, info, words, name).map(|word| vec![word])
    }

    fn words_of(&self, unit: usize, info: &FieldInfo, words: &[&str], value: &Value) -> Option<Vec<String>> {
        match value {
            Value::List(list) => {
                let found = list.value.iter().map(|v| self.words(unit, info, words, v));
                Some(found.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
            }
            Value::Word(name) if self.find(unit, Kind::List, &name.value).is_some() => {
                let texts = self.list(unit, name).into_iter();
                texts.map(|text| self.word(unit, info, words, &Spanned::new(text, name.span.clone()))).collect()
            }
            other => self.words(unit, info, words, other),
        }
    }

    fn word(&self, unit: usize, info: &FieldInfo, words: &[&str], name: &Name) -> Option<String> {
        if words.contains(&name.value.as_str()) {
            return Some(name.value.clone());
        }
        let near = nearest(&name.value, words.iter().copied());
        let message = format!("`{}` is never `{}`", info.name, name.value);
        self.error(unit, &name.span, Code::UnknownValue, message, |d| {
            d.meant(near, &name.span, format!("it is one of: {}", words.join(", ")))
        });
        None
    }
}

/// Words of the language in a row: `a`, `b` and `c`.
pub(crate) fn words(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// How a field is written in a condition, for messages.
pub(crate) fn example(info: &FieldInfo) -> String {
    let name = info.name;
    match info.kind {
        FieldType::Text => format!("{name} == \"…\"` or `{name} matches \"…*\""),
        FieldType::Argument => format!("{name}(\"$.table\") == \"…\""),
        FieldType::Enum(words) | FieldType::Enums(words) => {
            format!("{name} == {}` or `{name} in [{}]", words[0], words[..2.min(words.len())].join(", "))
        }
        FieldType::Texts => format!("{name} has \"…\""),
        FieldType::Number => format!("{name} > 1"),
        FieldType::Bytes => format!("{name} > 1MiB"),
        FieldType::Flag => format!("{name}` or `not {name}"),
    }
}
