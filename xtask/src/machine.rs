//! What a machine needs: system packages for the build; official MCP clients and servers, and PostgreSQL, for the tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Outcome, Step, have, root};

/// The system packages that a need stands for.
struct Need {
    what: &'static str,
    met: fn() -> bool,
    packages: &'static [&'static str],
}

const BUILD: &[Need] = &[
    Need { what: "a C compiler", met: || have("cc"), packages: &["build-essential"] },
    // The SQL parser is PostgreSQL's own, in C; its bindings are made by libclang.
    Need { what: "libclang", met: libclang, packages: &["libclang-dev"] },
];

const TESTS: &[Need] = &[
    Need { what: "npm", met: || have("npm"), packages: &["nodejs", "npm"] },
    Need { what: "Python with venv", met: python_with_venv, packages: &["python3", "python3-venv"] },
    Need { what: "a PostgreSQL server", met: postgres, packages: &["postgresql"] },
    Need { what: "a JDK", met: || have("javac"), packages: &["default-jdk-headless"] },
    Need { what: "PostgreSQL's JDBC driver", met: jdbc, packages: &["libpostgresql-jdbc-java"] },
    Need { what: "rsyslog with TLS", met: rsyslog, packages: &["rsyslog", "rsyslog-openssl"] },
    Need { what: "SQLsmith", met: || have("sqlsmith"), packages: &["sqlsmith"] },
];

const PEERS: &[Need] = &[
    Need { what: "a PostgreSQL server", met: postgres, packages: &["postgresql"] },
    Need { what: "HAProxy", met: || installed("haproxy"), packages: &["haproxy"] },
    Need { what: "PgBouncer", met: || installed("pgbouncer"), packages: &["pgbouncer"] },
];

/// The Python environments of the tests: both generations of the SDK, which can't live in one, a client of PostgreSQL, and a
/// QUIC client and a player of recordings of other hands.
const PYTHONS: &[(&str, &str)] = &[
    ("mcp1", "requirements-mcp1.txt"),
    ("mcp2", "requirements-mcp2.txt"),
    ("postgres", "requirements-postgres.txt"),
    ("quic", "requirements-quic.txt"),
    ("otlp", "requirements-otlp.txt"),
    ("asciinema", "requirements-asciinema.txt"),
];

/// Installs what `cargo build` needs.
pub(crate) fn for_build() -> Outcome {
    install(BUILD)
}

/// Installs what `cargo test --workspace` needs.
pub(crate) fn for_tests() -> Outcome {
    install(BUILD)?;
    install(TESTS)?;
    node_packages()?;
    for (name, requirements) in PYTHONS {
        python_packages(name, requirements)?;
    }
    Ok(())
}

/// Installs what connections are measured beside.
pub(crate) fn for_wire() -> Outcome {
    install(BUILD)?;
    install(PEERS)
}

/// A collector of syslog, with what it speaks TLS by.
fn rsyslog() -> bool {
    let drivers = ["/usr/lib", "/usr/lib64"].into_iter().flat_map(|lib| {
        let folders = fs::read_dir(lib).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.chain([PathBuf::from(lib)])
    });
    installed("rsyslogd") && drivers.into_iter().any(|lib| lib.join("rsyslog/lmnsd_ossl.so").is_file())
}

/// Servers stand where not everybody looks for programs.
fn installed(program: &str) -> bool {
    Path::new("/usr/sbin").join(program).is_file()
}

fn install(needs: &[Need]) -> Outcome {
    let unmet: Vec<&Need> = needs.iter().filter(|need| !(need.met)()).collect();
    if unmet.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = unmet.iter().flat_map(|need| need.packages).copied().collect();
    if !have("apt-get") {
        let whats: Vec<&str> = unmet.iter().map(|need| need.what).collect();
        return Err(format!(
            "this machine lacks {} and has no apt-get to install it with; on Debian the packages are: {}",
            whats.join(" and "),
            packages.join(" ")
        ));
    }
    let apt = || Step::privileged("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt().args(["update", "-q"]).run()?;
    apt().args(["install", "-y", "-q", "--no-install-recommends"]).args(packages).run()?;
    match unmet.iter().find(|need| !(need.met)()) {
        Some(need) => Err(format!("{} is still missing after installing {}", need.what, need.packages.join(" "))),
        None => Ok(()),
    }
}

fn libclang() -> bool {
    let llvm_versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut dirs: Vec<PathBuf> = llvm_versions
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")))
        .map(|path| path.join("lib"))
        .collect();
    dirs.extend(std::env::var_os("LIBCLANG_PATH").map(PathBuf::from));
    dirs.extend(["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    dirs.push(Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)));
    dirs.iter().any(|dir| {
        fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // `libclang-cpp` is the C++ interface, of no use to bindings.
            let versioned = name.starts_with("libclang-") && !name.starts_with("libclang-cpp");
            name.starts_with("libclang.so") || versioned
        })
    })
}

/// The tests start clusters of their own; one that the package starts is not touched.
fn postgres() -> bool {
    fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().any(|version| {
        ["initdb", "postgres", "psql"].iter().all(|program| version.path().join("bin").join(program).is_file())
    })
}

fn jdbc() -> bool {
    Path::new("/usr/share/java/postgresql.jar").is_file()
}

fn python_with_venv() -> bool {
    Step::new("python3").args(["-c", "import venv, ensurepip"]).succeeds()
}

/// `npm ci`, once for each content of the lock file.
fn node_packages() -> Outcome {
    let clients = root().join("tests/clients");
    once(&clients.join("node_modules/.installed"), &clients.join("package-lock.json"), || {
        Step::new("npm").args(["ci", "--no-audit", "--no-fund"]).within(&clients).run()
    })
}

/// A virtual environment with pinned packages, once for each content of the requirements.
fn python_packages(name: &str, requirements: &str) -> Outcome {
    let venv = root().join(".venv").join(name);
    let requirements = root().join("tests/clients").join(requirements);
    once(&venv.join(".installed"), &requirements, || {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Step::new("python3").args(["-m", "venv", "--clear", &text(&venv)]).run()?;
        Step::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement", &text(&requirements)])
            .run()
    })
}

/// Does the work unless the stamp says that it was done for this very source.
fn once(stamp: &Path, source: &Path, work: impl FnOnce() -> Outcome) -> Outcome {
    let wanted = fs::read(source).map_err(|error| format!("can't read {}: {error}", source.display()))?;
    if fs::read(stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    fs::write(stamp, wanted).map_err(|error| format!("can't write {}: {error}", stamp.display()))
}
