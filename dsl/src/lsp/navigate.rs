//! From a name to where it is declared, to where it is used, and to another name.

use super::occurrences::Kind;
use super::workspace::{Target, View, Workspace};
use crate::load::Loaded;
use crate::syntax::tree::{ImportSource, ItemKind, Span};
use crate::syntax::{TokenKind, tokens};
use gen_lsp_types::{Location, TextEdit, Uri, WorkspaceEdit};
use std::collections::HashMap;

/// Where what stands at a byte is declared: a name, or the file or pack of an import.
pub(super) fn definition(workspace: &Workspace, view: &View, at: usize) -> Option<Location> {
    let loaded = &view.loaded;
    if let Some(occurrence) = loaded.at(view.unit, at)
        && let Some((unit, _, name)) = loaded.resolve(view.unit, occurrence.kind, &occurrence.name.value)
    {
        return location(workspace, loaded, unit, &name.span);
    }
    if let Some(unit) = imported(view, at) {
        return location(workspace, loaded, unit, &(0..0));
    }
    // In text that can't be parsed a word can still be looked up.
    let text = &loaded.units[view.unit].source.text;
    let word =
        tokens(text).into_iter().find(|t| t.kind == TokenKind::Word && t.span.start <= at && at <= t.span.end)?;
    let name = &text[word.span];
    let kinds = [Kind::Pattern, Kind::List, Kind::Scope, Kind::Rule];
    let (unit, _, name) = kinds.iter().find_map(|kind| loaded.resolve(view.unit, *kind, name))?;
    location(workspace, loaded, unit, &name.span)
}

/// The file that the import at a byte brings.
fn imported(view: &View, at: usize) -> Option<usize> {
    let read = &view.loaded.units[view.unit];
    read.tree.items.iter().find(|item| (item.span.start..=item.span.end).contains(&at)).and_then(|item| {
        let ItemKind::Import(import) = &item.kind else { return None };
        let named = |prefix: &str| read.imports.iter().find(|(p, _)| p == prefix).map(|(_, unit)| *unit);
        match (&import.alias, &import.source) {
            (Some(alias), _) => named(&alias.value),
            (None, ImportSource::Pack { name, .. }) => named(&name.value),
            // Its prefix is the name of its pack.
            (None, ImportSource::File(file)) => {
                let path = std::path::Path::new(&read.source.path).parent()?.join(file.value.trim_start_matches("./"));
                view.loaded.place(&path)
            }
        }
    })
}

fn location(workspace: &Workspace, loaded: &Loaded, unit: usize, span: &Span) -> Option<Location> {
    let read = &loaded.units[unit];
    Some(Location { uri: workspace.uri(&read.source.path)?, range: workspace.text_of(read).range(span) })
}

/// The places of a file that mean the same as what stands at a byte of it.
pub(super) fn highlights(view: &View, at: usize) -> Vec<(Span, bool)> {
    let target = view.loaded.at(view.unit, at).and_then(|o| view.loaded.target(view.unit, &o));
    let Some(target) = target else { return Vec::new() };
    let all = view.loaded.occurrences(view.unit).into_iter();
    let same = all.filter(|o| view.loaded.target(view.unit, o).as_ref() == Some(&target));
    same.map(|o| (o.last(), o.declares)).collect()
}

/// Every place, in every file of the folders and everything open, that means what stands at a byte.
pub(super) fn references(workspace: &Workspace, view: &View, at: usize, declaration: bool) -> Vec<Location> {
    let target = view.loaded.at(view.unit, at).and_then(|o| view.loaded.target(view.unit, &o));
    let Some(target) = target else { return Vec::new() };
    let everything = workspace.everything();
    let found = uses(&everything, &target).into_iter().filter(|found| declaration || !found.declares);
    found.filter_map(|found| location(workspace, &everything, found.unit, &found.span)).collect()
}

/// A place that means a target.
struct Use {
    unit: usize,
    /// The last part of the name.
    span: Span,
    /// What stands before the last part, with its dot.
    prefix: String,
    declares: bool,
}

fn uses(loaded: &Loaded, target: &Target) -> Vec<Use> {
    let mut out = Vec::new();
    for unit in 0..loaded.units.len() {
        for occurrence in loaded.occurrences(unit).into_iter().filter(|o| o.kind == target.kind) {
            if loaded.target(unit, &occurrence).as_ref() == Some(target) {
                let span = occurrence.last();
                let prefix = occurrence.name.value[..occurrence.name.value.len() - span.len()].to_owned();
                out.push(Use { unit, span, prefix, declares: occurrence.declares });
            }
        }
    }
    out
}

/// The name at a byte that can be renamed, and where its last part stands.
///
/// # Errors
/// A sentence for the user.
pub(super) fn renamable(view: &View, at: usize) -> Result<(Target, Span), String> {
    let occurrence = view.loaded.at(view.unit, at).ok_or("there is no name here")?;
    let target = view
        .loaded
        .target(view.unit, &occurrence)
        .ok_or_else(|| format!("`{}` is not declared in anything that this file can see", occurrence.name.value))?;
    if !Workspace::is_editable(&target.file) {
        return Err(format!("`{}` belongs to a pack of this program", occurrence.name.value));
    }
    Ok((target, occurrence.last()))
}

/// The edits that give what stands at a byte another name, in all files.
///
/// # Errors
/// A sentence for the user: what stands there has no name, the new one can't be one, or is taken.
pub(super) fn rename(workspace: &Workspace, view: &View, at: usize, to: &str) -> Result<WorkspaceEdit, String> {
    let (target, _) = renamable(view, at)?;
    if !is_name(to) {
        return Err(format!("`{to}` is no name: a name is ASCII letters, digits and `_`, and no word of conditions"));
    }
    let everything = workspace.everything();
    let unit = (0..everything.units.len()).find(|unit| everything.key(*unit) == target.file);
    let unit = unit.ok_or("the file that declares it can't be read")?;
    if to != target.name && everything.declared(unit, target.kind, to).is_some() {
        return Err(format!("there is a {} `{to}` in that file already", target.kind.word()));
    }
    let mut changes: HashMap<Uri, Vec<TextEdit>> = HashMap::new();
    for found in uses(&everything, &target) {
        // A file's own name, written without a prefix, may hide behind one of the same name there.
        let taken = everything.resolve(found.unit, target.kind, &format!("{}{to}", found.prefix)).is_some();
        if taken && to != target.name {
            return Err(format!(
                "`{}{to}` means something else in `{}`",
                found.prefix, everything.units[found.unit].source.path
            ));
        }
        let read = &everything.units[found.unit];
        if let Some(uri) = workspace.uri(&read.source.path) {
            let range = workspace.text_of(read).range(&found.span);
            changes.entry(uri).or_default().push(TextEdit { range, new_text: to.to_owned() });
        }
    }
    Ok(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() })
}

/// True for what the grammar takes as a name.
fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(text, "and" | "or" | "not" | "in" | "has" | "matches")
}
