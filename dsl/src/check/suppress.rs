//! `# suppress: NAME -- reason`: warnings that somebody looked at and accepts, with the reason why.
//!
//! Behind code it stands for its line; on a line of its own for the item that follows, or inside an item for the next line.

use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Severity};
use crate::fields::nearest;
use crate::load::{Loaded, Unit};
use crate::syntax::tree::{Comment, Span};

/// What a comment suppresses.
struct Suppression<'c> {
    comment: &'c Comment,
    code: Code,
    /// The messages that start here are meant, in bytes of the file.
    target: Span,
    used: bool,
}

/// Takes away what is suppressed, and says which suppressions are wrong or suppress nothing.
pub(crate) fn apply(loaded: &Loaded, diagnostics: &mut Vec<Diagnostic>) {
    // Where there are errors, what comments suppress may not have been looked for.
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    for unit in loaded.units.iter().filter(|unit| unit.given) {
        let mut suppressions = Vec::new();
        for comment in &unit.tree.comments {
            read(unit, comment, &mut suppressions, diagnostics);
        }
        if suppressions.is_empty() {
            continue;
        }
        diagnostics.retain(|diagnostic| {
            let mut kept = true;
            let own = |s: &&mut Suppression<'_>| s.code == diagnostic.code && s.target.contains(&diagnostic.span.start);
            if diagnostic.path == unit.source.path && diagnostic.severity == Severity::Warning {
                for suppression in suppressions.iter_mut().filter(own) {
                    (suppression.used, kept) = (true, false);
                }
            }
            kept
        });
        for Suppression { comment, code, .. } in suppressions.iter().filter(|s| !s.used && !failed) {
            let message = format!("there is no `{}` ({}) to suppress here", code.id(), code.name());
            let alone = suppressions.iter().filter(|other| other.comment.span == comment.span).count() == 1;
            let diagnostic = Diagnostic::new(&unit.source, comment.span.clone(), Code::UnusedSuppression, message);
            diagnostics.push(if alone {
                let span = with_blanks(&unit.source.text, &comment.span);
                let fix = Fix::new("remove the comment", Applicability::Safe, span, "");
                diagnostic.help("remove the comment").fix(fix)
            } else {
                diagnostic.help(format!("take `{}` out of the comment", code.id()))
            });
        }
    }
}

fn read<'c>(unit: &Unit, comment: &'c Comment, out: &mut Vec<Suppression<'c>>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(rest) = comment.text.strip_prefix("suppress:") else { return };
    let mut bad = |message: String, help: &str| {
        let diagnostic = Diagnostic::new(&unit.source, comment.span.clone(), Code::BadSuppression, message);
        diagnostics.push(diagnostic.help(help));
    };
    let (names, reason) = rest.split_once("--").unwrap_or((rest, ""));
    if reason.trim().is_empty() {
        let help = format!("write `# suppress: {} -- the reason`", names.trim());
        return bad("a suppression needs a reason".into(), &help);
    }
    for name in names.split(',').map(str::trim) {
        let warnings = || Code::ALL.iter().filter(|code| code.severity() == Severity::Warning);
        match Code::find(name) {
            Some(code) if code.severity() == Severity::Warning => {
                out.push(Suppression { comment, code, target: target(unit, comment), used: false });
            }
            Some(code) => {
                bad(format!("`{}` is an error, which can't be suppressed", code.id()), "correct what it is about")
            }
            None => {
                let near = nearest(name, warnings().flat_map(|code| [code.id(), code.name()]));
                let help = near.map_or_else(
                    || "name a code, as in `# suppress: W004 -- the reason`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                bad(format!("there is no warning `{name}`"), &help);
            }
        }
    }
}

/// Where the messages start that a comment stands for.
fn target(unit: &Unit, comment: &Comment) -> Span {
    let text = unit.source.text.as_str();
    let start = text[..comment.span.start].rfind('\n').map_or(0, |at| at + 1);
    if !text[start..comment.span.start].trim().is_empty() {
        return start..comment.span.start;
    }
    let items = || unit.tree.items.iter().map(|item| &item.span);
    if !items().any(|item| item.contains(&comment.span.start)) {
        return items().find(|item| item.start >= comment.span.end).cloned().unwrap_or(0..0);
    }
    // The next line that isn't a comment itself.
    let mut at = comment.span.end;
    for line in text[comment.span.end..].split_inclusive('\n') {
        let shown = line.trim();
        if !shown.is_empty() && !shown.starts_with('#') {
            return at..at + line.len();
        }
        at += line.len();
    }
    at..at
}

/// The comment with the blanks before it, and its line where nothing else stands there.
fn with_blanks(text: &str, comment: &Span) -> Span {
    let before = text[..comment.start].trim_end_matches([' ', '\t']);
    if before.is_empty() || before.ends_with('\n') {
        let end = if text[comment.end..].starts_with('\n') { comment.end + 1 } else { comment.end };
        return before.len()..end;
    }
    // A line end of Windows stays whole.
    let end = comment.start + text[comment.clone()].trim_end_matches('\r').len();
    before.len()..end
}
