//! The rules that hold in a session, for people who ask why.

use super::condition::{Cond, Truth};
use super::{RuleInfo, SessionPolicy};

/// A rule as it holds in a session.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleInfo,
    /// Whether it looks at requests.
    pub on_request: bool,
    /// Whether it looks at responses.
    pub on_response: bool,
    /// When it does.
    pub when: HeldWhen,
}

/// When a rule of a session acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldWhen {
    /// On every request.
    Always,
    /// On those that its conditions speak of.
    DependsOnRequest,
    /// After this day: until then an exception takes it away.
    After(jiff::civil::Date),
}

impl SessionPolicy {
    /// The rules that can act in this session from `today` on, in the order of files and places. Those that what is known of the
    /// session rules out are left out.
    #[must_use]
    pub fn held(&self, today: jiff::civil::Date) -> Vec<Held> {
        let rules = self.rules.iter().filter_map(|(index, rule)| {
            let live: Vec<_> = rule.relaxed.iter().filter(|r| r.until.is_none_or(|until| today <= until)).collect();
            let certain = |cond: &Cond| matches!(cond, Cond::Const(Truth::True | Truth::Unknown));
            let removed = live.iter().filter(|relax| relax.condition == Cond::Const(Truth::True));
            let when = match removed.map(|relax| relax.until).max_by_key(|until| (until.is_none(), *until)) {
                // Taken away for good.
                Some(None) => return None,
                Some(Some(until)) => HeldWhen::After(until),
                None if certain(&rule.holds) && live.is_empty() => HeldWhen::Always,
                None => HeldWhen::DependsOnRequest,
            };
            let rule_info = self.policy.inner.infos[*index].clone();
            Some(Held { rule: rule_info, on_request: rule.request, on_response: rule.response, when })
        });
        rules.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompileOptions, SessionFacts, compile_source};

    const RULES: &str = r#"language 1
pack t "1.0.0" { owner "tests" reviewed 2026-08-01 }
pattern staff = /\bEMP-[0-9]{6}\b/
rule everywhere { on response match staff then mask redact(with: "[staff]") }
rule elsewhere { on response when target == "hr" match staff then alert }
rule by_tool { on request when tool.name == "drop" then block "No." }
rule not_for_ops { on request when tool.name == "dump" unless user.group has "ops" then block "No." }
rule frozen { on request when target == "crm" then block "Closed." }
except frozen { when user.group has "ops" until 2026-12-24 reason "T-1" approved_by "dpo" }
"#;

    fn held(groups: &[&str], today: jiff::civil::Date) -> Vec<(String, HeldWhen)> {
        let compilation = compile_source("t.rules", RULES, &CompileOptions::for_tests());
        let policy = compilation.policy.clone().unwrap_or_else(|| panic!("{}", compilation.render(false)));
        let facts = SessionFacts {
            protocol: "mcp".to_owned(),
            target: "crm".to_owned(),
            user_groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..SessionFacts::default()
        };
        policy.specialise(&facts).held(today).into_iter().map(|held| (held.rule.name, held.when)).collect()
    }

    #[test]
    fn a_session_has_the_rules_that_nothing_known_of_it_rules_out() {
        let named = |name: &str, when| (name.to_owned(), when);
        let before = jiff::civil::date(2026, 12, 24);
        assert_eq!(
            held(&["sales"], before),
            [
                named("everywhere", HeldWhen::Always),
                named("by_tool", HeldWhen::DependsOnRequest),
                named("not_for_ops", HeldWhen::DependsOnRequest),
                named("frozen", HeldWhen::Always),
            ]
        );
        assert_eq!(
            held(&["ops"], before),
            [
                named("everywhere", HeldWhen::Always),
                named("by_tool", HeldWhen::DependsOnRequest),
                named("frozen", HeldWhen::After(before)),
            ]
        );
        let after = jiff::civil::date(2026, 12, 25);
        assert_eq!(held(&["ops"], after).last(), Some(&named("frozen", HeldWhen::Always)));
    }
}
