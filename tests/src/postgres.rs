//! A PostgreSQL server of the test's own: a private cluster in a temporary folder, over TLS that an authority vouches for.

use std::path::{Path, PathBuf};
use std::process::{Command as Plain, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::authority::Authority;
use crate::place;
use crate::program::{Finished, command, run};

/// The user that the gateway is on the server, and its password.
pub const USER: &str = "sluice";
/// The password.
pub const PASSWORD: &str = "correct horse";
/// The database.
pub const DATABASE: &str = "crm";

/// What every test finds in the database.
const CONTENT: &str = "
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, pan text, doc jsonb, tags text[], seen timestamptz);
INSERT INTO customer VALUES
  (1, 'Ada', 'ada@example.org', '4111 1111 1111 1111', '{\"mail\": \"ada@example.org\", \"n\": 1}', '{ada@example.org,vip}', '2026-01-02 03:04:05+00'),
  (2, 'Bob', 'bob@example.org', NULL, '[]', '{}', NULL),
  (3, 'Eve', NULL, '', NULL, NULL, '2026-11-23 00:00:00+00');
CREATE TABLE numbers AS SELECT n, md5(n::text) AS hash FROM generate_series(1, 20000) AS n;
CREATE FUNCTION shout() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'noticed ada@example.org'; END $$;
";

/// The running server. Killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    child: Child,
    /// The port on 127.0.0.1.
    pub port: u16,
}

/// A port of this machine that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of the server's version that is installed.
pub fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} isn't there: run `cargo xtask setup` first"))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The program and its arguments, as the user `postgres` where the test runs as root, which the server refuses.
fn as_server(program: &Path, args: &[&str]) -> Plain {
    if !is_root() {
        let mut plain = Plain::new(program);
        plain.args(args);
        return plain;
    }
    let mut plain = Plain::new("setpriv");
    plain.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program).args(args);
    plain
}

impl Postgres {
    /// Starts one with the content of the tests.
    pub async fn start(authority: &Authority) -> Self {
        Self::with_access(authority, None).await
    }

    /// The same; over TLS it asks for a password and for a certificate that names its user.
    pub async fn asking_for_certificates(authority: &Authority) -> Self {
        let access = "hostnossl all all 127.0.0.1/32 scram-sha-256\n\
                      hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
        Self::with_access(authority, Some(access)).await
    }

    async fn with_access(authority: &Authority, access: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, port) = (folder.path().join("data"), free_port());
        let own = |path: &Path| {
            if is_root() {
                assert!(Plain::new("chown").arg("postgres:postgres").arg(path).status().unwrap().success());
            }
        };
        own(folder.path());
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        own(&password);
        let shown = data.to_string_lossy().into_owned();
        let pwfile = format!("--pwfile={}", password.display());
        let mut initdb = as_server(
            &program("initdb"),
            &["-D", &shown, "-U", USER, &pwfile, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
        );
        let done = initdb.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let (certificate, key) = authority.issue();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = data.join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            own(&file);
        }
        if let Some(access) = access {
            std::fs::write(data.join("pg_hba.conf"), access).unwrap();
        }
        let authorities = data.join("ca.crt");
        std::fs::write(&authorities, authority.pem()).unwrap();
        own(&authorities);
        let port_text = port.to_string();
        let sockets = format!("unix_socket_directories={}", folder.path().display());
        let server = as_server(
            &program("postgres"),
            &[
                "-D",
                &shown,
                "-h",
                "127.0.0.1",
                "-p",
                &port_text,
                "-c",
                &sockets,
                "-c",
                "ssl=on",
                "-c",
                "ssl_ca_file=ca.crt",
                "-c",
                "fsync=off",
                // Statistics that come in the middle of a test change plans, and with them the order of rows.
                "-c",
                "autovacuum=off",
            ],
        );
        let mut server = Command::from(server);
        let log = std::fs::File::create(folder.path().join("server.log")).unwrap();
        server.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = server.spawn().unwrap();
        let postgres = Self { folder, child, port };
        let mut left = 100;
        while postgres.psql("postgres", &["-c", "SELECT 1"], "").await.code != Some(0) {
            left -= 1;
            assert!(left > 0, "the server doesn't start: {}", postgres.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let done = postgres.psql("postgres", &["-c", &format!("CREATE DATABASE {DATABASE}")], "").await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let done = postgres.psql(DATABASE, &["-v", "ON_ERROR_STOP=1"], CONTENT).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        postgres
    }

    /// The connection's lines in the configuration.
    pub fn lines(&self, authority_file: &Path) -> String {
        self.lines_by(self.port, authority_file)
    }

    /// The same, where it is reached by another port.
    pub fn lines_by(&self, port: u16, authority_file: &Path) -> String {
        format!(
            "postgres = \"127.0.0.1:{port}/{DATABASE}\"\nuser = \"{USER}\"\npassword = \"file:{}\"\nca_file = {authority_file:?}",
            self.folder.path().join("password").display(),
        )
    }

    /// psql directly to the server.
    pub async fn psql(&self, database: &str, args: &[&str], input: &str) -> Finished {
        psql(
            &format!("host=127.0.0.1 port={} dbname={database} user={USER} sslmode=disable", self.port),
            PASSWORD,
            args,
            input,
        )
        .await
    }

    /// What one value is on the server.
    pub async fn value(&self, sql: &str) -> String {
        let done = self.psql(DATABASE, &["-Atc", sql], "").await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done.text().trim().to_owned()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Ends it at once.
    pub async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// psql with this connection string and password.
pub async fn psql(target: &str, password: &str, args: &[&str], input: &str) -> Finished {
    let mut psql = command(program("psql"), ["-X"]);
    psql.args(args)
        .arg(target)
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "20")
        .env("PSQL_HISTORY", "/dev/null");
    psql.current_dir(place::root());
    run(psql, input, Duration::from_secs(120)).await
}
