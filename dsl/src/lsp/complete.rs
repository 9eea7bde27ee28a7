//! What could be written at the cursor.

use super::cursor::{Cursor, Offer, cursor};
use super::hover;
use super::occurrences::{Kind, fields};
use super::text::Text;
use super::workspace::{View, declares};
use crate::fields::{FIELDS, FieldType, find};
use crate::syntax::tree::{ItemKind, Value};
use crate::{describe, words};
use gen_lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, InsertTextFormat, MarkupContent,
    MarkupKind, TextEdit,
};
use std::collections::BTreeSet;
use std::path::Path;

/// Whole items, with places to fill in.
const SNIPPETS: &[(&str, &str)] = &[
    (
        "rule",
        "rule ${1:name} {\n  meta { id \"${2:ID}\" severity ${3|low,medium,high,critical|} }\n  on ${4|request,response,both|}\n  $5\n  then ${6:block \"$7\"}\n}",
    ),
    (
        "test",
        "test \"${1:a sentence}\" {\n  given ${2|request,response|} { protocol ${3:mcp} }\n  send \"$4\"\n  expect ${5|block,mask,approve,alert,pass|} $6\n}",
    ),
    ("except", "except ${1:rule} {\n  when $2\n  until ${3:2027-01-01} reason \"$4\" approved_by \"$5\"\n}"),
    ("scope", "scope ${1:name} { $2 }"),
    ("pattern", "pattern ${1:name} = /$2/"),
    ("list", "list ${1:name} = [\"$2\"]"),
    ("import", "import ${1:std.pii} \"${2:1}\""),
];

/// Everything that fits at a byte of a file; the editor narrows it down to what is typed.
pub(super) fn complete(view: &View, text: &Text, at: usize, snippets: bool) -> Vec<CompletionItem> {
    let Some(cursor) = cursor(text.as_str(), at) else { return Vec::new() };
    let mut out = Completions { view, text, cursor: &cursor, snippets, items: Vec::new() };
    for offer in &cursor.offers {
        out.offer(offer);
    }
    let mut seen = BTreeSet::new();
    out.items
        .retain(|item| seen.insert((item.label.clone(), item.insert_text_format == Some(InsertTextFormat::Snippet))));
    out.items
}

struct Completions<'a> {
    view: &'a View,
    text: &'a Text,
    cursor: &'a Cursor,
    snippets: bool,
    items: Vec<CompletionItem>,
}

impl Completions<'_> {
    fn offer(&mut self, offer: &Offer) {
        // In a string only what is quoted fits.
        if self.cursor.quoted && !matches!(offer, Offer::Values(_) | Offer::Version(_) | Offer::Files) {
            return;
        }
        match offer {
            Offer::Items => self.item_words(),
            Offer::Words(list) => list.iter().for_each(|word| self.keyword(word)),
            Offer::Names(kind) => self.names(*kind),
            Offer::Fields => {
                for info in FIELDS {
                    self.push(info.name, CompletionItemKind::Field, info.kind.name(), &hover::field(info));
                }
            }
            Offer::Operators(field) => self.operators(field),
            Offer::Values(field) => self.values(field),
            Offer::Masks => {
                for mask in words::MASKS {
                    self.push(mask.name, CompletionItemKind::Function, mask.usage, mask.about);
                }
            }
            Offer::MaskArguments(name) => {
                for (argument, about) in words::mask(name).map_or(&[][..], |mask| mask.arguments) {
                    self.push(&format!("{argument}:"), CompletionItemKind::Property, name, about);
                }
            }
            Offer::Validators => {
                for (name, usage, about) in words::validators() {
                    self.push(name, CompletionItemKind::Function, usage, about);
                }
            }
            Offer::Packs => {
                let names: Vec<String> = self.view.options.packs.names().map(str::to_owned).collect();
                for name in names {
                    self.push(&name, CompletionItemKind::Module, "pack", "");
                }
            }
            Offer::Version(name) => {
                let version = self.view.options.packs.text(name).and_then(version);
                // The first number: later ones of the same pack still fit.
                if let Some(major) = version.as_deref().and_then(|v| v.split('.').next()) {
                    self.push(major, CompletionItemKind::Value, "version", "");
                }
            }
            Offer::Files => self.files(),
        }
    }

    fn push(&mut self, label: &str, kind: CompletionItemKind, detail: &str, about: &str) -> &mut CompletionItem {
        let documentation = (!about.is_empty()).then(|| {
            Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value: about.to_owned() })
        });
        let edit = TextEdit { range: self.text.range(&self.cursor.typed), new_text: label.to_owned() };
        self.items.push(CompletionItem {
            label: label.to_owned(),
            kind: Some(kind),
            detail: (!detail.is_empty()).then(|| detail.to_owned()),
            documentation,
            text_edit: Some(CompletionItemTextEdit::TextEdit(edit)),
            ..CompletionItem::default()
        });
        self.items.last_mut().expect("one was pushed")
    }

    fn keyword(&mut self, text: &str) {
        let known = words::find(text);
        let (usage, about) = known.map_or(("", ""), |word| (word.usage, word.about));
        let kind = if known.is_some() { CompletionItemKind::Keyword } else { CompletionItemKind::EnumMember };
        self.push(text, kind, usage, about);
    }

    fn item_words(&mut self) {
        for word in words::WORDS.iter().filter(|word| word.kind == words::WordKind::Item) {
            self.keyword(word.text);
        }
        let snippets = if self.snippets { SNIPPETS } else { &[] };
        for (word, body) in snippets {
            let range = self.text.range(&self.cursor.typed);
            let item = self.push(word, CompletionItemKind::Snippet, "whole item", "");
            item.insert_text_format = Some(InsertTextFormat::Snippet);
            item.text_edit = Some(CompletionItemTextEdit::TextEdit(TextEdit { range, new_text: (*body).to_owned() }));
        }
    }

    /// The names of the file and its imports; patterns of packs that aren't imported bring their import along.
    fn names(&mut self, kind: Kind) {
        let loaded = &self.view.loaded;
        let read = &loaded.units[self.view.unit];
        let own = std::iter::once((None, self.view.unit));
        let imports = read.imports.iter().map(|(prefix, target)| (Some(prefix.as_str()), *target));
        for (prefix, unit) in own.chain(imports) {
            for item in &loaded.units[unit].tree.items {
                let Some((_, name)) = declares(item).filter(|(k, _)| *k == kind) else { continue };
                let label = prefix.map_or_else(|| name.value.clone(), |prefix| format!("{prefix}.{}", name.value));
                self.push(&label, symbol(kind), kind.word(), &describe::item(&item.kind));
            }
        }
        if kind != Kind::Pattern {
            return;
        }
        for (prefix, _) in &read.imports {
            self.push(&format!("{prefix}.any"), symbol(kind), "every pattern of the pack", "");
        }
        let missing: Vec<String> = self.view.options.packs.names().map(str::to_owned).collect();
        for pack in missing.iter().filter(|pack| read.imports.iter().all(|(prefix, _)| prefix != *pack)) {
            let Some(text) = self.view.options.packs.text(pack) else { continue };
            let parsed = crate::syntax::parse(&crate::Source { path: String::new(), text: text.to_owned() });
            let Some(version) = version(text) else { continue };
            let import = self.import(pack, version.split('.').next().unwrap_or_default());
            for item in &parsed.file.items {
                let Some((_, name)) = declares(item).filter(|(k, _)| *k == kind) else { continue };
                let detail = format!("pattern; imports {pack}");
                let item =
                    self.push(&format!("{pack}.{}", name.value), symbol(kind), &detail, &describe::item(&item.kind));
                item.additional_text_edits = Some(vec![import.clone()]);
                item.sort_text = Some(format!("~{pack}.{}", name.value));
            }
        }
    }

    /// The edit that imports a pack, below what stands at the top of the file.
    fn import(&self, pack: &str, version: &str) -> TextEdit {
        let text = self.text.as_str();
        let top = |kind: &ItemKind| matches!(kind, ItemKind::Language(_) | ItemKind::Pack(_) | ItemKind::Import(_));
        let items = &self.view.loaded.units[self.view.unit].tree.items;
        let end = items.iter().take_while(|item| top(&item.kind)).last().map_or(0, |item| item.span.end);
        let line = text[end..].find('\n').map(|at| end + at + 1);
        let import = format!("import {pack} \"{version}\"\n");
        match (end, line) {
            (0, _) => TextEdit { range: self.text.range(&(0..0)), new_text: import },
            (_, Some(at)) => TextEdit { range: self.text.range(&(at..at)), new_text: import },
            (_, None) => TextEdit { range: self.text.range(&(end..end)), new_text: format!("\n{}", import.trim_end()) },
        }
    }

    fn operators(&mut self, field: &str) {
        let operators: &[&str] = match find(field).map(|info| info.kind) {
            Some(FieldType::Text | FieldType::Argument) => &["==", "!=", "in", "matches"],
            Some(FieldType::Enum(_) | FieldType::Enums(_)) => &["==", "!=", "in"],
            Some(FieldType::Texts) => &["has", "matches"],
            Some(FieldType::Number | FieldType::Bytes) => &["==", "!=", "<", "<=", ">", ">="],
            Some(FieldType::Flag) => &["and", "or"],
            None => &[],
        };
        for operator in operators {
            let about = words::find(operator).map_or("", |word| word.about);
            self.push(operator, CompletionItemKind::Operator, "", about);
        }
    }

    fn values(&mut self, field: &str) {
        let kind = find(field).map(|info| info.kind);
        if let Some(FieldType::Enum(values) | FieldType::Enums(values)) = kind {
            for value in values.iter().filter(|_| !self.cursor.quoted) {
                self.push(value, CompletionItemKind::EnumMember, field, "");
            }
        } else {
            for text in self.used(field) {
                let quoted = format!("{text:?}");
                let label = if self.cursor.quoted { &quoted[1..quoted.len() - 1] } else { &quoted };
                self.push(label, CompletionItemKind::Value, &format!("used with {field}"), "");
            }
        }
        if !self.cursor.quoted && !matches!(kind, Some(FieldType::Number | FieldType::Bytes | FieldType::Flag)) {
            self.names(Kind::List);
        }
    }

    /// The strings that a field is compared with in everything that was read: the groups, targets and tools there are.
    fn used(&self, field: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for (unit, read) in self.view.loaded.units.iter().enumerate() {
            for (_, value) in fields(&read.tree).into_iter().filter(|(f, _)| f.name.value == field) {
                self.texts(unit, value, &mut out, 8);
            }
        }
        out
    }

    fn texts(&self, unit: usize, value: &Value, out: &mut BTreeSet<String>, depth: usize) {
        match value {
            Value::Text(text) => {
                out.insert(text.value.clone());
            }
            Value::List(list) => list.value.iter().for_each(|value| self.texts(unit, value, out, depth)),
            Value::Word(name) if depth > 0 => {
                if let Some((target, item, _)) = self.view.loaded.resolve(unit, Kind::List, &name.value)
                    && let ItemKind::List(list) = &item.kind
                {
                    list.values.iter().for_each(|value| self.texts(target, value, out, depth - 1));
                }
            }
            _ => {}
        }
    }

    /// The files beside and below this one.
    fn files(&mut self) {
        let here = Path::new(&self.view.loaded.units[self.view.unit].source.path).to_owned();
        let Some(folder) = here.parent() else { return };
        let walk = ignore::WalkBuilder::new(folder).max_depth(Some(4)).build();
        let found = walk.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "rules"));
        let mut paths: Vec<String> = found
            .filter(|entry| entry.path() != here)
            .filter_map(|entry| {
                Some(format!("./{}", entry.path().strip_prefix(folder).ok()?.to_str()?.replace('\\', "/")))
            })
            .take(200)
            .collect();
        paths.sort();
        for path in paths {
            self.push(&path, CompletionItemKind::File, "", "");
        }
    }
}

fn symbol(kind: Kind) -> CompletionItemKind {
    match kind {
        Kind::List => CompletionItemKind::Constant,
        Kind::Pattern => CompletionItemKind::Class,
        Kind::Scope => CompletionItemKind::Interface,
        Kind::Rule => CompletionItemKind::Function,
    }
}

/// The version that a pack says it has.
fn version(text: &str) -> Option<String> {
    let parsed = crate::syntax::parse(&crate::Source { path: String::new(), text: text.to_owned() });
    parsed.file.items.into_iter().find_map(|item| match item.kind {
        ItemKind::Pack(pack) => Some(pack.version.value),
        _ => None,
    })
}
