//! The compiled program: patterns and the rules that claim them. Immutable, shared by all streams.

use crate::filter::Vectors;
use crate::filter::probe::Probes;
use crate::mask::{Keyring, Mask, Masker};
use crate::pattern::{HoldBack, PatternError, PatternSpec};
use crate::sink::ActionKind;
use crate::stream::automaton::Automaton;
use crate::stream::plan::Plan;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// A pattern of a program, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub(crate) u32);

/// A rule of a program, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(crate) u32);

impl PatternId {
    /// The place in the order in which patterns were added, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RuleId {
    /// The place in the order in which rules were added, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a rule does with a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reports it; the bytes pass.
    Alert,
    /// Replaces it.
    Mask(Mask),
    /// Ends the stream before it.
    Block,
}

impl Action {
    /// The kind, as decisions report it.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Alert => ActionKind::Alert,
            Self::Mask(_) => ActionKind::Mask,
            Self::Block => ActionKind::Block,
        }
    }
}

/// A rule, as given to [`ProgramBuilder::rule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Name; settles ties, the smaller one wins.
    pub name: String,
    /// The patterns it claims.
    pub patterns: Vec<PatternId>,
    /// What it does.
    pub action: Action,
    /// 0 to 100; picks among masks that start at the same byte.
    pub priority: u8,
}

impl RuleSpec {
    /// A rule of priority 50.
    #[must_use]
    pub fn new(name: impl Into<String>, action: Action, patterns: impl IntoIterator<Item = PatternId>) -> Self {
        Self { name: name.into(), patterns: patterns.into_iter().collect(), action, priority: 50 }
    }
}

/// Why a program can't be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A pattern can't be compiled.
    #[error("pattern `{name}`: {error}")]
    Pattern {
        /// Its name.
        name: String,
        /// What is wrong.
        error: PatternError,
    },
}

/// A set of rules of one program: those that hold for a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleSet {
    words: Vec<u64>,
}

impl RuleSet {
    /// No rule.
    #[must_use]
    pub fn none() -> Self {
        Self { words: Vec::new() }
    }

    /// Adds a rule.
    pub fn insert(&mut self, rule: RuleId) {
        let word = rule.index() / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (rule.index() % 64);
    }

    /// True where the rule is in the set.
    #[must_use]
    pub fn contains(&self, rule: RuleId) -> bool {
        self.words.get(rule.index() / 64).is_some_and(|word| word & (1 << (rule.index() % 64)) != 0)
    }

    /// True where no rule is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

impl FromIterator<RuleId> for RuleSet {
    fn from_iter<I: IntoIterator<Item = RuleId>>(rules: I) -> Self {
        let mut set = Self::none();
        rules.into_iter().for_each(|rule| set.insert(rule));
        set
    }
}

/// Specialisations kept at once: more sets of rules than this are rebuilt when asked for again.
const MAX_PLANS: usize = 256;

/// A compiled program. Cloning is cheap: clones share one compilation.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) rules: Vec<RuleSpec>,
    /// The masks of the rules that mask, ready with their keys.
    pub(crate) masks: Vec<Option<Masker>>,
    /// The place of each rule's name among all names, from 1.
    pub(crate) ranks: Vec<u32>,
    pub(crate) keys: Keyring,
    pub(crate) vectors: Vectors,
    /// Specialisations that streams have asked for, by their rules.
    plans: Mutex<HashMap<RuleSet, Arc<Plan>>>,
}

#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) spec: PatternSpec,
    pub(crate) hold: HoldBack,
    /// None for JSON members and columns, which have no text to search for.
    pub(crate) automaton: Option<Arc<Automaton>>,
    /// What every match contains; without any the pattern is not filtered.
    pub(crate) probes: Probes,
}

impl Program {
    /// An empty builder.
    #[must_use]
    pub fn builder() -> ProgramBuilder {
        ProgramBuilder {
            patterns: Vec::new(),
            rules: Vec::new(),
            keys: Keyring::for_tests(),
            vectors: Vectors::default(),
        }
    }

    /// The name of a pattern.
    #[must_use]
    pub fn pattern_name(&self, pattern: PatternId) -> &str {
        &self.inner.patterns[pattern.index()].spec.name
    }

    /// True where the vectors tell the few places at which a match of this pattern may begin. False for a pattern without
    /// a part that is rare enough, whose candidates begin at each byte that can start one, and for members and columns,
    /// which are not searched for.
    #[must_use]
    pub fn prefilter(&self, pattern: PatternId) -> bool {
        !self.inner.patterns[pattern.index()].probes.is_empty()
    }

    /// The name of a rule.
    #[must_use]
    pub fn rule_name(&self, rule: RuleId) -> &str {
        &self.inner.rules[rule.index()].name
    }

    /// All rules, in the order in which they were added.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> + '_ {
        (0..self.inner.rules.len() as u32).map(RuleId)
    }

    /// Every rule.
    #[must_use]
    pub fn all_rules(&self) -> RuleSet {
        self.rules().collect()
    }

    /// The hold-back of a stream with these rules.
    #[must_use]
    pub fn hold_back(&self, rules: &RuleSet) -> HoldBack {
        self.rules()
            .filter(|rule| rules.contains(*rule))
            .flat_map(|rule| &self.inner.rules[rule.index()].patterns)
            .fold(HoldBack::default(), |held, pattern| held.and(self.inner.patterns[pattern.index()].hold))
    }

    /// The program specialised for these rules; made once for each set.
    pub(crate) fn plan(&self, rules: Option<&RuleSet>) -> Arc<Plan> {
        let rules = rules.cloned().unwrap_or_else(|| self.all_rules());
        let mut plans = self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MAX_PLANS && !plans.contains_key(&rules) {
            plans.clear();
        }
        plans.entry(rules).or_insert_with_key(|rules| Arc::new(Plan::new(&self.inner, rules))).clone()
    }

    /// The keys of this program's masks.
    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.inner.keys
    }
}

/// Collects patterns and rules.
#[derive(Debug)]
pub struct ProgramBuilder {
    patterns: Vec<Pattern>,
    rules: Vec<RuleSpec>,
    keys: Keyring,
    vectors: Vectors,
}

impl ProgramBuilder {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`BuildError::Pattern`] says what is wrong with it.
    pub fn pattern(&mut self, spec: PatternSpec) -> Result<PatternId, BuildError> {
        let compiled = spec.check().and_then(|hold| {
            let Some(hir) = spec.hir()? else { return Ok((hold, None, Probes::default())) };
            let automaton = Automaton::new(&hir, hold.longest, &spec)?;
            let probes = Probes::of(&spec, &hir, &automaton);
            Ok((hold, Some(Arc::new(automaton)), probes))
        });
        let (hold, automaton, probes) =
            compiled.map_err(|error| BuildError::Pattern { name: spec.name.clone(), error })?;
        let id = PatternId(self.patterns.len() as u32);
        self.patterns.push(Pattern { spec, hold, automaton, probes });
        Ok(id)
    }

    /// Adds a rule.
    pub fn rule(&mut self, spec: RuleSpec) -> RuleId {
        let id = RuleId(self.rules.len() as u32);
        self.rules.push(spec);
        id
    }

    /// Sets the keys of the masks; without this they are the public ones of [`Keyring::for_tests`].
    pub fn keys(&mut self, keys: Keyring) {
        self.keys = keys;
    }

    /// Sets the vector instructions that streams use; without this the widest that the machine has. What the machine
    /// doesn't have is replaced by portable code. All give the same results: this is for tests and for measuring.
    pub fn vectors(&mut self, vectors: Vectors) {
        self.vectors = vectors.or_portable();
    }

    /// The program.
    ///
    /// # Errors
    /// None today: patterns are checked when they are added. The signature leaves room for limits on the whole.
    pub fn build(self) -> Result<Program, BuildError> {
        let mask = |rule: &RuleSpec| match &rule.action {
            Action::Mask(mask) => Some(Masker::new(mask, &self.keys)),
            Action::Alert | Action::Block => None,
        };
        let masks = self.rules.iter().map(mask).collect();
        let mut names: Vec<&str> = self.rules.iter().map(|rule| &*rule.name).collect();
        names.sort_unstable();
        let rank = |rule: &RuleSpec| names.partition_point(|name| **name < *rule.name) as u32 + 1;
        let ranks = self.rules.iter().map(rank).collect();
        Ok(Program {
            inner: Arc::new(Inner {
                masks,
                ranks,
                patterns: self.patterns,
                rules: self.rules,
                keys: self.keys,
                vectors: self.vectors,
                plans: Mutex::default(),
            }),
        })
    }
}
