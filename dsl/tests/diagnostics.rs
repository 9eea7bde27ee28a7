//! Golden files: each input of `diagnostics/` beside what the checker says about it, as text and as JSON.
//! `cargo xtask bless` writes them anew.

use sluice_dsl::{Code, Compilation, CompileOptions, compile_files};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

/// The inputs with what is found in each.
fn inputs() -> Vec<(PathBuf, Compilation)> {
    let mut files: Vec<_> = std::fs::read_dir(folder()).expect("folder").map(|e| e.expect("entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "rules"));
    files.sort();
    let compile = |file: PathBuf| {
        let compilation = compile_files(std::slice::from_ref(&file), &CompileOptions::for_tests());
        (file, compilation)
    };
    files.into_iter().map(compile).collect()
}

/// Without the place of the repository, and without blanks at the ends of lines.
fn portable(text: &str) -> String {
    let text = text.replace(&format!("{}/", folder().display()), "");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned() + "\n"
}

#[test]
fn every_bad_file_is_diagnosed_as_its_golden_file_says() {
    let mut differing = Vec::new();
    for (file, compilation) in inputs() {
        assert!(!compilation.diagnostics.is_empty(), "nothing is found in {}", file.display());
        let json = serde_json::to_string_pretty(&compilation.diagnostics).expect("JSON");
        for (ending, shown) in [("txt", compilation.render(false)), ("json", json)] {
            let (golden, shown) = (file.with_extension(ending), portable(&shown));
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&golden, &shown).expect("written");
            } else if std::fs::read_to_string(&golden).unwrap_or_default() != shown {
                differing.push(format!("{}\n{shown}", golden.display()));
            }
        }
    }
    assert!(differing.is_empty(), "not as blessed (`cargo xtask bless` accepts):\n{}", differing.join("\n"));
}

#[test]
fn every_code_has_a_golden_file() {
    let mut seen: Vec<Code> = inputs().iter().flat_map(|(_, found)| &found.diagnostics).map(|d| d.code).collect();
    seen.dedup();
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).map(|code| code.id()).collect();
    assert!(missing.is_empty(), "no file in {} has {missing:?}", folder().display());
}

#[test]
fn every_message_reads_as_the_language_asks() {
    for (file, compilation) in inputs() {
        for found in &compilation.diagnostics {
            let (message, file) = (&found.message, file.display());
            let first = message.chars().next().expect("a message");
            assert!(!first.is_uppercase(), "{file}: {message}");
            assert!(!message.ends_with('.') && !message.contains('\n'), "{file}: {message}");
            assert!(
                found.help.is_some() || !found.label.is_empty(),
                "{file}: nothing says what to do about: {message}"
            );
        }
    }
}

#[test]
fn every_fix_leaves_text_that_can_be_checked_and_lacks_what_it_mends() {
    for (file, compilation) in inputs() {
        for found in &compilation.diagnostics {
            let Some(source) = compilation.sources.iter().find(|source| source.path == found.path) else { continue };
            for fix in &found.fixes {
                let mut text = source.text.clone();
                for edit in fix.edits.iter().rev() {
                    text.replace_range(edit.span.clone(), &edit.text);
                }
                let after = sluice_dsl::compile_source(&source.path, &text, &CompileOptions::for_tests());
                let before = compilation.diagnostics.iter().filter(|d| d.message == found.message).count();
                let left = after.diagnostics.iter().filter(|d| d.message == found.message).count();
                assert!(left < before, "{}: `{}` leaves {}\n{text}", file.display(), fix.title, found.message);
            }
        }
    }
}
