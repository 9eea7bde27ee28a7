//! Base64 (RFC 4648, sections 4 and 5, with padding or without), decoded while it passes for the patterns that ask.
//!
//! A run of characters of the alphabet is decoded from its first one, which stands after a byte outside the alphabet or at
//! the start of the text. The two alphabets have runs of their own: `-` ends one and goes on with the other. Line breaks
//! end a run. All bytes of a quantum of four characters stand for these four on the wire, so that what claims one of them
//! claims the quantum.

use super::escape::{Decoded, Scratch, Wire};
use super::lane::{Coding, Lane, Shared};

/// Shorter runs, in characters without padding, are words and not read as base64.
pub(crate) const SHORTEST: u64 = 8;

/// Characters of both alphabets have their value; the other two of each are told by these bits.
const STANDARD: u8 = 0x40;
const URL: u8 = 0x80;
const OTHER: u8 = 0xFF;

/// What a byte is in base64.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [OTHER; 256];
    let mut value = 0;
    while value < 26 {
        kinds[b'A' as usize + value] = value as u8;
        kinds[b'a' as usize + value] = value as u8 + 26;
        value += 1;
    }
    let mut value = 0;
    while value < 10 {
        kinds[b'0' as usize + value] = value as u8 + 52;
        value += 1;
    }
    kinds[b'+' as usize] = STANDARD | 62;
    kinds[b'/' as usize] = STANDARD | 63;
    kinds[b'-' as usize] = URL | 62;
    kinds[b'_' as usize] = URL | 63;
    kinds
}

/// What stands in base64 in one text.
#[derive(Clone, Debug)]
pub(crate) struct Base64 {
    standard: Run,
    url: Run,
    /// No character so far tells the alphabets apart: the run of the one is that of the other, and read once.
    one: bool,
}

/// The current run of one alphabet.
#[derive(Clone, Debug)]
struct Run {
    /// Its characters so far; 0 outside of a run.
    len: u64,
    /// Where it begins on the wire.
    start: u64,
    /// The characters of an unfinished quantum: how many, their bits, and where they stand on the wire.
    count: u8,
    bits: u32,
    from: u64,
    to: u64,
    /// Characters of padding so far.
    padding: u8,
    /// What is decoded and not yet read.
    decoded: Scratch,
    /// The lane has read the beginning of this run.
    open: bool,
    lane: Lane,
}

impl Base64 {
    /// In a text that is percent-encoded this often.
    pub(crate) fn new(percent: usize) -> Self {
        let run = |url| Run {
            len: 0,
            start: 0,
            count: 0,
            bits: 0,
            from: 0,
            to: 0,
            padding: 0,
            decoded: Scratch::default(),
            open: false,
            lane: Lane::new(0).coded(Coding::Base64 { url, run: 0, percent }),
        };
        Self { standard: run(false), url: run(true), one: true }
    }

    /// The same runs, in a text that is percent-encoded this often.
    pub(crate) fn percent(&self, times: usize) -> Self {
        let mut same = self.clone();
        for (url, run) in [(false, &mut same.standard), (true, &mut same.url)] {
            run.lane.code(Some(Coding::Base64 { url, run: run.start, percent: times }));
        }
        same
    }

    /// Reads a run of text, for the patterns that ask for base64.
    pub(crate) fn read(&mut self, run: &[u8], wire: Wire<'_>, shared: &mut Shared<'_>) {
        let Some(plan) = shared.plan.base64.as_deref() else { return };
        let shared = &mut shared.with_plan(plan);
        let mut at = 0;
        while at < run.len() {
            if self.is_idle() {
                at += self.skip(&run[at..]);
                if at == run.len() {
                    break;
                }
            }
            let kind = KINDS[usize::from(run[at])];
            let place = (wire.start(at), wire.end(at));
            if kind != OTHER && (self.standard.padding > 0 || self.url.padding > 0) {
                // After padding a run begins in either alphabet.
                self.close_runs(shared);
            }
            match kind {
                OTHER => {
                    self.standard.other(run[at], place.1, shared);
                    self.url.other(run[at], place.1, shared);
                    self.one = self.is_idle();
                }
                0..STANDARD => {
                    self.standard.push(kind, place);
                    if !self.one {
                        self.url.push(kind, place);
                    }
                }
                STANDARD..URL => {
                    // What both claim is written in the standard alphabet, however the text is cut.
                    self.standard.feed(shared);
                    self.url.end(shared);
                    self.one = false;
                    self.standard.push(kind & 63, place);
                }
                URL.. => {
                    if self.one {
                        // What was read in either alphabet goes on in this one.
                        self.standard.feed(shared);
                        std::mem::swap(&mut self.standard, &mut self.url);
                        self.standard.lane.swap_alphabet();
                        self.url.lane.swap_alphabet();
                    } else {
                        self.standard.end(shared);
                    }
                    self.one = false;
                    self.url.push(kind & 63, place);
                }
            }
            at += 1;
        }
        self.standard.feed(shared);
        self.url.feed(shared);
    }

    fn is_idle(&self) -> bool {
        self.standard.len == 0 && self.url.len == 0
    }

    /// The bytes at the start of a text, outside of runs, that are in no run that is long enough.
    fn skip(&self, text: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let run = text[at..].iter().take_while(|byte| KINDS[usize::from(**byte)] != OTHER).count();
            if at + run == text.len() || run as u64 >= SHORTEST {
                return at;
            }
            at += run + 1;
            if at == text.len() {
                return at;
            }
        }
    }

    /// The text ends, and with it what stands in it.
    pub(crate) fn close(&mut self, shared: &mut Shared<'_>) {
        let Some(plan) = shared.plan.base64.as_deref() else { return };
        let shared = &mut shared.with_plan(plan);
        self.close_runs(shared);
    }

    fn close_runs(&mut self, shared: &mut Shared<'_>) {
        self.standard.end(shared);
        self.url.end(shared);
        self.one = true;
    }

    /// Where on the wire the earliest undecided byte stands.
    pub(crate) fn undecided(&self) -> Option<u64> {
        [self.standard.undecided(), self.url.undecided()].into_iter().flatten().min()
    }

    /// All runs that go on began after this place on the wire.
    pub(crate) fn begins_after(&self, wire: u64) -> bool {
        [&self.standard, &self.url].iter().all(|run| run.len == 0 || run.start > wire)
    }

    /// Memory, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        let runs = [&self.standard, &self.url].map(|run| run.lane.overhead() + run.decoded.memory());
        size_of::<Self>() + runs.iter().sum::<usize>()
    }

    /// Frees what the text, which is over, has taken to be decoded.
    pub(crate) fn shrink(&mut self) {
        self.standard.decoded.shrink();
        self.url.decoded.shrink();
    }
}

impl Run {
    /// The next character, by its value and its place on the wire.
    fn push(&mut self, value: u8, (start, end): (u64, u64)) {
        if self.len == 0 {
            self.start = start;
        }
        if self.count == 0 {
            self.from = start;
        }
        self.len += 1;
        self.to = end;
        self.bits = self.bits << 6 | u32::from(value);
        self.count += 1;
        if self.count == 4 {
            self.decode(self.bits, 3);
        }
    }

    /// The first bytes of these 24 bits are decoded.
    fn decode(&mut self, bits: u32, len: usize) {
        let [_, a, b, c] = bits.to_be_bytes();
        self.decoded.add(&Decoded::Char([a, b, c, 0], len, Wire::Span(self.from, self.to)));
        (self.count, self.bits) = (0, 0);
    }

    /// A byte outside the alphabet: padding, or the end of the run.
    fn other(&mut self, byte: u8, end: u64, shared: &mut Shared<'_>) {
        // Of a run that is too short nothing waits.
        if byte == b'=' && self.count >= 2 && self.len >= SHORTEST {
            self.padding += 1;
            self.to = end;
            if self.padding + self.count < 4 {
                return;
            }
        }
        self.end(shared);
    }

    /// The lane reads what is decoded.
    fn feed(&mut self, shared: &mut Shared<'_>) {
        if self.len < SHORTEST || self.decoded.is_empty() {
            return;
        }
        if !self.open {
            self.open = true;
            self.lane.restart(self.start);
        }
        let (text, wire) = self.decoded.wire();
        self.lane.scan(text, wire, false, shared);
        self.decoded.clear();
    }

    /// The run ends.
    fn end(&mut self, shared: &mut Shared<'_>) {
        if self.len >= SHORTEST {
            match self.count {
                2 => self.decode(self.bits << 12, 1),
                3 => self.decode(self.bits << 6, 2),
                // One character alone is no byte.
                _ => {}
            }
            self.feed(shared);
            self.lane.close(true, shared);
        }
        self.decoded.clear();
        (self.len, self.count, self.bits, self.padding, self.open) = (0, 0, 0, 0, false);
    }

    /// Where on the wire the earliest undecided byte stands.
    fn undecided(&self) -> Option<u64> {
        match self.len {
            0 => None,
            1..SHORTEST => Some(self.start),
            _ => self.lane.undecided().into_iter().chain((self.count > 0).then_some(self.from)).min(),
        }
    }
}

/// Where a value stands in a run of base64, with the bytes that share its first and last quantum.
#[derive(Clone, Debug)]
pub(crate) struct Quanta {
    /// Where the run begins on the wire.
    pub(crate) run: u64,
    pub(crate) url: bool,
    /// How often the run is percent-encoded.
    pub(crate) percent: usize,
    /// The place of the value, in bytes of what the run says.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl Quanta {
    /// Writes whole quanta with `mask` in the place of the value: the bytes around it stay, but for those before it unless
    /// they `lead`, and those after it that are `masked` by their place. What is missing in the last quantum are spaces.
    pub(crate) fn encode(&self, mask: &[u8], lead: bool, masked: impl Fn(u64) -> bool) -> Vec<u8> {
        let mut text = if lead { self.before.clone() } else { Vec::new() };
        text.extend_from_slice(mask);
        let after = self.after.iter().zip(self.to..).filter(|(_, place)| !masked(*place));
        let after: Vec<u8> = after.map(|(byte, _)| *byte).collect();
        text.resize((text.len() + after.len()).next_multiple_of(3) - after.len(), b' ');
        text.extend(after);
        let encoding = if self.url { data_encoding::BASE64URL_NOPAD } else { data_encoding::BASE64_NOPAD };
        let mut encoded = encoding.encode(&text).into_bytes();
        super::percent::encode(&mut encoded, 0, self.percent);
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quanta(text: &[u8], from: usize, to: usize) -> Quanta {
        let after = text[to..text.len().min(to.next_multiple_of(3))].to_vec();
        let before = text[from / 3 * 3..from].to_vec();
        Quanta { run: 0, url: false, percent: 0, from: from as u64, to: to as u64, before, after }
    }

    #[test]
    fn what_shares_a_quantum_with_a_value_stays_and_the_mask_is_filled_up() {
        let decode = |text: Vec<u8>| data_encoding::BASE64.decode(&text).expect("whole quanta");
        let quanta = quanta(b"ab12345cdefg", 2, 7);
        assert_eq!(decode(quanta.encode(b"*****", true, |_| false)), b"ab*****cd");
        assert_eq!(decode(quanta.encode(b"[x]", true, |_| false)), b"ab[x]  cd");
        assert_eq!(decode(quanta.encode(b"[x]", false, |place| place == 8)), b"[x]  c");
    }
}
