//! `rulec check --fix`: what it corrects, what it leaves alone, and how it writes.

use sluice_dsl::fix::{Fixed, fix};
use sluice_dsl::{Applicability, Compilation, CompileOptions, compile_files, compile_source, compile_texts};
use std::path::Path;
use std::process::{Command, Output};

fn options() -> CompileOptions {
    CompileOptions::for_tests()
}

fn fixed(text: &str, most: Applicability) -> (String, Fixed) {
    let fixed = fix(&compile_source("test.rules", text, &options()), &options(), most);
    let after = fixed.files.first().map_or(text.to_owned(), |file| file.after.clone());
    (after, fixed)
}

fn safe(text: &str) -> String {
    fixed(text, Applicability::Safe).0
}

#[test]
fn what_can_only_mean_one_thing_is_corrected_in_one_run() {
    let text = "# a\u{200b}b\nlist staff = [\"a\"]\npattern p = /x{1,3}/ nocase\n\
        rule r { on request when target == prod and user.id == staff and user.group == \"dba\" match p then block }\n\
        test \"t\" { given request { protocol mcp target prod user.id \"a\" user.group [\"dba\"] } send \"X\" expect block by r }\n";
    let expected = "language 1\n# ab\nlist staff = [\"a\"]\npattern p = /(?i:x{1,3})/\n\
        rule r { on request when target == \"prod\" and user.id in staff and user.group has \"dba\" match p then block }\n\
        test \"t\" { given request { protocol mcp target \"prod\" user.id \"a\" user.group [\"dba\"] } send \"X\" expect block by r }\n";
    let after = safe(text);
    // White space before what was removed stays.
    assert_eq!(after.replace(" \nrule", "\nrule"), expected);
    let compilation = compile_source("test.rules", &after, &options());
    assert!(compilation.diagnostics.is_empty(), "{}", compilation.render(false));
}

#[test]
fn what_may_mean_another_thing_is_left_unless_asked_for() {
    let text = "language 1\nrule r { on request when sql.verbz == drop then block }\n";
    assert_eq!(safe(text), text);
    let (after, fixed) = fixed(text, Applicability::Suggested);
    assert!(after.contains("sql.verb == drop"));
    assert_eq!(fixed.done.len(), 1);
    assert_eq!((fixed.done[0].line, fixed.done[0].code.id()), (2, "E020"));
}

#[test]
fn of_two_ways_to_settle_a_conflict_none_is_chosen() {
    let text = "language 1\npattern p = /EMP-[0-9]{6}/\nrule a { on response match p then mask redact }\n\
        rule b { on response match p then mask hash(key: \"k\") }\n";
    assert_eq!(fixed(text, Applicability::Suggested).0, text);
}

#[test]
fn nothing_is_applied_that_changes_what_good_rules_decide() {
    let text = "language 1\nrule a { on request when target == \"x\" then block } # suppress: W007 -- once\n";
    let before = compile_source("test.rules", text, &options()).policy.expect("good");
    let after = safe(text);
    assert_eq!(after, "language 1\nrule a { on request when target == \"x\" then block }\n");
    let after = compile_source("test.rules", &after, &options()).policy.expect("good");
    assert!(before.same_as(&after));
    let other = compile_source("test.rules", &text.replace("\"x\"", "\"y\""), &options()).policy.expect("good");
    assert!(!before.same_as(&other));
}

#[test]
fn files_that_import_each_other_are_corrected_together() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (a, b) = (path("a.rules"), path("b.rules"));
    let texts = [
        (a.as_str(), "import \"./b.rules\" as b\nrule r { on request when user.id == b.staff then block }\n"),
        (b.as_str(), "list staff = [\"x\"]\n"),
    ];
    let fixed = fix(&compile_texts(&texts, &options()), &options(), Applicability::Safe);
    let after: Vec<(&str, &str)> = fixed.files.iter().map(|f| (f.path.as_str(), f.after.as_str())).collect();
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(!compile_texts(&after, &options()).has_errors());
}

#[test]
fn no_fix_of_any_golden_file_brings_an_error_and_a_second_run_changes_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let errors = |compilation: &Compilation| {
        compilation.diagnostics.iter().filter(|d| d.code.id().starts_with('E') && d.code.id() > "E009").count()
    };
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|e| e != "rules") || std::fs::read_to_string(&path).is_err() {
            continue;
        }
        for most in [Applicability::Safe, Applicability::Suggested] {
            let before = compile_files(std::slice::from_ref(&path), &options());
            let fixed = fix(&before, &options(), most);
            let Some(file) = fixed.files.first() else { continue };
            let after = compile_texts(&[(&file.path, &file.after)], &options());
            let unread = before.diagnostics.iter().any(|d| d.code.id() < "E010");
            assert!(unread || errors(&after) <= errors(&before), "{}\n{}", path.display(), after.render(false));
            let again = fix(&after, &options(), most);
            assert!(again.files.is_empty(), "{}: {:?}", path.display(), again.done);
        }
    }
}

fn rulec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rulec")).args(args).output().expect("rulec runs")
}

const BAD: &str = "rule r { on request when target == prod then block }\r\n";

#[test]
fn a_diff_shows_what_would_change_and_writes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("r.rules");
    std::fs::write(&path, BAD).expect("written");
    let output = rulec(&["check", "--fix", "--diff", &path.display().to_string()]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("+language 1") && shown.contains("-rule r") && shown.contains("\"prod\""), "{shown}");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), BAD);
}

#[test]
#[cfg(unix)]
fn a_fixed_file_keeps_its_permissions_its_line_ends_and_the_links_to_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("directory");
    let (path, link) = (directory.path().join("r.rules"), directory.path().join("link.rules"));
    std::fs::write(&path, BAD).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    let output = rulec(&["check", "--fix", &link.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("E010: start the file with `language 1`"), "{said}");
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(
        text.contains("target == \"prod\" then block }\r\n") && !text.replace("\r\n", "").contains('\n'),
        "{text:?}"
    );
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
    let left = std::fs::read_dir(directory.path()).expect("directory").count();
    assert_eq!(left, 2, "nothing is left beside the files");
}

#[test]
fn where_there_is_nothing_to_fix_nothing_is_written() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("r.rules");
    std::fs::write(&path, BAD).expect("written");
    let output = rulec(&["check", "--diff", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(2), "--diff needs --fix");
    let clean = "language 1\nrule r { on request when target == \"x\" then block }\n";
    std::fs::write(&path, clean).expect("written");
    let output = rulec(&["check", "--fix", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&path).expect("read"), clean);
}
