//! A server inside another network, which an agent serves.

use std::process::Stdio;
use std::time::Duration;

use sluice_tests::authority::Authority;
use sluice_tests::postgres::{Postgres, free_port, psql};
use sluice_tests::program::PATIENCE;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::scene::RULES;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_through_an_agent_as_it_is_directly() {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let port = free_port();
    let real = postgres.lines(&file);
    let inside = real.lines().find_map(|line| line.strip_prefix("postgres = ")).unwrap().trim_matches('"');
    let address = inside.split('/').next().unwrap().to_owned();
    // The gateway can't reach it by itself: nothing listens where it thinks the server is, whose certificate has the same name.
    let lines = real.replace(&address, &format!("127.0.0.1:{}", free_port()));
    let sluice = Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("crm", Upstream::Lines(format!("{lines}\nagents = [\"agents\"]")))
        .tables(&format!("\n[postgres]\nlisten = \"127.0.0.1:{port}\"\nplaintext = true\n"))
        .tunnel("")
        .start()
        .await;
    let target = format!("host=127.0.0.1 port={port} dbname=crm user=ada sslmode=disable");
    let token = sluice.token("ada@example.org", &["engineering"]).await;
    let alone = psql(&target, &token, &["-Atc", "SELECT 1"], "").await;
    assert!(alone.stderr.contains("can't be reached"), "nobody serves it yet: {}", alone.stderr);

    let mut agent = sluice.command(&["agent", "--ca", "ca.pem", "--gateway", &sluice.tunnel]);
    agent.args(["--serve", &format!("crm={address}")]).env("SLUICE_TOKEN", sluice.token("site-1", &["agents"]).await);
    agent.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut agent = agent.spawn().unwrap();
    let mut said = BufReader::new(agent.stdout.take().unwrap()).lines();
    timeout(PATIENCE, said.next_line()).await.expect("it doesn't serve").unwrap();

    let statements =
        "SELECT email FROM customer ORDER BY id LIMIT 1;\nSELECT count(*) FROM numbers;\nDROP TABLE customer;\n";
    let done = psql(&target, &token, &["-At"], statements).await;
    let direct = postgres.value("SELECT count(*) FROM numbers").await;
    assert_eq!(done.text(), format!("[email]\n{direct}\n"), "{}", done.stderr);
    assert!(done.stderr.contains("Nothing is destroyed here."), "{}", done.stderr);
    // A query is cancelled through the agent, too.
    let mut config: tokio_postgres::Config = target.parse().unwrap();
    let (client, connection) = config.password(&token).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let cancel = client.cancel_token();
    let slow = client.batch_execute("SELECT pg_sleep(60)");
    let cancelled = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    };
    let (slow, ()) = tokio::join!(timeout(PATIENCE, slow), cancelled);
    assert_eq!(slow.expect("it goes on").unwrap_err().code().unwrap().code(), "57014");
    // Sessions end with the agent, and new ones find nobody.
    agent.kill().await.unwrap();
    let broken = timeout(PATIENCE, client.batch_execute("SELECT 1")).await.expect("it goes on");
    assert!(broken.is_err());
    sluice.stop().await;
}
