//! The data path to a child process: a session of Streamable HTTP over lines.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Place, read};
use http_body_util::BodyExt;

const SERVER: &str = r#"
import sys, json, os
def out(text): sys.stdout.write(text + "\n"); sys.stdout.flush()
for line in sys.stdin:
    m = json.loads(line)
    i = json.dumps(m.get("id"))
    name = m.get("params", {}).get("name")
    if m.get("method") == "initialize":
        out('{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}' % i)
    elif m.get("method") == "notifications/cancelled":
        open(os.environ["HOME_OF_TEST"], "a").write(line)
    elif name == "mail":
        sys.stderr.write("secret of carl@corp.com\n")
        out('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"message":"ask bob@corp.com"}}')
        out('{"result": {"b":1.50,"t":"ask \\u0062ob@corp.com"}, "id":%s ,"jsonrpc":"2.0"}' % i)
    elif name == "crash":
        sys.exit(3)
    elif name == "junk":
        out('{"jsonrpc":"2.0","id":%s,"result":' % i)
    elif name == "wait":
        out('{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"started"}}')
"#;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;

fn call(id: &str, name: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","_meta":{{"progressToken":5}}}}}}"#
    )
}

async fn place() -> (Place, std::path::PathBuf) {
    let file = std::env::temp_dir().join(format!("sluice-cancelled-{}", uuid::Uuid::new_v4()));
    let script = SERVER.replace(r#"os.environ["HOME_OF_TEST"]"#, &format!("{:?}", file.display().to_string()));
    (Place::stdio(&script).await, file)
}

async fn open(place: &Place) -> String {
    let response = place.call("POST", &[], INITIALIZE).await;
    assert_eq!(response.status(), 200);
    let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let (_, body) = read(response).await;
    let line = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
    assert_eq!(body, format!("event: message\ndata: {line}\n\n"));
    id
}

#[tokio::test]
async fn a_child_is_a_session_whose_lines_are_masked_events() {
    let (place, _) = place().await;
    let id = open(&place).await;
    let session = [("mcp-session-id", id.as_str())];
    let (status, _) =
        read(place.call("POST", &session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await).await;
    assert_eq!(status, 202);
    let (_, body) = read(place.call("POST", &session, &call("\"x\"", "mail")).await).await;
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"message":"ask [mail]"}}"#;
    let result = r#"{"result": {"b":1.50,"t":"ask [mail]"}, "id":"x" ,"jsonrpc":"2.0"}"#;
    assert_eq!(body, format!("event: message\ndata: {progress}\n\nevent: message\ndata: {result}\n\n"));
    let json = [session[0], ("accept", "application/json")];
    assert_eq!(read(place.call("POST", &json, &call("\"x\"", "mail")).await).await, (200, result.to_owned()));
    assert_eq!(place.call("DELETE", &session, "").await.status(), 200);
    assert_eq!(place.call("POST", &session, &call("1", "mail")).await.status(), 404);
    assert_eq!(place.post(&call("1", "mail")).await.0, 400, "a request without a session");
    let records = place.records(|all| all.contains("session_closed")).await;
    assert!(!records.contains("bob"));
}

#[tokio::test]
async fn a_child_that_crashes_or_writes_junk_is_told_as_an_error() {
    let (place, _) = place().await;
    let id = open(&place).await;
    let session = [("mcp-session-id", id.as_str())];
    let (_, body) = read(place.call("POST", &session, &call("1", "junk")).await).await;
    assert!(body.contains(r#""id":1,"error":{"code":-32002"#), "{body}");
    let (_, body) = read(place.call("POST", &session, &call("2", "crash")).await).await;
    assert!(body.contains(r#""id":2,"error":{"code":-32002"#), "{body}");
    place.records(|all| all.contains("the upstream process ended")).await;
    assert_eq!(place.call("POST", &session, &call("3", "mail")).await.status(), 404);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let (place, file) = place().await;
    let id = open(&place).await;
    let session = [("mcp-session-id", id.as_str())];
    let mut body = place.call("POST", &session, &call("\"w\"", "wait")).await.into_body();
    body.frame().await.unwrap().unwrap();
    let (again, text) = read(place.call("POST", &session, &call("\"w\"", "wait")).await).await;
    assert_eq!(again, 400, "an id in use is refused: {text}");
    drop(body);
    place.records(|all| all.contains("cancelled")).await;
    for _ in 0..100 {
        if std::fs::read_to_string(&file)
            .is_ok_and(|told| told.contains(r#""requestId": "w""#) || told.contains(r#""requestId":"w""#))
        {
            let _ = std::fs::remove_file(&file);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the child was not told");
}
