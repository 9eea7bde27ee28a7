//! The `given` of tests: only what a test can give, in its type. What it silently didn't give would prove nothing.

use super::Checker;
use super::conditions::example;
use super::names::Kind;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Fix};
use crate::fields::{FieldId, FieldInfo, FieldType, nearest};
use crate::syntax::tree::{Field, Test, Value};
use sluice_engine::JsonPath;

impl Checker<'_> {
    pub(crate) fn test(&self, unit: usize, test: &Test) {
        for (index, (field, value)) in test.given.iter().enumerate() {
            let Some(info) = self.known(unit, &field.name) else { continue };
            let same = |(other, _): &&(Field, Value)| {
                other.name.value == field.name.value
                    && other.path.as_ref().map(|p| &p.value) == field.path.as_ref().map(|p| &p.value)
            };
            if let Some((first, _)) = test.given[..index].iter().find(same) {
                let message = format!("`{}` is given twice", info.name);
                self.error(unit, &field.name.span, Code::DuplicateClause, message, |d| {
                    let d = d.related(&self.loaded.units[unit].source, first.name.span.clone(), "the first one");
                    d.label("the second one").help("keep one of them")
                });
            }
            self.given(unit, info, field, value);
        }
        if let Some(by) = &test.by {
            self.resolve(unit, Kind::Rule, by);
        }
    }

    fn given(&self, unit: usize, info: &FieldInfo, field: &Field, value: &Value) {
        if let Some(help) = instead(info.id) {
            let message = format!("a test can't give `{}`", info.name);
            return self.error(unit, &field.name.span, Code::NotGiven, message, |d| d.help(help));
        }
        match (info.id, &field.path) {
            (FieldId::ToolArg, Some(path)) => {
                if let Err(message) = JsonPath::parse(&path.value) {
                    self.error(unit, &path.span, Code::Path, message, |d| d.help("write it as in `$.customer.name`"));
                }
            }
            (FieldId::ToolArg, None) => {
                self.error(unit, &field.name.span, Code::Type, "`tool.arg` needs a path", |d| {
                    d.help(r#"write `tool.arg("$.table") "…"`"#)
                });
            }
            (_, Some(path)) => {
                self.error(unit, &path.span, Code::Type, format!("`{}` takes no path", info.name), |d| {
                    d.help(format!("write `{}` without parentheses", info.name))
                });
            }
            (_, None) => {}
        }
        match (info.kind, value) {
            (FieldType::Enum(words), Value::Word(word) | Value::Text(word)) => {
                if !words.contains(&word.value.as_str()) {
                    let message = format!("`{}` is never `{}`", info.name, word.value);
                    let near = nearest(&word.value, words.iter().copied());
                    self.error(unit, &word.span, Code::UnknownValue, message, |d| {
                        d.meant(near, &word.span, format!("it is one of: {}", words.join(", ")))
                    });
                }
            }
            (FieldType::Text | FieldType::Argument | FieldType::Texts, Value::Text(_)) => {}
            (FieldType::Text | FieldType::Argument | FieldType::Texts, Value::Word(word)) => {
                let message = format!("`{}` is not a string", word.value);
                let quoted = format!("\"{}\"", word.value);
                let title = format!("write it in quotes: `{quoted}`");
                self.error(unit, &word.span, Code::Type, message, |d| {
                    d.help(&title).fix(Fix::new(title, Applicability::Safe, word.span.clone(), quoted))
                });
            }
            (FieldType::Texts, Value::List(list)) => {
                for one in list.value.iter().filter(|one| !matches!(one, Value::Text(_))) {
                    self.error(unit, one.span(), Code::Type, "a string is expected here", |d| {
                        d.help("write it in quotes")
                    });
                }
            }
            (_, other) => {
                let message = format!("`{}` is {}, and this is not", info.name, info.kind.name());
                let shown = example(info).replace(" ==", "").replace(" has", "");
                let shown = shown.split('`').next().unwrap_or_default().to_owned();
                self.error(unit, other.span(), Code::Type, message, |d| d.help(format!("write `{shown}`")));
            }
        }
    }
}

/// What to do in the place of giving a field that the request itself decides; None for those that are given.
fn instead(field: FieldId) -> Option<&'static str> {
    Some(match field {
        FieldId::SqlVerb
        | FieldId::SqlVerbs
        | FieldId::SqlTables
        | FieldId::SqlHasWhere
        | FieldId::SqlStatements
        | FieldId::SqlFunctions => "`send` the SQL itself; it is parsed",
        FieldId::Size => "it is the size of what is sent",
        FieldId::TimeHour | FieldId::TimeWeekday => "it is the time at which the test runs",
        _ => return None,
    })
}
