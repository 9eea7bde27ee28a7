//! Actions: what a rule does, checked and lowered.

use super::Checker;
use crate::codes::Code;
use crate::fields::nearest;
use crate::policy::HitAction;
use crate::syntax::tree::{ActionKind, Name, Rule, Span, Value};
use crate::words;
use sluice_engine::Mask;
use std::time::Duration;

/// The longest that an approval may let the same command go on, in seconds.
const MAX_GRANT: u64 = 24 * 3600;

/// What a rule does.
pub(crate) enum Lowered {
    Block(Option<String>),
    Mask(Mask),
    Approve(HitAction),
    Alert,
}

impl Checker<'_> {
    /// The one action of a rule; `alert` beside another adds nothing, as every decision is reported.
    pub(crate) fn action(&self, unit: usize, rule: &Rule) -> Option<Lowered> {
        let mut main: Option<Lowered> = None;
        let mut good = true;
        for action in &rule.actions {
            let lowered = match &action.value {
                ActionKind::Alert => continue,
                ActionKind::Block(message) => Lowered::Block(message.as_ref().map(|m| m.value.clone())),
                ActionKind::Mask { strategy, arguments } => match self.mask(unit, strategy, arguments) {
                    Some(mask) => Lowered::Mask(mask),
                    // What is said about it is enough; the other actions are still looked at.
                    None => {
                        good = false;
                        Lowered::Alert
                    }
                },
                ActionKind::Approve { by, count, ttl, wait, grant, estimate } => {
                    let by = self.texts(unit, by);
                    let positive = |value: Option<u64>, or: u64| value.unwrap_or(or);
                    let count = positive(count.as_ref().map(|c| c.value), 1);
                    if by.is_empty() || count == 0 || count > 100 {
                        let message = "an approval needs a group, and a count from 1 to 100";
                        let help = "write it as in `approve by [\"dba-leads\"] count 1`";
                        self.error(unit, &action.span, Code::Action, message, |d| d.help(help));
                        return None;
                    }
                    let ttl = Duration::from_secs(positive(ttl.as_ref().map(|t| t.value), 30 * 60));
                    let wait = Duration::from_secs(positive(wait.as_ref().map(|t| t.value), 10 * 60));
                    if let Some(long) = grant.as_ref().filter(|grant| !(1..=MAX_GRANT).contains(&grant.value)) {
                        let help = "leave `grant` out for approvals that count once";
                        let message = "`grant` is a time from a second to a day";
                        self.error(unit, &long.span, Code::Action, message, |d| d.help(help));
                        return None;
                    }
                    Lowered::Approve(HitAction::Approve {
                        by,
                        count: u32::try_from(count).unwrap_or(u32::MAX),
                        ttl,
                        wait,
                        grant: grant.as_ref().map(|grant| Duration::from_secs(grant.value)),
                        estimate: *estimate,
                    })
                }
            };
            if main.is_some() {
                let help = "split the rule; `alert` alone goes with another action";
                self.error(unit, &action.span, Code::Action, "two actions exclude each other", |d| d.help(help));
                return None;
            }
            main = Some(lowered);
        }
        good.then(|| main.unwrap_or(Lowered::Alert))
    }

    fn mask(&self, unit: usize, strategy: &Name, arguments: &[(Name, Value)]) -> Option<Mask> {
        let Some(info) = words::mask(&strategy.value) else {
            let names = || words::MASKS.iter().map(|mask| mask.name);
            let near = nearest(&strategy.value, names());
            let all = names().collect::<Vec<_>>().join(", ");
            self.error(unit, &strategy.span, Code::Mask, format!("unknown mask `{}`", strategy.value), |d| {
                d.meant(near, &strategy.span, format!("it is one of: {all}"))
            });
            return None;
        };
        let known: Vec<&str> = info.arguments.iter().map(|(name, _)| *name).collect();
        for (index, (name, _)) in arguments.iter().enumerate() {
            if !known.contains(&name.value.as_str()) {
                let message = format!("`{}` takes no `{}`", strategy.value, name.value);
                let near = nearest(&name.value, known.iter().copied());
                self.error(unit, &name.span, Code::Mask, message, |d| {
                    d.meant(near, &name.span, format!("it takes: {}", known.join(", ")))
                });
                return None;
            }
            if arguments[..index].iter().any(|(other, _)| other.value == name.value) {
                self.error(unit, &name.span, Code::DuplicateClause, format!("`{}` is given twice", name.value), |d| {
                    d.label("the second one").help("keep one of them")
                });
                return None;
            }
        }
        let argument = |name: &str| arguments.iter().find(|(n, _)| n.value == name).map(|(_, value)| value);
        let bad = |span: &Span, message: &str| {
            self.error(unit, span, Code::Mask, message, |d| {
                d.help("write it as in `partial(keep_first: 2, keep_last: 4, with: \"*\")`, `redact(with: \"[text]\")`")
            });
        };
        let text = |name: &str| -> Option<Option<String>> {
            match argument(name) {
                None => Some(None),
                Some(Value::Text(text)) => Some(Some(text.value.clone())),
                Some(other) => {
                    bad(other.span(), "a string is expected here");
                    None
                }
            }
        };
        let number = |name: &str| -> Option<usize> {
            match argument(name) {
                None => Some(0),
                Some(Value::Number(n)) if n.value.fract() == 0.0 && n.value <= 4096.0 => Some(n.value as usize),
                Some(other) => {
                    bad(other.span(), "a whole number up to 4096 is expected here");
                    None
                }
            }
        };
        let key = || -> Option<String> {
            let key = text("key")?;
            if key.as_ref().is_none_or(String::is_empty) {
                let message = format!("`{}` needs a key", strategy.value);
                let help = format!("name one: `{}(key: \"pii\")`; without a key values can be guessed", strategy.value);
                self.error(unit, &strategy.span, Code::Mask, message, |d| d.help(help));
                return None;
            }
            key
        };
        Some(match strategy.value.as_str() {
            "redact" => Mask::redact(text("with")?.unwrap_or_else(|| "[redacted]".to_owned())),
            "partial" => {
                let with = text("with")?.unwrap_or_else(|| "*".to_owned());
                let mut chars = with.chars();
                let (Some(with), None) = (chars.next(), chars.next()) else {
                    bad(argument("with").map_or(&strategy.span, Value::span), "`with` is one character");
                    return None;
                };
                Mask::Partial { keep_first: number("keep_first")?, keep_last: number("keep_last")?, with }
            }
            "hash" => Mask::Hash { key: key()? },
            "tokenize" => Mask::Tokenize { key: key()? },
            _ => Mask::FormatPreserving { key: key()? },
        })
    }
}
