//! Commands of PostgreSQL that wait for somebody's approval.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::approvals::{decide, waiting};
use sluice_tests::sluice::Rules;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use super::scene::{Scene, client};

fn rules(approve: &str) -> Rules {
    Rules::Text(format!(
        "language 1\npack tests.pg \"1.0.0\" {{ owner \"tests\" reviewed 2026-08-01 }}\n\
         rule deletes_are_approved {{\n  on request\n  when sql.verb == delete\n  then approve by [\"dba\"] {approve}\n}}\n"
    ))
}

async fn approver(scene: &Scene) -> String {
    scene.sluice.token("grace@example.org", &["dba"]).await
}

/// How many customers the server has, asked directly.
async fn customers(scene: &Scene) -> String {
    scene.postgres.value("SELECT count(*) FROM customer").await
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_is_told_that_its_command_waits_and_goes_on_once_it_is_approved() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1m estimate")).await;
    let (grace, before) = (approver(&scene).await, customers(&scene).await);
    let statements = "DELETE FROM customer WHERE id = 1;\nSELECT 'on' AS went;\n";
    let psql = scene.psql(&["-At"], statements);
    let approval = async {
        let view = waiting(&scene.sluice, &grace).await;
        assert_eq!(view["command"], "DELETE FROM customer WHERE id = 1;");
        assert_eq!(
            (&view["facts"]["verbs"], &view["facts"]["has_where"]),
            (&json!(["delete"]), &json!(true)),
            "{view}"
        );
        assert_eq!(customers(&scene).await, before, "nothing has changed");
        let estimate = &view["facts"]["estimate"];
        assert!(estimate["rows"].is_number() && estimate["cost"].is_number(), "{estimate}");
        let (status, decided) = decide(&scene.sluice, &grace, &view, "approve").await;
        assert_eq!((status, &decided["error"]), (200, &Value::Null));
        view
    };
    let (done, view) = tokio::join!(psql, approval);
    assert_eq!(done.text(), "DELETE 1\non\n", "{}", done.stderr);
    let id = view["approval"].as_str().unwrap();
    assert!(done.stderr.contains("NOTICE:") && done.stderr.contains(id), "{}", done.stderr);
    assert_ne!(customers(&scene).await, before);
    let record = scene.record().await;
    let delete =
        record.as_array().unwrap().iter().find(|event| event["name"] == "delete" && event["event"] == "request");
    assert_eq!(delete.unwrap()["approval"], view["approval"], "{record:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_an_error_and_the_session_goes_on() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1m")).await;
    let (grace, before) = (approver(&scene).await, customers(&scene).await);
    let statements =
        "DELETE FROM customer;\nSELECT 'on' AS went;\nBEGIN;\nDELETE FROM customer;\nSELECT 2;\nROLLBACK;\nSELECT 3;\n";
    let psql = scene.psql(&["-At", "-v", "VERBOSITY=verbose"], statements);
    let denials = async {
        for _ in 0..2 {
            let view = waiting(&scene.sluice, &grace).await;
            assert_eq!(decide(&scene.sluice, &grace, &view, "deny").await.0, 200);
        }
    };
    let (done, ()) = tokio::join!(psql, denials);
    assert!(done.stderr.contains("ERROR:  42501: refused by rule `deletes_are_approved`"), "{}", done.stderr);
    assert!(done.stderr.contains("was denied"), "{}", done.stderr);
    // A refusal leaves a transaction as it was, as a refusal by any other rule does.
    assert_eq!(done.text(), "on\nBEGIN\n2\nROLLBACK\n3\n", "{}", done.stderr);
    assert_eq!(customers(&scene).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_with_parameters_is_approved_with_them_and_each_execution_anew() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1m estimate")).await;
    let grace = approver(&scene).await;
    let client = client(&scene).await;
    for id in [1_i32, 2] {
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(&id, Type::INT4)];
        let deleted = client.query_typed("DELETE FROM customer WHERE id = $1 RETURNING id", &parameters);
        let approval = async {
            let view = waiting(&scene.sluice, &grace).await;
            let command = view["command"].as_str().unwrap();
            assert!(command.ends_with(&format!("-- parameters: [\"{id}\"]")), "{command}");
            let estimate = view["facts"]["estimate"].as_str().unwrap();
            assert!(estimate.contains("without parameters"), "{view}");
            assert_eq!(decide(&scene.sluice, &grace, &view, "approve").await.0, 200);
        };
        let (deleted, ()) = tokio::join!(deleted, approval);
        assert_eq!(deleted.unwrap()[0].get::<_, i32>(0), id);
    }
    // What is kept under a name could be run by anything, as often as it likes.
    let error = client.prepare("DELETE FROM customer WHERE id = $1").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "{error:?}");
    let error = client.batch_execute("PREPARE p AS DELETE FROM customer").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "{error:?}");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cancels_a_command_that_waits() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1m")).await;
    let (grace, before) = (approver(&scene).await, customers(&scene).await);
    let client = client(&scene).await;
    let token = client.cancel_token();
    let delete = client.batch_execute("DELETE FROM customer");
    let cancel = async {
        let view = waiting(&scene.sluice, &grace).await;
        token.cancel_query(NoTls).await.unwrap();
        view
    };
    let (deleted, view) = tokio::join!(delete, cancel);
    assert_eq!(deleted.unwrap_err().code().unwrap().code(), "57014");
    let (status, late) = decide(&scene.sluice, &grace, &view, "approve").await;
    assert_eq!((status, &late["error"]["code"]), (409, &json!("closed")), "{late}");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert_eq!(customers(&scene).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waited_its_time_or_went_away_comes_back_with_the_same_command() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1s")).await;
    let grace = approver(&scene).await;
    let delete = "DELETE FROM customer WHERE id = 1;\n";
    let undecided = scene.psql(&["-At"], delete).await;
    assert!(undecided.stderr.contains("is not decided yet"), "{}", undecided.stderr);
    let view = waiting(&scene.sluice, &grace).await;
    assert_eq!(decide(&scene.sluice, &grace, &view, "approve").await.0, 200);
    let used = scene.psql(&["-At"], delete).await;
    assert_eq!(used.text(), "DELETE 1\n", "{}", used.stderr);
    let again = scene.psql(&["-At"], delete).await;
    assert!(again.stderr.contains("is not decided yet"), "once: {}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_runs_nothing() {
    let scene = Scene::with(rules("count 1 ttl 5m wait 1m")).await;
    let (grace, before) = (approver(&scene).await, customers(&scene).await);
    let gone = tokio::time::timeout(Duration::from_secs(2), scene.psql(&[], "DELETE FROM customer;\n")).await;
    assert!(gone.is_err(), "it waits");
    let view = waiting(&scene.sluice, &grace).await;
    assert_eq!(decide(&scene.sluice, &grace, &view, "approve").await.0, 200);
    scene.record().await;
    assert_eq!(customers(&scene).await, before);
}
