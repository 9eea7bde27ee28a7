//! What stands under the cursor, in plain words.

use super::occurrences::Kind;
use super::workspace::View;
use crate::check::reach::{self, Reach};
use crate::syntax::tree::{ImportSource, ItemKind, Span};
use crate::syntax::{Token, TokenKind, tokens};
use crate::{describe, fields, words};
use std::fmt::Write as _;

/// The words for a place of a file, as Markdown, and what they are about.
pub(super) fn hover(view: &View, at: usize) -> Option<(String, Span)> {
    named(view, at).or_else(|| imported(view, at)).or_else(|| word(view, at))
}

/// A name that is declared somewhere.
fn named(view: &View, at: usize) -> Option<(String, Span)> {
    let occurrence = view.loaded.at(view.unit, at)?;
    let name = &occurrence.name.value;
    let (unit, item, declared) = view.loaded.resolve(view.unit, occurrence.kind, name)?;
    let mut out = head(occurrence.kind, &declared.value, &view.loaded.units[unit].pack);
    out.push_str(&describe::item(&item.kind));
    let reach = match &item.kind {
        ItemKind::Rule(rule) => {
            meta(&mut out, rule);
            exceptions(&mut out, view, unit, &declared.value);
            reach::of_rule(&view.loaded, &view.options, unit, rule)
        }
        ItemKind::Pattern(pattern) => {
            if let crate::syntax::tree::PatternBody::Regex(regex) = &pattern.body {
                let _ = write!(out, "\n\n```\n/{}/\n```", regex.value);
            }
            reach::of_pattern(&view.loaded, &view.options, unit, &declared.value)
        }
        _ => None,
    };
    if let Some(reach) = reach {
        let _ = write!(out, "\n\n{}", costs(&reach));
    }
    let read = &view.loaded.units[unit];
    if let Some(comment) = describe::comment_above(&read.source.text, &read.tree.comments, item.span.start) {
        let _ = write!(out, "\n\n{comment}");
    }
    Some((out, occurrence.name.span))
}

fn head(kind: Kind, name: &str, pack: &str) -> String {
    format!("**{} `{name}`** of `{pack}`\n\n", kind.word())
}

fn meta(out: &mut String, rule: &crate::syntax::tree::Rule) {
    let meta = &rule.meta;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(meta.id.as_ref().map(|id| id.value.clone()));
    parts.extend(meta.severity.as_ref().map(|severity| format!("severity {}", severity.value)));
    parts.extend((!meta.gdpr.is_empty()).then(|| {
        let articles: Vec<_> = meta.gdpr.iter().map(|article| article.value.as_str()).collect();
        format!("GDPR {}", articles.join(", "))
    }));
    if !parts.is_empty() {
        let _ = write!(out, "\n\n{}", parts.join(" · "));
    }
}

/// The exceptions to a rule among all that was read.
fn exceptions(out: &mut String, view: &View, rule_unit: usize, rule: &str) {
    for (unit, read) in view.loaded.units.iter().enumerate() {
        for item in &read.tree.items {
            let ItemKind::Except(except) = &item.kind else { continue };
            let means = view.loaded.resolve(unit, Kind::Rule, &except.rule.value);
            if means.is_some_and(|(target, _, name)| target == rule_unit && name.value == rule) {
                let _ = write!(out, "\n\nException: {}", describe::except(except));
            }
        }
    }
}

/// What a pattern or a rule costs a stream.
fn costs(reach: &Reach) -> String {
    let held = reach.held;
    let near =
        if held.window > 0 { format!(", {} of them to see what stands near", held.window) } else { String::new() };
    let search = match &reach.unfiltered[..] {
        [] => "Found by a prefilter.".to_owned(),
        names => format!("No prefilter for `{}`: every byte that can begin a match is tried.", names.join("`, `")),
    };
    format!("Holds back at most {} bytes of a stream{near}. {search}", held.bytes())
}

/// The pack or file of an import.
fn imported(view: &View, at: usize) -> Option<(String, Span)> {
    let read = &view.loaded.units[view.unit];
    let import = read.tree.items.iter().find_map(|item| {
        match &item.kind {
            ItemKind::Import(import) => Some(import),
            _ => None,
        }
        .filter(|_| item.span.contains(&at))
    })?;
    let (name, span) = match &import.source {
        ImportSource::Pack { name, .. } => (name.value.clone(), name.span.clone()),
        ImportSource::File(file) => (file.value.clone(), file.span.clone()),
    };
    if !(span.start..=span.end).contains(&at) {
        return None;
    }
    let prefix = import.alias.as_ref().map_or(&name, |alias| &alias.value);
    let target = read.imports.iter().find(|(p, _)| p == prefix).or_else(|| read.imports.first())?.1;
    let mut out = format!("**`{name}`**");
    let items = &view.loaded.units[target].tree.items;
    if let Some(pack) = items.iter().find_map(|item| if let ItemKind::Pack(p) = &item.kind { Some(p) } else { None }) {
        let _ = write!(out, " version {}", pack.version.value);
        let owner = pack.owner.as_ref().map(|owner| format!(", of {}", owner.value)).unwrap_or_default();
        out.push_str(&owner);
    }
    for kind in [Kind::Pattern, Kind::List, Kind::Scope, Kind::Rule] {
        let names = items.iter().filter_map(super::workspace::declares).filter(|(k, _)| *k == kind);
        let names: Vec<_> = names.map(|(_, name)| format!("`{}`", name.value)).collect();
        if !names.is_empty() {
            let _ = write!(out, "\n\n{}s: {}", kind.word(), names.join(", "));
        }
    }
    Some((out, span))
}

/// A word of the language; works in text that can't be parsed.
fn word(view: &View, at: usize) -> Option<(String, Span)> {
    let text = &view.loaded.units[view.unit].source.text;
    let all = tokens(text);
    let index = all.iter().position(|t| t.kind == TokenKind::Word && t.span.start <= at && at <= t.span.end)?;
    let token = &all[index];
    let solid = |t: &&Token| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment);
    let before = all[..index].iter().rev().find(solid).map_or("", |t| &text[t.span.clone()]);
    let after = all[index + 1..].iter().find(solid).map_or("", |t| &text[t.span.clone()]);
    let shown = &text[token.span.clone()];
    let out = match before {
        "validate" => {
            let (_, usage, about) = words::validators().find(|(name, ..)| *name == shown)?;
            format!("**validator** `{usage}`\n\n{about}")
        }
        "mask" => {
            let mask = words::mask(shown)?;
            let arguments: String =
                mask.arguments.iter().map(|(name, about)| format!("\n- `{name}`: {about}")).collect();
            format!("**mask** `{}`\n\n{}\n{arguments}", mask.usage, mask.about)
        }
        // `column` is a clause of `match` and a field of conditions.
        _ if before != "match"
            && !(before == "," && (after.starts_with('"') || after == "["))
            && fields::find(shown).is_some() =>
        {
            field(fields::find(shown)?)
        }
        _ => {
            let word = words::find(shown)?;
            format!("**`{}`**\n\n{}\n\n```\n{}\n```", word.text, word.about, word.usage)
        }
    };
    Some((out, token.span.clone()))
}

/// What a field is.
pub(super) fn field(info: &fields::FieldInfo) -> String {
    let protocols = if info.protocols.is_empty() { "every protocol".to_owned() } else { info.protocols.join(", ") };
    let mut out = format!("**field `{}`**: {}, of {protocols}\n\n{}", info.name, info.kind.name(), info.about);
    if let fields::FieldType::Enum(values) | fields::FieldType::Enums(values) = info.kind {
        let _ = write!(out, "\n\nOne of: {}.", values.join(", "));
    }
    out
}
