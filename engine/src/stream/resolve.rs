//! From matches to output: overlaps are settled, what is decided leaves.

use crate::mask::{REDACTED, Strategy};
use crate::program::{PatternId, RuleId};
use crate::sink::{ActionKind, Decision, Sink};
use crate::stream::base64::Quanta;
use crate::stream::desk::{Lend, Lent, Spare};
use crate::stream::percent;
use bytes::Bytes;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::Range;

/// A rule's claim on a match.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) rule: RuleId,
    pub(crate) pattern: PatternId,
    pub(crate) kind: ActionKind,
    pub(crate) priority: u8,
    pub(crate) strategy: Strategy,
    /// The place of the rule's name among all names settles ties.
    pub(crate) rank: u32,
    /// Where what stands in the place of the match is written in the output's texts; empty unless the rule masks.
    pub(crate) replacement: Range<usize>,
    /// How often what stands in its place is percent-encoded.
    pub(crate) percent: usize,
    /// Where it stands in base64: the replacement is not yet encoded, and the match is that of whole quanta.
    pub(crate) quanta: Option<Box<Quanta>>,
    /// The rest of a value whose decision was already told.
    pub(crate) silent: bool,
}

/// A number of a JSON document: a mask inside it puts the whole in quotes.
#[derive(Clone, Copy, Debug)]
struct Scalar {
    start: u64,
    /// None while it goes on.
    end: Option<u64>,
    /// How deep the quotes must be escaped.
    depth: usize,
}

/// The bytes that wait, and the claims on them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pending: Lent<Pending>,
    /// All before this has left.
    cut: u64,
    end: u64,
    last: Option<Box<Last>>,
}

/// The bytes that wait, and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    chunks: VecDeque<(u64, Bytes)>,
    claims: Vec<Claim>,
    /// What stands in the places of the matches.
    texts: Vec<u8>,
    scalars: VecDeque<Scalar>,
}

impl Lend for Pending {
    const EMPTY: &'static Self =
        &Self { chunks: VecDeque::new(), claims: Vec::new(), texts: Vec::new(), scalars: VecDeque::new() };

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.claims.is_empty() && self.texts.is_empty() && self.scalars.is_empty()
    }

    fn memory(&self) -> usize {
        self.chunks.capacity() * size_of::<(u64, Bytes)>()
            + self.claims.capacity() * size_of::<Claim>()
            + self.texts.capacity()
            + self.scalars.capacity() * size_of::<Scalar>()
    }
}

/// The last mask that left: a claim that it covers and that is of the same rule says nothing new.
#[derive(Clone, Copy, Debug)]
struct Last {
    rule: RuleId,
    start: u64,
    end: u64,
    /// The run of base64 in which it stands, and where its value ends in it.
    quanta: Option<(u64, u64)>,
}

/// What two claims have in common that say the same: the rule, the span, and the value's place in its quanta of base64.
type Twin = (RuleId, u64, u64, (u64, u64));

impl Claim {
    fn twin(&self) -> Twin {
        (self.rule, self.start, self.end, self.phases())
    }

    /// Memory beside the fixed size, in bytes.
    fn memory(&self) -> usize {
        self.quanta.as_ref().map_or(0, |quanta| size_of_val(quanta.as_ref()) + 4)
    }

    /// Where the value begins in its first quantum of base64, and where it ends in its last one.
    fn phases(&self) -> (u64, u64) {
        self.quanta.as_ref().map_or((0, 0), |quanta| (quanta.from % 3, quanta.to % 3))
    }

    /// Where its run of base64 begins on the wire.
    fn run(&self) -> Option<u64> {
        self.quanta.as_ref().map(|quanta| quanta.run)
    }
}

impl Output {
    /// Takes memory for what will wait.
    pub(crate) fn borrow(&mut self, spare: &mut Spare) {
        self.pending.borrow(&mut spare.pending);
    }

    /// Gives the memory back in which nothing waits.
    pub(crate) fn give_back(&mut self, spare: &mut Spare) {
        self.pending.give_back(&mut spare.pending);
    }

    /// Forgets all that waits: the stream stopped.
    pub(crate) fn poison(&mut self) {
        self.pending.chunks.clear();
        self.pending.claims.clear();
        self.pending.texts.clear();
        self.cut = self.end;
    }

    /// Where the next byte will stand.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that wait.
    pub(crate) fn held(&self) -> usize {
        (self.end - self.cut) as usize
    }

    /// Memory of what is known of the bytes that wait.
    pub(crate) fn overhead(&self) -> usize {
        self.pending.claims.iter().map(|claim| size_of::<Claim>() + claim.memory()).sum::<usize>()
            + self.pending.texts.len()
            + self.pending.scalars.len() * size_of::<Scalar>()
    }

    pub(crate) fn append(&mut self, bytes: Bytes) {
        let start = self.end;
        self.end += bytes.len() as u64;
        if !bytes.is_empty() {
            self.pending.chunks.push_back((start, bytes));
        }
    }

    pub(crate) fn claim(&mut self, claim: Claim) {
        if claim.end > claim.start {
            self.pending.claims.push(claim);
        }
    }

    /// Writes what stands in the place of a match: `write` appends it to all that is written, from the place that it is given.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>, usize)) -> Range<usize> {
        let from = self.pending.texts.len();
        write(&mut self.pending.texts, from);
        from..self.pending.texts.len()
    }

    pub(crate) fn open_scalar(&mut self, start: u64, depth: usize) {
        self.pending.scalars.push_back(Scalar { start, end: None, depth });
    }

    pub(crate) fn close_scalar(&mut self, end: u64) {
        if let Some(scalar) = self.pending.scalars.back_mut().filter(|scalar| scalar.end.is_none()) {
            scalar.end = Some(end);
        }
    }

    /// Numbers after this place on the wire stand in a value that is replaced whole.
    pub(crate) fn forget_scalars(&mut self, wire: u64) {
        let scalars = &mut self.pending.scalars;
        scalars.truncate(scalars.partition_point(|scalar| scalar.start <= wire));
    }

    /// The length of the number that goes on, in bytes.
    pub(crate) fn open_scalar_start(&self) -> Option<u64> {
        self.pending.scalars.back().filter(|scalar| scalar.end.is_none()).map(|scalar| scalar.start)
    }

    /// Settles all claims that start before `safe`, where no earlier match can come any more, and emits all before it. They
    /// stand in `claims` meanwhile, which is empty before and after.
    ///
    /// # Errors
    /// The decision that blocks.
    pub(crate) fn resolve(&mut self, safe: u64, claims: &mut Vec<Claim>, sink: &mut impl Sink) -> Result<(), Decision> {
        let mut safe = self.open_scalar_start().map_or(safe, |start| safe.min(start));
        if self.pending.claims.iter().any(|claim| claim.start < safe) {
            self.pending.claims.sort_by_key(order);
            // Lanes that read the same text say the same. The longer run of base64, which comes first, tells the alphabet;
            // the other one began in the middle of it.
            self.pending.claims.dedup_by(|later, first| later.twin() == first.twin());
            let mut ready = self.pending.claims.partition_point(|claim| claim.start < safe);
            // What begins in the last quantum of a value must be known before that is written.
            let waits = |claim: &Claim| claim.kind == ActionKind::Mask && claim.quanta.is_some() && claim.end > safe;
            if let Some(first) = self.pending.claims[..ready].iter().position(waits) {
                (ready, safe) = (first, self.pending.claims[first].start);
            }
            let texts = std::mem::take(&mut self.pending.texts);
            claims.extend(self.pending.claims.drain(..ready));
            let settled = (0..claims.len()).try_for_each(|at| self.settle(at, claims, &texts, sink));
            claims.clear();
            self.pending.texts = texts;
            self.forget_texts();
            settled?;
        }
        while self.pending.scalars.front().is_some_and(|scalar| scalar.end.is_some_and(|end| end <= safe)) {
            self.pending.scalars.pop_front();
        }
        self.release(safe, sink);
        Ok(())
    }

    /// Keeps what is written for the claims that wait alone.
    fn forget_texts(&mut self) {
        let Pending { claims, texts, .. } = &mut *self.pending;
        let mut kept = 0;
        // Several claims may share a text, and texts stand in the order in which they were written, not of the claims.
        claims.sort_by_key(|claim| claim.replacement.start);
        let mut last = (0..0, 0);
        for claim in claims {
            let text = claim.replacement.clone();
            if text != last.0 {
                texts.copy_within(text.clone(), kept);
                last = (text.clone(), kept);
                kept += text.len();
            }
            claim.replacement = last.1..last.1 + text.len();
        }
        texts.truncate(kept);
    }

    fn settle(&mut self, at: usize, all: &[Claim], texts: &[u8], sink: &mut impl Sink) -> Result<(), Decision> {
        let claim = &all[at];
        let decision =
            Decision { rule: claim.rule, pattern: claim.pattern, span: claim.start..claim.end, action: claim.kind };
        let covers = |last: &Last| last.rule == claim.rule && last.start <= claim.start && claim.end <= last.end;
        let covered = self.last.as_deref().is_some_and(covers);
        if !claim.silent && !covered {
            sink.decision(&decision);
        }
        match claim.kind {
            ActionKind::Alert => {}
            ActionKind::Block => {
                self.release(claim.start, sink);
                return Err(decision);
            }
            ActionKind::Mask => {
                let mut quanta = claim.quanta.as_ref().map(|quanta| (quanta.run, quanta.to));
                if claim.start >= self.cut {
                    self.mask(at, all, texts, sink);
                } else if claim.end > self.cut || self.is_beside(claim) {
                    sink.masked(&self.rest(at, all, texts));
                    self.drop_until(claim.end);
                } else {
                    quanta = self.quanta();
                }
                let last = Last { rule: claim.rule, start: claim.start, end: claim.end, quanta };
                match &mut self.last {
                    Some(before) => **before = last,
                    None => self.last = Some(Box::new(last)),
                }
            }
        }
        Ok(())
    }

    /// What stands in the place of a value, the first quantum of which may be gone.
    fn written<'a>(&self, at: usize, all: &[Claim], mask: &'a [u8], lead: bool) -> Cow<'a, [u8]> {
        let claim = &all[at];
        let Some(quanta) = &claim.quanta else { return mask.into() };
        let others = all[at + 1..].iter().chain(&self.pending.claims).take_while(|other| other.start < claim.end);
        let others: Vec<&Quanta> = others
            .filter(|other| other.kind == ActionKind::Mask)
            .filter_map(|other| other.quanta.as_deref().filter(|other| other.run == quanta.run))
            .collect();
        quanta.encode(mask, lead, |place| others.iter().any(|other| (other.from..other.to).contains(&place))).into()
    }

    /// The run of base64 in which the last mask stands, and where its value ends in it.
    fn quanta(&self) -> Option<(u64, u64)> {
        self.last.as_ref().and_then(|last| last.quanta)
    }

    /// The value shares a quantum of base64 with the last one that was masked, and no byte.
    fn is_beside(&self, claim: &Claim) -> bool {
        let quanta = claim.quanta.as_ref();
        quanta.zip(self.quanta()).is_some_and(|(quanta, (run, to))| run == quanta.run && to <= quanta.from)
    }

    /// What stands in the place of the rest of a value, where another mask was before it.
    fn rest<'a>(&self, at: usize, all: &[Claim], texts: &'a [u8]) -> Cow<'a, [u8]> {
        let claim = &all[at];
        let replacement = &texts[claim.replacement.clone()];
        match &claim.quanta {
            // What stands after it left with the other one.
            Some(quanta) if claim.end <= self.cut => quanta.encode(replacement, false, |_| true).into(),
            Some(_) if self.is_beside(claim) => self.written(at, all, replacement, false),
            // Another mask won where both claim a byte; what it leaves of this one is redacted.
            Some(_) => self.written(at, all, REDACTED.as_bytes(), false),
            None => {
                let mut text = REDACTED.as_bytes().to_vec();
                percent::encode(&mut text, 0, claim.percent);
                text.into()
            }
        }
    }

    fn mask(&mut self, at: usize, all: &[Claim], texts: &[u8], sink: &mut impl Sink) {
        let claim = &all[at];
        let replacement = self.written(at, all, &texts[claim.replacement.clone()], true);
        // Numbers stand one after another: the last one that begins before the match, or none.
        let last = self.pending.scalars.partition_point(|scalar| scalar.start <= claim.start).checked_sub(1);
        let number = last.and_then(|last| {
            let scalar = self.pending.scalars[last];
            let end = scalar.end?;
            (claim.end <= end).then_some((scalar.start, end, scalar.depth))
        });
        let Some((start, end, depth)) = number else {
            self.release(claim.start, sink);
            sink.masked(&replacement);
            self.drop_until(claim.end);
            return;
        };
        // Claims stand in the order of their starts, and none reaches into a number from before it.
        let before = all[..at].iter().rev().take_while(|other| other.start >= start);
        let inside = before.chain(all[at..].iter().take_while(|other| other.start < end));
        let mut masks = inside.filter(|other| other.kind == ActionKind::Mask);
        let alone = masks.all(|other| (other.start, other.end) == (claim.start, claim.end));
        self.release(start, sink);
        let mut quote = vec![b'"'];
        super::escape::encode(&mut quote, 0, depth);
        let mut text = quote.clone();
        if alone {
            self.copy(start, claim.start, &mut text);
            text.extend_from_slice(&replacement);
            self.copy(claim.end, end, &mut text);
        } else {
            text.extend_from_slice(REDACTED.as_bytes());
        }
        text.extend_from_slice(&quote);
        sink.masked(&text);
        self.drop_until(end);
    }

    fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        for (start, bytes) in &self.pending.chunks {
            let a = from.clamp(*start, start + bytes.len() as u64) - start;
            let b = to.clamp(*start, start + bytes.len() as u64) - start;
            out.extend_from_slice(&bytes[a as usize..b as usize]);
        }
    }

    /// Emits what waits before `to`.
    fn release(&mut self, to: u64, sink: &mut impl Sink) {
        self.advance(to, |bytes| sink.clean(bytes));
    }

    fn drop_until(&mut self, to: u64) {
        self.advance(to, drop);
    }

    fn advance(&mut self, to: u64, mut each: impl FnMut(Bytes)) {
        while self.cut < to {
            let Some((start, bytes)) = self.pending.chunks.front() else { return };
            let end = start + bytes.len() as u64;
            let upto = to.min(end);
            let whole = self.cut == *start && upto == end;
            let slice =
                if whole { bytes.clone() } else { bytes.slice((self.cut - start) as usize..(upto - start) as usize) };
            self.cut = upto;
            if upto == end {
                self.pending.chunks.pop_front();
            }
            each(slice);
        }
    }
}

/// Leftmost start, in base64 that of the value; then block, mask, alert; then priority, the longer span, the stricter strategy, the name.
fn order(claim: &Claim) -> impl Ord + use<> {
    (
        claim.start,
        claim.phases().0,
        Reverse(claim.kind),
        Reverse(claim.priority),
        Reverse(claim.end),
        Reverse(claim.strategy),
        claim.rank,
        claim.rule.index(),
        claim.phases().1,
        claim.run(),
    )
}
