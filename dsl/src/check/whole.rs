//! The rule set as a whole: rules that never act, rules that another one makes void, exceptions that relax nothing or all,
//! and what masks don't reach. Decided over representative facts; what can't be decided is not claimed.

use super::Checker;
use super::lower::Analysed;
use super::search::{Answer, Ask, Search};
use super::worlds::{Setting, World};
use crate::Undecided;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, line_column};
use crate::policy::condition::Truth;
use crate::policy::{Effect, HitAction, Policy, Relax};
use sluice_engine::{Action, Matcher, PatternSpec};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Steps of all searches together: what a large rule set may take of them, about a second.
const MOST_STEPS: usize = 2_000_000;
/// Questions without an answer that are kept.
const MOST_UNDECIDED: usize = 1_000;
/// Pairs of rules that are compared.
const MOST_PAIRS: usize = 5_000_000;

/// What all of these checks share.
pub(crate) struct Whole<'c, 'a> {
    pub(crate) checker: &'c Checker<'a>,
    pub(crate) rules: &'c [Analysed<'a>],
    pub(crate) policy: &'c Policy,
    pub(crate) search: Search,
    pub(crate) undecided: RefCell<Vec<Undecided>>,
}

/// A rule that can act, with a request where it does.
pub(crate) struct Acting<'c, 'a> {
    pub(crate) rule: &'c Analysed<'a>,
    pub(crate) world: World,
}

/// All of these checks. The rules have no errors.
pub(crate) fn analyse<'a>(
    checker: &Checker<'a>,
    rules: &[Analysed<'a>],
    decoded: bool,
    policy: &Policy,
) -> Vec<Undecided> {
    let setting = Setting { decoded, today: checker.options.today, unparsable: false };
    let whole =
        Whole { checker, rules, policy, search: Search::new(setting, MOST_STEPS), undecided: RefCell::default() };
    let mut acting = Vec::new();
    for rule in rules {
        match whole.search.find(&acts_without_exceptions(rule)) {
            Answer::No => whole.unreachable(rule),
            Answer::Yes(world) => {
                whole.relaxed(rule);
                acting.push(Acting { rule, world: *world });
            }
            Answer::Unknown => {
                whole.unknown(rule, "whether it ever acts");
                whole.relaxed(rule);
            }
        }
    }
    whole.shadows(&acting);
    for acting in &acting {
        whole.channels(acting);
    }
    whole.only_reported();
    whole.examples(&acting);
    super::conflicts::conflicts(&whole);
    whole.approvals();
    whole.undecided.into_inner()
}

/// The rule acts, its exceptions included in what may relax it.
pub(crate) fn acts<'c>(rule: &'c Analysed<'_>) -> Ask<'c> {
    acts_unless(rule, |_| true)
}

fn acts_without_exceptions<'c>(rule: &'c Analysed<'_>) -> Ask<'c> {
    acts_unless(rule, |relax| relax.until.is_none())
}

fn acts_unless<'c>(rule: &'c Analysed<'_>, counts: impl Fn(&Relax) -> bool) -> Ask<'c> {
    let relaxed = rule.lowered.relaxed.iter().filter(|relax| counts(relax));
    let relaxed = relaxed.map(|relax| Ask::Relaxes(&relax.condition).not());
    Ask::All(std::iter::once(Ask::Holds(&rule.lowered.holds)).chain(relaxed).collect())
}

/// Whether the rule acts in this world: what [`acts`] asks, of one request.
fn acts_in(rule: &Analysed<'_>, world: &World) -> bool {
    let facts = world.facts();
    matches!(rule.lowered.holds.truth(facts), Truth::True | Truth::Unknown)
        && !rule.lowered.relaxed.iter().any(|relax| relax.condition.truth(facts) == Truth::True)
}

impl Whole<'_, '_> {
    /// Compares each rule with those that may leave nothing to it: those that refuse requests, and those that search for the
    /// same.
    fn shadows(&self, acting: &[Acting<'_, '_>]) {
        let refuses = |rule: &&Analysed<'_>| matches!(rule.lowered.effect, Effect::Facts(HitAction::Block { .. }));
        let blocks: Vec<_> = self.rules.iter().filter(refuses).collect();
        // Columns are compared by name, all else as a whole.
        let key = |spec: &PatternSpec| match &spec.matcher {
            Matcher::Column(_) => "column".to_owned(),
            other => format!("{other:?}"),
        };
        let mut searching: HashMap<String, Vec<&Analysed<'_>>> = HashMap::new();
        for rule in self.rules {
            let keys: BTreeSet<String> = rule.specs.iter().map(key).collect();
            keys.into_iter().for_each(|key| searching.entry(key).or_default().push(rule));
        }
        let mut pairs = 0;
        for weak in acting {
            let same = weak.rule.specs.first().and_then(|spec| searching.get(&key(spec)));
            for strong in blocks.iter().chain(same.into_iter().flatten()) {
                pairs += 1;
                if pairs > MOST_PAIRS {
                    self.unknown(weak.rule, "whether other rules leave anything to it");
                    break;
                }
                if self.shadowed(weak, strong) {
                    break;
                }
            }
        }
    }

    /// Notes what can't be decided.
    pub(crate) fn unknown(&self, rule: &Analysed<'_>, question: &str) {
        if self.undecided.borrow().len() >= MOST_UNDECIDED {
            return;
        }
        let (source, name) = (&self.checker.loaded.units[rule.unit].source, &rule.rule.name);
        let (line, _) = line_column(&source.text, name.span.start);
        let (path, rule, question) = (source.path.clone(), name.value.clone(), question.to_owned());
        self.undecided.borrow_mut().push(Undecided { path, line, rule, question });
    }

    /// Says where `strong` acts whenever `weak` would, and leaves nothing to it.
    fn shadowed(&self, weak: &Acting<'_, '_>, strong: &Analysed<'_>) -> bool {
        if weak.rule.sessions.apart(&strong.sessions) {
            return false;
        }
        let Some(how) = void(weak.rule, strong) else { return false };
        // Most pairs differ in the first request that comes to mind.
        if !acts_in(strong, &weak.world) {
            return false;
        }
        let ask = Ask::All(vec![acts_without_exceptions(weak.rule), acts(strong).not()]);
        match self.search.find_with_unparsable(&ask) {
            Answer::No => {}
            Answer::Yes(_) => return false,
            Answer::Unknown => {
                let other = &strong.rule.name.value;
                self.unknown(weak.rule, &format!("whether `{other}` leaves anything to it"));
                return false;
            }
        }
        let source = |unit: usize| &self.checker.loaded.units[unit].source;
        let (name, other) = (&weak.rule.rule.name, &strong.rule.name);
        let message = format!("rule `{}` never takes effect: `{}` {how} whenever it would", name.value, other.value);
        let help = format!("remove `{}`, or narrow `{}` to what shall not reach it", name.value, other.value);
        let diagnostic = Diagnostic::new(source(weak.rule.unit), name.span.clone(), Code::Shadowed, message);
        self.checker.push(
            diagnostic.label("shadowed").related(source(strong.unit), other.span.clone(), "by this one").help(help),
        );
        true
    }
}

/// How `strong` leaves nothing to `weak` where both hold; None where it does not.
fn void(weak: &Analysed<'_>, strong: &Analysed<'_>) -> Option<String> {
    // A limit lets the first ones through.
    if weak.audit || strong.audit || strong.rule.limit.is_some() || std::ptr::eq(weak, strong) {
        return None;
    }
    let asks = matches!(weak.lowered.effect, Effect::Facts(HitAction::Approve { .. }));
    let searches = weak.action.as_ref().is_some_and(|action| *action != Action::Alert);
    if let Effect::Facts(HitAction::Block { .. }) = &strong.lowered.effect {
        // What is refused has no response.
        return (asks || searches).then(|| "refuses the request".to_owned());
    }
    let (Some(by), Some(action)) = (&strong.action, &weak.action) else { return None };
    let wider = weak.specs.iter().all(|spec| strong.specs.iter().any(|wide| covers(wide, spec)));
    let direction =
        (strong.lowered.request || !weak.lowered.request) && (strong.lowered.response || !weak.lowered.response);
    if !wider || !direction {
        return None;
    }
    match (by, action) {
        (Action::Block, Action::Mask(_)) => Some("blocks the same bytes".to_owned()),
        (Action::Mask(_), Action::Mask(_)) if strong.lowered.priority > weak.lowered.priority => {
            Some(format!("masks the same bytes at priority {}", strong.lowered.priority))
        }
        _ => None,
    }
}

/// Whether each match of `spec` is one of `wide`.
pub(crate) fn covers(wide: &PatternSpec, spec: &PatternSpec) -> bool {
    let columns = match (&wide.matcher, &spec.matcher) {
        (Matcher::Column(wide), Matcher::Column(names)) => {
            names.iter().all(|name| wide.iter().any(|other| other.eq_ignore_ascii_case(name)))
        }
        (wide, matcher) => wide == matcher,
    };
    columns
        && wide.max == spec.max
        && wide.validators.iter().all(|validator| spec.validators.contains(validator))
        && (wide.near.is_none() || wide.near == spec.near)
}
