//! What the rules of each scope cost the traffic that they hold for: how many bytes wait, and what is done for each request.

use crate::Compilation;
use crate::diagnostic::line_column;
use crate::policy::{Effect, Lowered};
use crate::syntax::tree::{ItemKind, Rule};
use sluice_engine::{HoldBack, PatternSpec, RuleSet};

/// The cost of one scope, in one direction.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ScopeCost {
    /// The scope as rules write it; None: the rules that hold everywhere, by themselves.
    pub scope: Option<String>,
    /// The file of the first rule that holds in it.
    pub path: String,
    /// The line of that rule, from 1.
    pub line: usize,
    /// True for responses, false for requests.
    pub response: bool,
    /// The rules that decide by the facts of a request alone.
    pub facts: Vec<String>,
    /// The rules that search bytes.
    pub searching: Vec<String>,
    /// How many patterns they search for, each counted once.
    pub patterns: usize,
    /// Those of them that have no prefilter: every byte that can begin a match is tried.
    pub unfiltered: Vec<String>,
    /// The most bytes of decoded text that wait until it is sure that they belong to no match.
    pub held: usize,
    /// The pattern with the longest match, where one is searched for.
    pub longest: Option<Longest>,
    /// The largest window of a `near`, in bytes.
    pub window: usize,
    /// True where SQL is parsed because a condition speaks of it.
    pub parses_sql: bool,
}

/// A pattern and its longest match.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Longest {
    /// Its name.
    pub pattern: String,
    /// The length, in bytes of decoded text.
    pub bytes: usize,
}

/// The cost of each scope that rules hold in, both ways, the rules that hold everywhere counted in; and of those alone. What
/// costs nothing is left out. Empty where the rules have errors.
#[must_use]
pub fn costs(compilation: &Compilation) -> Vec<ScopeCost> {
    let Some(policy) = &compilation.policy else { return Vec::new() };
    let mut rules: Vec<(&str, usize, &Rule, usize)> = Vec::new();
    for file in &compilation.files {
        for item in &file.tree.items {
            let ItemKind::Rule(rule) = &item.kind else { continue };
            let own = |info: &crate::RuleInfo| info.pack == file.pack && info.name == rule.name.value;
            if let Some(index) = policy.rules().iter().position(own) {
                let line = line_column(&file.source.text, rule.name.span.start).0;
                rules.push((&file.source.path, line, rule, index));
            }
        }
    }
    let mut scopes: Vec<(Option<&str>, &str, usize)> = Vec::new();
    for (path, line, rule, _) in &rules {
        let of_file = |scope: Option<&str>| scopes.iter().any(|(s, p, _)| *s == scope && (s.is_none() || p == path));
        let names: Vec<Option<&str>> = match &rule.scopes[..] {
            [] => vec![None],
            names => names.iter().map(|name| Some(name.value.as_str())).collect(),
        };
        let new: Vec<_> = names.into_iter().filter(|scope| !of_file(*scope)).collect();
        scopes.extend(new.into_iter().map(|scope| (scope, *path, *line)));
    }
    scopes.sort_by_key(|(scope, ..)| scope.is_some());
    let mut out = Vec::new();
    for (scope, path, line) in scopes {
        for response in [false, true] {
            let within = |of: &str, rule: &Rule| {
                rule.scopes.is_empty()
                    || (of == path && rule.scopes.iter().any(|name| Some(name.value.as_str()) == scope))
            };
            let indices: Vec<usize> =
                rules.iter().filter(|(of, _, rule, _)| within(of, rule)).map(|(.., index)| *index).collect();
            let cost = ScopeCost {
                scope: scope.map(str::to_owned),
                path: path.into(),
                line,
                ..cost(policy, &indices, response)
            };
            if !cost.facts.is_empty() || !cost.searching.is_empty() {
                out.push(cost);
            }
        }
    }
    out
}

fn cost(policy: &crate::Policy, indices: &[usize], response: bool) -> ScopeCost {
    let compiled = policy.compiled();
    let way = |rule: &Lowered| if response { rule.response } else { rule.request };
    let (mut facts, mut searching, mut set) = (Vec::new(), Vec::new(), RuleSet::none());
    let mut specs: Vec<&PatternSpec> = Vec::new();
    let mut parses_sql = false;
    for index in indices.iter().copied().filter(|index| way(&compiled.rules[*index])) {
        let (rule, name) = (&compiled.rules[index], compiled.infos[index].name.clone());
        match &rule.effect {
            // They have decided before there is a response.
            Effect::Facts(_) if response => continue,
            Effect::Facts(_) => facts.push(name),
            Effect::Engine(id) => {
                searching.push(name);
                set.insert(*id);
                specs.extend(&compiled.searched[index].0);
            }
        }
        let conditions = std::iter::once(&rule.holds).chain(rule.relaxed.iter().map(|relax| &relax.condition));
        parses_sql |= conditions.into_iter().any(|condition| condition.asks(|field| field.name.starts_with("sql.")));
    }
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    specs.dedup();
    let longest = specs.iter().filter_map(|spec| Some((spec.check().ok()?.longest, *spec)));
    let longest = longest.max_by_key(|(bytes, spec)| (*bytes, std::cmp::Reverse(&spec.name)));
    let HoldBack { window, .. } = policy.program().hold_back(&set);
    ScopeCost {
        scope: None,
        path: String::new(),
        line: 0,
        response,
        facts,
        searching,
        patterns: specs.len(),
        unfiltered: specs
            .iter()
            .filter(|spec| compiled.unfiltered.contains(spec))
            .map(|spec| spec.name.clone())
            .collect(),
        held: policy.program().hold_back(&set).bytes(),
        longest: longest.map(|(bytes, spec)| Longest { pattern: spec.name.clone(), bytes }),
        window,
        parses_sql,
    }
}
