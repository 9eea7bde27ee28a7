//! Tokens that the gateway issues itself: who issues them, what they open, and that they end.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::http::{post, send};
use sluice_tests::program::{Finished, run};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::upstream;

async fn scene() -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let tables = "\n[roles]\nadmin = [\"platform\"]\nauditor = [\"audit\"]\n";
    let to = || Upstream::Http(upstream.url.clone());
    let setting =
        Sluice::new().rules(Rules::None).connection("db", to()).connection("hr", to()).connection("batch", to());
    let sluice = setting.further("batch", "groups = [\"batch\"]").tables(tables).start().await;
    (upstream, sluice)
}

/// `sluice service-token …` as somebody with this token.
async fn ask(sluice: &Sluice, token: &str, args: &[&str]) -> Finished {
    let mut command = sluice.command(&["service-token"]);
    command.args(args).args(["--url", &sluice.address, "--json"]).env("SLUICE_TOKEN", token);
    run(command, "", Duration::from_secs(30)).await
}

/// The status of an `initialize` with this token.
async fn opens(sluice: &Sluice, connection: &str, token: &str) -> u16 {
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } });
    send(post(&sluice.mcp(connection), Some(token), &hello)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_issues_a_token_that_opens_its_connections_until_it_is_revoked() {
    let (_upstream, mut sluice) = scene().await;
    let admin = sluice.token("root@example.org", &["platform"]).await;
    let (auditor, user) = (sluice.token("dpo@x.org", &["audit"]).await, sluice.token("ada@x.org", &["batch"]).await);
    let args = ["issue", "nightly", "--connection", "db", "--connection", "batch", "--group", "batch", "--ttl", "1h"];
    for token in [&auditor, &user] {
        let refused = ask(&sluice, token, &args).await;
        assert!(refused.code == Some(2) && refused.stderr.contains("administrators"), "{}", refused.stderr);
    }
    let wrong = ask(&sluice, &admin, &["issue", "nightly", "--connection", "nowhere"]).await;
    assert!(wrong.stderr.contains("no connection `nowhere`"), "{}", wrong.stderr);
    let issued = ask(&sluice, &admin, &args).await;
    assert_eq!(issued.code, Some(0), "{}", issued.stderr);
    let issued: Value = serde_json::from_str(issued.text()).unwrap();
    let (token, id) = (issued["token"].as_str().unwrap(), issued["id"].as_str().unwrap());
    assert!(issued.get("hash").is_none());

    assert_eq!((opens(&sluice, "db", token).await, opens(&sluice, "batch", token).await), (200, 200));
    assert_eq!((opens(&sluice, "hr", token).await, opens(&sluice, "db", &format!("{token}x")).await), (401, 401));
    // It decides nothing and administers nothing.
    assert_eq!(ask(&sluice, token, &["list"]).await.code, Some(2));
    let record = sluice.session_records("service:nightly").await;
    assert_eq!(record[0]["issuer"], "urn:sluice:service-tokens", "{record:#?}");
    assert_eq!((&record[0]["kind"], &record[0]["token_id"]), (&json!("service"), &json!(id)));

    // It counts after a restart, and whoever may sees when it was used.
    sluice.signal("INT").await;
    sluice.ended().await;
    sluice.restart().await;
    assert_eq!(opens(&sluice, "db", token).await, 200);
    let listed = ask(&sluice, &auditor, &["list"]).await;
    let listed: Value = serde_json::from_str(listed.text()).unwrap();
    assert_eq!((&listed["id"], &listed["issued_by"]), (&json!(id), &json!("root@example.org")));
    assert!(listed["last_used"].is_string() && listed.get("hash").is_none(), "{listed}");
    assert_eq!(ask(&sluice, &auditor, &["revoke", id]).await.code, Some(2));
    assert_eq!(ask(&sluice, &admin, &["revoke", id]).await.code, Some(0));
    assert_eq!(opens(&sluice, "db", token).await, 401);
    assert_eq!(ask(&sluice, &admin, &["revoke", id]).await.code, Some(2));
    let kept = std::fs::read_to_string(sluice.folder().join("store/service-tokens.json")).unwrap();
    assert!(!kept.contains(token.split_once('.').unwrap().1) && !sluice.log().contains(token));

    let acts = run(
        sluice.command(&["sessions", "list", "--administered", "--json", "--config", "sluice.toml"]),
        "",
        Duration::from_secs(30),
    )
    .await;
    let acts: Vec<Value> = acts.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&Value> = acts.iter().map(|act| &act["action"]).collect();
    assert_eq!(actions, [&json!("revoke_service_token"), &json!("issue_service_token")], "{acts:#?}");
    assert_eq!(
        (&acts[1]["user"], &acts[1]["about"]["connections"]),
        (&json!("root@example.org"), &json!(["db", "batch"]))
    );
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ci_jobs_token_is_good_for_its_own_connection_and_for_nothing_else() {
    let upstream = upstream::Upstream::start().await;
    let to = || Upstream::Http(upstream.url.clone());
    // Jobs of one repository are the group `ci`, which may do one thing.
    let issuer = "kind = \"service\"\nuser_claim = \"sub\"\ngroups = [\"ci\"]\nrequire = { repository = [\"acme/payments\"] }\nactors = []";
    let setting =
        Sluice::new().rules(Rules::None).issuer(None, issuer).connection("checks", to()).connection("db", to());
    let setting = setting.further("checks", "groups = [\"ci\"]").further("db", "groups = [\"engineering\"]");
    let sluice = setting.tables("\n[roles]\nadmin = [\"platform\"]\n").start().await;
    let job = |repository: &str, more: Value| {
        let mut claims = json!({ "email": null, "groups": null, "repository": repository });
        more.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        sluice.issuer().token("repo:acme/payments:ref:refs/heads/main", &[], 600, &claims)
    };
    let good = job("acme/payments", json!({}));
    assert_eq!((opens(&sluice, "checks", &good).await, opens(&sluice, "db", &good).await), (200, 403));
    assert_eq!(opens(&sluice, "checks", &job("mallory/payments", json!({}))).await, 401, "another repository's");
    assert_eq!(opens(&sluice, "checks", &job("acme/payments", json!({ "act": { "sub": "x" } }))).await, 401);
    for args in [&["list"][..], &["issue", "more", "--connection", "db"]] {
        let refused = ask(&sluice, &good, args).await;
        assert!(refused.code == Some(2) && refused.stderr.contains("administrators"), "{}", refused.stderr);
    }
    sluice.stop().await;
}
