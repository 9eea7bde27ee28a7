//! Who may open a connection: groups, times and purposes hold for PostgreSQL's clients too, and who is refused is on record.

use serde_json::Value;
use sluice_tests::postgres::psql;
use sluice_tests::program::run;
use sluice_tests::sluice::Rules;
use std::time::Duration;

use crate::scene::{RULES, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_let_in_by_a_table_that_holds_and_for_an_accepted_purpose() {
    let connection = "require_purpose = true\n[connection.crm.purposes]\nallowed = [\"ticket-*\"]\n\
                      [[connection.crm.allow]]\ngroups = [\"past\"]\nuntil = 2001-01-01\n\
                      [[connection.crm.allow]]\ngroups = [\"engineering\"]";
    let scene = Scene::configured(Rules::Text(RULES.to_owned()), "plaintext = true", connection).await;
    let connect = async |group: &str, purpose: &str| {
        let token = scene.sluice.token(&format!("{group}@example.org"), &[group]).await;
        let target = scene.target(&format!("sslmode=disable options='-c sluice.purpose={purpose}'"));
        let done = psql(&target, &token, &["-Atc", "SELECT 1"], "").await;
        (done.text().to_owned(), done.stderr)
    };
    for (group, purpose, part) in [
        ("past", "ticket-1", "not allowed to open this connection"),
        ("sales", "ticket-1", "not allowed to open this connection"),
        ("sales", "fun", "not allowed to open this connection"),
        ("engineering", "fun", "Accepted is `ticket-*`"),
    ] {
        let (out, said) = connect(group, purpose).await;
        assert!(out.is_empty() && said.contains(part), "{group} {purpose}: {said}");
        assert!(group == "engineering" || !said.contains("ticket"), "who may not come in learns nothing: {said}");
    }
    assert_eq!(scene.backends().await, "0", "none of them reached the server");
    assert_eq!(connect("engineering", "ticket-1").await, ("1\n".to_owned(), String::new()));

    let listed = ["sessions", "list", "--refused", "--json", "--config", "sluice.toml"];
    let done = run(scene.sluice.command(&listed), "", Duration::from_secs(30)).await;
    let refused: Vec<Value> = done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let users: Vec<&str> = refused.iter().map(|refusal| refusal["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["engineering@example.org", "sales@example.org", "sales@example.org", "past@example.org"]);
    assert_eq!((&refused[3]["protocol"], &refused[3]["connection"]), (&"postgres".into(), &"crm".into()));
    let reason = refused[3]["reason"].as_str().unwrap();
    assert!(reason.contains("table 1: after its last day; table 2: in none of its groups"), "{reason}");
    scene.sluice.stop().await;
}
