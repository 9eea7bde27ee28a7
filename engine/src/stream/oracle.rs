//! The tokenizer beside actson and serde_json, over documents that are made here and then broken, and beside itself: read
//! byte by byte, skimmed, and cut at every place.
//!
//! `SLUICE_DOCUMENTS=1000000 cargo test --release -p sluice-engine oracle` tries as many documents.

use super::escape::{Decoded, Unescape, Wire};
use super::json::{Json, Kind};
use super::skim::Interest;
use crate::filter::Vectors;
use crate::{
    Action, Budget, Collected, Decision, Format, Mask, Matcher, PatternSpec, Program, RuleSpec, Stop, Stream,
    StreamOptions,
};
use actson::feeder::{PushJsonFeeder, SliceJsonFeeder};
use actson::{JsonEvent, JsonParser};
use bytes::Bytes;
use std::sync::LazyLock;

/// Documents that are tried where nothing else is asked for.
const DOCUMENTS: u64 = 4_000;

/// For each kind of vectors a program without rules, and one whose candidates all begin where the filter says.
static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    let program = |(vectors, rules): (&Vectors, bool)| {
        let mut builder = Program::builder();
        builder.vectors(*vectors);
        if rules {
            let words = ["name", "text of", "1234567890", "\\\\a", "rue", "0,\"", "é{["].map(String::from).to_vec();
            let words =
                builder.pattern(PatternSpec::new("words", Matcher::Words { words, nocase: false })).expect("valid");
            let near = PatternSpec::regex("near", "length").near(["true", "name", "😀"], 9);
            let near = builder.pattern(near).expect("valid");
            builder.rule(RuleSpec::new("words", Action::Mask(Mask::redact("<\">")), [words]));
            builder.rule(RuleSpec::new("near", Action::Mask(Mask::redact("\\")), [near]));
            let program = builder.build().expect("valid");
            assert!([words, near].iter().all(|pattern| program.prefilter(*pattern)), "nothing would be skimmed");
            return program;
        }
        builder.build().expect("valid")
    };
    Vectors::available().iter().flat_map(|vectors| [(vectors, false), (vectors, true)]).map(program).collect()
});

/// What a reader tells of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open(char),
    Close(char),
    Name(String),
    Text(String),
    /// A number as it is written, or a literal.
    Scalar(String),
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn document(&mut self) -> String {
        let mut out = String::new();
        self.value(0, &mut out);
        self.space(&mut out);
        out
    }

    fn space(&mut self, out: &mut String) {
        let most = self.pick(&["", "", "", " ", "\n", "\r\n\t", "                              "]);
        out.push_str(most);
    }

    fn value(&mut self, depth: usize, out: &mut String) {
        self.space(out);
        let kinds = if depth < 6 { 8 } else { 4 };
        match self.below(kinds) {
            0 | 1 => self.string(out),
            2 => self.number(out),
            3 => out.push_str(self.pick(&["true", "false", "null"])),
            kind => {
                let object = kind % 2 == 0;
                out.push(if object { '{' } else { '[' });
                self.space(out);
                for at in 0..self.below(5) {
                    if at > 0 {
                        out.push(',');
                    }
                    if object {
                        self.space(out);
                        self.string(out);
                        self.space(out);
                        out.push(':');
                    }
                    self.value(depth + 1, out);
                    self.space(out);
                }
                out.push(if object { '}' } else { ']' });
            }
        }
    }

    fn string(&mut self, out: &mut String) {
        const PARTS: &[&str] = &[
            "a",
            "name",
            "text of some length, ",
            "\\\\",
            "\\\"",
            "\\n",
            "\\/",
            "\\u0041",
            "\\u00e9",
            "\\ud83d\\ude00",
            "é",
            "😀",
            "{[,:]}",
            "n%61me",
            "100 %",
            "\u{7f}",
            "                                                                    ",
            "\\t\\t",
            "\\\\\\\\\\\\",
        ];
        out.push('"');
        let most = if self.below(8) == 0 { 60 } else { 5 };
        // Most strings have no escapes.
        let plain = self.below(3) > 0;
        for _ in 0..self.below(most) {
            let part = self.pick(PARTS);
            if !plain || !part.contains('\\') {
                out.push_str(part);
            }
        }
        out.push('"');
    }

    fn number(&mut self, out: &mut String) {
        out.push_str(self.pick(&["", "", "-"]));
        out.push_str(self.pick(&["0", "7", "42", "1234567890", "90071992547409930000000000000000000000000000"]));
        out.push_str(self.pick(&["", "", ".5", ".0625", ".00000000000000000000000000000000000001"]));
        out.push_str(self.pick(&["", "", "e5", "E+10", "e-7"]));
    }

    /// Puts in, takes out or replaces a few characters.
    fn spoil(&mut self, text: &str) -> String {
        const BYTES: &[&str] = &[
            "\"", "\\", "{", "}", "[", "]", ",", ":", " ", "0", "1", "-", ".", "e", "t", "true", "null", "u", "\n",
            "\0", "\u{1f}", "é",
        ];
        let mut chars: Vec<String> = text.chars().map(String::from).collect();
        for _ in 0..=self.below(2) {
            let at = self.below(chars.len() + 1);
            match self.below(3) {
                0 => chars.insert(at, self.pick(BYTES).into()),
                1 if at < chars.len() => drop(chars.remove(at)),
                2 if at < chars.len() => chars[at] = self.pick(BYTES).into(),
                _ => chars.truncate(at),
            }
        }
        chars.concat()
    }
}

/// The tokens of a text, read byte by byte; where it goes wrong as an error.
fn ours(text: &[u8]) -> Result<Vec<Token>, usize> {
    let mut json = Json::default();
    let (mut tokens, mut from) = (Vec::new(), 0);
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (at, byte) in text.iter().enumerate() {
        let step = json.step(*byte).map_err(|_| at)?;
        if step.scalar_ended {
            tokens.push(Token::Scalar(utf8(&text[from..at])));
        }
        match (step.kind, byte) {
            (Kind::Structure, b'{' | b'[') => tokens.push(Token::Open(*byte as char)),
            (Kind::Structure, b'}' | b']') => tokens.push(Token::Close(*byte as char)),
            (Kind::Open, _) => from = at + 1,
            (Kind::ScalarStart, _) => from = at,
            (Kind::Close, _) => {
                let text = decoded(&text[from..at]).ok_or(at)?;
                tokens.push(if json.expects_colon() { Token::Name(text) } else { Token::Text(text) });
            }
            _ => {}
        }
    }
    if !json.is_between() {
        return Err(text.len());
    }
    if json.in_scalar() {
        tokens.push(Token::Scalar(utf8(&text[from..]).trim_end().into()));
    }
    Ok(tokens)
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    let mut collect = |piece: Decoded<'_>| match piece {
        Decoded::Run(run, _) => out.extend_from_slice(run),
        Decoded::Char(bytes, len, _) => out.extend_from_slice(&bytes[..len]),
    };
    let mut decoder = Unescape::strict();
    decoder.push(text, Wire::Linear(0), &mut collect).ok()?;
    if decoder.is_inside() {
        return None;
    }
    decoder.finish(text.len() as u64, &mut collect);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The tokens of one document, as actson reads it from a slice or in pushes of a few bytes.
fn theirs(text: &[u8], push: Option<usize>) -> Option<Vec<Token>> {
    fn token<F: actson::feeder::JsonFeeder>(event: JsonEvent, parser: &JsonParser<F>) -> Option<Token> {
        let current = || parser.current_str().map(String::from).ok();
        Some(match event {
            JsonEvent::NeedMoreInput => return None,
            JsonEvent::StartObject => Token::Open('{'),
            JsonEvent::EndObject => Token::Close('}'),
            JsonEvent::StartArray => Token::Open('['),
            JsonEvent::EndArray => Token::Close(']'),
            JsonEvent::FieldName => Token::Name(current()?),
            JsonEvent::ValueString => Token::Text(current()?),
            JsonEvent::ValueInt | JsonEvent::ValueFloat => Token::Scalar(current()?),
            JsonEvent::ValueTrue => Token::Scalar("true".into()),
            JsonEvent::ValueFalse => Token::Scalar("false".into()),
            JsonEvent::ValueNull => Token::Scalar("null".into()),
        })
    }
    // At the end of a text it takes the beginning of a literal for the whole.
    let text = &[text, b" "].concat()[..];
    let mut tokens = Vec::new();
    match push {
        None => {
            let mut parser = JsonParser::new(SliceJsonFeeder::new(text));
            while let Some(event) = parser.next_event().ok()? {
                tokens.extend(token(event, &parser));
            }
        }
        Some(step) => {
            let mut parser = JsonParser::new(PushJsonFeeder::new());
            let mut rest = text;
            while let Some(event) = parser.next_event().ok()? {
                tokens.extend(token(event, &parser));
                if event == JsonEvent::NeedMoreInput {
                    let pushed = parser.feeder.push_bytes(&rest[..rest.len().min(step)]);
                    rest = &rest[pushed..];
                    if rest.is_empty() {
                        parser.feeder.done();
                    }
                }
            }
        }
    }
    Some(tokens)
}

/// Something of interest at each of these places; what is skimmed over is noted.
struct Noted<'a, const ESCAPES: bool> {
    places: &'a [usize],
    scalars: Vec<(usize, usize)>,
}

impl<const ESCAPES: bool> Interest for &mut Noted<'_, ESCAPES> {
    const ESCAPES: bool = ESCAPES;

    fn next(&mut self, from: usize) -> usize {
        self.places.iter().copied().find(|place| *place >= from).unwrap_or(usize::MAX)
    }

    fn scalar(&mut self, from: usize, to: usize) {
        self.scalars.push((from, to));
    }
}

/// Reads a text by skimming where that gets on, and by bytes where it doesn't; all along a second one reads each byte.
fn skimmed<const ESCAPES: bool>(text: &[u8], cut: usize, places: &[usize], vectors: Vectors) {
    let (mut json, mut each) = (Json::default(), Json::default());
    for (part, from) in [(&text[..cut], 0), (&text[cut..], cut)] {
        let mut at = 0;
        while at < part.len() {
            let here: Vec<usize> = places.iter().filter_map(|place| place.checked_sub(from + at)).collect();
            let mut noted = Noted::<ESCAPES> { places: &here, scalars: Vec::new() };
            let read = json.skim(&part[at..], vectors, &mut noted);
            let (mut scalars, mut begin, mut of_interest) = (Vec::new(), None, false);
            for (place, byte) in part[at..at + read].iter().enumerate() {
                let step = each.step(*byte).expect("what is skimmed is right");
                if let (true, Some(begin)) = (step.scalar_ended, begin) {
                    scalars.push((begin, place));
                }
                match step.kind {
                    Kind::ScalarStart => begin = Some(place),
                    Kind::Structure | Kind::Open | Kind::Close => begin = None,
                    Kind::Inside => assert!(ESCAPES || *byte != b'\\', "an escape was skimmed"),
                    Kind::Scalar => {}
                }
                of_interest |=
                    !matches!(step.kind, Kind::Structure | Kind::Open | Kind::Close) && here.contains(&place);
            }
            if let (true, Some(begin)) = (each.in_scalar(), begin) {
                // The byte after it, which ends it, was looked at and not read.
                scalars.push((begin, read));
                each.step(b' ').expect("white space may stand after a number");
            }
            assert!(!of_interest, "what is of interest was skimmed");
            assert_eq!(noted.scalars, scalars, "{:?}", String::from_utf8_lossy(text));
            assert_eq!(
                json.position(),
                each.position(),
                "{:?} after {}",
                String::from_utf8_lossy(text),
                from + at + read
            );
            at += read;
            if let Some(byte) = part.get(at) {
                let (one, other) = (json.step(*byte), each.step(*byte));
                // Only one of them knows of a number that was skimmed.
                assert_eq!(
                    one.map(|step| step.kind).map_err(|e| e.reason),
                    other.map(|step| step.kind).map_err(|e| e.reason)
                );
                if one.is_err() {
                    return;
                }
                at += 1;
            }
        }
    }
    assert_eq!(json.position(), each.position());
}

fn through(program: &Program, chunks: &[&[u8]]) -> (Vec<u8>, Vec<Decision>, Option<Stop>) {
    let mut stream = Stream::open(program, StreamOptions::format(Format::Json), &Budget::unlimited());
    let mut out = Collected::default();
    let pushed = chunks.iter().try_for_each(|chunk| stream.push(Bytes::copy_from_slice(chunk), &mut out));
    let stop = pushed.and_then(|()| stream.finish(&mut out)).err();
    (out.bytes, out.decisions, stop)
}

/// Everything that is held of one text.
fn check(text: &str, dice: &mut Dice) {
    let bytes = text.as_bytes();
    let tokens = ours(bytes);
    let one = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    // Half a surrogate pair is text for us, an error for serde_json's values, and for actson the one or the other.
    if !one || serde_json::from_str::<serde_json::Value>(text).is_ok() {
        let theirs_whole = theirs(bytes, None);
        assert_eq!(theirs_whole.is_some(), one, "the two others differ over {text:?}");
        if one {
            assert_eq!(tokens.as_ref().ok(), theirs_whole.as_ref(), "{text:?}");
            assert_eq!(theirs(bytes, Some(dice.below(9) + 1)), theirs_whole, "{text:?}");
        }
    }
    if one {
        assert!(tokens.is_ok(), "refused: {text:?}");
    } else if tokens.is_ok() {
        // Several documents, or none.
        let mut all = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
        assert!(all.all(|document| document.is_ok()), "accepted: {text:?}");
    }
    let mut places: Vec<usize> = (0..dice.below(4)).map(|_| dice.below(bytes.len() + 1)).collect();
    places.sort_unstable();
    for vectors in Vectors::available() {
        let cut = dice.below(bytes.len() + 1);
        skimmed::<false>(bytes, cut, &places, *vectors);
        skimmed::<true>(bytes, cut, &[], *vectors);
    }
    let program = &PROGRAMS[dice.below(PROGRAMS.len())];
    let whole = through(program, &[bytes]);
    assert_eq!(whole.2.is_none(), tokens.is_ok(), "{text:?}: {:?}", whole.2);
    let cut = dice.below(bytes.len() + 1);
    assert_eq!(through(program, &[&bytes[..cut], b"", &bytes[cut..]]), whole, "{text:?} cut at {cut}");
    assert_eq!(through(program, &bytes.chunks(1).collect::<Vec<_>>()), whole, "{text:?} byte by byte");
    let step = dice.below(70) + 1;
    assert_eq!(through(program, &bytes.chunks(step).collect::<Vec<_>>()), whole, "{text:?} in chunks of {step}");
}

#[test]
fn generated_documents_are_read_as_two_independent_parsers_read_them() {
    let asked = std::env::var("SLUICE_DOCUMENTS").ok();
    let count = asked.map_or(DOCUMENTS, |count| count.parse().expect("SLUICE_DOCUMENTS is a number of documents"));
    let mut wrong = 0;
    for seed in 0..count {
        let mut dice = Dice(seed << 20);
        let document = dice.document();
        check(&document, &mut dice);
        let spoilt = dice.spoil(&document);
        wrong += u64::from(ours(spoilt.as_bytes()).is_err());
        check(&spoilt, &mut dice);
    }
    assert!(wrong > count / 4, "only {wrong} of {count} broken documents were refused");
}

#[test]
fn every_cut_of_a_document_gives_the_same_bytes_and_stops_at_the_same_place() {
    for seed in 0..60 {
        let mut dice = Dice(seed << 40 | 1);
        let document = dice.document();
        let document: String = if seed % 2 == 0 { dice.spoil(&document) } else { document };
        let bytes = &document.as_bytes()[..document.len().min(600)];
        for program in PROGRAMS.iter() {
            let whole = through(program, &[bytes]);
            assert_eq!(through(program, &bytes.chunks(1).collect::<Vec<_>>()), whole, "{document:?} byte by byte");
            for cut in 0..=bytes.len() {
                assert_eq!(through(program, &[&bytes[..cut], &bytes[cut..]]), whole, "{document:?} cut at {cut}");
            }
        }
    }
}
