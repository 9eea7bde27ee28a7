//! A pushdown tokenizer for JSON (RFC 8259), one byte at a time, with a cap on depth. It keeps no values.

use super::path::{Bits, Down, MAX_KEY, PathSet};
use crate::program::PatternId;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The deepest nesting of arrays and objects that is read.
pub(crate) const MAX_DEPTH: usize = 256;

/// What a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bracket, a colon, a comma, white space.
    Structure,
    /// The quote that opens a string.
    Open,
    /// A byte inside a string, escapes included.
    Inside,
    /// The quote that closes a string.
    Close,
    /// The first byte of a number or a literal.
    ScalarStart,
    /// A later byte of it.
    Scalar,
}

/// A byte, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// A number or literal ended before this byte.
    pub(crate) scalar_ended: bool,
}

/// Bytes inside a string that were read in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Their number.
    pub(crate) len: usize,
    /// No part of an escape is among them.
    pub(crate) plain: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Json {
    stack: Vec<Level>,
    state: State,
    tracked: Option<Tracked>,
    /// [`Json::place`] is asked for.
    places: bool,
    /// Names of members whose value is a document of its own for paths.
    roots: &'static [&'static str],
}

#[derive(Clone, Debug)]
struct Level {
    object: bool,
    index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value; `close` where the array may end instead.
    Value {
        close: bool,
    },
    /// A member's name; `close` where the object may end instead.
    Name {
        close: bool,
    },
    Colon,
    Comma,
    String {
        name: bool,
        escaped: bool,
    },
    Number(Number),
    Literal {
        rest: &'static [u8],
    },
    /// Between documents.
    Between,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Int,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    fn ends(self) -> bool {
        matches!(self, Self::Zero | Self::Int | Self::Fraction | Self::Exponent)
    }

    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Int, b'0'..=b'9') => Self::Int,
            (Self::Zero | Self::Int, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Int | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            _ => return None,
        })
    }
}

/// What is followed where a plan has paths, or where it matters which values stand in the same place.
#[derive(Clone, Debug)]
struct Tracked {
    /// The spots at each depth; the last one is where the next value stands.
    levels: Vec<Spot>,
    value: Spot,
    name: Vec<u8>,
    name_too_long: bool,
}

/// Where a value stands in its document.
#[derive(Clone, Debug)]
struct Spot {
    /// The places of paths that hold there.
    bits: Bits,
    /// The names and indices that lead there, as one number.
    place: u64,
}

impl Spot {
    fn root(paths: &PathSet) -> Self {
        Self { bits: paths.roots(), place: 0 }
    }

    fn down(&self, step: Down<'_>, paths: &PathSet) -> Self {
        let mut hasher = DefaultHasher::new();
        self.place.hash(&mut hasher);
        match step {
            Down::Key(name) => name.hash(&mut hasher),
            Down::Index(index) => index.hash(&mut hasher),
        }
        Self { bits: paths.down(&self.bits, step), place: hasher.finish() }
    }
}

impl Json {
    pub(crate) fn new(paths: &PathSet, roots: &'static [&'static str]) -> Self {
        let mut json = Self { stack: Vec::new(), state: State::Between, tracked: None, places: false, roots };
        if !paths.is_empty() {
            json.track(paths);
        }
        json
    }

    /// The same, and [`Json::place`] tells where texts stand.
    pub(crate) fn with_places(paths: &PathSet, roots: &'static [&'static str]) -> Self {
        let mut json = Self { places: true, ..Self::new(paths, roots) };
        json.track(paths);
        json
    }

    fn track(&mut self, paths: &PathSet) {
        self.tracked =
            Some(Tracked { levels: Vec::new(), value: Spot::root(paths), name: Vec::new(), name_too_long: false });
    }

    /// Where the text that begins now stands: texts of the same place in two documents have the same number. None where it
    /// is a member's name, and without [`Json::with_places`].
    pub(crate) fn place(&self) -> Option<u64> {
        match self.state {
            State::String { name: false, .. } if self.places => {
                self.tracked.as_ref().map(|tracked| tracked.value.place)
            }
            _ => None,
        }
    }

    /// True between documents.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Between || (self.stack.is_empty() && matches!(self.state, State::Number(n) if n.ends()))
    }

    pub(crate) fn in_string(&self) -> bool {
        matches!(self.state, State::String { .. })
    }

    /// Reads as many of these bytes as are inside the string, escapes included, up to a quote that ends it or a control
    /// character.
    #[inline]
    pub(crate) fn take_inside(&mut self, bytes: &[u8]) -> Inside {
        let State::String { mut escaped, name } = self.state else { return Inside { len: 0, plain: true } };
        let (mut at, mut plain) = (0, !escaped);
        loop {
            if escaped {
                match bytes.get(at) {
                    Some(byte) if *byte >= 0x20 => (at, escaped) = (at + 1, false),
                    // What follows the backslash hasn't come, or is refused when it is read by itself.
                    _ => break,
                }
            }
            match special(&bytes[at..]) {
                Some(found) if bytes[at + found] == b'\\' => {
                    at += found + 1;
                    (plain, escaped) = (false, true);
                }
                Some(found) => {
                    at += found;
                    break;
                }
                None => {
                    at = bytes.len();
                    break;
                }
            }
        }
        self.state = State::String { escaped, name };
        if let (true, Some(tracked)) = (name, &mut self.tracked) {
            tracked.extend_name(&bytes[..at]);
        }
        Inside { len: at, plain }
    }

    /// How many of these bytes go on with the number or literal that is being read.
    pub(crate) fn scalar_len(&self, bytes: &[u8]) -> usize {
        match self.state {
            State::Number(_) => {
                bytes.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')).count()
            }
            State::Literal { .. } => bytes.iter().take_while(|b| b.is_ascii_lowercase()).count(),
            _ => 0,
        }
    }

    /// The patterns that select the value which begins now.
    pub(crate) fn selected(&self, paths: &PathSet) -> Vec<PatternId> {
        match (&self.tracked, self.state) {
            (Some(tracked), State::String { name: false, .. } | State::Number(_) | State::Literal { .. }) => {
                paths.selected(&tracked.value.bits)
            }
            _ => Vec::new(),
        }
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// What was expected in its place.
    #[inline]
    pub(crate) fn step(&mut self, byte: u8, paths: &PathSet) -> Result<Step, &'static str> {
        let mut scalar_ended = false;
        if let State::Number(number) = self.state {
            if let Some(next) = number.next(byte) {
                self.state = State::Number(next);
                return Ok(Step { kind: Kind::Scalar, scalar_ended });
            }
            if !number.ends() {
                return Err("a number breaks off");
            }
            scalar_ended = true;
            self.value_ended();
            if self.state == State::Between && !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Err("expected white space after a number");
            }
        }
        let kind = self.dispatch(byte, paths)?;
        Ok(Step { kind, scalar_ended })
    }

    fn dispatch(&mut self, byte: u8, paths: &PathSet) -> Result<Kind, &'static str> {
        match self.state {
            State::String { name, escaped } => {
                if byte < 0x20 {
                    return Err("a control character in a string must be escaped");
                }
                match byte {
                    b'"' if !escaped => {
                        if name {
                            self.state = State::Colon
                        } else {
                            self.value_ended()
                        }
                        return Ok(Kind::Close);
                    }
                    _ => self.state = State::String { name, escaped: byte == b'\\' && !escaped },
                }
                if let (true, Some(tracked)) = (name, &mut self.tracked) {
                    tracked.extend_name(&[byte]);
                }
                Ok(Kind::Inside)
            }
            State::Literal { rest } => {
                let (first, rest) = rest.split_first().ok_or("a literal breaks off")?;
                if *first != byte {
                    return Err("expected `true`, `false` or `null`");
                }
                if rest.is_empty() {
                    self.value_ended()
                } else {
                    self.state = State::Literal { rest }
                }
                Ok(Kind::Scalar)
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(Kind::Structure),
            State::Between => {
                if let Some(tracked) = &mut self.tracked {
                    tracked.levels.clear();
                    tracked.value = Spot::root(paths);
                }
                self.value(byte)
            }
            State::Value { close } => {
                if close && byte == b']' {
                    return self.close(false);
                }
                self.enter_element(paths);
                self.value(byte)
            }
            State::Name { close } => match byte {
                b'"' => {
                    if let Some(tracked) = &mut self.tracked {
                        tracked.name.clear();
                        tracked.name_too_long = false;
                    }
                    self.state = State::String { name: true, escaped: false };
                    Ok(Kind::Open)
                }
                b'}' if close => self.close(true),
                _ => Err("expected a member's name"),
            },
            State::Colon => {
                if byte != b':' {
                    return Err("expected `:`");
                }
                self.enter_member(paths);
                self.state = State::Value { close: false };
                Ok(Kind::Structure)
            }
            State::Comma => match (byte, self.stack.last_mut()) {
                (b',', Some(level)) => {
                    level.index += 1;
                    self.state =
                        if level.object { State::Name { close: false } } else { State::Value { close: false } };
                    Ok(Kind::Structure)
                }
                (b'}', Some(level)) if level.object => self.close(true),
                (b']', Some(level)) if !level.object => self.close(false),
                _ => Err("expected `,` or the closing bracket"),
            },
            State::Number(_) => unreachable!("numbers are handled before"),
        }
    }

    fn value(&mut self, byte: u8) -> Result<Kind, &'static str> {
        self.state = match byte {
            b'"' => {
                self.state = State::String { name: false, escaped: false };
                return Ok(Kind::Open);
            }
            b'{' | b'[' => {
                if self.stack.len() >= MAX_DEPTH {
                    return Err("nested too deep");
                }
                let object = byte == b'{';
                self.stack.push(Level { object, index: 0 });
                if let Some(tracked) = &mut self.tracked {
                    tracked.levels.push(tracked.value.clone());
                }
                self.state = if object { State::Name { close: true } } else { State::Value { close: true } };
                return Ok(Kind::Structure);
            }
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Int),
            b't' => State::Literal { rest: b"rue" },
            b'f' => State::Literal { rest: b"alse" },
            b'n' => State::Literal { rest: b"ull" },
            _ => return Err("expected a value"),
        };
        Ok(Kind::ScalarStart)
    }

    fn close(&mut self, object: bool) -> Result<Kind, &'static str> {
        match self.stack.pop() {
            Some(level) if level.object == object => {
                if let Some(tracked) = &mut self.tracked {
                    tracked.levels.pop();
                }
                self.value_ended();
                Ok(Kind::Structure)
            }
            _ => Err("the bracket closes nothing"),
        }
    }

    fn value_ended(&mut self) {
        self.state = if self.stack.is_empty() { State::Between } else { State::Comma };
    }

    fn enter_element(&mut self, paths: &PathSet) {
        if let (Some(tracked), Some(level)) = (&mut self.tracked, self.stack.last())
            && !level.object
            && let Some(spot) = tracked.levels.last()
        {
            tracked.value = spot.down(Down::Index(level.index), paths);
        }
    }

    fn enter_member(&mut self, paths: &PathSet) {
        let Some(tracked) = &mut self.tracked else { return };
        let Some(spot) = tracked.levels.last() else { return };
        // Names are compared as decoded text; a name too long for any path selects by wildcards alone.
        let name = unescaped(if tracked.name_too_long { b"" } else { &tracked.name });
        tracked.value = spot.down(Down::Key(&name), paths);
        if self.roots.iter().any(|root| root.as_bytes() == &*name) {
            paths.add_roots(&mut tracked.value.bits);
        }
    }
}

impl Tracked {
    fn extend_name(&mut self, bytes: &[u8]) {
        self.name_too_long |= self.name.len() + bytes.len() > MAX_KEY;
        if !self.name_too_long {
            self.name.extend_from_slice(bytes);
        }
    }
}

/// The place of the first byte that a string doesn't have as it stands: a quote, a backslash, a control character. Most
/// strings are short, so the first bytes are looked at by words; groups become vector instructions.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    if let found @ Some(_) = special_by_words(&bytes[..bytes.len().min(NEAR)]) {
        return found;
    }
    let far = bytes.get(NEAR..)?;
    let (groups, rest) = far.as_chunks::<64>();
    let any = |group: &[u8; 64]| group.iter().fold(false, |found, byte| found | is_special(*byte));
    let in_groups = groups.iter().position(any);
    let from = NEAR + in_groups.map_or(far.len() - rest.len(), |group| group * 64);
    special_by_words(&bytes[from..]).map(|at| from + at)
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

#[inline]
fn special_by_words(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        // A borrow may mark bytes above the first one, never one below it.
        let found = quote | backslash | control;
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| is_special(*byte)).map(|at| words.len() * 8 + at)
}

fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    use super::escape::{Decoded, Unescape, Wire};
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut collect = |piece: Decoded<'_>| match piece {
        Decoded::Run(run, _) => out.extend_from_slice(run),
        Decoded::Char(bytes, len, _) => out.extend_from_slice(&bytes[..len]),
    };
    let mut decoder = Unescape::default();
    // The lenient decoder has no errors.
    let _ = decoder.push(name, Wire::Linear(0), &mut collect);
    decoder.finish(name.len() as u64, &mut collect);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &[u8]) -> bool {
        let paths = PathSet::default();
        let mut json = Json::new(&paths, &[]);
        text.iter().all(|byte| json.step(*byte, &paths).is_ok()) && json.is_between()
    }

    #[test]
    fn it_reads_what_is_json() {
        for text in
            ["{}", "[]", r#"{"a":[1,-2.5e+3,true,null,"x\"y"],"b":{}}"#, "12", " [ 1 , 2 ] ", r#""""#, "0", "[0]\n{}"]
        {
            assert!(accepts(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn it_refuses_what_is_not() {
        for text in [
            "{",
            "]",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            "01",
            "-",
            "1.",
            "tru",
            "\"a\nb\"",
            "{\"a\":1,}",
            "[1 2]",
            "nul!",
            "{]",
        ] {
            assert!(!accepts(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_special_in_a_string_is_found_wherever_it_stands() {
        for len in 0..200 {
            let plain: Vec<u8> = (0..len).map(|at| [b' ', b'#', b'[', b']', 0x7f, 0x80, 0xff, b'!'][at % 8]).collect();
            assert_eq!(special(&plain), None);
            for at in 0..len {
                for byte in [b'"', b'\\', 0, 0x1f] {
                    let mut text = plain.clone();
                    text[at] = byte;
                    // What follows doesn't count, nor do bytes that differ in one bit.
                    text[at + 1..].fill(0x21);
                    assert_eq!(special(&text), Some(at), "{byte} at {at} of {len}");
                    text[at + 1..].fill(byte);
                    assert_eq!(special(&text), Some(at), "{byte} from {at} of {len}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn taking_the_inside_of_a_string_in_one_go_is_reading_it_byte_by_byte(
            text in proptest::collection::vec(proptest::sample::select(b"\"\\u0041nab \n\x7f\xc3".to_vec()), 0..80),
            cut in 0..80_usize,
        ) {
            let paths = PathSet::default();
            let open = || {
                let mut json = Json::new(&paths, &[]);
                json.step(b'"', &paths).expect("a quote");
                json
            };
            let (mut once, mut each) = (open(), open());
            let cut = cut.min(text.len());
            for part in [&text[..cut], &text[cut..]] {
                let was = each.state;
                let inside = once.take_inside(part);
                for byte in &part[..inside.len] {
                    proptest::prop_assert_eq!(each.step(*byte, &paths).map(|step| step.kind), Ok(Kind::Inside));
                }
                proptest::prop_assert_eq!(once.state, each.state);
                let goes_on = matches!(was, State::String { escaped: true, .. });
                proptest::prop_assert_eq!(inside.plain, !goes_on && !part[..inside.len].contains(&b'\\'));
                match part.get(inside.len) {
                    None => {}
                    Some(b'"') => return Ok(()),
                    Some(byte) => {
                        proptest::prop_assert!(*byte < 0x20);
                        return Ok(());
                    }
                }
            }
        }
    }

    #[test]
    fn depth_is_capped() {
        let paths = PathSet::default();
        let mut json = Json::new(&paths, &[]);
        for _ in 0..MAX_DEPTH {
            assert!(json.step(b'[', &paths).is_ok());
        }
        assert_eq!(json.step(b'[', &paths), Err("nested too deep"));
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_an_independent_parser(text in r#"[\[\]{}:,"\\0-9eE.+\-truefalsn a]{0,12}"#) {
            // serde_json reads one document and checks escapes, which are the decoder's business here.
            proptest::prop_assume!(!text.contains('\\'));
            let one = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            if one {
                proptest::prop_assert!(accepts(text.as_bytes()));
            } else if accepts(text.as_bytes()) {
                // Several documents, or none.
                let mut all = serde_json::Deserializer::from_str(&text).into_iter::<serde::de::IgnoredAny>();
                proptest::prop_assert!(all.all(|document| document.is_ok()));
            }
        }
    }
}
