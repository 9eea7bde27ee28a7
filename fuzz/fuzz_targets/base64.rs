//! Base64: what a text says in base64 is masked as the text itself is, in either alphabet, with padding or without, and stays
//! base64; and nothing depends on where the bytes are cut, whatever the characters.
#![no_main]

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use libfuzzer_sys::fuzz_target;
use sluice_engine::{
    Action, Budget, Collected, Decision, Format, Mask, PatternSpec, Program, RuleSpec, Stop, Stream, StreamOptions,
};
use std::sync::LazyLock;

static ASKS: LazyLock<Program> = LazyLock::new(|| program(PatternSpec::base64));
static PLAIN: LazyLock<Program> = LazyLock::new(|| program(|spec| spec));

// No pattern matches characters of an alphabet alone.
fn program(with: impl Fn(PatternSpec) -> PatternSpec) -> Program {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(with(spec)).expect("valid");
    let mail = add(PatternSpec::regex("mail", "<[a-z]{1,6}@[a-z]{1,4}>"));
    let digit = add(PatternSpec::regex("digit", "[0-9]~"));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("[?~>]")), [mail]));
    builder.rule(RuleSpec::new("digit", Action::Mask(Mask::redact("#")), [digit]));
    builder.build().expect("valid")
}

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    for format in [Format::Raw, Format::Json] {
        let whole = run(&ASKS, format, &[bytes]);
        for chunks in sluice_fuzz::cuts(bytes) {
            assert_eq!(run(&ASKS, format, &chunks), whole, "a cut shows");
        }
    }
    let (encoding, url) = match kind % 4 {
        0 => (BASE64, false),
        1 => (BASE64_NOPAD, false),
        2 => (BASE64URL, true),
        _ => (BASE64URL_NOPAD, true),
    };
    // Of ASCII text the other alphabet's runs begin where quanta do: they say the same.
    // Percent-encoding is decoded in the text, and not in what base64 says.
    let said: Vec<u8> = bytes.iter().map(|byte| byte & 0x7F).filter(|byte| *byte != b'%').collect();
    if said.len() < 6 {
        return;
    }
    let sent = format!("\"{}\"", encoding.encode(&said));
    let (out, _, stop) = run(&ASKS, Format::Raw, &[sent.as_bytes()]);
    assert_eq!(stop, None);
    let out = String::from_utf8(out).expect("text stays text");
    // A mask before any character that tells the alphabet is written in the standard one.
    let out = if url { out.replace('+', "-").replace('/', "_") } else { out };
    let got = encoding.decode(out.trim_matches('"').as_bytes()).expect("base64 stays base64");
    let (wanted, _, _) = run(&PLAIN, Format::Raw, &[&said]);
    // What is missing in a quantum are spaces.
    let squeezed = |text: Vec<u8>| String::from_utf8_lossy(&text).replace(' ', "");
    assert_eq!(squeezed(got), squeezed(wanted), "base64 hides a value");
});

fn run(program: &Program, format: Format, chunks: &[&[u8]]) -> (Vec<u8>, Vec<Decision>, Option<Stop>) {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, StreamOptions::format(format), &Budget::unlimited());
    let pushed = chunks.iter().try_for_each(|chunk| stream.push(Bytes::copy_from_slice(chunk), &mut out));
    let stop = pushed.and_then(|()| stream.finish(&mut out)).err();
    (out.bytes, out.decisions, stop)
}
