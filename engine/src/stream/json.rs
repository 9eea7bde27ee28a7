//! A pushdown tokenizer for JSON (RFC 8259), one byte at a time, with a cap on depth. It keeps no values.

use super::skim::{Ahead, look_inside};
use super::track::Tracker;
use crate::filter::Vectors;
use crate::program::PatternId;

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

/// A byte that can't stand where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What was expected in its place.
    pub(crate) reason: &'static str,
    /// A number or literal ended before it, as it should. Where the byte can't stand after one, what that holds was judged by
    /// what should have followed, and nothing of it leaves.
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

#[derive(Clone, Debug, Default)]
pub(crate) struct Json {
    pub(super) open: Open,
    pub(super) state: State,
    /// What paths of rules are followed by.
    rules: Option<Box<Tracker>>,
    /// What the paths of values that pass unread are followed by.
    exempt: Option<Box<Tracker>>,
}

/// The arrays and objects that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) depth: usize,
    /// Which of them are objects, a bit for each.
    objects: [u64; MAX_DEPTH / 64],
}

impl Open {
    #[inline(always)]
    pub(super) fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
    }

    /// Whether the innermost is an object; None where nothing is open.
    #[inline(always)]
    pub(super) fn last(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.objects[last / 64] >> (last % 64) & 1 == 1)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
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
    /// What is still to come of it; its end is known by the next byte, as that of a number.
    Literal {
        rest: &'static [u8],
    },
    /// Between documents.
    #[default]
    Between,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
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

impl Json {
    /// A tokenizer with what follows the paths of rules, and those of values that pass unread.
    pub(crate) fn new(rules: Option<Tracker>, exempt: Option<Tracker>) -> Self {
        Self { rules: rules.map(Box::new), exempt: exempt.map(Box::new), ..Self::default() }
    }

    pub(super) fn trackers(&mut self) -> impl Iterator<Item = &mut Tracker> {
        self.rules.iter_mut().chain(&mut self.exempt).map(|tracker| &mut **tracker)
    }

    /// Where the text that begins now stands: texts of the same place in two documents have the same number. None where it
    /// is a member's name, and where places aren't followed.
    pub(crate) fn place(&self) -> Option<u64> {
        match self.state {
            State::String { name: false, .. } => self.rules.as_ref()?.place(),
            _ => None,
        }
    }

    /// A value begins now, which paths may select.
    fn is_value(&self) -> bool {
        matches!(self.state, State::String { name: false, .. } | State::Number(_) | State::Literal { .. })
    }

    /// The patterns that select the value which begins now.
    pub(crate) fn selected(&self) -> Vec<PatternId> {
        match &self.rules {
            Some(rules) if self.is_value() => rules.selected(),
            _ => Vec::new(),
        }
    }

    /// The value that begins now passes unread.
    pub(crate) fn is_exempt(&self) -> bool {
        self.is_value() && self.exempt.as_ref().is_some_and(|exempt| !exempt.selected().is_empty())
    }

    /// True between documents.
    pub(crate) fn is_between(&self) -> bool {
        let ends = match self.state {
            State::Between => true,
            State::Number(number) => number.ends(),
            State::Literal { rest } => rest.is_empty(),
            _ => false,
        };
        ends && self.open.depth == 0
    }

    /// Where the tokenizer stands in the grammar: what is expected, and what is open.
    #[cfg(test)]
    pub(super) fn position(&self) -> (State, Vec<bool>) {
        let mut open = self.open.clone();
        let mut kinds = Vec::new();
        while let Some(kind) = open.last() {
            kinds.push(kind);
            open.depth -= 1;
        }
        (self.state, kinds)
    }

    /// A member's name has ended.
    #[cfg(test)]
    pub(super) fn expects_colon(&self) -> bool {
        self.state == State::Colon
    }

    /// A number or literal may end here.
    #[cfg(test)]
    pub(super) fn in_scalar(&self) -> bool {
        matches!(self.state, State::Number(_) | State::Literal { .. })
    }

    pub(crate) fn in_string(&self) -> bool {
        matches!(self.state, State::String { .. })
    }

    /// Reads as many of these bytes as are inside the string, escapes included, up to a quote that ends it or a control
    /// character.
    #[inline]
    pub(crate) fn take_inside(&mut self, bytes: &[u8], vectors: Vectors) -> Inside {
        let State::String { escaped, name } = self.state else { return Inside { len: 0, plain: true } };
        let Ahead { len, plain, escaped } = look_inside(bytes, escaped, vectors);
        self.state = State::String { escaped, name };
        if name {
            self.trackers().for_each(|tracker| tracker.extend_name(&bytes[..len]));
        }
        Inside { len, plain }
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

    /// Reads a byte.
    ///
    /// # Errors
    /// Where the byte can't stand here.
    #[inline]
    pub(crate) fn step(&mut self, byte: u8) -> Result<Step, Wrong> {
        let ends = matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let wrong = |scalar_ended: bool| move |reason| Wrong { reason, scalar_ended: scalar_ended && ends };
        let scalar_ended = match self.state {
            State::Number(number) => {
                if let Some(next) = number.next(byte) {
                    self.state = State::Number(next);
                    return Ok(Step { kind: Kind::Scalar, scalar_ended: false });
                }
                if !number.ends() {
                    return Err(wrong(false)("a number breaks off"));
                }
                true
            }
            State::Literal { rest } => rest.is_empty(),
            _ => false,
        };
        if scalar_ended {
            self.value_ended();
            if self.state == State::Between && !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Err(wrong(true)("expected white space after a number or literal"));
            }
        }
        let kind = self.dispatch(byte).map_err(wrong(scalar_ended))?;
        Ok(Step { kind, scalar_ended })
    }

    fn dispatch(&mut self, byte: u8) -> Result<Kind, &'static str> {
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
                if name {
                    self.trackers().for_each(|tracker| tracker.extend_name(&[byte]));
                }
                Ok(Kind::Inside)
            }
            State::Literal { rest } => {
                let (first, rest) = rest.split_first().ok_or("a literal breaks off")?;
                if *first != byte {
                    return Err("expected `true`, `false` or `null`");
                }
                self.state = State::Literal { rest };
                Ok(Kind::Scalar)
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(Kind::Structure),
            State::Between => {
                self.trackers().for_each(Tracker::restart);
                self.value(byte)
            }
            State::Value { close } => {
                if close && byte == b']' {
                    return self.close(false);
                }
                if self.open.last() == Some(false) {
                    self.trackers().for_each(Tracker::enter_element);
                }
                self.value(byte)
            }
            State::Name { close } => match byte {
                b'"' => {
                    self.trackers().for_each(Tracker::begin_name);
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
                self.trackers().for_each(Tracker::enter_member);
                self.state = State::Value { close: false };
                Ok(Kind::Structure)
            }
            State::Comma => match (byte, self.open.last()) {
                (b',', Some(object)) => {
                    self.trackers().for_each(Tracker::next);
                    self.state = if object { State::Name { close: false } } else { State::Value { close: false } };
                    Ok(Kind::Structure)
                }
                (b'}', Some(true)) => self.close(true),
                (b']', Some(false)) => self.close(false),
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
                if self.open.depth >= MAX_DEPTH {
                    return Err("nested too deep");
                }
                let object = byte == b'{';
                self.open.push(object);
                self.trackers().for_each(Tracker::push);
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
        if self.open.last() != Some(object) {
            return Err("the bracket closes nothing");
        }
        self.open.depth -= 1;
        self.trackers().for_each(Tracker::pop);
        self.value_ended();
        Ok(Kind::Structure)
    }

    fn value_ended(&mut self) {
        self.state = if self.open.depth == 0 { State::Between } else { State::Comma };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &[u8]) -> bool {
        let mut json = Json::default();
        text.iter().all(|byte| json.step(*byte).is_ok()) && json.is_between()
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

    proptest::proptest! {
        #[test]
        fn taking_the_inside_of_a_string_in_one_go_is_reading_it_byte_by_byte(
            text in proptest::collection::vec(proptest::sample::select(b"\"\\\\u0041nab \n\x7f\xc3".to_vec()), 0..200),
            cut in 0..200_usize,
        ) {
            for vectors in Vectors::available() {
                let open = || {
                    let mut json = Json::default();
                    json.step(b'"').expect("a quote");
                    json
                };
                let (mut once, mut each) = (open(), open());
                let cut = cut.min(text.len());
                for part in [&text[..cut], &text[cut..]] {
                    let was = each.state;
                    let inside = once.take_inside(part, *vectors);
                    for byte in &part[..inside.len] {
                        proptest::prop_assert_eq!(each.step(*byte).map(|step| step.kind), Ok(Kind::Inside));
                    }
                    proptest::prop_assert_eq!(once.state, each.state);
                    let goes_on = matches!(was, State::String { escaped: true, .. });
                    proptest::prop_assert_eq!(inside.plain, !goes_on && !part[..inside.len].contains(&b'\\'));
                    match part.get(inside.len) {
                        None => {}
                        Some(b'"') => break,
                        Some(byte) => {
                            proptest::prop_assert!(*byte < 0x20);
                            break;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn depth_is_capped() {
        let mut json = Json::default();
        for _ in 0..MAX_DEPTH {
            assert!(json.step(b'[').is_ok());
        }
        assert_eq!(json.step(b'[').map_err(|wrong| wrong.reason), Err("nested too deep"));
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
