//! How long the checker takes over many files of rules, as a large organisation has them: a team each, with a scope of its own, personal data of
//! the standard pack and of its own, a block, and a test for each rule. The time must grow with the files, not with their pairs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluice_dsl::{CompileOptions, compile_texts};
use std::hint::black_box;

fn team(number: usize) -> (String, String) {
    let text = format!(
        r#"language 1
pack acme.p{number} "1.0.0"
import std.pii "1"
pattern id = /\bP{number}-[0-9]{{6}}\b/
scope own {{ protocol == mcp and target == "crm{number}" }}
rule mask_{number} {{
  meta {{ gdpr ["Art. 25"] }}
  on response in own
  match id, std.pii.email
  then mask redact(with: "[{number}]")
}}
rule no_{number} {{
  on request in own
  when tool.name matches "drop*" and user.group has "g{number}"
  then block
}}
test "{number} is masked" {{
  given response {{ protocol mcp target "crm{number}" }}
  send "see P{number}-004711"
  expect mask "see [{number}]" by mask_{number}
}}
test "{number} is blocked" {{
  given request {{ protocol mcp target "crm{number}" tool.name "drop_it" user.group ["g{number}"] }}
  send "x"
  expect block by no_{number}
}}
"#
    );
    (format!("team{number}.rules"), text)
}

fn check(criterion: &mut Criterion) {
    let options = CompileOptions::for_tests();
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10);
    for files in [250, 500, 1_000, 2_000] {
        let texts: Vec<(String, String)> = (0..files).map(team).collect();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let found = compile_texts(&texts, &options);
        assert!(!found.has_errors() && found.diagnostics.is_empty(), "{}", found.render(false));
        group.throughput(Throughput::Elements(files as u64));
        group.bench_with_input(BenchmarkId::from_parameter(files), &texts, |bencher, texts| {
            bencher.iter(|| compile_texts(black_box(texts), &options));
        });
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
