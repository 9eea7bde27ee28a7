//! What the tests of the binary share.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary.
pub(crate) fn rulec() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rulec"))
}

/// A standard pack, as a file.
pub(crate) fn std_rules(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/std").join(name)
}

/// Runs the binary with these bytes as its input.
pub(crate) fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = rulec()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rulec starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The program may end before it has read all.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("rulec ends");
    writer.join().expect("writer");
    output
}

/// The exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a file of rules, and gives its path.
pub(crate) fn file(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("written");
    path.display().to_string()
}

/// A rule with its test.
pub(crate) const STAFF: &str = r#"language 1
pattern staff_id = /\bEMP-[0-9]{6}\b/
rule mask_staff { on response match staff_id then mask redact(with: "[staff]") }
test "a badge is masked" {
  given response { protocol mcp target "hr" }
  send "badge EMP-004711 ok"
  expect mask "badge [staff] ok" by mask_staff
}
"#;
