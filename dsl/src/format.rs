//! One style for all rules: two spaces for each open bracket, one space between words, at most one empty line. Line breaks
//! are the author's.

use crate::diagnostic::{Diagnostic, Source};
use crate::syntax::{TokenKind, tokens};

/// The text in the one style: every word and comment kept, only white space changed. Formatting twice changes nothing more.
///
/// # Errors
/// What is wrong with the syntax, if anything is.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = crate::syntax::parse(&Source { path: String::new(), text: source.to_owned() });
    if parsed.diagnostics.is_empty() { Ok(lay_out(source)) } else { Err(parsed.diagnostics) }
}

fn lay_out(source: &str) -> String {
    let mut out = String::new();
    let mut depth = 0usize;
    // Line breaks and white space since the last token.
    let (mut breaks, mut blank) = (0, false);
    let mut before: Option<(TokenKind, &str)> = None;
    for token in tokens(source) {
        let text = &source[token.span];
        if token.kind == TokenKind::Blank {
            breaks += text.matches('\n').count();
            blank = true;
            continue;
        }
        let text = if token.kind == TokenKind::Comment { text.trim_end() } else { text };
        let opens = token.kind == TokenKind::Symbol && matches!(text, "{" | "[" | "(");
        let closes = token.kind == TokenKind::Symbol && matches!(text, "}" | "]" | ")");
        if closes {
            depth = depth.saturating_sub(1);
        }
        match before {
            None => {}
            Some(_) if breaks > 0 => {
                out.push_str(if breaks > 1 { "\n\n" } else { "\n" });
                out.push_str(&"  ".repeat(depth));
            }
            Some(last) => out.push_str(space(last, (token.kind, text), blank)),
        }
        out.push_str(text);
        if opens {
            depth += 1;
        }
        before = Some((token.kind, text));
        (breaks, blank) = (0, false);
    }
    if before.is_some() {
        out.push('\n');
    }
    out
}

/// What stands between two tokens of a line.
fn space(last: (TokenKind, &str), next: (TokenKind, &str), blank: bool) -> &'static str {
    let symbol = |token: (TokenKind, &'_ str), of: &[&str]| token.0 == TokenKind::Symbol && of.contains(&token.1);
    let operators = ["==", "!=", "<=", ">=", "=", "<", ">"];
    if next.0 == TokenKind::Comment {
        "  "
    } else if symbol(last, &["[", "("]) || symbol(next, &["]", ")", ",", ":"]) {
        ""
    } else if blank
        || symbol(last, &[",", ":", "{", "}"])
        || symbol(next, &["{", "}"])
        || symbol(last, &operators)
        || symbol(next, &operators)
    {
        " "
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_laid_out_and_comments_stay() {
        let source = "language   1\n\n\n\n# a comment  \nlist l=[ \"a\" ,\"b\"]   # why\nscope s{protocol==mcp and target in l}\n\
                      rule r {\non request in s\n      when not (size>3B)\n  then block \"no\"\n}";
        let laid = format(source).expect("valid");
        assert_eq!(
            laid,
            "language 1\n\n# a comment\nlist l = [\"a\", \"b\"]  # why\nscope s { protocol == mcp and target in l }\n\
             rule r {\n  on request in s\n  when not (size > 3B)\n  then block \"no\"\n}\n"
        );
        assert_eq!(format(&laid).as_deref(), Ok(laid.as_str()));
    }

    #[test]
    fn formatting_changes_white_space_alone_and_once() {
        let words = |text: &str| -> Vec<String> {
            let kept = tokens(text).into_iter().filter(|token| token.kind != TokenKind::Blank);
            kept.map(|token| text[token.span].trim_end().to_owned()).collect()
        };
        for source in [
            include_str!("../../rules/std/pii.rules"),
            include_str!("../../rules/std/secrets.rules"),
            include_str!("../../rules/std/sql.rules"),
        ] {
            let laid = format(source).expect("valid");
            assert_eq!(words(&laid), words(source));
            assert_eq!(format(&laid).as_deref(), Ok(laid.as_str()));
            assert_eq!(laid, source, "the packs are in the one style");
        }
    }

    #[test]
    fn a_text_with_errors_is_not_formatted() {
        assert!(format("language 1\nrule {").is_err());
    }
}
