//! Item by item: one syntax error hides no other.

use super::tree::{Comment, File, Span};
use super::walk::Walk;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Source};
use pest::Parser as _;

#[derive(pest_derive::Parser)]
#[grammar = "syntax/rules.pest"]
struct Grammar;

/// The words that start an item.
pub const KEYWORDS: &[&str] =
    &["language", "pack", "import", "defaults", "list", "pattern", "decode", "scope", "rule", "except", "test"];

/// How deep brackets may be nested.
const DEPTH: usize = 64;

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
    let mut out = Parsed { diagnostics: characters(source), ..Parsed::default() };
    let tokens = tokens(text);
    out.file.comments = tokens.iter().filter(|t| t.kind == TokenKind::Comment).map(|t| comment(text, t)).collect();
    let starts = starts(text, &tokens);
    let mut at = 0;
    while let Some(token) = tokens
        .iter()
        .skip(tokens.partition_point(|t| t.span.start < at))
        .find(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment))
    {
        let start = token.span.start;
        let next = starts.iter().copied().find(|s| *s > start).unwrap_or(text.len());
        if let Some(span) = too_deep(text, &tokens, start..next) {
            let message = format!("brackets are nested more than {DEPTH} deep");
            out.diagnostics.push(Diagnostic::new(source, span, Code::Nesting, message).label("too deep"));
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
                out.diagnostics.push(syntax(source, start, next, &error));
                next
            }
        };
    }
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
fn characters(source: &Source) -> Vec<Diagnostic> {
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
    source
        .text
        .char_indices()
        .filter_map(|(at, c)| forbidden(c).map(|what| (at, c, what)))
        .take(20)
        .map(|(at, c, what)| {
            Diagnostic::new(source, at..at + c.len_utf8(), Code::Character, format!("{what}, U+{:04X}", u32::from(c)))
                .help(format!("remove it; in a string, write it as `\\u{{{:x}}}`", u32::from(c)))
        })
        .collect()
}

fn syntax(source: &Source, start: usize, next: usize, error: &pest::error::Error<Rule>) -> Diagnostic {
    let at = start
        + match error.location {
            pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
        };
    let rest = &source.text[at..];
    let found = tokens(rest.lines().next().unwrap_or_default()).into_iter().next();
    let end = if at >= next { at } else { at + found.as_ref().map_or(0, |t| t.span.end) };
    let shown = &source.text[at..end];
    if shown == "\"" {
        return Diagnostic::new(source, at..end, Code::Syntax, "the string is not closed")
            .label("opens here")
            .help("close it with `\"`");
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
        let help = near.map_or_else(
            || format!("an item starts with one of: {}", KEYWORDS.join(", ")),
            |n| format!("did you mean `{n}`?"),
        );
        return diagnostic.help(help);
    }
    let word = shown.trim();
    let near = expected.iter().map(|e| e.trim_matches('`')).filter(|e| !e.contains(' '));
    match (crate::fields::nearest(word, near), expected.len()) {
        (Some(near), _) if word.len() > 2 && near != word => diagnostic.help(format!("did you mean `{near}`?")),
        (_, 0) => diagnostic,
        (_, 1) => diagnostic.label(format!("expected {}", expected[0])),
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
