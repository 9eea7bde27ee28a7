//! Every place of a file where a name is declared or used.

use crate::syntax::tree::{
    ActionKind, Condition, Field, File, ItemKind, Match, Name, PatternBody, Rule, Span, Test, Value,
};

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    List,
    Pattern,
    Scope,
    Rule,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Pattern => "pattern",
            Self::Scope => "scope",
            Self::Rule => "rule",
        }
    }
}

/// A name at a place.
#[derive(Clone, Debug)]
pub(super) struct Occurrence {
    pub(super) kind: Kind,
    /// As written, with its prefix.
    pub(super) name: Name,
    /// True where the name is declared.
    pub(super) declares: bool,
}

impl Occurrence {
    /// The place of the last part of the name, which a rename changes.
    pub(super) fn last(&self) -> Span {
        let last = self.name.value.rsplit('.').next().map_or(0, str::len);
        self.name.span.end - last..self.name.span.end
    }
}

/// All names of a file, in the order in which they stand. A word that could be a value of a field or the name of a list
/// counts as a name; whoever resolves it finds out.
pub(super) fn occurrences(file: &File) -> Vec<Occurrence> {
    let mut found = Found(Vec::new());
    for item in &file.items {
        match &item.kind {
            ItemKind::List(list) => {
                found.declare(Kind::List, &list.name);
                found.lists(&list.values);
            }
            ItemKind::Pattern(pattern) => {
                found.declare(Kind::Pattern, &pattern.name);
                match &pattern.body {
                    PatternBody::Words(values) => found.lists(values),
                    PatternBody::Detect(name) => found.take(Kind::Pattern, name),
                    PatternBody::Regex(_) => {}
                }
                if let Some(near) = &pattern.near {
                    found.lists(&near.words);
                }
            }
            ItemKind::Scope(scope) => {
                found.declare(Kind::Scope, &scope.name);
                found.condition(&scope.condition);
            }
            ItemKind::Rule(rule) => found.rule(rule),
            ItemKind::Except(except) => {
                found.take(Kind::Rule, &except.rule);
                found.condition(&except.when);
            }
            ItemKind::Test(Test { by: Some(name), .. }) => found.take(Kind::Rule, name),
            _ => {}
        }
    }
    found.0
}

/// The fields of a file's conditions and tests, each with the values it is compared with.
pub(super) fn fields(file: &File) -> Vec<(&Field, &Value)> {
    fn walk<'t>(condition: &'t Condition, out: &mut Vec<(&'t Field, &'t Value)>) {
        match condition {
            Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|part| walk(part, out)),
            Condition::Not(inner) => walk(inner, out),
            Condition::Compare { field, value, .. } => out.push((field, value)),
            Condition::Field(_) => {}
        }
    }
    let mut out = Vec::new();
    for item in &file.items {
        match &item.kind {
            ItemKind::Scope(scope) => walk(&scope.condition, &mut out),
            ItemKind::Except(except) => walk(&except.when, &mut out),
            ItemKind::Rule(rule) => rule.when.iter().chain(&rule.unless).for_each(|c| walk(c, &mut out)),
            ItemKind::Test(test) => out.extend(test.given.iter().map(|(field, value)| (field, value))),
            _ => {}
        }
    }
    out
}

struct Found(Vec<Occurrence>);

impl Found {
    fn declare(&mut self, kind: Kind, name: &Name) {
        self.0.push(Occurrence { kind, name: name.clone(), declares: true });
    }

    fn take(&mut self, kind: Kind, name: &Name) {
        self.0.push(Occurrence { kind, name: name.clone(), declares: false });
    }

    fn lists(&mut self, values: &[Value]) {
        for value in values {
            match value {
                Value::Word(name) => self.take(Kind::List, name),
                Value::List(list) => self.lists(&list.value),
                _ => {}
            }
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.declare(Kind::Rule, &rule.name);
        rule.scopes.iter().for_each(|name| self.take(Kind::Scope, name));
        rule.when.iter().for_each(|condition| self.condition(condition));
        rule.unless.iter().for_each(|condition| self.condition(condition));
        for one in &rule.matches {
            match one {
                Match::Pattern(name) => self.take(Kind::Pattern, name),
                Match::Column(values) => self.lists(values),
                Match::Json(_) => {}
            }
        }
        for action in &rule.actions {
            if let ActionKind::Approve { by, .. } = &action.value {
                self.lists(by);
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|part| self.condition(part)),
            Condition::Not(inner) => self.condition(inner),
            Condition::Compare { value, .. } => self.lists(std::slice::from_ref(value)),
            Condition::Field(_) => {}
        }
    }
}
