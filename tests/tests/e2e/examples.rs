//! The configurations of `examples/` start and serve; only names that no network has are replaced.

use serde_json::{Value, json};
use sluice_tests::approvals::{decide, waiting};
use sluice_tests::http::{post_with, send};
use sluice_tests::place;
use sluice_tests::program::{PATIENCE, run};
use sluice_tests::sluice::{Session, Sluice};
use sluice_tests::target::Target;
use sluice_tests::upstream::{self, Reply};

async fn call(sluice: &Sluice, connection: &str, session: &Session, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    send(post_with(&sluice.mcp(connection), Some(&session.token), &message, &session.headers())).await.message()
}

#[test]
fn every_example_has_its_test() {
    let folders = std::fs::read_dir(place::root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = folders
        .filter(|folder| folder.join("sluice.toml").exists())
        .map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["agent", "approvals", "postgres", "sqlite", "staff", "tunnel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_example_masks_what_the_database_holds_and_keeps_it() {
    let bin = place::python("mcp1", "mcp-server-sqlite").parent().unwrap().to_string_lossy().into_owned();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let sluice = Sluice::example("sqlite", &[], &[("PATH", &path)]).await;
    let session = sluice.open_session_of("crm", "support").await;
    for (tool, query) in [
        ("create_table", "CREATE TABLE people (name TEXT, mail TEXT)"),
        ("write_query", "INSERT INTO people VALUES ('Bob', 'bob@example.com')"),
    ] {
        let done = call(&sluice, "crm", &session, tool, json!({ "query": query })).await;
        assert!(done["error"].is_null() && done["result"]["isError"] != true, "{done}");
    }
    let refused = call(&sluice, "crm", &session, "write_query", json!({ "query": "DROP TABLE people" })).await;
    assert_eq!(refused["error"]["data"]["rule"], "no_destructive_sql", "{refused}");
    let read = call(&sluice, "crm", &session, "read_query", json!({ "query": "SELECT * FROM people" })).await;
    let text = read["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Bob") && text.contains("[email]") && !text.contains("bob@example.com"), "{text}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_approvals_example_waits_for_those_who_know_the_database() {
    let bin = place::python("mcp1", "mcp-server-sqlite").parent().unwrap().to_string_lossy().into_owned();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let sluice = Sluice::example("approvals", &[], &[("PATH", &path)]).await;
    let session = sluice.open_session_of("crm", "support").await;
    let (grace, linus) =
        (sluice.token("grace@x.org", &["dba-leads"]).await, sluice.token("linus@x.org", &["dba-leads"]).await);
    for (tool, query, approvers) in [
        ("create_table", "CREATE TABLE people (name TEXT, mail TEXT)", &[&grace][..]),
        ("write_query", "DELETE FROM people WHERE name = 'Bob'", &[&grace, &linus]),
    ] {
        let done = call(&sluice, "crm", &session, tool, json!({ "query": query }));
        let approval = async {
            let view = waiting(&sluice, &grace).await;
            for approver in approvers {
                let (status, decided) = decide(&sluice, approver, &view, "approve").await;
                assert_eq!(status, 200, "{decided}");
            }
        };
        let (done, ()) = tokio::join!(done, approval);
        assert!(done["error"].is_null() && done["result"]["isError"] != true, "{done}");
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_staff_example_masks_by_its_own_rule_and_uses_its_own_credential() {
    let upstream = upstream::Upstream::start().await;
    let replaced = [("https://staff.example.org/mcp", upstream.url.as_str())];
    let sluice = Sluice::example("staff", &replaced, &[("STAFF_TOKEN", "of-the-gateway")]).await;
    let session = sluice.open_session("staff").await;
    upstream.reply(Reply::json(&upstream::result(json!(7), "ask EMP-004711 or bob@example.com")));
    let found = call(&sluice, "staff", &session, "find_employee", json!({})).await;
    assert_eq!(found["result"]["content"][0]["text"], "ask [staff] or [email]");
    let refused = call(&sluice, "staff", &session, "delete_employee", json!({})).await;
    assert_eq!(refused["error"]["data"]["rule"], "no_deleting_tools", "{refused}");
    let [call] = &upstream.calls()[..] else { panic!("what is refused doesn't reach the server") };
    assert_eq!(call.headers["authorization"], "Bearer of-the-gateway");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tunnel_example_carries_bytes_for_a_purpose_and_masks_what_comes_back() {
    let target = Target::echo().await;
    let address = target.address.to_string();
    let replaced = [("127.0.0.1:6379", address.as_str()), ("127.0.0.1:7701", "127.0.0.1:0")];
    let sluice = Sluice::example("tunnel", &replaced, &[]).await;
    let token = sluice.token("ada@example.org", &[]).await;
    for (args, code, text) in [(&["--purpose", "to see"][..], 0, "write to [email] then\n"), (&[], 2, "")] {
        let mut connect = sluice.command(&["connect", "cache", "--stdio", "--gateway", &sluice.tunnel]);
        connect.args(["--ca", "examples/tunnel/tunnel.pem"]).args(args).env("SLUICE_TOKEN", &token);
        let done = run(connect, "write to bob@example.com then\n", PATIENCE).await;
        assert_eq!((done.code, done.text()), (Some(code), text), "{}", done.stderr);
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_example_reaches_a_target_that_an_agent_serves_with_a_token_and_without() {
    let target = Target::echo().await;
    let replaced = [("127.0.0.1:7701", "127.0.0.1:0"), ("127.0.0.1:6381", "127.0.0.1:0")];
    let sluice = Sluice::example("agent", &replaced, &[]).await;
    let mut agent = sluice.command(&["agent", "--gateway", &sluice.tunnel, "--ca", "examples/agent/tunnel.pem"]);
    agent.args(["--serve", &format!("cache={}", target.address)]).kill_on_drop(true);
    agent.env("SLUICE_TOKEN", sluice.token("site-1", &["cache-agents"]).await);
    let _agent = agent.spawn().unwrap();
    let token = sluice.token("ada@example.org", &["support"]).await;
    let mut left = 50;
    loop {
        let mut connect = sluice.command(&["connect", "cache", "--stdio", "--gateway", &sluice.tunnel]);
        connect.args(["--ca", "examples/agent/tunnel.pem"]).env("SLUICE_TOKEN", &token);
        let done = run(connect, "write to bob@example.com then\n", PATIENCE).await;
        if done.code == Some(0) {
            assert_eq!(done.text(), "write to [email] then\n");
            break;
        }
        left -= 1;
        assert!(left > 0, "{}", done.stderr);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let mut job = tokio::net::TcpStream::connect(sluice.listener("cache")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut job, b"ping\n").await.unwrap();
    let mut heard = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut job, &mut heard).await.unwrap();
    assert_eq!(&heard, b"ping\n");
    sluice.stop().await;
}
