//! A compiled policy, and what it decides.

pub(crate) mod condition;
mod facts;
mod held;
mod limit;
mod origin;
mod reading;

pub use facts::{RequestFacts, SessionFacts, UserKind};
pub use held::{Held, HeldWhen};
pub use limit::{Limited, SessionLimit};
pub use origin::{Origin, Origins};
pub use reading::Reading;

use crate::sql::SqlFacts;
use condition::{Cond, Facts, Truth, View, glob, select};
use sluice_engine::{Action, JsonPath, PatternSpec, Program, RuleId, RuleSet};
use std::sync::Arc;
use std::time::Duration;

/// A compiled policy. Cloning is cheap: clones share one compilation.
#[derive(Clone, Debug)]
pub struct Policy {
    inner: Arc<Compiled>,
}

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) digest: String,
    pub(crate) program: Program,
    pub(crate) infos: Vec<RuleInfo>,
    pub(crate) rules: Vec<Lowered>,
    /// The index into `rules` by the engine's rule.
    pub(crate) by_engine: Vec<usize>,
    pub(crate) decodes: Vec<Decode>,
    /// What each rule searches for and does about it; nothing where the facts decide.
    pub(crate) searched: Vec<(Vec<PatternSpec>, Option<Action>)>,
    /// What is searched for in text without a prefilter.
    pub(crate) unfiltered: Vec<PatternSpec>,
}

/// What people want to know about a rule.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// The pack it comes from.
    pub pack: String,
    /// `meta id`
    pub id: Option<String>,
    /// `meta severity`
    pub severity: Option<String>,
    /// `meta tags`
    pub tags: Vec<String>,
    /// `meta gdpr`: articles.
    pub gdpr: Vec<String>,
    /// What the user is told: the text of `block`, or else `meta message`.
    pub message: Option<String>,
    /// True where it only records what it would have done.
    pub audit: bool,
    /// How much it lets through before it blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limited>,
}

/// A rule, lowered.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    pub(crate) request: bool,
    pub(crate) response: bool,
    /// Scope and `when`.
    pub(crate) holds: Cond,
    /// `unless` and the conditions of its exceptions.
    pub(crate) relaxed: Vec<Relax>,
    pub(crate) priority: u8,
    pub(crate) effect: Effect,
}

/// A condition that relaxes a rule.
#[derive(Clone, Debug)]
pub(crate) struct Relax {
    pub(crate) condition: Cond,
    /// The last day on which it does.
    pub(crate) until: Option<jiff::civil::Date>,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// What the engine does on a match.
    Engine(RuleId),
    /// What is done because of the facts alone.
    Facts(HitAction),
}

/// `decode tool … arg … as sql`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decode {
    pub(crate) tool: String,
    pub(crate) path: JsonPath,
}

/// A rule that holds for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: RuleInfo,
    /// What it asks for.
    pub action: HitAction,
    /// Why, in names of fields and words of the language; never a value of the user's.
    pub detail: Option<String>,
}

/// What a rule that holds asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HitAction {
    /// The request must not go on.
    Block {
        /// What the user is told.
        message: String,
    },
    /// The request needs approval.
    Approve {
        /// Groups whose members may approve.
        by: Vec<String>,
        /// How many must.
        count: u32,
        /// How long an approval holds.
        ttl: Duration,
        /// How long the request waits for it.
        wait: Duration,
        /// How long the same command goes on once it is approved; None: an approval counts once.
        grant: Option<Duration>,
        /// Approvers are shown what the server estimates that the command touches (PostgreSQL).
        estimate: bool,
    },
    /// The request goes on, and is reported.
    Alert,
}

impl HitAction {
    fn strength(&self) -> u8 {
        match self {
            Self::Block { .. } => 0,
            Self::Approve { .. } => 1,
            Self::Alert => 2,
        }
    }
}

impl Policy {
    pub(crate) fn new(compiled: Compiled) -> Self {
        Self { inner: Arc::new(compiled) }
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.inner
    }

    /// `sha256:` and hexadecimal digits, over the text of every file and pack used; equal texts give equal digests,
    /// wherever they lie.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Whether another policy decides the same: its rules, patterns and `decode`s are the same, in the same order. Texts that
    /// differ in comments and layout give such policies.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let (one, other) = (&*self.inner, &*other.inner);
        // What the engine was given is compared as it shows itself: a pattern, a rule and a mask are plain data.
        one.infos == other.infos
            && one.by_engine == other.by_engine
            && format!("{:?}{:?}", one.rules, one.decodes) == format!("{:?}{:?}", other.rules, other.decodes)
            && one.searched == other.searched
    }

    /// The program of the engine with the patterns of all rules.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.inner.program
    }

    /// The rule behind a rule of the engine.
    ///
    /// # Panics
    /// Where the id is of another program.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &RuleInfo {
        &self.inner.infos[self.inner.by_engine[id.index()]]
    }

    /// Every rule, in the order of files and places.
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.inner.infos
    }

    /// Every rule as it was lowered, in the same order.
    pub(crate) fn lowered(&self) -> &[Lowered] {
        &self.inner.rules
    }

    /// What each rule searches for and does about it, in the same order.
    pub(crate) fn searched(&self) -> &[(Vec<PatternSpec>, Option<Action>)] {
        &self.inner.searched
    }

    /// Where tools keep their SQL.
    pub(crate) fn decodes(&self) -> &[Decode] {
        &self.inner.decodes
    }

    /// The index of the rule behind a rule of the engine.
    pub(crate) fn index(&self, id: RuleId) -> usize {
        self.inner.by_engine[id.index()]
    }

    /// The engine's rules for requests, whatever their scopes and conditions: for tools that have bytes and no session.
    #[must_use]
    pub fn request_patterns(&self) -> RuleSet {
        self.patterns(|rule| rule.request)
    }

    /// The engine's rules for responses, whatever their scopes and conditions.
    #[must_use]
    pub fn response_patterns(&self) -> RuleSet {
        self.patterns(|rule| rule.response)
    }

    fn patterns(&self, way: fn(&Lowered) -> bool) -> RuleSet {
        let rules = self.inner.rules.iter().filter(|rule| way(rule));
        rules
            .filter_map(|rule| match rule.effect {
                Effect::Engine(id) => Some(id),
                Effect::Facts(_) => None,
            })
            .collect()
    }

    /// The rules that can hold in a session, with what it decides put in.
    #[must_use]
    pub fn specialise(&self, session: &SessionFacts) -> SessionPolicy {
        let mut rules = Vec::new();
        for (index, rule) in self.inner.rules.iter().enumerate() {
            let holds = rule.holds.specialise(session);
            if matches!(holds, Cond::Const(Truth::False | Truth::NotApplicable)) {
                continue;
            }
            let relaxed = rule.relaxed.iter();
            let relaxed = relaxed.map(|r| Relax { condition: r.condition.specialise(session), until: r.until });
            let relaxed = relaxed.filter(|r| !matches!(r.condition, Cond::Const(t) if t != Truth::True)).collect();
            rules.push((index, Lowered { holds, relaxed, ..rule.clone() }));
        }
        SessionPolicy { policy: self.clone(), session: Arc::new(session.clone()), rules: rules.into() }
    }
}

/// A policy for one session.
#[derive(Clone, Debug)]
pub struct SessionPolicy {
    policy: Policy,
    session: Arc<SessionFacts>,
    rules: Arc<[(usize, Lowered)]>,
}

/// The SQL of a request: none, or texts, each parsed or not.
#[derive(Debug)]
struct Sql {
    texts: Vec<Result<Arc<SqlFacts>, ()>>,
}

impl Sql {
    /// The views of a request: one for each of its SQL texts, or one without.
    fn views<'a>(&'a self, facts: &'a RequestFacts, now: &'a jiff::ZonedDateTime) -> impl Iterator<Item = View<'a>> {
        let without = std::iter::once(None).filter(|_| self.texts.is_empty());
        let with = self.texts.iter().map(|text| Some(text.as_deref().map_err(|error| *error)));
        without.chain(with).map(move |sql| View { facts, sql, now })
    }
}

impl SessionPolicy {
    /// The rules on requests that hold because of the facts alone, the strictest first. SQL that can't be parsed counts as
    /// a match of what speaks of `sql.*`.
    #[must_use]
    pub fn decide(&self, request: &RequestFacts) -> Vec<Hit> {
        self.decide_read(request, &self.sql(request))
    }

    fn decide_read(&self, request: &RequestFacts, sql: &Sql) -> Vec<Hit> {
        let now = request.now.clone().unwrap_or_else(jiff::ZonedDateTime::now);
        let mut hits: Vec<(u8, u8, Hit)> = Vec::new();
        for (index, rule) in self.rules.iter().filter(|(_, rule)| rule.request) {
            let Effect::Facts(action) = &rule.effect else { continue };
            let info = &self.policy.inner.infos[*index];
            if let Some(view) = self.first(rule, request, sql, &now) {
                let mut reasons = Vec::new();
                rule.holds.reasons(Facts { session: &self.session, request: Some(view) }, &mut reasons);
                reasons.dedup();
                let detail = (!reasons.is_empty()).then(|| reasons.join("; "));
                let action = if info.audit { HitAction::Alert } else { action.clone() };
                hits.push((action.strength(), 100 - rule.priority, Hit { rule: info.clone(), action, detail }));
            }
        }
        hits.sort_by(|a, b| (a.0, a.1, &a.2.rule.id, &a.2.rule.name).cmp(&(b.0, b.1, &b.2.rule.id, &b.2.rule.name)));
        hits.into_iter().map(|(_, _, hit)| hit).collect()
    }

    /// The rules of the engine for the bytes of the request.
    #[must_use]
    pub fn request_rules(&self, request: &RequestFacts) -> RuleSet {
        self.engine_rules(request, &self.sql(request), |rule| rule.request)
    }

    /// The rules of the engine for the bytes of the response to this request.
    #[must_use]
    pub fn response_rules(&self, request: &RequestFacts) -> RuleSet {
        self.engine_rules(request, &self.sql(request), |rule| rule.response)
    }

    /// Every rule of the engine that holds for the response to some request of this session.
    #[must_use]
    pub fn every_response_rule(&self) -> RuleSet {
        self.every_rule(|rule| rule.response)
    }

    /// Every rule of the engine that holds for some request of this session.
    #[must_use]
    pub fn every_request_rule(&self) -> RuleSet {
        self.every_rule(|rule| rule.request)
    }

    fn every_rule(&self, way: fn(&Lowered) -> bool) -> RuleSet {
        let rules = self.rules.iter().filter(|(_, rule)| way(rule));
        rules
            .filter_map(|(_, rule)| match rule.effect {
                Effect::Engine(id) => Some(id),
                Effect::Facts(_) => None,
            })
            .collect()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn engine_rules(&self, request: &RequestFacts, sql: &Sql, way: fn(&Lowered) -> bool) -> RuleSet {
        let now = request.now.clone().unwrap_or_else(jiff::ZonedDateTime::now);
        let rules = self.rules.iter().filter(|(_, rule)| way(rule));
        rules
            .filter_map(|(_, rule)| match rule.effect {
                Effect::Engine(id) => self.first(rule, request, sql, &now).map(|_| id),
                Effect::Facts(_) => None,
            })
            .collect()
    }

    /// The first view of the request, one for each of its SQL texts, for which the rule holds.
    fn first<'a>(
        &self,
        rule: &Lowered,
        facts: &'a RequestFacts,
        sql: &'a Sql,
        now: &'a jiff::ZonedDateTime,
    ) -> Option<View<'a>> {
        sql.views(facts, now).find(|view| {
            let facts = Facts { session: &self.session, request: Some(*view) };
            let relaxes = |relax: &Relax| {
                relax.until.is_none_or(|until| now.date() <= until) && relax.condition.truth(facts) == Truth::True
            };
            matches!(rule.holds.truth(facts), Truth::True | Truth::Unknown) && !rule.relaxed.iter().any(relaxes)
        })
    }

    /// Calls for each view of the request with what conditions are decided over: for tools that look into conditions.
    pub(crate) fn each_view(&self, request: &RequestFacts, call: &mut dyn FnMut(Facts<'_>)) {
        let now = request.now.clone().unwrap_or_else(jiff::ZonedDateTime::now);
        let sql = self.sql(request);
        for view in sql.views(request, &now) {
            call(Facts { session: &self.session, request: Some(view) });
        }
    }

    fn sql(&self, request: &RequestFacts) -> Sql {
        let parse = |text: &str| crate::sql::facts(text).map_err(|_| ());
        let mut texts: Vec<_> = request.sql.iter().map(|text| parse(text)).collect();
        if let (Some(tool), Some(args)) = (&request.tool_name, &request.tool_args) {
            for decode in self.policy.inner.decodes.iter().filter(|decode| glob(&decode.tool, tool)) {
                for value in select(args, &decode.path.steps) {
                    collect(value, &mut texts, &parse);
                }
            }
        }
        Sql { texts }
    }
}

/// The texts in a value; what is neither text nor a list of texts is SQL that can't be parsed.
fn collect(
    value: &serde_json::Value,
    out: &mut Vec<Result<Arc<SqlFacts>, ()>>,
    parse: &dyn Fn(&str) -> Result<Arc<SqlFacts>, ()>,
) {
    match value {
        serde_json::Value::String(text) => out.push(parse(text)),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, out, parse)),
        serde_json::Value::Null => {}
        _ => out.push(Err(())),
    }
}
