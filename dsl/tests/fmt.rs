//! `rulec fmt` from outside: files, standard input, what would change.

mod common;

use common::{code, file, run, text};

const LOOSE: &str = "# who\nlanguage 1\n\n\npattern   id = /x[0-9]/ # why\nrule a{ # what\non response match id # which\n then \
                     mask redact\n# end\n}\n# last\n";

#[test]
fn standard_input_is_laid_out_on_standard_output_with_every_comment() {
    let once = run(&["fmt", "-"], LOOSE.as_bytes());
    assert_eq!(code(&once), 0, "{}", text(&once.stderr));
    let laid = text(&once.stdout);
    for comment in ["# who", "# why", "# what", "# which", "# end", "# last"] {
        assert_eq!(laid.matches(comment).count(), 1, "{comment}\n{laid}");
    }
    assert_ne!(laid, LOOSE);
    assert_eq!(text(&run(&["fmt", "-"], laid.as_bytes()).stdout), laid, "twice changes nothing more");
}

#[test]
fn standard_input_can_be_checked_and_compared() {
    let checked = run(&["fmt", "--check", "-"], LOOSE.as_bytes());
    assert_eq!((code(&checked), text(&checked.stdout)), (1, "<stdin>\n".to_owned()));
    let compared = run(&["fmt", "--diff", "-"], LOOSE.as_bytes());
    assert_eq!(code(&compared), 1);
    let shown = text(&compared.stdout);
    assert!(shown.starts_with("--- <stdin>\n+++ <stdin>\n@@ "), "{shown}");
    assert!(shown.contains("\n-pattern   id = /x[0-9]/ # why\n-rule a{ # what\n"), "{shown}");
    assert!(shown.contains("\n+pattern id = /x[0-9]/ # why\n+rule a { # what\n"), "{shown}");
    let laid = run(&["fmt", "-"], LOOSE.as_bytes()).stdout;
    for flag in ["--check", "--diff"] {
        let clean = run(&["fmt", flag, "-"], &laid);
        assert_eq!((code(&clean), clean.stdout.len()), (0, 0));
    }
}

#[test]
fn what_can_not_be_read_is_said_with_its_place_and_the_other_files_are_laid_out() {
    let directory = tempfile::tempdir().expect("directory");
    let bad = file(&directory, "bad.rules", "language 1\nrule { oops }\n");
    let good = file(&directory, "good.rules", LOOSE);
    let output = run(&["fmt", &directory.path().display().to_string()], b"");
    assert_eq!(code(&output), 2);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("{bad}:2:")), "{said}");
    assert_eq!(std::fs::read_to_string(&bad).expect("read"), "language 1\nrule { oops }\n");
    assert_ne!(std::fs::read_to_string(&good).expect("read"), LOOSE);
    let output = run(&["fmt", "-"], b"rule { oops }");
    assert_eq!((code(&output), output.stdout.len()), (2, 0));
    assert!(text(&output.stderr).contains("<stdin>:1:"), "{}", text(&output.stderr));
    let output = run(&["fmt", "-"], b"\xff\xfe");
    assert_eq!((code(&output), output.stdout.len()), (2, 0));
    assert!(!text(&output.stderr).contains("defect"));
}

#[test]
fn a_diff_of_many_files_is_in_their_order_and_changes_none() {
    let directory = tempfile::tempdir().expect("directory");
    let files: Vec<String> = (10..40).map(|i| file(&directory, &format!("f{i}.rules"), LOOSE)).collect();
    let output = run(&["fmt", "--diff", &directory.path().display().to_string()], b"");
    assert_eq!(code(&output), 1);
    let shown = text(&output.stdout);
    let named: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("--- ")).collect();
    assert_eq!(named, files);
    assert!(files.iter().all(|path| std::fs::read_to_string(path).expect("read") == LOOSE));
}
