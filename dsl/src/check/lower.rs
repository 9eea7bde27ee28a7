//! Rules, checked as a whole and lowered: patterns to the engine's program, conditions to the policy.

use super::Checker;
use super::actions::Lowered as Done;
use super::apart::Sessions;
use super::conditions::{Place, all_protocols};
use super::names::Kind;
use super::prefilter;
use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Severity};
use crate::fields::{SQL_PROTOCOLS, find, nearest};
use crate::policy::condition::{Cond, Truth};
use crate::policy::{Compiled, Decode, Effect, HitAction, Limited, Lowered, Relax, RuleInfo, SessionFacts};
use crate::syntax::tree::{ActionKind, Direction, Except, ItemKind, Limit, Mode, Rule};
use crate::words::SEVERITIES;
use sha2::{Digest, Sha256};
use sluice_engine::{Action, BuildError, JsonPath, PatternId, PatternSpec, Program, ProgramBuilder, RuleSpec};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// A rule with what it was lowered to, for the checks of the rule set as a whole.
pub(crate) struct Analysed<'a> {
    pub(crate) unit: usize,
    pub(crate) rule: &'a Rule,
    pub(crate) lowered: Lowered,
    /// What it searches for; empty where it looks at facts alone.
    pub(crate) specs: Vec<PatternSpec>,
    /// What the engine does; None where the facts decide.
    pub(crate) action: Option<Action>,
    pub(crate) audit: bool,
    /// The sessions that it may hold for.
    pub(crate) sessions: Sessions,
}

/// What all rules became.
pub(crate) struct Lowering<'a> {
    /// None where the program can't be built.
    pub(crate) compiled: Option<Compiled>,
    pub(crate) rules: Vec<Analysed<'a>>,
    /// True where `decode` gives MCP its SQL.
    pub(crate) decoded: bool,
}

struct Build<'a> {
    analysed: Vec<Analysed<'a>>,
    builder: ProgramBuilder,
    patterns: Vec<(PatternSpec, PatternId)>,
    /// Where in `patterns` those of one matcher are.
    by_matcher: HashMap<String, Vec<usize>>,
    infos: Vec<RuleInfo>,
    rules: Vec<Lowered>,
    /// Unit and name of each rule.
    places: Vec<(usize, String)>,
    by_engine: Vec<usize>,
}

/// Checks everything.
pub(crate) fn lower<'a>(checker: &Checker<'a>) -> Lowering<'a> {
    checker.check_patterns();
    let decodes = checker.decodes();
    let mut build = Build {
        analysed: Vec::new(),
        builder: Program::builder(),
        patterns: Vec::new(),
        by_matcher: HashMap::new(),
        infos: Vec::new(),
        rules: Vec::new(),
        places: Vec::new(),
        by_engine: Vec::new(),
    };
    build.builder.keys(checker.options.keys.clone());
    let given = || checker.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given);
    for (unit, read) in given() {
        let mode = checker.file_mode(unit);
        for item in &read.tree.items {
            match &item.kind {
                ItemKind::Scope(scope) => {
                    let place =
                        Place { unit, relaxing: false, protocols: all_protocols(), decoded: !decodes.is_empty() };
                    checker.condition(&place, &scope.condition, false);
                }
                ItemKind::Rule(rule) => checker.rule(unit, rule, mode, !decodes.is_empty(), &mut build),
                ItemKind::Test(test) => checker.test(unit, test),
                _ => {}
            }
        }
    }
    for (unit, read) in given() {
        for item in &read.tree.items {
            if let ItemKind::Except(except) = &item.kind {
                checker.except(unit, except, !decodes.is_empty(), &mut build);
            }
        }
    }
    if !given().any(|(_, unit)| unit.tree.items.iter().any(|item| matches!(item.kind, ItemKind::Rule(_)))) {
        // Where an item or a file can't be read, the rules may be there.
        let mut diagnostics = checker.diagnostics.borrow_mut();
        if !diagnostics.iter().any(|d| d.severity == Severity::Error) {
            let diagnostic = Diagnostic::placeless(Code::ZeroRules, "the files hold no rules");
            diagnostics.push(diagnostic.help("imports give names only; give the files whose rules shall hold"));
        }
    }
    let Build { infos, rules, by_engine, analysed, builder, patterns, .. } = build;
    let decoded = !decodes.is_empty();
    // Exceptions may stand before the rule that they relax, so they came after all rules.
    let analysed =
        analysed.into_iter().zip(&rules).map(|(rule, lowered)| Analysed { lowered: lowered.clone(), ..rule });
    let analysed: Vec<Analysed<'_>> = analysed.collect();
    let searched = analysed.iter().map(|rule| (rule.specs.clone(), rule.action.clone())).collect();
    let compiled = match builder.build() {
        Ok(program) => {
            let unfiltered = prefilter::without(&program, patterns);
            let digest = checker.digest();
            Some(Compiled { digest, program, infos, rules, by_engine, decodes, searched, unfiltered })
        }
        Err(error) => {
            checker.unbuildable(&error);
            None
        }
    };
    Lowering { compiled, rules: analysed, decoded }
}

impl Build<'_> {
    /// The engine's pattern, the same for the same specification.
    fn pattern(&mut self, spec: PatternSpec) -> Result<PatternId, BuildError> {
        let like = self.by_matcher.entry(format!("{:?}", spec.matcher)).or_default();
        if let Some(place) = like.iter().find(|place| self.patterns[**place].0 == spec) {
            return Ok(self.patterns[*place].1);
        }
        let id = self.builder.pattern(spec.clone())?;
        like.push(self.patterns.len());
        self.patterns.push((spec, id));
        Ok(id)
    }
}

impl<'a> Checker<'a> {
    fn decodes(&self) -> Vec<Decode> {
        let mut out = Vec::new();
        for (unit, read) in self.loaded.units.iter().enumerate().filter(|(_, unit)| unit.given) {
            for item in &read.tree.items {
                let ItemKind::Decode(decode) = &item.kind else { continue };
                if decode.language.value != "sql" {
                    let message = format!("`{}` can't be decoded", decode.language.value);
                    self.error(unit, &decode.language.span, Code::UnknownValue, message, |d| {
                        let at = decode.language.span.clone();
                        d.help("write `as sql`").fix(Fix::new("write `sql`", Applicability::Suggested, at, "sql"))
                    });
                }
                match JsonPath::parse(&decode.arg.value) {
                    Ok(path) => out.push(Decode { tool: decode.tool.value.clone(), path }),
                    Err(message) => {
                        self.error(unit, &decode.arg.span, Code::Path, message, |d| d.help("write it as in `$.sql`"))
                    }
                }
            }
        }
        out
    }

    fn file_mode(&self, unit: usize) -> Mode {
        let mut mode = None;
        for item in &self.loaded.units[unit].tree.items {
            match &item.kind {
                ItemKind::Pack(pack) => mode = mode.or(pack.mode.as_ref().map(|m| m.value)),
                ItemKind::Defaults(defaults) => {
                    mode = defaults.mode.as_ref().map(|m| m.value).or(mode);
                    if let Some(on_error) = defaults.on_error.as_ref().filter(|o| o.value != "block") {
                        let message = format!("`on_error` can't be `{}`", on_error.value);
                        let help = "errors fail closed: write `on_error block`";
                        self.error(unit, &on_error.span, Code::UnknownValue, message, |d| {
                            let at = on_error.span.clone();
                            d.help(help).fix(Fix::new("write `block`", Applicability::Suggested, at, "block"))
                        });
                    }
                }
                _ => {}
            }
        }
        mode.unwrap_or(Mode::Enforce)
    }

    fn rule(&self, unit: usize, rule: &'a Rule, mode: Mode, decoded: bool, build: &mut Build<'a>) {
        let before = self.errors();
        let mut protocols = BTreeSet::new();
        let mut scopes = Vec::new();
        for name in &rule.scopes {
            let Some((target, last)) = self.resolve(unit, Kind::Scope, name) else { continue };
            let scope = self.names.tables[target].scopes[last];
            protocols = &protocols | &self.protocols(target, &scope.condition);
            let place = Place { unit: target, relaxing: false, protocols: all_protocols(), decoded };
            scopes.push(self.condition(&place, &scope.condition, false));
        }
        if rule.scopes.is_empty() {
            protocols = all_protocols();
            scopes.push(Cond::Const(Truth::True));
        }
        if let Some(when) = &rule.when {
            protocols = &protocols & &self.protocols(unit, when);
        }
        let place = Place { unit, relaxing: false, protocols, decoded };
        let mut holds = vec![if scopes.len() == 1 { scopes.remove(0) } else { Cond::Any(scopes) }];
        holds.extend(rule.when.as_ref().map(|when| self.condition(&place, when, false)));
        let relaxing = Place { relaxing: true, ..place };
        let unless = rule.unless.as_ref().map(|unless| self.condition(&relaxing, unless, false));
        let relaxed = unless.map(|condition| Relax { condition, until: None }).into_iter().collect();
        let specs: Vec<PatternSpec> = rule.matches.iter().flat_map(|m| self.matching(unit, m)).collect();
        self.shape(unit, rule);
        let action = self.action(unit, rule);
        let priority = rule.priority.as_ref().map_or(50, |p| p.value);
        if let Some(at) = rule.priority.as_ref().filter(|p| p.value > 100) {
            let message = format!("{} is not a priority", at.value);
            self.error(unit, &at.span, Code::Priority, message, |d| d.help("it goes from 0 to 100"));
        }
        let info = self.info(unit, rule, mode);
        // A rule with an error isn't lowered; there will be no policy.
        let Some(action) = action.filter(|_| self.errors() == before) else { return };
        let index = build.rules.len();
        let priority = u8::try_from(priority).unwrap_or(100);
        let message = |own: Option<String>| {
            own.or_else(|| info.message.clone()).unwrap_or_else(|| format!("Refused by rule {}.", info.name))
        };
        let (searched, mut engine) = (specs.clone(), None);
        let effect = if specs.is_empty() {
            Effect::Facts(match action {
                Done::Block(own) => HitAction::Block { message: message(own) },
                Done::Approve(approve) => approve,
                Done::Alert | Done::Mask(_) => HitAction::Alert,
            })
        } else {
            let action = match action {
                _ if info.audit => Action::Alert,
                // Who counts decides when it is too much.
                Done::Block(_) if info.limit.is_some() => Action::Alert,
                Done::Block(_) => Action::Block,
                Done::Mask(mask) => Action::Mask(mask),
                Done::Alert | Done::Approve(_) => Action::Alert,
            };
            let mut ids = Vec::new();
            for spec in specs {
                match build.pattern(spec) {
                    Ok(id) if !ids.contains(&id) => ids.push(id),
                    Ok(_) => {}
                    Err(error) => return self.unbuildable(&error),
                }
            }
            let name = info.id.clone().unwrap_or_else(|| format!("{}.{}", info.pack, info.name));
            engine = Some(action.clone());
            let id = build.builder.rule(RuleSpec { name, patterns: ids, action, priority });
            build.by_engine.push(index);
            Effect::Engine(id)
        };
        let request = matches!(rule.direction.value, Direction::Request | Direction::Both);
        let response = matches!(rule.direction.value, Direction::Response | Direction::Both);
        let lowered = Lowered { request, response, holds: Cond::All(holds), relaxed, priority, effect };
        build.analysed.push(Analysed {
            unit,
            rule,
            lowered: lowered.clone(),
            specs: searched,
            action: engine,
            audit: info.audit,
            sessions: Sessions::of(&lowered.holds),
        });
        build.infos.push(info);
        build.places.push((unit, rule.name.value.clone()));
        build.rules.push(lowered);
    }

    /// Whether direction, `match`, `limit` and actions fit together.
    fn shape(&self, unit: usize, rule: &Rule) {
        let response = rule.direction.value != Direction::Request;
        if let Some(limit) = &rule.limit {
            self.limit(unit, rule, limit);
        }
        if rule.matches.is_empty() && rule.direction.value == Direction::Response {
            let help = "facts alone are decided on the request: write `on request`, or say what to `match`";
            self.error(unit, &rule.direction.span, Code::Action, "a rule on responses needs `match`", |d| {
                let at = rule.direction.span.clone();
                d.help(help).fix(Fix::new("write `on request`", Applicability::Suggested, at, "request"))
            });
        }
        for action in &rule.actions {
            match &action.value {
                ActionKind::Approve { .. } if response => {
                    let help = "an approval comes before what it allows: write `on request`";
                    let message = "`approve` can't be asked for on a response";
                    self.error(unit, &action.span, Code::ApproveOnResponse, message, |d| {
                        let at = rule.direction.span.clone();
                        let d = d.related(&self.loaded.units[unit].source, at.clone(), "the direction");
                        d.help(help).fix(Fix::new("write `on request`", Applicability::Suggested, at, "request"))
                    });
                }
                ActionKind::Approve { .. } if !rule.matches.is_empty() => {
                    let message = "an approval can't depend on `match`";
                    self.error(unit, &action.span, Code::Action, message, |d| d.help("use `when`, or `block`"));
                }
                ActionKind::Mask { .. } if rule.matches.is_empty() => {
                    self.error(unit, &action.span, Code::Action, "a mask needs to know what to mask", |d| {
                        d.help("say what, as in `match std.pii.email`, before `then`")
                    });
                }
                _ => {}
            }
        }
    }

    /// Whether the gateway can count what a rule limits.
    fn limit(&self, unit: usize, rule: &Rule, limit: &Limit) {
        let blocks = rule.actions.iter().any(|action| matches!(action.value, ActionKind::Block(_)));
        let counted = !rule.matches.is_empty() && blocks && rule.direction.value == Direction::Response;
        let protocols = self.rule_protocols(unit, rule);
        let elsewhere = protocols.iter().find(|protocol| !SQL_PROTOCOLS.contains(protocol));
        let message = match elsewhere {
            _ if !counted => Some("`limit` goes with `on response`, `match` and `then block`".to_owned()),
            Some(protocol) => Some(format!("`limit` is not enforced for `{protocol}`")),
            None => None,
        };
        if let Some(message) = message {
            let help = "say `in` a scope with `protocol == postgres`, or remove the clause; without it the rule acts on the first match";
            self.error(unit, &limit.span, Code::LimitNotEnforced, message, |d| {
                d.help(help).fix(Fix::new("remove the clause", Applicability::Suggested, limit.span.clone(), ""))
            });
        }
        if limit.count.value == 0 || limit.per.value == 0 {
            self.error(unit, &limit.span, Code::LimitNotEnforced, "a limit of nothing", |d| {
                d.help("remove the clause: without it the rule acts on the first match")
            });
        }
        if let Some(field) = self.known(unit, &limit.by).filter(|field| SessionFacts::counts_by(field.id).is_none()) {
            let message = format!("`{}` can't be counted by", field.name);
            self.error(unit, &limit.by.span, Code::Type, message, |d| {
                d.help("count by a field of the session that has one value, such as `user.id`")
            });
        }
    }

    fn info(&self, unit: usize, rule: &Rule, mode: Mode) -> RuleInfo {
        if let Some(severity) = rule.meta.severity.as_ref().filter(|s| !SEVERITIES.contains(&s.value.as_str())) {
            let message = format!("unknown severity `{}`", severity.value);
            let near = nearest(&severity.value, SEVERITIES.iter().copied());
            self.error(unit, &severity.span, Code::UnknownValue, message, |d| {
                d.meant(near, &severity.span, format!("it is one of: {}", SEVERITIES.join(", ")))
            });
        }
        let block = rule.actions.iter().find_map(|action| match &action.value {
            ActionKind::Block(text) => text.as_ref().map(|t| t.value.clone()),
            _ => None,
        });
        let text = |text: &Option<crate::syntax::tree::Text>| text.as_ref().map(|t| t.value.clone());
        RuleInfo {
            name: rule.name.value.clone(),
            pack: self.loaded.units[unit].pack.clone(),
            id: text(&rule.meta.id),
            severity: text(&rule.meta.severity),
            tags: rule.meta.tags.iter().map(|t| t.value.clone()).collect(),
            gdpr: rule.meta.gdpr.iter().map(|t| t.value.clone()).collect(),
            message: block.or_else(|| text(&rule.meta.message)),
            audit: rule.mode.as_ref().map_or(mode, |m| m.value) == Mode::Audit,
            limit: rule.limit.as_ref().and_then(|limit| {
                let by = find(&limit.by.value)?.id;
                Some(Limited { count: limit.count.value, per: Duration::from_secs(limit.per.value), by })
            }),
        }
    }

    fn except(&self, unit: usize, except: &Except, decoded: bool, build: &mut Build<'a>) {
        let place = Place { unit, relaxing: true, protocols: all_protocols(), decoded };
        let condition = self.condition(&place, &except.when, false);
        if except.until.value < self.options.today {
            let message = format!("the exception ended on {}", except.until.value);
            self.error(unit, &except.until.span, Code::Expired, message, |d| {
                d.help("remove the exception, or have it approved anew with a later date")
            });
        }
        for (text, what) in [(&except.reason, "a reason"), (&except.approved_by, "an approver")] {
            if text.value.trim().is_empty() {
                self.error(unit, &text.span, Code::Literal, format!("an exception needs {what}"), |d| {
                    d.help("write it between the quotes")
                });
            }
        }
        let Some((target, last)) = self.resolve(unit, Kind::Rule, &except.rule) else { return };
        if !self.loaded.units[target].given {
            let message = format!("rule `{}` is imported, and doesn't hold here", except.rule.value);
            self.error(unit, &except.rule.span, Code::Relaxed, message, |d| d.help("give the file that has it"));
            return;
        }
        if let Some(sealed) = &self.names.tables[target].rules[last].sealed {
            let message = format!("rule `{last}` is sealed");
            self.error(unit, &except.rule.span, Code::Sealed, message, |d| {
                let d = d.related(&self.loaded.units[target].source, sealed.clone(), "its author allows no exception");
                d.help("remove the exception, or change the rule itself, with its owner")
            });
            return;
        }
        if let Some(index) = build.places.iter().position(|(u, name)| *u == target && name == last) {
            build.rules[index].relaxed.push(Relax { condition, until: Some(except.until.value) });
        }
    }

    /// Says which pattern the engine refuses, at its place where it is known.
    fn unbuildable(&self, error: &BuildError) {
        let BuildError::Pattern { name, error: reason } = error;
        for (unit, read) in self.loaded.units.iter().enumerate() {
            for item in &read.tree.items {
                let ItemKind::Pattern(pattern) = &item.kind else { continue };
                let own = &pattern.name.value;
                if name == own || (read.named && *name == format!("{}.{own}", read.pack)) {
                    let help = "shorten its repetitions, or split it into several patterns";
                    return self.error(unit, &pattern.name.span, Code::Build, reason.to_string(), |d| d.help(help));
                }
            }
        }
        self.diagnostics.borrow_mut().push(Diagnostic::placeless(Code::Build, error.to_string()));
    }

    /// Over the text of all that was read, in an order that doesn't depend on where files lie.
    fn digest(&self) -> String {
        let units = self.loaded.units.iter();
        let mut parts: Vec<_> =
            units.map(|u| (u.pack.as_str(), u.given, u.source.text.replace("\r\n", "\n"))).collect();
        parts.sort();
        let mut hasher = Sha256::new();
        for (pack, given, text) in parts {
            for part in [pack.as_bytes(), &[u8::from(given)], text.as_bytes()] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&hasher.finalize()))
    }
}
