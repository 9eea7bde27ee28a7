//! What changes in meaning between two versions of rules. Requests are made up from both sides' conditions and patterns, sent
//! through both compiled policies, and told only where they were seen to be decided differently.

mod apart;
mod requests;
mod verdict;

pub use verdict::Verdict;

use crate::Compilation;
use crate::check::search::{Answer, Ask, Search};
use crate::check::trial::Trial;
use crate::check::worlds::{Setting, World};
use crate::diagnostic::{Source, line_column};
use crate::places::RulePlaces;
use crate::policy::condition::Cond;
use crate::policy::{Decode, Effect, Lowered, Policy, RequestFacts, RuleInfo};
use crate::syntax::tree::{Direction, Span, Test};
use crate::testing::exchange::{Cut, Exchange};
use crate::testing::given::Given;
use crate::testing::seen::Seen;
use crate::testing::{directions, tests};
use jiff::civil::Date;
use requests::{acts, dates, find, native, statement, trials};
use serde::Serialize;
use sluice_engine::{Action, PatternSpec};
use std::collections::BTreeMap;
use verdict::{Side as Outcome, verdict};

/// Steps of all searches together.
const MOST_STEPS: usize = 4_000_000;
/// Requests that are made up for a rule where another rule decides the first ones.
const MOST_ATTEMPTS: usize = 8;

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// Rules that one side alone has, or that differ; the worst first.
    pub rules: Vec<RuleDifference>,
    /// Tests of either side that are decided differently; the worst first.
    pub tests: Vec<TestDifference>,
    /// Rules that are the same on both sides in all that decides.
    pub same_rules: usize,
    /// Tests of either side that are decided the same.
    pub same_tests: usize,
    /// Requests that were sent through both sides.
    pub requests: usize,
}

/// How a rule differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RuleDifference {
    /// Its name.
    pub rule: String,
    /// Its pack.
    pub pack: String,
    /// On which sides it is.
    pub change: RuleChange,
    /// Its file, on the new side where it is there.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// The worst of its examples; without one, whether there can be any.
    pub verdict: Verdict,
    /// A request for each verdict that was seen, the worst first.
    pub examples: Vec<Example>,
}

/// On which sides a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleChange {
    /// On the new side alone.
    Added,
    /// On the old side alone.
    Removed,
    /// On both, and they differ.
    Changed,
}

/// A request that is decided differently. It was made up: it holds nobody's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Example {
    /// How the new outcome stands to the old one.
    pub verdict: Verdict,
    /// The facts, as the `given` of a test has them.
    pub given: String,
    /// What is sent.
    pub send: String,
    /// What the old rules do.
    pub old: String,
    /// What the new rules do.
    pub new: String,
}

/// A test that is decided differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct TestDifference {
    /// The test's sentence.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// How the new outcome stands to the old one.
    pub verdict: Verdict,
    /// What the old rules do.
    pub old: String,
    /// What the new rules do.
    pub new: String,
}

/// Compares two versions of rules, as of a day. None where one of them has no policy.
#[must_use]
pub fn difference(old: &Compilation, new: &Compilation, today: Date) -> Option<Difference> {
    let sides = Sides { old: Side::of(old)?, new: Side::of(new)?, today };
    let mut comparing = Comparing { sides: &sides, search_steps: MOST_STEPS, requests: 0 };
    let mut rules: Vec<RuleDifference> = Vec::new();
    let mut same_rules = 0;
    for (before, after) in sides.pairs() {
        match comparing.rule(before, after) {
            Some(difference) => rules.push(difference),
            None => same_rules += 1,
        }
    }
    rules.sort_by_key(|rule| rule.verdict);
    let all = sides.tests();
    let mut tests: Vec<TestDifference> =
        all.iter().filter_map(|(source, span, test)| comparing.test(source, span, test)).collect();
    tests.sort_by_key(|test| test.verdict);
    let verdicts = rules.iter().map(|rule| rule.verdict).chain(tests.iter().map(|test| test.verdict));
    let verdict = verdicts.min().unwrap_or(Verdict::Same);
    let same_tests = all.len() - tests.len();
    Some(Difference { verdict, rules, tests, same_rules, same_tests, requests: comparing.requests })
}

/// One version.
struct Side<'c> {
    compilation: &'c Compilation,
    policy: &'c Policy,
}

/// A rule of one side.
#[derive(Clone, Copy)]
struct Of<'c> {
    info: &'c RuleInfo,
    lowered: &'c Lowered,
    places: &'c RulePlaces,
    specs: &'c [PatternSpec],
    action: Option<&'c Action>,
}

/// What rules of the two sides are matched by.
type Key<'c> = fn(&Of<'c>) -> Option<(&'c str, &'c str)>;

impl<'c> Side<'c> {
    fn of(compilation: &'c Compilation) -> Option<Self> {
        compilation.policy.as_ref().map(|policy| Self { compilation, policy })
    }

    fn rules(&self) -> impl Iterator<Item = Of<'c>> {
        let rules = self.policy.rules().iter().zip(self.policy.lowered());
        let rules = rules.zip(self.compilation.places.iter().zip(self.policy.searched()));
        rules.map(|((info, lowered), (places, (specs, action)))| Of {
            info,
            lowered,
            places,
            specs,
            action: action.as_ref(),
        })
    }
}

struct Sides<'c> {
    old: Side<'c>,
    new: Side<'c>,
    today: Date,
}

impl<'c> Sides<'c> {
    /// The rules of both sides, matched by pack and name; what is left by id, and then by name: a file that doesn't say its
    /// pack is called by its own name, which may be another.
    fn pairs(&self) -> Vec<(Option<Of<'c>>, Option<Of<'c>>)> {
        let keys: [Key<'c>; 3] = [
            |rule| Some((&rule.info.pack, &rule.info.name)),
            |rule| rule.info.id.as_deref().map(|id| ("", id)),
            |rule| Some(("", &rule.info.name)),
        ];
        let (mut old, mut new): (Vec<_>, Vec<_>) = (self.old.rules().collect(), self.new.rules().collect());
        let mut out = Vec::new();
        for key in keys {
            let one = |rules: &[Of<'c>], wanted| {
                let mut found = (0..rules.len()).filter(|at| key(&rules[*at]) == Some(wanted));
                found.next().filter(|_| found.next().is_none())
            };
            let wanted: Vec<_> = old.iter().filter_map(key).collect();
            for wanted in wanted {
                if let (Some(before), Some(after)) = (one(&old, wanted), one(&new, wanted)) {
                    out.push((Some(old.remove(before)), Some(new.remove(after))));
                }
            }
        }
        out.extend(old.into_iter().map(|before| (Some(before), None)));
        out.extend(new.into_iter().map(|after| (None, Some(after))));
        out
    }

    /// The tests of both sides, each once; the new side's where both have it.
    fn tests(&self) -> Vec<(&'c Source, &'c Span, &'c Test)> {
        let mut out = BTreeMap::new();
        for side in [&self.old, &self.new] {
            for (place, (source, span, test)) in tests(side.compilation, None).enumerate() {
                let words: Vec<&str> = source.text[span.clone()].split_whitespace().collect();
                out.insert(words.join(" "), (place, source, span, test));
            }
        }
        let mut tests: Vec<_> = out.into_values().collect();
        tests.sort_by_key(|(place, ..)| *place);
        tests.into_iter().map(|(_, source, span, test)| (source, span, test)).collect()
    }

    fn decodes(&self) -> Vec<Decode> {
        let mut all = self.old.policy.decodes().to_vec();
        all.extend(self.new.policy.decodes().iter().filter(|d| !self.old.policy.decodes().contains(d)).cloned());
        all
    }
}

struct Comparing<'s, 'c> {
    sides: &'s Sides<'c>,
    search_steps: usize,
    requests: usize,
}

impl<'c> Comparing<'_, 'c> {
    /// None where the rule is the same on both sides.
    fn rule(&mut self, before: Option<Of<'c>>, after: Option<Of<'c>>) -> Option<RuleDifference> {
        let shown = after.or(before)?;
        let change = match (before, after) {
            (Some(before), Some(after)) if self.same(before, after) => return None,
            (Some(_), Some(_)) => RuleChange::Changed,
            (None, _) => RuleChange::Added,
            (_, None) => RuleChange::Removed,
        };
        let mut examples = Examples::default();
        let decided = self.look(before, after, &mut examples);
        // Where only the condition differs, and no request tells the two apart, they are two spellings of one.
        let spelling = before.zip(after).is_some_and(|(before, after)| acts_alike(before, after));
        let verdict = match examples.found.first_key_value() {
            Some((worst, _)) => *worst,
            None if decided && (spelling || change != RuleChange::Changed) => Verdict::Same,
            None => Verdict::Unknown,
        };
        let source = &shown.places.source;
        Some(RuleDifference {
            rule: shown.info.name.clone(),
            pack: shown.info.pack.clone(),
            change,
            path: source.path.clone(),
            line: line_column(&source.text, shown.places.name.start).0,
            verdict,
            examples: examples.found.into_values().collect(),
        })
    }

    fn same(&self, before: Of<'c>, after: Of<'c>) -> bool {
        let relaxed = |rule: Of<'c>| -> Vec<(&'c Cond, Option<Date>)> {
            rule.lowered.relaxed.iter().map(|relax| (&relax.condition, relax.until)).collect()
        };
        acts_alike(before, after)
            && before.lowered.holds == after.lowered.holds
            && relaxed(before) == relaxed(after)
            && (self.sides.old.policy.decodes() == self.sides.new.policy.decodes() || !speaks_of_sql(before.lowered))
    }

    /// Looks for requests that are decided differently. True where all cases were looked at: then, if none was found, the
    /// conditions tell no request apart.
    fn look(&mut self, before: Option<Of<'c>>, after: Option<Of<'c>>, examples: &mut Examples) -> bool {
        let mut decided = true;
        let both: Vec<&Lowered> = [before, after].into_iter().flatten().map(|rule| rule.lowered).collect();
        for day in dates(&both, self.sides.today) {
            let asks: Vec<(Vec<Ask<'_>>, bool)> = match (before, after) {
                (Some(before), Some(after)) => {
                    let ask = |rule: Of<'c>| acts(rule.lowered, day);
                    vec![
                        (vec![ask(before), ask(after).not()], true),
                        (vec![ask(before).not(), ask(after)], true),
                        (vec![ask(before), ask(after)], false),
                    ]
                }
                (one, other) => one.or(other).map(|rule| (vec![acts(rule.lowered, day)], true)).into_iter().collect(),
            };
            // The value of a column comes over a database's own protocol, a document over the others.
            let specs = [before, after].into_iter().flatten().flat_map(|rule| rule.specs);
            let searches = specs.count() > 0;
            for (ask, apart) in asks {
                let native = searches.then(|| ask.iter().cloned().chain([Ask::Native]).collect());
                let answered = self.ask(ask, day, before, after, examples);
                if let Some(native) = native {
                    self.ask(native, day, before, after, examples);
                }
                decided &= answered || !apart;
            }
        }
        decided
    }

    /// One question, asked again without what other rules decide. True where there is no request that answers.
    fn ask(
        &mut self,
        mut asks: Vec<Ask<'c>>,
        day: Date,
        before: Option<Of<'c>>,
        after: Option<Of<'c>>,
        examples: &mut Examples,
    ) -> bool {
        let decodes = self.sides.decodes();
        let setting = Setting { decoded: !decodes.is_empty(), today: day, unparsable: false };
        for attempt in 0..MOST_ATTEMPTS {
            let search = Search::new(setting, self.search_steps);
            let ask = Ask::All(asks);
            let answer = find(&search, &ask);
            self.search_steps = search.left();
            let world = match answer {
                Answer::Yes(world) => world,
                Answer::No => return attempt == 0,
                Answer::Unknown => return false,
            };
            let Ask::All(parts) = ask else { return false };
            asks = parts;
            let (found, others) = self.world(&world, &decodes, before, after, examples);
            let before_asks = asks.len();
            if !found {
                asks.extend(others.into_iter().map(|rule| acts(rule, day).not()));
            }
            if asks.len() == before_asks {
                return false;
            }
        }
        false
    }

    /// Sends what there is to send under one request. Says whether a difference was found, and if not which rules of facts
    /// decided on both sides.
    fn world(
        &mut self,
        world: &World,
        decodes: &[Decode],
        before: Option<Of<'c>>,
        after: Option<Of<'c>>,
        examples: &mut Examples,
    ) -> (bool, Vec<&'c Lowered>) {
        let specs = |rule: Option<Of<'c>>| rule.map_or(&[][..], |rule| rule.specs);
        let conditions: Vec<&Cond> = [before, after].into_iter().flatten().map(|rule| &rule.lowered.holds).collect();
        let trials = match (specs(before), specs(after)) {
            ([], []) => vec![Trial { text: "any".to_owned(), column: None }],
            (before, after) => trials(before, after),
        };
        let (mut found, mut others) = (false, Vec::new());
        for direction in [Direction::Request, Direction::Response] {
            let on = |rule: &Lowered| if direction == Direction::Request { rule.request } else { rule.response };
            if ![before, after].into_iter().flatten().any(|rule| on(rule.lowered)) {
                continue;
            }
            for request in requests::requests(world, decodes) {
                for trial in &trials {
                    let Some((given, text)) = sent(world, &request, trial, direction) else { continue };
                    let (verdict, [old, new]) = self.both(&given, direction, &text);
                    if verdict == Verdict::Same {
                        others = self.deciding(&old, &new, before, after);
                        continue;
                    }
                    found = true;
                    examples.add(verdict, || Example {
                        verdict,
                        given: describe(world, &given, direction, &conditions),
                        send: text.clone(),
                        old: old.describe_all(),
                        new: new.describe_all(),
                    });
                }
            }
        }
        (found, others)
    }

    /// The rules of facts, other than these, that acted on both sides.
    fn deciding(&self, old: &Seen, new: &Seen, before: Option<Of<'c>>, after: Option<Of<'c>>) -> Vec<&'c Lowered> {
        let this =
            |rule: &Of<'c>| [before, after].into_iter().flatten().any(|own| std::ptr::eq(own.lowered, rule.lowered));
        let acted = |seen: &Seen, rule: &Of<'c>| {
            seen.did.iter().any(|(_, pack, name)| *pack == rule.info.pack && *name == rule.info.name)
        };
        let new = self.sides.new.rules().filter(|rule| acted(new, rule));
        let all = self.sides.old.rules().filter(|rule| acted(old, rule)).chain(new);
        let facts = |rule: &Of<'c>| matches!(rule.lowered.effect, Effect::Facts(_));
        all.filter(|rule| !this(rule) && facts(rule)).map(|rule| rule.lowered).collect()
    }

    fn test(&mut self, source: &Source, span: &Span, test: &Test) -> Option<TestDifference> {
        let given = Given::of(test);
        let outcomes = directions(test).iter().map(|direction| self.both(&given, *direction, &test.send.value));
        let (verdict, [old, new]) = outcomes.min_by_key(|(verdict, _)| *verdict)?;
        (verdict != Verdict::Same).then(|| TestDifference {
            name: test.name.value.clone(),
            path: source.path.clone(),
            line: line_column(&source.text, span.start).0,
            verdict,
            old: old.describe(test),
            new: new.describe(test),
        })
    }

    /// Sends one text through both sides.
    fn both(&mut self, given: &Given, direction: Direction, text: &str) -> (Verdict, [Seen; 2]) {
        self.requests += 1;
        let seen = [&self.sides.old, &self.sides.new].map(|side| {
            let session = side.policy.specialise(&given.session);
            Exchange::new(&session, given, direction, text).run(Cut::Whole)
        });
        let [old, new] = [(&seen[0], &self.sides.old), (&seen[1], &self.sides.new)]
            .map(|(seen, side)| Outcome { seen, policy: side.policy });
        (verdict(old, new), seen)
    }
}

/// An example for each verdict.
#[derive(Default)]
struct Examples {
    found: BTreeMap<Verdict, Example>,
}

impl Examples {
    fn add(&mut self, verdict: Verdict, example: impl FnOnce() -> Example) {
        self.found.entry(verdict).or_insert_with(example);
    }
}

/// Whether two rules do the same where they hold.
fn acts_alike(before: Of<'_>, after: Of<'_>) -> bool {
    let effect = match (&before.lowered.effect, &after.lowered.effect) {
        // Which rule of the engine it is says nothing.
        (Effect::Engine(_), Effect::Engine(_)) => true,
        (Effect::Facts(before), Effect::Facts(after)) => before == after,
        _ => false,
    };
    let way = |rule: Of<'_>| (rule.lowered.request, rule.lowered.response, rule.lowered.priority, rule.info.audit);
    effect && way(before) == way(after) && before.specs == after.specs && before.action == after.action
}

fn speaks_of_sql(rule: &Lowered) -> bool {
    let mut tests = Vec::new();
    crate::check::axes::collect(&rule.holds, &mut tests);
    rule.relaxed.iter().for_each(|relax| crate::check::axes::collect(&relax.condition, &mut tests));
    tests.iter().any(|test| test.field.info().name.starts_with("sql."))
}

/// What is given and sent; None where the value can't come this way.
fn sent(world: &World, request: &RequestFacts, trial: &Trial, direction: Direction) -> Option<(Given, String)> {
    let native = native(world);
    if trial.column.is_some() && !native || native && trial.text.starts_with('{') {
        return None;
    }
    let column = trial.column.clone().or_else(|| request.column.clone());
    let mut given = Given { session: world.session.clone(), request: RequestFacts { column, ..request.clone() } };
    let text = match (direction, native) {
        (Direction::Request, true) if trial.text == "any" => request.sql.clone().unwrap_or_else(|| "SELECT 1".into()),
        (Direction::Request, true) => statement(request, &trial.text),
        _ => trial.text.clone(),
    };
    if direction == Direction::Request && native {
        given.request.column = None;
    }
    Some((given, text))
}

fn describe(world: &World, given: &Given, direction: Direction, conditions: &[&Cond]) -> String {
    let mut world = world.clone();
    world.request.column.clone_from(&given.request.column);
    world.request.tool_name.clone_from(&given.request.tool_name);
    world.request.tool_args.clone_from(&given.request.tool_args);
    let way = if direction == Direction::Request { "request" } else { "response" };
    let mut words = world.describe(way, conditions);
    if let Some(sql) = given.request.sql.as_ref().filter(|_| direction == Direction::Request && native(&world)) {
        // It is what is sent.
        words = words.replacen(&format!(" after `{sql}`"), "", 1);
    }
    match &given.request.column {
        Some(column) if !words.contains(" column ") => words.replacen(" }", &format!(" column {column:?} }}"), 1),
        _ => words,
    }
}
