//! The binary from outside: exit codes, streams, pipes and memory.

mod common;

use common::{STAFF, code, file, rulec, run, std_rules, text};
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn the_standard_packs_are_clean_and_pass_their_tests() {
    let packs = std_rules("");
    let checked = run(&["check", &packs.display().to_string()], b"");
    assert_eq!(code(&checked), 0, "{}{}", text(&checked.stdout), text(&checked.stderr));
    let tested = run(&["test", &packs.display().to_string()], b"");
    assert_eq!(code(&tested), 0, "{}{}", text(&tested.stdout), text(&tested.stderr));
}

#[test]
fn each_standard_pack_stands_alone() {
    for name in ["pii.rules", "secrets.rules", "sql.rules"] {
        let path = std_rules(name).display().to_string();
        let output = run(&["test", &path], b"");
        assert_eq!(code(&output), 0, "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn scan_masks_what_the_pack_names_and_tells_where() {
    let rules = std_rules("pii.rules").display().to_string();
    let input = b"mail bob@example.com card 4111 1111 1111 1111";
    let output = run(&["scan", "--rules", &rules, "--format", "json", "-"], input);
    assert_eq!(text(&output.stdout), "mail [email] card **** **** **** 1111");
    assert_eq!(code(&output), 1);
    let decisions: Vec<serde_json::Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(decisions.len(), 2);
    assert_eq!(decisions[0]["rule"], "mask_email");
    assert_eq!(decisions[0]["span"], serde_json::json!([5, 20]));
    assert_eq!(decisions[1]["pattern"], "std.pii.credit_card");
    assert_eq!(decisions[1]["action"], "mask");
    assert!(!text(&output.stderr).contains("4111"), "a matched value is never printed");
}

#[test]
fn scan_takes_several_rule_files() {
    let (pii, secrets) =
        (std_rules("pii.rules").display().to_string(), std_rules("secrets.rules").display().to_string());
    for args in
        [["scan", "--rules", &pii, "--rules", &secrets, "-"].to_vec(), vec!["scan", "--rules", &pii, &secrets, "-"]]
    {
        let output = run(&args, b"bob@example.com AKIAQYLPMN5HHHFPZAM2 ok");
        assert_eq!(text(&output.stdout), "[email] [secret] ok");
    }
}

#[test]
fn scan_of_clean_bytes_is_clean() {
    let rules = std_rules("pii.rules").display().to_string();
    let output = run(&["scan", "--rules", &rules], b"nothing to see \xff\xfe here");
    assert_eq!(output.stdout, b"nothing to see \xff\xfe here");
    assert_eq!((code(&output), output.stderr.len()), (0, 0));
}

#[test]
fn scan_gives_the_same_for_every_chunk() {
    let rules = std_rules("").display().to_string();
    let input = b"a bob@example.com, DE89 3704 0044 0532 0130 00; AKIAQYLPMN5HHHFPZAM2 +49 30 1234567 \
        {\"card\":\"4111-1111-1111-1111\"} 203.0.113.9 end"
        .repeat(3);
    let whole = run(&["scan", "--rules", &rules, "--format", "json"], &input);
    assert!(text(&whole.stdout).contains("[secret]"));
    for chunk in ["1", "2", "3", "7", "16", "61", "1000"] {
        let cut = run(&["scan", "--rules", &rules, "--format", "json", "--chunk", chunk], &input);
        assert_eq!(text(&cut.stdout), text(&whole.stdout), "chunk {chunk}");
        assert_eq!(text(&cut.stderr), text(&whole.stderr), "chunk {chunk}");
        assert_eq!(code(&cut), 1);
    }
}

#[test]
fn scan_of_json_sees_through_escapes() {
    let rules = std_rules("pii.rules").display().to_string();
    let output = run(&["scan", "--rules", &rules, "--protocol", "json"], br#"{"m":"bob\u0040example.com"}"#);
    assert_eq!(text(&output.stdout), r#"{"m":"[email]"}"#);
}

#[test]
fn a_block_leaves_nothing_of_the_match() {
    let rules = std_rules("secrets.rules").display().to_string();
    for chunk in ["1", "5", "65536"] {
        let args = ["scan", "--rules", &rules, "--direction", "request", "--chunk", chunk];
        let output = run(&args, b"store AKIAQYLPMN5HHHFPZAM2 please");
        assert_eq!(code(&output), 1);
        assert_eq!(text(&output.stdout), "store ");
        assert!(!text(&output.stderr).contains("AKIA"));
    }
}

#[test]
fn a_destructive_statement_is_refused_whole() {
    let rules = std_rules("sql.rules").display().to_string();
    let args = ["scan", "--rules", &rules, "--direction", "request", "--protocol", "sql"];
    let refused = run(&args, b"SELECT 1; DROP TABLE users");
    assert_eq!((code(&refused), refused.stdout.len()), (1, 0));
    assert!(text(&refused.stderr).contains("no_destructive_sql"));
    let passed = run(&args, b"SELECT 1 FROM users WHERE id = 1");
    assert_eq!(code(&passed), 0, "{}", text(&passed.stderr));
    assert_eq!(text(&passed.stdout), "SELECT 1 FROM users WHERE id = 1");
}

#[test]
fn what_could_not_be_done_exits_with_2() {
    let directory = tempfile::tempdir().expect("directory");
    let empty = directory.path().display().to_string();
    let missing = directory.path().join("missing.rules").display().to_string();
    for args in [
        vec!["check", &empty],
        vec!["check", &missing],
        vec!["test", &empty],
        vec!["fmt", &empty],
        vec!["scan", "--rules", &missing],
        vec!["scan"],
        vec!["nonsense"],
        vec!["explain", "E999"],
    ] {
        let output = run(&args, b"");
        assert_eq!(code(&output), 2, "{args:?}: {}", text(&output.stdout));
        assert!(!output.stderr.is_empty(), "{args:?} says why");
    }
    let no_rules = file(&directory, "no_rules.rules", "language 1\n");
    assert_eq!(code(&run(&["check", &no_rules], b"")), 2);
    assert_eq!(code(&run(&["scan", "--rules", &no_rules], b"")), 2);
    let staff = file(&directory, "staff.rules", STAFF);
    assert_eq!(code(&run(&["test", &staff, "--filter", "no such test"], b"")), 2);
    assert_eq!(code(&run(&["scan", "--rules", &staff, &missing], b"")), 2);
    assert_eq!(code(&run(&["scan", "--rules", &staff, "--chunk", "0"], b"")), 2);
}

#[test]
fn a_file_that_is_no_text_is_told_and_no_crash() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("bytes.rules");
    std::fs::write(&path, [0xff, 0xfe, 0, 1, 2]).expect("written");
    let output = run(&["check", &path.display().to_string()], b"");
    assert_eq!(code(&output), 2);
    assert!(!text(&output.stderr).contains("defect"));
}

#[test]
fn invalid_rules_are_told_all_at_once_with_exit_1() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(
        &directory,
        "bad.rules",
        "language 1\npattern a = /x+/\npattern b = /(/\nrule r { on response match missing then mask redact }\n\
         rule s { on request when user.gruop has \"x\" then block \"no\" }\nrule { oops }\n",
    );
    let output = run(&["check", &path, "--format", "json"], b"");
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let found = text(&output.stdout);
    let codes: Vec<String> = found
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["code"].to_string())
        .collect();
    for expected in ["E031", "E030", "E013", "E020", "E001"] {
        assert!(codes.iter().any(|code| code.contains(expected)), "{expected} is missing of {codes:?}\n{found}");
    }
}

#[test]
fn a_failing_test_is_a_finding_that_shows_what_came_out() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "staff.rules", &STAFF.replace("[staff] ok\" by", "[other] ok\" by"));
    let output = run(&["test", &path], b"");
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("badge [staff] ok"));
    assert!(!text(&output.stdout).contains("004711"));
}

#[test]
fn a_closed_pipe_ends_the_program_without_a_word() {
    let rules = std_rules("pii.rules").display().to_string();
    let mut child = rulec()
        .args(["scan", "--rules", &rules])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rulec starts");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("piped");
    let block = vec![b'x'; 1 << 20];
    for _ in 0..4 {
        if stdin.write_all(&block).is_err() {
            break;
        }
    }
    drop(stdin);
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("read");
    let status = child.wait().expect("rulec ends");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn fmt_says_what_would_change_and_changes_it_once() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "staff.rules", &STAFF.replace("rule mask_staff {", "rule   mask_staff{"));
    assert_eq!(code(&run(&["fmt", "--check", &path], b"")), 1);
    let shown = run(&["fmt", "--diff", &path], b"");
    assert_eq!(code(&shown), 1);
    assert!(text(&shown.stdout).contains("-rule   mask_staff{"));
    assert_eq!(code(&run(&["fmt", &path], b"")), 0);
    assert_eq!(code(&run(&["fmt", "--check", &path], b"")), 0);
    assert_eq!(code(&run(&["test", &path], b"")), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_input() {
    let rules = std_rules("pii.rules").display().to_string();
    let mut child = rulec()
        .args(["scan", "--rules", &rules])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("rulec starts");
    let mut stdout = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).expect("read"));
    let mut stdin = child.stdin.take().expect("piped");
    let block = b"all is quiet here, nothing but words and one bob@example.com in it\n".repeat(1000);
    let peak = |id: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("peak");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB")
    };
    let mut after_first = 0;
    for i in 0..200 {
        stdin.write_all(&block).expect("written");
        if i == 20 {
            after_first = peak(child.id());
        }
    }
    let at_end = peak(child.id());
    drop(stdin);
    child.wait().expect("rulec ends");
    reader.join().expect("reader");
    assert!(at_end < after_first + 2048, "from {after_first} KiB to {at_end} KiB");
    assert!(at_end < 32 * 1024, "{at_end} KiB");
}
