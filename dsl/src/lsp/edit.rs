//! Edits that the program proposes: the one layout, and the fixes of its findings.

use super::text::Text;
use super::workspace::Workspace;
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::syntax::tree::Span;
use gen_lsp_types::{CodeAction, CodeActionKind, Range, TextEdit, Uri, WorkspaceEdit};
use std::collections::HashMap;

/// The edits that lay a text out: none where it can't be parsed, and nothing but the lines that change.
pub(super) fn format(text: &Text) -> Vec<TextEdit> {
    let old = text.as_str();
    match crate::format::format(old) {
        Ok(new) if new != old => {
            let (span, with) = difference(old, &new);
            vec![TextEdit { range: text.range(&span), new_text: with.to_owned() }]
        }
        _ => Vec::new(),
    }
}

/// The stretch of whole lines of `old` that differs, and what stands there in `new`.
fn difference<'n>(old: &str, new: &'n str) -> (Span, &'n str) {
    let start: usize = old
        .split_inclusive('\n')
        .zip(new.split_inclusive('\n'))
        .take_while(|(a, b)| a == b && a.ends_with('\n'))
        .map(|(a, _)| a.len())
        .sum();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end: usize = old_rest
        .split_inclusive('\n')
        .rev()
        .zip(new_rest.split_inclusive('\n').rev())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len())
        .sum();
    (start..old.len() - end, &new_rest[..new_rest.len() - end])
}

/// The fixes of the findings of a file that touch a range.
pub(super) fn actions(
    workspace: &Workspace,
    uri: &Uri,
    found: &[Diagnostic],
    shown: &[gen_lsp_types::Diagnostic],
    range: Range,
) -> Vec<CodeAction> {
    let Some(document) = workspace.document(uri) else { return Vec::new() };
    let asked = document.text.span(range);
    let mut out = Vec::new();
    for (diagnostic, shown) in found.iter().zip(shown) {
        if diagnostic.span.start > asked.end || diagnostic.span.end < asked.start {
            continue;
        }
        for (index, fix) in diagnostic.fixes.iter().enumerate() {
            out.push(CodeAction {
                title: sentence(&fix.title),
                kind: Some(CodeActionKind::QuickFix),
                diagnostics: Some(vec![shown.clone()]),
                is_preferred: Some(index == 0 && fix.applicability == Applicability::Safe),
                edit: Some(edit(&document.text, uri, fix)),
                ..CodeAction::default()
            });
        }
    }
    out
}

fn edit(text: &Text, uri: &Uri, fix: &Fix) -> WorkspaceEdit {
    let edits = fix.edits.iter().map(|edit| TextEdit { range: text.range(&edit.span), new_text: edit.text.clone() });
    WorkspaceEdit { changes: Some(HashMap::from([(uri.clone(), edits.collect())])), ..WorkspaceEdit::default() }
}

/// With a capital, as menus have it.
fn sentence(title: &str) -> String {
    let mut chars = title.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_differ_are_replaced() {
        for (old, new) in
            [("a\nb\nc\n", "a\nx\ny\nc\n"), ("a\nb", "a\nb\n"), ("", "a\n"), ("a\na\n", "a\n"), ("x\n", "y\n")]
        {
            let (span, with) = difference(old, new);
            let mut made = old.to_owned();
            made.replace_range(span, with);
            assert_eq!(made, new);
        }
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), (2..4, "x\n"));
    }
}
