//! `rulec scan`: the inspector at a shell, on text of any size.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use sluice_tests::place;
use sluice_tests::program::{command, run};

const SAMPLE: &str = "mail bob@example.com card 4111 1111 1111 1111\n";

fn pii() -> String {
    place::root().join("rules/std/pii.rules").to_string_lossy().into_owned()
}

async fn scan(extra: &[&str], input: &str) -> sluice_tests::program::Finished {
    let mut scan = command(place::rulec(), ["scan", "--rules", &pii()]);
    scan.args(extra).arg("-");
    run(scan, input, Duration::from_secs(60)).await
}

#[tokio::test]
async fn an_address_and_a_card_are_masked_on_standard_output() {
    let done = scan(&[], SAMPLE).await;
    let out = done.text();
    assert!(!out.contains("bob@example.com") && !out.contains("4111 1111 1111"), "{out}");
    assert!(out.starts_with("mail ") && out.contains(" card ") && out.ends_with('\n'), "the rest stays: {out}");
    assert_eq!(done.code, Some(1), "findings exit with 1: {}", done.stderr);
    assert!(
        !done.stderr.contains("bob@example.com") && !done.stderr.contains("4111"),
        "no value on stderr: {}",
        done.stderr
    );
}

#[tokio::test]
async fn clean_text_passes_as_it_is_and_exits_with_0() {
    let text = "nothing to see here, not even at all\n";
    let done = scan(&[], text).await;
    assert_eq!(done.text(), text);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

#[tokio::test]
async fn the_bytes_are_the_same_however_the_input_is_cut() {
    let whole = scan(&["--format", "json"], SAMPLE).await;
    for size in 1..=SAMPLE.len() {
        let cut = scan(&["--format", "json", "--chunk", &size.to_string()], SAMPLE).await;
        assert_eq!(cut.stdout, whole.stdout, "cut every {size} bytes");
        assert_eq!(cut.stderr, whole.stderr, "decisions when cut every {size} bytes");
    }
}

#[tokio::test]
async fn decisions_name_the_rule_and_where_it_matched() {
    let done = scan(&["--format", "json"], SAMPLE).await;
    let decisions: Vec<serde_json::Value> =
        done.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let covers = |text: &str| {
        let start = SAMPLE.find(text).unwrap();
        let span = serde_json::json!([start, start + text.len()]);
        decisions
            .iter()
            .any(|decision| decision["span"] == span && decision["action"] == "mask" && decision["rule"].is_string())
    };
    assert!(covers("bob@example.com") && covers("4111 1111 1111 1111"), "{decisions:?}");
}

#[tokio::test]
async fn a_missing_rules_file_could_not_be_done() {
    let done =
        run(command(place::rulec(), ["scan", "--rules", "no-such.rules", "-"]), SAMPLE, Duration::from_secs(60)).await;
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stdout.is_empty(), "nothing passes unread");
}

/// The size is 64 MiB, and 1 GiB where `SLUICE_TEST_FULL_SIZE` is set.
#[test]
fn memory_stays_under_32_mib_however_long_the_input_is() {
    let mib = if std::env::var_os("SLUICE_TEST_FULL_SIZE").is_some() { 1024 } else { 64 };
    let mut child = Command::new(place::rulec())
        .args(["scan", "--rules", &pii(), "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let feeder = std::thread::spawn(move || {
        // One finding in each mebibyte of prose.
        let mut block = "The quick brown fox jumps over the lazy dog while it reads a book.\n".repeat(1 << 14);
        block.truncate((1 << 20) - SAMPLE.len());
        block.push_str(SAMPLE);
        for _ in 0..mib {
            stdin.write_all(block.as_bytes()).unwrap();
        }
        // Its peak is read while it still waits for more.
        let peak = peak_kib(&status_file);
        drop(stdin);
        peak
    });
    let (mut total, mut buffer) = (0_usize, vec![0_u8; 1 << 20]);
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            read => total += read,
        }
    }
    let peak = feeder.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(total > mib << 19, "most of it passes: {total} bytes of {mib} MiB");
    assert!(peak < 32 * 1024, "peak resident memory was {peak} KiB after {mib} MiB");
}

/// The most memory that a process has held, in KiB.
fn peak_kib(status_file: &str) -> u64 {
    let status = std::fs::read_to_string(status_file).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
