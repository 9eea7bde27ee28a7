//! A match is found wherever it stands in a block of 64 bytes and wherever a chunk ends, on every kind of vectors.

use bytes::Bytes;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use sluice_engine::{
    Action, Budget, Collected, Decision, Mask, Matcher, PatternSpec, Program, RuleSpec, Stream, StreamOptions, Vectors,
};
use std::io::Write as _;
use std::ops::Range;

/// Places that are looked at in one go by the widest vectors, in bytes.
const BLOCK: usize = 64;

/// What the matches are embedded in: like enough to all of them to bring false candidates, and no match itself.
const AROUND: &[u8] = b"~ 12 a@ sk_ 4 .co SEL @b -- 77 key= d0 ~ ";

/// A pattern of one kind, the same as an expression for the plain matcher, and a match of it.
struct Kind {
    spec: PatternSpec,
    reference: String,
    value: &'static str,
    filtered: bool,
}

fn kinds() -> Vec<Kind> {
    let regex = |name: &str, source: &str, value, filtered| Kind {
        spec: PatternSpec::regex(name, source),
        reference: source.into(),
        value,
        filtered,
    };
    let words = |name: &str, words: Vec<String>, nocase, value| Kind {
        reference: format!("(?{}:{})", if nocase { "i" } else { "s" }, words.join("|")),
        spec: PatternSpec::new(name, Matcher::Words { words, nocase }),
        value,
        filtered: true,
    };
    let many = (0..3000).map(|word| format!("w{word:04}x")).collect();
    vec![
        regex("literal at the start", r"sk_live_[0-9a-z]{8}", "sk_live_0a1b2c3d", true),
        regex("rare byte after a bounded start", r"\b[a-z.]{1,12}@[a-z]{1,8}\.com\b", "ann.lee@mail.com", true),
        regex("classes alone", r"\b[0-9]{4}-[0-9]{4}-[0-9]{4}\b", "4111-2222-3333", true),
        regex("longer than a block", r"BEG[x]{70}END", BLOCK_LONG, true),
        regex("no window", r"\b[a-z ]{3}[a-z]{2}\b", "gh ij", false),
        words("a word", vec!["DROP TABLE".into()], false, "DROP TABLE"),
        words("words of any case", vec!["union select".into(), "xp_cmdshell".into()], true, "UnIoN SeLeCt"),
        words("thousands of words", many, true, "W1234X"),
    ]
}

const BLOCK_LONG: &str =
    concat!("BEG", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "END");

/// The same program on each path, with the name of the path.
fn programs(kind: &Kind) -> Vec<(Vectors, Program)> {
    let program = |vectors: &Vectors| {
        let mut builder = Program::builder();
        builder.vectors(*vectors);
        let pattern = builder.pattern(kind.spec.clone()).expect("valid");
        builder.rule(RuleSpec::new("r", Action::Mask(Mask::redact("#")), [pattern]));
        let program = builder.build().expect("valid");
        assert_eq!(program.prefilter(pattern), kind.filtered, "{}", kind.spec.name);
        (*vectors, program)
    };
    Vectors::available().iter().map(program).collect()
}

fn run<'a>(program: &Program, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Decision>) {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
    for chunk in chunks {
        stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("no rule blocks");
    }
    stream.finish(&mut out).expect("no rule blocks");
    (out.bytes, out.decisions)
}

/// What a plain matcher finds, and the text with it masked.
fn expected(regex: &Regex, text: &[u8]) -> (Vec<u8>, Vec<Range<u64>>) {
    let (mut masked, mut spans, mut from) = (Vec::new(), Vec::new(), 0);
    for found in regex.find_iter(text) {
        masked.extend_from_slice(&text[from..found.start()]);
        masked.push(b'#');
        from = found.end();
        spans.push(found.start() as u64..found.end() as u64);
    }
    masked.extend_from_slice(&text[from..]);
    (masked, spans)
}

fn plain(kind: &Kind) -> Regex {
    let config = syntax::Config::new().unicode(false).utf8(false);
    Regex::builder().syntax(config).build(&kind.reference).expect("valid")
}

/// The value after so many bytes, with text behind it that is longer than a block.
fn embedded(before: usize, value: &str) -> Vec<u8> {
    let around = |len: usize| AROUND.iter().copied().cycle().take(len);
    // The byte next to the value is a sign, so that it stands alone.
    let lead = around(before.saturating_sub(1)).chain((before > 0).then_some(b'~'));
    lead.chain(value.bytes()).chain(*b"~").chain(around(BLOCK + 9)).collect()
}

fn agrees(kind: &Kind, wanted: &(Vec<u8>, Vec<Range<u64>>), got: &(Vec<u8>, Vec<Decision>), what: &str) {
    let spans: Vec<Range<u64>> = got.1.iter().map(|decision| decision.span.clone()).collect();
    assert_eq!(spans, wanted.1, "{}: {what}", kind.spec.name);
    assert_eq!(got.0, wanted.0, "{}: {what}", kind.spec.name);
}

#[test]
fn a_match_is_found_at_every_place_of_a_block() {
    for kind in kinds() {
        let (programs, regex) = (programs(&kind), plain(&kind));
        for before in 0..=2 * BLOCK {
            let text = embedded(before, kind.value);
            let wanted = expected(&regex, &text);
            let span = before as u64..(before + kind.value.len()) as u64;
            assert!(wanted.1.contains(&span), "{}: the plain matcher misses it at {before}", kind.spec.name);
            for (vectors, program) in &programs {
                agrees(&kind, &wanted, &run(program, [&*text]), &format!("{vectors:?}, {before} bytes before"));
            }
        }
    }
}

#[test]
fn a_match_is_found_wherever_a_chunk_ends_in_it_and_around_it() {
    for kind in kinds() {
        let (programs, regex) = (programs(&kind), plain(&kind));
        for before in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 5] {
            let text = embedded(before, kind.value);
            let wanted = expected(&regex, &text);
            for (vectors, program) in &programs {
                for cut in 0..=text.len() {
                    let (head, tail) = text.split_at(cut);
                    let what = format!("{vectors:?}, {before} bytes before, cut at {cut}");
                    agrees(&kind, &wanted, &run(program, [head, tail]), &what);
                }
            }
        }
    }
}

#[test]
fn a_match_is_found_at_every_place_of_equal_chunks() {
    for kind in kinds() {
        let (programs, regex) = (programs(&kind), plain(&kind));
        for size in [1, 7, BLOCK - 1, BLOCK, BLOCK + 1] {
            for before in 0..size {
                let text = embedded(before, kind.value);
                let wanted = expected(&regex, &text);
                for (vectors, program) in &programs {
                    let what = format!("{vectors:?}, {before} bytes before, chunks of {size}");
                    agrees(&kind, &wanted, &run(program, text.chunks(size)), &what);
                }
            }
        }
    }
}

/// Patterns that share buckets of windows, with a match of each.
const TOGETHER: &[(&str, &str)] = &[
    (r"(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}\b", "(335) 978-6878"),
    (r"\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b", "123-45-6789"),
    (r"\b(?:4[0-9]{3}|5[1-5][0-9]{2})[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b", "4111 1111 1111 1111"),
    (r"\b3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}\b", "3782 822463 10005"),
    (r"\b[0-9A-F]{2}(?:[:-][0-9A-F]{2}){5}\b", "0A:1B:2C:3D:4E:5F"),
    (r"\b0[1-9](?:[ .][0-9]{2}){4}\b", "01 23 45 67 89"),
    (r"\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\b", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
    (r"\b(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}\b", "2001:db8::ec35:1f5"),
    (r"\b[a-z0-9._%+-]{1,32}@[a-z0-9.-]{1,63}\.[a-z]{2,8}\b", "ann.lee@mail.example.com"),
    (r#"\b[a-z][a-z0-9+.-]{1,15}://[^ :/@"\r\n]{1,64}:[^ /@"\r\n]{1,64}@"#, "https://ann:secret@"),
    (r"\bgh[pousr]_[A-Za-z0-9]{12}\b", "ghp_0a1B2c3D4e5F"),
];

#[test]
fn matches_of_patterns_that_are_looked_for_together_are_found_wherever_a_chunk_ends() {
    for vectors in Vectors::available() {
        let mut builder = Program::builder();
        builder.vectors(*vectors);
        for (at, (source, _)) in TOGETHER.iter().enumerate() {
            let pattern = builder.pattern(PatternSpec::regex(format!("p{at}"), *source)).expect("valid");
            builder.rule(RuleSpec::new(format!("r{at}"), Action::Alert, [pattern]));
        }
        let program = builder.build().expect("valid");
        for (at, (source, value)) in TOGETHER.iter().enumerate() {
            let text = format!("~ see <{value}> and on ~");
            let span = 7..7 + value.len() as u64;
            for cut in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(cut);
                let found = run(&program, [head, tail])
                    .1
                    .into_iter()
                    .any(|decision| decision.pattern.index() == at && decision.span == span);
                assert!(found, "{vectors:?}: {source} is missed where a chunk ends after {cut} bytes");
            }
        }
    }
}

#[test]
fn what_this_machine_cannot_run_is_told() {
    let missing: Vec<_> =
        [Vectors::Avx512, Vectors::Avx2].into_iter().filter(|path| !Vectors::available().contains(path)).collect();
    assert!(Vectors::available().contains(&Vectors::Portable));
    if !missing.is_empty() {
        // Not through `eprintln!`, which shows nothing while a test passes.
        let _ = writeln!(std::io::stderr(), "NOT TESTED on this machine, it has no such vectors: {missing:?}");
    }
}
