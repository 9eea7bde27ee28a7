//! Whatever stands in a file: no panic, no hang, messages bounded in number, and an exit code that says what happened.

use proptest::prelude::*;
use sluice_dsl::{Compilation, CompileOptions, compile_source};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn compile(text: &str) -> Compilation {
    compile_source("test.rules", text, &CompileOptions::for_tests())
}

const EXAMPLE: &str = include_str!("fixtures/payments.rules");

fn rulec(args: &[&str], path: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rulec")).args(args).arg(path).output().expect("rulec runs")
}

fn file(directory: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join("bad.rules");
    std::fs::write(&path, bytes).expect("written");
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_checked_and_its_messages_are_shown(text in "\\PC{0,200}") {
        let compilation = compile(&text);
        prop_assert!(compilation.policy.is_none());
        prop_assert!(!compilation.render(false).is_empty());
    }

    #[test]
    fn good_rules_with_holes_copies_and_strange_characters_are_checked(
        cuts in prop::collection::vec((0..EXAMPLE.len(), 0..60_usize, prop::sample::select(vec![
            "", "\0", "{", "}", "(", "[", "\"", "/", "#", "\u{202e}", "\u{200b}", "and", "not ", "rule ", "é", "\r\n", "1", "\\",
        ])), 1..6),
    ) {
        let mut text = EXAMPLE.to_owned();
        for (at, length, put) in cuts {
            let boundary = |mut at: usize, text: &str| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let start = boundary(at, &text);
            let end = boundary(start + length, &text).max(start);
            text.replace_range(start..end, put);
        }
        let compilation = compile(&text);
        for found in &compilation.diagnostics {
            if found.path == "test.rules" {
                prop_assert!(found.span.end <= text.len() && text.is_char_boundary(found.span.start), "{:?}", found);
                prop_assert!(found.line > 0 && found.column > 0, "{:?}", found);
            }
            for edit in found.fixes.iter().flat_map(|fix| &fix.edits) {
                prop_assert!(text.is_char_boundary(edit.span.start) && text.is_char_boundary(edit.span.end));
            }
        }
        prop_assert_eq!(compilation.render(true).is_empty(), compilation.diagnostics.is_empty());
    }
}

#[test]
fn hostile_files_take_time_that_grows_with_their_length_alone() {
    let fill = |unit: &str| format!("language 1\n{}", unit.repeat(128 * 1024 / unit.len()));
    let tests = |count: usize| {
        let tests: Vec<String> = (0..count).map(|n| format!("target == \"x{n}\"")).collect();
        tests.join(" and ")
    };
    let words: Vec<String> = (0..10_000).map(|n| format!("\"host-{n}\"")).collect();
    let mut texts: Vec<String> = [
        "(",
        "[",
        "{",
        "\"",
        "/",
        "#",
        "rule\n",
        "list a = [\n",
        "rul x\n",
        "x",
        "\0",
        "\\",
        "not ",
        "\u{202e}",
        "é\n",
    ]
    .map(fill)
    .to_vec();
    texts.push(format!(
        "language 1\nlist l = [{}]\nrule r {{ on request when target in l then block }}",
        words.join(",")
    ));
    texts.push(format!("language 1\nrule r {{ on request when {} then block }}", tests(3_000)));
    texts.push(format!("language 1\nrule r {{ on request when {} then block }}", tests(400)));
    texts.push(fill("# suppress: W004 -- x\n"));
    for text in texts {
        let start = Instant::now();
        let compilation = compile(&text);
        let shown = compilation.render(false);
        let (took, begins) =
            (start.elapsed(), text.chars().skip(11).take(20).collect::<String>().escape_debug().to_string());
        assert!(took < Duration::from_secs(60), "{begins}: {took:?}");
        assert!(compilation.diagnostics.len() <= 6_200, "{begins}: {}", compilation.diagnostics.len());
        let errors = compilation.diagnostics.iter().filter(|d| d.code.id().starts_with('E')).count();
        assert!(errors <= 121, "{begins}: {errors} errors");
        assert!(shown.len() < 16 << 20, "{begins}: {} bytes", shown.len());
    }
}

#[test]
fn many_rules_are_checked_together_in_bounded_time() {
    let rule = |n: usize| {
        format!(
            "rule ask{n} {{ on request when target == \"t{n}\" and sql.verb == drop then approve by [\"a\"] }}\n\
            rule stop{n} {{ on request when target == \"u{n}\" and sql.verb in [drop, grant] then block }}\n"
        )
    };
    let text = format!("language 1\n{}", (0..700).map(rule).collect::<String>());
    let start = Instant::now();
    let compilation = compile(&text);
    assert!(!compilation.has_errors());
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_file_of_50_megabytes_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, &vec![b'x'; 50 << 20]);
    let start = Instant::now();
    let output = rulec(&["check"], &path);
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("E005") && shown.contains("longer than 4 MiB"), "{shown}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let directory = tempfile::tempdir().expect("directory");
    let output = rulec(&["check"], &file(&directory, b"language 1\nrule a { \xff\xfe }"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("not UTF-8 at byte 20"));
    let output = rulec(&["check"], &file(&directory, b"language 1\0\nrule a { on request then block }\0"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("U+0000"));
}

#[test]
fn line_ends_of_windows_change_neither_what_is_found_nor_where() {
    let text = EXAMPLE.replace("target in prod_hosts", "target in prod_host");
    let found = |text: &str| -> Vec<_> {
        let compilation = compile_source("payments.rules", text, &CompileOptions::for_tests());
        compilation.diagnostics.iter().map(|d| (d.code, d.line, d.column, d.message.clone())).collect()
    };
    assert_eq!(found(&text), found(&text.replace('\n', "\r\n")));
    assert!(!found(&text).is_empty());
}

#[test]
fn who_stops_reading_still_gets_the_verdict() {
    let directory = tempfile::tempdir().expect("directory");
    let text: String =
        (0..2_000).map(|n| format!("rule r{n} {{ on request when targt == \"x\" then block }}\n")).collect();
    for (text, verdict) in
        [(text.as_str(), 1), ("language 1\nrule r { on request when target == \"x\" then block }", 0)]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rulec"))
            .arg("check")
            .arg(file(&directory, text.as_bytes()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rulec starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("rulec ends");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(verdict), 0));
    }
}
