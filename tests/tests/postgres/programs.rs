//! Programs that come with the server, through the gateway: a broad set of SQL in psql, pgbench, pg_dump.

use std::time::Duration;

use super::scene::{RULES, Scene};
use sluice_tests::postgres::{DATABASE, PASSWORD, USER, program};
use sluice_tests::program::{Finished, command, run};
use sluice_tests::sluice::Rules;

/// SQL of every kind, in the spirit of PostgreSQL's own regression queries, that its parser accepts; its output says nothing about the moment or the process.
const REGRESS: &str = include_str!("regress.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_broad_set_of_sql_gives_the_same_byte_for_byte() {
    let scene = Scene::with(Rules::None).await;
    for args in [&["-a", "-v", "VERBOSITY=verbose"][..], &["-At", "-0"]] {
        let (direct, through) = (scene.direct(args, REGRESS).await, scene.psql(args, REGRESS).await);
        assert!(direct.text().trim_end().ends_with("the end"), "it ran to its end");
        same_lines(through.text(), direct.text());
        same_lines(&through.stderr, &direct.stderr);
        assert_eq!(through.code, direct.code);
    }
    scene.sluice.stop().await;
}

/// Says the first lines that differ, and not all of them.
fn same_lines(one: &str, other: &str) {
    let differ = one.lines().zip(other.lines()).enumerate().filter(|(_, (one, other))| one != other);
    let differ: Vec<_> = differ.take(12).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(one.len(), other.len());
}

/// A dump without the key that each one makes up for psql's restricted mode.
fn without_key(dump: &Finished) -> String {
    let key = |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    dump.text().lines().filter(|line| !key(line)).flat_map(|line| [line, "\n"]).collect()
}

/// A program of the server's, in the gateway's place or the server's.
async fn start(scene: &Scene, direct: bool, name: &str, args: &[&str], input: &str) -> Finished {
    let mut started = command(program(name), args);
    started.env("PGHOST", "127.0.0.1").env("PGSSLMODE", "disable").env("PGDATABASE", DATABASE);
    if direct {
        started.env("PGPORT", scene.postgres.port.to_string()).env("PGUSER", USER).env("PGPASSWORD", PASSWORD);
    } else {
        started.env("PGPORT", scene.port.to_string()).env("PGUSER", "ada").env("PGPASSWORD", scene.token().await);
    }
    let done = run(started, input, Duration::from_secs(120)).await;
    assert_eq!(done.code, Some(0), "{name} {args:?}: {}\n{}", done.stderr, scene.sluice.log());
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_in_each_of_its_protocols() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    // Its tables come from the server's side: the rules refuse to drop and truncate.
    start(&scene, true, "pgbench", &["-i", "-q", "-s", "1"], "").await;
    for protocol in ["simple", "extended", "prepared"] {
        let args = ["-n", "-M", protocol, "-c", "4", "-j", "2", "-t", "25"];
        let done = start(&scene, false, "pgbench", &args, "").await;
        assert!(done.text().contains("number of transactions actually processed: 100/100"), "{}", done.text());
        assert!(done.text().contains("number of failed transactions: 0 "), "{}", done.text());
    }
    // A pipeline of pgbench's own, whose answers come together.
    let script = "\\startpipeline\nSELECT 1;\nSELECT email FROM customer;\nSELECT 2;\n\\endpipeline\n";
    let args = ["-n", "-M", "extended", "-t", "20", "-f", "/dev/stdin"];
    let done = start(&scene, false, "pgbench", &args, script).await;
    assert!(done.text().contains("number of transactions actually processed: 20/20"), "{}", done.text());
    assert_eq!(scene.postgres.value("SELECT count(*) FROM pgbench_history").await, "300");
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(scene.postgres.value(sums).await, "t");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_the_same_as_directly_and_can_be_restored_through_the_gateway() {
    let scene = Scene::with(Rules::None).await;
    let folder = tempfile::tempdir().unwrap();
    let through = start(&scene, false, "pg_dump", &[], "").await;
    let direct = start(&scene, true, "pg_dump", &[], "").await;
    assert!(direct.text().lines().count() > 20_000, "the numbers are in it");
    same_lines(&without_key(&through), &without_key(&direct));
    // In pg_dump's own format, and back through the gateway.
    let file = folder.path().join("crm.dump").to_string_lossy().into_owned();
    start(&scene, false, "pg_dump", &["-Fc", "-f", &file], "").await;
    start(&scene, false, "pg_restore", &["--clean", "--no-owner", "-d", DATABASE, &file], "").await;
    let again = start(&scene, true, "pg_dump", &[], "").await;
    same_lines(&without_key(&again), &without_key(&direct));
    scene.sluice.stop().await;
}
