//! One text as it stands, with the views of what is encoded in it.

use super::base64::Base64;
use super::escape::Wire;
use super::join::Joins;
use super::lane::{Lane, Shared};
use super::percent::{self, Percent};

/// Bytes that are read before it is asked whether a view is still needed.
const SLICE: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The text as it stands.
    pub(crate) lane: Lane,
    /// The text percent-decoded, from an escape on until it makes no difference any more.
    pub(crate) percent: Option<Box<Percent>>,
    /// What stands in base64, where a rule in force asks.
    base64: Option<Box<Base64>>,
    /// How often it may be percent-decoded.
    pub(crate) times: usize,
}

impl View {
    pub(crate) fn new(depth: usize) -> Self {
        Self { lane: Lane::new(depth), percent: None, base64: None, times: percent::TIMES }
    }

    /// The same text, one level of JSON's escapes further.
    pub(crate) fn deeper(&self) -> Self {
        Self {
            lane: self.lane.deeper(),
            percent: self.percent.as_ref().map(|percent| Box::new(percent.deeper())),
            base64: self.base64.clone(),
            times: self.times,
        }
    }

    /// The same text, percent-decoded once more.
    fn decoded(&self) -> Self {
        let times = self.times - 1;
        let encoded = percent::TIMES - times;
        Self {
            lane: self.lane.percent(encoded),
            percent: None,
            base64: self.base64.as_ref().map(|base64| Box::new(base64.percent(encoded))),
            times,
        }
    }

    /// Reads a run of text. `ends_at` is where the text ends on the wire, if that is known; `joins` follow the text,
    /// decoded, into a later one.
    pub(crate) fn scan(
        &mut self,
        run: &[u8],
        wire: Wire<'_>,
        ends_at: Option<u64>,
        mut joins: Option<&mut Joins>,
        shared: &mut Shared<'_>,
    ) {
        let mut at = 0;
        while at < run.len() {
            let (rest, wire) = (&run[at..], wire.skip(at));
            let decodes = self.percent.is_none() && self.times > 0 && !self.lane.is_dropping();
            let escape = if decodes { shared.block.escape(rest, wire) } else { None };
            let len = escape.unwrap_or(rest.len());
            let part = &rest[..if self.percent.is_some() { len.min(SLICE) } else { len }];
            if let Some(last) = part.len().checked_sub(1) {
                let ends = ends_at == Some(wire.end(last));
                // Where the text may go on decoded, what follows in the block tells nothing of a candidate.
                if escape.is_some()
                    || !decodes
                    || shared.block.breaks
                    || (!ends && shared.block.escapes_after(wire.end(last)))
                {
                    self.lane.scan_apart(part, wire, ends, shared);
                } else {
                    self.lane.scan(part, wire, ends, shared);
                }
                self.read_encoded(part, wire, joins.as_deref_mut(), shared);
                at += part.len();
            }
            if escape.is_some() && !self.lane.is_dropping() {
                self.percent = Some(Box::new(Percent::of(self.decoded())));
            }
        }
    }

    /// What is encoded in a run of text that the lane has read.
    fn read_encoded(&mut self, run: &[u8], wire: Wire<'_>, mut joins: Option<&mut Joins>, shared: &mut Shared<'_>) {
        if self.lane.is_dropping() {
            // The whole of it is replaced.
            self.clear();
        } else if shared.plan.base64.is_some() {
            let percent = percent::TIMES - self.times;
            self.base64.get_or_insert_with(|| Box::new(Base64::new(percent))).read(run, wire, shared);
        }
        match &mut self.percent {
            Some(percent) => {
                percent.read(run, wire, self.lane.document, joins, shared);
                if percent.is_over(&self.lane, shared) {
                    self.percent = None;
                }
            }
            None => {
                if let Some(joins) = &mut joins {
                    joins.read(run, wire, shared);
                }
            }
        }
    }

    /// What was read has nothing to do with what follows. Nothing of it may be undecided.
    pub(crate) fn forget(&mut self) {
        self.lane.forget();
        self.clear();
    }

    /// Forgets what is encoded.
    pub(crate) fn clear(&mut self) {
        (self.percent, self.base64) = (None, None);
    }

    /// What is encoded ends with the text.
    pub(crate) fn close_encoded(&mut self, joins: Option<&mut Joins>, shared: &mut Shared<'_>) {
        if let Some(mut percent) = self.percent.take() {
            percent.close(joins, shared);
        }
        if let Some(base64) = &mut self.base64 {
            base64.close(shared);
        }
    }

    /// The text ends, and nothing follows it.
    pub(crate) fn close(&mut self, joins: Option<&mut Joins>, shared: &mut Shared<'_>) {
        self.close_encoded(joins, shared);
        self.lane.close(true, shared);
    }

    /// Frees what the text, which is over, has taken to be decoded.
    pub(crate) fn shrink(&mut self) {
        if let Some(base64) = &mut self.base64 {
            base64.shrink();
        }
    }

    /// What is still needed of the block is kept.
    pub(crate) fn leave(&mut self, shared: &Shared<'_>) {
        self.lane.leave(shared);
        if let Some(percent) = &mut self.percent {
            percent.leave(shared);
        }
    }

    /// Where on the wire the earliest undecided byte stands.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let percent = self.percent.as_ref().and_then(|percent| percent.undecided());
        let base64 = self.base64.as_ref().and_then(|base64| base64.undecided());
        [self.lane.undecided(), percent, base64].into_iter().flatten().min()
    }

    /// All base64 that is being read began after this place on the wire.
    pub(crate) fn base64_begins_after(&self, wire: u64) -> bool {
        self.base64.as_ref().is_none_or(|base64| base64.begins_after(wire))
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let percent = self.percent.as_ref().map_or(0, |percent| percent.overhead());
        let base64 = self.base64.as_ref().map_or(0, |base64| base64.overhead());
        self.lane.overhead() + percent + base64
    }
}
