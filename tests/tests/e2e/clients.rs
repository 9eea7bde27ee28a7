//! Official clients and official servers: what no rule touches is equal, what one touches is masked.

use serde_json::{Value, json};
use sluice_tests::client::{self, Client, Target, call, step};
use sluice_tests::place;
use sluice_tests::sluice::{Rules, Sluice, Upstream};

fn node_server(package: &str, args: &[&str]) -> Vec<String> {
    let script = place::node_package(package).join("dist/index.js");
    let mut command = vec![place::node().to_string_lossy().into_owned(), script.to_string_lossy().into_owned()];
    command.extend(args.iter().map(|arg| (*arg).to_owned()));
    command
}

/// Every client, directly and through the gateway: the same answers.
async fn assert_equal_through(command: Vec<String>, plan: &[Value]) {
    let sluice =
        Sluice::new().rules(Rules::Standard).connection("server", Upstream::Stdio(command.clone())).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    for client in client::ALL {
        let directly = client.carry_out(plan, &Target::stdio(&command)).await;
        let through = client.carry_out(plan, &Target::url(&sluice.mcp("server"), Some(&token))).await;
        assert!(directly[0].get("result").is_some(), "{client:?} can't ask the server directly: {directly:?}");
        assert_eq!(through, directly, "{client:?}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_everything_server_answers_the_same_through_the_gateway() {
    let plan = [
        step("tools/list", json!({})),
        call("echo", json!({ "message": "grüße, 世界 \u{1F600} \"quoted\" \\ back" })),
        call("get-sum", json!({ "a": 2, "b": 40 })),
        call("get-tiny-image", json!({})),
        call("no-such-tool", json!({})),
        step("resources/list", json!({})),
        step("prompts/list", json!({})),
        step("prompts/get", json!({ "name": "simple-prompt" })),
    ];
    assert_equal_through(node_server("@modelcontextprotocol/server-everything", &["stdio"]), &plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_server_answers_the_same_through_the_gateway() {
    let plan = [step("tools/list", json!({})), call("search_nodes", json!({ "query": "nothing" }))];
    assert_equal_through(node_server("@modelcontextprotocol/server-memory", &[]), &plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_server_answers_the_same_through_the_gateway() {
    let command = vec![place::python("mcp2", "mcp-server-time").to_string_lossy().into_owned()];
    let convert = json!({ "source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo" });
    let plan = [step("tools/list", json!({})), call("get_current_time", json!({ "timezone": "nowhere" }))];
    assert_equal_through(command.clone(), &plan).await;
    // The answer names today's date, so both are asked and only the time of day is compared.
    let sluice = Sluice::new().connection("time", Upstream::Stdio(command)).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    let target = Target::url(&sluice.mcp("time"), Some(&token));
    let answer = Client::Python2.carry_out(&[call("convert_time", convert)], &target).await;
    assert!(answer[0].to_string().contains("time_difference"), "{answer:?}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_equal_where_no_rule_applies_and_masked_where_one_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clean.txt"), "The meeting is on Tuesday.\n\"Bring\" a pen \\ and paper.\n")
        .unwrap();
    std::fs::write(folder.path().join("people.txt"), "Bob: bob@example.com, card 4111 1111 1111 1111.\n").unwrap();
    let root = folder.path().to_string_lossy().into_owned();
    let command = node_server("@modelcontextprotocol/server-filesystem", &[&root]);
    let read = |file: &str| call("read_text_file", json!({ "path": format!("{root}/{file}") }));
    assert_equal_through(command.clone(), &[step("tools/list", json!({})), read("clean.txt")]).await;

    let sluice = Sluice::new().rules(Rules::Standard).connection("files", Upstream::Stdio(command)).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    for client in client::ALL {
        let answers = client.carry_out(&[read("people.txt")], &Target::url(&sluice.mcp("files"), Some(&token))).await;
        let shown = answers[0].to_string();
        assert!(!shown.contains("bob@example.com") && !shown.contains("4111 1111"), "{client:?} saw {shown}");
        assert!(shown.contains("Bob: ") && shown.contains(", card "), "{client:?} lost the rest: {shown}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_database_are_masked_and_the_rest_of_the_row_stays() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("crm.db").to_string_lossy().into_owned();
    let server = place::python("mcp1", "mcp-server-sqlite").to_string_lossy().into_owned();
    let command = vec![server, "--db-path".to_owned(), database];
    let setup = [
        call("create_table", json!({ "query": "CREATE TABLE people (id INTEGER, name TEXT, mail TEXT)" })),
        call("write_query", json!({ "query": "INSERT INTO people VALUES (7, 'Carol', 'carol@example.org')" })),
    ];
    let done = Client::Python1.carry_out(&setup, &Target::stdio(&command)).await;
    assert!(done.iter().all(|answer| answer.get("result").is_some()), "{done:?}");

    let plan = [call("read_query", json!({ "query": "SELECT id, name, mail FROM people" }))];
    let directly = Client::Python1.carry_out(&plan, &Target::stdio(&command)).await;
    assert!(directly[0].to_string().contains("carol@example.org"));

    let sluice = Sluice::new().rules(Rules::Standard).connection("crm", Upstream::Stdio(command)).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    for client in client::ALL {
        let answers = client.carry_out(&plan, &Target::url(&sluice.mcp("crm"), Some(&token))).await;
        let shown = answers[0].to_string();
        assert!(!shown.contains("carol@example.org"), "{client:?} saw {shown}");
        assert!(shown.contains("Carol") && shown.contains('7'), "{client:?} lost the rest: {shown}");
    }
    sluice.stop().await;
}
