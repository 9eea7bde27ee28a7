//! Sessions of MCP are found by what happened in them, and replayed as their clients saw them.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::http::{post_with, send};
use sluice_tests::program::{Finished, run};
use sluice_tests::sluice::Sluice;

async fn says(sluice: &Sluice, args: &[&str]) -> Finished {
    run(sluice.command(&[&["sessions"], args].concat()), "", Duration::from_secs(30)).await
}

async fn found(sluice: &Sluice, filters: &[&str]) -> usize {
    let done = says(sluice, &[&["list", "--json"], filters].concat()).await;
    assert_eq!(done.code, Some(0), "{filters:?}: {}", done.stderr);
    done.text().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_found_by_tool_rule_and_entity_and_replayed_as_the_client_saw_it() {
    let sluice = Sluice::demo().await;
    let session = sluice.open_session("demo").await;
    let call = |name: &str, arguments: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments } });
    let calls = [call("list_customers", json!({})), call("query", json!({ "sql": "DROP DATABASE crm" }))];
    let mut answers = Vec::new();
    for message in &calls {
        let answer = send(post_with(&sluice.mcp("demo"), Some(&session.token), message, &session.headers())).await;
        answers.push(answer.text());
    }
    // The end of an answer is on record a moment after the client has seen it.
    for _ in 0..50 {
        let record = sluice.session_record("ada@example.org").await;
        let is_there = |answer: &String| record.as_array().unwrap().iter().any(|event| event["body"] == **answer);
        if answers.iter().all(is_there) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cases: &[(&[&str], usize)] = &[
        (&["--tool", "list_customers"], 1),
        (&["--tool", "list_*"], 1),
        (&["--tool", "send_mail"], 0),
        (&["--rule", "no_destructive_sql"], 1),
        (&["--rule", "mask_email"], 1),
        (&["--rule", "mask_nothing"], 0),
        (&["--entity", "std.pii.email"], 1),
        (&["--entity", "std.pii.none"], 0),
        (&["--outcome", "refused"], 1),
        (&["--outcome", "held"], 0),
        (&["--purpose", "nightly*"], 1),
        (&["--group", "engineering"], 1),
        (&["--verb", "drop"], 0),
        (&["--tool", "query", "--entity", "std.pii.email", "--user", "ada@*"], 1),
    ];
    for (filters, expected) in cases {
        assert_eq!(found(&sluice, filters).await, *expected, "{filters:?}");
    }
    let records = sluice.session_record("ada@example.org").await;
    let id = records[0]["session"].as_str().unwrap();
    let replayed = says(&sluice, &["replay", id, "--at-once"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let text = replayed.text();
    assert!(text.contains("> tools/call list_customers\n") && text.contains("> tools/call query\n"), "{text}");
    let refused = text.split("> tools/call query\n").nth(1).unwrap();
    assert!(refused.contains("-- REFUSED\n--   block by no_destructive_sql"), "{refused}");
    for line in answers.iter().flat_map(|answer| answer.lines()).filter(|line| !line.is_empty()) {
        assert!(text.lines().any(|shown| shown == line), "{line} is in {text}");
    }
    sluice.stop().await;
}
