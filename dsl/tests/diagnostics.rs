//! Golden files: each input of `diagnostics/` beside what the checker says about it. `BLESS=1` writes them anew.

use sluice_dsl::{CompileOptions, compile_files};
use std::path::Path;

#[test]
fn every_bad_file_is_diagnosed_as_its_golden_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut differing = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("folder").map(|e| e.expect("entry").path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rules")) {
        let compilation = compile_files(std::slice::from_ref(file), &CompileOptions::for_tests());
        assert!(compilation.has_errors(), "{} is accepted", file.display());
        let shown = compilation.render(false).replace(&format!("{}/", folder.display()), "");
        let shown = shown.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned() + "\n";
        let golden = file.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &shown).expect("write");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != shown {
            differing.push(format!("{}\n{shown}", file.display()));
        }
    }
    assert!(differing.is_empty(), "not as blessed (BLESS=1 accepts):\n{}", differing.join("\n"));
}
