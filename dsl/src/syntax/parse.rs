//! Item by item: one syntax error hides no other.

use super::tree::{Comment, File, Span};
use super::walk::Walk;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Source, locate};
use pest::Parser as _;

#[derive(pest_derive::Parser)]
#[grammar = "syntax/rules.pest"]
struct Grammar;

/// The words that start an item.
pub const KEYWORDS: &[&str] =
    &["language", "pack", "import", "defaults", "list", "pattern", "decode", "scope", "rule", "except", "test"];

/// How deep brackets may be nested.
const DEPTH: usize = 64;

/// Errors after which the rest of a file isn't read: it is no file of rules.
const MOST_ERRORS: usize = 100;

/// A parsed file: everything that could be read, and what was wrong with the rest.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The tree of the good items.
    pub file: File,
    /// The errors.
    pub diagnostics: Vec<Diagnostic>,
}

/// A token of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// White space.
    Blank,
    /// `# …` without the end of the line.
    Comment,
    /// `"…"`
    String,
    /// `/…/`
    Regex,
    /// A word, name, number, date, size or duration.
    Word,
    /// A bracket, comma or operator; also a character that starts nothing.
    Symbol,
}

/// The tokens of a text; together they are the text.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token> {
    let Ok(mut pairs) = Grammar::parse(Rule::tokens, text) else { return Vec::new() };
    let inner = pairs.next().map(pest::iterators::Pair::into_inner).into_iter().flatten();
    inner
        .filter_map(|pair| {
            let kind = match pair.as_rule() {
                Rule::blank => TokenKind::Blank,
                Rule::comment => TokenKind::Comment,
                Rule::string => TokenKind::String,
                Rule::regex => TokenKind::Regex,
                Rule::word => TokenKind::Word,
                Rule::symbol => TokenKind::Symbol,
                _ => return None,
            };
            Some(Token { kind, span: pair.as_span().start()..pair.as_span().end() })
        })
        .collect()
}

/// Parses a file. Never panics, whatever the text; takes memory and time linear in it.
#[must_use]
pub fn parse(source: &Source) -> Parsed {
    let text = source.text.as_str();
    let tokens = tokens(text);
    let mut out = Parsed { diagnostics: characters(source, &tokens), ..Parsed::default() };
    out.file.comments = tokens.iter().filter(|t| t.kind == TokenKind::Comment).map(|t| comment(text, t)).collect();
    let starts = starts(text, &tokens);
    let mut at = 0;
    while let Some(token) = tokens
        .iter()
        .skip(tokens.partition_point(|t| t.span.start < at))
        .find(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment))
    {
        let start = token.span.start;
        let next = starts.get(starts.partition_point(|s| *s <= start)).copied().unwrap_or(text.len());
        if out.diagnostics.len() >= MOST_ERRORS {
            let message = format!("the rest of the file isn't read, after {MOST_ERRORS} errors");
            let diagnostic = Diagnostic::new(source, start..start, Code::Syntax, message);
            out.diagnostics.push(diagnostic.help("correct these first"));
            break;
        }
        if let Some(span) = too_deep(text, &tokens, start..next) {
            let message = format!("brackets are nested more than {DEPTH} deep");
            let diagnostic = Diagnostic::new(source, span, Code::Nesting, message).label("too deep");
            out.diagnostics.push(diagnostic.help("take brackets away, or split the condition into scopes"));
            at = next;
            continue;
        }
        // An item ends before the next keyword that starts a line, so what is open there is an error of this item.
        at = match Grammar::parse(Rule::one, &text[start..next]) {
            Ok(mut pairs) => {
                let pair = pairs.next().expect("the grammar gives one pair for its first rule");
                let end = start + pair.as_span().end();
                let mut walk = Walk { source, base: start, diagnostics: &mut out.diagnostics };
                if let Some(item) = pair.into_inner().next().and_then(|item| walk.item(item)) {
                    out.file.items.push(item);
                }
                end.max(start + 1)
            }
            Err(error) => {
                let diagnostic = syntax(source, start, next, &error);
                let after = diagnostic.span.start;
                out.diagnostics.push(diagnostic);
                misspelt(text, &tokens, after..next).unwrap_or(next)
            }
        };
    }
    locate(&mut out.diagnostics, std::iter::once(source));
    out
}

fn comment(text: &str, token: &Token) -> Comment {
    Comment { text: text[token.span.clone()].trim_start_matches('#').trim().to_owned(), span: token.span.clone() }
}

/// The places where a keyword of an item is the first word of its line, outside of brackets that close again.
fn starts(text: &str, tokens: &[Token]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut fresh = true;
    for token in tokens {
        let shown = &text[token.span.clone()];
        match token.kind {
            TokenKind::Blank => fresh |= shown.contains('\n'),
            TokenKind::Word if fresh && KEYWORDS.contains(&shown) => {
                starts.push(token.span.start);
                fresh = false;
            }
            _ => fresh = false,
        }
    }
    starts
}

/// After an error: the next word at the very start of a line that is nearly the keyword of an item, so that its error is
/// told too. Only there, since in a good item such a word may be a name.
fn misspelt(text: &str, tokens: &[Token], within: Span) -> Option<usize> {
    let first = tokens.partition_point(|t| t.span.start <= within.start);
    tokens[first..].iter().take_while(|t| t.span.start < within.end).find_map(|token| {
        let fresh = token.kind == TokenKind::Word && text[..token.span.start].ends_with('\n');
        let near = crate::fields::nearest(&text[token.span.clone()], KEYWORDS.iter().copied());
        (fresh && near.is_some()).then_some(token.span.start)
    })
}

/// Where nesting exceeds the cap. Counts brackets, and `not` in a row, each of which is a level of the tree.
fn too_deep(text: &str, tokens: &[Token], within: Span) -> Option<Span> {
    let mut depth = 0_usize;
    let mut nots = 0_usize;
    let first = tokens.partition_point(|t| t.span.start < within.start);
    for token in tokens[first..].iter().take_while(|t| t.span.start < within.end) {
        let shown = &text[token.span.clone()];
        match (token.kind, shown) {
            (TokenKind::Symbol, "(" | "[" | "{") => depth += 1,
            (TokenKind::Symbol, ")" | "]" | "}") => depth = depth.saturating_sub(1),
            _ => {}
        }
        match token.kind {
            TokenKind::Blank | TokenKind::Comment => {}
            TokenKind::Word if shown == "not" => nots += 1,
            _ => nots = 0,
        }
        if depth > DEPTH || nots > DEPTH {
            return Some(token.span.clone());
        }
    }
    None
}

/// Characters that let a file read differently from what it means.
fn characters(source: &Source, tokens: &[Token]) -> Vec<Diagnostic> {
    let forbidden = |c: char| match c {
        '\n' | '\r' | '\t' => None,
        '\0' => Some("a NUL character"),
        c if c.is_control() => Some("a control character"),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            Some("a bidirectional control character")
        }
        '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{180e}'
        | '\u{3164}'
        | '\u{ffa0}' => Some("an invisible character"),
        '\u{e0000}'..='\u{e007f}' => Some("an invisible tag character"),
        _ => None,
    };
    let found = source.text.char_indices().filter_map(|(at, c)| forbidden(c).map(|what| (at, c, what))).take(20);
    found
        .map(|(at, c, what)| {
            let (number, span) = (u32::from(c), at..at + c.len_utf8());
            let message = format!("{what}, U+{number:04X}, stands in the file");
            let escape = format!("\\u{{{number:x}}}");
            let token = tokens.get(tokens.partition_point(|t| t.span.end <= at));
            let diagnostic = Diagnostic::new(source, span.clone(), Code::Character, message);
            match token.map(|token| token.kind) {
                Some(TokenKind::String) => diagnostic.help(format!("write it as `{escape}`")).fix(Fix::new(
                    format!("write it as `{escape}`"),
                    Applicability::Safe,
                    span,
                    escape,
                )),
                // What a comment or white space says doesn't change.
                Some(TokenKind::Comment | TokenKind::Blank) => diagnostic.help("remove it").fix(Fix::new(
                    format!("remove U+{number:04X}"),
                    Applicability::Safe,
                    span,
                    "",
                )),
                _ => diagnostic.help(format!("remove it; in a string, write it as `{escape}`")),
            }
        })
        .collect()
}

/// The beginning of a line: enough to say what stands there.
fn beginning(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let mut end = line.len().min(4096);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

fn syntax(source: &Source, start: usize, next: usize, error: &pest::error::Error<Rule>) -> Diagnostic {
    let at = start
        + match error.location {
            pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
        };
    let found = tokens(beginning(&source.text[at..next])).into_iter().next();
    let (at, end) = match &found {
        Some(token) if at < next => (at, at + token.span.end),
        // The place is after the last word of the item, not where the next one begins.
        _ => {
            let item = tokens(&source.text[start..next]);
            let last = item.iter().rev().find(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment));
            let end = start + last.map_or(0, |token| token.span.end);
            (end, end)
        }
    };
    let shown = &source.text[at..end];
    if let Some(diagnostic) = super::lookalike::diagnose(source, at) {
        return diagnostic;
    }
    for (mark, what) in [("\"", "string"), ("/", "regular expression")] {
        if shown == mark {
            return Diagnostic::new(source, at..end, Code::Syntax, format!("the {what} is not closed"))
                .label("opens here")
                .help(format!("close it with `{mark}` on the same line"));
        }
    }
    let mut expected: Vec<&str> = match &error.variant {
        pest::error::ErrorVariant::ParsingError { positives, .. } => {
            positives.iter().map(|rule| words(*rule)).collect()
        }
        pest::error::ErrorVariant::CustomError { .. } => Vec::new(),
    };
    expected.retain(|word| !word.is_empty());
    expected.sort_unstable();
    expected.dedup();
    let what = match (at == start, shown) {
        (true, _) if KEYWORDS.contains(&shown) => format!("this `{shown}` can't be read"),
        (true, _) => format!("`{}` starts no item", shown.trim()),
        (_, "") => "the item ends too early".to_owned(),
        _ => format!("unexpected `{}`", shown.trim()),
    };
    let diagnostic = Diagnostic::new(source, at..end, Code::Syntax, what);
    if at == start && !KEYWORDS.contains(&shown) {
        let near = crate::fields::nearest(shown.trim(), KEYWORDS.iter().copied());
        return diagnostic.meant(near, &(at..end), format!("an item starts with one of: {}", KEYWORDS.join(", ")));
    }
    let word = shown.trim();
    let near = expected.iter().map(|e| e.trim_matches('`')).filter(|e| !e.contains(' '));
    match (crate::fields::nearest(word, near), expected.len()) {
        (Some(near), _) if word.len() > 2 && near != word => diagnostic.meant(Some(near), &(at..end), ""),
        (_, 0) => diagnostic,
        (_, 1) => diagnostic.label(format!("expected {}", expected[0])),
        _ if at == end => diagnostic.label("after this").help(format!("expected one of: {}", expected.join(", "))),
        _ => diagnostic.label("not expected here").help(format!("expected one of: {}", expected.join(", "))),
    }
}

/// A rule of the grammar as people call it; empty where another rule says it better.
fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::string => "a string",
        Rule::regex => "a `/regular expression/`",
        Rule::date => "a date",
        Rule::integer | Rule::number => "a number",
        Rule::size => "a size",
        Rule::duration => "a duration",
        Rule::name | Rule::ident => "a name",
        Rule::list => "a list",
        Rule::value => "a value",
        Rule::field => "a field",
        Rule::condition | Rule::term => "a condition",
        Rule::operator => "an operator",
        Rule::mode | Rule::k_mode => "`mode`",
        Rule::sealed | Rule::k_sealed => "`sealed`",
        Rule::meta | Rule::k_meta => "`meta`",
        Rule::meta_id | Rule::k_id => "`id`",
        Rule::meta_severity | Rule::k_severity => "`severity`",
        Rule::meta_tags | Rule::k_tags => "`tags`",
        Rule::meta_gdpr | Rule::k_gdpr => "`gdpr`",
        Rule::meta_message | Rule::k_message => "`message`",
        Rule::on | Rule::k_on => "`on`",
        Rule::when | Rule::k_when => "`when`",
        Rule::unless | Rule::k_unless => "`unless`",
        Rule::matching | Rule::k_match => "`match`",
        Rule::limit | Rule::k_limit => "`limit`",
        Rule::then | Rule::k_then => "`then`",
        Rule::priority | Rule::k_priority => "`priority`",
        Rule::block | Rule::k_block => "`block`",
        Rule::mask | Rule::k_mask => "`mask`",
        Rule::approve | Rule::k_approve => "`approve`",
        Rule::alert | Rule::k_alert => "`alert`",
        Rule::k_pass => "`pass`",
        Rule::k_language => "`language`",
        Rule::k_pack => "`pack`",
        Rule::k_import => "`import`",
        Rule::alias | Rule::k_as => "`as`",
        Rule::k_defaults => "`defaults`",
        Rule::k_list => "`list`",
        Rule::k_pattern => "`pattern`",
        Rule::detect | Rule::k_detect => "`detect`",
        Rule::words | Rule::k_words => "`words`",
        Rule::nocase | Rule::k_nocase => "`nocase`",
        Rule::base64 | Rule::k_base64 => "`base64`",
        Rule::near | Rule::k_near => "`near`",
        Rule::k_within => "`within`",
        Rule::validate | Rule::k_validate => "`validate`",
        Rule::max | Rule::k_max => "`max`",
        Rule::k_decode => "`decode`",
        Rule::k_tool => "`tool`",
        Rule::k_arg => "`arg`",
        Rule::k_scope => "`scope`",
        Rule::k_rule => "`rule`",
        Rule::on_error | Rule::k_on_error => "`on_error`",
        Rule::pack_owner | Rule::k_owner => "`owner`",
        Rule::pack_reviewed | Rule::k_reviewed => "`reviewed`",
        Rule::k_in => "`in`",
        Rule::match_json | Rule::k_json => "`json`",
        Rule::match_column | Rule::k_column => "`column`",
        Rule::match_name => "a pattern",
        Rule::k_records => "`records`",
        Rule::k_per => "`per`",
        Rule::by | Rule::k_by => "`by`",
        Rule::count | Rule::k_count => "`count`",
        Rule::ttl | Rule::k_ttl => "`ttl`",
        Rule::wait | Rule::k_wait => "`wait`",
        Rule::grant | Rule::k_grant => "`grant`",
        Rule::estimate | Rule::k_estimate => "`estimate`",
        Rule::k_except => "`except`",
        Rule::k_until => "`until`",
        Rule::k_reason => "`reason`",
        Rule::k_approved => "`approved_by`",
        Rule::k_test => "`test`",
        Rule::given | Rule::k_given => "`given`",
        Rule::given_entry => "a field and its value",
        Rule::send | Rule::k_send => "`send`",
        Rule::expect | Rule::k_expect => "`expect`",
        Rule::outcome => "`block`, `mask`, `approve`, `alert` or `pass`",
        Rule::k_and => "`and`",
        Rule::k_or => "`or`",
        Rule::negated | Rule::k_not => "`not`",
        Rule::k_has => "`has`",
        Rule::k_matches => "`matches`",
        Rule::argument => "an argument",
        Rule::k_open => "`{`",
        Rule::k_close => "`}`",
        Rule::k_equals => "`=`",
        Rule::k_end => "`]`",
        Rule::k_comma => "`,`",
        _ => "",
    }
}

pub(super) use Rule as GrammarRule;
