//! How well the standard packs detect, on cases that other projects published (see `eval/NOTICE.md`): precision and recall
//! for each entity, with floors. The packs are compiled as everybody's rules are, so that what is measured is what ships.

use bytes::Bytes;
use sluice_dsl::{CompileOptions, Policy, compile_source};
use sluice_engine::{Budget, Collected, Stream, StreamOptions};
use std::collections::BTreeMap;
use std::io::Read as _;

#[derive(serde::Deserialize)]
struct Case {
    source: String,
    entity: String,
    text: String,
    spans: Vec<(u64, u64)>,
}

fn cases() -> Vec<Case> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("eval/cases.jsonl.gz")[..]).read_to_string(&mut text).expect("gzip");
    text.lines().map(|line| serde_json::from_str(line).expect("a case a line")).collect()
}

/// The patterns that stand for an entity of a source.
fn patterns_of(entity: &str) -> &'static [&'static str] {
    match entity {
        "EMAIL_ADDRESS" => &["std.pii.email"],
        "PHONE_NUMBER" => &["std.pii.phone", "std.pii.phone_in_context"],
        "CREDIT_CARD" => &["std.pii.credit_card"],
        "IBAN_CODE" => &["std.pii.iban"],
        "US_SSN" => &["std.pii.us_ssn", "std.pii.us_ssn_in_context"],
        "IP_ADDRESS" => &["std.pii.ipv4", "std.pii.ipv6"],
        "MAC_ADDRESS" => &["std.pii.mac"],
        "aws-access-token" | "AWSKeyDetector" => &["std.secrets.aws_key", "std.secrets.aws_secret"],
        "gcp-api-key" => &["std.secrets.google_api_key"],
        "jwt" | "JwtTokenDetector" => &["std.secrets.jwt"],
        "private-key" => &["std.secrets.private_key"],
        "slack-webhook-url" => &["std.secrets.slack_webhook"],
        "stripe-access-token" | "StripeDetector" => &["std.secrets.stripe_key"],
        other if other.starts_with("github") => &["std.secrets.github_token"],
        other if other.to_ascii_lowercase().starts_with("slack") => &["std.secrets.slack_token"],
        other => panic!("no pattern for {other}"),
    }
}

/// A policy of one rule that masks these patterns of the packs.
fn policy(patterns: &[&str]) -> Policy {
    let text = format!(
        "language 1\nimport std.pii \"1\"\nimport std.secrets \"1\"\n\
         rule found {{ on response match {} then mask redact(with: \"#\") }}\n",
        patterns.join(", ")
    );
    let compilation = compile_source("detection.rules", &text, &CompileOptions::for_tests());
    assert!(!compilation.has_errors(), "{}", compilation.render(false));
    compilation.policy.expect("no errors")
}

fn found(policy: &Policy, text: &str) -> Vec<(u64, u64)> {
    let mut out = Collected::default();
    let mut stream = Stream::open(policy.program(), StreamOptions::raw(), &Budget::unlimited());
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("open");
    stream.finish(&mut out).expect("open");
    out.decisions.iter().map(|decision| (decision.span.start, decision.span.end)).collect()
}

#[derive(Default)]
struct Score {
    cases: usize,
    hit: usize,
    missed: usize,
    false_alarms: usize,
}

impl Score {
    fn recall(&self) -> f64 {
        self.hit as f64 / (self.hit + self.missed).max(1) as f64
    }
    fn precision(&self) -> f64 {
        self.hit as f64 / (self.hit + self.false_alarms).max(1) as f64
    }
}

#[test]
fn the_packs_detect_at_least_as_well_as_they_did() {
    let mut policies: BTreeMap<String, Policy> = BTreeMap::new();
    let mut scores: BTreeMap<(String, String), Score> = BTreeMap::new();
    let verbose = std::env::var_os("DETECTION_VERBOSE").is_some();
    for case in cases() {
        let policy = policies.entry(case.entity.clone()).or_insert_with(|| policy(patterns_of(&case.entity)));
        let found = found(policy, &case.text);
        let score = scores.entry((case.source.clone(), case.entity.clone())).or_default();
        score.cases += 1;
        let meets = |a: &(u64, u64), b: &(u64, u64)| a.0 < b.1 && b.0 < a.1;
        for span in &case.spans {
            // Part of a value in the open is a leak, so a hit covers all of it.
            if found.iter().any(|f| f.0 <= span.0 && f.1 >= span.1) {
                score.hit += 1;
            } else {
                score.missed += 1;
                if verbose {
                    println!("missed {} {span:?}: found {found:?} in {:?}", case.entity, case.text);
                }
            }
        }
        for alarm in found.iter().filter(|f| !case.spans.iter().any(|span| meets(f, span))) {
            score.false_alarms += 1;
            if verbose {
                println!("false alarm {} {alarm:?} in {:?}", case.entity, case.text);
            }
        }
    }
    println!("{:<15} {:<30} {:>6} {:>9} {:>6}", "source", "entity", "cases", "precision", "recall");
    let mut low = Vec::new();
    for ((source, entity), score) in &scores {
        println!("{source:<15} {entity:<30} {:>6} {:>9.3} {:>6.3}", score.cases, score.precision(), score.recall());
        let (precision, recall) = floor(entity);
        if score.precision() < precision || score.recall() < recall {
            low.push(entity.clone());
        }
    }
    assert!(low.is_empty(), "below the floor: {low:?}");
}

/// The least precision and recall of an entity.
fn floor(entity: &str) -> (f64, f64) {
    match entity {
        // The cases count keys that documentation shows as no secrets; by their form they are keys.
        "gcp-api-key" => (0.55, 1.0),
        // A bare `::` is not masked: in text it is an operator far more often than an address.
        "IP_ADDRESS" => (0.90, 0.93),
        "IBAN_CODE" => (0.97, 1.0),
        // One case breaks off after twelve characters.
        "slack-legacy-workspace-token" => (1.0, 0.93),
        _ => (1.0, 1.0),
    }
}

#[test]
fn what_only_looks_like_a_value_is_left_alone() {
    let policy = policy(&["std.pii.any", "std.secrets.any"]);
    let mut found_any = Vec::new();
    for text in [
        "created_at=1699999999 updated_at=1700000000123",
        "order 4155550132, invoice 2125550187, ticket 0012345678",
        "2024-01-02T03:04:05.678Z and 2024-01-02 03:04:05 +0100",
        "01.02.2024 10:00, 12/31/2024 23:59:59, 31-12-2024",
        "550e8400-e29b-41d4-a716-446655440000",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "4111111111111112 and 1234567812345678",
        "v1.2.3 10.15.7 (19H2) 3.14159265358979 6.02214076e23",
        "lat 52.520008 lon 13.404954 alt 34.5",
        "std::vec::Vec Foo::bar a::b 12:30:45 1:2:3:4",
        "00:1A:2B:3C:4D ff:ff:ff:ff:ff:ff",
        "@decorator user@host lodash@4.17.21 @types/node",
        "width:1024px; color:#00ff00; margin:0 auto 10px 10px",
        "ISBN 978-3-16-148410-0 part 123-45-678",
        "000-12-3456 666-12-3456 900-12-3456",
        "DE89 3704 0044 0532 0130 01 GB00 WEST 1234 5698 7654 32",
        "Bearer of good news; bearer internationalization",
        "AKIA is a prefix, ghp_ too, sk_live_ as well, xoxb- and eyJ",
        "https://example.org:8443/path?a=1&b=2 ssh://git@host/x",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "total 1 234 567,89 EUR; 12 345 678 items; 100 000 000",
        "-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----",
        "{\"id\":10987654321,\"n\":[1,2,3],\"t\":\"2024-01-02\"}",
    ] {
        for span in found(&policy, text) {
            found_any.push(text[span.0 as usize..span.1 as usize].to_owned());
        }
    }
    assert!(found_any.is_empty(), "{found_any:?}");
}
