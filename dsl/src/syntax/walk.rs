//! From the pairs of the grammar to the tree: literals are read here, and what the grammar can't refuse is refused.

use super::parse::GrammarRule as Rule;
use super::tree::{
    Action, ActionKind, Condition, Decode, Defaults, Direction, Except, Expect, Field, Import, ImportSource, Item,
    ItemKind, Limit, List, Match, Meta, Mode, Name, Near, Operator, Pack, Pattern, PatternBody, Scope, Span, Spanned,
    Test, Text, Validate, Value,
};
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Source};
use pest::iterators::Pair;

type Node<'i> = Pair<'i, Rule>;

pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) base: usize,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
}

/// The nodes below a node, without the keywords.
fn parts(node: Node<'_>) -> Vec<Node<'_>> {
    node.into_inner().filter(|n| !is_keyword(n)).collect()
}

fn is_keyword(node: &Node<'_>) -> bool {
    format!("{:?}", node.as_rule()).starts_with("k_")
}

impl Walk<'_> {
    fn error(&mut self, span: Span, code: Code, message: impl Into<String>) -> &mut Diagnostic {
        self.diagnostics.push(Diagnostic::new(self.source, span, code, message));
        self.diagnostics.last_mut().expect("one was pushed")
    }

    fn span(&self, node: &Node<'_>) -> Span {
        self.base + node.as_span().start()..self.base + node.as_span().end()
    }

    fn name(&self, node: &Node<'_>) -> Name {
        Spanned::new(node.as_str().to_owned(), self.span(node))
    }

    pub(super) fn item(&mut self, node: Node<'_>) -> Option<Item> {
        let span = self.span(&node);
        let errors = self.diagnostics.len();
        let rule = node.as_rule();
        let mut parts = parts(node).into_iter();
        let mut next = || parts.next().expect("the grammar gives this part");
        let kind = match rule {
            Rule::language => ItemKind::Language(self.integer(&next())),
            Rule::pack => {
                let (name, version) = (self.name(&next()), self.text(&next()));
                ItemKind::Pack(self.pack(name, version, parts))
            }
            Rule::import => {
                let first = next();
                let source = match first.as_rule() {
                    Rule::string => ImportSource::File(self.text(&first)),
                    _ => ImportSource::Pack { name: self.name(&first), version: self.text(&next()) },
                };
                let alias = parts.next().and_then(|a| super::walk::parts(a).into_iter().next()).map(|a| self.name(&a));
                ItemKind::Import(Import { source, alias })
            }
            Rule::defaults => {
                let mut defaults = Defaults { mode: None, on_error: None };
                for part in parts {
                    match part.as_rule() {
                        Rule::mode => self.set_mode(&mut defaults.mode, part),
                        _ => {
                            let inner = only(part);
                            let name = self.name(&inner);
                            self.once(&mut defaults.on_error, name, |n| &n.span, "on_error");
                        }
                    }
                }
                ItemKind::Defaults(defaults)
            }
            Rule::list_item => ItemKind::List(List { name: self.name(&next()), values: self.list(next()).value }),
            Rule::pattern => {
                let (name, body) = (self.name(&next()), next());
                ItemKind::Pattern(self.pattern(name, body, parts))
            }
            Rule::decode => ItemKind::Decode(Decode {
                tool: self.text(&next()),
                arg: self.text(&next()),
                language: self.name(&next()),
            }),
            Rule::scope => ItemKind::Scope(Scope { name: self.name(&next()), condition: self.condition(next()) }),
            Rule::rule_item => {
                let name = self.name(&next());
                ItemKind::Rule(self.rule(name, parts))
            }
            Rule::except => ItemKind::Except(Except {
                rule: self.name(&next()),
                when: self.condition(only(next())),
                until: self.date(&next()),
                reason: self.text(&next()),
                approved_by: self.text(&next()),
            }),
            Rule::test => {
                let name = self.text(&next());
                ItemKind::Test(self.test(name, &next(), next(), next()))
            }
            _ => return None,
        };
        // An item with a bad literal would only cause errors that follow from it.
        (self.diagnostics.len() == errors).then_some(Item { kind, span })
    }

    fn once<T>(&mut self, slot: &mut Option<T>, value: T, span: impl Fn(&T) -> &Span, word: &str) {
        if slot.is_some() {
            let at = span(&value).clone();
            let error = self.error(at, Code::DuplicateClause, format!("`{word}` is given twice"));
            (error.label, error.help) = ("the second one".into(), Some("keep one of them".into()));
        }
        *slot = Some(value);
    }

    fn set_mode(&mut self, slot: &mut Option<Spanned<Mode>>, node: Node<'_>) {
        let word = only(node);
        let span = self.span(&word);
        let mode = match word.as_str() {
            "enforce" => Mode::Enforce,
            "audit" => Mode::Audit,
            other => {
                let message = format!("unknown mode `{other}`");
                self.error(span, Code::UnknownValue, message).help = Some("a mode is `enforce` or `audit`".into());
                return;
            }
        };
        self.once(slot, Spanned::new(mode, span), |m| &m.span, "mode");
    }

    fn pack<'i>(&mut self, name: Name, version: Text, parts: impl Iterator<Item = Node<'i>>) -> Pack {
        let mut pack = Pack { name, version, owner: None, reviewed: None, mode: None };
        for part in parts {
            match part.as_rule() {
                Rule::mode => self.set_mode(&mut pack.mode, part),
                Rule::pack_owner => {
                    let text = self.text(&only(part));
                    self.once(&mut pack.owner, text, |t| &t.span, "owner");
                }
                _ => {
                    let date = self.date(&only(part));
                    self.once(&mut pack.reviewed, date, |d| &d.span, "reviewed");
                }
            }
        }
        pack
    }

    fn pattern<'i>(&mut self, name: Name, body: Node<'i>, rest: impl Iterator<Item = Node<'i>>) -> Pattern {
        let body = match body.as_rule() {
            Rule::regex => {
                let span = self.span(&body);
                let text = body.as_str();
                PatternBody::Regex(Spanned::new(text[1..text.len() - 1].to_owned(), span))
            }
            Rule::words => PatternBody::Words(self.list(only(body)).value),
            _ => PatternBody::Detect(self.name(&only(body))),
        };
        let mut pattern =
            Pattern { name, body, validators: Vec::new(), near: None, max: None, nocase: None, base64: None };
        for part in rest {
            let span = self.span(&part);
            match part.as_rule() {
                Rule::nocase => self.once(&mut pattern.nocase, span, |s| s, "nocase"),
                Rule::base64 => self.once(&mut pattern.base64, span, |s| s, "base64"),
                Rule::max => {
                    let size = self.size(&only(part));
                    self.once(&mut pattern.max, size, |s| &s.span, "max");
                }
                Rule::near => {
                    let mut inner = parts(part).into_iter();
                    if let (Some(words), Some(within)) = (inner.next(), inner.next()) {
                        let near = Near { words: self.list(words).value, within: self.size(&within) };
                        self.once(&mut pattern.near, near, |n| &n.within.span, "near");
                    }
                }
                _ => {
                    let mut inner = parts(part).into_iter();
                    if let Some(name) = inner.next() {
                        let argument = inner.next().map(|n| self.number(&n));
                        pattern.validators.push(Validate { name: self.name(&name), argument });
                    }
                }
            }
        }
        pattern
    }

    fn rule<'i>(&mut self, name: Name, rest: impl Iterator<Item = Node<'i>>) -> super::tree::Rule {
        let direction = Spanned::new(Direction::Both, name.span.clone());
        let mut rule = super::tree::Rule {
            name,
            sealed: None,
            meta: Meta::default(),
            mode: None,
            direction,
            scopes: Vec::new(),
            when: None,
            unless: None,
            matches: Vec::new(),
            limit: None,
            actions: Vec::new(),
            priority: None,
        };
        for part in rest {
            let span = self.span(&part);
            match part.as_rule() {
                Rule::sealed => rule.sealed = Some(span),
                Rule::meta => self.meta(&mut rule.meta, part),
                Rule::mode => self.set_mode(&mut rule.mode, part),
                Rule::on => {
                    let mut inner = parts(part).into_iter();
                    if let Some(word) = inner.next() {
                        rule.direction = self.direction(&word, true);
                    }
                    rule.scopes = inner.map(|n| self.name(&n)).collect();
                }
                Rule::when => rule.when = Some(self.condition(only(part))),
                Rule::unless => rule.unless = Some(self.condition(only(part))),
                Rule::matching => rule.matches = parts(part).into_iter().map(|n| self.matching(n)).collect(),
                Rule::limit => {
                    let inner = parts(part);
                    rule.limit = Some(Limit {
                        count: self.integer(&inner[0]),
                        per: self.duration(&inner[1]),
                        by: self.name(&inner[2]),
                        span,
                    });
                }
                Rule::then => rule.actions = parts(part).into_iter().map(|n| self.action(n)).collect(),
                _ => rule.priority = Some(self.integer(&only(part))),
            }
        }
        rule
    }

    fn direction(&mut self, word: &Node<'_>, both: bool) -> Spanned<Direction> {
        let span = self.span(word);
        let direction = match word.as_str() {
            "request" => Direction::Request,
            "response" => Direction::Response,
            "both" if both => Direction::Both,
            other => {
                let help = if both { "`request`, `response` or `both`" } else { "`request` or `response`" };
                let message = format!("unknown direction `{other}`");
                self.error(span.clone(), Code::UnknownValue, message).help = Some(format!("expected {help}"));
                Direction::Both
            }
        };
        Spanned::new(direction, span)
    }

    fn meta(&mut self, meta: &mut Meta, node: Node<'_>) {
        let (mut tags, mut gdpr) = (None, None);
        for part in parts(node) {
            let rule = part.as_rule();
            let inner = only(part);
            match rule {
                Rule::meta_id => {
                    let text = self.text(&inner);
                    self.once(&mut meta.id, text, |t| &t.span, "id");
                }
                Rule::meta_message => {
                    let text = self.text(&inner);
                    self.once(&mut meta.message, text, |t| &t.span, "message");
                }
                Rule::meta_severity => {
                    let name = self.name(&inner);
                    self.once(&mut meta.severity, name, |n| &n.span, "severity");
                }
                Rule::meta_tags => {
                    let list = self.list(inner);
                    self.once(&mut tags, list, |l| &l.span, "tags");
                }
                _ => {
                    let list = self.list(inner);
                    self.once(&mut gdpr, list, |l| &l.span, "gdpr");
                }
            }
        }
        for value in tags.into_iter().flat_map(|list| list.value) {
            match value {
                Value::Word(name) | Value::Text(name) => meta.tags.push(name),
                other => {
                    self.error(other.span().clone(), Code::Type, "a tag is a word or a string");
                }
            }
        }
        for value in gdpr.into_iter().flat_map(|list| list.value) {
            match value {
                Value::Text(text) => meta.gdpr.push(text),
                other => {
                    self.error(other.span().clone(), Code::Type, "an article is a string, such as `\"Art. 32\"`");
                }
            }
        }
    }

    fn matching(&mut self, node: Node<'_>) -> Match {
        let rule = node.as_rule();
        let inner = only(node);
        match rule {
            Rule::match_json => Match::Json(self.text(&inner)),
            Rule::match_column => Match::Column(match inner.as_rule() {
                Rule::list => self.list(inner).value,
                Rule::string => vec![Value::Text(self.text(&inner))],
                _ => vec![Value::Word(self.name(&inner))],
            }),
            _ => Match::Pattern(self.name(&inner)),
        }
    }

    fn action(&mut self, node: Node<'_>) -> Action {
        let span = self.span(&node);
        let rule = node.as_rule();
        let inner = parts(node).into_iter();
        let kind = match rule {
            Rule::block => ActionKind::Block(inner.map(|n| self.text(&n)).next()),
            Rule::mask => {
                let mut strategy = Spanned::new(String::new(), span.clone());
                let mut arguments = Vec::new();
                for node in inner {
                    if node.as_rule() == Rule::argument {
                        let mut both = parts(node).into_iter();
                        if let (Some(name), Some(value)) = (both.next(), both.next()) {
                            arguments.push((self.name(&name), self.value(value)));
                        }
                    } else {
                        strategy = self.name(&node);
                    }
                }
                ActionKind::Mask { strategy, arguments }
            }
            Rule::approve => {
                let (mut by, mut count, mut ttl, mut wait, mut grant) = (Vec::new(), None, None, None, None);
                let mut estimate = false;
                for node in inner {
                    match node.as_rule() {
                        Rule::list => by = self.list(node).value,
                        Rule::count => count = Some(self.integer(&only(node))),
                        Rule::ttl => ttl = Some(self.duration(&only(node))),
                        Rule::wait => wait = Some(self.duration(&only(node))),
                        Rule::estimate => estimate = true,
                        _ => grant = Some(self.duration(&only(node))),
                    }
                }
                ActionKind::Approve { by, count, ttl, wait, grant, estimate }
            }
            _ => ActionKind::Alert,
        };
        Spanned::new(kind, span)
    }

    fn test(&mut self, name: Text, given: &Node<'_>, send: Node<'_>, expect: Node<'_>) -> Test {
        let mut entries = parts(given.clone()).into_iter();
        let direction = match entries.next() {
            Some(word) => self.direction(&word, false),
            None => Spanned::new(Direction::Request, name.span.clone()),
        };
        let mut facts = Vec::new();
        for entry in entries {
            let mut both = parts(entry).into_iter();
            if let (Some(field), Some(value)) = (both.next(), both.next()) {
                facts.push((self.field(field), self.value(value)));
            }
        }
        let mut rest = parts(expect).into_iter();
        let outcome = rest.next().expect("the grammar gives an outcome");
        let span = self.span(&outcome);
        let by = rest.next().map(|by| self.name(&only(by)));
        let word = outcome.as_str().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_owned();
        let text = parts(outcome).into_iter().next().map(|n| self.text(&n));
        let kind = match (word.as_str(), text) {
            ("mask", Some(text)) => Expect::Mask(text),
            ("block", _) => Expect::Block,
            ("approve", _) => Expect::Approve,
            ("alert", _) => Expect::Alert,
            _ => Expect::Pass,
        };
        Test { name, direction, given: facts, send: self.text(&only(send)), expect: Spanned::new(kind, span), by }
    }

    // Conditions.

    fn condition(&mut self, node: Node<'_>) -> Condition {
        let mut operator: Option<Rule> = None;
        let mut mixed = false;
        let mut terms = Vec::new();
        let chains = chains(&node);
        for part in node.into_inner() {
            match part.as_rule() {
                word @ (Rule::k_and | Rule::k_or) => {
                    if !mixed && operator.is_some_and(|o| o != word) {
                        mixed = true;
                        let span = self.span(&part);
                        let base = self.base;
                        let error = self.error(span, Code::MixedAndOr, "`and` and `or` stand side by side");
                        error.label = "the other one stands before".into();
                        error.help = Some("put parentheses around what belongs together".into());
                        let title = "put parentheses around what `and` joins";
                        let mut fix =
                            Fix { title: title.into(), applicability: Applicability::Suggested, edits: vec![] };
                        for chain in &chains {
                            let (start, end) = (base + chain.start, base + chain.end);
                            fix = fix.and(start..start, "(").and(end..end, ")");
                        }
                        error.fixes.push(fix);
                    }
                    operator = Some(word);
                }
                _ => terms.push(self.term(part)),
            }
        }
        match (terms.len(), operator) {
            (1, _) => terms.remove(0),
            (_, Some(Rule::k_or)) => Condition::Or(terms),
            _ => Condition::And(terms),
        }
    }

    fn term(&mut self, node: Node<'_>) -> Condition {
        let inner = if node.as_rule() == Rule::term { only(node) } else { node };
        match inner.as_rule() {
            Rule::negated => Condition::Not(Box::new(self.term(only(inner)))),
            Rule::group => self.condition(only(inner)),
            Rule::compare => {
                let parts = parts(inner);
                let field = self.field(parts[0].clone());
                let operator = Spanned::new(operator(parts[1].as_str()), self.span(&parts[1]));
                let value = self.value(parts[2].clone());
                Condition::Compare { field, operator, value }
            }
            _ => Condition::Field(self.field(only(inner))),
        }
    }

    fn field(&mut self, node: Node<'_>) -> Field {
        let mut parts = parts(node).into_iter();
        let name = self.name(&parts.next().expect("a field has a name"));
        Field { name, path: parts.next().map(|n| self.text(&n)) }
    }

    // Literals.

    fn value(&mut self, node: Node<'_>) -> Value {
        let inner = if node.as_rule() == Rule::value { only(node) } else { node };
        match inner.as_rule() {
            Rule::string => Value::Text(self.text(&inner)),
            Rule::number => Value::Number(self.number(&inner)),
            Rule::size => Value::Size(self.size(&inner)),
            Rule::duration => Value::Duration(self.duration(&inner)),
            Rule::list => Value::List(self.list(inner)),
            _ => Value::Word(self.name(&inner)),
        }
    }

    fn list(&mut self, node: Node<'_>) -> Spanned<Vec<Value>> {
        let span = self.span(&node);
        Spanned::new(parts(node).into_iter().map(|n| self.value(n)).collect(), span)
    }

    fn read<T: std::str::FromStr + Default>(&mut self, span: Span, text: &str, what: &str) -> Spanned<T> {
        let value = text.parse().unwrap_or_else(|_| {
            let error = self.error(span.clone(), Code::Literal, format!("`{text}` is not {what}"));
            let day = text.contains('-');
            error.help = Some(if day { "write it as in `2026-08-31`" } else { "write a smaller number" }.into());
            T::default()
        });
        Spanned::new(value, span)
    }

    fn integer(&mut self, node: &Node<'_>) -> Spanned<u64> {
        self.read(self.span(node), node.as_str(), "a number that fits in 64 bits")
    }

    fn number(&mut self, node: &Node<'_>) -> Spanned<f64> {
        self.read(self.span(node), node.as_str(), "a number")
    }

    fn date(&mut self, node: &Node<'_>) -> Spanned<jiff::civil::Date> {
        self.read(self.span(node), node.as_str(), "a day of the calendar")
    }

    fn scaled(&mut self, node: &Node<'_>, units: &[(&str, u64)]) -> Spanned<u64> {
        let text = node.as_str();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = units.iter().find(|(unit, _)| *unit == &text[digits.len()..]).map_or(1, |(_, factor)| *factor);
        let number: Spanned<u64> = self.read(self.span(node), digits, "a number that fits in 64 bits");
        let value = number.value.checked_mul(factor).unwrap_or_else(|| {
            let error = self.error(number.span.clone(), Code::Literal, format!("`{text}` is too large"));
            error.help = Some("write a smaller number".into());
            0
        });
        Spanned::new(value, number.span)
    }

    fn size(&mut self, node: &Node<'_>) -> Spanned<u64> {
        self.scaled(node, &[("B", 1), ("KiB", 1024), ("MiB", 1024 * 1024)])
    }

    fn duration(&mut self, node: &Node<'_>) -> Spanned<u64> {
        self.scaled(node, &[("s", 1), ("m", 60), ("h", 3600), ("d", 86400)])
    }

    fn text(&mut self, node: &Node<'_>) -> Text {
        let span = self.span(node);
        let raw = node.as_str();
        match unescape(&raw[1..raw.len() - 1]) {
            Ok(text) => Spanned::new(text, span),
            Err((at, message)) => {
                let start = span.start + 1 + at;
                let error = self.error(start..start + 1, Code::Literal, message);
                error.help = Some(r#"an escape is one of `\"`, `\\`, `\n`, `\r`, `\t`, `\u{…}`"#.into());
                Spanned::new(String::new(), span)
            }
        }
    }
}

/// The stretches of a condition that `and` joins, in bytes of the text that was parsed.
fn chains(condition: &Node<'_>) -> Vec<Span> {
    let mut chains: Vec<(Span, usize)> = Vec::new();
    let mut joined = false;
    for part in condition.clone().into_inner() {
        let span = part.as_span();
        match part.as_rule() {
            Rule::k_and => joined = true,
            Rule::k_or => joined = false,
            _ => match chains.last_mut().filter(|_| joined) {
                Some((chain, terms)) => (chain.end, *terms) = (span.end(), *terms + 1),
                None => chains.push((span.start()..span.end(), 1)),
            },
        }
    }
    chains.into_iter().filter(|(_, terms)| *terms > 1).map(|(chain, _)| chain).collect()
}

/// The only part below a node that isn't a keyword.
fn only(node: Node<'_>) -> Node<'_> {
    parts(node).into_iter().next().expect("the grammar gives this node one part")
}

fn operator(text: &str) -> Operator {
    match text {
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::AtMost,
        ">" => Operator::Greater,
        ">=" => Operator::AtLeast,
        "in" => Operator::In,
        "has" => Operator::Has,
        _ => Operator::Matches,
    }
}

fn unescape(raw: &str) -> Result<String, (usize, String)> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next().map(|(_, c)| c) {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('"' | '\\')) => c,
            Some('u') => {
                let rest = chars.as_str();
                let hex = rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(hex, _)| hex);
                let code =
                    hex.filter(|h| h.len() <= 6).and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32);
                let Some((hex, code)) = hex.zip(code) else {
                    return Err((at, "the escape `\\u` needs a Unicode scalar value in braces".into()));
                };
                for _ in 0..hex.chars().count() + 2 {
                    chars.next();
                }
                code
            }
            Some(other) => return Err((at, format!("unknown escape `\\{other}`"))),
            None => return Err((at, "an escape stands at the end".into())),
        });
    }
    Ok(out)
}
