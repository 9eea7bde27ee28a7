//! What rules, patterns and conditions do, in plain words: for the hover of editors and the book.

use crate::syntax::tree::{
    ActionKind, Comment, Condition, Direction, Except, Field, ItemKind, List, Match, Mode, Operator, Pattern,
    PatternBody, Rule, Scope, Value,
};
use std::fmt::Write as _;

/// How many values of a list are named.
const SHOWN: usize = 8;

/// What an item that has a name is or does; empty for one that has none.
#[must_use]
pub fn item(kind: &ItemKind) -> String {
    match kind {
        ItemKind::Rule(i) => rule(i),
        ItemKind::Pattern(i) => pattern(i),
        ItemKind::Scope(i) => scope(i),
        ItemKind::List(i) => list(i),
        ItemKind::Except(i) => except(i),
        _ => String::new(),
    }
}

/// The lines of comment that stand directly above an item that begins at this byte; None where there are none.
#[must_use]
pub fn comment_above(text: &str, comments: &[Comment], at: usize) -> Option<String> {
    let (mut lines, mut start) = (Vec::new(), at);
    for comment in comments.iter().rev().skip_while(|comment| comment.span.start >= at) {
        let between = &text[comment.span.end..start];
        let line = text[..comment.span.start].rsplit('\n').next().unwrap_or_default();
        // One that stands behind something on its line speaks of that.
        if between.trim() != "" || between.matches('\n').count() > 1 || line.trim() != "" {
            break;
        }
        lines.push(comment.text.as_str());
        start = comment.span.start;
    }
    lines.reverse();
    (!lines.is_empty()).then(|| lines.join(" "))
}

/// What a rule does, in one or two sentences of Markdown.
#[must_use]
pub fn rule(rule: &Rule) -> String {
    let mut out = String::from(match rule.direction.value {
        Direction::Request => "On requests",
        Direction::Response => "On responses",
        Direction::Both => "On requests and responses",
    });
    if !rule.scopes.is_empty() {
        let scopes: Vec<String> = rule.scopes.iter().map(|scope| format!("`{}`", scope.value)).collect();
        let _ = write!(out, " in {}", or(&scopes));
    }
    if let Some(when) = &rule.when {
        let _ = write!(out, ", when {}", condition(when));
    }
    let matches: Vec<String> = rule.matches.iter().map(matching).collect();
    let searched = !matches.is_empty();
    if searched {
        let _ = write!(out, ", looks for {}", or(&matches));
    }
    if let Some(limit) = &rule.limit {
        let (count, per) = (limit.count.value, duration(limit.per.value));
        let _ = write!(out, " more than {count} times in {per} by `{}`", limit.by.value);
    }
    let actions: Vec<String> = rule.actions.iter().map(|action| act(&action.value, searched)).collect();
    let _ = write!(out, "{}{}", if searched { " and " } else { ", " }, actions.join(", and "));
    if let Some(unless) = &rule.unless {
        let _ = write!(out, "; not where {}", condition(unless));
    }
    out.push('.');
    if rule.mode.as_ref().is_some_and(|mode| mode.value == Mode::Audit) {
        out.push_str(" It only records what it would have done.");
    }
    if rule.sealed.is_some() {
        out.push_str(" It is sealed: no exception may touch it.");
    }
    out
}

/// What a pattern looks for.
#[must_use]
pub fn pattern(pattern: &Pattern) -> String {
    let mut out = match &pattern.body {
        PatternBody::Regex(_) => "Text that fits a regular expression".to_owned(),
        PatternBody::Words(words) => format!("One of the words {}", values(words)),
        PatternBody::Detect(name) => format!("What `{}` finds", name.value),
    };
    if pattern.nocase.is_some() {
        out.push_str(", in any case");
    }
    for validate in &pattern.validators {
        let argument = validate.argument.as_ref().map(|a| format!("({})", a.value)).unwrap_or_default();
        let _ = write!(out, ", that passes `{}{argument}`", validate.name.value);
    }
    if pattern.base64.is_some() {
        out.push_str(", in base64 too");
    }
    if let Some(near) = &pattern.near {
        let _ = write!(out, ", within {} bytes of {}", near.within.value, values(&near.words));
    }
    out.push('.');
    out
}

/// Where a scope holds.
#[must_use]
pub fn scope(scope: &Scope) -> String {
    format!("Where {}.", condition(&scope.condition))
}

/// What a list holds.
#[must_use]
pub fn list(list: &List) -> String {
    format!("One of {}.", values(&list.values))
}

/// Whom an exception relaxes a rule for.
#[must_use]
pub fn except(except: &Except) -> String {
    let (when, until) = (condition(&except.when), except.until.value);
    let (reason, by) = (&except.reason.value, &except.approved_by.value);
    format!("`{}` doesn't hold where {when}, until {until}: {reason} (approved by {by}).", except.rule.value)
}

/// A condition as a clause of a sentence.
#[must_use]
pub fn condition(this: &Condition) -> String {
    match this {
        Condition::And(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" and "),
        Condition::Or(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" or "),
        Condition::Not(inner) => match &**inner {
            Condition::Field(of) => format!("{} is false", field(of)),
            Condition::Compare { field: of, operator, value } => {
                let not = match operator.value {
                    Operator::Equal => Some("is not"),
                    Operator::NotEqual => Some("is"),
                    Operator::In => Some("is none of"),
                    Operator::Has => Some("has none of"),
                    Operator::Matches => Some("doesn't fit"),
                    _ => None,
                };
                not.map_or_else(
                    || format!("not ({})", condition(inner)),
                    |not| format!("{} {not} {}", field(of), self::value(value)),
                )
            }
            other => format!("not ({})", condition(other)),
        },
        Condition::Field(of) => format!("{} is true", field(of)),
        Condition::Compare { field: of, operator, value } => {
            let how = match operator.value {
                Operator::Equal => "is",
                Operator::NotEqual => "is not",
                Operator::Less => "is less than",
                Operator::AtMost => "is at most",
                Operator::Greater => "is more than",
                Operator::AtLeast => "is at least",
                Operator::In => "is one of",
                Operator::Has => "has one of",
                Operator::Matches => "fits",
            };
            format!("{} {how} {}", field(of), self::value(value))
        }
    }
}

/// A part of a longer condition; a group keeps its parentheses.
fn part(this: &Condition) -> String {
    match this {
        Condition::And(_) | Condition::Or(_) => format!("({})", condition(this)),
        _ => condition(this),
    }
}

fn field(field: &Field) -> String {
    match &field.path {
        Some(path) => format!("`{}(\"{}\")`", field.name.value, path.value),
        None => format!("`{}`", field.name.value),
    }
}

fn matching(one: &Match) -> String {
    match one {
        Match::Pattern(name) => format!("`{}`", name.value),
        Match::Json(path) => format!("the JSON member `{}`", path.value),
        Match::Column(names) => format!("the column {}", values(names)),
    }
}

fn act(action: &ActionKind, searched: bool) -> String {
    match action {
        ActionKind::Block(Some(message)) => format!("refuses with “{}”", message.value),
        ActionKind::Block(None) => "refuses".to_owned(),
        ActionKind::Alert if searched => "reports it".to_owned(),
        ActionKind::Alert => "reports the request".to_owned(),
        ActionKind::Approve { by, count, wait, grant, estimate, .. } => {
            let count = count.as_ref().map_or(1, |count| count.value);
            let wait = wait.as_ref().map(|wait| format!(", up to {}", duration(wait.value))).unwrap_or_default();
            let grant = grant
                .as_ref()
                .map(|grant| format!(", which then holds for {}", duration(grant.value)))
                .unwrap_or_default();
            let estimate = if *estimate { ", with the server's estimate" } else { "" };
            format!("waits for the approval of {count} of {}{wait}{grant}{estimate}", values(by))
        }
        ActionKind::Mask { strategy, arguments } => {
            let argument = |name: &str| arguments.iter().find(|(n, _)| n.value == name).map(|(_, v)| value(v));
            match strategy.value.as_str() {
                "redact" => {
                    format!("puts {} in its place", argument("with").unwrap_or_else(|| "`\"[redacted]\"`".into()))
                }
                "partial" => {
                    let ends = [("keep_first", "first"), ("keep_last", "last")];
                    let kept: Vec<_> = ends
                        .iter()
                        .filter_map(|(name, end)| argument(name).map(|n| format!("the {end} {n}")))
                        .collect();
                    if kept.is_empty() {
                        "hides it".to_owned()
                    } else {
                        format!("hides all but {}", kept.join(" and "))
                    }
                }
                "hash" => "puts a keyed hash in its place".to_owned(),
                "tokenize" => "puts a reversible token in its place".to_owned(),
                "format_preserving" => "puts other digits in the place of its digits".to_owned(),
                other => format!("masks it with `{other}`"),
            }
        }
    }
}

fn value(this: &Value) -> String {
    match this {
        Value::Text(text) => format!("`{:?}`", text.value),
        Value::Word(word) => format!("`{}`", word.value),
        Value::Number(number) => number.value.to_string(),
        Value::Size(size) => format!("{} bytes", size.value),
        Value::Duration(seconds) => duration(seconds.value),
        Value::List(list) => values(&list.value),
    }
}

fn values(list: &[Value]) -> String {
    let mut shown: Vec<String> = list.iter().take(SHOWN).map(value).collect();
    if list.len() > SHOWN {
        shown.push(format!("{} more", list.len() - SHOWN));
    }
    or(&shown)
}

fn or(parts: &[String]) -> String {
    match parts {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Vec<String> {
        let parsed = crate::syntax::parse(&crate::Source { path: "t".into(), text: text.into() });
        assert_eq!(parsed.diagnostics, []);
        parsed.file.items.iter().map(|i| item(&i.kind)).collect()
    }

    #[test]
    fn a_rule_on_facts_reads_as_a_sentence() {
        let text = "rule r sealed { on request in prod when sql.verb in [drop, truncate] or (sql.verb == delete and not \
                    sql.has_where) unless user.group has org.breakglass then block \"No.\" }";
        assert_eq!(
            described(text),
            ["On requests in `prod`, when `sql.verb` is one of `drop` or `truncate` or (`sql.verb` is `delete` and \
              `sql.has_where` is false), refuses with “No.”; not where `user.group` has one of `org.breakglass`. It is \
              sealed: no exception may touch it."]
        );
    }

    #[test]
    fn a_rule_on_data_says_what_it_looks_for_and_what_it_leaves() {
        let text = "rule r { mode audit on both match card, json \"$.a\", column [\"x\"] then mask partial(keep_last: 4), \
                    alert }";
        assert_eq!(
            described(text),
            [
                "On requests and responses, looks for `card`, the JSON member `$.a` or the column `\"x\"` and hides all but \
              the last 4, and reports it. It only records what it would have done."
            ]
        );
    }

    #[test]
    fn patterns_scopes_lists_and_exceptions_read_as_sentences() {
        let text = "pattern a = words [\"b\", \"c\"] nocase base64 near [\"d\"] within 40\nscope s { size > 1KiB }\nlist l = [\"a\"]\n\
                    except r { when not user.group has \"x\" until 2027-01-02 reason \"T-1\" approved_by \"dpo\" }";
        assert_eq!(
            described(text),
            [
                "One of the words `\"b\"` or `\"c\"`, in any case, in base64 too, within 40 bytes of `\"d\"`.",
                "Where `size` is more than 1024 bytes.",
                "One of `\"a\"`.",
                "`r` doesn't hold where `user.group` has none of `\"x\"`, until 2027-01-02: T-1 (approved by dpo).",
            ]
        );
    }
}
