//! Tests of the evidence store: what it acknowledged is there, whatever happens to the process and the files beside the log.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use log::{
    folder::Folder,
    frame::{HEAD, Header},
    segment::{Frames, Step},
};

fn closed(reason: &str) -> Event {
    Event::SessionClosed { reason: reason.to_owned() }
}

fn record(reason: &str) -> Record {
    Record::now(SessionId::generate(), closed(reason))
}

/// In memory where the machine has a place for that: these tests are about processes and files, and sync a lot.
fn store() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = place.path().join("evidence");
    (place, path)
}

/// The records of a log with their segments and places, read without the index.
fn stored(path: &Path) -> Vec<(u64, u64, Record)> {
    let folder = Folder::at(path);
    let mut records = Vec::new();
    for first in folder.segments().unwrap() {
        let file = fs::File::open(folder.segment(first)).unwrap();
        let mut frames = Frames::new(&file, Header::size(first) as u64);
        while let Step::Frame(frame, at) = frames.next().unwrap() {
            assert!(frame.is_intact());
            records.push((first, at, serde_json::from_slice(frame.record).unwrap()));
        }
    }
    records
}

/// Why each of them ends, or what else it is.
fn reasons(path: &Path) -> Vec<String> {
    let reason = |record: Record| match record.event {
        Event::SessionClosed { reason } => reason,
        other => other.name().to_owned(),
    };
    stored(path).into_iter().map(|(.., record)| reason(record)).collect()
}

/// As after a crash before what was written last was under a checkpoint.
fn unsigned(path: &Path) {
    fs::remove_file(path.join("checkpoints")).unwrap();
}

/// A log of one segment with a write for each of these records; gives the segment's path.
async fn written(path: &Path, reasons: &[&str]) -> PathBuf {
    let evidence = Evidence::open(path).unwrap();
    for reason in reasons {
        evidence.append(record(reason)).await.unwrap();
    }
    drop(evidence);
    Folder::at(path).segment(0)
}

#[tokio::test]
async fn what_was_appended_is_read_back_equal_and_in_order() {
    let (_place, path) = store();
    let evidence = Evidence::open(path).unwrap();
    let session = SessionId::generate();
    let request = Event::Request {
        exchange: 1,
        method: "tools/call".to_owned(),
        name: Some("query".to_owned()),
        body: "{\"é\":\"\\u0000\"}".to_owned(),
        purpose: None,
        outcome: RequestOutcome::Refused,
        hits: vec![],
        approval: None,
    };
    let records = [Record::now(session.clone(), request), Record::now(session.clone(), closed("idle"))];
    let mut numbers = Vec::new();
    for record in &records {
        numbers.push(evidence.append(record.clone()).await.unwrap());
    }
    let stored = evidence.session(&session).unwrap();
    assert_eq!(stored.iter().map(|stored| stored.seq).collect::<Vec<_>>(), numbers);
    assert_eq!(stored.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), records);
    let summary = &evidence.sessions().unwrap()[0];
    assert_eq!((summary.requests, summary.refused, summary.closed.as_deref()), (1, 1, Some("idle")));
}

#[test]
fn a_record_is_stored_as_the_sorted_tree_of_its_values() {
    let record = record("a \"reason\"\n\u{1}é");
    let mut bytes = Vec::new();
    canonical::write(&record, &mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), canonical(&serde_json::to_value(&record).unwrap()));
}

#[tokio::test]
async fn what_nobody_waits_for_is_stored_in_its_order_with_and_without_company() {
    let (_place, path) = store();
    let evidence = Evidence::open(path).unwrap();
    let alone = evidence.append(record("alone")).await.unwrap();
    evidence.leave(&record("left")).unwrap();
    let now = evidence.append(record("now")).await.unwrap();
    assert_eq!(now, alone + 2);
    evidence.leave(&record("alone again")).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while evidence.size() < now + 2 {
        assert!(std::time::Instant::now() < until, "it is written without company, too");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn many_appends_at_once_are_all_stored_with_numbers_of_their_own() {
    let (_place, path) = store();
    let evidence = Evidence::open(path).unwrap();
    let appends = (0..500).map(|index| evidence.append(record(&index.to_string())));
    let mut numbers: Vec<u64> =
        futures_util::future::join_all(appends).await.into_iter().collect::<Result<_, _>>().unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    assert_eq!(evidence.sessions().unwrap().len(), 500);
}

#[tokio::test]
async fn segments_roll_and_are_read_as_one_log() {
    let (_place, path) = store();
    for round in 0..3 {
        let evidence = Evidence::open_with(&path, &SigningKey::beside(&path), 2000).unwrap();
        for number in 0..20 {
            evidence.append(record(&(20 * round + number).to_string())).await.unwrap();
        }
        assert_eq!(evidence.sessions().unwrap().len(), 20 * (round + 1));
    }
    assert!(Folder::at(&path).segments().unwrap().len() > 3);
    assert_eq!(reasons(&path), (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_else_can_look_into_the_store_or_write_to_it() {
    let (_place, path) = store();
    let evidence = Evidence::open(&path).unwrap();
    evidence.append(record("first")).await.unwrap();
    evidence.sessions().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("segments"))), (0o700, 0o700));
    for file in [Folder::at(&path).segment(0), path.join("index.sqlite"), path.join("lock")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let error = Evidence::open(&path).unwrap_err().to_string();
    assert!(error.contains("another gateway writes to it"), "{error}");
    drop(evidence);
    Evidence::open(&path).unwrap();
}

#[tokio::test]
async fn an_index_that_is_missing_damaged_or_of_another_log_is_made_anew() {
    let (_place, path) = store();
    written(&path, &["a", "b", "c"]).await;
    let index = path.join("index.sqlite");
    let sessions = || Reader::open(&path).unwrap().sessions().unwrap().len();
    assert_eq!(sessions(), 3);
    fs::remove_file(&index).unwrap();
    assert_eq!(sessions(), 3);
    fs::write(
        &index,
        "no database at all, but long enough to be taken for the beginning of one, if nobody looks. ".repeat(60),
    )
    .unwrap();
    assert_eq!(sessions(), 3);
    let (_other_place, other) = store();
    written(&other, &["d", "e", "f", "g", "h"]).await;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(path.join(format!("index.sqlite{suffix}")));
    }
    fs::copy(other.join("index.sqlite"), &index).unwrap();
    assert_eq!(sessions(), 3);
}

#[tokio::test]
async fn a_store_that_can_not_be_written_to_is_read_with_an_index_in_memory() {
    let (_place, path) = store();
    written(&path, &["a", "b"]).await;
    // A folder in its place can be neither opened nor removed, by root neither.
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(path.join(format!("index.sqlite{suffix}")));
    }
    fs::create_dir(path.join("index.sqlite")).unwrap();
    assert_eq!(Reader::open(&path).unwrap().sessions().unwrap().len(), 2);
}

#[test]
fn an_older_store_is_told_from_other_files_and_neither_is_touched() {
    let (_place, path) = store();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE record (a)").unwrap();
    let before = fs::read(&path).unwrap();
    for error in [Evidence::open(&path).unwrap_err(), Reader::open(&path).unwrap_err()] {
        assert!(error.to_string().contains("an earlier version"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "something").unwrap();
    assert!(Evidence::open(&path).unwrap_err().to_string().contains("it is a file"));
    assert!(matches!(Reader::open(&path.with_extension("none")), Err(EvidenceError::Open { .. })));
}

#[tokio::test]
async fn a_log_that_ends_anywhere_in_its_last_record_goes_on_without_it() {
    let (_place, path) = store();
    let segment = written(&path, &["a", "b", "torn"]).await;
    let whole = fs::read(&segment).unwrap();
    let last = usize::try_from(stored(&path)[2].1).unwrap();
    for end in last..whole.len() {
        // Cut off, and cut off in space that was allocated ahead.
        for ahead in [0, 4096] {
            let mut bytes = whole[..end].to_vec();
            bytes.resize(end + ahead, 0);
            fs::write(&segment, bytes).unwrap();
            unsigned(&path);
            written(&path, &["after"]).await;
            let expected: &[&str] = if end == last { &["a", "b", "after"] } else { &["a", "b", "tail_cut", "after"] };
            assert_eq!(reasons(&path), expected, "the end at {end}");
            assert_eq!(Reader::open(&path).unwrap().sessions().unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_write_of_many_records_is_torn_anywhere_also_with_whole_records_behind_the_tear() {
    let (_place, path) = store();
    written(&path, &["a"]).await;
    let evidence = Evidence::open(&path).unwrap();
    evidence.append_all(["b", "c", "d"].map(record).to_vec()).await.unwrap();
    drop(evidence);
    let segment = Folder::at(&path).segment(0);
    let (whole, places) = (fs::read(&segment).unwrap(), stored(&path));
    for (torn, (_, at, _)) in places.iter().enumerate().skip(1) {
        let at = usize::try_from(*at).unwrap();
        let mut bytes = whole.clone();
        // A page that never came to the disk.
        bytes[at + 8..at + HEAD + 20].fill(0);
        fs::write(&segment, bytes).unwrap();
        unsigned(&path);
        written(&path, &["after"]).await;
        let mut expected = vec!["a", "b", "c", "d"];
        expected.truncate(torn);
        expected.extend(["tail_cut", "after"]);
        assert_eq!(reasons(&path), expected, "record {torn} is torn");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_before_the_last_write_refuses_to_open_and_says_where(place in 0_usize..600, flip in 1_u8..) {
        let (_place, path) = store();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let segment = runtime.block_on(written(&path, &["a", "b", "c", "d"]));
        let records = stored(&path);
        let mut bytes = fs::read(&segment).unwrap();
        let begin = records.iter().map(|(_, at, _)| usize::try_from(*at).unwrap()).collect::<Vec<_>>();
        let place = begin[0] + place % (begin[3] - begin[0]);
        bytes[place] ^= flip;
        fs::write(&segment, &bytes).unwrap();
        let damaged = begin.iter().rposition(|begin| *begin <= place).unwrap();
        let error = Evidence::open(&path).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("record {damaged} is damaged")), "{}", error);
        prop_assert!(error.contains("segment 00000000000000000000"), "{}", error);
        prop_assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing was changed");
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_or_has_another_ones_name_refuses_to_open() {
    let (_place, path) = store();
    let evidence = Evidence::open_with(&path, &SigningKey::beside(&path), 1000).unwrap();
    for number in 0..20 {
        evidence.append(record(&number.to_string())).await.unwrap();
    }
    drop(evidence);
    let folder = Folder::at(&path);
    let segments = folder.segments().unwrap();
    assert!(segments.len() > 3);
    let aside = path.join("aside");
    for (place, &first) in segments.iter().enumerate() {
        fs::rename(folder.segment(first), &aside).unwrap();
        // Without its last segment a log is shorter; a checkpoint shows that.
        if place + 1 < segments.len() {
            let error = Evidence::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("record {first} is damaged")), "{error}");
        }
        fs::rename(&aside, folder.segment(first)).unwrap();
    }
    fs::rename(folder.segment(segments[1]), &aside).unwrap();
    fs::copy(folder.segment(segments[2]), folder.segment(segments[1])).unwrap();
    assert!(Evidence::open(&path).unwrap_err().to_string().contains("the name of another one"));
}

#[tokio::test]
async fn a_segment_that_a_crash_left_without_its_header_is_begun_again() {
    let (_place, path) = store();
    written(&path, &["a", "b"]).await;
    for bytes in [&b""[..], &[0; 100], b"sluice\0\x01 and then no more"] {
        let next = stored(&path).len() as u64;
        fs::write(Folder::at(&path).segment(next), bytes).unwrap();
        written(&path, &["after"]).await;
    }
    assert_eq!(reasons(&path), ["a", "b", "tail_cut", "after", "tail_cut", "after", "tail_cut", "after"]);
}

const CHILD_STORE: &str = "SLUICE_TEST_CHILD_STORE";
/// How many children are killed; a thousand by `SLUICE_TEST_KILLS=1000`.
const KILLS: &str = "SLUICE_TEST_KILLS";

/// Not a test of its own: what the next one starts and kills.
#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_STORE) else { return };
    let path = Path::new(&path);
    let evidence = Evidence::open_with(path, &SigningKey::beside(path), 40_000).unwrap();
    let workers = (0..8).map(|_| {
        let evidence = evidence.clone();
        tokio::spawn(async move {
            loop {
                let number = evidence.append(record("x")).await.unwrap();
                println!("\nacknowledged {number}");
            }
        })
    });
    futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
}

#[test]
fn no_acknowledged_record_is_lost_when_the_process_is_killed() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let (_place, path) = store();
    let mut before = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "evidence::tests::child_that_appends_until_it_is_killed"])
            .env(CHILD_STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while acknowledged.len() < 10 + 17 * (round % 9) {
            let line = lines.next().expect("the child runs until it is killed").unwrap();
            acknowledged.extend(line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok()));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        // What was said before the kill may still be in the pipe; its last line may be cut.
        acknowledged.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok())),
        );
        let size = stored(&path).len() as u64;
        for number in acknowledged {
            assert!((before..size).contains(&number), "record {number} of round {round}, of {before} to {size}");
        }
        before = size;
        assert_eq!(Reader::open(&path).unwrap().sessions().unwrap().len() as u64, size - cuts(&path));
    }
}

fn cuts(path: &Path) -> u64 {
    reasons(path).iter().filter(|reason| *reason == "tail_cut").count() as u64
}
