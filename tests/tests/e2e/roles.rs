//! Roles of the gateway: what auditors and administrators may do over its HTTP API, and that nobody else may.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sluice_tests::http::{Answer, send};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::access::SOON;

async fn api(sluice: &Sluice, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("{}/api/v1/{path}", sluice.address));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(request.body(Full::<Bytes>::default()).unwrap()).await
}

fn error_code(answer: &Answer) -> String {
    let error = &answer.message()["error"];
    assert!(error["message"].is_string(), "{}", answer.text());
    error["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_see_live_sessions_and_administrators_end_them_on_record() {
    let target = Target::echo().await;
    let tables = "\n[roles]\nadmin = [\"platform\"]\napprover = [\"leads\"]\nauditor = [\"role:audit\"]\n\
                  \n[[listener]]\nlisten = \"127.0.0.1:0\"\nconnection = \"bytes\"\nuser = \"batch\"\npurpose = \"month end\"\n";
    let sluice = Sluice::new()
        .connection("bytes", Upstream::Tcp(target.address))
        .issuer(None, "roles_claim = \"roles\"")
        .tables(tables)
        .start()
        .await;
    let at: SocketAddr = sluice.listener("bytes");
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'x');
    let audience = format!("{}/api", sluice.address);
    let token = |user: &str, groups: &[&str], more: Value| {
        let mut claims = json!({ "aud": audience });
        more.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        sluice.issuer().token(user, groups, 3600, &claims)
    };
    let admin = token("root@example.org", &["platform"], json!({}));
    let auditor = token("dpo@example.org", &[], json!({ "roles": ["audit"] }));

    let listed = api(&sluice, "GET", "sessions", Some(&auditor)).await;
    assert_eq!((listed.status.as_u16(), listed.header("cache-control")), (200, "no-store"), "{}", listed.text());
    let session = listed.message()["sessions"][0].clone();
    assert_eq!((&session["user"], &session["connection"]), (&"batch".into(), &"bytes".into()));
    assert_eq!((&session["purpose"], &session["protocol"]), (&"month end".into(), &"tcp".into()));
    let path = format!("sessions/{}", session["id"].as_str().unwrap());

    let others = [
        (None, 401, "unauthenticated"),
        (Some(token("eve@example.org", &[], json!({}))), 403, "forbidden"),
        (Some(token("lea@example.org", &["leads"], json!({}))), 403, "forbidden"),
        (Some(token("bot", &["platform"], json!({ "act": { "sub": "agent" } }))), 403, "forbidden"),
        (Some(token("root@example.org", &["platform"], json!({ "aud": "elsewhere" }))), 401, "unauthenticated"),
    ];
    for (token, status, code) in &others {
        for (method, path) in [("GET", "sessions"), ("DELETE", path.as_str())] {
            let answer = api(&sluice, method, path, token.as_deref()).await;
            assert_eq!((answer.status.as_u16(), error_code(&answer).as_str()), (*status, *code), "{method}");
        }
    }
    let answer = api(&sluice, "DELETE", &path, Some(&auditor)).await;
    assert_eq!((answer.status.as_u16(), error_code(&answer).as_str()), (403, "forbidden"), "auditors change nothing");
    for unknown in ["sessions/nonsense", "sessions/01934f2e-0000-7000-8000-000000000000", "nothing"] {
        let answer = api(&sluice, "DELETE", unknown, Some(&admin)).await;
        assert_eq!((answer.status.as_u16(), error_code(&answer).as_str()), (404, "not_found"), "{unknown}");
    }
    let answer = api(&sluice, "POST", "sessions", Some(&admin)).await;
    assert_eq!((answer.status.as_u16(), error_code(&answer).as_str()), (405, "method_not_allowed"));
    socket.write_all(b"y").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'y', "nobody has ended it yet");

    let answer = api(&sluice, "DELETE", &path, Some(&admin)).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let end = timeout(SOON, socket.read_to_end(&mut Vec::new())).await.expect("it goes on");
    assert!(end.is_err(), "what is ended is reset");
    assert_eq!(api(&sluice, "DELETE", &path, Some(&admin)).await.status, 404, "it is over");
    sleep(Duration::from_millis(300)).await;
    let record = sluice.session_record("batch").await;
    let acts: Vec<&Value> =
        record.as_array().unwrap().iter().filter(|event| event["event"] == "administered").collect();
    let [act] = acts[..] else { panic!("one act: {record:#}") };
    assert_eq!((&act["user"], &act["action"]), (&"root@example.org".into(), &"end_session".into()));
    assert_eq!((&act["roles"], &act["ip"]), (&json!(["admin"]), &"127.0.0.1".into()));
    assert!(record.to_string().contains("ended by an administrator"), "{record:#}");
    sluice.stop().await;
}
