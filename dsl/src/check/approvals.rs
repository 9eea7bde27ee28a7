//! Approvals at equal priority that one request needs of different people.

use super::conflicts::either;
use super::lower::Analysed;
use super::search::{Answer, Ask};
use super::whole::{Whole, acts};
use super::worlds::World;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::policy::{Effect, HitAction};
use crate::syntax::tree::{ActionKind, Span};

/// Pairs for which a request is looked for.
const MOST_PAIRS: usize = 2_000;

impl Whole<'_, '_> {
    /// Tells of two approvals that may be asked for at once, with a request for which the policy asks for both.
    pub(crate) fn approvals(&self) {
        let asks = |rule: &&Analysed<'_>| {
            !rule.audit && matches!(rule.lowered.effect, Effect::Facts(HitAction::Approve { .. }))
        };
        let rules: Vec<&Analysed<'_>> = self.rules.iter().filter(asks).collect();
        let mut pairs = 0;
        for (index, second) in rules.iter().enumerate() {
            let differs = |first: &&&Analysed<'_>| {
                first.lowered.priority == second.lowered.priority
                    && action(first) != action(second)
                    && !first.sessions.apart(&second.sessions)
            };
            for first in rules[..index].iter().filter(differs) {
                pairs += 1;
                if pairs > MOST_PAIRS {
                    return self.unknown(second, "whether its approval is in conflict with another one");
                }
                let ask = Ask::All(vec![acts(first), acts(second)]);
                match self.search.find(&ask) {
                    Answer::Yes(world) => self.both(first, second, &world),
                    Answer::No => {}
                    Answer::Unknown => {
                        let question = format!("whether its approval is in conflict with `{}`", first.rule.name.value);
                        self.unknown(second, &question);
                    }
                }
            }
        }
    }

    /// The policy itself says that nothing stronger settles it.
    fn both(&self, first: &Analysed<'_>, second: &Analysed<'_>, world: &World) {
        let Some(request) = world.request() else { return };
        // Statements sent together may need what each of them needs; that is no contradiction of the rules.
        if world.verbs() > 1 {
            return;
        }
        let hits = self.policy.specialise(&world.session).decide(&request);
        let names = [first, second].map(|rule| rule.rule.name.value.as_str());
        let place_of = |rule: &Analysed<'_>| {
            let info = &self.policy.rules()[self.index(rule)?];
            hits.iter().position(|hit| hit.rule == *info)
        };
        let [Some(a), Some(b)] = [first, second].map(place_of) else { return };
        if !matches!(hits.first().map(|hit| &hit.action), Some(HitAction::Approve { .. })) {
            return;
        }
        let wins = if a < b { names[0] } else { names[1] };
        let priority = second.lowered.priority;
        let message = format!(
            "approvals `{}` and `{}` are asked for at once, at equal priority {priority}, and differ",
            names[0], names[1]
        );
        let conditions = [&first.lowered.holds, &second.lowered.holds];
        let shown = match &request.sql {
            Some(sql) => format!("`{} send {sql:?}`", world.given("request", &conditions)),
            None => format!("`{}`", world.given("request", &conditions)),
        };
        let help = format!(
            "{shown}: `{wins}` is asked for, because its id comes first; write `priority {}` behind the actions of the one that shall be",
            priority.saturating_add(10).min(100),
        );
        let source = |rule: &Analysed<'_>| &self.checker.loaded.units[rule.unit].source;
        let diagnostic = Diagnostic::new(source(second), place(second), Code::ApprovalConflict, message);
        let diagnostic = diagnostic.related(source(first), place(first), "the other one").help(help);
        self.checker.push(either(diagnostic, [first, second]));
    }
}

fn action<'r>(rule: &'r Analysed<'_>) -> Option<&'r HitAction> {
    match &rule.lowered.effect {
        Effect::Facts(action) => Some(action),
        Effect::Engine(_) => None,
    }
}

fn place(rule: &Analysed<'_>) -> Span {
    let approve = rule.rule.actions.iter().find(|action| matches!(action.value, ActionKind::Approve { .. }));
    approve.map_or_else(|| rule.rule.name.span.clone(), |action| action.span.clone())
}
