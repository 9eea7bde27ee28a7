//! Tests of verification: whatever is done to a small log is found, and said what it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    keys::SigningKey,
    log::{
        folder::Folder,
        frame::{Header, Sealed},
        segment::{Frames, Step},
        tail::Tail,
        tree::CompactRange,
    },
    report::Kind,
    *,
};

/// Segments of two or three records each.
const SEGMENT: u64 = 400;
/// A checkpoint is signed behind so many records.
const EACH: u64 = 3;

/// A log, its first public key, and its newest checkpoint.
struct Log {
    _place: TempDir,
    path: PathBuf,
    key: Verifier,
}

impl Log {
    /// A log of so many records, with a checkpoint behind each three.
    async fn of(records: u64) -> Self {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = place.path().join("evidence");
        append(&path, 0..0).await;
        for begin in (0..records).step_by(usize::try_from(EACH).unwrap()) {
            append(&path, begin..records.min(begin + EACH)).await;
        }
        let key = first_key(&path);
        Self { _place: place, path, key }
    }

    fn verify(&self) -> Report {
        verify(&self.path, &self.key, None).unwrap()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.verify().findings.into_iter().map(|finding| finding.kind).collect()
    }

    /// The one thing that is wrong: what, from which record to which.
    fn found(&self) -> (Kind, Option<u64>, Option<u64>) {
        let findings = self.verify().findings;
        let [finding] = &findings[..] else { panic!("{findings:#?}") };
        (finding.kind, finding.record, finding.last)
    }

    fn files(&self) -> Vec<PathBuf> {
        let folder = Folder::at(&self.path);
        let segments = folder.segments().unwrap().into_iter().map(|first| folder.segment(first));
        segments.chain([folder.file("checkpoints")]).collect()
    }

    /// The records as they are stored.
    fn records(&self) -> Vec<Vec<u8>> {
        let folder = Folder::at(&self.path);
        let mut records = Vec::new();
        for first in folder.segments().unwrap() {
            let file = fs::File::open(folder.segment(first)).unwrap();
            let mut frames = Frames::new(&file, Header::size(first) as u64);
            while let Step::Frame(frame, _) = frames.next().unwrap() {
                records.push(frame.record.to_vec());
            }
        }
        records
    }

    /// Writes other records in the place of these, with hashes and headers that fit: all that can be done without the key.
    fn forge(&self, records: &[Vec<u8>]) {
        let folder = Folder::at(&self.path);
        for first in folder.segments().unwrap() {
            fs::remove_file(folder.segment(first)).unwrap();
        }
        let (mut tail, mut tree, _) = Tail::open(&folder, SEGMENT, None).unwrap();
        for record in records {
            let sealed = Sealed::new(|out| {
                out.extend_from_slice(record);
                Ok::<_, ()>(())
            })
            .unwrap()
            .unwrap();
            let so_far: CompactRange = tree.clone();
            tail.write(std::iter::once(&sealed), &mut Vec::new(), || so_far).unwrap();
            tree.push(sealed.leaf);
        }
        tail.close().unwrap();
    }
}

fn first_key(path: &Path) -> Verifier {
    Verifier::parse(fs::read_to_string(path.join("evidence.pub")).unwrap().lines().next().unwrap()).unwrap()
}

async fn append(path: &Path, numbers: std::ops::Range<u64>) {
    let evidence = Evidence::open_with(path, &SigningKey::beside(path), SEGMENT).unwrap();
    for number in numbers {
        let event = Event::SessionClosed { reason: format!("record {number}") };
        evidence.append(Record::now(SessionId::generate(), event)).await.unwrap();
    }
}

/// The same folder at another time.
fn copied(path: &Path) -> TempDir {
    let place = tempfile::tempdir_in(path.parent().unwrap()).unwrap();
    for (from, to) in
        [(path.to_owned(), place.path().to_owned()), (path.join("segments"), place.path().join("segments"))]
    {
        fs::create_dir_all(&to).unwrap();
        for entry in
            fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file())
        {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    place
}

#[tokio::test]
async fn a_log_as_it_was_written_has_no_findings() {
    for records in [0, 1, 3, 10] {
        let log = Log::of(records).await;
        let key = first_key(&log.path);
        let report = verify(&log.path, &key, Some(&newest_checkpoint(&log.path).unwrap())).unwrap();
        assert_eq!((report.findings, report.records, report.signed), (vec![], records, records));
        let evidence = Evidence::open(&log.path).unwrap();
        evidence
            .append(Record::now(SessionId::generate(), Event::SessionClosed { reason: "more".into() }))
            .await
            .unwrap();
        let report = verify(&log.path, &key, None).unwrap();
        assert_eq!((report.findings, report.records), (vec![], records + 1), "while a gateway writes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_and_rolls_meanwhile_has_no_findings_and_is_read_to_what_was_acknowledged() {
    let log = Log::of(0).await;
    let evidence = Evidence::open_with(&log.path, &SigningKey::beside(&log.path), 20_000).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(3);
    let writers = (0..8).map(|_| {
        let evidence = evidence.clone();
        tokio::spawn(async move {
            while std::time::Instant::now() < end {
                let event = Event::SessionClosed { reason: "x".repeat(3000) };
                evidence.append(Record::now(SessionId::generate(), event)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut rounds = 0;
    while std::time::Instant::now() < end {
        let event = Event::SessionClosed { reason: "seen".into() };
        let session = SessionId::generate();
        let number = evidence.append(Record::now(session.clone(), event)).await.unwrap();
        let (reading, path, key) = (evidence.clone(), log.path.clone(), log.key.clone());
        let look = tokio::task::spawn_blocking(move || (reading.session(&session), verify(&path, &key, None)));
        let (read, report) = look.await.unwrap();
        assert_eq!(read.unwrap().iter().map(|stored| stored.seq).collect::<Vec<_>>(), [number]);
        let report = report.unwrap();
        assert_eq!(report.findings, []);
        assert!(report.records > number);
        rounds += 1;
    }
    futures_util::future::join_all(writers).await;
    assert!(rounds > 3);
}

#[tokio::test]
async fn every_bit_that_is_flipped_is_found() {
    let log = Log::of(2 * EACH).await;
    assert!(log.files().len() > 3, "several segments, and the checkpoints");
    for file in log.files() {
        let whole = fs::read(&file).unwrap();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << bit;
                fs::write(&file, bytes).unwrap();
                assert!(!log.verify().findings.is_empty(), "bit {bit} of byte {place} of {}", file.display());
            }
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(log.kinds(), []);
}

#[tokio::test]
async fn every_file_that_ends_early_is_found() {
    let log = Log::of(2 * EACH).await;
    for file in log.files() {
        let whole = fs::read(&file).unwrap();
        let checkpoints = file.ends_with("checkpoints");
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            // Without the newest checkpoint a log is one of which less is signed.
            let fewer = checkpoints
                && end > 0
                && std::str::from_utf8(&whole[..end]).is_ok_and(|text| {
                    text.ends_with('\n') && text.lines().last().is_some_and(|line| line.starts_with('\u{2014}'))
                });
            assert_eq!(log.verify().findings.is_empty(), fewer, "{} ends at {end}", file.display());
        }
        fs::write(&file, whole).unwrap();
    }
}

#[tokio::test]
async fn a_record_that_was_edited_is_named() {
    let log = Log::of(10).await;
    let records = log.records();
    for number in 0..10 {
        let mut edited = records.clone();
        let text = String::from_utf8(edited[number].clone()).unwrap().replace("record", "regard");
        edited[number] = text.into_bytes();
        // With all hashes that can be made without the key: between two checkpoints.
        log.forge(&edited);
        let (kind, first, last) = log.found();
        assert_eq!(kind, Kind::Edited);
        assert!((first.unwrap()..=last.unwrap()).contains(&(number as u64)) && last.unwrap() - first.unwrap() < EACH);
        // Alone, in its place.
        log.forge(&records);
        let from = records[number].clone();
        for file in log.files() {
            let mut bytes = fs::read(&file).unwrap();
            if let Some(at) = memchr::memmem::find(&bytes, &from) {
                bytes[at..at + from.len()].copy_from_slice(&edited[number]);
                fs::write(&file, bytes).unwrap();
            }
        }
        assert_eq!(log.found(), (Kind::Edited, Some(number as u64), None));
        log.forge(&records);
    }
}

#[tokio::test]
async fn records_that_were_swapped_are_named() {
    let log = Log::of(9).await;
    let records = log.records();
    for a in 0..9 {
        for b in a + 1..9 {
            let mut swapped = records.clone();
            swapped.swap(a, b);
            log.forge(&swapped);
            let (a, b) = (a as u64, b as u64);
            if a / EACH == b / EACH {
                assert_eq!(log.found(), (Kind::Swapped, Some(a), Some(b)));
            } else {
                let (kind, first, last) = log.found();
                // What came from beyond the checkpoint is another record; from next to it, it is one that was put in between.
                assert_eq!(kind, if b == a + 1 { Kind::Added } else { Kind::Edited });
                assert!((first.unwrap()..=last.or(first).unwrap()).contains(&a));
            }
        }
    }
}

#[tokio::test]
async fn a_record_that_was_deleted_or_added_is_found_between_its_checkpoints() {
    let log = Log::of(9).await;
    let records = log.records();
    for number in 0..9 {
        let mut fewer = records.clone();
        fewer.remove(number);
        log.forge(&fewer);
        let (kind, first, last) = log.found();
        if number < 6 {
            assert_eq!(kind, Kind::Deleted);
            assert!((first.unwrap()..=last.unwrap()).contains(&(number as u64)));
        } else {
            assert_eq!((kind, last), (Kind::Truncated, Some(8)), "no checkpoint of what is left shows more");
        }
        let mut more = records.clone();
        more.insert(number, records[(number + 4) % 9].clone());
        log.forge(&more);
        assert_eq!(log.found(), (Kind::Added, Some(number as u64), None));
    }
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_checkpoints_is_truncated() {
    let log = Log::of(9).await;
    let records = log.records();
    for end in 0..9 {
        log.forge(&records[..end]);
        assert_eq!(log.found(), (Kind::Truncated, Some(end as u64), Some(8)));
        let error = Evidence::open_with(&log.path, &SigningKey::beside(&log.path), SEGMENT).unwrap_err();
        assert!(error.to_string().contains(&format!("record {end} is damaged")), "{error}");
    }
}

#[tokio::test]
async fn a_segment_that_is_gone_is_named_and_the_others_are_verified() {
    let log = Log::of(10).await;
    let folder = Folder::at(&log.path);
    let segments = folder.segments().unwrap();
    assert!(segments.len() > 3);
    for pair in segments.windows(2) {
        let whole = fs::read(folder.segment(pair[0])).unwrap();
        fs::remove_file(folder.segment(pair[0])).unwrap();
        assert_eq!(log.found(), (Kind::Deleted, Some(pair[0]), Some(pair[1] - 1)));
        fs::write(folder.segment(pair[0]), whole).unwrap();
    }
}

#[tokio::test]
async fn an_older_state_is_found_by_a_checkpoint_that_was_kept() {
    let log = Log::of(6).await;
    let older = copied(&log.path);
    append(&log.path, 6..9).await;
    let kept = newest_checkpoint(&log.path).unwrap();
    let against = |path: &Path| {
        let findings = verify(path, &log.key, Some(&kept)).unwrap().findings;
        findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    assert_eq!(against(&log.path), []);
    append(&log.path, 9..11).await;
    assert_eq!(against(&log.path), [], "it goes on from there");
    assert_eq!(verify(older.path(), &log.key, None).unwrap().findings, [], "nothing in it is wrong");
    assert_eq!(against(older.path()), [Kind::RolledBack]);
    // Gone on with by the key itself, up to the same size and beyond.
    let key = SigningKey::beside(&log.path);
    for _ in 0..2 {
        let evidence = Evidence::open_with(older.path(), &key, SEGMENT).unwrap();
        for _ in 0..EACH {
            let event = Event::SessionClosed { reason: "another history".into() };
            evidence.append(Record::now(SessionId::generate(), event)).await.unwrap();
        }
        drop(evidence);
        assert_eq!(against(older.path()), [Kind::Rewritten]);
    }
    // A checkpoint of another log shows nothing.
    let other = Log::of(3).await;
    let strange = newest_checkpoint(&other.path).unwrap();
    assert_eq!(verify(&log.path, &log.key, Some(&strange)).unwrap().findings[0].kind, Kind::Checkpoint);
    assert_eq!(verify(&log.path, &other.key, None).unwrap().findings[0].kind, Kind::Checkpoint);
}

#[tokio::test]
async fn checkpoints_of_an_older_state_behind_newer_ones_are_found() {
    let log = Log::of(3).await;
    let older = copied(&log.path);
    append(&log.path, 3..6).await;
    let rolled = fs::read(older.path().join("checkpoints")).unwrap();
    let mut checkpoints = fs::read(log.path.join("checkpoints")).unwrap();
    checkpoints.extend(rolled);
    fs::write(log.path.join("checkpoints"), checkpoints).unwrap();
    assert!(log.kinds().contains(&Kind::RolledBack));
}

#[tokio::test]
async fn another_key_goes_on_where_the_first_one_names_it() {
    let log = Log::of(4).await;
    let key = SigningKey::beside(&log.path);
    let SigningKey::File(file) = &key else { panic!("a file") };
    let old = fs::read(file).unwrap();
    let mut keys = vec![log.key.to_string()];
    for _ in 0..2 {
        keys.push(rotate_key(&log.path, &key, None).unwrap());
        append(&log.path, 0..2).await;
    }
    assert_eq!(fs::read_to_string(log.path.join("evidence.pub")).unwrap().lines().collect::<Vec<_>>(), keys);
    let report = log.verify();
    assert_eq!((report.findings, report.keys, report.records), (vec![], 3, 10));
    let kept = newest_checkpoint(&log.path).unwrap();
    assert_eq!(verify(&log.path, &log.key, Some(&kept)).unwrap().findings, []);
    // The old key signs no more.
    fs::write(file, old).unwrap();
    let error = Evidence::open(&log.path).unwrap_err().to_string();
    assert!(error.contains("signed by another key"), "{error}");
}

#[tokio::test]
async fn a_change_of_keys_that_a_crash_cut_short_is_completed_or_forgotten() {
    let log = Log::of(3).await;
    let key = SigningKey::beside(&log.path);
    let SigningKey::File(file) = &key else { panic!("a file") };
    let (old, next) = (fs::read(file).unwrap(), file.with_extension("key.next"));
    rotate_key(&log.path, &key, None).unwrap();
    // As before the rename: the new key is in force, and waits.
    fs::rename(file, &next).unwrap();
    fs::write(file, &old).unwrap();
    let private = |file: &Path| fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    private(file);
    append(&log.path, 3..6).await;
    assert!(!next.exists());
    // As before the checkpoint: a key that signed nothing.
    fs::write(&next, Signer::generate("sluice-evidence/x").unwrap().secret()).unwrap();
    private(&next);
    append(&log.path, 6..9).await;
    assert!(!next.exists());
    assert_eq!(log.kinds(), []);
}

#[tokio::test]
async fn a_new_key_is_written_where_it_is_told_and_over_no_file() {
    let log = Log::of(3).await;
    let (key, to) = (SigningKey::beside(&log.path), log.path.with_file_name("new.key"));
    rotate_key(&log.path, &key, Some(&to)).unwrap();
    assert!(
        rotate_key(&log.path, &SigningKey::File(to.clone()), Some(&to))
            .unwrap_err()
            .to_string()
            .contains("is there already")
    );
    assert!(Evidence::open(&log.path).is_err(), "the old key is no longer in force");
    drop(Evidence::open_signed(&log.path, &SigningKey::File(to.clone())).unwrap());
    let given = SigningKey::Given(fs::read_to_string(&to).unwrap());
    assert!(!format!("{given:?}").contains("PRIVATE"));
    drop(Evidence::open_signed(&log.path, &given).unwrap());
    assert_eq!(log.kinds(), []);
}

#[tokio::test]
async fn each_record_is_proven_without_the_log_and_nothing_else_is() {
    let log = Log::of(10).await;
    let keys = [log.key.clone()];
    let records = log.records();
    for number in 0..10 {
        let proof = prove(&log.path, number).unwrap();
        let proven = check_proof(&proof, &keys).unwrap();
        assert_eq!((proven.record, proven.checkpoint.size), (number, 10));
        assert_eq!(proven.text.as_bytes(), records[usize::try_from(number).unwrap()]);
        assert_eq!(check_proof(&proof, &[]), Err(ProofError::Checkpoint));
        for place in 0..proof.len() {
            let mut bytes = proof.clone().into_bytes();
            bytes[place] ^= 1;
            assert!(
                String::from_utf8(bytes).is_err() || check_proof(&flipped(&proof, place), &keys).is_err(),
                "byte {place}"
            );
        }
    }
    assert!(prove(&log.path, 10).is_err());
}

fn flipped(text: &str, place: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[place] ^= 1;
    String::from_utf8_lossy(&bytes).into_owned()
}
