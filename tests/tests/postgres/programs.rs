//! Programs that come with the server, through the gateway: a broad set of SQL in psql, pgbench, pg_dump, SQLsmith.

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

/// What psql showed of each statement of a script: rows, and errors by their SQLSTATE.
fn each(done: &Finished) -> Vec<String> {
    let parts = |text: &str| text.split("--next\n").map(str::to_owned).collect::<Vec<_>>();
    let (rows, errors) = (parts(done.text()), parts(&done.stderr));
    assert_eq!(rows.len(), errors.len());
    // Which line of the script it was is the same on both ways.
    rows.into_iter().zip(errors).map(|(rows, errors)| rows + &errors).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_end_as_they_do_directly() {
    const QUERIES: usize = 200;
    let scene = Scene::with(Rules::None).await;
    let target = format!(
        "--target=host=127.0.0.1 port={} dbname={DATABASE} user={USER} password='{PASSWORD}'",
        scene.postgres.port
    );
    let count = format!("--max-queries={QUERIES}");
    let args = [&*target, "--seed=7", &count, "--exclude-catalog", "--dry-run"];
    let made = run(command("sqlsmith", args), "", Duration::from_secs(120)).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let queries: Vec<&str> = made.text().split(";\n").map(str::trim).filter(|query| !query.is_empty()).collect();
    assert!(queries.len() >= QUERIES, "{}", queries.len());
    let mut script = String::from("SET statement_timeout = '1s';\n");
    for query in &queries {
        script.push_str(&format!("\\echo --next\n\\warn --next\nBEGIN;\n{query};\nROLLBACK;\n"));
    }
    // Samples are the same each time.
    for method in ["system", "bernoulli"] {
        let parts: Vec<&str> = script.split(&format!("tablesample {method} (")).collect();
        let repeatable = |part: &&str| part.replacen(')', ") repeatable (1)", 1);
        let rest: Vec<String> = parts[1..].iter().map(repeatable).collect();
        script = std::iter::once(parts[0].to_owned())
            .chain(rest)
            .collect::<Vec<_>>()
            .join(&format!("tablesample {method} ("));
    }
    let args = ["-At", "-v", "VERBOSITY=sqlstate"];
    let direct = each(&scene.direct(&args, &script).await);
    let again = each(&scene.direct(&args, &script).await);
    let through = each(&scene.psql(&args, &script).await);
    let after = each(&scene.direct(&args, &script).await);
    assert_eq!(through.len(), queries.len() + 1, "the connection lasted");
    // What depends on the moment or the process differs directly, too; what takes too long ends anywhere.
    let in_time = |at: &usize| [&direct, &again, &through].iter().all(|way| !way[*at].contains("57014"));
    let stable = (0..direct.len()).filter(|at| direct[*at] == again[*at] && direct[*at] == after[*at]);
    let stable: Vec<usize> = stable.filter(in_time).collect();
    assert!(stable.len() > QUERIES * 8 / 10, "{} of {}", stable.len(), queries.len());
    let failed = stable.iter().filter(|at| direct[**at].contains("ERROR:")).count();
    assert!(failed < stable.len() * 9 / 10, "{failed} of {} fail directly", stable.len());
    let differ: Vec<_> = stable.into_iter().filter(|at| through[*at] != direct[*at]).collect();
    let shown = differ.iter().take(3).map(|at| (queries[at - 1], &direct[*at], &through[*at]));
    assert!(differ.is_empty(), "{} differ: {:#?}", differ.len(), shown.collect::<Vec<_>>());
    // SQLsmith itself through the gateway: it counts a connection that breaks.
    let target = scene.target("sslmode=disable options='-c statement_timeout=1s'");
    let target = format!("--target={target} password='{}'", scene.token().await);
    let args = [&*target, "--seed=8", "--max-queries=50", "--exclude-catalog", "--verbose"];
    let ran = run(command("sqlsmith", args), "", Duration::from_secs(120)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let refused: Vec<&str> =
        ran.stderr.lines().filter(|line| line.contains("refused") || line.contains("broken")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    scene.sluice.stop().await;
}
