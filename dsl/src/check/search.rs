//! Questions about conditions, decided over representative facts. Fields are given values one after the other, and a branch
//! is left as soon as no value of the rest can answer. What policies use to decide ([`Cond::truth`]) decides here too.
//! What is found is a concrete request; "no" is said only where the values cover every case.

use super::axes::{Axes, axes, collect};
use super::worlds::{Channel, Choice, Setting, World};
use crate::fields::{FieldId, SQL_PROTOCOLS};
use crate::policy::condition::{Cond, How, Test, Truth};
use std::cell::Cell;

/// Steps of one search, after which the answer is "unknown".
const MOST: usize = 20_000;

/// Tests, and words that they compare with, above which nothing is tried.
const MOST_TESTS: usize = 500;
const MOST_WORDS: usize = 20_000;

/// Whether there is a world.
#[derive(Debug)]
pub(crate) enum Answer {
    Yes(Box<World>),
    No,
    Unknown,
}

/// What is asked of a world.
#[derive(Clone)]
pub(crate) enum Ask<'c> {
    /// A rule's condition lets it act; what can't be told does.
    Holds(&'c Cond),
    /// A condition relaxes a rule; what can't be told doesn't.
    Relaxes(&'c Cond),
    /// The request is an MCP message of this kind.
    On(Channel),
    /// The request comes over a database's own protocol.
    Native,
    Not(Box<Ask<'c>>),
    All(Vec<Ask<'c>>),
}

impl<'c> Ask<'c> {
    pub(crate) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    fn tests(&self, out: &mut Vec<&'c Test>) {
        match self {
            Self::Holds(condition) | Self::Relaxes(condition) => collect(condition, out),
            Self::On(_) | Self::Native => {}
            Self::Not(inner) => inner.tests(out),
            Self::All(parts) => parts.iter().for_each(|part| part.tests(out)),
        }
    }

    fn channels(&self) -> bool {
        match self {
            Self::Holds(_) | Self::Relaxes(_) | Self::Native => false,
            Self::On(_) => true,
            Self::Not(inner) => inner.channels(),
            Self::All(parts) => parts.iter().any(Ask::channels),
        }
    }

    /// Whether a world answers.
    #[cfg(test)]
    pub(crate) fn answered_by(&self, world: &World) -> bool {
        self.possible(&|test| Truths::of(test.truth(world.facts())), Some(world)).yes
    }

    /// The answers that are possible where tests have these truths; `world` is known as far as its structure goes.
    fn possible(&self, test: &dyn Fn(&Test) -> Truths, world: Option<&World>) -> Possible {
        match self {
            Self::Holds(condition) => Truths::condition(condition, test).split(&[Truth::True, Truth::Unknown]),
            Self::Relaxes(condition) => Truths::condition(condition, test).split(&[Truth::True]),
            Self::On(wanted) => Possible::of(world.map(|world| world.channel() == Some(*wanted))),
            Self::Native => Possible::of(world.map(|world| SQL_PROTOCOLS.contains(&world.session.protocol.as_str()))),
            Self::Not(inner) => {
                let Possible { yes, no } = inner.possible(test, world);
                Possible { yes: no, no: yes }
            }
            Self::All(parts) => parts.iter().fold(Possible { yes: true, no: false }, |all, part| {
                let part = part.possible(test, world);
                Possible { yes: all.yes && part.yes, no: all.no || part.no }
            }),
        }
    }
}

/// The answers that are still possible.
#[derive(Clone, Copy)]
struct Possible {
    yes: bool,
    no: bool,
}

impl Possible {
    fn of(known: Option<bool>) -> Self {
        Self { yes: known != Some(false), no: known != Some(true) }
    }
}

/// The truths that a condition may still have, a bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Truths(u8);

impl Truths {
    const EITHER: Self = Self(0b11);
    const ALL: [Truth; 4] = [Truth::True, Truth::False, Truth::Unknown, Truth::NotApplicable];

    fn of(truth: Truth) -> Self {
        Self(match truth {
            Truth::True => 1,
            Truth::False => 2,
            Truth::Unknown => 4,
            Truth::NotApplicable => 8,
        })
    }

    fn list(self) -> impl Iterator<Item = Truth> {
        Self::ALL.into_iter().filter(move |truth| self.0 & Self::of(*truth).0 != 0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn split(self, yes: &[Truth]) -> Possible {
        Possible {
            yes: self.list().any(|truth| yes.contains(&truth)),
            no: self.list().any(|truth| !yes.contains(&truth)),
        }
    }

    fn condition(condition: &Cond, test: &dyn Fn(&Test) -> Self) -> Self {
        match condition {
            Cond::Const(truth) => Self::of(*truth),
            Cond::Test(one) => test(one),
            Cond::All(parts) => Self::joined(parts, test, Cond::All),
            Cond::Any(parts) => Self::joined(parts, test, Cond::Any),
        }
    }

    /// What policies make of the parts depends on which truths are among them, and on nothing else.
    fn joined(parts: &[Cond], test: &dyn Fn(&Test) -> Self, join: fn(Vec<Cond>) -> Cond) -> Self {
        // A bit for each set of truths that the parts may have.
        let mut sets = 1_u16;
        for part in parts {
            let part = Self::condition(part, test);
            let mut next = 0;
            for set in (0..16_u8).filter(|set| sets >> set & 1 == 1) {
                for truth in part.list() {
                    next |= 1 << (set | Self::of(truth).0);
                }
            }
            sets = next;
        }
        (0..16_u8).filter(|set| sets >> set & 1 == 1).fold(Self(0), |all, set| {
            let parts = Self(set).list().map(Cond::Const).collect();
            all.or(Self::of(join(parts).constant()))
        })
    }
}

/// Searches, with a cap on the steps of all of them together.
pub(crate) struct Search {
    pub(crate) setting: Setting,
    steps: Cell<usize>,
}

impl Search {
    /// At most so many steps in all; after them every answer is "unknown".
    pub(crate) fn new(setting: Setting, steps: usize) -> Self {
        Self { setting, steps: Cell::new(steps) }
    }

    /// The steps that are left.
    pub(crate) fn left(&self) -> usize {
        self.steps.get()
    }

    /// Looks for a world that answers.
    pub(crate) fn find(&self, ask: &Ask<'_>) -> Answer {
        self.within(ask, self.setting)
    }

    /// The same; SQL that can't be parsed is a case too.
    pub(crate) fn find_with_unparsable(&self, ask: &Ask<'_>) -> Answer {
        self.within(ask, Setting { unparsable: true, ..self.setting })
    }

    fn within(&self, ask: &Ask<'_>, setting: Setting) -> Answer {
        let mut tests = Vec::new();
        ask.tests(&mut tests);
        let words = tests.iter().map(|test| test.how.words()).sum::<usize>();
        let globs = tests.iter().any(|test| matches!(test.how, How::Glob(_)));
        if tests.len() > MOST_TESTS || words > if globs { MOST_TESTS } else { MOST_WORDS } {
            return Answer::Unknown;
        }
        let axes = axes(&tests, setting, ask.channels());
        let most = MOST.min(self.steps.get());
        // What a step costs grows with what is asked.
        let cost = 1 + (tests.len() + words) / 64;
        let mut one = One { ask, axes: &axes, setting, assigned: vec![false; axes.axes.len()], left: most, cost };
        let found = one.structure(0, &World::new(setting.today));
        let (left, complete) = (one.left, axes.complete);
        self.steps.set(self.steps.get() - (most - left));
        match found {
            Some(world) => Answer::Yes(Box::new(world)),
            None if complete && left > 0 => Answer::No,
            None => Answer::Unknown,
        }
    }
}

/// One search.
struct One<'a, 'c> {
    ask: &'a Ask<'c>,
    axes: &'a Axes,
    setting: Setting,
    assigned: Vec<bool>,
    left: usize,
    cost: usize,
}

impl<'a> One<'a, '_> {
    /// Tries the values on which it depends what the others can be: protocol, kind of message, kind of SQL.
    fn structure(&mut self, axis: usize, world: &World) -> Option<World> {
        if axis < self.axes.structure {
            return self.each(axis, &self.axes.axes[axis].iter().collect::<Vec<_>>(), world, |one, next| {
                one.structure(axis + 1, next)
            });
        }
        // A value that can't answer, whatever the others are, is not tried again and again below them.
        let mut rest = Vec::new();
        for axis in axis..self.axes.axes.len() {
            let mut left = Vec::new();
            for choice in &self.axes.axes[axis] {
                self.each(axis, &[choice], world, |_, _| {
                    left.push(choice);
                    None
                });
            }
            if left.is_empty() {
                return None;
            }
            rest.push((axis, left));
        }
        rest.sort_by_key(|(_, choices)| choices.len());
        self.branch(&rest, world)
    }

    fn branch(&mut self, rest: &[(usize, Vec<&'a Choice>)], world: &World) -> Option<World> {
        let Some(((axis, choices), rest)) = rest.split_first() else {
            let settled = self.settled(world);
            return self.possible(&settled).yes.then_some(settled);
        };
        self.each(*axis, choices, world, |one, next| one.branch(rest, next))
    }

    /// Goes on with each value that may still answer.
    fn each(
        &mut self,
        axis: usize,
        choices: &[&'a Choice],
        world: &World,
        mut go_on: impl FnMut(&mut Self, &World) -> Option<World>,
    ) -> Option<World> {
        self.assigned[axis] = true;
        let mut found = None;
        for choice in choices {
            if self.left == 0 {
                break;
            }
            self.left = self.left.saturating_sub(self.cost);
            let mut next = world.clone();
            next.set(choice);
            if self.possible(&self.settled(&next)).yes {
                found = go_on(self, &next);
            }
            if found.is_some() {
                break;
            }
        }
        self.assigned[axis] = false;
        found
    }

    fn settled(&self, world: &World) -> World {
        let mut settled = world.clone();
        settled.settle(self.setting.decoded);
        settled
    }

    fn possible(&self, settled: &World) -> Possible {
        let structure = self.assigned[..self.axes.structure].iter().all(|assigned| *assigned);
        let test = |test: &Test| {
            let truth = Truths::of(test.truth(settled.facts()));
            let assigned = self.axes.of.get(&std::ptr::from_ref(test)).is_none_or(|axis| self.assigned[*axis]);
            // What a test is about may depend on the structure; a column may be missing whatever it is.
            let applies = test.field.info().session || (structure && test.field != FieldId::Column);
            match (assigned && (structure || test.field.info().session), applies) {
                (true, _) => truth,
                (false, true) if truth == Truths::of(Truth::NotApplicable) => truth,
                (false, true) if truth == Truths::of(Truth::Unknown) => truth,
                (false, true) => Truths::EITHER,
                (false, false) => Truths(0b1111),
            }
        };
        self.ask.possible(&test, structure.then_some(settled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::worlds::SqlState;
    use proptest::prelude::*;

    fn test(field: FieldId, negated: bool, how: How) -> Cond {
        Cond::Test(Test { field, path: None, negated, every: false, how })
    }

    fn setting() -> Setting {
        Setting { decoded: false, today: jiff::civil::date(2026, 11, 23), unparsable: false }
    }

    fn holds(condition: &Cond) -> Answer {
        Search::new(setting(), usize::MAX).find(&Ask::Holds(condition))
    }

    fn glob(text: &str) -> How {
        How::Glob(vec![text.into()])
    }

    #[test]
    fn globs_that_meet_have_a_text_in_common() {
        let both =
            Cond::All(vec![test(FieldId::Target, false, glob("db-*")), test(FieldId::Target, false, glob("*-prod"))]);
        let Answer::Yes(world) = holds(&both) else { panic!("there is one") };
        assert!(world.session.target.starts_with("db-") && world.session.target.ends_with("-prod"));
    }

    #[test]
    fn globs_that_exclude_each_other_have_none() {
        let both = Cond::All(vec![test(FieldId::Target, false, glob("a*")), test(FieldId::Target, false, glob("b*"))]);
        assert!(matches!(holds(&both), Answer::No));
        let outside =
            Cond::All(vec![test(FieldId::Target, false, glob("db-*")), test(FieldId::Target, true, glob("*"))]);
        assert!(matches!(holds(&outside), Answer::No));
    }

    #[test]
    fn a_person_may_be_in_two_groups_and_a_target_has_one_name() {
        let group = |name: &str| test(FieldId::UserGroup, false, How::AnyOf(vec![name.into()]));
        assert!(matches!(holds(&Cond::All(vec![group("a"), group("b")])), Answer::Yes(_)));
        let target = |name: &str| test(FieldId::Target, false, How::AnyOf(vec![name.into()]));
        assert!(matches!(holds(&Cond::All(vec![target("a"), target("b")])), Answer::No));
    }

    #[test]
    fn numbers_between_bounds_are_found() {
        use crate::syntax::tree::Operator;
        let hour = |operator, with| test(FieldId::TimeHour, false, How::Number(operator, with));
        let night = Cond::All(vec![hour(Operator::AtLeast, 22.0), hour(Operator::Less, 23.0)]);
        assert!(matches!(holds(&night), Answer::Yes(_)));
        let never = Cond::All(vec![hour(Operator::Greater, 22.0), hour(Operator::Less, 23.0)]);
        assert!(matches!(holds(&never), Answer::No));
        assert!(matches!(holds(&hour(Operator::Greater, 23.0)), Answer::No));
    }

    #[test]
    fn a_message_is_about_a_tool_or_a_resource_and_not_both() {
        let named = |field| test(field, false, glob("*"));
        assert!(matches!(holds(&named(FieldId::ResourceUri)), Answer::Yes(_)));
        let both = Cond::All(vec![named(FieldId::ToolName), named(FieldId::ResourceUri)]);
        assert!(matches!(holds(&both), Answer::No));
    }

    #[test]
    fn many_fields_are_searched_without_trying_every_combination() {
        let fields =
            [FieldId::Target, FieldId::UserId, FieldId::UserEmail, FieldId::SessionPurpose, FieldId::SessionIp];
        let mut parts = Vec::new();
        for field in fields {
            let any = (0..12).map(|n| test(field, false, How::AnyOf(vec![format!("v{n}")])));
            parts.push(Cond::Any(any.collect()));
        }
        assert!(matches!(holds(&Cond::All(parts.clone())), Answer::Yes(_)));
        parts.push(test(FieldId::SessionIp, false, How::AnyOf(vec!["elsewhere".into()])));
        assert!(matches!(holds(&Cond::All(parts)), Answer::No));
    }

    #[test]
    fn too_many_groups_to_try_are_unknown() {
        let names = (0..9).map(|n| test(FieldId::UserGroup, n == 8, How::AnyOf(vec![format!("g{n}")])));
        let mut parts: Vec<Cond> = names.collect();
        parts.push(test(FieldId::UserGroup, true, How::AnyOf(vec!["g0".into()])));
        assert!(matches!(holds(&Cond::All(parts)), Answer::Unknown));
    }

    /// Conditions over a few values of fields of every kind.
    fn condition() -> impl Strategy<Value = Cond> {
        let word = || prop::sample::select(vec!["a", "ab", "b", "*b", "a*", "?"]);
        let field = prop::sample::select(vec![
            FieldId::Target,
            FieldId::UserGroup,
            FieldId::UserEmail,
            FieldId::ToolName,
            FieldId::ResourceUri,
            FieldId::SqlTables,
            FieldId::Column,
        ]);
        let text = (field, word(), any::<bool>(), any::<bool>(), any::<bool>());
        let text = text.prop_map(|(field, word, negated, every, is_glob)| {
            let how = if is_glob { glob(word) } else { How::AnyOf(vec![word.to_owned()]) };
            Cond::Test(Test { field, path: None, negated, every, how })
        });
        let verb = (prop::sample::subsequence(vec!["select", "drop", "delete"], 1..3), any::<bool>(), any::<bool>());
        let verb = verb.prop_map(|(words, negated, every)| {
            let how = How::AnyOf(words.into_iter().map(str::to_owned).collect());
            Cond::Test(Test { field: FieldId::SqlVerb, path: None, negated, every, how })
        });
        let protocol = prop::sample::select(vec!["mcp", "postgres", "ssh"]);
        let protocol = (protocol, any::<bool>())
            .prop_map(|(word, negated)| test(FieldId::Protocol, negated, How::AnyOf(vec![word.to_owned()])));
        prop_oneof![4 => text, 1 => verb, 1 => protocol].prop_recursive(3, 12, 3, |inner| {
            let parts = prop::collection::vec(inner, 1..4);
            prop_oneof![parts.clone().prop_map(Cond::All), parts.prop_map(Cond::Any)]
        })
    }

    /// Requests made of the same few values and some that no condition names.
    fn world() -> impl Strategy<Value = World> {
        let word = || prop::sample::select(vec!["a", "ab", "b", "xb", "ax", "zz", ""]);
        let words = || prop::collection::vec(word(), 0..3);
        let verbs = prop::collection::vec(prop::sample::select(vec!["select", "drop", "delete", "grant"]), 1..3);
        let channel = prop::sample::select(vec![Channel::Tool, Channel::Resource, Channel::Prompt, Channel::Other]);
        let state = prop::sample::select(vec![SqlState::Parsed, SqlState::None]);
        let protocol = prop::sample::select(vec!["mcp", "postgres", "ssh", "http"]);
        let fields = (word(), words(), prop::option::of(word()), word(), prop::option::of(word()), words());
        (protocol, channel, state, verbs, fields).prop_map(|(protocol, channel, state, verbs, fields)| {
            let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let (target, groups, email, name, column, tables) = fields;
            let mut world = World::new(setting().today);
            for choice in [
                Choice::Text(FieldId::Protocol, Some(protocol.into())),
                Choice::Channel(channel, Some(channel.method().into())),
                Choice::Sql(state),
                Choice::Text(FieldId::Target, Some(target.into())),
                Choice::Texts(FieldId::UserGroup, owned(groups)),
                Choice::Text(FieldId::UserEmail, email.map(str::to_owned)),
                Choice::Text(FieldId::ToolName, Some(name.into())),
                Choice::Text(FieldId::ResourceUri, Some(name.into())),
                Choice::Text(FieldId::Column, column.map(str::to_owned)),
                Choice::Texts(FieldId::SqlTables, owned(tables)),
                Choice::Texts(FieldId::SqlVerb, owned(verbs)),
            ] {
                world.set(&choice);
            }
            world.settle(true);
            world
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_never_holds_holds_for_no_request(
            condition in condition(),
            worlds in prop::collection::vec(world(), 40),
        ) {
            let search = Search::new(Setting { decoded: true, ..setting() }, usize::MAX);
            for ask in [Ask::Holds(&condition), Ask::Relaxes(&condition), Ask::Holds(&condition).not()] {
                match search.find(&ask) {
                    Answer::Yes(world) => prop_assert!(ask.answered_by(&world)),
                    Answer::No => {
                        for world in &worlds {
                            prop_assert!(!ask.answered_by(world), "{:?}", world);
                        }
                    }
                    Answer::Unknown => {}
                }
            }
        }
    }
}
