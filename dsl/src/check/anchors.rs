//! Anchors in a regular expression that bind one branch of an alternation only.

use super::Checker;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Fix};
use crate::syntax::tree::{Pattern, PatternBody, Span};
use regex_syntax::ast::{Assertion, AssertionKind, Ast};

impl Checker<'_> {
    /// `^a|b$` is `a` at the start or `b` at the end, which is seldom meant.
    pub(crate) fn anchors(&self, unit: usize, pattern: &Pattern) {
        let PatternBody::Regex(regex) = &pattern.body else { return };
        let Ok(Ast::Alternation(ref branches)) = regex_syntax::ast::parse::Parser::new().parse(&regex.value) else {
            return;
        };
        let (Some(first), Some(last)) = (branches.asts.first(), branches.asts.last()) else { return };
        let others = |edge: Edge| branches.asts.iter().any(|branch| anchor(branch, edge).is_none());
        let open = anchor(first, Edge::Start).filter(|_| others(Edge::Start));
        let close = anchor(last, Edge::End).filter(|_| others(Edge::End));
        let Some(found) = open.or(close) else { return };
        // Past the opening slash.
        let at = |span: &regex_syntax::ast::Span| -> Span {
            regex.span.start + 1 + span.start.offset..regex.span.start + 1 + span.end.offset
        };
        let text = |span: &Span| self.loaded.units[unit].source.text[span.clone()].to_owned();
        let span = at(&found.span);
        let message = format!("`{}` binds one branch of the `|` only", text(&span));
        let group = {
            let start = open.map_or(regex.span.start + 1, |open| at(&open.span).end);
            let end = close.map_or(regex.span.end - 1, |close| at(&close.span).start);
            Fix::new("put the branches into a group", Applicability::Suggested, start..start, "(?:").and(end..end, ")")
        };
        let (start, end) = (group.edits[0].span.start, group.edits[1].span.start);
        let whole =
            format!("{}(?:{}){}", text(&(regex.span.start..start)), text(&(start..end)), text(&(end..regex.span.end)));
        self.error(unit, &span, Code::Anchor, message, |d| {
            d.label("not for the other branches")
                .help(format!("where it is for all of them, write `{whole}`"))
                .fix(group)
        });
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

/// The anchor with which a branch starts or ends.
fn anchor(branch: &Ast, edge: Edge) -> Option<&Assertion> {
    match branch {
        Ast::Assertion(assertion) => fits(assertion, edge).then_some(assertion),
        Ast::Concat(parts) => {
            let part = match edge {
                // `(?i)` before it says how to read the rest, and matches nothing.
                Edge::Start => parts.asts.iter().find(|part| !matches!(part, Ast::Flags(_))),
                Edge::End => parts.asts.last(),
            };
            part.and_then(|part| anchor(part, edge))
        }
        _ => None,
    }
}

fn fits(assertion: &Assertion, edge: Edge) -> bool {
    use AssertionKind as K;
    matches!(
        (&assertion.kind, edge),
        (K::StartLine | K::StartText | K::WordBoundaryStart | K::WordBoundaryStartAngle, Edge::Start)
            | (K::EndLine | K::EndText | K::WordBoundaryEnd | K::WordBoundaryEndAngle, Edge::End)
            | (K::WordBoundary | K::NotWordBoundary, _)
    )
}
