//! What masks don't reach: patterns that are only reported, and kinds of MCP messages that a mask never holds for.

use super::lower::Analysed;
use super::search::{Answer, Ask};
use super::whole::{Acting, Whole, acts, covers};
use super::worlds::Channel;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::policy::Effect;
use crate::syntax::tree::{ActionKind, Condition, Match, Name, Span};
use sluice_engine::{Action, PatternSpec};

impl Whole<'_, '_> {
    /// A mask that reaches some kinds of MCP messages of a session and not the others.
    pub(crate) fn channels(&self, acting: &Acting<'_, '_>) {
        let rule = acting.rule;
        if rule.audit || !rule.lowered.response || !matches!(rule.action, Some(Action::Mask(_))) {
            return;
        }
        let all = [Channel::Tool, Channel::Resource, Channel::Prompt];
        let answers = all.map(|channel| self.search.find(&Ask::All(vec![acts(rule), Ask::On(channel)])));
        let Some(reached) = answers.iter().find_map(|answer| match answer {
            Answer::Yes(world) => Some(world),
            _ => None,
        }) else {
            return;
        };
        let mut open = Vec::new();
        for (channel, answer) in all.into_iter().zip(&answers) {
            if !matches!(answer, Answer::No) {
                continue;
            }
            let world = reached.on(channel);
            // The policy itself says that nothing else covers it there.
            let Some(request) = world.request() else { continue };
            let holding = self.policy.specialise(&world.session).response_rules(&request);
            let covered = |spec: &PatternSpec| {
                self.rules.iter().any(|other| match (&other.lowered.effect, &other.action) {
                    (Effect::Engine(id), Some(Action::Mask(_) | Action::Block)) => {
                        holding.contains(*id) && other.specs.iter().any(|wider| covers(wider, spec))
                    }
                    _ => false,
                })
            };
            if let Some(spec) = rule.specs.iter().find(|spec| !covered(spec)) {
                open.push((channel, world, spec));
            }
        }
        let Some((_, world, spec)) = open.first() else { return };
        let name = &rule.rule.name;
        let kinds: Vec<&str> = open.iter().map(|(channel, ..)| channel.plural()).collect();
        let message = format!("mask `{}` doesn't reach {}", name.value, kinds.join(" and "));
        let given = world.describe("response", &[&rule.lowered.holds]);
        let help = format!(
            "`{given}`: nothing masks `{}` there; leave the field out, or add a rule for {}",
            spec.name,
            kinds.join(" and "),
        );
        let span = self.mcp_field(rule).unwrap_or_else(|| name.span.clone());
        let source = &self.checker.loaded.units[rule.unit].source;
        let diagnostic = Diagnostic::new(source, span.clone(), Code::ChannelOpen, message).help(help);
        self.checker.push(if span == name.span {
            diagnostic
        } else {
            let field = &self.text(rule.unit)[span];
            let label = match field {
                "mcp.method" => format!("never holds for {}", kinds.join(" and ")),
                _ => format!("{} have no such field", kinds.join(" and ")),
            };
            let diagnostic = diagnostic.label(label);
            diagnostic.related(source, name.span.clone(), "the mask")
        });
    }

    /// Where the rule's own `when` first speaks of a field that not every MCP message has.
    fn mcp_field(&self, rule: &Analysed<'_>) -> Option<Span> {
        let mut fields = Vec::new();
        rule.rule.when.iter().for_each(|when| collect_fields(when, &mut fields));
        let mcp = |name: &str| crate::fields::find(name).is_some_and(|info| info.protocols == ["mcp"]);
        fields.into_iter().find(|name| mcp(&name.value)).map(|name| name.span.clone())
    }

    /// Patterns that rules look for, and none masks or blocks.
    pub(crate) fn only_reported(&self) {
        let acts = |rule: &Analysed<'_>| {
            let tree = &rule.rule.actions;
            tree.iter().any(|action| matches!(action.value, ActionKind::Mask { .. } | ActionKind::Block(_)))
        };
        let mut told: Vec<&PatternSpec> = Vec::new();
        for rule in self.rules.iter().filter(|rule| !acts(rule)) {
            for one in &rule.rule.matches {
                let Match::Pattern(name) = one else { continue };
                for spec in self.checker.matching(rule.unit, one) {
                    let masked =
                        |other: &Analysed<'_>| acts(other) && other.specs.iter().any(|wide| covers(wide, &spec));
                    if self.rules.iter().any(masked) || told.contains(&&spec) {
                        continue;
                    }
                    let Some(spec) = rule.specs.iter().find(|known| **known == spec) else { continue };
                    told.push(spec);
                    let message = format!("`{}` is reported and passes: no rule masks or blocks it", spec.name);
                    let source = &self.checker.loaded.units[rule.unit].source;
                    let diagnostic = Diagnostic::new(source, name.span.clone(), Code::OnlyReported, message);
                    let at = rule.rule.actions.first().map_or(name.span.clone(), |action| action.span.clone());
                    let diagnostic = diagnostic.related(source, at, "all that is done about it");
                    self.checker
                        .push(diagnostic.help("write `then mask redact, alert`, or suppress this with the reason"));
                }
            }
        }
    }
}

fn collect_fields<'t>(condition: &'t Condition, out: &mut Vec<&'t Name>) {
    match condition {
        Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|part| collect_fields(part, out)),
        Condition::Not(inner) => collect_fields(inner, out),
        Condition::Field(field) | Condition::Compare { field, .. } => out.push(&field.name),
    }
}
