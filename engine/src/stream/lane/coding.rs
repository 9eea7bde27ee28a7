//! How a lane's text is written on the wire, beside the escapes of JSON, and what that means for its masks.

use super::{Lane, Mark, Text};
use crate::stream::base64::Quanta;
use crate::stream::escape;
use crate::stream::percent;

/// How a text is written on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) enum Coding {
    /// As it stands.
    #[default]
    Plain,
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
            Self::Plain | Self::Base64 { .. } => 0,
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
        Self { coding, ..self }
    }

    /// The same candidates, in the text percent-decoded; it is encoded so many times.
    pub(crate) fn percent(&self, times: usize) -> Self {
        Self {
            coding: Coding::Percent { times, places: Vec::new() },
            whole: Vec::new(),
            spawning: Vec::new(),
            ..self.clone()
        }
    }

    /// What follows is written like this.
    pub(crate) fn code(&mut self, coding: Coding) {
        self.coding = coding;
    }

    /// What follows is base64 in the other alphabet.
    pub(crate) fn swap_alphabet(&mut self) {
        if let Coding::Base64 { url, .. } = &mut self.coding {
            *url = !*url;
        }
    }

    /// A run of base64 begins here on the wire; nothing stands before it.
    pub(crate) fn restart(&mut self, wire: u64) {
        if let Coding::Base64 { run, .. } = &mut self.coding {
            *run = wire;
        }
        self.threads.clear();
        self.waiting.clear();
        self.spawning.clear();
        self.saved.clear();
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
        let Coding::Percent { places, .. } = &mut self.coding else { return };
        if places.len() >= 64 && places.get(places.len() / 2).is_some_and(|place| *place < first) {
            places.drain(..places.partition_point(|place| *place < first));
        }
        places.extend(more);
    }

    /// The place of the text where what is undecided begins.
    fn first(&self) -> u64 {
        let threads = self.threads.iter().map(|thread| thread.first.text);
        threads.chain(self.waiting.iter().map(|found| found.start.text)).fold(self.pos, u64::min)
    }

    /// What is undecided begins after this place of the text.
    pub(crate) fn begins_after(&self, text: u64) -> bool {
        self.first() > text
    }

    /// The last byte before this place of the text that was percent-encoded, if it is known.
    pub(super) fn escaped_before(&self, text: u64) -> Option<u64> {
        let Coding::Percent { places, .. } = &self.coding else { return None };
        places[..places.partition_point(|place| *place < text)].last().copied()
    }

    /// How what stands in the place of a value is written, so many levels of escapes deep.
    pub(super) fn written(&self, start: Mark, end: Mark, depth: usize, text: Text<'_>) -> Written {
        let quanta = match self.coding {
            Coding::Base64 { url, run, percent } => Some(Box::new(Quanta {
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
        Written { depth, percent: self.coding.percent(start.text, end.text), quanta }
    }

    /// How many of the bytes that were looked at are read in one go: whole quanta, so that a value stands beside all that
    /// shares one with it. What begins after them is looked for again.
    pub(super) fn whole_quanta(&mut self, looked: usize, left: usize) -> usize {
        let len = looked - looked % 3;
        if !matches!(self.coding, Coding::Base64 { .. }) || looked == left || len == 0 {
            return looked;
        }
        self.starts.retain(|starts| (starts.from as usize) < len);
        self.starts.iter_mut().for_each(|starts| starts.to = starts.to.min(len as u32 - 1));
        len
    }
}
