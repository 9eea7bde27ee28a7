//! Texts under one set of rules: each is inspected by itself, and comes back as it was or masked.

use super::value::Named;
use crate::limits::Counter;
use bytes::Bytes;
use sluice_engine::{
    ActionKind, Budget, Column, Decision, Format, Program, RuleSet, Sink, Stop, Stream, StreamOptions,
};
use std::ops::Range;

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It passes as it is.
    Same,
    /// This stands in its place.
    Changed(Vec<u8>),
}

/// Inspects one text after the other.
#[derive(Debug)]
pub(super) struct Texts {
    program: Program,
    rules: RuleSet,
    budget: Budget,
    /// Open between texts. None where no rule is in force.
    stream: Option<Stream>,
    /// What was decided since it was taken.
    pub(super) decisions: Vec<Decision>,
    /// A part of a value became NULL, since it could not be masked in place.
    pub(super) lost: bool,
    /// Counts what rules with a limit match.
    counter: Option<Counter>,
}

impl Texts {
    pub(super) fn new(program: &Program, rules: RuleSet, budget: &Budget) -> Self {
        let options = StreamOptions::raw().rules(rules.clone());
        let stream = (!rules.is_empty()).then(|| Stream::open(program, options, budget));
        Self {
            program: program.clone(),
            rules,
            budget: budget.clone(),
            stream,
            decisions: Vec::new(),
            lost: false,
            counter: None,
        }
    }

    /// The same; what rules with a limit match is counted.
    pub(super) fn counting(self, counter: Option<Counter>) -> Self {
        Self { counter, ..self }
    }

    /// What comes next is another record for rules that count.
    pub(super) fn next_record(&self) {
        if let Some(counter) = &self.counter {
            counter.next_record();
        }
    }

    /// Counts what was decided since there were this many decisions.
    fn count(&self, known: usize) -> Result<(), Stop> {
        let Some(counter) = &self.counter else { return Ok(()) };
        match self.decisions[known..].iter().find(|decision| !counter.lets_pass(decision.rule)) {
            Some(decision) => Err(Stop::Blocked(Decision { action: ActionKind::Block, ..decision.clone() })),
            None => Ok(()),
        }
    }

    /// No rule is in force: every text passes.
    pub(super) fn is_idle(&self) -> bool {
        self.stream.is_none()
    }

    /// Leaves those texts in which a rule may find something, by [one look](Stream::glance) at all of them.
    pub(super) fn glance(&self, bytes: &[u8], texts: &mut Vec<Range<u32>>) {
        match &self.stream {
            Some(stream) => stream.glance(bytes, texts),
            None => texts.clear(),
        }
    }

    /// Inspects a text as it stands, the value of this column where it is one.
    ///
    /// # Errors
    /// A rule blocks, or the budget is used up: nothing passes any more.
    pub(super) fn text(&mut self, bytes: &Bytes, column: Option<&Named>) -> Result<Seen, Stop> {
        let Some(stream) = &mut self.stream else { return Ok(Seen::Same) };
        if bytes.is_empty() {
            return Ok(Seen::Same);
        }
        let known = self.decisions.len();
        let mut out = Out { source: bytes, clean: 0, changed: None, decisions: &mut self.decisions };
        let column = column.map(|column| Column { name: &column.label, also: &column.also });
        stream.text(bytes.clone(), column, &mut out)?;
        let seen = out.changed.map_or(Seen::Same, Seen::Changed);
        self.count(known).map(|()| seen)
    }

    /// Inspects a JSON text: its strings are read without their escapes, and what is masked stays JSON.
    ///
    /// # Errors
    /// As for [`Texts::text`], and [`Stop::Undecodable`] for what is no JSON; other texts can follow that.
    pub(super) fn json(&mut self, bytes: &Bytes) -> Result<Seen, Stop> {
        if self.is_idle() {
            return Ok(Seen::Same);
        }
        let options = StreamOptions::format(Format::Json).rules(self.rules.clone());
        let mut stream = Stream::open(&self.program, options, &self.budget);
        let known = self.decisions.len();
        let mut out = Out { source: bytes, clean: 0, changed: None, decisions: &mut self.decisions };
        stream.push(bytes.clone(), &mut out)?;
        stream.finish(&mut out)?;
        let seen = out.changed.map_or(Seen::Same, Seen::Changed);
        self.count(known).map(|()| seen)
    }

    /// Whether a rule claims every value of a column of these names.
    pub(super) fn selects(&self, column: &Named) -> bool {
        let column = Column { name: &column.label, also: &column.also };
        self.stream.as_ref().is_some_and(|stream| stream.claims(column))
    }
}

/// Gathers what leaves, and copies nothing before something is masked.
struct Out<'a> {
    source: &'a [u8],
    clean: usize,
    changed: Option<Vec<u8>>,
    decisions: &'a mut Vec<Decision>,
}

impl Sink for Out<'_> {
    fn clean(&mut self, bytes: Bytes) {
        match &mut self.changed {
            Some(changed) => changed.extend_from_slice(&bytes),
            None => self.clean += bytes.len(),
        }
    }
    fn masked(&mut self, replacement: &[u8]) {
        // Nothing was masked before: what left is the beginning of the text.
        let before = &self.source[..self.clean];
        self.changed.get_or_insert_with(|| before.to_vec()).extend_from_slice(replacement);
    }
    fn decision(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
    }
}
