//! Warnings about single items: what is right, but probably not meant.

use super::Checker;
use super::names::Kind;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Fix, Severity};
use crate::syntax::tree::{ActionKind, Direction, Except, Item, ItemKind, Match, Name, PatternBody, Rule};
use jiff::ToSpan as _;
use std::collections::BTreeSet;

/// An exception that ends within so many days is told.
const SOON: i64 = 30;

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
    // What an item that can't be read speaks of isn't known, nor what a misspelt name means, so "nothing speaks of it" isn't either.
    let unknown = checker.diagnostics.borrow().iter().any(|d| d.code == Code::UnknownName);
    let unread = unknown || checker.loaded.units.iter().any(|unit| !unit.whole);
    let errors: BTreeSet<(String, usize)> = (checker.diagnostics.borrow().iter())
        .filter(|d| d.severity == Severity::Error)
        .map(|d| (d.path.clone(), d.span.start))
        .collect();
    for (unit, read) in given() {
        // What a file without rules holds is for others.
        let library = !read.tree.items.iter().any(|item| matches!(item.kind, ItemKind::Rule(_)));
        for item in &read.tree.items {
            // First things first: what has errors will be written anew.
            let (path, span) = (&read.source.path, &item.span);
            if errors.range((path.clone(), span.start)..(path.clone(), span.end)).next().is_some() {
                continue;
            }
            match &item.kind {
                ItemKind::Rule(rule) => {
                    if !unread && !tested.contains(&(unit, rule.name.value.clone())) {
                        checker.untested(unit, rule);
                    }
                    checker.article(unit, rule);
                    checker.estimate(unit, rule);
                }
                ItemKind::Except(except) => checker.ends_soon(unit, except),
                ItemKind::Pattern(pattern) => checker.anchors(unit, pattern),
                _ => {}
            }
            if !library && !unread {
                checker.unused(unit, item);
            }
        }
    }
}

impl Checker<'_> {
    fn unused(&self, unit: usize, item: &Item) {
        let (name, kind, code) = match &item.kind {
            ItemKind::Pattern(item) => (&item.name, Kind::Pattern, Code::UnusedPattern),
            ItemKind::List(item) => (&item.name, Kind::List, Code::UnusedList),
            ItemKind::Scope(item) => (&item.name, Kind::Scope, Code::UnusedScope),
            _ => return,
        };
        if self.used.borrow().contains(&(unit, kind.word(), name.value.clone())) {
            return;
        }
        let message = format!("{} `{}` is not used", kind.word(), name.value);
        let (help, title) = match kind {
            Kind::Pattern => ("let a rule `match` it, or remove it", "remove the pattern"),
            Kind::Scope => ("let a rule hold `in` it, or remove it", "remove the scope"),
            _ => ("use it, or remove it", "remove the list"),
        };
        let fix = Fix::new(title, Applicability::Suggested, item.span.clone(), "");
        self.error(unit, &name.span, code, message, |d| d.help(help).fix(fix));
    }

    fn untested(&self, unit: usize, rule: &Rule) {
        let message = format!("no test names rule `{}`", rule.name.value);
        let help = format!("add one, as in `{}`", example(self, unit, rule));
        self.error(unit, &rule.name.span, Code::UntestedRule, message, |d| d.help(help));
    }

    fn ends_soon(&self, unit: usize, except: &Except) {
        let (today, until) = (self.options.today, except.until.value);
        let soon = today.checked_add(SOON.days()).unwrap_or(today);
        if until >= today && until <= soon {
            let message = format!("the exception ends on {until}");
            self.error(unit, &except.until.span, Code::ExpiresSoon, message, |d| {
                d.help("have it approved anew with a later date, or let the rule hold again")
            });
        }
    }

    /// Whoever counts on an estimate gets one.
    fn estimate(&self, unit: usize, rule: &Rule) {
        let asks = |action: &ActionKind| matches!(action, ActionKind::Approve { estimate: true, .. });
        let Some(action) = rule.actions.iter().find(|action| asks(&action.value)) else { return };
        if self.rule_protocols(unit, rule).contains("postgres") {
            return;
        }
        let message = format!("`{}` never holds for PostgreSQL, and nothing else estimates", rule.name.value);
        self.error(unit, &action.span, Code::NoEstimate, message, |d| {
            d.help("leave `estimate` out, or say `in` a scope with `protocol == postgres`")
        });
    }

    /// Who handles personal data says by which article.
    fn article(&self, unit: usize, rule: &Rule) {
        if !rule.meta.gdpr.is_empty() {
            return;
        }
        let tag = rule.meta.tags.iter().find(|tag| tag.value == "pii").map(|tag| tag.span.clone());
        let searched = rule.matches.iter().find_map(|one| match one {
            Match::Pattern(name) if self.personal(unit, name) => Some(name.span.clone()),
            _ => None,
        });
        let Some(span) = searched.or(tag) else { return };
        let name = &rule.name;
        let message = format!("rule `{}` handles personal data and names no article", name.value);
        self.error(unit, &name.span, Code::NoArticle, message, |d| {
            let d = d.related(&self.loaded.units[unit].source, span, "personal data");
            d.help("name what it serves, as in `meta { gdpr [\"Art. 5(1)(c)\", \"Art. 32\"] }`")
        });
    }

    /// Whether a name means a pattern of `std.pii`, or one that is made of it.
    fn personal(&self, unit: usize, name: &Name) -> bool {
        let (mut unit, mut name) = (unit, name.value.as_str());
        for _ in 0..64 {
            let Some((target, last)) = self.split(unit, name) else { return false };
            if self.loaded.units[target].pack == "std.pii" {
                return true;
            }
            match self.names.tables[target].patterns.get(last).map(|pattern| &pattern.body) {
                Some(PatternBody::Detect(base)) => (unit, name) = (target, base.value.as_str()),
                _ => return false,
            }
        }
        false
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
