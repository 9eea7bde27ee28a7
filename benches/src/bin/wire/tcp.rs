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

/// Round trips in a round.
const TIMES: usize = 20_000;

pub(crate) async fn gateway(rules: Rules, target: SocketAddr) -> Sluice {
    let listener = "\n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"bytes\"\nuser = \"bench\"\nconnections = 100000\nconnections_per_address = 100000\n";
    Sluice::new().rules(rules).connection("bytes", Upstream::Tcp(target)).tables(listener).start().await
}

pub(crate) async fn measure(options: &Options) {
    let target = Target::start();
    let plain = gateway(Rules::Text(ELSEWHERE.to_owned()), target.address).await;
    let inspected = gateway(Rules::Standard, target.address).await;
    let haproxy = peers::HaProxy::start(target.address);
    let (plain, inspected) = (plain_at(&plain), plain_at(&inspected));
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

fn plain_at(sluice: &Sluice) -> SocketAddr {
    sluice.listener("bytes")
}
