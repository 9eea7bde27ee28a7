//! Contents that a message carries in base64 (`blob` of a resource, `data` of an image or a sound). Where they are text, the
//! rules look at the text; what isn't text passes as it came.

use super::inspect::{Inspector, Released};
use bytes::{Bytes, BytesMut};
use data_encoding::{BASE64, BASE64_NOPAD, Encoding};
use serde::de::IgnoredAny;
use sluice_engine::{
    Action, Budget, Decision, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSet, RuleSpec,
};
use sluice_engine::{Sink, Stop, Stream, StreamOptions};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;

/// Where such contents stand.
const PLACES: [&str; 3] = ["$..blob", "$..content[*].data", "$..content.data"];

/// So much of a value tells whether it is text, in bytes as sent.
const SAMPLE: usize = 8 * 1024;

/// The longest value that is held to be read as text, in bytes as sent; a longer one that is text is refused.
const HELD: usize = 8 * 1024 * 1024;

/// Base64 whose last letter may say more bits than are left.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut lenient = BASE64_NOPAD.specification();
    lenient.check_trailing_bits = false;
    lenient.encoding().expect("it differs from one that is right by a check less")
});

/// Finds the values: the engine says where they begin and end, and what it would put in their place doesn't count.
static FINDER: LazyLock<Program> = LazyLock::new(|| {
    let mut builder = Program::builder();
    for (index, place) in PLACES.iter().enumerate() {
        let path = JsonPath::parse(place).expect("each path above is well formed");
        let pattern = builder.pattern(PatternSpec::new(*place, Matcher::Json(path))).expect("a path is a pattern");
        builder.rule(RuleSpec::new(format!("place {index}"), Action::Mask(Mask::redact("")), [pattern]));
    }
    builder.build().expect("rules of one path each are a program")
});

/// The contents of one stream of messages.
pub(crate) struct Blobs(Option<Finding>);

struct Finding {
    finder: Stream,
    found: Found,
    /// Up to here the finder has told what is what, in bytes from the start of the stream.
    at: u64,
    /// What came and has not left.
    window: BytesMut,
    /// Where the window begins: after `at` where a value that is no text leaves without waiting for its end.
    start: u64,
    rules: RuleSet,
    budget: Budget,
}

/// What the finder told, in order.
#[derive(Default)]
struct Found {
    parts: VecDeque<Part>,
    spans: VecDeque<Range<u64>>,
}

enum Part {
    Other(usize),
    Value,
}

impl Sink for Found {
    fn clean(&mut self, bytes: Bytes) {
        self.parts.push_back(Part::Other(bytes.len()));
    }
    fn masked(&mut self, _: &[u8]) {
        self.parts.push_back(Part::Value);
    }
    fn decision(&mut self, decision: &Decision) {
        // A value that stands at two places is one value.
        if self.spans.back() != Some(&decision.span) {
            self.spans.push_back(decision.span.clone());
        }
    }
}

impl Blobs {
    /// Contents that these rules inspect.
    pub(crate) fn new(format: Format, rules: &RuleSet, budget: &Budget) -> Self {
        let finder = || {
            let options = StreamOptions { format, ..StreamOptions::default() };
            Finding {
                finder: Stream::open(&FINDER, options, budget),
                found: Found::default(),
                at: 0,
                window: BytesMut::new(),
                start: 0,
                rules: rules.clone(),
                budget: budget.clone(),
            }
        };
        Self((!rules.is_empty() && format != Format::Raw).then(finder))
    }

    /// Reads what the rules of `program` released; `last`: nothing follows.
    pub(crate) fn pass(&mut self, program: &Program, released: &mut Released, last: bool) {
        let Some(finding) = &mut self.0 else { return };
        let (mut out, bytes) = (BytesMut::new(), std::mem::take(&mut released.bytes));
        let read = finding.read(bytes, last && released.stop.is_none(), program, released, &mut out);
        released.stop = released.stop.take().or(read.err());
        released.bytes = out.freeze();
    }
}

impl Finding {
    fn read(
        &mut self,
        bytes: Bytes,
        last: bool,
        program: &Program,
        released: &mut Released,
        out: &mut BytesMut,
    ) -> Result<(), Stop> {
        self.window.extend_from_slice(&bytes);
        let mut told = self.finder.push(bytes, &mut self.found);
        if told.is_ok() && self.finder.awaits_event() {
            // No value of this kind goes on in another event.
            told = self.finder.decide(&mut self.found);
        }
        if told.is_ok() && last {
            told = self.finder.finish(&mut self.found);
        }
        while let Some(part) = self.found.parts.pop_front() {
            let waits = self.start == self.at;
            self.at = match &part {
                Part::Other(len) => self.at + *len as u64,
                Part::Value => self.found.spans.pop_front().map_or(self.at, |span| span.end),
            };
            let len = usize::try_from(self.at.saturating_sub(self.start)).unwrap_or(usize::MAX);
            let bytes = self.window.split_to(len.min(self.window.len())).freeze();
            self.start += bytes.len() as u64;
            match part {
                Part::Value if waits => out.extend_from_slice(&self.inspect(bytes, program, released)?),
                _ => out.extend_from_slice(&bytes),
            }
        }
        told?;
        self.wait(out)
    }

    /// A value that has not ended: it waits while it may be text.
    fn wait(&mut self, out: &mut BytesMut) -> Result<(), Stop> {
        let leaves = self.start > self.at;
        if leaves || (self.window.len() >= SAMPLE && !is_text(&self.window)) {
            self.start += self.window.len() as u64;
            out.extend_from_slice(&self.window.split());
        } else if self.window.len() > HELD {
            let reason = "the text is too long to be read";
            return Err(Stop::Undecodable { at: self.start, format: "base64", reason });
        }
        Ok(())
    }

    /// A whole value as it may pass.
    fn inspect(&self, value: Bytes, program: &Program, released: &mut Released) -> Result<Bytes, Stop> {
        if !is_text(&value) {
            return Ok(value);
        }
        let text = Bytes::from(decode(&value));
        let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        let format = if is_json { Format::Json } else { Format::Raw };
        let options = StreamOptions { format, rules: Some(self.rules.clone()), ..StreamOptions::default() };
        let inspected = Inspector::open(program, options, &self.budget).whole(text);
        released.decisions.extend(inspected.decisions);
        if let Some(stop) = inspected.stop {
            return Err(stop);
        }
        released.masked |= inspected.masked;
        Ok(if inspected.masked { Bytes::from(BASE64.encode(&inspected.bytes)) } else { value })
    }
}

/// The bytes that a value stands for, as the most lenient reader would have them: escapes of JSON undone, either alphabet,
/// everything else passed over.
fn decode(value: &[u8]) -> Vec<u8> {
    let quoted = [&b"\""[..], value, b"\""].concat();
    let unescaped = value.contains(&b'\\').then(|| serde_json::from_slice::<String>(&quoted).ok()).flatten();
    let value = unescaped.as_deref().map_or(value, str::as_bytes);
    let mut letters: Vec<u8> = value
        .iter()
        .filter_map(|byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'+' | b'/' => Some(*byte),
            byte if byte.is_ascii_alphanumeric() => Some(*byte),
            _ => None,
        })
        .collect();
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    LENIENT.decode(&letters).unwrap_or_default()
}

/// Whether the beginning of a value stands for text: no control characters but those of text.
fn is_text(value: &[u8]) -> bool {
    let sample = decode(&value[..value.len().min(SAMPLE)]);
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0x1b);
    !sample.is_empty() && !sample.iter().any(control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_engine::Matcher;

    const MAIL: &str = "bob@example.com";

    fn program() -> Program {
        let mut builder = Program::builder();
        let mail =
            builder.pattern(PatternSpec::new("mail", Matcher::Regex(r"[a-z]{1,9}@example\.com".into()))).unwrap();
        builder.rule(RuleSpec::new("mask", Action::Mask(Mask::redact("[mail]")), [mail]));
        builder.build().unwrap()
    }

    /// What leaves of a message that comes in these pieces.
    fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Stop> {
        let (program, budget) = (program(), Budget::unlimited());
        let mut blobs = Blobs::new(Format::Json, &program.all_rules(), &budget);
        let mut out = Vec::new();
        let mut pieces = pieces.into_iter().map(Bytes::copy_from_slice).peekable();
        while let Some(bytes) = pieces.next() {
            let mut released = Released { bytes, decisions: Vec::new(), masked: false, stop: None };
            blobs.pass(&program, &mut released, pieces.peek().is_none());
            out.extend_from_slice(&released.bytes);
            if let Some(stop) = released.stop {
                return Err(stop);
            }
        }
        Ok(out)
    }

    fn resource(blob: &str) -> String {
        format!(
            r#"{{"result":{{"contents":[{{"uri":"a","blob":"{blob}","mimeType":"x"}},{{"blob":""}},{{"blob":7}}]}}}}"#
        )
    }

    fn whole(blob: &str) -> String {
        String::from_utf8(passed([resource(blob).as_bytes()]).unwrap()).unwrap()
    }

    #[test]
    fn text_in_base64_is_masked_and_written_anew() {
        let text = format!("who?\u{ff}\n{MAIL}");
        let masked = resource(&BASE64.encode(text.replace(MAIL, "[mail]").as_bytes()));
        let plain = BASE64.encode(text.as_bytes());
        assert!(plain.contains('/'), "an alphabet makes a difference: {plain}");
        let spaced = format!("{}\\n{}", &plain[..8], &plain[8..]);
        let escaped: String = plain.bytes().map(|letter| format!("\\u{letter:04x}")).collect();
        for blob in [
            &plain,
            plain.trim_end_matches('='),
            &plain.replace('/', "\\/"),
            &plain.replace('/', "_").replace('+', "-"),
            &spaced,
            &escaped,
        ] {
            assert_eq!(whole(blob), masked, "{blob}");
        }
        let json = r#"{"who":"bob\u0040example.com"}"#;
        let masked = json.replace("bob\\u0040example.com", "[mail]");
        assert_eq!(whole(&BASE64.encode(json.as_bytes())), resource(&BASE64.encode(masked.as_bytes())));
    }

    #[test]
    fn what_no_rule_touches_passes_as_it_was_written() {
        let image = [&b"\x89PNG\r\n\x1a\n\0\0"[..], MAIL.as_bytes()].concat();
        for blob in [BASE64.encode(&image), BASE64.encode(b"clean"), "Y2xlYW4\\u003d\\/".into(), "no base64!".into()] {
            assert_eq!(whole(&blob), resource(&blob));
        }
    }

    #[test]
    fn a_value_cut_anywhere_gives_the_same_bytes() {
        let image: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        for blob in [BASE64.encode(format!("ask {MAIL} now").as_bytes()), BASE64.encode(&image)] {
            let message = resource(&blob);
            let expected = passed([message.as_bytes()]).unwrap();
            let step = message.len() / 97 + 1;
            for at in (1..message.len()).step_by(step) {
                let (first, second) = message.as_bytes().split_at(at);
                assert_eq!(passed([first, second]).unwrap(), expected, "cut at {at}");
            }
            assert_eq!(passed(message.as_bytes().chunks(7)).unwrap(), expected);
        }
    }

    #[test]
    fn a_large_image_does_not_wait_and_text_without_end_is_refused() {
        let image = BASE64.encode(&[0; 3 << 20]);
        let (program, budget) = (program(), Budget::unlimited());
        let mut blobs = Blobs::new(Format::Json, &program.all_rules(), &budget);
        let open = Bytes::from(resource(&image)[..4 << 20].to_owned());
        let mut released = Released { bytes: open.clone(), decisions: Vec::new(), masked: false, stop: None };
        blobs.pass(&program, &mut released, false);
        assert_eq!(released.bytes, open);

        let text = BASE64.encode(&vec![b'a'; 7 << 20]);
        let message = resource(&text);
        let refused = passed(message.as_bytes().chunks(1 << 20));
        assert!(matches!(refused, Err(Stop::Undecodable { format: "base64", .. })), "{refused:?}");
    }

    #[test]
    fn what_is_data_elsewhere_is_not_decoded() {
        let mail = BASE64.encode(MAIL.as_bytes());
        let message =
            format!(r#"{{"result":{{"structuredContent":{{"data":"{mail}"}},"content":[{{"data":"{mail}"}}]}}}}"#);
        let out = String::from_utf8(passed([message.as_bytes()]).unwrap()).unwrap();
        let image = out.rfind(&BASE64.encode(b"[mail]")).unwrap();
        assert!(out.find(&mail).unwrap() < image && out.matches(&mail).count() == 1, "{out}");
    }
}
