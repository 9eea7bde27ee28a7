//! What the tools write is as their schemas say, and the schema of the facts is the table of fields.

mod common;

use common::{STAFF, code, file, run, std_rules, text};
use serde_json::Value;
use sluice_dsl::fields::FIELDS;

fn schema(name: &str) -> Value {
    let output = run(&["schema", name], b"");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Each line that was written, checked. Nothing written proves nothing.
#[track_caller]
fn fits(name: &str, written: &[Value]) {
    let schema = schema(name);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(!written.is_empty(), "{name}: nothing was written");
    for value in written {
        let wrong: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}\n{value:#}");
    }
    // A schema that takes everything proves nothing.
    assert!(!validator.is_valid(&serde_json::json!({"nonsense": 1})), "{name} takes anything");
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_schema_is_one_and_all_of_them_come_at_once() {
    let all: Value = serde_json::from_slice(&run(&["schema"], b"").stdout).expect("JSON");
    let all = all.as_object().expect("an object");
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["facts", "check", "test", "coverage", "diff", "scan", "bench", "bundle"]
    );
    for (name, one) in all {
        assert!(jsonschema::meta::is_valid(one), "{name}");
        assert_eq!(*one, schema(name));
        assert!(one["title"].is_string(), "{name}");
    }
    let output = run(&["schema", "bundel"], b"");
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("did you mean `bundle`?"));
}

#[test]
fn the_facts_are_the_fields_of_the_language() {
    let facts = schema("facts");
    let properties = facts["properties"].as_object().expect("an object");
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    assert_eq!(names, FIELDS.iter().map(|field| field.name).collect::<Vec<_>>());
    let given = serde_json::json!({
        "protocol": "postgres", "target": "db-1", "user.group": ["dba"], "sql.verb": ["drop"], "sql.has_where": false, "size": 12,
    });
    let validator = jsonschema::validator_for(&facts).expect("a schema");
    assert!(validator.is_valid(&given));
    assert!(!validator.is_valid(&serde_json::json!({"protocol": "gopher"})));
    assert!(!validator.is_valid(&serde_json::json!({"sql.verbb": []})));
}

#[test]
fn findings_fit_their_schema() {
    let directory = tempfile::tempdir().expect("directory");
    // A label, a help, a related place and fixes.
    let rules = "language 1\nlist a = [\"x\"]\nlist a = [b]\nrule r { on response match std.pi.email then mask redct }\n\
                 rule s { on request when user.gruop has \"x\" then block }\n";
    let path = file(&directory, "bad.rules", rules);
    let found = lines(&run(&["check", &path, "--format", "json"], b"").stdout);
    for member in ["help", "related", "fixes"] {
        assert!(found.iter().any(|one| one.get(member).is_some()), "no {member} among {found:#?}");
    }
    fits("check", &found);
}

#[test]
fn outcomes_of_tests_and_their_coverage_fit_their_schemas() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "staff.rules", &STAFF.replace("[staff] ok\" by", "[other] ok\" by"));
    let mut outcomes = lines(&run(&["test", &path, "--coverage", "--format", "json"], b"").stdout);
    let coverage = outcomes.pop().expect("the last line")["coverage"].clone();
    assert!(outcomes[0].get("diff").is_some());
    fits("test", &outcomes);
    let sql = std_rules("sql.rules").display().to_string();
    let output = run(&["test", &sql, "--filter", "drop", "--coverage", "--format", "json"], b"");
    let other = lines(&output.stdout).pop().expect("a line")["coverage"].clone();
    assert!(other["missed"].as_array().is_some_and(|missed| !missed.is_empty()));
    fits("coverage", &[coverage, other]);
}

#[test]
fn differences_fit_their_schema() {
    let directory = tempfile::tempdir().expect("directory");
    let (old, new) = (file(&directory, "a.rules", STAFF), file(&directory, "b.rules", &STAFF.replace("{6}", "{7}")));
    let found = lines(&run(&["diff", &old, &new, "--format", "json"], b"").stdout);
    assert_eq!(found[0]["verdict"], "weaker");
    fits("diff", &found);
}

#[test]
fn decisions_fit_their_schema() {
    let pii = std_rules("pii.rules").display().to_string();
    let sql = std_rules("sql.rules").display().to_string();
    let mut found = lines(&run(&["scan", "--rules", &pii, "--format", "json"], b"to bob@example.com").stderr);
    let args = ["scan", "--rules", &sql, "--direction", "request", "--protocol", "sql", "--format", "json"];
    found.extend(lines(&run(&args, b"DROP TABLE users").stderr));
    assert!(found.len() >= 2);
    fits("scan", &found);
}

#[test]
fn a_bundle_fits_its_schema() {
    let directory = tempfile::tempdir().expect("directory");
    let (path, out) = (file(&directory, "staff.rules", STAFF), directory.path().join("staff.bundle"));
    assert_eq!(code(&run(&["build", &path, "--out", &out.display().to_string()], b"")), 0);
    fits("bundle", &[serde_json::from_slice(&std::fs::read(out).expect("written")).expect("JSON")]);
}

#[test]
fn bench_measures_every_rule_of_the_direction_with_and_without_it() {
    let directory = tempfile::tempdir().expect("directory");
    let rules = file(
        &directory,
        "two.rules",
        "language 1\npattern id = /\\bEMP-[0-9]{6}\\b/\npattern mail = /[a-z]{1,64}@[a-z]{1,64}/\n\
         rule mask_id { on response match id then mask redact }\nrule no_mail { on response match mail then block }\n\
         rule asks { on request match id then block }\n",
    );
    let corpus =
        file(&directory, "corpus.txt", &"a line of EMP-004711 and ann@example\nall is quiet in this one\n".repeat(40));
    let args = ["bench", "--rules", &rules, "--turns", "3", "--format", "json", &corpus];
    let output = run(&args, b"");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let report = lines(&output.stdout);
    fits("bench", &report);
    let report = &report[0];
    assert_eq!((&report["all"]["matches"], &report["turns"]), (&80.into(), &3.into()));
    let mut rules: Vec<(&str, u64, u64, u64)> = report["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| {
            let number = |value: &Value| value.as_u64().expect("a number");
            let alone = &rule["alone"];
            (
                rule["rule"].as_str().expect("a name"),
                number(&alone["matches"]),
                number(&alone["hold_back"]),
                number(&rule["hold_back_without"]),
            )
        })
        .collect();
    rules.sort_unstable();
    assert_eq!(rules, [("mask_id", 40, 10, 129), ("no_mail", 40, 129, 10)]);
    for rule in report["rules"].as_array().expect("a list") {
        let ratio = &rule["without"];
        let [low, median, high] = ["low", "median", "high"].map(|part| ratio[part].as_f64().expect("a number"));
        assert!(0.0 < low && low <= median && median <= high, "{ratio}");
    }
    let table = text(&run(&[&args[..5], &[corpus.as_str()]].concat(), b"").stdout);
    assert!(
        table.starts_with("all rules: ") && table.contains("\nmask_id ") && table.contains("\nno_mail "),
        "{table}"
    );
    let empty = file(&directory, "empty.txt", "");
    for args in
        [["bench", "--rules", &rules_of(&directory), &empty], ["bench", "--rules", &rules_of(&directory), "missing"]]
    {
        assert_eq!(code(&run(&args, b"")), 2, "{args:?}");
    }
}

fn rules_of(directory: &tempfile::TempDir) -> String {
    directory.path().join("two.rules").display().to_string()
}
