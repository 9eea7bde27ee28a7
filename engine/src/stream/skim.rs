//! Whole values of JSON read by their marks, 64 bytes at a time, where nobody asks what they say.
//!
//! What a block of 64 bytes consists of is told by vectors ([`crate::filter::vectors::marks`]); from quotes follows what is inside
//! of strings, and the few bytes that make the grammar are looked at one by one. Skimming stops before the first string,
//! number or literal that is of interest, breaks off or is wrong: [`Json::step`] reads it, and says what is wrong.

use super::escape::Wire;
use super::json::{Json, MAX_DEPTH, Open, State};
use super::resolve::Output;
use crate::filter::Starts;
use crate::filter::vectors::marks::Marks;
use crate::filter::vectors::{Kernel, STEP, Vectors, Wide};

/// The longest number that is skimmed, in bytes.
const LONGEST_NUMBER: usize = 64;

/// What is of interest in the bytes that are skimmed.
pub(super) trait Interest {
    /// Strings with escapes are none.
    const ESCAPES: bool;

    /// The first place at or after this one that is of interest, or one before it where it is itself.
    fn next(&mut self, from: usize) -> usize;

    /// A number or literal stands here.
    fn scalar(&mut self, from: usize, to: usize);
}

/// Of interest is where candidates may begin.
pub(super) struct Beginnings<'a> {
    /// Sorted by their first place.
    pub(super) starts: &'a [Starts],
    /// The place of the first byte that is skimmed, as they count.
    pub(super) offset: usize,
}

impl Interest for Beginnings<'_> {
    const ESCAPES: bool = false;

    #[inline]
    fn next(&mut self, from: usize) -> usize {
        while let Some((first, rest)) = self.starts.split_first() {
            if first.to as usize >= self.offset + from {
                return (first.from as usize).saturating_sub(self.offset);
            }
            self.starts = rest;
        }
        usize::MAX
    }

    #[inline(always)]
    fn scalar(&mut self, _: usize, _: usize) {}
}

/// What was found of the inside of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    /// The bytes before the quote that ends it or a control character.
    pub(super) len: usize,
    /// No part of an escape is among them.
    pub(super) plain: bool,
    /// The byte after them is escaped.
    pub(super) escaped: bool,
}

/// Looks for the end of a string from inside of it; `escaped` where a backslash stands before.
pub(super) fn look_inside(bytes: &[u8], escaped: bool, vectors: Vectors) -> Ahead {
    vectors.run(Look { bytes, escaped })
}

struct Look<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl Kernel for Look<'_> {
    type Output = Ahead;

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) -> Ahead {
        let Self { bytes, escaped } = self;
        let mut carry = u64::from(escaped);
        let mut plain = !escaped;
        let mut base = 0;
        while base < bytes.len() {
            let rest = &bytes[base..];
            let marks = marks(wide, rest);
            let escapes = escaped_by(marks.backslash, &mut carry);
            let ends = marks.quote & !escapes | marks.control;
            let end = (ends.trailing_zeros() as usize).min(rest.len());
            let before = 1u64.checked_shl(end as u32).map_or(u64::MAX, |bit| bit - 1);
            plain &= marks.backslash & before == 0;
            if end < STEP {
                return Ahead { len: base + end, plain, escaped: escapes >> end & 1 == 1 };
            }
            base += STEP;
        }
        Ahead { len: bytes.len(), plain, escaped: carry != 0 }
    }
}

/// The marks of the next bytes; after the last one stand spaces.
#[inline(always)]
fn marks<W: Wide>(wide: W, rest: &[u8]) -> Marks {
    match rest.first_chunk::<STEP>() {
        Some(block) => wide.marks(block),
        None => {
            let mut block = [b' '; STEP];
            block[..rest.len()].copy_from_slice(rest);
            wide.marks(&block)
        }
    }
}

/// The numbers and literals of a document inside a string, for masks in them; nothing else is of interest.
pub(super) struct Scalars<'a> {
    pub(super) output: &'a mut Output,
    pub(super) depth: usize,
    /// Where the bytes that are skimmed stand.
    pub(super) wire: Wire<'a>,
}

impl Interest for Scalars<'_> {
    const ESCAPES: bool = true;

    #[inline(always)]
    fn next(&mut self, _: usize) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn scalar(&mut self, from: usize, to: usize) {
        self.output.open_scalar(self.wire.start(from), self.depth);
        self.output.close_scalar(self.wire.start(to));
    }
}

/// What the grammar expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A value.
    Value,
    /// A value, or the end of the array.
    First,
    /// A member's name.
    Name,
    /// A member's name, or the end of the object.
    FirstName,
    Colon,
    Comma,
    /// A document.
    Document,
}

impl Expect {
    /// None inside of a string, a number or a literal.
    fn of(state: State) -> Option<Self> {
        Some(match state {
            State::Value { close: false } => Self::Value,
            State::Value { close: true } => Self::First,
            State::Name { close: false } => Self::Name,
            State::Name { close: true } => Self::FirstName,
            State::Colon => Self::Colon,
            State::Comma => Self::Comma,
            State::Between => Self::Document,
            State::String { .. } | State::Number(_) | State::Literal { .. } => return None,
        })
    }

    fn state(self) -> State {
        match self {
            Self::Value | Self::First => State::Value { close: self == Self::First },
            Self::Name | Self::FirstName => State::Name { close: self == Self::FirstName },
            Self::Colon => State::Colon,
            Self::Comma => State::Comma,
            Self::Document => State::Between,
        }
    }
}

impl Json {
    /// Reads whole values, and the structure around them, up to what is of interest. The number of bytes read is given back;
    /// no value that is selected or passes unread is among them.
    pub(super) fn skim(&mut self, bytes: &[u8], vectors: Vectors, interest: impl Interest) -> usize {
        let Some(expect) = Expect::of(self.state) else { return 0 };
        let depth = self.open.depth;
        let deaf = self.trackers().map(|tracker| tracker.deaf()).min();
        let floor = match deaf {
            Some(0) => return 0,
            // The bracket after which something may be selected is read by itself.
            Some(deaf) => depth - deaf + 1,
            None => 0,
        };
        let (read, expect) = vectors.run(Skim { bytes, interest, floor, expect, open: &mut self.open });
        self.state = expect.state();
        let left = self.open.depth;
        self.trackers().for_each(|tracker| tracker.stay_deaf(tracker.deaf() + left - depth));
        read
    }
}

struct Skim<'a, I> {
    bytes: &'a [u8],
    interest: I,
    /// Brackets are closed as long as there are more open than this.
    floor: usize,
    expect: Expect,
    open: &'a mut Open,
}

/// What stands at a place can't be read here.
struct Strange;

impl<I: Interest> Kernel for Skim<'_, I> {
    type Output = (usize, Expect);

    #[inline(always)]
    fn run<W: Wide>(mut self, wide: W) -> Self::Output {
        let read = self.blocks(wide);
        (read, self.expect)
    }
}

impl<I: Interest> Skim<'_, I> {
    /// Reads block after block; gives back where what was not read begins.
    #[inline(always)]
    fn blocks<W: Wide>(&mut self, wide: W) -> usize {
        let bytes = self.bytes;
        let mut limit = self.interest.next(0);
        // The first control character or escape in a string: the string is not read.
        let mut bad = usize::MAX;
        // The opening quote of the string that is being read, and all bits set inside of one.
        let (mut begin, mut inside) = (0, 0u64);
        // The block before ended with a backslash that escapes; inside a number or literal.
        let (mut escapes, mut in_scalar) = (0u64, 0u64);
        let mut base = 0;
        while base < bytes.len() {
            let rest = &bytes[base..];
            let marks = marks(wide, rest);
            let quotes =
                if I::ESCAPES { marks.quote & !escaped_by(marks.backslash, &mut escapes) } else { marks.quote };
            let mut reading = inside != 0;
            // From each opening quote to the byte before the closing one.
            let strings = prefix_xor(quotes) ^ inside;
            inside = (strings as i64 >> 63) as u64;
            let wrong = strings & marks.control | if I::ESCAPES { 0 } else { marks.backslash | marks.percent };
            if wrong != 0 {
                bad = bad.min(base + wrong.trailing_zeros() as usize);
            }
            let scalars = !(strings | quotes | marks.structural | marks.white);
            let begins = scalars & !(scalars << 1 | in_scalar);
            in_scalar = scalars >> 63;
            let mut tokens = quotes | marks.structural & !strings | begins;
            while tokens != 0 {
                let at = base + tokens.trailing_zeros() as usize;
                tokens &= tokens - 1;
                if reading {
                    if bad < at || (limit < at && !self.passes(begin + 1, at, &mut limit)) {
                        return begin;
                    }
                    reading = false;
                    let name = matches!(self.expect, Expect::Name | Expect::FirstName);
                    self.expect = if name { Expect::Colon } else { self.ended() };
                } else {
                    match self.token(at, &mut limit) {
                        Ok(string) => reading = string,
                        Err(Strange) => return at,
                    }
                    begin = at;
                }
            }
            base += STEP;
            if inside != 0 && (bad < base || (begin < limit && limit < base.min(bytes.len()))) {
                return begin;
            }
        }
        if inside != 0 { begin } else { bytes.len() }
    }

    /// Looks for what is of interest anew; true where nothing is from here to there.
    #[cold]
    fn passes(&mut self, from: usize, to: usize, limit: &mut usize) -> bool {
        *limit = self.interest.next(from);
        *limit >= to
    }

    #[inline(always)]
    fn ended(&self) -> Expect {
        if self.open.depth == 0 { Expect::Document } else { Expect::Comma }
    }

    /// Reads what begins here; true where it is a string.
    #[inline(always)]
    fn token(&mut self, at: usize, limit: &mut usize) -> Result<bool, Strange> {
        use Expect::{Colon, Comma, Document, First, FirstName, Name, Value};
        let deeper = self.open.depth < MAX_DEPTH;
        let shallower = self.open.depth > self.floor;
        self.expect = match (self.bytes[at], self.expect) {
            (b'"', Name | FirstName | Value | First | Document) => return Ok(true),
            (b':', Colon) => Value,
            (b',', Comma) => match self.open.last() {
                Some(true) => Name,
                _ => Value,
            },
            (b'{', Value | First | Document) if deeper => {
                self.open.push(true);
                FirstName
            }
            (b'[', Value | First | Document) if deeper => {
                self.open.push(false);
                First
            }
            (b'}', Comma | FirstName) if shallower && self.open.last() == Some(true) => self.close(),
            (b']', Comma | First) if shallower && self.open.last() == Some(false) => self.close(),
            (first, Value | First) => {
                let to = at + scalar(first, &self.bytes[at..]).ok_or(Strange)?;
                if *limit < to && !self.passes(at, to, limit) {
                    return Err(Strange);
                }
                self.interest.scalar(at, to);
                self.ended()
            }
            _ => return Err(Strange),
        };
        Ok(false)
    }

    #[inline(always)]
    fn close(&mut self) -> Expect {
        self.open.depth -= 1;
        self.ended()
    }
}

/// The length of the number or literal that begins with this byte; None where it is neither, and where its end isn't there.
#[inline(always)]
fn scalar(first: u8, bytes: &[u8]) -> Option<usize> {
    let literal = |text: &[u8]| bytes.starts_with(text).then_some(text.len());
    let len = match first {
        b'-' | b'0'..=b'9' => number(bytes)?,
        b't' => literal(b"true")?,
        b'f' => literal(b"false")?,
        b'n' => literal(b"null")?,
        _ => return None,
    };
    matches!(bytes.get(len)?, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r').then_some(len)
}

/// The length of the number that begins here; None where it is none, goes on to the end, or is too long.
#[inline(always)]
fn number(bytes: &[u8]) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(LONGEST_NUMBER)];
    let digits = |at: usize| bytes[at..].iter().position(|byte| !byte.is_ascii_digit());
    let some_digits = |at: usize| digits(at).filter(|count| *count > 0);
    let mut at = usize::from(bytes[0] == b'-');
    at += if *bytes.get(at)? == b'0' { 1 } else { some_digits(at)? };
    if *bytes.get(at)? == b'.' {
        at += 1 + some_digits(at + 1)?;
    }
    if matches!(bytes[at], b'e' | b'E') {
        let signed = matches!(bytes.get(at + 1)?, b'+' | b'-');
        at += 1 + usize::from(signed);
        at += some_digits(at)?;
    }
    Some(at)
}

/// The bytes before the next long string with escapes, and the bytes of what is there of it. `inside` where the first byte
/// belongs to a string. It is a guess: what stands before a string may not be JSON.
pub(super) fn escaped_ahead(bytes: &[u8], inside: bool, vectors: Vectors) -> (usize, usize) {
    /// Strings below this are looked at as they stand, with what is around them.
    const LONG: usize = 512;
    let mut at = 0;
    if inside {
        let string = look_inside(bytes, false, vectors);
        if !string.plain && string.len >= LONG {
            return (0, string.len);
        }
        at = string.len;
    }
    while let Some(backslash) = memchr::memchr(b'\\', &bytes[at..]) {
        let open = memchr::memrchr(b'"', &bytes[at..at + backslash]).map_or(at, |quote| at + quote + 1);
        let string = look_inside(&bytes[open..], false, vectors);
        if string.len >= LONG {
            return (open, string.len);
        }
        at = (open + string.len).max(at + backslash + 1);
    }
    (bytes.len(), 0)
}

/// The exclusive or of each bit and all below it.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The bytes that a backslash before them escapes; `carry` is set where it stands at the end of the block before.
#[inline(always)]
fn escaped_by(backslash: u64, carry: &mut u64) -> u64 {
    if backslash == 0 {
        return std::mem::take(carry);
    }
    const EVEN: u64 = u64::MAX / 3;
    // A backslash that is itself escaped begins nothing.
    let begins = backslash & !*carry;
    let follows = begins << 1 | *carry;
    // The runs of backslashes that begin at odd places: there the escaped places are the even ones.
    let odd = begins & !EVEN & !follows;
    let (sum, overflow) = odd.overflowing_add(begins);
    let invert = sum << 1;
    let escaped = (EVEN ^ invert) & follows;
    *carry = u64::from(overflow);
    escaped
}
