//! Decoded text with the places of its bytes on the wire, and the bulk of decoding: plain text and escapes of two bytes.

use super::escape::{Decoded, Wire};
use crate::filter::vectors::{Kernel, STEP, Vectors, Wide};

/// Bytes that are copied in one go, whether all of them are needed or not.
const WIDTH: usize = 16;

/// What is kept of the memory between texts, in bytes of text.
const KEPT: usize = 256;

/// Decoded text, with the places of its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// As long as it was since it was last freed; the text is its beginning.
    text: Vec<u8>,
    /// The place of each byte, counted from `base`.
    starts: Vec<u32>,
    len: usize,
    base: u64,
    end: u64,
}

impl Scratch {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Frees the memory, unless it is little.
    pub(crate) fn shrink(&mut self) {
        if self.text.len() > KEPT {
            *self = Self::default();
        }
    }

    /// Memory beside the fixed size, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.starts.capacity() * size_of::<u32>()
    }

    /// The text so far.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Makes room for so many bytes, and for what is copied beyond them.
    fn reserve(&mut self, more: usize) {
        let needed = self.len + more + WIDTH;
        if self.text.len() < needed {
            self.text.resize(needed, 0);
            self.starts.resize(needed, 0);
        }
    }

    /// Text begins at this place on the wire.
    fn begin(&mut self, wire: u64) {
        if self.len == 0 {
            self.base = wire;
        }
    }

    pub(crate) fn add(&mut self, piece: &Decoded<'_>) {
        let (run, wire) = match piece {
            Decoded::Run(run, wire) => (*run, *wire),
            Decoded::Char(bytes, len, wire) => (&bytes[..*len], *wire),
        };
        let Some(last) = run.len().checked_sub(1) else { return };
        self.reserve(run.len());
        self.begin(wire.start(0));
        for (at, byte) in run.iter().enumerate() {
            self.text[self.len] = *byte;
            // A run is part of one block, and an escape of a few bytes before it: the places fit.
            self.starts[self.len] = (wire.start(at) - self.base) as u32;
            self.len += 1;
        }
        self.end = wire.end(last);
    }

    /// Decodes text that begins outside of an escape, up to an escape that isn't two bytes or that isn't whole. The number of
    /// bytes decoded is given back.
    pub(crate) fn copy(&mut self, run: &[u8], wire: Wire<'_>, vectors: Vectors) -> usize {
        if run.is_empty() {
            return 0;
        }
        self.reserve(run.len());
        self.begin(wire.start(0));
        let read = match wire {
            Wire::Linear(base) => {
                let places = Counted((base - self.base) as u32);
                vectors.run(Copy { run, out: self, places })
            }
            Wire::Map { base, starts } => {
                // Places before the base of the run are none of this text: what wraps around is added back.
                let ahead = base.wrapping_sub(self.base) as u32;
                vectors.run(Copy { run, out: self, places: Mapped { starts, ahead } })
            }
            Wire::Span(..) => memchr::memchr(b'\\', run).map_or(run.len(), |len| {
                self.add(&Decoded::Run(&run[..len], wire));
                len
            }),
        };
        if let Some(last) = read.checked_sub(1) {
            self.end = wire.end(last);
        }
        read
    }

    /// Says that the text is whole, and where its bytes stand.
    pub(crate) fn wire(&mut self) -> (&[u8], Wire<'_>) {
        self.reserve(1);
        self.starts[self.len] = (self.end - self.base) as u32;
        (&self.text[..self.len], Wire::Map { base: self.base, starts: &self.starts[..=self.len] })
    }
}

/// Where the bytes of a run stand, counted from the base of the text they are copied to.
trait Places {
    fn place(&self, at: usize) -> u32;

    /// The places from this one on; None where there are fewer.
    fn places(&self, at: usize) -> Option<[u32; WIDTH]>;
}

/// One after another from here.
struct Counted(u32);

impl Places for Counted {
    #[inline(always)]
    fn place(&self, at: usize) -> u32 {
        self.0 + at as u32
    }

    #[inline(always)]
    fn places(&self, at: usize) -> Option<[u32; WIDTH]> {
        let first = self.0.wrapping_add(at as u32);
        Some(std::array::from_fn(|next| first.wrapping_add(next as u32)))
    }
}

/// As the run's own places say, which are counted from another base.
struct Mapped<'a> {
    starts: &'a [u32],
    ahead: u32,
}

impl Places for Mapped<'_> {
    #[inline(always)]
    fn place(&self, at: usize) -> u32 {
        self.starts[at].wrapping_add(self.ahead)
    }

    #[inline(always)]
    fn places(&self, at: usize) -> Option<[u32; WIDTH]> {
        let starts = self.starts[at..].first_chunk::<WIDTH>()?;
        Some(starts.map(|start| start.wrapping_add(self.ahead)))
    }
}

/// What an escape of two bytes stands for, by its second byte; 0 where it is none.
const SHORT: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    let (seconds, meant) = (b"\"\\/bfnrt", b"\"\\/\x08\x0c\n\r\t");
    while at < seconds.len() {
        table[seconds[at] as usize] = meant[at];
        at += 1;
    }
    table
};

struct Copy<'a, P> {
    run: &'a [u8],
    out: &'a mut Scratch,
    places: P,
}

impl<P: Places> Kernel for Copy<'_, P> {
    type Output = usize;

    #[inline(always)]
    fn run<W: Wide>(mut self, wide: W) -> usize {
        let mut base = 0;
        while base < self.run.len() {
            let rest = &self.run[base..];
            let mut escapes = match rest.first_chunk::<STEP>() {
                Some(block) => wide.marks(block).backslash,
                None => {
                    let mut block = [0; STEP];
                    block[..rest.len()].copy_from_slice(rest);
                    wide.marks(&block).backslash
                }
            };
            let len = rest.len().min(STEP);
            let mut from = 0;
            while escapes != 0 {
                let at = escapes.trailing_zeros() as usize;
                self.piece(base + from, at - from);
                let short = rest.get(at + 1).map_or(0, |second| SHORT[usize::from(*second)]);
                if short == 0 {
                    return base + at;
                }
                self.out.text[self.out.len] = short;
                self.out.starts[self.out.len] = self.places.place(base + at);
                self.out.len += 1;
                from = at + 2;
                escapes &= u64::MAX.checked_shl(from as u32).unwrap_or(0);
            }
            self.piece(base + from, len.saturating_sub(from));
            base += len.max(from);
        }
        base
    }
}

impl<P: Places> Copy<'_, P> {
    /// Copies plain text.
    #[inline(always)]
    fn piece(&mut self, from: usize, len: usize) {
        let out = &mut *self.out;
        let mut done = 0;
        while done < len {
            let (at, to) = (from + done, out.len + done);
            let text = out.text[to..].first_chunk_mut::<WIDTH>();
            let starts = out.starts[to..].first_chunk_mut::<WIDTH>();
            match (text, starts, self.run[at..].first_chunk::<WIDTH>(), self.places.places(at)) {
                (Some(text), Some(starts), Some(bytes), Some(places)) => {
                    *text = *bytes;
                    *starts = places;
                    done += WIDTH;
                }
                _ => {
                    out.text[to] = self.run[at];
                    out.starts[to] = self.places.place(at);
                    done += 1;
                }
            }
        }
        out.len += len;
    }
}
