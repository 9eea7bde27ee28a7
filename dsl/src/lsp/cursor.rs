//! Where the cursor stands in half-written text, told from the tokens before it: no tree is needed.

use super::occurrences::Kind;
use crate::fields::{self, FieldType};
use crate::syntax::tree::Span;
use crate::syntax::{KEYWORDS, TokenKind, tokens};

/// What could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// An item of a file.
    Items,
    /// One of these words.
    Words(Vec<&'static str>),
    /// A name of this kind.
    Names(Kind),
    /// A field of a condition.
    Fields,
    /// An operator that goes with a field.
    Operators(String),
    /// A value of a field.
    Values(String),
    Masks,
    /// An argument of a mask.
    MaskArguments(String),
    Validators,
    Packs,
    /// The version of a pack.
    Version(String),
    /// A path of a file to import.
    Files,
}

/// The place of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) offers: Vec<Offer>,
    /// What is written of the word already; it is replaced.
    pub(super) typed: Span,
    /// True inside of a string, whose start is that of `typed`.
    pub(super) quoted: bool,
}

/// The clauses of a rule, an exception and a test, in their order.
const RULE: &[&str] = &["meta", "mode", "on", "when", "unless", "match", "limit", "then", "priority"];
const EXCEPT: &[&str] = &["when", "until", "reason", "approved_by"];
const TEST: &[&str] = &["given", "send", "expect"];

/// Reads the text before a byte. None where nothing can be offered: in a comment, in a regular expression.
pub(super) fn cursor(text: &str, at: usize) -> Option<Cursor> {
    let before = &text[..at];
    let all = tokens(before);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    let open = all
        .iter()
        .find(|t| t.span.start >= line && t.kind == TokenKind::Symbol && matches!(&before[t.span.clone()], "\"" | "/"));
    if open.is_some_and(|t| &before[t.span.clone()] == "/") {
        return None;
    }
    if all.last().is_some_and(|t| t.kind == TokenKind::Comment) {
        return None;
    }
    let quoted = open.is_some();
    let typed = match (open, all.last()) {
        (Some(quote), _) => quote.span.end..at,
        (None, Some(last)) if last.kind == TokenKind::Word => last.span.clone(),
        _ => at..at,
    };
    let end = open.map_or(typed.start, |quote| quote.span.start);
    let solid = all.iter().filter(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Comment) && t.span.start < end);
    let solid: Vec<(usize, &str)> = solid.map(|t| (t.span.start, &before[t.span.clone()])).collect();
    let fresh = |at: usize| before[..at].rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
    let start = solid.iter().rposition(|(at, word)| KEYWORDS.contains(word) && fresh(*at));
    let words: Vec<&str> = solid[start.unwrap_or(solid.len())..].iter().map(|(_, word)| *word).collect();
    let item = Item::new(&words);
    let mut offers = item.offers(quoted);
    if item.stack.is_empty() && !quoted && fresh(end) && !offers.contains(&Offer::Items) {
        offers.push(Offer::Items);
    }
    Some(Cursor { offers, typed, quoted })
}

/// The words of an item before the cursor.
struct Item<'w> {
    words: &'w [&'w str],
    /// The places of the brackets that are open.
    stack: Vec<usize>,
}

impl<'w> Item<'w> {
    fn new(words: &'w [&'w str]) -> Self {
        let mut stack = Vec::new();
        for (index, word) in words.iter().enumerate() {
            match *word {
                "{" | "[" | "(" => stack.push(index),
                "}" | "]" | ")" => {
                    stack.pop();
                }
                _ => {}
            }
        }
        Self { words, stack }
    }

    fn last(&self) -> &'w str {
        self.words.last().copied().unwrap_or_default()
    }

    /// True where the innermost open bracket is this one.
    fn inside(&self, bracket: &str) -> bool {
        self.stack.last().is_some_and(|at| self.words[*at] == bracket)
    }

    /// The last of these words that stands directly in the braces of the item, and where.
    fn clause(&self, of: &'static [&'static str]) -> Option<(usize, &'static str)> {
        let mut depth = 0_usize;
        let mut found = None;
        for (index, word) in self.words.iter().enumerate() {
            match *word {
                "{" | "[" | "(" => depth += 1,
                "}" | "]" | ")" => depth = depth.saturating_sub(1),
                word if depth == 1 => found = of.iter().find(|w| **w == word).map(|w| (index, *w)).or(found),
                _ => {}
            }
        }
        found
    }

    fn offers(&self, quoted: bool) -> Vec<Offer> {
        let Some(keyword) = self.words.first() else { return vec![Offer::Items] };
        if self.stack.is_empty() && self.last() == "}" {
            return vec![Offer::Items];
        }
        let words = |words: &[&'static str]| vec![Offer::Words(words.to_vec())];
        match *keyword {
            "import" => match (self.words.len(), quoted) {
                (1, true) => vec![Offer::Files],
                (1, false) => vec![Offer::Packs],
                (2, true) => vec![Offer::Version(self.last().to_owned())],
                (_, false) if self.last() != "as" => words(&["as"]),
                _ => Vec::new(),
            },
            "pack" if !self.stack.is_empty() => match self.last() {
                "mode" => words(&["enforce", "audit"]),
                "owner" | "reviewed" => Vec::new(),
                _ => words(&["owner", "reviewed", "mode"]),
            },
            "defaults" if !self.stack.is_empty() => match self.last() {
                "mode" => words(&["enforce", "audit"]),
                "on_error" => words(&["block"]),
                _ => words(&["mode", "on_error"]),
            },
            "list" if self.inside("[") => vec![Offer::Names(Kind::List)],
            "pattern" => self.pattern(),
            "decode" => match self.words.len() {
                1 => words(&["tool"]),
                3 => words(&["arg"]),
                5 => words(&["as"]),
                6 => words(&["sql"]),
                _ => Vec::new(),
            },
            "scope" if !self.stack.is_empty() => condition(&self.words[self.words.len().min(3)..], &[]),
            "rule" => self.rule(),
            "except" if self.words.len() == 1 => vec![Offer::Names(Kind::Rule)],
            "except" if !self.stack.is_empty() => match self.clause(EXCEPT) {
                Some((at, "when")) => condition(&self.words[at + 1..], &EXCEPT[1..]),
                Some((at, clause)) if at + 1 < self.words.len() => vec![Offer::Words(following(EXCEPT, clause))],
                Some(_) => Vec::new(),
                None => words(EXCEPT),
            },
            "test" if !self.stack.is_empty() => self.test(),
            _ => Vec::new(),
        }
    }

    fn pattern(&self) -> Vec<Offer> {
        let latest = self.words.iter().rev().find(|w| matches!(**w, "near" | "within" | "words" | "detect"));
        match self.last() {
            "=" => vec![Offer::Words(vec!["words", "detect"])],
            "detect" => vec![Offer::Names(Kind::Pattern)],
            "validate" => vec![Offer::Validators],
            "near" | "within" | "words" | "max" | "pattern" => Vec::new(),
            _ if self.inside("[") => vec![Offer::Names(Kind::List)],
            _ if self.words.len() < 4 || self.inside("(") => Vec::new(),
            "]" if latest == Some(&"near") => vec![Offer::Words(vec!["within"])],
            _ => vec![Offer::Words(vec!["validate", "near", "max", "nocase", "base64"])],
        }
    }

    fn rule(&self) -> Vec<Offer> {
        if self.stack.is_empty() {
            return if self.words.len() == 2 { vec![Offer::Words(vec!["sealed"])] } else { Vec::new() };
        }
        let Some((at, clause)) = self.clause(RULE) else { return vec![Offer::Words(RULE.to_vec())] };
        let rest = following(RULE, clause);
        let last = self.last();
        let next = || vec![Offer::Words(rest.clone())];
        match clause {
            "meta" if self.stack.len() > 1 => match last {
                "severity" => vec![Offer::Words(crate::words::SEVERITIES.to_vec())],
                "id" | "tags" | "gdpr" | "message" => Vec::new(),
                _ if self.inside("[") => Vec::new(),
                _ => vec![Offer::Words(vec!["id", "severity", "tags", "gdpr", "message"])],
            },
            "mode" if last == "mode" => vec![Offer::Words(vec!["enforce", "audit"])],
            "on" => match last {
                "on" => vec![Offer::Words(vec!["request", "response", "both"])],
                "in" | "," => vec![Offer::Names(Kind::Scope)],
                "request" | "response" | "both" => [vec![Offer::Words(vec!["in"])], next()].concat(),
                _ => next(),
            },
            "when" | "unless" => condition(&self.words[at + 1..], &rest),
            "match" => match last {
                _ if self.inside("[") => vec![Offer::Names(Kind::List)],
                "match" | "," => vec![Offer::Names(Kind::Pattern), Offer::Words(vec!["json", "column"])],
                "column" => vec![Offer::Names(Kind::List)],
                "json" => Vec::new(),
                _ => next(),
            },
            "limit" => match self.words.len() - at {
                2 => vec![Offer::Words(vec!["records"])],
                3 => vec![Offer::Words(vec!["per"])],
                5 => vec![Offer::Words(vec!["by"])],
                6 => vec![Offer::Fields],
                7.. => next(),
                _ => Vec::new(),
            },
            "then" => self.actions(&rest),
            "priority" | "meta" if last == clause => Vec::new(),
            _ => next(),
        }
    }

    fn actions(&self, rest: &[&'static str]) -> Vec<Offer> {
        let last = self.last();
        if self.inside("(") {
            let mask = self.stack.last().and_then(|at| self.words.get(at.checked_sub(1)?)).copied().unwrap_or_default();
            return if matches!(last, "(" | ",") { vec![Offer::MaskArguments(mask.to_owned())] } else { Vec::new() };
        }
        if self.inside("[") {
            return vec![Offer::Names(Kind::List)];
        }
        match last {
            "then" | "," => vec![Offer::Words(vec!["block", "mask", "approve", "alert"])],
            "mask" => vec![Offer::Masks],
            "approve" => vec![Offer::Words(vec!["by"])],
            "by" | "count" | "ttl" | "wait" | "grant" | "estimate" => Vec::new(),
            "]" => vec![Offer::Words([&["count", "ttl", "wait", "grant", "estimate"], rest].concat())],
            _ => vec![Offer::Words(rest.to_vec())],
        }
    }

    fn test(&self) -> Vec<Offer> {
        let Some((at, clause)) = self.clause(TEST) else { return vec![Offer::Words(TEST.to_vec())] };
        let last = self.last();
        match (clause, last) {
            ("given", "given") => vec![Offer::Words(vec!["request", "response"])],
            ("given", _) if self.stack.len() > 1 => given(&self.words[(at + 3).min(self.words.len())..]),
            ("given", "request" | "response") => Vec::new(),
            ("send", "send") => Vec::new(),
            ("expect", "expect") => vec![Offer::Words(vec!["block", "mask", "approve", "alert", "pass"])],
            ("expect", "by") => vec![Offer::Names(Kind::Rule)],
            ("expect", "mask") => Vec::new(),
            ("expect", _) => vec![Offer::Words(vec!["by"])],
            _ => vec![Offer::Words(following(TEST, clause))],
        }
    }
}

/// The clauses that may stand after one.
fn following(order: &[&'static str], clause: &str) -> Vec<&'static str> {
    order.iter().skip_while(|w| **w != clause).skip(1).copied().collect()
}

/// What a condition waits for.
enum Wants {
    Term,
    Operator(String),
    Value(String),
    Join,
}

/// What can stand after the words of a condition; `rest` are the words that can stand after the whole.
fn condition(words: &[&str], rest: &[&'static str]) -> Vec<Offer> {
    let mut wants = Wants::Term;
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        wants = match (wants, word) {
            (Wants::Term, "not" | "(") => Wants::Term,
            (Wants::Term, field) => {
                if words.peek() == Some(&"(") {
                    let inner = words.by_ref().take_while(|word| *word != ")").count();
                    if inner < 2 {
                        return Vec::new();
                    }
                }
                let flag = fields::find(field).is_some_and(|info| info.kind == FieldType::Flag);
                if flag { Wants::Join } else { Wants::Operator(field.to_owned()) }
            }
            (Wants::Operator(_) | Wants::Join, "and" | "or") => Wants::Term,
            (Wants::Operator(field), _) => Wants::Value(field),
            (Wants::Value(field), "[") => {
                if words.by_ref().any(|word| word == "]") {
                    Wants::Join
                } else {
                    Wants::Value(field)
                }
            }
            (Wants::Value(_), _) | (Wants::Join, _) => Wants::Join,
        };
    }
    match wants {
        Wants::Term => vec![Offer::Fields, Offer::Words(vec!["not"])],
        Wants::Operator(field) => vec![Offer::Operators(field)],
        Wants::Value(field) => vec![Offer::Values(field)],
        Wants::Join => vec![Offer::Words([&["and", "or"], rest].concat())],
    }
}

/// What can stand after the fields and values of a test.
fn given(words: &[&str]) -> Vec<Offer> {
    let mut field: Option<&str> = None;
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        match (field, word) {
            (None, name) => {
                if words.peek() == Some(&"(") {
                    words.by_ref().take_while(|word| *word != ")").for_each(drop);
                }
                field = Some(name);
            }
            (Some(_), "[") => {
                if words.by_ref().any(|word| word == "]") {
                    field = None;
                }
            }
            (Some(_), _) => field = None,
        }
    }
    match field {
        Some(field) => vec![Offer::Values(field.to_owned())],
        None => vec![Offer::Fields],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Vec<Offer> {
        cursor(text, text.len()).map(|cursor| cursor.offers).unwrap_or_default()
    }

    fn words(text: &str) -> Vec<&'static str> {
        let all = offers(text).into_iter().filter_map(|offer| if let Offer::Words(w) = offer { Some(w) } else { None });
        all.flatten().collect()
    }

    #[test]
    fn a_file_offers_items() {
        for text in ["", "la", "language 1\n", "language 1\nru", "rule a { on both match x then block }\n"] {
            assert!(offers(text).contains(&Offer::Items), "{text}");
        }
        assert!(!offers("rule a {\n").contains(&Offer::Items));
    }

    #[test]
    fn a_rule_offers_its_clauses_in_their_order() {
        assert_eq!(words("rule a { "), RULE);
        assert_eq!(words("rule a { on "), ["request", "response", "both"]);
        assert_eq!(words("rule a { on both match x "), ["limit", "then", "priority"]);
        assert_eq!(words("rule a { meta { severity "), ["low", "medium", "high", "critical"]);
        assert_eq!(
            words("rule a { on request when sql.has_where "),
            ["and", "or", "unless", "match", "limit", "then", "priority"]
        );
        assert_eq!(words("rule a { on request then "), ["block", "mask", "approve", "alert"]);
        assert_eq!(offers("rule a { on request in "), [Offer::Names(Kind::Scope)]);
        assert_eq!(offers("rule a { on response then mask "), [Offer::Masks]);
        assert_eq!(offers("rule a { then mask partial(keep_last: 4, "), [Offer::MaskArguments("partial".into())]);
    }

    #[test]
    fn a_condition_offers_fields_operators_and_values_in_turn() {
        let term = [Offer::Fields, Offer::Words(vec!["not"])];
        assert_eq!(offers("scope s { "), term);
        assert_eq!(offers("scope s { (not sql.ve"), term);
        assert_eq!(offers("scope s { sql.verb "), [Offer::Operators("sql.verb".into())]);
        assert_eq!(offers("scope s { sql.verb == dr"), [Offer::Values("sql.verb".into())]);
        assert_eq!(offers("scope s { sql.verb in [drop, "), [Offer::Values("sql.verb".into())]);
        assert_eq!(words("scope s { sql.verb in [drop] "), ["and", "or"]);
        assert_eq!(offers("scope s { tool.arg(\"$.a\") "), [Offer::Operators("tool.arg".into())]);
    }

    #[test]
    fn a_test_offers_fields_and_values_in_turn() {
        assert_eq!(offers("test \"a\" { given request { "), [Offer::Fields]);
        assert_eq!(offers("test \"a\" { given request { protocol "), [Offer::Values("protocol".into())]);
        assert_eq!(offers("test \"a\" { given request { user.group [\"a\"] "), [Offer::Fields]);
        assert_eq!(offers("test \"a\" { given request { } send \"\" expect block by "), [Offer::Names(Kind::Rule)]);
    }

    #[test]
    fn a_string_offers_what_is_quoted_there() {
        let inside = cursor("scope s { user.group has \"db", 28).expect("a string");
        assert_eq!((inside.quoted, inside.typed), (true, 26..28));
        assert_eq!(inside.offers, [Offer::Values("user.group".into())]);
        assert_eq!(offers("import std.pii \""), [Offer::Version("std.pii".into())]);
        assert_eq!(offers("import \"./o"), [Offer::Files]);
    }

    #[test]
    fn a_comment_and_a_regular_expression_offer_nothing() {
        assert_eq!(cursor("rule a { # on ", 14), None);
        assert_eq!(cursor("pattern a = /\\bEMP ", 19), None);
        assert_eq!(words("pattern a = /x/ "), ["validate", "near", "max", "nocase", "base64"]);
    }
}
