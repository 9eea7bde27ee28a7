//! Golden files: each input of `diagnostics/` beside what the checker says about it, as text and as JSON.
//! `cargo xtask bless` writes them anew.

use sluice_dsl::{Compilation, CompileOptions, compile_files};
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
