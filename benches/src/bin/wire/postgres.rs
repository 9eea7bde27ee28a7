//! PostgreSQL: pgbench beside PgBouncer, masked rows and the first row beside the server itself.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use futures_util::StreamExt as _;
use sluice_tests::authority::Authority;
use sluice_tests::postgres::{DATABASE, PASSWORD, Postgres, USER, free_port, program};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use tokio_postgres::NoTls;

use crate::{Better, Options, pairs, peers, row};

/// Clients of pgbench.
const CLIENTS: &str = "8";
/// First rows in a round.
const TIMES: usize = 300;

/// Where clients connect.
struct At {
    port: u16,
    user: &'static str,
    password: String,
    database: &'static str,
}

impl At {
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGUSER", self.user);
        command.env("PGPASSWORD", &self.password).env("PGDATABASE", self.database).env("PGSSLMODE", "disable");
        command
    }

    fn run(&self, name: &str, args: &[&str], folder: &Path) {
        let done = self.program(name).args(args).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Transactions a second, and the time that 99 of 100 take no longer than, in milliseconds.
    fn pgbench(&self, seconds: u32, mode: &str) -> (f64, f64) {
        let folder = tempfile::tempdir().unwrap();
        let seconds = seconds.to_string();
        self.run("pgbench", &["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", "2", "-T", &seconds, "-l"], folder.path());
        let mut taken = Vec::new();
        for log in std::fs::read_dir(folder.path()).unwrap() {
            let text = std::fs::read_to_string(log.unwrap().path()).unwrap();
            taken.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
        }
        taken.sort_by(f64::total_cmp);
        assert!(!taken.is_empty(), "pgbench logged nothing");
        (taken.len() as f64 / seconds.parse::<f64>().unwrap(), taken[taken.len() * 99 / 100] / 1000.0)
    }

    /// Seconds that all rows take.
    fn select(&self, folder: &Path) -> f64 {
        let start = Instant::now();
        self.run("psql", &["-X", "-At", "-o", "/dev/null", "-c", "SELECT id, name, email FROM people"], folder);
        start.elapsed().as_secs_f64()
    }

    /// The time to the first row of many, in microseconds; half of them take less.
    async fn first_row(&self) -> f64 {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(self.user).password(&self.password).dbname(self.database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = client.prepare("SELECT id, name, email FROM people LIMIT 1000").await.unwrap();
        let mut taken = Vec::new();
        for _ in 0..TIMES {
            let start = Instant::now();
            let rows = client.query_raw(&statement, Vec::<i32>::new()).await.unwrap();
            tokio::pin!(rows);
            rows.next().await.unwrap().unwrap();
            taken.push(start.elapsed().as_secs_f64() * 1e6);
            while let Some(row) = rows.next().await {
                row.unwrap();
            }
        }
        taken.sort_by(f64::total_cmp);
        taken[TIMES / 2]
    }
}

pub(crate) async fn measure(options: &Options) {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let direct = At { port: postgres.port, user: USER, password: PASSWORD.to_owned(), database: DATABASE };
    direct.run("pgbench", &["-i", "-q", "-s", "10"], folder.path());
    let people = format!(
        "CREATE TABLE people AS SELECT n AS id, 'Person ' || n AS name, 'person.' || n || '@example.org' AS email \
         FROM generate_series(1, {}) AS n",
        options.rows
    );
    direct.run("psql", &["-X", "-c", &people, "-c", "VACUUM ANALYZE people"], folder.path());

    let file = folder.path().join("authority.pem");
    let lines: Vec<String> =
        postgres.lines(&file).lines().filter(|line| !line.starts_with("ca_file")).map(str::to_owned).collect();
    let port = free_port();
    let sluice = Sluice::new()
        .rules(Rules::Standard)
        .connection("crm", Upstream::Lines(format!("{}\ntls = \"off\"", lines.join("\n"))))
        .tables(&format!("\n[postgres]\nlisten = \"127.0.0.1:{port}\"\nplaintext = true\n"))
        .start()
        .await;
    let ours = At { port, user: "bench", password: sluice.token("bench@example.org", &[]).await, database: "crm" };
    match peers::PgBouncer::start(&postgres) {
        Ok(bouncer) => {
            let theirs = At { port: bouncer.port, user: USER, password: String::new(), database: DATABASE };
            for mode in ["simple", "prepared"] {
                let (mut late_ours, mut late_theirs) = (Vec::new(), Vec::new());
                let bench = |at: &At, late: &mut Vec<f64>| {
                    let (transactions, slow) = at.pgbench(options.seconds, mode);
                    late.push(slow);
                    transactions
                };
                let a = async || bench(&ours, &mut late_ours);
                let b = async || bench(&theirs, &mut late_theirs);
                let (a, b) = pairs(options.rounds, a, b).await;
                row(&format!("pgbench -S -M {mode} -c {CLIENTS} against PgBouncer"), &a, &b, "tps", &Better::More);
                row("the same, p99", &late_ours, &late_theirs, "ms", &Better::Less);
            }
        }
        Err(problem) => println!("| against PgBouncer | | | not run: {problem} |"),
    }
    let (a, b) =
        pairs(options.rounds, async || ours.select(folder.path()), async || direct.select(folder.path())).await;
    row(&format!("masked SELECT of {} rows against psql directly", options.rows), &a, &b, "s", &Better::Less);
    let (a, b) = pairs(options.rounds, async || ours.first_row().await, async || direct.first_row().await).await;
    row("first row against the server directly", &a, &b, "us", &Better::Less);
}
