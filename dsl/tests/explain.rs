//! The explanations of the codes: every example shows its code and no other, every "use instead" is clean and its tests pass.

use sluice_dsl::{Code, CompileOptions, compile_files, testing};
use std::process::Command;

/// A fence of the Markdown: what follows its mark, and what stands in it.
struct Fence {
    info: String,
    text: String,
}

fn section(code: Code, name: &str) -> Vec<Fence> {
    let (_, rest) =
        code.markdown().split_once(&format!("## {name}\n")).unwrap_or_else(|| panic!("{code:?}: no {name}"));
    let section = rest.split("\n## ").next().expect("the first part");
    let mut parts = section.split("```").skip(1);
    let mut out = Vec::new();
    while let (Some(fence), Some(_)) = (parts.next(), parts.next()) {
        let (info, text) = fence.split_once('\n').expect("a line");
        out.push(Fence { info: info.to_owned(), text: text.to_owned() });
    }
    out
}

/// With `\x..` as the byte that it names, where the fence says so.
fn bytes(fence: &Fence) -> Vec<u8> {
    if !fence.info.contains("bytes") {
        return fence.text.clone().into_bytes();
    }
    let mut parts = fence.text.split("\\x");
    let mut out = parts.next().expect("the first part").as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).expect("a byte"));
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}

/// What is found in a section, the last fence being the file that is given.
fn found(code: Code, name: &str) -> (Vec<&'static str>, String, bool) {
    let directory = tempfile::tempdir().expect("directory");
    let fences = section(code, name);
    let (main, others) = fences.split_last().unwrap_or_else(|| panic!("{code:?}: {name} has no rules"));
    for other in others {
        let file = other.info.split(' ').find(|word| word.ends_with(".rules")).expect("its name");
        std::fs::write(directory.path().join(file), bytes(other)).expect("written");
    }
    let path = directory.path().join("example.rules");
    std::fs::write(&path, bytes(main)).expect("written");
    let compilation = compile_files(&[path], &CompileOptions::for_tests());
    let mut codes: Vec<_> = compilation.diagnostics.iter().map(|d| d.code.id()).collect();
    codes.dedup();
    let outcomes = testing::run(&compilation, None);
    (codes, compilation.render(false), outcomes.iter().all(|outcome| outcome.passed))
}

#[test]
fn every_example_shows_its_code_and_no_other() {
    let mut wrong = String::new();
    for code in Code::ALL {
        let (codes, shown, passed) = found(*code, "Example");
        if codes != [code.id()] || !passed {
            wrong += &format!("{code:?} ({}): {codes:?}, tests pass: {passed}\n{shown}\n", code.id());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_to_use_instead_is_clean_and_passes_its_tests() {
    let mut wrong = String::new();
    for code in Code::ALL {
        let (codes, shown, passed) = found(*code, "Use instead");
        if !codes.is_empty() || !passed {
            wrong += &format!("{code:?} ({}): {codes:?}, tests pass: {passed}\n{shown}\n", code.id());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_explanation_says_why() {
    for code in Code::ALL {
        let text = code.markdown();
        assert!(text.starts_with("## Why it is bad\n\n"), "{code:?}");
        let why = text.split("\n## ").next().expect("the first part");
        assert!(why.trim_end().ends_with('.') && why.len() > 60, "{code:?}: {why}");
        assert!(code.text().ends_with('.'), "{code:?}");
    }
}

#[test]
fn the_command_prints_all_of_it_and_offers_the_nearest_code() {
    let run = |code: &str| Command::new(env!("CARGO_BIN_EXE_rulec")).args(["explain", code]).output().expect("rulec");
    let output = run("e031");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    for part in ["E031 unbounded pattern", "Why it is bad", "    pattern staff = ", "Use instead", "max 8KiB"] {
        assert!(shown.contains(part), "{part} is missing of\n{shown}");
    }
    let output = run("unbounded patern");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `unbounded pattern`?"));
    assert_eq!(run("unbounded pattern").stdout, run("E031").stdout);
}
