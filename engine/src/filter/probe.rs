//! What every match of a pattern must contain, derived from its automaton: a short run of byte classes at a known place.
//!
//! A probe is a necessary condition, never a sufficient one: it tells where a candidate may begin, and the automaton
//! decides. It is derived from the language of the pattern, not from how the expression is written, in three ways, of
//! which the rarest in ordinary text wins:
//!
//! - **from the start**: the classes of the first bytes of all matches, position by position;
//! - **around a byte that no match can do without**, such as the `@` of an address, or a pair of bytes, such as the `::` of
//!   a short one of the Internet, with what may stand before it;
//! - **from its words**, where a pattern is a choice of words, a probe for each of them.

use super::bytes::ByteSet;
use super::stretch::Stretch;
use super::tails::{FOLDED, pairs};
use crate::pattern::{Matcher, PatternSpec};
use crate::stream::automaton::{Automaton, DEAD};
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use std::collections::HashSet;

/// The longest window, in bytes.
pub(crate) const WINDOW: usize = 8;

/// How far from the start of a match its fixed window is looked for, in bytes.
const REACH: usize = 24;

/// The bytes before an indispensable one that may become part of the window.
const BACK: usize = 3;

/// The most states that are searched for an indispensable byte.
const MAX_STATES: usize = 60_000;

/// The most words of a pattern that get a probe each.
const MAX_WORDS: usize = 8192;

/// A pattern whose probes hit more often than this, by the estimate, is not filtered: it is cheaper to begin a candidate
/// at each byte that can start one.
const TOO_OFTEN: f64 = 0.02;

/// A necessary condition for a match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// What stands before the window, where that is not anything: what an anchor or a word boundary demands. At the start of a
    /// text nothing does.
    pub(crate) before: Option<ByteSet>,
    /// Classes of consecutive bytes, at most [`WINDOW`] of them, never empty.
    pub(crate) window: Vec<ByteSet>,
    /// Classes of the bytes after the window in every match, as far as they are known.
    pub(crate) beyond: Vec<ByteSet>,
    /// Where the match begins, counted back from the byte `anchor` of the window.
    pub(crate) lead: Lead,
    /// The states in which a match can be after the anchor, wherever it began; empty where they are many or not known.
    pub(crate) after: Vec<u32>,
    /// What the bytes after the anchor must be before any automaton is asked.
    pub(crate) run: Option<Run>,
    /// The word that the match begins with, in some case; empty where none is known.
    pub(crate) word: Vec<u8>,
}

/// The most bytes of a class that is as good as fixed.
const FIXED: usize = 4;

/// The most bytes of a run that are tried.
const TRIED: usize = 64;

/// A run of bytes of one set, and what must come right after it in every match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// Bytes before it that are all but fixed.
    skip: usize,
    set: ByteSet,
    then: ByteSet,
}

impl Run {
    /// False where no match goes on like this, as far as the text goes.
    pub(crate) fn may_stand(&self, text: &[u8]) -> bool {
        let end = text.iter().skip(self.skip).take(TRIED).find(|byte| !self.set.contains(**byte));
        end.is_none_or(|byte| self.then.contains(*byte))
    }
}

/// The most states after an anchor that are tried.
const AFTER: usize = 4;

/// What stands between the start of a match and a place in the window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lead {
    /// The byte of the window from which is counted.
    pub(crate) anchor: usize,
    /// The fewest bytes before it.
    pub(crate) min: usize,
    /// The most bytes before it.
    pub(crate) max: usize,
    /// What these bytes may be.
    pub(crate) bytes: ByteSet,
}

/// All that is known of the beginnings of a pattern's matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probes {
    /// Every match contains one of these; empty where the pattern is not filtered.
    pub(crate) any: Vec<Probe>,
    /// What every match begins with, where the pattern has no probe.
    pub(crate) stretch: Option<Stretch>,
    /// The longest beginning of a match that may hold no whole window yet, in bytes.
    pub(crate) reach: usize,
    /// The neighbours that such a beginning may consist of.
    pub(crate) pairs: Box<[u64; FOLDED]>,
    /// How many hits a byte of ordinary text brings, estimated.
    pub(crate) rate: f64,
}

impl Default for Probes {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Probes {
    fn new(any: Vec<Probe>) -> Self {
        let rate = any.iter().map(Probe::rate).sum();
        let reach = any.iter().map(|probe| probe.lead.max + probe.window.len() - probe.lead.anchor - 1);
        Self { reach: reach.max().unwrap_or(0), any, stretch: None, pairs: Box::new([0; FOLDED]), rate }
    }

    /// Nothing tells where a match may begin.
    pub(crate) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.stretch.is_none()
    }

    /// The probes of a pattern; none where nothing rare enough is found.
    pub(crate) fn of(spec: &PatternSpec, hir: &Hir, automaton: &Automaton) -> Self {
        let words = words(spec, hir).map(|words| Self::new(words.iter().map(|word| of_word(word, spec)).collect()));
        let graph = Graph::new(automaton);
        let start = graph.at_start().map(|probe| Self::new(vec![probe]));
        let indispensable = graph.indispensable().into_iter().map(|probe| Self::new(vec![probe]));
        let rarest = words.into_iter().chain(start).chain(indispensable).min_by(|a, b| a.rate.total_cmp(&b.rate));
        let Some(probes) = rarest.filter(|probes| probes.rate <= TOO_OFTEN) else {
            return Self { stretch: Stretch::of(automaton), ..Self::default() };
        };
        let pairs = pairs(automaton, probes.reach);
        Self { pairs, ..probes }
    }
}

impl Probe {
    /// How often the window stands at a byte of ordinary text, estimated. Equal classes side by side make each other
    /// likely: a digit is often followed by a digit.
    pub(crate) fn rate(&self) -> f64 {
        rate(&self.window)
    }
}

pub(crate) fn rate(window: &[ByteSet]) -> f64 {
    Chances::of(window).of_part(0, window.len())
}

/// How likely each class of a row is, alone and after the one before it.
struct Chances(Vec<(f64, f64)>);

impl Chances {
    fn of(classes: &[ByteSet]) -> Self {
        let mut before: Option<(&ByteSet, f64)> = None;
        let chances = classes.iter().map(|class| {
            let alone = class.frequency();
            let given = before.map_or(0.0, |(set, rate)| 0.6 * class.common(set).frequency() / rate.max(1e-9));
            before = Some((class, alone));
            (alone, alone.max(given.min(0.9)).min(1.0))
        });
        Self(chances.collect())
    }

    fn of_part(&self, from: usize, to: usize) -> f64 {
        self.0[from..to].iter().enumerate().map(|(at, (alone, given))| if at == 0 { *alone } else { *given }).product()
    }
}

/// The rarest part of a row of classes: where it begins, itself, and what comes after it.
fn rarest(classes: &[ByteSet], must: Option<usize>) -> Option<(usize, Vec<ByteSet>, Vec<ByteSet>)> {
    let chances = Chances::of(classes);
    let ends = |from: usize| (from + 1..=(from + WINDOW).min(classes.len())).map(move |to| (from, to));
    (0..classes.len())
        .flat_map(ends)
        .filter(|(from, to)| must.is_none_or(|must| (*from..*to).contains(&must)))
        .min_by(|a, b| chances.of_part(a.0, a.1).total_cmp(&chances.of_part(b.0, b.1)))
        .map(|(from, to)| (from, classes[from..to].to_vec(), classes[to..].to_vec()))
}

/// The words that a pattern is a choice of, or begins with.
fn words(spec: &PatternSpec, hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let words: Vec<Vec<u8>> = match &spec.matcher {
        Matcher::Words { words, .. } => words.iter().map(|word| word.clone().into_bytes()).collect(),
        _ => {
            let mut extractor = Extractor::new();
            extractor.kind(ExtractKind::Prefix).limit_total(2048).limit_literal_len(6).limit_repeat(4);
            let prefixes = extractor.extract(hir);
            let literals = prefixes.literals()?;
            let mut folded: Vec<Vec<u8>> = literals.iter().map(|word| word.as_bytes().to_ascii_lowercase()).collect();
            folded.sort_unstable();
            folded.dedup();
            folded
        }
    };
    let capped = spec.max.unwrap_or(usize::MAX);
    let usable =
        !words.is_empty() && words.len() <= MAX_WORDS && words.iter().all(|word| (1..=capped).contains(&word.len()));
    usable.then_some(words)
}

fn of_word(word: &[u8], spec: &PatternSpec) -> Probe {
    let exact = matches!(&spec.matcher, Matcher::Words { nocase: false, .. });
    let classes: Vec<ByteSet> = word
        .iter()
        .map(|byte| {
            let both = [*byte, byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
            both.into_iter().take(if exact { 1 } else { 3 }).collect()
        })
        .collect();
    let (from, window, beyond) = rarest(&classes, None).unwrap_or((0, classes.clone(), Vec::new()));
    let mut before = ByteSet::default();
    classes[..from].iter().for_each(|class| before.add(class));
    let lead = Lead { anchor: 0, min: from, max: from, bytes: before };
    Probe { before: None, window, beyond, lead, after: Vec::new(), run: None, word: word.to_vec() }
}

/// The automaton as a graph over its classes of bytes.
struct Graph<'a> {
    automaton: &'a Automaton,
    /// The bytes of each class.
    classes: Vec<ByteSet>,
    /// One byte of each class.
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl<'a> Graph<'a> {
    fn new(automaton: &'a Automaton) -> Self {
        let mut classes: Vec<ByteSet> = Vec::new();
        let mut bytes = Vec::new();
        for byte in 0..=255u8 {
            let class = automaton.class(byte);
            if class >= classes.len() {
                classes.resize(class + 1, ByteSet::default());
                bytes.resize(class + 1, byte);
            }
            classes[class].insert(byte);
        }
        let mut starts: Vec<u32> = (0..=256usize).map(|before| automaton.start(u8::try_from(before).ok())).collect();
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|state| automaton.live(*state));
        Self { automaton, classes, bytes, starts }
    }

    fn steps(&self, state: u32) -> impl Iterator<Item = (usize, u32)> + '_ {
        (0..self.bytes.len()).map(move |class| (class, self.automaton.step(state, self.bytes[class])))
    }

    /// The place of a node among all of them, from 0.
    fn index(&self, node: Node) -> usize {
        2 * self.automaton.index(node.state) + usize::from(node.armed)
    }

    /// The steps along matches that are no trigger: their classes and where they lead.
    fn steps_before(&self, node: Node, trigger: Trigger) -> impl Iterator<Item = (usize, Node)> + '_ {
        let live = |state: u32| state != DEAD && self.automaton.live(state);
        self.steps(node.state)
            .filter(move |(class, to)| live(*to) && !(node.armed && *class == trigger.class))
            .map(move |(class, state)| (class, Node { state, armed: trigger.after.is_none_or(|after| after == class) }))
    }

    /// Whether a match can be over at this state, having taken no further byte.
    fn ends(&self, state: u32) -> bool {
        self.automaton.matched_at_end(state) || self.steps(state).any(|(_, to)| self.automaton.matched(to))
    }

    /// One step further along all matches: the states, and the bytes that lead there.
    fn advance(&self, states: &[u32]) -> (Vec<u32>, ByteSet) {
        let mut next = Vec::new();
        let mut bytes = ByteSet::default();
        for state in states {
            for (class, to) in self.steps(*state) {
                if to != DEAD && self.automaton.live(to) {
                    bytes.add(&self.classes[class]);
                    next.push(to);
                }
            }
        }
        next.sort_unstable();
        next.dedup();
        (next, bytes)
    }

    /// The classes of the bytes that follow these states in every match, as far as every match goes on, `most` at most.
    fn ahead(&self, states: Vec<u32>, most: usize) -> Vec<ByteSet> {
        let mut states = states;
        let mut classes = Vec::new();
        let most = most.min(self.automaton.cap.unwrap_or(usize::MAX));
        while classes.len() < most && !states.is_empty() && !states.iter().any(|state| self.ends(*state)) {
            let (next, bytes) = self.advance(&states);
            classes.push(bytes);
            states = next;
            // A hard pattern has many states a step; what was learned so far has to do.
            if states.len() > MAX_STATES / 8 {
                break;
            }
        }
        classes
    }

    /// The run that begins after these states: the bytes with which a match may go on from them, as long as it goes on with such;
    /// None where a match can be over in it, or where nothing else ever comes.
    fn run(&self, states: &[u32]) -> Option<Run> {
        let (mut states, mut skip) = (states.to_vec(), 0);
        let (mut next, mut set) = self.advance(&states);
        while set.len() <= FIXED && skip < WINDOW && !states.iter().any(|state| self.ends(*state)) {
            (states, skip) = (next, skip + 1);
            (next, set) = self.advance(&states);
        }
        let mut then = ByteSet::default();
        let mut known: HashSet<u32> = states.iter().copied().collect();
        let mut work = states;
        while let Some(state) = work.pop() {
            if self.ends(state) || known.len() > MAX_STATES / 8 {
                return None;
            }
            for (class, to) in self.steps(state) {
                if to == DEAD || !self.automaton.live(to) {
                    continue;
                }
                if !set.contains(self.bytes[class]) {
                    then.add(&self.classes[class]);
                } else if known.insert(to) {
                    work.push(to);
                }
            }
        }
        (then.len() > 0).then_some(Run { skip, set, then })
    }

    fn at_start(&self) -> Option<Probe> {
        let classes = self.ahead(self.starts.clone(), REACH);
        let (from, window, beyond) = rarest(&classes, None)?;
        let mut before = ByteSet::default();
        classes[..from].iter().for_each(|class| before.add(class));
        let behind = if from == 0 { self.behind() } else { Some(classes[from - 1]) };
        let lead = Lead { anchor: 0, min: from, max: from, bytes: before };
        Some(Probe { before: behind, window, beyond, lead, after: Vec::new(), run: None, word: Vec::new() })
    }

    /// What may stand before a match, where that is not anything.
    fn behind(&self) -> Option<ByteSet> {
        let begins = |before: Option<u8>| {
            let start = self.automaton.start(before);
            self.steps(start).any(|(_, to)| to != DEAD && self.automaton.live(to))
        };
        // What is read in the middle of a text may begin one of its own there, which a letter or a digit never stands before.
        let own = begins(None);
        let behind: ByteSet =
            (0..=255).filter(|byte| begins(Some(*byte)) || (own && !byte.is_ascii_alphanumeric())).collect();
        (behind.len() < 256).then_some(behind)
    }

    /// A probe for each class of bytes that every match contains, and for each pair of them.
    fn indispensable(&self) -> Vec<Probe> {
        if self.automaton.states() > MAX_STATES {
            return Vec::new();
        }
        let few = |class: &usize| self.classes[*class].len() <= 16;
        let mut probes = Vec::new();
        for class in (0..self.classes.len()).filter(few) {
            let Some(probe) = self.around(Trigger { after: None, class }) else { continue };
            probes.push(probe);
            if self.automaton.states() <= MAX_STATES / 8 {
                let pairs = (0..self.classes.len()).filter(few).map(|after| Trigger { after: Some(after), class });
                probes.extend(pairs.filter_map(|trigger| self.around(trigger)));
            }
        }
        probes
    }

    /// The probe around the first byte of a match that is a trigger; None where a match can do without one, or where it can
    /// come arbitrarily late.
    fn around(&self, trigger: Trigger) -> Option<Probe> {
        let region = Region::before(self, trigger)?;
        let class = trigger.class;
        let mut after: Vec<u32> = region
            .nodes
            .iter()
            .filter(|node| node.armed)
            .map(|node| self.automaton.step(node.state, self.bytes[class]))
            .filter(|state| *state != DEAD && self.automaton.live(*state))
            .collect();
        after.sort_unstable();
        after.dedup();
        if self.automaton.cap.is_some_and(|cap| region.max + 1 + WINDOW > cap) {
            return None;
        }
        let mut classes = region.back(self, trigger, BACK.min(region.min));
        let anchor = classes.len();
        classes.push(self.classes[class]);
        let tried = if after.len() <= AFTER { after.clone() } else { Vec::new() };
        let run = self.run(&after);
        classes.extend(self.ahead(after, 2 * WINDOW));
        let (from, window, beyond) = rarest(&classes, Some(anchor))?;
        let lead = Lead { anchor: anchor - from, min: region.min, max: region.max, bytes: region.bytes };
        Some(Probe { before: None, window, beyond, lead, after: tried, run, word: Vec::new() })
    }
}

/// A byte of a class, right after one of another class where that is told.
#[derive(Clone, Copy)]
struct Trigger {
    after: Option<usize>,
    class: usize,
}

/// A state, and whether a byte of the trigger's class would now be the trigger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    state: u32,
    armed: bool,
}

/// The part of an automaton that is read before the first trigger.
struct Region {
    nodes: Vec<Node>,
    /// The shortest and the longest way through it, in bytes.
    min: usize,
    max: usize,
    bytes: ByteSet,
}

impl Region {
    /// None where a match can end inside it, or where there is no longest way.
    fn before(graph: &Graph<'_>, trigger: Trigger) -> Option<Self> {
        let automaton = graph.automaton;
        let live = |state: u32| state != DEAD && automaton.live(state);
        let leaves = |node: &Node| node.armed && live(automaton.step(node.state, graph.bytes[trigger.class]));
        let mut shortest: Vec<Option<usize>> = vec![None; 2 * automaton.states()];
        let mut nodes = Vec::new();
        let mut bytes = ByteSet::default();
        let mut degree = vec![0u32; 2 * automaton.states()];
        let armed = trigger.after.is_none();
        let mut layer: Vec<Node> = graph.starts.iter().map(|state| Node { state: *state, armed }).collect();
        layer.iter().for_each(|node| shortest[graph.index(*node)] = Some(0));
        let mut depth = 0;
        while !layer.is_empty() {
            let mut next = Vec::new();
            for node in &layer {
                if graph.ends(node.state) {
                    return None;
                }
                nodes.push(*node);
                for (edge, to) in graph.steps_before(*node, trigger) {
                    bytes.add(&graph.classes[edge]);
                    degree[graph.index(to)] += 1;
                    if shortest[graph.index(to)].is_none() {
                        shortest[graph.index(to)] = Some(depth + 1);
                        next.push(to);
                    }
                }
            }
            layer = next;
            depth += 1;
        }
        let longest = longest(graph, trigger, &mut degree, &nodes)?;
        let ways = nodes.iter().filter(|node| leaves(node));
        let max = ways.clone().map(|node| longest[graph.index(*node)]).max()?;
        let min = ways.filter_map(|node| shortest[graph.index(*node)]).min()?;
        Some(Self { nodes, min, max, bytes })
    }

    /// The classes of the last bytes before the first trigger, `count` of them, nearest last.
    fn back(&self, graph: &Graph<'_>, trigger: Trigger, count: usize) -> Vec<ByteSet> {
        let live = |state: u32| state != DEAD && graph.automaton.live(state);
        let leaves = |node: &Node| node.armed && live(graph.automaton.step(node.state, graph.bytes[trigger.class]));
        let mut targets: Vec<Node> = self.nodes.iter().copied().filter(leaves).collect();
        targets.sort_unstable();
        let mut classes = Vec::new();
        for _ in 0..count {
            let mut found = ByteSet::default();
            let mut sources = Vec::new();
            for node in &self.nodes {
                let mut leads = false;
                for (edge, to) in graph.steps_before(*node, trigger) {
                    if targets.binary_search(&to).is_ok() {
                        found.add(&graph.classes[edge]);
                        leads = true;
                    }
                }
                if leads {
                    sources.push(*node);
                }
            }
            classes.insert(0, found);
            sources.sort_unstable();
            targets = sources;
        }
        classes
    }
}

/// The longest way from a start to each node of a region, in bytes; None where it has a circle.
fn longest(graph: &Graph<'_>, trigger: Trigger, degree: &mut [u32], nodes: &[Node]) -> Option<Vec<usize>> {
    let mut longest = vec![0usize; degree.len()];
    let mut ready: Vec<Node> = nodes.iter().copied().filter(|node| degree[graph.index(*node)] == 0).collect();
    let mut seen = 0;
    while let Some(node) = ready.pop() {
        seen += 1;
        for (_, to) in graph.steps_before(node, trigger) {
            longest[graph.index(to)] = longest[graph.index(to)].max(longest[graph.index(node)] + 1);
            degree[graph.index(to)] -= 1;
            if degree[graph.index(to)] == 0 {
                ready.push(to);
            }
        }
    }
    (seen == nodes.len()).then_some(longest)
}
