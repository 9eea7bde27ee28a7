//! Folders of rules, and the files that put the tools to work in other people's repositories.

mod common;

use common::{code, file, rulec, run, text};
use std::path::{Path, PathBuf};

fn rules(number: usize) -> String {
    format!(
        "language 1\npack acme.p{number} \"1.0.0\"\npattern id = /\\bP{number}-[0-9]{{6}}\\b/\nrule mask_{number} {{\n  \
         on response\n  match id\n  then mask redact(with: \"[{number}]\")\n}}\ntest \"{number} is masked\" {{\n  \
         given response {{ protocol mcp target \"crm\" }}\n  send \"see P{number}-004711\"\n  \
         expect mask \"see [{number}]\" by mask_{number}\n}}\n"
    )
}

#[test]
fn hundreds_of_files_are_read_in_their_order_and_counted() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().display().to_string();
    for number in 0..300 {
        file(&directory, &format!("r{number:04}.rules"), &rules(number));
    }
    let checked = run(&["check", &path], b"");
    assert_eq!((code(&checked), text(&checked.stdout)), (0, "300 files read: no findings\n".to_owned()));
    assert!(checked.stderr.is_empty(), "progress is for terminals: {}", text(&checked.stderr));
    let tested = run(&["test", &path], b"");
    assert!(tested.stderr.is_empty());
    let expected: String = (0..300).map(|number| format!("ok      {number} is masked\n")).collect();
    assert_eq!(text(&tested.stdout), format!("{expected}300 passed, 0 failed\n"));
    // What is wrong is told in the order of the files, each time.
    for number in [7, 70, 200] {
        file(&directory, &format!("r{number:04}.rules"), &rules(number).replace("match id", "match ids"));
    }
    let found = text(&run(&["check", &path, "--format", "concise"], b"").stdout);
    let errors: Vec<&str> = found.lines().filter(|line| line.contains(" E013 ")).collect();
    let places: Vec<&str> = errors.iter().filter_map(|line| line.rsplit('/').next()?.split(':').next()).collect();
    assert_eq!(places, ["r0007.rules", "r0070.rules", "r0200.rules"]);
    let full = text(&run(&["check", &path], b"").stdout);
    let last = full.lines().last().expect("a line");
    assert!(last.starts_with("300 files read: 3 errors, "), "{last}");
}

#[test]
fn what_ignore_files_leave_out_is_not_read_unless_it_is_named() {
    let directory = tempfile::tempdir().expect("directory");
    for folder in ["kept", "left", ".hidden"] {
        std::fs::create_dir(directory.path().join(folder)).expect("folder");
    }
    file(&directory, "kept/a.rules", &rules(1));
    file(&directory, "kept/notes.txt", "no rules");
    let broken = file(&directory, "left/b.rules", "nonsense");
    file(&directory, ".hidden/c.rules", "nonsense");
    file(&directory, ".ignore", "left/\n");
    let path = directory.path().display().to_string();
    let output = run(&["check", &path], b"");
    assert_eq!((code(&output), text(&output.stdout)), (0, "1 file read: no findings\n".to_owned()));
    assert_eq!(code(&run(&["fmt", "--check", &path], b"")), 0);
    assert_eq!(code(&run(&["check", &broken], b"")), 1, "what is named is meant");
}

#[test]
fn annotations_name_file_line_and_column_whatever_the_file_is_called() {
    let directory = tempfile::tempdir().expect("directory");
    let path = file(&directory, "a,b:c%d.rules", "language 1\nrule r { on response match nothing then mask redact }\n");
    let output = text(&run(&["check", "--format", "github", &path], b"").stdout);
    let escaped = path.replace('%', "%25").replace(':', "%3A").replace(',', "%2C");
    let start = format!("::error file={escaped},line=2,col=28,title=E013::unknown pattern `nothing`\n");
    assert!(output.contains(&start), "{output}");
    assert!(output.lines().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")), "{output}");
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Runs a line of a file for other people in a repository of theirs.
fn in_repository(directory: &Path, command: &str) -> (i32, String) {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("rulec"));
    let output = rulec().args(words).current_dir(directory).output().expect("rulec runs");
    (code(&output), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_example_workflow_passes_good_rules_and_stops_what_gets_weaker() {
    let workflow = std::fs::read_to_string(repository("examples/ci/rules.yml")).expect("the example");
    let commands: Vec<&str> = workflow.lines().filter_map(|line| line.trim().strip_prefix("run: ")).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|command| command.starts_with("rulec ")).collect();
    assert_eq!(commands.len(), 7, "{commands:?}");
    let directory = tempfile::tempdir().expect("directory");
    for folder in ["rules", "before", "before/rules"] {
        std::fs::create_dir(directory.path().join(folder)).expect("folder");
    }
    for folder in ["rules", "before/rules"] {
        file(&directory, &format!("{folder}/a.rules"), &rules(1));
    }
    assert_eq!(in_repository(directory.path(), "rulec pack lock rules").0, 0);
    for command in &commands {
        let (code, said) = in_repository(directory.path(), command);
        assert_eq!(code, 0, "{command}: {said}");
    }
    for written in ["rules.xml", "rules.sarif", "rules.bundle"] {
        assert!(directory.path().join(written).exists(), "{written}");
    }
    file(&directory, "rules/a.rules", &rules(1).replace("{6}", "{7}").replace("004711", "0004711"));
    let stopped: Vec<&&str> =
        commands.iter().filter(|command| in_repository(directory.path(), command).0 != 0).collect();
    assert_eq!(stopped, [&"rulec diff --format github before/rules rules"]);
}

#[test]
fn the_hooks_run_commands_that_there_are() {
    let hooks = std::fs::read_to_string(repository(".pre-commit-hooks.yaml")).expect("the hooks");
    let entries: Vec<&str> = hooks.lines().filter_map(|line| line.trim().strip_prefix("entry: ")).collect();
    assert_eq!(entries.len(), hooks.matches("- id: ").count());
    let directory = tempfile::tempdir().expect("directory");
    file(&directory, "a.rules", &rules(1));
    for entry in &entries {
        let (code, said) = in_repository(directory.path(), entry);
        assert_eq!(code, 0, "{entry}: {said}");
    }
    file(&directory, "a.rules", &rules(1).replace("[1]\" by", "[2]\" by"));
    let failed: Vec<&&str> = entries.iter().filter(|entry| in_repository(directory.path(), entry).0 != 0).collect();
    assert_eq!(failed, [&"rulec test --format concise"]);
}
