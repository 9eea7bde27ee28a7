//! The items of a file, for the outline of an editor.

use super::text::Text;
use crate::load::Unit;
use crate::syntax::tree::{Item, ItemKind, Span};
use crate::syntax::{KEYWORDS, Token, TokenKind, tokens};
use gen_lsp_types::{DocumentSymbol, SymbolKind};

/// The named items of a file in their order; those that can't be parsed too, as far as their first line says a name.
#[allow(deprecated, reason = "the field that tags took the place of can't be left out")]
pub(super) fn outline(unit: &Unit, text: &Text) -> Vec<DocumentSymbol> {
    let mut found: Vec<(String, Option<String>, SymbolKind, Span, Span)> =
        unit.tree.items.iter().filter_map(read).collect();
    found.extend(broken(unit));
    found.sort_by_key(|(.., whole, _)| whole.start);
    let symbols = found.into_iter().map(|(name, detail, kind, whole, selected)| DocumentSymbol {
        name,
        detail,
        kind,
        tags: None,
        deprecated: None,
        range: text.range(&whole),
        selection_range: text.range(&selected),
        children: None,
    });
    symbols.collect()
}

type Found = (String, Option<String>, SymbolKind, Span, Span);

fn read(item: &Item) -> Option<Found> {
    let (name, detail, kind) = match &item.kind {
        ItemKind::Pack(i) => (&i.name, Some(i.version.value.clone()), SymbolKind::Package),
        ItemKind::List(i) => (&i.name, Some("list".to_owned()), SymbolKind::Constant),
        ItemKind::Pattern(i) => (&i.name, Some("pattern".to_owned()), SymbolKind::Class),
        ItemKind::Scope(i) => (&i.name, Some("scope".to_owned()), SymbolKind::Interface),
        ItemKind::Rule(i) => {
            (&i.name, Some(i.meta.id.as_ref().map_or("rule", |id| &id.value).to_owned()), SymbolKind::Function)
        }
        ItemKind::Except(i) => (&i.rule, Some("except".to_owned()), SymbolKind::Event),
        ItemKind::Test(i) => (&i.name, Some("test".to_owned()), SymbolKind::Method),
        _ => return None,
    };
    // An editor refuses a symbol without a name.
    let shown = if name.value.trim().is_empty() { "(no name)".to_owned() } else { name.value.clone() };
    Some((shown, detail, kind, item.span.clone(), name.span.clone()))
}

/// What a keyword at the start of a line and the name after it say of an item that the tree doesn't have.
fn broken(unit: &Unit) -> Vec<Found> {
    let text = &unit.source.text;
    let all = tokens(text);
    let solid: Vec<&Token> = all.iter().filter(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment)).collect();
    let parsed = |at: usize| unit.tree.items.iter().any(|item| item.span.contains(&at));
    let mut out = Vec::new();
    for pair in solid.windows(2) {
        let (keyword, name) = (&text[pair[0].span.clone()], pair[1].span.clone());
        let line = text[..pair[0].span.start].rsplit('\n').next().unwrap_or_default();
        let kind = match keyword {
            "list" => SymbolKind::Constant,
            "pattern" => SymbolKind::Class,
            "scope" => SymbolKind::Interface,
            "rule" => SymbolKind::Function,
            _ => continue,
        };
        if line.trim().is_empty()
            && pair[1].kind == TokenKind::Word
            && !parsed(pair[0].span.start)
            && !KEYWORDS.contains(&&text[name.clone()])
        {
            let whole = pair[0].span.start..name.end;
            out.push((text[name.clone()].to_owned(), Some(keyword.to_owned()), kind, whole, name));
        }
    }
    out
}
