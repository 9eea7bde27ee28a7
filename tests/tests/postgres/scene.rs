//! A server, a gateway in front of it, and psql on either way.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::authority::Authority;
use sluice_tests::postgres::{Postgres, USER, free_port, psql};
use sluice_tests::program::Finished;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The user of the tests.
pub(crate) const ADA: &str = "ada@example.org";

/// The standard packs, and what the tests need besides.
pub(crate) const RULES: &str = r#"language 1
pack tests.pg "1.0.0" { owner "tests" reviewed 2026-08-01 }
import std.pii "1"
pattern email = detect std.pii.email
pattern secret = /\bSECRET-[0-9]{4}\b/
scope db { protocol == postgres }
rule no_destructive_sql {
  meta { id "T-1" severity high }
  on request in db
  when sql.verb in [drop, truncate, do, copy_program, copy_file]
  then block "Nothing is destroyed here."
}
rule mask_email { meta { severity low gdpr ["Art. 25"] } on response in db match email then mask redact(with: "[email]") }
rule mask_pan { meta { severity low gdpr ["Art. 25"] } on response in db match column ["pan"] then mask partial(keep_last: 4, with: "*") }
rule no_secret { meta { severity low } on both in db match secret then block "Secrets stay." }
"#;

/// tokio-postgres through the gateway, as the user of the tests.
pub(crate) async fn client(scene: &Scene) -> Client {
    let target = scene.target("sslmode=disable");
    let mut config: tokio_postgres::Config = target.parse().unwrap();
    config.password(scene.token().await);
    let (client, connection) =
        config.connect(NoTls).await.unwrap_or_else(|error| panic!("{error:?} {}", scene.sluice.log()));
    tokio::spawn(connection);
    client
}

pub(crate) struct Scene {
    pub(crate) postgres: Postgres,
    pub(crate) sluice: Sluice,
    pub(crate) port: u16,
    _folder: TempDir,
    pub(crate) authority_file: PathBuf,
}

impl Scene {
    /// With these rules; clients connect in clear text on loopback.
    pub(crate) async fn with(rules: Rules) -> Self {
        Self::configured(rules, "plaintext = true", "").await
    }

    /// With these lines in `[postgres]` and in the connection. `CERTIFICATE` stands for the lines of a certificate; in the connection
    /// it names the server's user.
    pub(crate) async fn configured(rules: Rules, listen: &str, connection: &str) -> Self {
        Self::begin(rules, listen, connection, false).await
    }

    /// In front of a server that asks for a certificate.
    pub(crate) async fn with_certificates(connection: &str) -> Self {
        Self::begin(Rules::Text(RULES.to_owned()), "plaintext = true", connection, true).await
    }

    /// The records of the user's one session, when it is over: its end is on record a moment after the client knows of it.
    pub(crate) async fn record(&self) -> Value {
        for _ in 0..50 {
            let record = self.sluice.session_record(ADA).await;
            if record.as_array().unwrap().iter().any(|event| event["event"] == "session_closed") {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the session doesn't end: {}", self.sluice.log());
    }

    async fn begin(rules: Rules, listen: &str, connection: &str, asks: bool) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let authority_file = folder.path().join("authority.pem");
        std::fs::write(&authority_file, authority.pem()).unwrap();
        let (certificate, key) = authority.issue();
        let files = [("server.pem", certificate), ("server.key", key)].map(|(name, text)| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        });
        let listen = listen.replace("CERTIFICATE", &format!("certificate = {:?}\nkey = {:?}", files[0], files[1]));
        let (certificate, key) = authority.issue_for(USER);
        let own = [("own.pem", certificate), ("own.key", key)].map(|(name, text)| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        });
        let connection = connection.replace("CERTIFICATE", &format!("certificate = {:?}\nkey = {:?}", own[0], own[1]));
        let postgres =
            if asks { Postgres::asking_for_certificates(&authority).await } else { Postgres::start(&authority).await };
        let port = free_port();
        let sluice = Sluice::new()
            .rules(rules)
            .connection("crm", Upstream::Lines(format!("{}\n{connection}", postgres.lines(&authority_file))))
            .tables(&format!("\n[postgres]\nlisten = \"127.0.0.1:{port}\"\n{listen}\n"))
            .start()
            .await;
        let scene = Self { postgres, sluice, port, _folder: folder, authority_file };
        scene.wait().await;
        scene
    }

    async fn wait(&self) {
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the gateway doesn't listen: {}", self.sluice.log());
    }

    /// The connection string of a client.
    pub(crate) fn target(&self, more: &str) -> String {
        format!("host=127.0.0.1 port={} dbname=crm user=ada {more}", self.port)
    }

    pub(crate) async fn token(&self) -> String {
        self.sluice.token(ADA, &["engineering"]).await
    }

    /// psql through the gateway.
    pub(crate) async fn psql(&self, args: &[&str], input: &str) -> Finished {
        psql(&self.target("sslmode=disable"), &self.token().await, args, input).await
    }

    /// psql directly.
    pub(crate) async fn direct(&self, args: &[&str], input: &str) -> Finished {
        self.postgres.psql(sluice_tests::postgres::DATABASE, args, input).await
    }

    /// How many sessions of others the server has.
    pub(crate) async fn backends(&self) -> String {
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.postgres.value(others).await
    }
}
