//! Values that the events of a stream cut: the end of each text is remembered until a text of the same place comes in a
//! later event, and candidates that began in the one are followed into the other.
//!
//! What a candidate has of an event that ended is held only where it is already what text seldom is; a name at the end of a
//! line waits for nobody. What left before is gone: the rest of its value is then redacted where it stands.

use super::escape::Wire;
use super::lane::{Coding, Lane, Shared};

/// Places that are remembered at once; the one that was longest without a text is forgotten for a new one.
const SLOTS: usize = 32;

/// The most text that is remembered of a place, in bytes, whatever the patterns allow.
const LONGEST: usize = 2048;

/// A candidate is held where text begins like it less often than once in so many places.
const RARE: f32 = 1.0 / 500.0;

/// The texts of a stream that may go on.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    slots: Vec<Slot>,
    /// The slot of the text that is being read.
    open: Option<usize>,
    /// Texts so far.
    count: u64,
    /// The candidates of the open text that began in an earlier one.
    lane: Option<Box<Lane>>,
    /// The lane that looks at texts again.
    rehearsal: Option<Box<Lane>>,
}

/// The end of the last text of one place, and the candidates of earlier ones that it did not decide.
#[derive(Debug, Default)]
struct Slot {
    spot: u64,
    /// When it was used last.
    stamp: u64,
    carried: Option<Box<Lane>>,
    text: Vec<u8>,
    /// The place of the first byte of `text` in its text.
    base: u64,
    pieces: Vec<Piece>,
    seams: Seams,
    /// Where the last text ended on the wire.
    end: u64,
    /// Where what is held for a later text begins on the wire.
    held: Option<u64>,
    weighed: bool,
    /// Its texts are percent-encoded, somewhere.
    escaped: bool,
}

/// A piece of a slot's text that stands in one place on the wire.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    to: u64,
    place: Place,
}

/// Where the bytes of a piece stand on the wire.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// One after the other, from here.
    From(u64),
    /// All of them stand for one escape, which begins here.
    At(u64),
}

impl Piece {
    fn wire(&self, at: u64) -> u64 {
        match self.place {
            Place::From(wire) => wire + at.saturating_sub(self.from),
            Place::At(wire) => wire,
        }
    }
}

/// Where texts were joined, on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seams {
    /// The end of a text and the start of the next one.
    seams: Vec<(u64, u64)>,
    /// What stands before this may have left.
    released: u64,
}

impl Seams {
    /// Becomes a copy of the other, in the memory it has.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.seams.clone_from(&other.seams);
        self.released = other.released;
    }

    /// The first byte of a value that may still be masked, by the start of the value.
    pub(crate) fn from(&self, start: u64) -> u64 {
        let from = start.max(self.released);
        self.seams.iter().find(|(left, right)| (*left..*right).contains(&from)).map_or(from, |(_, right)| *right)
    }

    /// The parts of a value that may still be masked.
    pub(crate) fn parts(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut from = self.from(start);
        std::iter::from_fn(move || {
            let seam = self.seams.iter().find(|(left, _)| *left > from && *left < end);
            let part = (from, seam.map_or(end, |(left, _)| *left));
            let more = from < end;
            from = seam.map_or(end, |(_, right)| *right);
            more.then_some(part)
        })
    }
}

impl Slot {
    /// Adds text; what stands more than `longest` bytes before its end may be forgotten.
    fn push(&mut self, run: &[u8], wire: Wire<'_>, longest: usize) {
        let at = self.base + self.text.len() as u64;
        let to = at + run.len() as u64;
        if self.text.len() + run.len() > 2 * longest {
            self.trim(longest.saturating_sub(run.len()));
        }
        self.text.extend_from_slice(run);
        match wire {
            Wire::Linear(base) => self.piece(at, to, base),
            Wire::Span(start, _) => self.pieces.push(Piece { from: at, to, place: Place::At(start) }),
            Wire::Map { .. } => {
                for byte in run.len().saturating_sub(longest)..run.len() {
                    let (from, start) = (at + byte as u64, wire.start(byte));
                    if wire.end(byte) == start + 1 {
                        self.piece(from, from + 1, start);
                    } else {
                        self.pieces.push(Piece { from, to: from + 1, place: Place::At(start) });
                    }
                }
            }
        }
        if run.len() > longest {
            self.trim(longest);
        }
    }

    /// Bytes that stand one after the other on the wire.
    fn piece(&mut self, at: u64, to: u64, wire: u64) {
        match self.pieces.last_mut() {
            Some(Piece { from, to: last, place: Place::From(base) }) if *last == at && *base + (at - *from) == wire => {
                *last = to;
            }
            _ => self.pieces.push(Piece { from: at, to, place: Place::From(wire) }),
        }
    }

    /// Forgets all but the last bytes of the text.
    fn trim(&mut self, keep: usize) {
        let drop = self.text.len().saturating_sub(keep);
        self.text.drain(..drop);
        self.base += drop as u64;
        let base = self.base;
        self.pieces.retain(|piece| piece.to > base);
    }

    /// Where a byte of the text stands on the wire.
    fn wire(&self, at: u64) -> u64 {
        let piece = self.pieces.partition_point(|piece| piece.to <= at);
        self.pieces.get(piece).map_or(self.end, |piece| piece.wire(at))
    }

    /// The text with the byte before it: the first byte of a text that was cut is there to be looked back at.
    fn text(&self) -> (Option<u8>, &[u8]) {
        match self.text.split_first() {
            Some((first, rest)) if self.base > 0 => (Some(*first), rest),
            _ => (None, &self.text),
        }
    }

    /// Follows the candidates of the text to its end.
    fn rehearse(&self, lane: &mut Lane, shared: &mut Shared<'_>) {
        let (before, text) = self.text();
        let base = self.base + u64::from(before.is_some());
        lane.rehearse(text, before, |at| self.wire(base + at), shared);
    }

    /// Decides what of the last text is held.
    fn weigh(&mut self, lane: &mut Lane, shared: &mut Shared<'_>) {
        self.weighed = true;
        self.rehearse(lane, shared);
        let earlier = self.carried.as_ref().and_then(|carried| carried.rare(RARE, shared));
        let first = [earlier, lane.rare(RARE, shared)].into_iter().flatten().min();
        self.held = first.map(|start| self.seams.from(start));
        self.seams.released = self.held.unwrap_or(self.end);
    }

    /// The text is over, and another one follows or none.
    fn clear_text(&mut self) {
        self.text.clear();
        self.base = 0;
        self.pieces.clear();
    }

    fn clear(&mut self) {
        self.clear_text();
        self.carried = None;
        self.seams.seams.clear();
        self.held = None;
        self.weighed = true;
        self.escaped = false;
    }
}

impl Joins {
    /// A text of this spot begins here on the wire, `depth` levels of escapes deep.
    pub(crate) fn open(&mut self, spot: u64, wire: u64, depth: usize, shared: &mut Shared<'_>) {
        self.count += 1;
        if shared.plan.longest == 0 {
            return;
        }
        let rehearsal = self.rehearsal.get_or_insert_with(|| Box::new(Lane::new(depth)));
        let at = match self.slots.iter().position(|slot| slot.spot == spot) {
            Some(at) => {
                let slot = &mut self.slots[at];
                if !slot.weighed {
                    slot.weigh(rehearsal, shared);
                }
                slot.held = None;
                if slot.carried.is_none() {
                    slot.seams.seams.clear();
                }
                // A candidate may go on for as long as texts come: what has left is asked for no more.
                let released = slot.seams.released;
                slot.seams.seams.retain(|(_, right)| *right > released);
                slot.seams.seams.push((slot.end, wire));
                let mut lane = match slot.carried.take() {
                    Some(mut lane) => {
                        slot.rehearse(rehearsal, shared);
                        lane.adopt(rehearsal);
                        lane
                    }
                    None => {
                        let mut lane = self.lane.take().unwrap_or_else(|| Box::new(Lane::new(depth)));
                        slot.rehearse(&mut lane, shared);
                        lane
                    }
                };
                lane.depth = depth;
                lane.code(slot.escaped.then_some(Coding::Escaped));
                lane.go_on(&slot.seams);
                self.lane = Some(lane);
                slot.clear_text();
                at
            }
            None if self.slots.len() < SLOTS => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            None => {
                let oldest = (0..SLOTS).min_by_key(|at| self.slots[*at].stamp).unwrap_or(0);
                self.slots[oldest].clear();
                oldest
            }
        };
        let slot = &mut self.slots[at];
        (slot.spot, slot.stamp, slot.end) = (spot, self.count, wire);
        slot.weighed = true;
        self.open = Some(at);
    }

    /// Text of the spot that is open.
    pub(crate) fn read(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        let Some(open) = self.open else { return };
        if run.is_empty() {
            return;
        }
        if let Some(lane) = &mut self.lane {
            lane.follow_on(run, wire, shared);
        }
        self.slots[open].push(run, wire, longest(shared));
    }

    /// The text that is open goes on after an escape of percent-encoding: what is written into it must be encoded.
    pub(crate) fn escaped(&mut self) {
        if let Some(open) = self.open {
            self.slots[open].escaped = true;
            if let Some(lane) = &mut self.lane {
                lane.code(Some(Coding::Escaped));
            }
        }
    }

    /// The text that is open ends here on the wire.
    pub(crate) fn close(&mut self, wire: u64, shared: &mut Shared<'_>) {
        let Some(open) = self.open.take() else { return };
        let slot = &mut self.slots[open];
        slot.carried = self.lane.take_if(|lane| lane.pause(shared));
        (slot.end, slot.weighed) = (wire, false);
        slot.trim(longest(shared));
    }

    /// The next text of this spot goes on with nothing.
    pub(crate) fn forget(&mut self, spot: u64) {
        self.slots.iter_mut().filter(|slot| slot.spot == spot).for_each(Slot::clear);
    }

    /// Decides what is held of the texts that ended.
    pub(crate) fn weigh(&mut self, shared: &mut Shared<'_>) {
        let Some(rehearsal) = &mut self.rehearsal else { return };
        self.slots.iter_mut().filter(|slot| !slot.weighed).for_each(|slot| slot.weigh(rehearsal, shared));
    }

    /// Something is held for a text that has not come.
    pub(crate) fn holds(&self) -> bool {
        self.slots.iter().any(|slot| slot.held.is_some())
    }

    /// Nothing is held any longer for a text that has not come.
    pub(crate) fn release(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.held.is_some()) {
            slot.held = None;
            slot.seams.released = slot.end;
        }
    }

    /// Where on the wire the first byte stands that may not leave yet.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let lane = self.open.and(self.lane.as_ref()).and_then(|lane| lane.undecided());
        self.slots.iter().filter_map(|slot| slot.held).chain(lane).min()
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let slots = self.slots.iter().map(|slot| {
            let carried = slot.carried.as_ref().map_or(0, |lane| size_of::<Lane>() + lane.overhead());
            slot.text.len() + slot.pieces.len() * size_of::<Piece>() + carried
        });
        slots.sum::<usize>() + self.lane.as_ref().map_or(0, |lane| lane.overhead())
    }
}

/// The text that is remembered of a place: the longest candidate, and the byte before it.
fn longest(shared: &Shared<'_>) -> usize {
    shared.plan.longest.min(LONGEST) + 1
}
