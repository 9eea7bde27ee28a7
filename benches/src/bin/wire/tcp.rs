//! Raw TCP: beside HAProxy in TCP mode, and with the standard packs beside without rules.

use std::net::SocketAddr;

use sluice_tests::sluice::{Rules, Sluice, Upstream};

use crate::flow::{Target, pour, round_trip};
use crate::{Better, Options, pairs, peers, row};

/// Rules that hold elsewhere: nothing is looked for in bytes.
pub(crate) const ELSEWHERE: &str = r#"language 1
pack bench.elsewhere "1.0.0" { owner "benches" reviewed 2026-11-27 }
scope elsewhere { protocol == mcp }
pattern never = /\bsluice-never-[0-9]{12}\b/
rule never {
  on both in elsewhere
  match never
  then alert
}
"#;

/// What the standard packs look for, but for the one pattern that has no prefilter: forty letters beside a word are looked for
/// at every word, which is measured by itself.
pub(crate) const INSPECTED: &str = r#"language 1
pack bench.inspected "1.0.0" { owner "benches" reviewed 2026-11-27 }
import std.pii "1"
import std.secrets "1"
rule personal {
  on response
  match std.pii.any
  then mask redact(with: "[personal]")
}
rule secrets {
  on both
  match std.secrets.aws_key, std.secrets.github_token, std.secrets.gitlab_token, std.secrets.slack_token,
    std.secrets.slack_webhook, std.secrets.stripe_key, std.secrets.google_api_key, std.secrets.openai_key,
    std.secrets.anthropic_key, std.secrets.npm_token, std.secrets.pypi_token, std.secrets.sendgrid_key,
    std.secrets.shopify_token, std.secrets.telegram_token, std.secrets.jwt, std.secrets.private_key,
    std.secrets.bearer_token, std.secrets.url_password
  then mask redact(with: "[secret]")
}
"#;

/// Round trips in a round.
const TIMES: usize = 20_000;

pub(crate) async fn gateway(rules: Rules, target: SocketAddr) -> Sluice {
    let listener = "\n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"bytes\"\nuser = \"bench\"\nconnections = 100000\nconnections_per_address = 100000\n";
    Sluice::new().rules(rules).connection("bytes", Upstream::Tcp(target)).tables(listener).start().await
}

pub(crate) async fn measure(options: &Options) {
    let target = Target::start();
    let plain = gateway(Rules::Text(ELSEWHERE.to_owned()), target.address).await;
    let inspected = gateway(Rules::Text(INSPECTED.to_owned()), target.address).await;
    let standard = gateway(Rules::Standard, target.address).await;
    let haproxy = peers::HaProxy::start(target.address);
    let [plain, inspected, standard] = [&plain, &inspected, &standard].map(|sluice| sluice.listener("bytes"));
    for connections in [1, 4] {
        let pours = |address| async move || pour(address, options.size, connections);
        let named = |what: &str| format!("{what}, {connections} at once");
        match &haproxy {
            Ok(haproxy) => {
                let (ours, theirs) = pairs(options.rounds, pours(plain), pours(haproxy.address)).await;
                row(&named("raw TCP, throughput, against HAProxy"), &ours, &theirs, "MiB/s", &Better::More);
            }
            Err(problem) => println!("| against HAProxy | | | not run: {problem} |"),
        }
        let (ours, theirs) = pairs(options.rounds, pours(inspected), pours(plain)).await;
        row(&named("inspected clean TCP against uninspected"), &ours, &theirs, "MiB/s", &Better::More);
        let few = |address| async move || pour(address, options.size.div_ceil(16), connections);
        let (ours, theirs) = pairs(options.rounds, few(standard), few(plain)).await;
        row(&named("the same with the standard packs as they are"), &ours, &theirs, "MiB/s", &Better::More);
        let (ours, theirs) = pairs(options.rounds, pours(plain), pours(target.address)).await;
        row(&named("raw TCP against none between"), &ours, &theirs, "MiB/s", &Better::More);
    }
    let trips = |address| async move || round_trip(address, TIMES);
    if let Ok(haproxy) = &haproxy {
        let (ours, theirs) = pairs(options.rounds, trips(plain), trips(haproxy.address)).await;
        row("raw TCP, 64 B round trip, p50, against HAProxy", &ours, &theirs, "us", &Better::Less);
    }
    let (ours, theirs) = pairs(options.rounds, trips(plain), trips(target.address)).await;
    row("the same against none between", &ours, &theirs, "us", &Better::Less);
}
