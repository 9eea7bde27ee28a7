//! Which name means what: a file's own names, and those of its imports with their prefix.

use super::Checker;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::fields::nearest;
use crate::load::{Loaded, Unit};
use crate::syntax::lookalike::skeleton;
use crate::syntax::tree::{self, ItemKind, Name, Value};
use std::collections::BTreeMap;

/// The names of one file.
#[derive(Debug, Default)]
pub(crate) struct Table<'a> {
    pub(crate) lists: BTreeMap<&'a str, &'a tree::List>,
    pub(crate) patterns: BTreeMap<&'a str, &'a tree::Pattern>,
    pub(crate) scopes: BTreeMap<&'a str, &'a tree::Scope>,
    pub(crate) rules: BTreeMap<&'a str, &'a tree::Rule>,
}

/// The names of all files.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    pub(crate) tables: Vec<Table<'a>>,
}

impl<'a> Names<'a> {
    pub(crate) fn collect(loaded: &'a Loaded, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let tables = loaded.units.iter().map(|unit| Table::collect(unit, diagnostics)).collect();
        duplicates(loaded, diagnostics);
        Self { tables }
    }
}

impl<'a> Table<'a> {
    fn collect(unit: &'a Unit, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut table = Self::default();
        let mut versions = 0;
        let mut packs = 0;
        let mut tests: BTreeMap<&str, ()> = BTreeMap::new();
        let mut first: BTreeMap<(&str, &str), &'a Name> = BTreeMap::new();
        let mut alike: BTreeMap<(&str, String), &'a Name> = BTreeMap::new();
        for (index, item) in unit.tree.items.iter().enumerate() {
            if let Some((kind, name)) = item.named() {
                first.entry((kind, &name.value)).or_insert(name);
                let other = alike.entry((kind, skeleton(&name.value))).or_insert(name);
                if other.value != name.value && kind != "test" {
                    let message = format!("{kind} `{}` is easily taken for `{}`", name.value, other.value);
                    let d = Diagnostic::new(&unit.source, name.span.clone(), Code::Confusable, message);
                    let d = d.related(&unit.source, other.span.clone(), "the other one");
                    diagnostics.push(d.help("rename one of them: `0` and `O`, `1`, `I` and `l` look alike"));
                }
            }
            let name = match &item.kind {
                ItemKind::List(i) => table.lists.insert(&i.name.value, i).map(|_| ("list", &i.name)),
                ItemKind::Pattern(i) => table.patterns.insert(&i.name.value, i).map(|_| ("pattern", &i.name)),
                ItemKind::Scope(i) => table.scopes.insert(&i.name.value, i).map(|_| ("scope", &i.name)),
                ItemKind::Rule(i) => table.rules.insert(&i.name.value, i).map(|_| ("rule", &i.name)),
                ItemKind::Test(i) => tests.insert(&i.name.value, ()).map(|()| ("test", &i.name)),
                ItemKind::Pack(i) => {
                    packs += 1;
                    (packs > 1).then_some(("pack", &i.name))
                }
                ItemKind::Language(version) => {
                    versions += 1;
                    if version.value != 1 || versions > 1 || index > 0 {
                        let message = match version.value {
                            1 => "`language` is the first item of a file, once".to_owned(),
                            other => format!("there is no version {other} of the language"),
                        };
                        let d = Diagnostic::new(&unit.source, item.span.clone(), Code::Language, message);
                        let d = d.help("start the file with `language 1`, and say it once");
                        diagnostics.push(match version.value {
                            1 => d,
                            _ => d.fix(Fix::new(
                                "write `language 1`",
                                Applicability::Suggested,
                                item.span.clone(),
                                "language 1",
                            )),
                        });
                    }
                    None
                }
                _ => None,
            };
            if let Some((kind, name)) = name {
                let message = format!("{kind} `{}` stands twice", name.value);
                let d = Diagnostic::new(&unit.source, name.span.clone(), Code::DuplicateName, message);
                let d = d.label("the second one").help("rename one of them; nothing is overridden");
                diagnostics.push(match first.get(&(kind, name.value.as_str())) {
                    Some(other) => d.related(&unit.source, other.span.clone(), "the first one"),
                    None => d,
                });
            }
        }
        if versions == 0 && !unit.tree.items.is_empty() {
            let d = Diagnostic::new(&unit.source, 0..0, Code::Language, "the file doesn't say its language version");
            let end = if unit.source.text.contains("\r\n") { "\r\n" } else { "\n" };
            let fix =
                Fix::new("start the file with `language 1`", Applicability::Safe, 0..0, format!("language 1{end}"));
            diagnostics.push(d.help("start the file with `language 1`").fix(fix));
        }
        table
    }
}

/// Rules of one name in one pack, and of one id anywhere among the given files.
fn duplicates(loaded: &Loaded, diagnostics: &mut Vec<Diagnostic>) {
    let mut names: BTreeMap<(&str, &str), (usize, &Name)> = BTreeMap::new();
    let mut ids: BTreeMap<&str, (usize, &tree::Rule)> = BTreeMap::new();
    for (index, unit) in loaded.units.iter().enumerate().filter(|(_, unit)| unit.given) {
        for item in &unit.tree.items {
            let ItemKind::Rule(rule) = &item.kind else { continue };
            let key = (unit.pack.as_str(), rule.name.value.as_str());
            // Within one file the table has said so.
            if let Some((other, first)) = names.insert(key, (index, &rule.name))
                && other != index
            {
                let message = format!("rule `{}` stands in two files of pack `{}`", key.1, key.0);
                let d = Diagnostic::new(&unit.source, rule.name.span.clone(), Code::DuplicateName, message);
                let d = d.related(&loaded.units[other].source, first.span.clone(), "the first one");
                diagnostics.push(d.label("the second one").help("rename one of them; nothing is overridden"));
            }
            if let Some(id) = &rule.meta.id
                && let Some((other, first)) = ids.insert(&id.value, (index, rule))
            {
                let message = format!("id `{}` is also that of rule `{}`", id.value, first.name.value);
                let d = Diagnostic::new(&unit.source, id.span.clone(), Code::DuplicateId, message);
                let at = first.meta.id.as_ref().map_or(&first.name.span, |id| &id.span);
                let d = d.related(&loaded.units[other].source, at.clone(), "the first one");
                diagnostics.push(d.label("the second one").help("give this rule an id of its own"));
            }
        }
    }
}

/// The kinds of named things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    List,
    Pattern,
    Scope,
    Rule,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Pattern => "pattern",
            Self::Scope => "scope",
            Self::Rule => "rule",
        }
    }
}

impl<'a> Checker<'a> {
    fn names_of(&self, unit: usize, kind: Kind) -> Vec<&'a str> {
        let table = &self.names.tables[unit];
        match kind {
            Kind::List => table.lists.keys().copied().collect(),
            Kind::Pattern => table.patterns.keys().copied().collect(),
            Kind::Scope => table.scopes.keys().copied().collect(),
            Kind::Rule => table.rules.keys().copied().collect(),
        }
    }

    /// The unit and the last part of a name that exists.
    pub(crate) fn find<'n>(&self, unit: usize, kind: Kind, name: &'n str) -> Option<(usize, &'n str)> {
        let (target, last) = self.split(unit, name)?;
        let found = self.names_of(target, kind).contains(&last);
        if found {
            self.used.borrow_mut().insert((target, kind.word(), last.to_owned()));
        }
        found.then_some((target, last))
    }

    /// The unit that a name's prefix means, and the rest.
    pub(crate) fn split<'n>(&self, unit: usize, name: &'n str) -> Option<(usize, &'n str)> {
        self.loaded.split(unit, name)
    }

    /// The same, with an error where it doesn't exist.
    pub(crate) fn resolve<'n>(&self, unit: usize, kind: Kind, name: &'n Name) -> Option<(usize, &'n str)> {
        let found = self.find(unit, kind, &name.value);
        if found.is_none() && !self.unread(unit, kind, &name.value) {
            let mut known: Vec<String> = self.names_of(unit, kind).into_iter().map(str::to_owned).collect();
            for (prefix, target) in &self.loaded.units[unit].imports {
                known.extend(self.names_of(*target, kind).into_iter().map(|n| format!("{prefix}.{n}")));
            }
            let near = nearest(&name.value, known.iter().map(String::as_str)).map(str::to_owned);
            let near = near.or_else(|| known.iter().find(|k| k.ends_with(&format!(".{}", name.value))).cloned());
            self.error(unit, &name.span, Code::UnknownName, format!("unknown {} `{}`", kind.word(), name.value), |d| {
                let otherwise = format!("declare it with `{} {} …`, or import it", kind.word(), name.value);
                d.meant(near.as_deref(), &name.span, otherwise)
            });
        }
        found
    }

    /// Whether an item of this name stands where a file can't be read: that is told, and that it is unknown follows from it.
    fn unread(&self, unit: usize, kind: Kind, name: &str) -> bool {
        let Some((target, last)) = self.split(unit, name) else { return false };
        let read = &self.loaded.units[target];
        let words = || read.source.text.split_whitespace();
        let own = |word: &str| word.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next() == Some(last);
        !read.whole && words().zip(words().skip(1)).any(|(first, second)| first == kind.word() && own(second))
    }

    /// The texts of a list by name.
    pub(crate) fn list(&self, unit: usize, name: &Name) -> Vec<String> {
        self.list_within(unit, name, &mut Vec::new())
    }

    fn list_within(&self, unit: usize, name: &Name, path: &mut Vec<(usize, String)>) -> Vec<String> {
        let Some((target, last)) = self.resolve(unit, Kind::List, name) else { return Vec::new() };
        if path.contains(&(target, last.to_owned())) {
            self.error(unit, &name.span, Code::Cycle, format!("list `{}` is defined by itself", name.value), |d| {
                let first = self.names.tables[target].lists[last].name.span.clone();
                let d = d.related(&self.loaded.units[target].source, first, "its definition");
                d.label("here it is again").help("write the strings out, or take one of the names away")
            });
            return Vec::new();
        }
        path.push((target, last.to_owned()));
        let list = self.names.tables[target].lists[last];
        let texts = self.texts_within(target, &list.values, path);
        path.pop();
        texts
    }

    /// The texts of values: strings, and the names of lists.
    pub(crate) fn texts(&self, unit: usize, values: &[Value]) -> Vec<String> {
        self.texts_within(unit, values, &mut Vec::new())
    }

    fn texts_within(&self, unit: usize, values: &[Value], path: &mut Vec<(usize, String)>) -> Vec<String> {
        let mut out = Vec::new();
        for value in values {
            match value {
                Value::Text(text) => out.push(text.value.clone()),
                Value::Word(name) => out.extend(self.list_within(unit, name, path)),
                Value::List(list) => out.extend(self.texts_within(unit, &list.value, path)),
                other => self.error(unit, other.span(), Code::Type, "a list holds strings and names of lists", |d| {
                    d.help("write it in quotes")
                }),
            }
        }
        out
    }
}
