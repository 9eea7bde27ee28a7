//! How a lane's text is written on the wire, beside the escapes of JSON, and what that means for its masks.

use super::{Found, Lane, Mark, Text, Thread};
use crate::filter::Starts;
use crate::stream::base64::Quanta;
use crate::stream::escape;
use crate::stream::percent;

/// How a text is written on the wire, where it doesn't stand there as it is.
#[derive(Clone, Debug)]
pub(crate) enum Coding {
    /// Percent-encoded so many times, where one of these places of the text lies; else once less.
    Percent { times: usize, places: Vec<u64> },
    /// Percent-encoded, somewhere.
    Escaped,
    /// A run of base64 that begins here on the wire, and is percent-encoded so many times.
    Base64 { url: bool, run: u64, percent: usize },
}

impl Coding {
    /// How often what stands in the place of this part of the text must be percent-encoded.
    fn percent(&self, from: u64, to: u64) -> usize {
        match self {
            Self::Base64 { .. } => 0,
            Self::Percent { times, places } => {
                let first = places.partition_point(|place| *place < from);
                let held = places.get(first).is_some_and(|place| *place < to);
                times - usize::from(!held)
            }
            Self::Escaped => 1,
        }
    }
}

/// How what stands in the place of a value is written.
pub(super) struct Written {
    /// How many levels of JSON's escapes it stands below the wire.
    depth: usize,
    /// How often it is percent-encoded.
    pub(super) percent: usize,
    /// Where it stands in base64.
    pub(super) quanta: Option<Box<Quanta>>,
}

impl Written {
    /// Encodes a replacement, which stands in `out` from `from` on; what stands in base64 is encoded when it is known what
    /// stands beside it.
    pub(super) fn encode(&self, out: &mut Vec<u8>, from: usize) {
        if self.quanta.is_none() {
            percent::encode(out, from, self.percent);
            escape::encode(out, from, self.depth);
        }
    }
}

impl Lane {
    /// The same lane, of a text that is written like this.
    pub(crate) fn coded(self, coding: Coding) -> Self {
        Self { coding: Some(Box::new(coding)), ..self }
    }

    /// The same candidates, in the text percent-decoded; it is encoded so many times.
    pub(crate) fn percent(&self, times: usize) -> Self {
        Self { coding: Some(Box::new(Coding::Percent { times, places: Vec::new() })), selected: None, ..self.clone() }
    }

    /// What follows is written like this; None: as it stands.
    pub(crate) fn code(&mut self, coding: Option<Coding>) {
        match (&mut self.coding, coding) {
            (Some(before), Some(coding)) => **before = coding,
            (before, coding) => *before = coding.map(Box::new),
        }
    }

    /// What follows is base64 in the other alphabet.
    pub(crate) fn swap_alphabet(&mut self) {
        if let Some(Coding::Base64 { url, .. }) = self.coding.as_deref_mut() {
            *url = !*url;
        }
    }

    /// A run of base64 begins here on the wire; nothing stands before it.
    pub(crate) fn restart(&mut self, wire: u64) {
        if let Some(Coding::Base64 { run, .. }) = self.coding.as_deref_mut() {
            *run = wire;
        }
        self.held.threads.clear();
        self.held.waiting.clear();
        self.held.saved.clear();
        self.pos = 0;
        self.open(wire, &[]);
    }

    /// The number of bytes of text so far.
    pub(crate) fn place(&self) -> u64 {
        self.pos
    }

    /// These places of the text to come are percent-encoded.
    pub(crate) fn escapes(&mut self, more: impl Iterator<Item = u64>) {
        let first = self.first();
        let Some(Coding::Percent { places, .. }) = self.coding.as_deref_mut() else { return };
        if places.len() >= 64 && places.get(places.len() / 2).is_some_and(|place| *place < first) {
            places.drain(..places.partition_point(|place| *place < first));
        }
        places.extend(more);
    }

    /// The place of the text where what is undecided begins.
    fn first(&self) -> u64 {
        let threads = self.held.threads.iter().map(|thread| thread.first.text);
        threads.chain(self.held.waiting.iter().map(|found| found.start.text)).fold(self.pos, u64::min)
    }

    /// What is undecided begins after this place of the text.
    pub(crate) fn begins_after(&self, text: u64) -> bool {
        self.first() > text
    }

    /// What is undecided is the same in another lane that reads the same bytes from here on: both find the same in them.
    pub(crate) fn goes_on_as(&self, other: &Self) -> bool {
        let same = |mine: &Mark, theirs: &Mark| {
            mine.wire == theirs.wire && self.pos.wrapping_sub(mine.text) == other.pos.wrapping_sub(theirs.text)
        };
        let thread = |(mine, theirs): (&Thread, &Thread)| {
            (mine.pattern, mine.state, mine.more.len()) == (theirs.pattern, theirs.state, theirs.more.len())
                && same(&mine.first, &theirs.first)
                && mine.last.as_ref().zip(theirs.last.as_ref()).map_or(mine.last == theirs.last, |(a, b)| same(a, b))
                && mine.more.iter().zip(&theirs.more).all(|(mine, theirs)| same(mine, theirs))
        };
        let found = |(mine, theirs): (&Found, &Found)| {
            mine.pattern == theirs.pattern && same(&mine.start, &theirs.start) && same(&mine.end, &theirs.end)
        };
        let (threads, waiting) = (&self.held.threads, &self.held.waiting);
        threads.len() == other.held.threads.len()
            && waiting.len() == other.held.waiting.len()
            && threads.iter().zip(&other.held.threads).all(thread)
            && waiting.iter().zip(&other.held.waiting).all(found)
    }

    /// The last byte before this place of the text that was percent-encoded, if it is known.
    pub(super) fn escaped_before(&self, text: u64) -> Option<u64> {
        let Some(Coding::Percent { places, .. }) = self.coding.as_deref() else { return None };
        places[..places.partition_point(|place| *place < text)].last().copied()
    }

    /// How what stands in the place of a value is written, so many levels of escapes deep.
    pub(super) fn written(&self, start: Mark, end: Mark, depth: usize, text: Text<'_>) -> Written {
        let quanta = match self.coding.as_deref() {
            Some(&Coding::Base64 { url, run, percent }) => Some(Box::new(Quanta {
                run,
                url,
                percent,
                from: start.text,
                to: end.text,
                before: text.slice(start.text / 3 * 3, start.text).into_owned(),
                after: text.slice(end.text, end.text.next_multiple_of(3)).into_owned(),
            })),
            _ => None,
        };
        let percent = self.coding.as_ref().map_or(0, |coding| coding.percent(start.text, end.text));
        Written { depth, percent, quanta }
    }

    /// How many of the bytes that were looked at are read in one go: whole quanta, so that a value stands beside all that
    /// shares one with it. What begins after them is looked for again.
    pub(super) fn whole_quanta(&self, looked: usize, left: usize, starts: &mut Vec<Starts>) -> usize {
        let len = looked - looked % 3;
        if !matches!(self.coding.as_deref(), Some(Coding::Base64 { .. })) || looked == left || len == 0 {
            return looked;
        }
        starts.retain(|starts| (starts.from as usize) < len);
        starts.iter_mut().for_each(|starts| starts.to = starts.to.min(len as u32 - 1));
        len
    }
}
