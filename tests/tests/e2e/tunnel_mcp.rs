//! MCP through the agents' protocol: official clients with a command or a local address see what they see directly.

use serde_json::{Value, json};
use sluice_tests::client::{self, Client, Target, call, step, with_notes};
use sluice_tests::conformance::{Suite, fixture_over_stdio};
use sluice_tests::http::{post_with, send};
use sluice_tests::place;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::tunnel::{command_line, connect};

fn everything() -> Vec<String> {
    let script = place::node_package("@modelcontextprotocol/server-everything").join("dist/index.js");
    [place::node(), script].iter().map(|path| path.to_string_lossy().into_owned()).chain(["stdio".to_owned()]).collect()
}

async fn scene() -> Sluice {
    Sluice::new().rules(Rules::Standard).connection("server", Upstream::Stdio(everything())).tunnel("").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_that_start_a_command_are_answered_as_directly() {
    let plan = [
        step("tools/list", json!({})),
        call("echo", json!({ "message": "grüße, 世界 \u{1F600} \"quoted\" \\ back" })),
        call("get-sum", json!({ "a": 2, "b": 40 })),
        call("get-tiny-image", json!({})),
        call("no-such-tool", json!({})),
        step("resources/list", json!({})),
        step("prompts/get", json!({ "name": "simple-prompt" })),
    ];
    let sluice = scene().await;
    for client in client::ALL {
        let directly = client.carry_out(&plan, &Target::stdio(&everything())).await;
        let command = command_line(&sluice, "server", "ada@example.org", &[]).await;
        let through = client.carry_out(&plan, &Target::stdio(&command)).await;
        assert!(directly[0].get("result").is_some(), "{client:?} can't ask the server directly: {directly:?}");
        assert_eq!(through, directly, "{client:?}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_notes_on_the_way_is_heard_as_directly() {
    let fixture = fixture_over_stdio(Suite::Stable);
    let sluice = Sluice::new()
        .rules(Rules::Standard)
        .connection("pieces", Upstream::Stdio(fixture.clone()))
        .tunnel("")
        .start()
        .await;
    let plan = [with_notes(call("say_in_pieces", json!({ "pieces": ["one piece", "another one"] })))];
    let command = command_line(&sluice, "pieces", "ada@example.org", &[]).await;
    // TypeScript's SDK forgets who asked for progress as soon as it has read the answer, and may read both at once.
    for client in [Client::Python1, Client::Python2] {
        let directly = client.carry_out(&plan, &Target::stdio(&fixture)).await;
        let through = client.carry_out(&plan, &Target::stdio(&command)).await;
        assert!(directly[0]["notes"].to_string().contains("another one"), "{client:?}: {directly:?}");
        assert_eq!(through, directly, "{client:?}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_masked_and_commands_refused_and_the_purpose_is_on_record() {
    let sluice = scene().await;
    let command = command_line(&sluice, "server", "ada@example.org", &["--purpose", "nightly café report"]).await;
    let plan = [
        call("echo", json!({ "message": "write to bob@example.com" })),
        call("echo", json!({ "message": "DROP DATABASE crm" })),
    ];
    let answers = Client::Python1.carry_out(&plan, &Target::stdio(&command)).await;
    let shown = answers[0].to_string();
    assert!(shown.contains("write to [email]") && !shown.contains("bob@"), "{shown}");
    let record = sluice.session_record("ada@example.org").await;
    let opened = &record.as_array().unwrap()[0];
    assert_eq!((&opened["event"], &opened["purpose"]), (&"session_opened".into(), &"nightly café report".into()));
    let closed = record.as_array().unwrap().last().unwrap();
    assert_eq!(closed["event"], "session_closed", "the session ends with the command: {closed}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_good_token_says_why_and_ends() {
    let sluice = scene().await;
    let mut command = sluice.command(&["connect", "server", "--stdio", "--ca", "ca.pem", "--gateway", &sluice.tunnel]);
    command.env("SLUICE_TOKEN", "nonsense");
    let done = sluice_tests::program::run(command, "{}\n", std::time::Duration::from_secs(20)).await;
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("not authenticated") && !done.stderr.contains("nonsense"), "{}", done.stderr);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_address_needs_no_token_and_serves_no_strange_page() {
    let sluice = scene().await;
    let (local, address) = connect(&sluice, "server", "ada@example.org", &[]).await;
    let url = format!("http://{address}/mcp/server");
    let plan = [call("get-sum", json!({ "a": 2, "b": 40 }))];
    for client in [Client::TypeScript2, Client::Python2] {
        let answers = client.carry_out(&plan, &Target::url(&url, None)).await;
        assert!(answers[0].to_string().contains("42"), "{client:?}: {answers:?}");
    }
    let list: Value = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for (header, status) in [
        (("host", "evil.example"), 403),
        (("origin", "http://evil.example"), 403),
        (("authorization", "Bearer no"), 400),
    ] {
        // The last one is a request without a session: whatever it says of itself, it is the stream's identity's.
        let answer = send(post_with(&url, None, &list, &[header])).await;
        assert_eq!(answer.status, status, "{header:?}: {}", answer.text());
    }
    let elsewhere = format!("http://{address}/mcp/other");
    assert_eq!(send(post_with(&elsewhere, None, &list, &[])).await.status, 404);
    local.kill().await;
    sluice.stop().await;
}
