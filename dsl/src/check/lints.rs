//! Warnings: what is right, but probably not meant.

use super::Checker;
use crate::codes::Code;
use crate::syntax::tree::{ActionKind, Direction, ItemKind, Rule};
use jiff::ToSpan as _;
use std::collections::BTreeSet;

pub(crate) fn lint(checker: &Checker<'_>) {
    let given = || checker.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given);
    let mut tested: BTreeSet<(usize, String)> = BTreeSet::new();
    for (unit, read) in given() {
        for item in &read.tree.items {
            if let ItemKind::Test(test) = &item.kind
                && let Some(by) = &test.by
                && let Some((target, last)) = checker.split(unit, &by.value)
            {
                tested.insert((target, last.to_owned()));
            }
        }
    }
    let used =
        |unit: usize, kind: &'static str, name: &str| checker.used.borrow().contains(&(unit, kind, name.to_owned()));
    for (unit, read) in given() {
        // What a file without rules holds is for others.
        let library = !read.tree.items.iter().any(|item| matches!(item.kind, ItemKind::Rule(_)));
        for item in &read.tree.items {
            let (name, kind, code) = match &item.kind {
                ItemKind::Pattern(i) => (&i.name, "pattern", Code::UnusedPattern),
                ItemKind::List(i) => (&i.name, "list", Code::UnusedList),
                ItemKind::Scope(i) => (&i.name, "scope", Code::UnusedScope),
                ItemKind::Rule(i) => {
                    if !tested.contains(&(unit, i.name.value.clone())) {
                        let message = format!("no test names rule `{}`", i.name.value);
                        let help = format!("add one, as in `{}`", example(checker, unit, i));
                        checker.error(unit, &i.name.span, Code::UntestedRule, message, |d| d.help(help));
                    }
                    continue;
                }
                ItemKind::Except(i) => {
                    let today = checker.options.today;
                    let soon = today.checked_add(30.days()).unwrap_or(today);
                    if i.until.value >= today && i.until.value <= soon {
                        let message = format!("the exception ends on {}", i.until.value);
                        checker.error(unit, &i.until.span, Code::ExpiresSoon, message, |d| d);
                    }
                    continue;
                }
                _ => continue,
            };
            if !library && !used(unit, kind, &name.value) {
                checker.error(unit, &name.span, code, format!("{kind} `{}` is not used", name.value), |d| d);
            }
        }
    }
}

/// A test of a rule, with the texts left to be written.
fn example(checker: &Checker<'_>, unit: usize, rule: &Rule) -> String {
    let direction = if rule.direction.value == Direction::Response { "response" } else { "request" };
    let action = rule.actions.iter().find_map(|action| match &action.value {
        ActionKind::Block(_) => Some("block"),
        ActionKind::Mask { .. } => Some("mask \"…\""),
        ActionKind::Approve { .. } => Some("approve"),
        ActionKind::Alert => None,
    });
    let protocols = checker.rule_protocols(unit, rule);
    let protocol = protocols.iter().copied().find(|protocol| *protocol == "mcp").or(protocols.first().copied());
    let (name, action, protocol) = (&rule.name.value, action.unwrap_or("alert"), protocol.unwrap_or("mcp"));
    format!("test \"…\" {{ given {direction} {{ protocol {protocol} }} send \"…\" expect {action} by {name} }}")
}
