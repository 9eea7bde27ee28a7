//! The reference of the book is the one that the tables print.

use std::path::Path;

#[test]
fn the_page_of_the_book_is_the_printed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let printed = sluice_dsl::reference::markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &printed).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == printed, "{} is old: `cargo xtask bless`", path.display());
}

#[test]
fn every_table_has_as_many_cells_in_a_row_as_its_head_and_no_detector_is_without_its_length() {
    let page = sluice_dsl::reference::markdown();
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut head = None;
    let mut detectors = 0;
    for line in page.lines() {
        if !line.starts_with('|') {
            head = None;
            continue;
        }
        assert_eq!(cells(line), *head.get_or_insert(cells(line)), "{line}");
        if line.starts_with("| `std.") {
            detectors += 1;
            let length = line.trim_end_matches(" |").rsplit("| ").next().expect("a cell");
            assert!(length.parse::<usize>().is_ok_and(|bytes| bytes > 0), "{line}");
        }
    }
    assert!(detectors > 10, "{detectors}");
}
