//! The SARIF log of `rulec check`: against the standard's schema, and as code scanning reads it.

mod common;

use common::{code, rulec, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The schema of the standard, as the crate `serde-sarif` carries it.
fn schema() -> jsonschema::Validator {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo");
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("the metadata of the workspace");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").expect("a dependency of the tests");
    let manifest = package["manifest_path"].as_str().expect("its place");
    let path = Path::new(manifest).with_file_name("src").join("schema.json");
    let schema = std::fs::read_to_string(path).expect("the schema");
    assert!(schema.contains("2.1.0"), "it is of another version");
    // The standard has a bracket that some dialects of regular expressions take for a mistake.
    let schema = schema.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}\\\\]?$");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// A repository with the inputs of the golden files below `rules`.
fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("directory");
    std::fs::create_dir(root.path().join(".git")).expect("made");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    for part in ["", "lib"] {
        let copies = root.path().join("rules").join(part);
        std::fs::create_dir_all(&copies).expect("made");
        for entry in std::fs::read_dir(folder.join(part)).expect("folder") {
            let file = entry.expect("entry").path();
            if file.extension().is_some_and(|ending| ending == "rules") {
                std::fs::copy(&file, copies.join(file.file_name().expect("a name"))).expect("copied");
            }
        }
    }
    root
}

/// What `rulec check --format sarif` says, run in this folder, with its exit code.
fn check(folder: &Path, path: &str) -> (Value, i32) {
    let output = rulec().args(["check", "--format", "sarif", path]).current_dir(folder).output().expect("rulec");
    let log =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (log, code(&output))
}

fn results(log: &Value) -> &Vec<Value> {
    log["runs"][0]["results"].as_array().expect("results")
}

fn artifact(result: &Value) -> &Value {
    &result["locations"][0]["physicalLocation"]["artifactLocation"]
}

#[test]
fn the_log_of_every_finding_is_valid_and_points_to_its_rule_and_place() {
    let (root, schema) = (repository(), schema());
    let mut codes = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(root.path().join("rules")).expect("folder") {
        let name = entry.expect("entry").file_name().into_string().expect("text");
        if !name.ends_with(".rules") {
            continue;
        }
        let (log, _) = check(root.path(), &format!("rules/{name}"));
        let wrong: Vec<String> = schema.iter_errors(&log).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
        let source =
            String::from_utf8_lossy(&std::fs::read(root.path().join("rules").join(&name)).expect("read")).into_owned();
        for result in results(&log) {
            let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
            assert_eq!(rules[index]["id"], result["ruleId"], "{name}");
            codes.insert(result["ruleId"].to_string());
            if result["locations"].is_null() {
                continue;
            }
            assert_eq!(artifact(result)["uriBaseId"], "%SRCROOT%", "{name}");
            let region = &result["locations"][0]["physicalLocation"]["region"];
            let number = |member: &str| region[member].as_u64().expect("a number");
            assert!((number("startLine"), number("startColumn")) <= (number("endLine"), number("endColumn")), "{name}");
            let length = source.split('\n').nth(number("endLine") as usize - 1).expect("a line").chars().count() as u64;
            assert!(number("endColumn") <= length + 1, "{name}: {region}");
        }
    }
    let all: std::collections::BTreeSet<String> =
        sluice_dsl::Code::ALL.iter().map(|code| format!("\"{}\"", code.id())).collect();
    assert_eq!(codes, all, "no log showed some codes");
    // A schema that takes everything proves nothing.
    assert!(
        !schema.is_valid(&serde_json::json!({ "version": "2.1.0", "runs": [{ "results": [{ "level": "bad" }] }] }))
    );
}

#[test]
fn a_log_without_findings_and_one_of_a_check_that_could_not_be_done_are_valid() {
    let (root, schema) = (repository(), schema());
    std::fs::write(root.path().join("clean.rules"), common::STAFF).expect("written");
    std::fs::write(root.path().join("empty.rules"), "language 1\n").expect("written");
    for (name, exit, successful) in [("clean.rules", 0, true), ("empty.rules", 2, false)] {
        let (log, code) = check(root.path(), name);
        assert!(schema.is_valid(&log), "{name}");
        assert_eq!(code, exit, "{name}");
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], successful, "{name}");
    }
}

#[test]
fn paths_are_of_the_repository_wherever_it_is_run_and_written_as_uris() {
    let root = repository();
    let folder = root.path().join("rules/über uns 100%");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("a b.rules"), "language 1\nrule x { on request then block \"\\q\" }\n")
        .expect("written");
    let expected = "rules/%C3%BCber%20uns%20100%25/a%20b.rules";
    for (from, path) in
        [(folder.as_path(), "a b.rules"), (root.path(), "rules/über uns 100%"), (&folder, "../über uns 100%")]
    {
        let (log, _) = check(from, path);
        assert_eq!(artifact(&results(&log)[0])["uri"], expected, "{}", from.display());
    }
    // A file of another place is named by all of it.
    let elsewhere = tempfile::tempdir().expect("directory");
    let path: PathBuf = elsewhere.path().canonicalize().expect("a place").join("b.rules");
    std::fs::write(&path, "language 2\n").expect("written");
    let (log, _) = check(root.path(), &path.display().to_string());
    let found = artifact(&results(&log)[0]);
    assert_eq!(found["uri"], format!("file://{}", path.display()));
    assert!(found["uriBaseId"].is_null());
}

#[test]
fn a_finding_keeps_its_fingerprint_when_lines_are_added_above_and_two_alike_are_told_apart() {
    let root = repository();
    let path = root.path().join("moving.rules");
    let wrong = "rule a {\n  on request when target == nobody then block\n}\nrule b {\n  on request when target == nobody then block\n}\n";
    let prints = |text: String| -> Vec<String> {
        std::fs::write(&path, text).expect("written");
        let (log, exit) = check(root.path(), "moving.rules");
        assert_eq!(exit, 1);
        let print = |result: &Value| {
            result["partialFingerprints"]["primaryLocationLineHash"].as_str().expect("text").to_owned()
        };
        results(&log).iter().map(print).collect()
    };
    let before = prints(format!("language 1\n{wrong}"));
    let after = prints(format!("language 1\n# One line more,\n\n# and another.\n{}", wrong.replace("  on", "    on")));
    assert_eq!(before, after);
    let mut different = before.clone();
    different.sort();
    different.dedup();
    assert_eq!((before.len() >= 2, different.len()), (true, before.len()), "{before:?}");
}

#[test]
fn fixes_and_the_other_places_involved_are_in_the_log() {
    let root = repository();
    let text = "language 1\nlist hosts = [\"a\"]\nlist hosts = [\"b\"]\nrule x { on request when targe == \"a\" then block }\n";
    std::fs::write(root.path().join("two.rules"), text).expect("written");
    let (log, _) = check(root.path(), "two.rules");
    let of = |code: &str| results(&log).iter().find(|result| result["ruleId"] == code).expect("a finding");
    let related = &of("E011")["relatedLocations"][0];
    assert_eq!(related["physicalLocation"]["region"]["startLine"], 2);
    assert!(related["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
    let change = &of("E020")["fixes"][0]["artifactChanges"][0];
    assert_eq!(change["artifactLocation"]["uri"], "two.rules");
    assert_eq!(change["replacements"][0]["insertedContent"]["text"], "target");
    let region = &change["replacements"][0]["deletedRegion"];
    assert_eq!(
        (&region["startLine"], &region["startColumn"], &region["endColumn"]),
        (&4.into(), &26.into(), &31.into())
    );
}
