//! The places of the rules that were lowered.

use super::Checker;
use super::lower::Analysed;
use super::names::Kind;
use crate::places::{MatchPlace, RulePlaces, leaves};
use crate::syntax::tree::{ItemKind, Match, Name};

/// The places of each rule, in the order of the rules. The rules have no errors.
pub(crate) fn places(checker: &Checker<'_>, rules: &[Analysed<'_>]) -> Vec<RulePlaces> {
    let mut out: Vec<RulePlaces> = rules.iter().map(|rule| of(checker, rule)).collect();
    // In the order in which exceptions are lowered.
    for (unit, read) in checker.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given) {
        for item in &read.tree.items {
            let ItemKind::Except(except) = &item.kind else { continue };
            let Some((target, last)) = checker.find(unit, Kind::Rule, &except.rule.value) else { continue };
            let index = rules.iter().position(|rule| rule.unit == target && rule.rule.name.value == last);
            if let Some(index) = index {
                out[index].relaxed.push(leaves(&read.source, &except.when));
            }
        }
    }
    out
}

fn of(checker: &Checker<'_>, Analysed { unit, rule, .. }: &Analysed<'_>) -> RulePlaces {
    let source = &checker.loaded.units[*unit].source;
    let scopes = rule.scopes.iter().filter_map(|name| checker.find(*unit, Kind::Scope, &name.value));
    let mut holds: Vec<_> = scopes
        .flat_map(|(target, last)| {
            let scope = checker.names.tables[target].scopes[last];
            leaves(&checker.loaded.units[target].source, &scope.condition)
        })
        .collect();
    holds.extend(rule.when.iter().flat_map(|when| leaves(source, when)));
    let relaxed = rule.unless.iter().map(|unless| leaves(source, unless)).collect();
    let matches = rule.matches.iter().map(|matching| match matching {
        Match::Pattern(name) => MatchPlace { span: name.span.clone(), patterns: pattern_names(checker, *unit, name) },
        Match::Json(path) => MatchPlace { span: path.span.clone(), patterns: vec![format!("json {}", path.value)] },
        Match::Column(values) => {
            let columns = checker.texts(*unit, values);
            let first = values.first().map_or(rule.name.span.clone(), |value| value.span().clone());
            let end = values.last().map_or(first.end, |value| value.span().end);
            MatchPlace { span: first.start..end, patterns: vec![format!("column {}", columns.join("|"))] }
        }
    });
    RulePlaces { source: source.clone(), name: rule.name.span.clone(), holds, relaxed, matches: matches.collect() }
}

/// The patterns that a name stands for, as decisions call them.
fn pattern_names(checker: &Checker<'_>, unit: usize, name: &Name) -> Vec<String> {
    let full = |unit: usize, last: &str| {
        let read = &checker.loaded.units[unit];
        if read.named { format!("{}.{last}", read.pack) } else { last.to_owned() }
    };
    match (checker.find(unit, Kind::Pattern, &name.value), checker.split(unit, &name.value)) {
        (Some((target, last)), _) => vec![full(target, last)],
        (None, Some((target, _))) => checker.names.tables[target].patterns.keys().map(|p| full(target, p)).collect(),
        (None, None) => Vec::new(),
    }
}
