//! How many records a second the evidence makes durable, how long one waits, and how many a second are verified and indexed.
//!
//! `cargo bench -p sluice-benches --bench evidence` writes to the folder for temporary files (`TMPDIR`), and verifies what it wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sluice_gateway::evidence::{Event, Evidence, Reader, Record, RequestOutcome, SessionId, Verifier, verify};
use tokio::runtime::Builder;

/// Who appends at the same time.
const APPENDERS: [usize; 4] = [1, 64, 256, 1024];
/// How long each is measured.
const TIME: Duration = Duration::from_secs(5);
/// Records a second for the wait of one.
const PACE: u64 = 1000;

/// A call of a tool, as most records are: 0.6 KiB.
fn record(session: &SessionId, exchange: u64) -> Record {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{exchange},\"method\":\"tools/call\",\"params\":{{\"name\":\"query\",\"arguments\":{{\"sql\":\
         \"SELECT id, name, city FROM customers WHERE city = 'Berlin' AND since < '2024-01-01' ORDER BY id LIMIT 100\"}}}}}}"
    );
    let event = Event::Request {
        exchange,
        method: "tools/call".to_owned(),
        name: Some("query".to_owned()),
        body,
        purpose: Some("quarterly report of the sales department".to_owned()),
        outcome: RequestOutcome::Forwarded,
        hits: Vec::new(),
        approval: None,
    };
    Record::now(session.clone(), event)
}

/// So many append one record after the other; gives how many were durable.
async fn appended(evidence: &Evidence, appenders: usize) -> u64 {
    let (count, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + TIME);
    let tasks = (0..appenders).map(|_| {
        let (evidence, count, session) = (evidence.clone(), Arc::clone(&count), SessionId::generate());
        tokio::spawn(async move {
            let mut exchange = 0;
            while Instant::now() < end {
                evidence.append(record(&session, exchange)).await.expect("a disk that works");
                exchange += 1;
            }
            count.fetch_add(exchange, Ordering::Relaxed);
        })
    });
    futures_util::future::join_all(tasks.collect::<Vec<_>>()).await;
    count.load(Ordering::Relaxed)
}

/// How long each of them waited, at so many records a second, in order.
async fn waits(evidence: &Evidence) -> Vec<Duration> {
    let (session, begin) = (SessionId::generate(), Instant::now());
    let mut tasks = Vec::new();
    for number in 0..PACE * TIME.as_secs() {
        tokio::time::sleep_until((begin + Duration::from_micros(number * 1_000_000 / PACE)).into()).await;
        let (evidence, record) = (evidence.clone(), record(&session, number));
        tasks.push(tokio::spawn(async move {
            let start = Instant::now();
            evidence.append(record).await.expect("a disk that works");
            start.elapsed()
        }));
    }
    let waits = futures_util::future::join_all(tasks).await;
    let mut waits: Vec<Duration> = waits.into_iter().map(|wait| wait.expect("no task panics")).collect();
    waits.sort_unstable();
    waits
}

fn main() {
    let place = tempfile::tempdir().expect("a folder");
    let store = place.path().join("evidence");
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let evidence = Evidence::open(&store).expect("a store");
        for appenders in APPENDERS {
            let (start, before) = (Instant::now(), cpu());
            let count = appended(&evidence, appenders).await;
            let (took, cpu) = (start.elapsed().as_secs_f64(), (cpu() - before).as_secs_f64());
            let each = cpu * 1e6 / count as f64;
            println!(
                "{appenders:>5} appenders: {:>8.0} records/s durable, {each:.1} µs of processor time each",
                count as f64 / took
            );
        }
        let waits = waits(&evidence).await;
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (median, most, longest) = (at(0.5), at(0.99), at(1.0));
        println!(
            "{PACE} records/s: a record waits {median:.2} ms (median), {most:.2} ms (99 %), {longest:.2} ms (longest)"
        );
    });
    let keys = std::fs::read_to_string(store.join("evidence.pub")).expect("the public keys");
    let key = Verifier::parse(keys.lines().next().expect("a key")).expect("a key");
    let start = Instant::now();
    let report = verify(&store, &key, None).expect("a store that can be read");
    let took = start.elapsed().as_secs_f64();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    println!("verified: {} records, {:.0} a second on one core", report.records, report.records as f64 / took);
    std::fs::remove_file(store.join("index.sqlite")).expect("the index");
    let start = Instant::now();
    let sessions = Reader::open(&store).and_then(|reader| reader.sessions()).expect("an index made anew").len();
    let each = report.records as f64 / start.elapsed().as_secs_f64();
    println!("index made anew: {each:.0} records a second, {sessions} sessions");
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
