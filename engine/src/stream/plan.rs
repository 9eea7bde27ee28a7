//! What a stream with one set of rules looks for: the program specialised, so that the scan tests nothing that can't change.

use super::automaton::DEAD;
use super::lane::ESCAPE;
use super::path::PathSet;
use crate::filter::Filter;
use crate::pattern::Matcher;
use crate::program::{Inner, PatternId, RuleId, RuleSet};
use std::collections::HashMap;
use std::sync::Arc;

/// A program under one set of rules. Shared by all streams of that set.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The class of the byte before, by byte; the last entry stands for the start of a text.
    classes: [u8; 257],
    /// Tells where candidates of most patterns may begin.
    pub(crate) filter: Filter,
    /// For the patterns that are not filtered, by class of the byte before and by byte: which list of `spawns` begins
    /// here; 0 is none.
    first: Vec<u16>,
    spawns: Vec<Vec<Spawn>>,
    /// Rules in force that claim a pattern, by pattern.
    claims: Vec<Vec<RuleId>>,
    /// The text before a candidate that is kept: the largest `near` window, or what tells an escape, in bytes.
    pub(crate) window: u64,
    /// Some pattern asks for a word near it.
    pub(crate) near: bool,
    /// The longest match of a pattern that is searched for, in bytes.
    pub(crate) longest: usize,
    pub(crate) paths: Arc<PathSet>,
    /// What is looked for in base64 too.
    pub(crate) base64: Option<Box<Plan>>,
}

/// A candidate that begins: its pattern and the state after its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spawn {
    pub(crate) pattern: u32,
    pub(crate) state: u32,
}

impl Plan {
    pub(crate) fn new(program: &Inner, rules: &RuleSet) -> Self {
        let mut claims: Vec<Vec<RuleId>> = vec![Vec::new(); program.patterns.len()];
        for (index, rule) in program.rules.iter().enumerate() {
            let id = RuleId(index as u32);
            if rules.contains(id) {
                rule.patterns.iter().for_each(|pattern| claims[pattern.index()].push(id));
            }
        }
        claims.iter_mut().for_each(|rules| rules.dedup());
        let mut plan = Self::of(program, claims.clone());
        let asks =
            |pattern: usize| program.patterns[pattern].automaton.is_some() && program.patterns[pattern].spec.base64;
        (0..claims.len()).filter(|pattern| !asks(*pattern)).for_each(|pattern| claims[pattern].clear());
        if claims.iter().any(|rules| !rules.is_empty()) {
            plan.base64 = Some(Box::new(Self::of(program, claims)));
        }
        plan
    }

    /// The plan for these claims, by pattern.
    fn of(program: &Inner, claims: Vec<Vec<RuleId>>) -> Self {
        let active: Vec<usize> = (0..claims.len()).filter(|pattern| !claims[*pattern].is_empty()).collect();
        let probes = |pattern: usize| &program.patterns[pattern].probes;
        let (filtered, others): (Vec<usize>, Vec<usize>) =
            active.iter().partition(|pattern| !probes(**pattern).is_empty());
        let looked: Vec<_> = filtered
            .iter()
            .filter_map(|pattern| {
                let automaton = program.patterns[*pattern].automaton.as_ref()?;
                Some((*pattern as u32, probes(*pattern), automaton))
            })
            .collect();
        let filter = Filter::new(&looked, program.vectors);
        let (classes, behind) = classes(program, &others);
        let (first, spawns) = spawns(program, &others, &behind);
        let windows = active.iter().map(|pattern| program.patterns[*pattern].hold.window as u64);
        let near = windows.clone().any(|window| window > 0);
        let window = windows.fold(ESCAPE, u64::max);
        let searched = active.iter().map(|pattern| &program.patterns[*pattern]).filter(|p| p.automaton.is_some());
        let longest = searched.map(|pattern| pattern.hold.longest).max().unwrap_or(0);
        let paths = Arc::new(PathSet::new(active.iter().filter_map(|pattern| {
            let id = PatternId(*pattern as u32);
            match &program.patterns[*pattern].spec.matcher {
                Matcher::Json(path) => Some((id, crate::stream::path::Target::Path(path.clone()))),
                Matcher::Column(names) => Some((id, crate::stream::path::Target::Column(names.clone()))),
                Matcher::Regex(_) | Matcher::Words { .. } => None,
            }
        })));
        Self { classes, filter, first, spawns, claims, window, near, longest, paths, base64: None }
    }

    /// The class of the byte before a candidate.
    pub(crate) fn class(&self, before: Option<u8>) -> usize {
        usize::from(self.classes[before.map_or(256, usize::from)])
    }

    /// The candidates of patterns that are not filtered that begin with this byte after a byte of this class; empty for
    /// most.
    pub(crate) fn spawns(&self, class: usize, byte: u8) -> &[Spawn] {
        &self.spawns[usize::from(self.first[class << 8 | usize::from(byte)])]
    }

    /// The place of the first byte of `text` where a candidate of a pattern that is not filtered begins, its length where
    /// none does.
    pub(crate) fn skip(&self, before: Option<u8>, text: &[u8]) -> usize {
        if self.is_filtered() {
            return text.len();
        }
        let mut class = self.class(before);
        for (at, byte) in text.iter().enumerate() {
            if self.first[class << 8 | usize::from(*byte)] != 0 {
                return at;
            }
            class = usize::from(self.classes[usize::from(*byte)]);
        }
        text.len()
    }

    /// Every pattern has a prefilter: candidates begin where the filter says, and nowhere else.
    pub(crate) fn is_filtered(&self) -> bool {
        self.spawns.len() == 1
    }

    /// The filter tells of a whole text that nothing begins in it, if no percent sign stands there: what is percent-encoded must be
    /// decoded first, and what is base64 can't be told at a glance.
    pub(crate) fn tells_at_a_glance(&self) -> bool {
        self.base64.is_none() && self.is_filtered()
    }

    /// The rules in force that claim a pattern.
    pub(crate) fn claims(&self, pattern: PatternId) -> &[RuleId] {
        &self.claims[pattern.index()]
    }
}

/// Groups the bytes that may stand before a candidate by the start states they lead to.
fn classes(program: &Inner, active: &[usize]) -> ([u8; 257], Vec<Option<u8>>) {
    let mut classes = [0; 257];
    let mut known: HashMap<Vec<u32>, u8> = HashMap::new();
    let mut behind = Vec::new();
    for (at, class) in classes.iter_mut().enumerate() {
        let before = u8::try_from(at).ok();
        let starts = active
            .iter()
            .filter_map(|pattern| program.patterns[*pattern].automaton.as_ref())
            .map(|automaton| automaton.start(before))
            .collect();
        *class = *known.entry(starts).or_insert_with(|| {
            behind.push(before);
            // Look-behind knows five kinds of byte at the most: start, LF, CR, word, other.
            (behind.len() - 1) as u8
        });
    }
    (classes, behind)
}

fn spawns(program: &Inner, active: &[usize], behind: &[Option<u8>]) -> (Vec<u16>, Vec<Vec<Spawn>>) {
    let mut lists = vec![Vec::new()];
    let mut known: HashMap<Vec<Spawn>, u16> = HashMap::from([(Vec::new(), 0)]);
    let mut first = Vec::with_capacity(behind.len() << 8);
    for before in behind {
        for byte in 0..=255u8 {
            let list: Vec<Spawn> = active
                .iter()
                .filter_map(|pattern| {
                    let automaton = program.patterns[*pattern].automaton.as_ref()?;
                    let state = automaton.step(automaton.start(*before), byte);
                    (state != DEAD && automaton.live(state)).then_some(Spawn { pattern: *pattern as u32, state })
                })
                .collect();
            let id = *known.entry(list).or_insert_with_key(|list| {
                lists.push(list.clone());
                // At most 256 bytes times five classes of lists.
                (lists.len() - 1) as u16
            });
            first.push(id);
        }
    }
    (first, lists)
}
