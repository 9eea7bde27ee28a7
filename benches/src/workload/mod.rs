//! What is searched for: sets of rules, the same for the inspector and for every peer.

mod literals;
mod rules;
mod scaled;

use sluice_engine::{Action, Mask, Matcher, PatternSpec, Program, RuleSpec, Validator, Vectors};

/// A bounded regular expression that finds one kind of value.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name of the rule and of its pattern.
    pub name: String,
    /// The expression, in the syntax that `regex` and Hyperscan share.
    pub regex: String,
    /// What settles a candidate.
    pub validator: Option<Validator>,
    /// What stands in its place.
    pub mask: Mask,
    /// Every match holds a literal of at least three bytes that is rare in text.
    pub anchored: bool,
}

/// A set of rules and literals.
#[derive(Clone, Debug)]
pub struct Workload {
    /// As `--rules` takes it and the report shows it.
    pub name: String,
    /// The regular expressions; their places are the ids that every contender reports.
    pub rules: Vec<Rule>,
    /// Literals that match in any ASCII case; together they are the pattern after the last rule.
    pub words: Vec<String>,
}

/// How the inspector is asked to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Find alone: no validators, every rule alerts, all bytes pass.
    Find,
    /// The whole inspection: find, validate, mask, emit.
    Whole,
}

impl Workload {
    /// All rules and 300 literals.
    #[must_use]
    pub fn all() -> Self {
        Self { name: "all".into(), rules: rules::all(), words: literals::words(300) }
    }

    /// The rules that have a literal to anchor on, and 300 literals.
    #[must_use]
    pub fn anchored() -> Self {
        let rules = rules::all().into_iter().filter(|rule| rule.anchored).collect();
        Self { name: "anchored".into(), rules, words: literals::words(300) }
    }

    /// This many literals, and nothing else.
    #[must_use]
    pub fn literals(count: usize) -> Self {
        Self { name: format!("literals-{count}"), rules: Vec::new(), words: literals::words(count) }
    }

    /// This many regular expressions, and nothing else: those of [`Workload::all`], then generated ones of the same kinds.
    #[must_use]
    pub fn regexes(count: usize) -> Self {
        let mut rules = rules::all();
        rules.truncate(count);
        rules.extend(scaled::rules(count - rules.len()));
        Self { name: format!("regexes-{count}"), rules, words: Vec::new() }
    }

    /// The patterns, the literals as one alternation; each place is its id.
    #[must_use]
    pub fn expressions(&self) -> Vec<String> {
        let mut expressions: Vec<String> = self.rules.iter().map(|rule| rule.regex.clone()).collect();
        if !self.words.is_empty() {
            let mut words: Vec<&String> = self.words.iter().collect();
            // Leftmost-first engines take the first alternative, so the longest comes first.
            words.sort_by_key(|word| std::cmp::Reverse(word.len()));
            let words: Vec<String> = words.into_iter().map(|word| regex_syntax::escape(word)).collect();
            expressions.push(format!("(?i:{})", words.join("|")));
        }
        expressions
    }

    /// The inspector's program, for these vector instructions.
    ///
    /// # Panics
    /// Where a rule is not valid, which the tests rule out.
    #[must_use]
    pub fn program(&self, work: Work, vectors: Vectors) -> Program {
        let mut builder = Program::builder();
        builder.vectors(vectors);
        let mut add = |spec: PatternSpec, mask: &Mask| {
            let name = spec.name.clone();
            let pattern = builder.pattern(spec).expect("every rule of a workload compiles");
            let action = match work {
                Work::Find => Action::Alert,
                Work::Whole => Action::Mask(mask.clone()),
            };
            builder.rule(RuleSpec::new(name, action, [pattern]));
        };
        for rule in &self.rules {
            let mut spec = PatternSpec::regex(&*rule.name, &*rule.regex);
            if work == Work::Whole {
                spec.validators.extend(rule.validator);
            }
            add(spec, &rule.mask);
        }
        if !self.words.is_empty() {
            let words = Matcher::Words { words: self.words.clone(), nocase: true };
            add(PatternSpec::new("words", words), &Mask::redact("[word]"));
        }
        builder.build().expect("every rule of a workload compiles")
    }

    /// The validator of the pattern at a place.
    #[must_use]
    pub fn validator(&self, pattern: usize) -> Option<Validator> {
        self.rules.get(pattern)?.validator
    }
}
