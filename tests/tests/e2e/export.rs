//! Records that go on to others: in order, at least once, whatever the collector does, and without what was asked or seen.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::authority::Authority;
use sluice_tests::http::{post_with, send};
use sluice_tests::ocsf::assert_valid;
use sluice_tests::place;
use sluice_tests::postgres::free_port;
use sluice_tests::program::{command, run};
use sluice_tests::sluice::{Rules, Session, Sluice, Upstream};
use sluice_tests::upstream;
use sluice_tests::webhook::{Told, Webhook};
use tokio::process::Child;

const RULES: &str = r#"language 1
pack tests.export "1.0.0" { owner "tests" reviewed 2026-08-01 }
rule nothing_is_dropped { meta { severity high } on request when tool.name == "drop" then block "Nothing is dropped." }
"#;
const SECRET: &str = "a secret of this test, long enough";

/// A gateway with these exports.
async fn scene(exports: &str) -> (upstream::Upstream, Sluice) {
    let upstream = upstream::Upstream::start().await;
    let setting = Sluice::new().rules(Rules::Text(RULES.to_owned())).tables(exports);
    let sluice = setting.connection("say", Upstream::Http(upstream.url.clone())).start().await;
    (upstream, sluice)
}

async fn call(sluice: &Sluice, session: &Session, tool: &str, text: &str) {
    let params = json!({ "name": tool, "arguments": { "text": text } });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    send(post_with(&sluice.mcp("say"), Some(&session.token), &message, &session.headers())).await;
}

/// The numbers of all records of the store.
async fn on_record(sluice: &Sluice) -> Vec<u64> {
    let mut numbers: Vec<u64> = sluice.records().await.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn number(event: &Value) -> u64 {
    event["metadata"]["sequence"].as_u64().unwrap()
}

/// The records of a message to a webhook.
fn records(told: &Told) -> Vec<Value> {
    told.json()["data"]["records"].as_array().unwrap().clone()
}

/// Waits until a predicate of what was told holds.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within 30 s");
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_every_record_once_across_restarts_and_none_of_what_was_asked_or_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (file, told) = (folder.path().join("events.jsonl"), folder.path().join("commands.jsonl"));
    let exports = format!(
        "\n[[export]]\nname = \"events\"\nto = \"file\"\npath = {file:?}\n\
         \n[[export]]\nname = \"commands\"\nto = \"file\"\npath = {told:?}\ncommands = true\n"
    );
    let (_upstream, mut sluice) = scene(&exports).await;
    let session = sluice.open_session("say").await;
    call(&sluice, &session, "say", "what was asked").await;
    call(&sluice, &session, "drop", "everything").await;
    let first = on_record(&sluice).await;
    until("the first records", async || (lines(&file).len() >= first.len()).then_some(())).await;
    sluice.crash().await;
    // One that was further than the log is was at another log.
    std::fs::write(sluice.folder().join("store/evidence.exports/commands"), "4711\n").unwrap();
    sluice.restart().await;
    let session = sluice.open_session("say").await;
    call(&sluice, &session, "say", "again").await;
    let all = on_record(&sluice).await;
    assert!(all.len() > first.len());
    let events = until("all records", async || Some(lines(&file)).filter(|events| events.len() >= all.len())).await;
    events.iter().for_each(assert_valid);
    assert_eq!(events.iter().map(number).collect::<Vec<_>>(), all, "each once, in order");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("what was asked") && !text.contains("all is well"), "{text}");
    let kinds: Vec<&str> = events.iter().map(|event| event["metadata"]["event_code"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "session_opened").count(), 2, "{kinds:?}");
    let refused = events.iter().find(|event| event["unmapped"]["outcome"] == "refused").unwrap();
    assert_eq!((&refused["action"], &refused["severity"]), (&json!("Denied"), &json!("Medium")));
    assert_eq!(refused["unmapped"]["rules"][0]["rule"], "nothing_is_dropped");
    assert_eq!(
        (&refused["api"]["operation"], &refused["dst_endpoint"]["svc_name"]),
        (&json!("tools/call drop"), &json!("say"))
    );
    assert!(refused["actor"]["user"]["name"].is_string() && refused["src_endpoint"]["ip"].is_string(), "{refused}");
    until("the commands", async || (lines(&told).len() >= all.len()).then_some(())).await;
    assert!(std::fs::read_to_string(&told).unwrap().contains("what was asked"), "where the export says so");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_was_down_gets_everything_in_order_signed_and_under_the_same_name_each_time() {
    let webhook = Webhook::start(2).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let exports = format!(
        "\n[[export]]\nname = \"hook\"\nto = \"webhook\"\nurl = {:?}\nsecret = \"file:{}\"\n",
        webhook.url,
        secret.path().display()
    );
    let (_upstream, sluice) = scene(&exports).await;
    let session = sluice.open_session("say").await;
    for _ in 0..5 {
        call(&sluice, &session, "say", "hello").await;
    }
    let all = on_record(&sluice).await;
    let told = until("all records", async || {
        let told = webhook.told(1).await;
        let numbers: Vec<u64> = told.iter().flat_map(records).map(|event| number(&event)).collect();
        (numbers.len() >= all.len()).then_some((numbers, told))
    });
    let (numbers, told) = told.await;
    assert_eq!(numbers, all);
    let refused = webhook.refused();
    assert_eq!(refused.len(), 2);
    for message in refused.iter().chain(&told) {
        records(message).iter().for_each(assert_valid);
        let text = format!(
            "{}.{}.{}",
            message.header("webhook-id"),
            message.header("webhook-timestamp"),
            String::from_utf8_lossy(&message.body)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = data_encoding::BASE64.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref());
        assert_eq!(message.header("webhook-signature"), format!("v1,{tag}"));
    }
    assert_eq!(refused[0].header("webhook-id"), told[0].header("webhook-id"), "so that it can be told");
    assert!(
        sluice.log().contains("an export is held up") && sluice.log().contains("an export goes on"),
        "{}",
        sluice.log()
    );
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetry_splunk_and_elasticsearch_get_what_they_read() {
    let otlp = Webhook::saying(0, "{}").await;
    let splunk = Webhook::saying(0, r#"{"text":"Success","code":0}"#).await;
    let elastic =
        Webhook::saying(0, r#"{"took":1,"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409}}]}"#)
            .await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "token-of-the-test").unwrap();
    let token = format!("token = \"file:{}\"", token.path().display());
    let exports = format!(
        "\n[[export]]\nname = \"otlp\"\nto = \"otlp\"\nurl = {:?}\n\
         \n[[export]]\nname = \"splunk\"\nto = \"splunk\"\nurl = {:?}\n{token}\n\
         \n[[export]]\nname = \"elastic\"\nto = \"elastic\"\nurl = {:?}\nindex = \"audit\"\n{token}\n",
        otlp.url, splunk.url, elastic.url
    );
    let (_upstream, sluice) = scene(&exports).await;
    let session = sluice.open_session("say").await;
    call(&sluice, &session, "drop", "everything").await;
    let all = on_record(&sluice).await;
    let body = |told: &Told| String::from_utf8(told.body.to_vec()).unwrap();

    // By the messages that OpenTelemetry publishes.
    let read = until("logs of OpenTelemetry", async || {
        let bodies: String = otlp.told(1).await.iter().map(|told| body(told) + "\n").collect();
        let reader = command(place::python("otlp", "python"), [place::clients("read_otlp.py")]);
        let done = run(reader, bodies, Duration::from_secs(60)).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        (done.text().lines().count() >= all.len()).then(|| done.text().to_owned())
    });
    let read = read.await;
    let numbers: Vec<u64> = read.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, all, "{read}");
    assert!(
        read.contains("sluice.session_opened Informational 3002") && read.contains("sluice.request Medium 6003"),
        "{read}"
    );

    let events = until("events of Splunk", async || {
        let told = splunk.told(1).await;
        assert_eq!(told[0].header("authorization"), "Splunk token-of-the-test");
        let text: String = told.iter().map(body).collect();
        let events: Vec<Value> = serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect();
        (events.len() >= all.len()).then_some(events)
    });
    for event in events.await {
        assert_valid(&event["event"]);
        let time = event["event"]["time"].as_u64().unwrap() as f64 / 1000.0;
        assert!(
            (event["time"].as_f64().unwrap() - time).abs() < 0.01 && event["sourcetype"] == "sluice:ocsf",
            "{event}"
        );
    }

    let documents = until("documents of Elasticsearch", async || {
        let told = elastic.told(1).await;
        assert_eq!(told[0].header("authorization"), "ApiKey token-of-the-test");
        assert_eq!(told[0].header("content-type"), "application/x-ndjson");
        let lines: Vec<Value> = told
            .iter()
            .flat_map(|told| body(told).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
            .collect();
        (lines.len() >= 2 * all.len()).then_some(lines)
    });
    for pair in documents.await.chunks(2) {
        assert_eq!(pair[0], json!({ "create": { "_index": "audit", "_id": number(&pair[1]).to_string() } }));
        assert_eq!(pair[1]["@timestamp"], pair[1]["time"]);
    }
    assert!(!sluice.log().contains("token-of-the-test"));
    sluice.stop().await;
}

/// rsyslog, which takes syslog over TLS and writes a line for each message.
async fn rsyslog(folder: &Path, port: u16) -> Child {
    let config = folder.join("rsyslog.conf");
    let text = format!(
        "global(workDirectory=\"{0}\" defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{0}/ca.pem\"\n\
         defaultNetstreamDriverCertFile=\"{0}/cert.pem\" defaultNetstreamDriverKeyFile=\"{0}/key.pem\" maxMessageSize=\"256k\")\n\
         module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
         input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
         template(name=\"all\" type=\"string\" string=\"%pri% %hostname% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
         action(type=\"omfile\" file=\"{0}/out.log\" template=\"all\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n",
        folder.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut daemon = command("/usr/sbin/rsyslogd", ["-n", "-f"]);
    daemon.arg(&config).arg("-i").arg(folder.join("rsyslog.pid"));
    let server = daemon.kill_on_drop(true).spawn().unwrap();
    until("rsyslog listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_over_tls_arrives_at_rsyslog_which_may_go_away_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue();
    for (name, text) in [("ca.pem", authority.pem()), ("cert.pem", certificate), ("key.pem", key)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let port = free_port();
    let mut collector = rsyslog(folder.path(), port).await;
    let exports = format!(
        "\n[[export]]\nname = \"syslog\"\nto = \"syslog\"\nurl = \"tls://127.0.0.1:{port}\"\nca_file = {:?}\nhostname = \"gw1\"\n",
        folder.path().join("ca.pem")
    );
    let (_upstream, sluice) = scene(&exports).await;
    let session = sluice.open_session("say").await;
    call(&sluice, &session, "drop", "everything").await;
    let arrived = || {
        let text = std::fs::read_to_string(folder.path().join("out.log")).unwrap_or_default();
        let number = |line: &str| line.split("record=\"").nth(1)?.split('"').next()?.parse::<u64>().ok();
        let mut numbers: Vec<u64> = text.lines().filter_map(number).collect();
        numbers.dedup();
        (numbers, text)
    };
    let first = on_record(&sluice).await;
    until("the first records", async || (arrived().0.len() >= first.len()).then_some(())).await;
    collector.kill().await.unwrap();
    call(&sluice, &session, "say", "while nobody listens").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut collector = rsyslog(folder.path(), port).await;
    call(&sluice, &session, "say", "afterwards").await;
    let all = on_record(&sluice).await;
    let text = until("all records", async || {
        let (mut numbers, text) = arrived();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers == all).then_some(text)
    });
    let text = text.await;
    let refused = text.lines().find(|line| line.contains("\"refused\"")).unwrap();
    // log audit, warning.
    assert!(refused.starts_with("108 gw1 sluice request [sluice@32473 record="), "{refused}");
    let event: Value = serde_json::from_str(&refused[refused.find('{').unwrap()..]).unwrap();
    assert_valid(&event);
    assert!(!text.contains("while nobody listens"), "what was asked stays here");
    sluice.stop().await;
    collector.kill().await.unwrap();
}
