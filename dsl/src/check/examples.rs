//! A test for a rule that has none, made of a request for which it acts and a value that it finds. It is offered only where
//! the policy was seen to do what the test expects.

use super::conflicts::trials;
use super::lower::Analysed;
use super::trial::Trial;
use super::whole::{Acting, Whole};
use crate::codes::Code;
use crate::fields::{FieldId, FieldInfo, SQL_PROTOCOLS};
use crate::policy::{Effect, HitAction};
use sluice_engine::{Action, RuleId};

/// Rules for which a test is made. Who has more without one wants no more of them at once.
const MOST: usize = 50;

/// What a test sends and expects.
struct Example {
    direction: &'static str,
    /// The column that is given beside what the conditions ask for.
    column: Option<String>,
    send: String,
    expect: String,
}

impl Whole<'_, '_> {
    /// Puts a whole test into the help of the warning that a rule has none.
    pub(crate) fn examples(&self, acting: &[Acting<'_, '_>]) {
        let mut left = MOST;
        for acting in acting {
            let rule = acting.rule;
            let path = &self.checker.loaded.units[rule.unit].source.path;
            let place = self.checker.diagnostics.borrow().iter().position(|found| {
                found.code == Code::UntestedRule && found.path == *path && found.span == rule.rule.name.span
            });
            let Some(place) = place else { continue };
            if left == 0 {
                return;
            }
            left -= 1;
            if let Some(test) = self.example(acting) {
                self.checker.diagnostics.borrow_mut()[place].help = Some(format!("add one, as in `{test}`"));
            }
        }
    }

    fn example(&self, acting: &Acting<'_, '_>) -> Option<String> {
        let rule = acting.rule;
        let not_given =
            |field: &FieldInfo| matches!(field.id, FieldId::Size | FieldId::TimeHour | FieldId::TimeWeekday);
        if rule.audit || rule.lowered.holds.asks(not_given) {
            return None;
        }
        let Example { direction, column, send, expect } = match &rule.lowered.effect {
            Effect::Facts(action) => self.decided(acting, action)?,
            Effect::Engine(id) => self.found(acting, *id)?,
        };
        let mut world = acting.world.clone();
        world.request.column = column.clone().or(world.request.column);
        let relaxed = rule.lowered.relaxed.iter().map(|relax| &relax.condition);
        let conditions: Vec<_> = std::iter::once(&rule.lowered.holds).chain(relaxed).collect();
        let mut given = world.given(direction, &conditions);
        if let Some(column) = column.filter(|_| !given.contains(" column ")) {
            given = given.replacen(" }", &format!(" column {column:?} }}"), 1);
        }
        let name = &rule.rule.name.value;
        Some(format!("test \"{name} acts\" {{ {given} send {send:?} expect {expect} by {name} }}"))
    }

    /// What to send, and what comes of it, for a rule that looks at facts.
    fn decided(&self, acting: &Acting<'_, '_>, action: &HitAction) -> Option<Example> {
        let request = acting.world.request()?;
        let hits = self.policy.specialise(&acting.world.session).decide(&request);
        let same = |other: &HitAction| std::mem::discriminant(other) == std::mem::discriminant(action);
        let info = &self.policy.rules()[self.index(acting.rule)?];
        // Another rule of the same strength may come first; this one must be among them.
        if !hits.first().is_some_and(|hit| same(&hit.action)) || !hits.iter().any(|hit| hit.rule == *info) {
            return None;
        }
        let expect = match action {
            HitAction::Block { .. } => "block",
            HitAction::Approve { .. } => "approve",
            HitAction::Alert => "alert",
        };
        let native = SQL_PROTOCOLS.contains(&acting.world.session.protocol.as_str());
        // What is sent over the protocol of a database is its SQL.
        let send = match request.sql {
            Some(sql) => sql,
            None if native => "SELECT 1".to_owned(),
            None => "anything".to_owned(),
        };
        Some(Example { direction: "request", column: None, send, expect: expect.to_owned() })
    }

    /// The same for a rule that searches bytes.
    fn found(&self, acting: &Acting<'_, '_>, id: RuleId) -> Option<Example> {
        let (rule, world) = (acting.rule, &acting.world);
        let mut request = world.request()?;
        let session = self.policy.specialise(&world.session);
        let response = rule.lowered.response;
        if !response && !session.decide(&request).is_empty() {
            return None;
        }
        let native = SQL_PROTOCOLS.contains(&world.session.protocol.as_str());
        // SQL that is sent would be parsed, so a value stands for it only where nothing asks.
        if !response && native {
            return None;
        }
        let program = self.policy.program();
        let program_rules: Vec<RuleId> = program.rules().collect();
        trials(&[rule]).into_iter().take(40).find_map(|Trial { text, column }| {
            if column.is_some() && !native {
                return None;
            }
            let trial = Trial { text, column };
            request.column = trial.column.clone().or(world.request.column.clone());
            let set = if response { session.response_rules(&request) } else { session.request_rules(&request) };
            let holding = || program_rules.iter().copied().filter(|id| set.contains(*id));
            let expect = match (trial.run(program, holding(), &world.session.protocol), &rule.action) {
                // It stops by this rule alone, so it is one of those that stop it.
                (None, Some(Action::Block)) if trial.run(program, [id], &world.session.protocol).is_none() => {
                    let others = holding().filter(|other| *other != id);
                    trial.run(program, others, &world.session.protocol)?;
                    "block".to_owned()
                }
                (Some((decisions, text)), Some(Action::Mask(_)))
                    if text != trial.text && decisions.iter().any(|decision| decision.rule == id) =>
                {
                    format!("mask {text:?}")
                }
                (Some((decisions, text)), Some(Action::Alert))
                    if text == trial.text && decisions.iter().any(|decision| decision.rule == id) =>
                {
                    "alert".to_owned()
                }
                _ => return None,
            };
            let direction = if response { "response" } else { "request" };
            Some(Example { direction, column: trial.column, send: trial.text, expect })
        })
    }

    /// Where the rule stands among those of the policy.
    pub(crate) fn index(&self, rule: &Analysed<'_>) -> Option<usize> {
        self.rules.iter().position(|other| std::ptr::eq(other, rule))
    }
}
