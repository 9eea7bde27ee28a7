//! Agents that show a certificate in the place of a token, by QUIC, TLS and HTTP/3, in this process and as programs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluice_client::stream::code_of;
use sluice_client::wire::Code;
use sluice_client::{Channel, Choice, Fixed, OpenError, Settings, Tunnel};
use sluice_tests::authority::Authority;
use sluice_tests::http::{post, send};
use sluice_tests::place;
use sluice_tests::program::{PATIENCE, Server, command, run};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::tunnel::{certified, echoes, name, settings, shown};
use sluice_tests::upstream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const NIGHTLY: &str = "nightly.batch.internal";
const ISSUER: &str = "urn:sluice:client-certificates";

fn write(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// A gateway to whose agents an authority gives certificates.
struct Place {
    authority: Authority,
    folder: TempDir,
    sluice: Sluice,
    _target: Target,
    _upstream: upstream::Upstream,
}

impl Place {
    /// With this list of revoked certificates, if there is one.
    async fn start(list: Option<&dyn Fn(&Authority) -> String>) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (target, upstream) = (Target::echo().await, upstream::Upstream::start().await);
        write(folder.path(), "clients.pem", &authority.pem());
        let mut lines = format!("http3 = true\nclient_ca_file = {:?}", folder.path().join("clients.pem"));
        if let Some(list) = list {
            write(folder.path(), "revoked.crl", &list(&authority));
            lines += &format!("\nclient_crl_file = {:?}", folder.path().join("revoked.crl"));
        }
        let client = "[[tunnel.client]]\nname = \"nightly.batch.*\"\ngroups = [\"batch\"]";
        let sluice = Sluice::new()
            .connection("bytes", Upstream::Tcp(target.address))
            .connection("inside", Upstream::Lines("agents = [\"batch\"]".to_owned()))
            .connection("x", Upstream::Http(upstream.url.clone()))
            .further("bytes", "groups = [\"batch\"]")
            .further("x", "groups = [\"batch\"]")
            .tunnel(&format!("{lines}\n\n{client}"))
            .start()
            .await;
        Self { authority, folder, sluice, _target: target, _upstream: upstream }
    }

    fn client(&self, choice: Choice, certificate: &(String, String)) -> Tunnel {
        Tunnel::new(Settings { choice, ..certified(&self.sluice, certificate) }).unwrap()
    }

    /// A program with a certificate of this name; a token in its environment is none that it was told to bring.
    async fn program(&self, arguments: &[&str], name: &str) -> Command {
        let (certificate, key) = self.authority.issue_for(name);
        write(self.folder.path(), "client.pem", &certificate);
        write(self.folder.path(), "client.key", &key);
        let mut program = self.sluice.command(arguments);
        program.args(["--ca", "ca.pem", "--gateway", &self.sluice.tunnel]);
        program.arg("--client-certificate").arg(self.folder.path().join("client.pem"));
        program.arg("--client-key").arg(self.folder.path().join("client.key"));
        program.env("SLUICE_TOKEN", self.sluice.token("ada@example.org", &["batch"]).await);
        program
    }
}

/// A session on `bytes` that works; else why it doesn't.
async fn open(tunnel: &Tunnel) -> Result<Channel, OpenError> {
    let mut channel = tunnel.open(&name("bytes"), None).await?;
    echoes(&mut channel).await.unwrap();
    Ok(channel)
}

/// Refused at once, as nobody; what is said to people.
async fn refused(tunnel: &Tunnel) -> String {
    let started = Instant::now();
    match open(tunnel).await {
        Err(OpenError::Refused { code: Code::Unauthenticated, message }) => {
            assert!(started.elapsed() < Duration::from_secs(10), "it was tried again and again");
            message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_named_client_opens_sessions_either_way_and_no_other_does() {
    let place = Place::start(None).await;
    let known = place.authority.issue_for(NIGHTLY);
    for choice in [Choice::Quic, Choice::Tls] {
        drop(open(&place.client(choice, &known)).await.unwrap());
        // A token that is brought is what counts, whatever the connection shows.
        let token = place.sluice.token("ada@example.org", &["batch"]).await;
        for (token, counts) in [(token.as_str(), true), ("nonsense", false)] {
            let with = settings(&place.sluice, &place.sluice.tunnel, Fixed::new(token));
            let both = Tunnel::new(Settings { choice, certificate: Some(shown(&known)), ..with }).unwrap();
            match counts {
                true => drop(open(&both).await.unwrap()),
                false => assert_eq!(refused(&both).await, "not authenticated"),
            }
        }
        let other = place.client(choice, &place.authority.issue_for("weekly.report.internal"));
        assert!(refused(&other).await.contains("no certificate that stands for somebody"));
        // Strangers who write the right name get nowhere, nor does one whose time is over.
        let over = SystemTime::now() - Duration::from_secs(60);
        for (certificate, why) in [
            (Authority::new().issue_for(NIGHTLY), ""),
            (place.authority.issue_until(NIGHTLY, over), "CertificateExpired"),
        ] {
            let told = refused(&place.client(choice, &certificate)).await;
            assert!(told.contains("doesn't take the certificate") && told.contains(why), "{choice:?}: {told}");
        }
    }
    let records = place.sluice.session_records(NIGHTLY).await;
    let opened: Vec<&Value> = records.iter().filter(|record| record["event"] == "session_opened").collect();
    assert_eq!((opened.len(), &opened[0]["issuer"], &opened[0]["kind"]), (2, &ISSUER.into(), &"service".into()));
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_connect_and_serve_with_a_certificate() {
    let place = Place::start(None).await;
    let connected = Server::start(place.program(&["connect", "bytes"], NIGHTLY).await).await;
    let mut socket = TcpStream::connect(&connected.address).await.unwrap();
    socket.write_all(b"ping\n").await.unwrap();
    let mut heard = [0; 5];
    timeout(PATIENCE, socket.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"ping\n");

    // MCP, where each request is the stream's.
    let connected = Server::start(place.program(&["connect", "x"], NIGHTLY).await).await;
    let url = format!("http://{}/mcp/x", connected.address);
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" });
    let answer = send(post(&url, None, &ping)).await;
    assert!(answer.status == 200 && answer.text().contains("all is well"), "{answer:?} {}", place.sluice.log());
    let answer = send(post(&url, Some("nonsense"), &ping)).await;
    assert_eq!(answer.status, 200, "what a request says of itself is no matter");

    // What is served from inside another network.
    let target = Target::echo().await;
    let mut agent =
        place.program(&["agent", "--serve", &format!("inside={}", target.address)], "nightly.batch.site").await;
    let _agent = agent.kill_on_drop(true).spawn().unwrap();
    let client = place.client(Choice::Quic, &place.authority.issue_for(NIGHTLY));
    let started = Instant::now();
    let mut inside = loop {
        match client.open(&name("inside"), None).await {
            Ok(channel) => break channel,
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}: {}", place.sluice.log()),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    echoes(&mut inside).await.unwrap();

    for user in [NIGHTLY, "ada@example.org"] {
        let records = place.sluice.session_records(user).await;
        assert_eq!(records.is_empty(), user != NIGHTLY, "{user}: {records:?}");
    }
    // A certificate without its key, and a key that others can read.
    let mut half = place.sluice.command(&["connect", "bytes", "--client-certificate", "a.pem"]);
    half.args(["--gateway", &place.sluice.tunnel]);
    let done = run(half, "", PATIENCE).await;
    assert!(done.code != Some(0) && done.stderr.contains("--client-key"), "{}", done.stderr);
    let exposed = place.program(&["connect", "bytes"], NIGHTLY).await;
    std::fs::set_permissions(place.folder.path().join("client.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let done = run(exposed, "", PATIENCE).await;
    assert!(done.code != Some(0) && done.stderr.contains("others can read it"), "{}", done.stderr);
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_its_authority_has_taken_back_opens_nothing_more() {
    let place = Place::start(Some(&|authority| authority.revoke(&["nightly.batch.old"], 2999))).await;
    let list = |names: &[&str]| write(place.folder.path(), "revoked.crl", &place.authority.revoke(names, 2999));
    let [old, new] = ["old", "new"].map(|name| place.authority.issue_for(&format!("nightly.batch.{name}")));
    for choice in [Choice::Quic, Choice::Tls] {
        list(&["nightly.batch.old"]);
        let there = place.client(choice, &new);
        let started = Instant::now();
        let mut kept = loop {
            match open(&there).await {
                Ok(channel) => break channel,
                Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        };
        assert!(refused(&place.client(choice, &old)).await.contains("CertificateRevoked"));
        list(&["nightly.batch.new"]);
        let started = Instant::now();
        while open(&there).await.is_ok() {
            assert!(started.elapsed() < PATIENCE, "{choice:?}: it counts on");
            sleep(Duration::from_millis(100)).await;
        }
        assert!(refused(&place.client(choice, &new)).await.contains("CertificateRevoked"));
        echoes(&mut kept).await.expect("what is under way goes on");
        drop(open(&place.client(choice, &old)).await.unwrap());
    }
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_certificate() {
    let place = Place::start(None).await;
    for choice in [Choice::Quic, Choice::Tls] {
        let end = SystemTime::now() + Duration::from_secs(4);
        let client = place.client(choice, &place.authority.issue_until(NIGHTLY, end));
        let mut channel = open(&client).await.unwrap();
        let mut rest = Vec::new();
        let error =
            timeout(Duration::from_secs(8), channel.read_to_end(&mut rest)).await.expect("it goes on").unwrap_err();
        if choice == Choice::Quic {
            assert_eq!(code_of(&error), Some(Code::Expired), "{error}");
        }
        // The connection, too, so that the next handshake can show a newer one.
        sleep(Duration::from_secs(2)).await;
        assert!(refused(&client).await.contains("CertificateExpired"));
    }
    let records = place.sluice.session_records(NIGHTLY).await;
    assert!(Value::from(records).to_string().contains("the token or the certificate counts no longer"));
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http3_are_those_of_the_certificate() {
    let place = Place::start(None).await;
    let (certificate, key) = place.authority.issue_for(NIGHTLY);
    write(place.folder.path(), "client.pem", &certificate);
    write(place.folder.path(), "client.key", &key);
    let mut client = command(place::python("quic", "python"), [place::clients("h3_client.py")]);
    client.arg(&place.sluice.tunnel).arg(place.sluice.folder().join("ca.pem"));
    client.args(["client.pem", "client.key"]).current_dir(place.folder.path());
    let headers = json!({ "content-type": "application/json", "accept": "application/json, text/event-stream" });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }).to_string();
    let mut request = json!({ "method": "POST", "path": "/mcp/x", "headers": headers, "body": body });
    let mut lines = format!("{request}\n");
    request["headers"]["authorization"] = "Bearer nonsense".into();
    lines += &format!("{request}\n");
    let done = run(client, lines, PATIENCE).await;
    let answers: Vec<Value> = done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2, "{}", done.stderr);
    assert!(answers[0]["status"] == 200 && answers[0]["body"].to_string().contains("all is well"), "{}", answers[0]);
    assert_eq!(answers[1]["status"], 401);
    assert_eq!(place.sluice.session_records(NIGHTLY).await[0]["issuer"], ISSUER);
    place.sluice.stop().await;
}
