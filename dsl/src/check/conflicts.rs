//! Masks that claim the same value at equal priority. Values are made, sent through the policy's own program, and told only
//! where both rules hold for one request and were seen to claim one value.

use super::lower::Analysed;
use super::search::{Answer, Ask};
use super::trial::{self, Trial};
use super::whole::{Whole, acts};
use super::worlds::World;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::fields::SQL_PROTOCOLS;
use crate::policy::{Effect, SessionPolicy};
use crate::syntax::tree::{ActionKind, Span};
use sluice_engine::{Action, Decision, Mask, RuleId};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Values that are tried.
const MOST_TRIALS: usize = 2_000;
/// Values that are kept for a pair of rules.
const MOST_KEPT: usize = 4;

/// A rule that masks.
struct Masking<'r, 'a> {
    rule: &'r Analysed<'a>,
    id: RuleId,
    mask: &'r Mask,
}

pub(crate) fn conflicts(whole: &Whole<'_, '_>) {
    let mut told = BTreeSet::new();
    for response in [true, false] {
        let masks: Vec<Masking<'_, '_>> = (whole.rules.iter())
            .filter(|rule| if response { rule.lowered.response } else { rule.lowered.request })
            .filter_map(|rule| match (&rule.lowered.effect, &rule.action) {
                (Effect::Engine(id), Some(Action::Mask(mask))) => Some(Masking { rule, id: *id, mask }),
                _ => None,
            })
            .collect();
        for ((a, b), trials) in meetings(whole, &masks) {
            let key = (masks[a].id.index(), masks[b].id.index());
            if !told.contains(&key)
                && let Some(diagnostic) = conflict(whole, &masks[a], &masks[b], &trials, response)
            {
                told.insert(key);
                whole.checker.push(diagnostic);
            }
        }
    }
}

/// The pairs of masks at equal priority that were seen to claim a value from the same byte on, and such values.
fn meetings(whole: &Whole<'_, '_>, masks: &[Masking<'_, '_>]) -> BTreeMap<(usize, usize), Vec<Trial>> {
    let mut out: BTreeMap<(usize, usize), Vec<Trial>> = BTreeMap::new();
    let differ = |a: &Masking<'_, '_>, b: &Masking<'_, '_>| {
        a.mask != b.mask
            && a.rule.lowered.priority == b.rule.lowered.priority
            && !a.rule.sessions.apart(&b.rule.sessions)
    };
    if !masks.iter().enumerate().any(|(i, a)| masks[..i].iter().any(|b| differ(a, b))) {
        return out;
    }
    let program = whole.policy.program();
    let places: HashMap<RuleId, usize> = masks.iter().enumerate().map(|(place, mask)| (mask.id, place)).collect();
    for trial in trials(&masks.iter().map(|mask| mask.rule).collect::<Vec<_>>()) {
        let protocol = if trial.column.is_some() { SQL_PROTOCOLS[0] } else { "mcp" };
        let Some((decisions, _)) = trial.run(program, masks.iter().map(|mask| mask.id), protocol) else { continue };
        let mut claims: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for decision in &decisions {
            claims.entry(decision.span.start).or_default().insert(places[&decision.rule]);
        }
        for (first, second) in claims.values().flat_map(pairs) {
            if differ(&masks[first], &masks[second]) {
                let kept = out.entry((first, second)).or_default();
                if kept.len() < MOST_KEPT && !kept.contains(&trial) {
                    kept.push(trial.clone());
                }
            }
        }
    }
    out
}

/// Each two of these, the lesser first.
fn pairs(of: &BTreeSet<usize>) -> impl Iterator<Item = (usize, usize)> + '_ {
    of.iter().flat_map(move |first| of.range(first + 1..).map(move |second| (*first, *second)))
}

/// Values of every pattern, as they stand and where each path and column would have them.
pub(crate) fn trials(rules: &[&Analysed<'_>]) -> Vec<Trial> {
    let mut out = trial::of(rules.iter().flat_map(|rule| &rule.specs));
    out.truncate(MOST_TRIALS);
    out
}

/// What was seen for one request with one value.
struct Seen {
    world: World,
    trial: Trial,
    /// What comes out by the first rule alone, by the second alone, and by the policy.
    alone: [String; 2],
    first_wins: bool,
    because: &'static str,
}

fn conflict(
    whole: &Whole<'_, '_>,
    a: &Masking<'_, '_>,
    b: &Masking<'_, '_>,
    trials: &[Trial],
    response: bool,
) -> Option<Diagnostic> {
    let both = || vec![acts(a.rule), acts(b.rule)];
    // A value of a column is had over the protocols of databases, a document over the others.
    let seen = trials.iter().find_map(|trial| {
        let native = |world: &World| SQL_PROTOCOLS.contains(&world.session.protocol.as_str());
        for wanted in [Some(trial.column.is_some()), None] {
            let mut asks = both();
            asks.extend(wanted.map(|native| if native { Ask::Native } else { Ask::Native.not() }));
            let Answer::Yes(world) = whole.search.find(&Ask::All(asks)) else { continue };
            if trial.column.is_some() == native(&world) || (trial.column.is_none() && !trial.text.starts_with('{')) {
                return seen(whole, a, b, &world, trial, response);
            }
        }
        None
    })?;
    let (first, second) = (a.rule, b.rule);
    let names = [first, second].map(|rule| rule.rule.name.value.as_str());
    let wins = if seen.first_wins { names[0] } else { names[1] };
    let priority = second.lowered.priority;
    let message = format!(
        "masks `{}` and `{}` claim the same value at equal priority {priority}, and differ",
        names[0], names[1]
    );
    let mut world = seen.world.clone();
    if let Some(column) = &seen.trial.column {
        world.request.column = Some(column.clone());
    }
    let direction = if response { "response" } else { "request" };
    let conditions = [&first.lowered, &second.lowered].map(|lowered| &lowered.holds);
    let given = world.describe(direction, &conditions);
    let given = match &seen.trial.column {
        Some(column) if !given.contains(" column ") => given.replacen(" }", &format!(" column {column:?} }}"), 1),
        _ => given,
    };
    let help = format!(
        "`{given} send {:?}`: `{wins}` wins, {}; write `priority {}` behind the actions of the one that shall win",
        seen.trial.text,
        seen.because,
        priority.saturating_add(10).min(100),
    );
    let source = &whole.checker.loaded.units[second.unit].source;
    let other = &whole.checker.loaded.units[first.unit].source;
    let diagnostic = Diagnostic::new(source, mask_place(second), Code::MaskConflict, message)
        .label(format!("by itself: {:?}", seen.alone[1]))
        .related(other, mask_place(first), format!("by itself: {:?}", seen.alone[0]))
        .help(help);
    Some(either(diagnostic, [first, second]))
}

/// The same, with the fixes that let the one rule win or the other, where it stands in the message's file.
pub(crate) fn either(diagnostic: Diagnostic, rules: [&Analysed<'_>; 2]) -> Diagnostic {
    let [_, second] = rules;
    let priority = second.lowered.priority;
    let raised = priority.saturating_add(10).min(100);
    let here = rules.into_iter().filter(|rule| rule.unit == second.unit && raised > priority);
    here.fold(diagnostic, |diagnostic, rule| {
        let title = format!("let `{}` win: priority {raised}", rule.rule.name.value);
        let at = rule.rule.actions.last().map_or(0, |action| action.span.end);
        diagnostic.fix(match &rule.rule.priority {
            Some(old) => Fix::new(title, Applicability::Suggested, old.span.clone(), raised.to_string()),
            None => Fix::new(title, Applicability::Suggested, at..at, format!(" priority {raised}")),
        })
    })
}

/// Sends the value through the real policy under this request.
fn seen(
    whole: &Whole<'_, '_>,
    a: &Masking<'_, '_>,
    b: &Masking<'_, '_>,
    world: &World,
    trial: &Trial,
    response: bool,
) -> Option<Seen> {
    let mut request = world.request()?;
    request.column = trial.column.clone().or(request.column);
    let session: SessionPolicy = whole.policy.specialise(&world.session);
    let holding = if response { session.response_rules(&request) } else { session.request_rules(&request) };
    if !holding.contains(a.id) || !holding.contains(b.id) {
        return None;
    }
    let (program, protocol) = (whole.policy.program(), world.session.protocol.as_str());
    // Another rule may settle it: a block, or a mask that is stronger than both.
    let of = program.rules().filter(|id| holding.contains(*id));
    let (decisions, _) = trial.run(program, of, protocol)?;
    let claim = |id: RuleId| decisions.iter().find(|decision| decision.rule == id);
    let (first, second) = (claim(a.id)?, claim(b.id)?);
    if first.span.start != second.span.start {
        return None;
    }
    let alone = [a.id, b.id].map(|id| trial.run(program, [id], protocol).map(|(_, text)| text));
    let [Some(by_a), Some(by_b)] = alone else { return None };
    if by_a == by_b {
        return None;
    }
    let length = |decision: &Decision| decision.span.end - decision.span.start;
    let (first_wins, because) = match length(first).cmp(&length(second)) {
        Ordering::Equal => match a.mask.strategy().cmp(&b.mask.strategy()) {
            Ordering::Equal => {
                let name = |id: RuleId| program.rule_name(id);
                (name(a.id) < name(b.id), "because its id comes first")
            }
            order => (order == Ordering::Greater, "because its mask is stricter"),
        },
        order => (order == Ordering::Greater, "because it claims more bytes"),
    };
    // Where one of them is all that is left, it is the one that should be.
    let (_, together) = trial.run(program, [a.id, b.id], protocol)?;
    if together == if first_wins { &by_b } else { &by_a }.as_str() {
        return None;
    }
    Some(Seen { world: world.clone(), trial: trial.clone(), alone: [by_a, by_b], first_wins, because })
}

fn mask_place(rule: &Analysed<'_>) -> Span {
    let mask = rule.rule.actions.iter().find(|action| matches!(action.value, ActionKind::Mask { .. }));
    mask.map_or_else(|| rule.rule.name.span.clone(), |action| action.span.clone())
}
