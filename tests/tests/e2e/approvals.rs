//! Calls that wait for somebody's approval: what the client hears, who may decide, what goes upstream and what is on record.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sluice_tests::approvals::{ask, decide, waiting};
use sluice_tests::http::{Answer, post_with, send};
use sluice_tests::place;
use sluice_tests::program::{command, run};
use sluice_tests::sluice::{Rules, Session, Setting, Sluice, Upstream};
use sluice_tests::upstream::{self, Reply, result};
use tokio::task::JoinHandle;

/// A rule that wants approvals, in so many words, and one that masks.
fn rules(approve: &str) -> Rules {
    Rules::Text(format!(
        r#"language 1
pack tests.approvals "1.0.0" {{ owner "tests" reviewed 2026-08-01 }}
pattern mail = /\b[a-z]{{2,20}}@example\.com\b/
rule drop_is_approved {{
  on request
  when tool.name == "drop"
  then approve by ["dba"] {approve}
}}
rule mails {{
  on response
  match mail
  then mask redact(with: "[mail]")
}}
"#
    ))
}

fn setting(upstream: &upstream::Upstream, approve: &str) -> Setting {
    Sluice::new().rules(rules(approve)).connection("db", Upstream::Http(upstream.url.clone()))
}

async fn scene(approve: &str) -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let sluice = setting(&upstream, approve).start().await;
    (upstream, sluice)
}

fn drop_table(id: i64, table: &str) -> Value {
    let params =
        json!({ "name": "drop", "arguments": { "table": table }, "_meta": { "progressToken": format!("p{id}") } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

/// Sends a call and leaves it to wait.
fn begin(sluice: &Sluice, session: &Session, message: &Value) -> JoinHandle<Answer> {
    let request = post_with(&sluice.mcp("db"), Some(&session.token), message, &session.headers());
    tokio::spawn(send(request))
}

/// The data of an event stream, in order.
fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    assert!(answer.header("content-type").starts_with("text/event-stream"), "{text}");
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The records of ada's session of one kind.
async fn records(sluice: &Sluice, kind: &str) -> Vec<Value> {
    let all = sluice.session_record("ada@example.org").await;
    all.as_array().unwrap().iter().filter(|record| record["event"] == kind).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_an_approver_and_its_record_ties_all_of_it_together() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    upstream.reply(Reply::json(&result(json!(7), "dropped, says bob@example.com")));
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@example.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    assert_eq!(view["state"], "pending");
    assert_eq!(view["requester"]["user"], "ada@example.org");
    assert_eq!((&view["rule"], &view["name"]), (&json!("drop_is_approved"), &json!("drop")));
    assert_eq!(view["command"], r#"{"arguments":{"table":"people"},"name":"drop"}"#);
    assert!(upstream.calls().is_empty(), "nothing went upstream");

    // Not by herself, and not by somebody of another group, who doesn't even learn of it.
    let ada = sluice.token("ada@example.org", &["dba"]).await;
    let (status, refused) = decide(&sluice, &ada, &view, "approve").await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("own")), "{refused}");
    let eve = sluice.token("eve@example.org", &["sales"]).await;
    assert_eq!(ask(&sluice, &eve, "/api/v1/approvals", None).await, (200, json!([])));
    assert_eq!(decide(&sluice, &eve, &view, "approve").await.0, 404);
    // Not without a reason, and not for something else than what was shown.
    let path = format!("/api/v1/approvals/{}/decision", view["approval"].as_str().unwrap());
    let blank = json!({ "decision": "approve", "justification": "  ", "hash": view["hash"] });
    assert_eq!(ask(&sluice, &grace, &path, Some(&blank)).await.0, 400);
    let other = json!({ "decision": "approve", "justification": "yes", "hash": "sha256:00" });
    assert_eq!(ask(&sluice, &grace, &path, Some(&other)).await.0, 409);
    assert!(upstream.calls().is_empty(), "nothing went upstream");

    // From the command line, as an approver would.
    let id = view["approval"].as_str().unwrap();
    let mut shows = sluice.command(&["approvals", "show", id, "--url", &sluice.address]);
    shows.env("SLUICE_TOKEN", &grace);
    let shown = run(shows, "", Duration::from_secs(30)).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.text().contains(r#"{"arguments":{"table":"people"},"name":"drop"}"#), "{}", shown.text());
    let mut approves = sluice.command(&["approvals", "approve", id, "--reason", "CHG-42", "--url", &sluice.address]);
    approves.env("SLUICE_TOKEN", &grace);
    let approved = run(approves, "", Duration::from_secs(30)).await;
    assert_eq!(approved.code, Some(0), "{}", approved.stderr);

    let answer = call.await.unwrap();
    let heard = events(&answer);
    let last = heard.last().unwrap();
    assert_eq!(last["result"]["content"][0]["text"], "dropped, says [mail]", "masked as ever: {last}");
    let progress: Vec<f64> =
        heard[..heard.len() - 1].iter().map(|note| note["params"]["progress"].as_f64().unwrap()).collect();
    assert!(!progress.is_empty() && progress.windows(2).all(|pair| pair[0] < pair[1]), "{progress:?}");
    assert!(progress.iter().all(|value| *value <= 0.0), "the server's own begins above: {progress:?}");
    assert!(heard[0]["params"]["message"].as_str().unwrap().contains(id), "{}", heard[0]);
    assert_eq!(upstream.calls().len(), 1);
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 409, "it is used");

    let requested = records(&sluice, "approval_requested").await;
    assert_eq!(requested.len(), 1);
    assert_eq!(requested[0]["hash"], view["hash"]);
    let decided = records(&sluice, "approval_decided").await;
    let counted: Vec<&Value> = decided.iter().filter(|record| record.get("refused").is_none()).collect();
    assert_eq!(decided.len() - counted.len(), 3, "hers, eve's and the late one are on record: {decided:#?}");
    assert_eq!((counted.len(), &counted[0]["justification"]), (1, &json!("CHG-42")));
    assert_eq!(counted[0]["approver"]["user"], "grace@example.org");
    assert_eq!(records(&sluice, "approval_closed").await[0]["state"], "used");
    let request =
        records(&sluice, "request").await.into_iter().find(|record| record["method"] == "tools/call").unwrap();
    assert_eq!((&request["outcome"], &request["approval"]), (&json!("forwarded"), &view["approval"]));
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_denial_is_enough_and_the_session_goes_on() {
    let (upstream, sluice) = scene("count 2 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let (grace, linus) = (sluice.token("grace@x.org", &["dba"]).await, sluice.token("linus@x.org", &["dba"]).await);
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.1["missing"], 1);
    let (status, again) = decide(&sluice, &grace, &view, "approve").await;
    assert_eq!((status, &again["error"]["code"]), (409, &json!("again")));
    assert_eq!(decide(&sluice, &linus, &view, "deny").await.1["state"], "denied");
    let error = events(&call.await.unwrap()).pop().unwrap()["error"].clone();
    assert_eq!((&error["code"], &error["data"]["approval"]), (&json!(-32005), &view["approval"]), "{error}");
    assert!(error["message"].as_str().unwrap().contains("denied"), "{error}");
    let list = json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/list" });
    let answer = send(post_with(&sluice.mcp("db"), Some(&session.token), &list, &session.headers())).await;
    assert!(answer.message()["result"].is_object(), "{}", answer.text());
    assert!(upstream.calls().is_empty());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_decisions_at_once_are_one_each_and_the_command_runs_once() {
    let (upstream, sluice) = scene("count 2 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let (grace, linus) = (sluice.token("grace@x.org", &["dba"]).await, sluice.token("linus@x.org", &["dba"]).await);
    // The same command twice: one request for approval, and whoever comes first has it.
    let calls =
        [begin(&sluice, &session, &drop_table(7, "people")), begin(&sluice, &session, &drop_table(8, "people"))];
    let view = waiting(&sluice, &grace).await;
    let (one, other, third) = tokio::join!(
        decide(&sluice, &grace, &view, "approve"),
        decide(&sluice, &linus, &view, "approve"),
        decide(&sluice, &grace, &view, "approve"),
    );
    let mut statuses = [one.0, other.0, third.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 409], "{one:?} {other:?} {third:?}");
    let [first, second] = calls;
    let ends = [events(&first.await.unwrap()).pop().unwrap(), events(&second.await.unwrap()).pop().unwrap()];
    assert_eq!(ends.iter().filter(|end| end["result"].is_object()).count(), 1, "{ends:?}");
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_can_wait_no_longer_comes_back_and_uses_the_approval_once() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1s").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let undecided = events(&begin(&sluice, &session, &drop_table(7, "people")).await.unwrap()).pop().unwrap();
    let view = waiting(&sluice, &grace).await;
    assert_eq!(undecided["error"]["data"]["approval"], view["approval"]);
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.1["state"], "approved");
    // Another command is another request, however alike.
    let other = events(&begin(&sluice, &session, &drop_table(8, "animals")).await.unwrap()).pop().unwrap();
    assert_eq!(other["error"]["code"], -32005);
    assert!(upstream.calls().is_empty());
    let used = begin(&sluice, &session, &drop_table(9, "people")).await.unwrap();
    assert!(used.message()["result"].is_object(), "{}", used.text());
    let again = events(&begin(&sluice, &session, &drop_table(10, "people")).await.unwrap()).pop().unwrap();
    assert_eq!(again["error"]["code"], -32005, "once: {again}");
    assert_ne!(again["error"]["data"]["approval"], view["approval"]);
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ran_out_of_time_can_be_neither_approved_nor_used() {
    let (upstream, sluice) = scene("count 1 ttl 2s wait 1m").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    let error = events(&call.await.unwrap()).pop().unwrap()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("not approved in time"), "{error}");
    let (status, late) = decide(&sluice, &grace, &view, "approve").await;
    assert_eq!((status, &late["error"]["code"]), (409, &json!("closed")), "{late}");
    assert!(upstream.calls().is_empty());
    assert_eq!(records(&sluice, "approval_closed").await[0]["state"], "expired");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_gateway_died_is_void_and_never_run() {
    let (upstream, mut sluice) = scene("count 1 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    // The client breaks as well: nobody is there to take the answer.
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    call.abort();
    sluice.crash().await;
    sluice.restart().await;
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 404);
    let closed = records(&sluice, "approval_closed").await;
    assert_eq!((closed.len(), &closed[0]["state"]), (1, &json!("void")), "{closed:?}");
    assert!(upstream.calls().is_empty());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_tells_whoever_waits() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    waiting(&sluice, &grace).await;
    sluice.stop().await;
    let told = events(&call.await.unwrap()).pop().unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("stopping"), "{told}");
    assert!(upstream.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_its_call_withdraws_the_request() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    let answer = send(post_with(&sluice.mcp("db"), Some(&session.token), &cancel, &session.headers())).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(!call.await.unwrap().whole, "it breaks off: nobody waits for an answer");
    let (status, late) = decide(&sluice, &grace, &view, "approve").await;
    assert_eq!((status, &late["error"]["code"]), (409, &json!("closed")), "{late}");
    assert!(upstream.calls().is_empty());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_revoked_has_approved_nothing() {
    let upstream = upstream::Upstream::start().await;
    let list = tempfile::NamedTempFile::new().unwrap();
    let tables = format!("\n[revocation]\ndeny_list = {:?}\n", list.path());
    let sluice = setting(&upstream, "count 2 ttl 5m wait 1m").tables(&tables).start().await;
    let session = sluice.open_session("db").await;
    let people = ["grace@x.org", "linus@x.org", "barbara@x.org"];
    let mut tokens = Vec::new();
    for who in people {
        tokens.push(sluice.token(who, &["dba"]).await);
    }
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &tokens[0]).await;
    assert_eq!(decide(&sluice, &tokens[0], &view, "approve").await.0, 200);
    std::fs::write(list.path(), "sub * grace@x.org\n").unwrap();
    for _ in 0..100 {
        if ask(&sluice, &tokens[0], "/api/v1/approvals", None).await.0 == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(decide(&sluice, &tokens[0], &view, "deny").await.0, 401);
    assert_eq!(decide(&sluice, &tokens[1], &view, "approve").await.0, 200);
    // Two have said so, and one of them counts no longer.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished() && upstream.calls().is_empty());
    assert_eq!(decide(&sluice, &tokens[2], &view, "approve").await.0, 200);
    assert!(events(&call.await.unwrap()).pop().unwrap()["result"].is_object());
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asked_for_who_is_revoked_is_void() {
    let upstream = upstream::Upstream::start().await;
    let list = tempfile::NamedTempFile::new().unwrap();
    let tables = format!("\n[revocation]\ndeny_list = {:?}\n", list.path());
    let sluice = setting(&upstream, "count 1 ttl 5m wait 1m").tables(&tables).start().await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    // Whoever left the group decides no longer.
    let left = sluice.token("linus@x.org", &["sales"]).await;
    assert_eq!(decide(&sluice, &left, &view, "approve").await.0, 404);
    std::fs::write(list.path(), "sub * ada@example.org\n").unwrap();
    assert!(!call.await.unwrap().text().contains("\"result\""));
    let path = format!("/api/v1/approvals/{}", view["approval"].as_str().unwrap());
    let mut state = Value::Null;
    for _ in 0..100 {
        state = ask(&sluice, &grace, &path, None).await.1["state"].clone();
        if state != "pending" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(state, "void");
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 409);
    assert!(upstream.calls().is_empty());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_about_what_an_agent_does_for_them_and_no_agent_decides() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 20s").await;
    let acting = json!({ "act": { "sub": "robot" } });
    let token = sluice.issuer().token("ada@example.org", &["engineering"], 3600, &acting);
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } });
    let opened = send(post_with(&sluice.mcp("db"), Some(&token), &hello, &[])).await;
    let headers = [("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", opened.header("mcp-session-id"))];
    let call = tokio::spawn(send(post_with(&sluice.mcp("db"), Some(&token), &drop_table(7, "people"), &headers)));
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let view = waiting(&sluice, &grace).await;
    assert_eq!(view["actors"][0]["subject"], "robot", "{view}");
    let issuer = sluice.issuer();
    let service = json!({ "email": null, "client_id": "robot2" });
    for (who, claims, code) in [
        ("ada@example.org", Value::Null, "own"),
        ("robot", json!({ "email": null }), "own"),
        ("robot2", service, "in_person"),
        ("linus@x.org", json!({ "act": { "sub": "robot3" } }), "in_person"),
    ] {
        let token = issuer.token(who, &["dba"], 3600, &claims);
        let (status, refused) = decide(&sluice, &token, &view, "approve").await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!(code)), "{who}: {refused}");
    }
    assert!(upstream.calls().is_empty());
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
    assert!(events(&call.await.unwrap()).pop().unwrap()["result"].is_object());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_connection_decides_nothing() {
    let (_upstream, sluice) = scene("count 1 ttl 5m wait 1s").await;
    let narrow = json!({ "aud": sluice.mcp("db") });
    let token = sluice.issuer().token("grace@x.org", &["dba"], 3600, &narrow);
    assert_eq!(ask(&sluice, &token, "/api/v1/approvals", None).await.0, 401);
    let fitting = json!({ "aud": format!("{}/api", sluice.address) });
    let token = sluice.issuer().token("grace@x.org", &["dba"], 3600, &fitting);
    assert_eq!(ask(&sluice, &token, "/api/v1/approvals", None).await.0, 200);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_newest_revision_is_sent_away_and_comes_back() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 20s").await;
    let token = sluice.token("ada@example.org", &["engineering"]).await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "drop")];
    let call = |table: &str, more: Value| {
        let mut params = json!({ "name": "drop", "arguments": { "table": table }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
        } });
        more.as_object().unwrap().iter().for_each(|(name, value)| params[name] = value.clone());
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        post_with(&sluice.mcp("db"), Some(&token), &message, &headers)
    };
    let asked = send(call("people", json!({}))).await.message();
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let view = waiting(&sluice, &grace).await;
    let link = &result["inputRequests"]["approval"]["params"];
    assert_eq!((&link["mode"], &link["elicitationId"]), (&json!("url"), &view["approval"]));
    let page = send(Request::get(link["url"].as_str().unwrap()).body(Full::default()).unwrap()).await;
    assert!(
        page.status == 200 && page.text().contains("pending") && !page.text().contains("people"),
        "{}",
        page.text()
    );
    let state =
        json!({ "requestState": result["requestState"], "inputResponses": { "approval": { "action": "accept" } } });
    // Not with another command, and not with a state of somebody else's making.
    let drifted = send(call("animals", state.clone())).await.message();
    assert_eq!(drifted["error"]["code"], -32005, "{drifted}");
    let forged = json!({ "requestState": "sluice1.ap-000000000000.AAAA" });
    assert_eq!(send(call("people", forged)).await.message()["error"]["code"], -32005);

    let back = tokio::spawn(send(call("people", state.clone())));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!back.is_finished() && upstream.calls().is_empty(), "it waits");
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
    assert!(back.await.unwrap().message()["result"]["content"].is_array());
    let calls = upstream.calls();
    assert_eq!(calls.len(), 1);
    let sent = String::from_utf8_lossy(&calls[0].body).into_owned();
    assert!(
        !sent.contains("requestState") && !sent.contains("inputResponses"),
        "the server doesn't know of it: {sent}"
    );
    let replayed = send(call("people", state)).await.message();
    assert_eq!(replayed["error"]["data"]["state"], "used", "{replayed}");
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_any_shape_arrive_in_the_stream_that_has_begun() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let long = "word bob@example.com ".repeat(20_000);
    let pretty = Bytes::from(serde_json::to_string_pretty(&result(json!(7), &long)).unwrap());
    let half = pretty.len() / 2;
    let whole = format!("event: message\ndata: {}\n\n", result(json!(7), "short"));
    let mut odd = Reply::new("text/html", [Bytes::from_static(b"<p>no")]);
    odd.status = http::StatusCode::BAD_GATEWAY;
    for (id, reply, expected) in [
        (
            7,
            Reply::new("application/json", [pretty.slice(..half), pretty.slice(half..)]),
            Some(long.replace("bob@example.com", "[mail]")),
        ),
        (8, Reply::new("text/event-stream", [Bytes::from(whole)]), Some("short".to_owned())),
        (9, odd, None),
    ] {
        upstream.reply(reply);
        let call = begin(&sluice, &session, &drop_table(id, &format!("t{id}")));
        let view = waiting(&sluice, &grace).await;
        assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
        let answer = call.await.unwrap();
        assert!(answer.whole, "{id}");
        // Data of several lines is one text.
        let text = answer.text();
        let data = text.split("\n\n").filter(|event| event.contains("data:")).last().unwrap();
        let data: Vec<&str> = data.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let message: Value = serde_json::from_str(&data.join("\n")).unwrap();
        match expected {
            Some(expected) => assert_eq!(message["result"]["content"][0]["text"].as_str().unwrap(), expected, "{id}"),
            None => assert_eq!(message["error"]["code"], -32002, "{message}"),
        }
    }
    sluice.stop().await;
}

/// What an official client is shown and gets, whose user sees links.
async fn official(sdk: u8, url: &str, token: &str, tool: &str, answer: &str) -> Vec<Value> {
    let target = json!({ "sdk": sdk, "url": url, "token": token, "tool": tool, "arguments": {}, "answer": answer });
    let args = [place::clients("client-approval.mjs").into_os_string(), target.to_string().into()];
    let done = run(command(place::node(), args), "", Duration::from_secs(60)).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_official_client_hears_of_its_progress_for_longer_than_it_would_wait_in_silence() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    let (ada, grace) = (sluice.token("ada@example.org", &[]).await, sluice.token("grace@x.org", &["dba"]).await);
    let url = sluice.mcp("db");
    // The scripted server answers to the id that the official client gives its second request.
    upstream.reply(Reply::json(&result(json!(1), "done")));
    let approval = async {
        let view = waiting(&sluice, &grace).await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
        view
    };
    let (said, view) = tokio::join!(official(1, &url, &ada, "drop", "accept"), approval);
    let of = |name: &str| said.iter().filter(|line| line.get(name).is_some()).collect::<Vec<_>>();
    assert_eq!(of("result").len(), 1, "{said:?}");
    assert!(of("progress").len() >= 2, "{said:?}");
    let link = of("link")[0];
    assert_eq!((&link["id"], &link["mode"]), (&view["approval"], &json!("url")), "{said:?}");
    assert_eq!(of("complete")[0]["complete"], view["approval"], "{said:?}");
    // The client's answer to our question was ours: the server heard of neither.
    let bodies: Vec<String> =
        upstream.received().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert!(bodies.iter().all(|body| !body.contains("sluice-approval") && !body.contains("accept")), "{bodies:?}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_declines_the_link_withdraws_the_call() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m").await;
    let ada = sluice.token("ada@example.org", &[]).await;
    let said = official(1, &sluice.mcp("db"), &ada, "drop", "decline").await;
    let error = &said.last().unwrap()["error"];
    assert_eq!((&error["code"], &error["data"]["state"]), (&json!(-32005), &json!("withdrawn")), "{said:?}");
    assert!(upstream.calls().is_empty());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_official_client_of_the_newest_revision_comes_back_by_itself() {
    let server = place::clients("conformance-server-2026.mjs").to_string_lossy().into_owned();
    let upstream = Upstream::Stdio(vec![place::node().to_string_lossy().into_owned(), server, "stdio".to_owned()]);
    let Rules::Text(text) = rules("count 1 ttl 5m wait 30s") else { unreachable!("it is a text") };
    let text = text.replace("\"drop\"", "\"test_simple_text\"");
    let sluice = Sluice::new().rules(Rules::Text(text)).connection("db", upstream).start().await;
    let (ada, grace) = (sluice.token("ada@example.org", &[]).await, sluice.token("grace@x.org", &["dba"]).await);
    let url = sluice.mcp("db");
    let approval = async {
        let view = waiting(&sluice, &grace).await;
        assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
        view
    };
    let (said, view) = tokio::join!(official(2, &url, &ada, "test_simple_text", "accept"), approval);
    let link = said.iter().find_map(|line| line["link"].as_str()).unwrap();
    assert!(link.ends_with(view["approval"].as_str().unwrap()), "{said:?}");
    assert!(said.last().unwrap()["result"]["content"][0]["text"].is_string(), "{said:?}");
    let closed = records(&sluice, "approval_closed").await;
    assert_eq!((closed.len(), &closed[0]["state"]), (1, &json!("used")), "{closed:?}");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_break_the_glass_goes_on_loudly_and_somebody_else_reviews_it() {
    let upstream = upstream::Upstream::start().await;
    let tables = "\n[approvals]\nbreak_glass = [\"oncall\"]\n";
    let mut sluice = setting(&upstream, "count 2 ttl 5m wait 1m").tables(tables).start().await;
    let session = sluice.open_session("db").await;
    let (grace, ada) =
        (sluice.token("grace@x.org", &["dba"]).await, sluice.token("ada@example.org", &["oncall"]).await);
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    let plain = sluice.token("ada@example.org", &["engineering"]).await;
    let other = sluice.token("linus@x.org", &["oncall", "dba"]).await;
    for (who, token) in [("not on call", &plain), ("not the requester", &other)] {
        let (status, refused) = decide(&sluice, token, &view, "break_glass").await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("glass")), "{who}: {refused}");
    }
    let agent = sluice.issuer().token("ada@example.org", &["oncall"], 3600, &json!({ "act": { "sub": "robot" } }));
    assert_eq!(decide(&sluice, &agent, &view, "break_glass").await.0, 403, "not by an agent");
    assert!(upstream.calls().is_empty());

    let run_as = |token: &str, args: &[&str]| {
        let mut command = sluice.command(&["approvals"]);
        command.args(args).args(["--url", &sluice.address]).env("SLUICE_TOKEN", token);
        run(command, "", Duration::from_secs(30))
    };
    let id = view["approval"].as_str().unwrap().to_owned();
    let broke = run_as(&ada, &["break-glass", &id, "--reason", "the shop is down"]).await;
    assert_eq!(broke.code, Some(0), "{}", broke.stderr);
    assert!(events(&call.await.unwrap()).pop().unwrap()["result"].is_object());
    assert!(sluice.log().contains("THE GLASS WAS BROKEN"), "{}", sluice.log());

    // It waits for its review also where the gateway starts anew, and nobody reviews their own.
    sluice.signal("INT").await;
    sluice.ended().await;
    sluice.restart().await;
    let run_as = |token: &str, args: &[&str]| {
        let mut command = sluice.command(&["approvals"]);
        command.args(args).args(["--url", &sluice.address]).env("SLUICE_TOKEN", token);
        run(command, "", Duration::from_secs(30))
    };
    let broken = run_as(&grace, &["broken"]).await;
    assert!(
        broken.text().contains("the shop is down") && broken.text().contains("people"),
        "{} {}",
        broken.text(),
        broken.stderr
    );
    let own = sluice.token("ada@example.org", &["dba"]).await;
    assert_eq!(run_as(&own, &["review", &id, "--reason", "fine"]).await.code, Some(2));
    assert_eq!(run_as(&grace, &["review", &id, "--reason", "it was down: INC-7"]).await.code, Some(0));
    assert_eq!(run_as(&grace, &["review", &id, "--reason", "again"]).await.code, Some(2));
    assert_eq!(run_as(&grace, &["broken"]).await.text(), "");
    let records = sluice.session_records("ada@example.org").await;
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
    let counted = of("approval_decided").into_iter().filter(|record| record.get("refused").is_none()).count();
    assert_eq!(
        (counted, of("approval_reviewed").len(), of("approval_closed")[0]["state"].as_str()),
        (1, 1, Some("used"))
    );
    assert_eq!(upstream.calls().len(), 1);
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_for_a_time_goes_on_for_that_time_and_no_longer() {
    let (upstream, sluice) = scene("count 1 ttl 5m wait 1m grant 4s").await;
    let session = sluice.open_session("db").await;
    let grace = sluice.token("grace@x.org", &["dba"]).await;
    let call = begin(&sluice, &session, &drop_table(7, "people"));
    let view = waiting(&sluice, &grace).await;
    assert_eq!(view["grant"], 4);
    assert_eq!(decide(&sluice, &grace, &view, "approve").await.0, 200);
    assert!(events(&call.await.unwrap()).pop().unwrap()["result"].is_object());
    // The same again, and another one not.
    for id in [8, 9] {
        let again = begin(&sluice, &session, &drop_table(id, "people")).await.unwrap();
        assert!(again.message()["result"].is_object(), "{}", again.text());
    }
    let other = begin(&sluice, &session, &drop_table(10, "animals"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!other.is_finished());
    other.abort();
    // Its time over, the same waits again; the record names the approval of each that went on.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let late = begin(&sluice, &session, &drop_table(11, "people"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!late.is_finished() && upstream.calls().len() == 3);
    late.abort();
    let requests = records(&sluice, "request").await;
    let by =
        requests.iter().filter(|request| request["approval"] == view["approval"] && request["outcome"] == "forwarded");
    assert_eq!(by.count(), 3);
    let closed = records(&sluice, "approval_closed").await;
    assert_eq!(
        closed.iter().filter(|closed| closed["approval"] == view["approval"] && closed["state"] == "used").count(),
        1
    );
    sluice.stop().await;
}
