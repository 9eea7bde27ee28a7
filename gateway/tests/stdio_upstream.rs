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
        token = json.dumps(m["params"].get("_meta", {}).get("progressToken"))
        out('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"message":"ask bob@corp.com"}}' % token)
        out('{"result": {"b":1.50,"t":"ask \\u0062ob@corp.com"}, "id":%s ,"jsonrpc":"2.0"}' % i)
    elif name == "parts":
        for part in ["ask bob@co", "rp.com", " of project"]:
            out('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"message":"%s"}}' % part)
        out('{"jsonrpc":"2.0","id":%s,"result":{"t":"ask bob@cor"}}' % i)
    elif name == "pause":
        out('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"message":"ask bob@co"}}')
    elif name == "crash":
        sys.exit(3)
    elif name == "junk":
        out('{"jsonrpc":"2.0","id":%s,"result":' % i)
    elif name == "quiet":
        out('{"jsonrpc":"2.0","id":%s,"result":{"t":"ask bob@corp.com"}}' % i)
    elif name == "wait":
        out('{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"started"}}')
    elif "id" in m:
        out('{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}' % i)
"#;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;

fn call(id: &str, name: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","_meta":{{"progressToken":5}}}}}}"#
    )
}

/// The place, and a folder in which the server writes down in `cancelled` what was cancelled.
async fn place() -> (Place, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cancelled");
    let script = SERVER.replace(r#"os.environ["HOME_OF_TEST"]"#, &format!("{:?}", file.display().to_string()));
    (Place::stdio(&script).await, folder)
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
    let (place, _folder) = place().await;
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
async fn a_value_that_two_notes_of_a_child_share_is_masked_and_a_note_waits_a_moment_for_it() {
    let (place, _folder) = place().await;
    let id = open(&place).await;
    let session = [("mcp-session-id", id.as_str())];
    let (_, body) = read(place.call("POST", &session, &call("1", "parts")).await).await;
    let messages: Vec<serde_json::Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let notes: Vec<&str> = messages.iter().filter_map(|note| note["params"]["message"].as_str()).collect();
    assert_eq!(notes, ["ask [mail]", "", " of project"]);
    assert_eq!(messages[3]["result"]["t"], "ask bob@cor", "the answer comes last");
    let mut waits = place.call("POST", &session, &call("2", "pause")).await.into_body();
    let mut seen = String::new();
    while !seen.ends_with("\n\n") {
        let frame =
            tokio::time::timeout(std::time::Duration::from_secs(5), waits.frame()).await.unwrap().unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(seen.contains("ask bob@co"), "{seen}");
}

#[tokio::test]
async fn a_child_that_crashes_or_writes_junk_is_told_as_an_error() {
    let (place, _folder) = place().await;
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
    let (place, folder) = place().await;
    let file = folder.path().join("cancelled");
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

#[tokio::test]
async fn a_client_without_sessions_shares_a_child_and_its_headers_must_be_there() {
    let (place, _folder) = place().await;
    let body = stateless(&call("1", "mail"));
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "mail")];
    let both = tokio::join!(place.call("POST", &headers, &body), place.call("POST", &headers, &body));
    for response in [both.0, both.1] {
        assert!(!response.headers().contains_key("mcp-session-id"));
        let (status, text) = read(response).await;
        assert_eq!(status, 200);
        let progress = r#"{"progressToken":5,"message":"ask [mail]"}"#;
        assert_eq!(text.matches(progress).count(), 1, "each has its own: {text}");
        assert!(
            text.ends_with("data: {\"result\": {\"b\":1.50,\"t\":\"ask [mail]\"}, \"id\":1 ,\"jsonrpc\":\"2.0\"}\n\n"),
            "{text}"
        );
    }
    for missing in 0..3 {
        let mut some = headers.to_vec();
        some.remove(missing);
        let (status, text) = read(place.call("POST", &some, &body).await).await;
        assert_eq!(status, 400, "without {:?}", headers[missing]);
        assert!(text.contains("-32020"), "{text}");
    }
    assert_eq!(place.call("GET", &headers[..1], "").await.status(), 405);
    assert_eq!(place.evidence.sessions().unwrap().len(), 1);
}

#[tokio::test]
async fn a_child_under_the_newest_revision_is_an_http_server_of_it() {
    let (place, _folder) = place().await;
    let ask = async |revision: &str, method: &str, name: &str, body: &str| {
        let headers = [("mcp-protocol-version", revision), ("mcp-method", method), ("mcp-name", name)];
        let named = if name.is_empty() { 2 } else { 3 };
        let response = place.call("POST", &headers[..named], body).await;
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, body) = read(response).await;
        (status, content_type, body)
    };
    let quiet = stateless(&call("1", "quiet"));
    let (status, content_type, body) = ask("2026-07-28", "tools/call", "quiet", &quiet).await;
    assert_eq!((status, content_type.as_str()), (200, "application/json"), "an answer alone is no stream");
    assert_eq!(body, r#"{"jsonrpc":"2.0","id":1,"result":{"t":"ask [mail]"}}"#);

    let of = |method: &str| {
        stateless(&format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"{method}","params":{{"_meta":{{"progressToken":5}}}}}}"#
        ))
    };
    let (status, _, body) = ask("2026-07-28", "ping", "", &of("ping")).await;
    assert_eq!(status, 404, "a method that isn't there: {body}");
    let (status, _, body) = ask("2026-07-28", "server/discover", "", &of("server/discover")).await;
    assert_eq!(status, 400, "a server of an older revision: {body}");

    let unknown = quiet.replace("2026-07-28", "2031-01-01");
    let (status, _, body) = ask("2031-01-01", "tools/call", "quiet", &unknown).await;
    assert_eq!(status, 400);
    assert!(body.contains(r#""code":-32022"#), "{body}");
    assert!(body.contains(r#""data":{"supported":["2026-07-28"],"requested":"2031-01-01"}"#), "{body}");

    for (what, body) in [
        ("no revision", quiet.replace("protocolVersion", "other")),
        ("no capabilities", quiet.replace("clientCapabilities", "other")),
        ("no _meta", quiet.replace("_meta", "other")),
    ] {
        let (status, _, text) = ask("2026-07-28", "tools/call", "quiet", &body).await;
        assert_eq!(status, 400, "{what}: {text}");
        assert!(text.contains("-32602"), "{what}: {text}");
    }
    let (status, _, text) = ask("2026-07-28", "tools/call", "quiet", &format!("[{quiet}]")).await;
    assert_eq!(status, 400, "no batches: {text}");
}

fn stateless(body: &str) -> String {
    let meta = r#""progressToken":5,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    body.replace(r#""progressToken":5"#, meta)
}

#[tokio::test]
async fn a_connection_that_needs_a_purpose_refuses_calls_without_one_and_says_how_to_state_it() {
    let (place, _folder) = place().await;
    let mut config = place.connection.clone();
    config.require_purpose = true;
    let place = Place::with(config).await;
    let id = open(&place).await;
    let session = ("mcp-session-id", id.as_str());
    let (_, text) = read(place.call("POST", &[session], &call("1", "mail")).await).await;
    assert!(
        text.contains("Sluice-Purpose") && text.contains("dev.sluice/purpose") && text.contains("-32003"),
        "{text}"
    );
    let stated = [session, ("sluice-purpose", "ticket 7")];
    let (_, text) = read(place.call("POST", &stated, &call("2", "mail")).await).await;
    assert!(text.contains("ask [mail]"), "{text}");
    assert!(place.records(|all| all.contains("ticket 7")).await.contains("refused"));
}
