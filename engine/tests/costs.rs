//! What a stream costs is told, and grows with the bytes alone, whatever the bytes.

use bytes::Bytes;
use sluice_engine::{
    Action, Budget, Collected, Costs, Mask, PatternSpec, Program, RuleSpec, Stream, StreamOptions, Vectors,
};

fn program(vectors: Vectors, spec: PatternSpec) -> Program {
    let mut builder = Program::builder();
    builder.vectors(vectors);
    let pattern = builder.pattern(spec).expect("valid");
    builder.rule(RuleSpec::new("r", Action::Mask(Mask::redact("#")), [pattern]));
    builder.build().expect("valid")
}

fn costs(program: &Program, text: &[u8], chunk: usize) -> Costs {
    let mut out = Collected::default();
    let mut stream = Stream::open(program, StreamOptions::raw(), &Budget::unlimited());
    for chunk in text.chunks(chunk) {
        stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("no rule blocks");
    }
    stream.finish(&mut out).expect("no rule blocks");
    stream.costs()
}

#[test]
fn text_without_a_candidate_costs_nothing_but_the_look() {
    for vectors in Vectors::available() {
        let program = program(*vectors, PatternSpec::regex("p", "sk_live_[0-9a-z]{8}"));
        let got = costs(&program, &b"nothing to see, ".repeat(64), 1024);
        assert_eq!(got, Costs { bytes: 1024, candidates: 0, verified: 0, most_held: 0 }, "{vectors:?}");
    }
}

#[test]
fn a_match_costs_a_candidate_and_its_bytes_and_is_held_until_it_is_whole() {
    for vectors in Vectors::available() {
        let program = program(*vectors, PatternSpec::regex("p", "sk_live_[0-9a-z]{8}"));
        let got = costs(&program, b"key sk_live_0a1b2c3d here", 12);
        assert_eq!((got.bytes, got.candidates), (25, 1), "{vectors:?}");
        assert!((15..=17).contains(&got.verified), "{vectors:?}: {got:?}");
        assert_eq!(got.most_held, 8, "{vectors:?}");
        assert!((got.candidates_per_mib() - 1_048_576.0 / 25.0).abs() < 1e-6);
    }
    assert_eq!(Costs::default().verified_per_mib(), 0.0);
}

#[test]
fn a_pattern_without_a_rare_part_costs_a_candidate_at_each_byte_that_can_start_it() {
    let mut builder = Program::builder();
    let pattern = builder.pattern(PatternSpec::regex("p", "[a-z ]{4}[a-z]")).expect("valid");
    builder.rule(RuleSpec::new("r", Action::Alert, [pattern]));
    let program = builder.build().expect("valid");
    assert!(!program.prefilter(pattern));
    let got = costs(&program, &b"abcd ~~~ ".repeat(10), 64);
    assert_eq!(got.candidates, 60);
}

#[test]
fn law_7_what_is_verified_grows_with_the_bytes_alone_on_hostile_text() {
    let cases = [
        (PatternSpec::regex("mail", r"\b[a-z.]{1,64}@[a-z]{1,64}\.com\b"), "a.a@a@"),
        (PatternSpec::regex("card", r"\b(?:[0-9][ -]?){12,18}[0-9]\b"), "4 4-44"),
        (
            PatternSpec::regex("key", r"-----BEGIN [A-Z ]{0,20}KEY-----[\s\S]*?-----END").max(8192),
            "-----BEGIN KEY-----",
        ),
        (PatternSpec::regex("run", r"[a-z ]{3,200}!"), "aa a "),
    ];
    for vectors in Vectors::available() {
        for (spec, unit) in &cases {
            let program = program(*vectors, spec.clone());
            let of = |len: usize| costs(&program, &unit.as_bytes().repeat(len / unit.len()), 4096).verified as f64;
            let (small, large) = (of(64 << 10), of(512 << 10));
            assert!(small > 0.0, "{} is no hard case on {vectors:?}", spec.name);
            assert!(large <= small * 8.0 * 1.2, "{} on {vectors:?}: {small} bytes, then {large}", spec.name);
        }
    }
}
