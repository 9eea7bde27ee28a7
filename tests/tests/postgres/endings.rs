//! How things end: a query that is cancelled, a client that dies, a server that goes, a token whose time is over, Ctrl-C.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::scene::{ADA, RULES, Scene};
use sluice_tests::postgres::{program, psql};
use sluice_tests::sluice::Rules;
use tokio::process::{Child, Command};

/// psql that runs this on and on.
async fn running(scene: &Scene, sql: &str) -> Child {
    let mut psql = Command::new(program("psql"));
    psql.args(["-X", "-At", "-c", sql]).arg(scene.target("sslmode=disable")).env("PGPASSWORD", scene.token().await);
    psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    psql.spawn().unwrap()
}

/// Waits until this many sessions on the server run something.
async fn until_active(scene: &Scene, count: &str) {
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let start = Instant::now();
    while scene.postgres.value(active).await != count {
        assert!(start.elapsed() < Duration::from_secs(30), "never {count} active: {}", scene.sluice.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_by_its_own_key_and_by_no_other() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let client = running(&scene, "SELECT pg_sleep(60)").await;
    until_active(&scene, "1").await;
    // A stranger guesses.
    let guess = sluice_gateway_cancel(1, &[0; 4]);
    let mut stranger = tokio::net::TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stranger, &guess).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    until_active(&scene, "1").await;
    let pid = client.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let done = tokio::time::timeout(Duration::from_secs(20), client.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("canceling statement due to user request"), "{said}");
    let record = scene.sluice.session_record(ADA).await.to_string();
    assert!(record.contains("\"method\":\"cancel\""), "{record}");
    scene.sluice.stop().await;
}

fn sluice_gateway_cancel(process: u32, secret: &[u8]) -> Vec<u8> {
    let mut packet = (8 + 4 + secret.len() as u32).to_be_bytes().to_vec();
    packet.extend(80_877_102_u32.to_be_bytes());
    packet.extend(process.to_be_bytes());
    packet.extend(secret);
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_client_ran_is_cancelled_and_its_session_ends() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let mut client = running(&scene, "SELECT pg_sleep(60)").await;
    until_active(&scene, "1").await;
    client.kill().await.unwrap();
    until_active(&scene, "0").await;
    // In the middle of a result, too.
    let mut client = running(&scene, "SELECT a.hash, b.hash FROM numbers a, numbers b").await;
    until_active(&scene, "1").await;
    client.kill().await.unwrap();
    until_active(&scene, "0").await;
    let start = Instant::now();
    while scene.backends().await != "0" {
        assert!(start.elapsed() < Duration::from_secs(10), "a session is left on the server");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_told_and_the_gateway_goes_on() {
    let mut scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let client = running(&scene, "SELECT pg_sleep(60)").await;
    until_active(&scene, "1").await;
    scene.postgres.stop().await;
    let done = tokio::time::timeout(Duration::from_secs(20), client.wait_with_output()).await.unwrap().unwrap();
    assert!(!done.status.success());
    let refused = scene.psql(&["-c", "SELECT 1"], "").await;
    assert!(refused.stderr.contains("can't be reached"), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains(&scene.postgres.port.to_string()),
        "where it is, is nobody's business: {}",
        refused.stderr
    );
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_token_does() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let token = scene.sluice.issuer().token(ADA, &[], 4, &serde_json::Value::Null);
    let start = Instant::now();
    let script = "SELECT 1;\n\\! sleep 7\nSELECT 2;\n";
    let done = psql(&scene.target("sslmode=disable"), &token, &["-At"], script).await;
    assert_eq!(done.text(), "1\n");
    assert!(done.stderr.contains("the token has expired"), "{}", done.stderr);
    assert!(start.elapsed() > Duration::from_secs(6));
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_gateway_stops_what_runs_may_end_and_what_is_idle_is_told() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let busy = running(&scene, "SELECT pg_sleep(2), 'done'").await;
    let idle = {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-At"]).arg(scene.target("sslmode=disable")).env("PGPASSWORD", scene.token().await);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        psql.spawn().unwrap()
    };
    until_active(&scene, "1").await;
    let start = Instant::now();
    while scene.backends().await != "2" {
        assert!(start.elapsed() < Duration::from_secs(20), "the idle one doesn't connect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.sluice.signal("INT").await;
    let busy = tokio::time::timeout(Duration::from_secs(20), busy.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&busy.stdout), "|done\n", "{}", String::from_utf8_lossy(&busy.stderr));
    drop(idle);
    let Scene { sluice, postgres, .. } = scene;
    assert_eq!(sluice.wait().await, Some(0), "it ends in order");
    assert_eq!(
        postgres.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").await,
        "1"
    );
}
