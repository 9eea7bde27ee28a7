//! The bytes that are being read, with the places in them where candidates may begin: shared by all lanes of a stream.

use crate::filter::Starts;
use crate::stream::costs::Costs;
use crate::stream::escape::Wire;
use crate::stream::percent;
use crate::stream::plan::Plan;
use bytes::Bytes;

/// The bytes that are being read, and where candidates may begin in them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Bytes,
    /// Where they stand on the wire.
    pub(crate) wire: u64,
    /// It is known where candidates may begin.
    pub(crate) looked: bool,
    /// The text that is read breaks off before the block does: what stands behind it tells nothing of its candidates.
    pub(crate) breaks: bool,
    /// Sorted by their first place.
    pub(crate) found: Vec<Starts>,
    /// All starts before this one are over at this place on the wire.
    cursor: (usize, u64),
    /// All starts before this one are over where JSON is skimmed.
    skimmed: usize,
    /// No percent sign stands from the first of these places to the second, on the wire.
    percent: (u64, u64),
    /// What candidates have cost since they were last asked for.
    pub(crate) costs: Costs,
}

impl Block {
    /// The part of this many bytes that stands here on the wire, if all of it does.
    pub(super) fn part(&self, wire: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let from = usize::try_from(wire.checked_sub(self.wire)?).ok()?;
        (from + len <= self.bytes.len()).then_some(from..from + len)
    }

    /// Reads the next bytes. The number of them is given back.
    pub(crate) fn read(&mut self, bytes: Bytes, wire: u64, plan: &Plan) -> usize {
        let len = plan.filter.look(&bytes, &mut self.found);
        self.looked = true;
        self.take(bytes, wire, len);
        len
    }

    /// Reads the next bytes without a look at what may begin in them.
    pub(crate) fn read_blind(&mut self, bytes: Bytes, wire: u64) {
        let len = bytes.len();
        self.found.clear();
        self.looked = false;
        self.take(bytes, wire, len);
    }

    /// Forgets all that was read.
    pub(crate) fn clear(&mut self) {
        self.read_blind(Bytes::new(), 0);
        self.costs = Costs::default();
    }

    fn take(&mut self, bytes: Bytes, wire: u64, len: usize) {
        self.cursor = (0, wire);
        self.skimmed = 0;
        self.breaks = false;
        self.percent = (wire, wire);
        self.wire = wire;
        self.bytes = bytes;
        self.bytes.truncate(len);
    }

    /// It is known where candidates begin in the bytes, and nothing in them is percent-encoded.
    pub(crate) fn is_plain(&self) -> bool {
        self.looked && memchr::memchr(b'%', &self.bytes).is_none()
    }

    /// The place in the block of the bytes that stand here on the wire, and the starts that aren't over there. What is asked
    /// for later stands later.
    pub(crate) fn ahead(&mut self, wire: u64) -> (usize, &[Starts]) {
        let place = wire.saturating_sub(self.wire) as usize;
        while self.found.get(self.skimmed).is_some_and(|starts| (starts.to as usize) < place) {
            self.skimmed += 1;
        }
        (place, &self.found[self.skimmed..])
    }

    /// The starts in a part, counted from its beginning.
    pub(super) fn starts(&mut self, part: &std::ops::Range<usize>, starts: &mut Vec<Starts>) {
        if self.found.is_empty() {
            return;
        }
        let wire = self.wire + part.start as u64;
        if wire < self.cursor.1 {
            self.cursor.0 = 0;
        }
        self.cursor.1 = wire;
        while self.found.get(self.cursor.0).is_some_and(|starts| (starts.to as usize) < part.start) {
            self.cursor.0 += 1;
        }
        for found in &self.found[self.cursor.0..] {
            if found.from as usize >= part.end {
                break;
            }
            if found.to as usize >= part.start {
                starts.push(Starts {
                    from: (found.from as usize).saturating_sub(part.start) as u32,
                    to: ((found.to as usize).min(part.end - 1) - part.start) as u32,
                    pattern: found.pattern,
                });
            }
        }
    }

    /// The first place of a run of text where percent-encoding begins, or may begin because the run ends in it. The bytes are
    /// looked through once, however many runs they have.
    pub(crate) fn escape(&mut self, run: &[u8], wire: Wire<'_>) -> Option<usize> {
        let Wire::Linear(base) = wire else { return percent::find(run) };
        let Some(part) = self.part(base, run.len()) else { return percent::find(run) };
        if !(self.percent.0..=self.percent.1).contains(&base) {
            let next = memchr::memchr(b'%', &self.bytes[part.start..]);
            self.percent = (base, next.map_or(u64::MAX, |next| base + next as u64));
        }
        if self.percent.1 >= base + run.len() as u64 {
            return None;
        }
        let from = (self.percent.1 - base) as usize;
        percent::find(&run[from..]).map(|found| from + found)
    }

    /// More bytes stand in the block after this place on the wire.
    pub(crate) fn goes_on_after(&self, wire: u64) -> bool {
        wire < self.wire + self.bytes.len() as u64
    }

    /// A percent sign may stand after this place on the wire.
    pub(crate) fn escapes_after(&self, wire: u64) -> bool {
        self.goes_on_after(wire) && self.percent.1 < u64::MAX
    }
}
