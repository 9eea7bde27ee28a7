//! The recipes of the book: each file alone is without findings and proves itself, and the page names each.

mod common;

use common::{code, run, text};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn each_recipe_stands_alone_and_the_page_names_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/recipes.md")).expect("the page");
    let linked: BTreeSet<&str> =
        page.split("(../examples/recipes/").skip(1).map(|rest| rest.split_once(')').expect("a link ends").0).collect();
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("examples/recipes")).expect("the folder") {
        let path = entry.expect("an entry").path();
        for tool in ["check", "test"] {
            let output = run(&[tool, &path.display().to_string()], b"");
            assert_eq!(code(&output), 0, "{tool} {}{}", text(&output.stdout), text(&output.stderr));
        }
        there.insert(path.file_name().expect("a name").to_string_lossy().into_owned());
    }
    assert_eq!(linked, there.iter().map(String::as_str).collect());
    assert!(there.len() >= 10, "{there:?}");
}
