//! Clients of HTTP that show a certificate in the place of a token.

use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sluice_tests::authority::Authority;
use sluice_tests::http::{Answer, post, post_with};
use sluice_tests::https::Client;
use sluice_tests::program::{PATIENCE, command, run};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::upstream;
use tempfile::TempDir;
use tokio::time::sleep;

const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"h2"];
const NIGHTLY: &str = "nightly.batch.internal";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn ping() -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" })
}

/// A gateway that speaks HTTPS, and to which clients may show certificates of an authority.
struct Place {
    authority: Authority,
    folder: TempDir,
    sluice: Sluice,
    _upstream: upstream::Upstream,
}

impl Place {
    /// With these files, lines about the address for HTTP and tables; FOLDER is where the files are.
    async fn start(authority: Authority, files: &[(&str, &str)], lines: &str, tables: &str) -> Self {
        let upstream = upstream::Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let (certificate, key) = authority.issue();
        let own = [("ca.pem", authority.pem()), ("server.pem", certificate), ("server.key", key)];
        own.iter().for_each(|(name, text)| write(place, name, text));
        files.iter().for_each(|(name, text)| write(place, name, text));
        let shown =
            "certificate = \"FOLDER/server.pem\"\nkey = \"FOLDER/server.key\"\nclient_ca_file = \"FOLDER/ca.pem\"";
        let client = "[[client]]\nname = \"nightly.batch.*\"\ngroups = [\"batch\"]";
        let here = |text: String| text.replace("FOLDER", place.to_str().unwrap());
        let sluice = Sluice::new()
            .web(&here(format!("{shown}\n{lines}")))
            .connection("x", Upstream::Http(upstream.url.clone()))
            .further("x", "groups = [\"batch\"]")
            .tables(&here(format!("\n{client}\n\n{tables}\n")))
            .start()
            .await;
        Self { authority, folder, sluice, _upstream: upstream }
    }

    /// A client that shows this certificate.
    fn client(&self, protocol: &[u8], shown: Option<&(String, String)>) -> Client {
        Client::new(self.authority.roots(), protocol, shown)
    }

    /// One that shows a certificate of this name.
    fn named(&self, protocol: &[u8], name: &str) -> Client {
        self.client(protocol, Some(&self.authority.issue_for(name)))
    }

    async fn ask(&self, client: &Client, token: Option<&str>) -> std::io::Result<Answer> {
        client.send(post(&self.sluice.mcp("x"), token, &ping())).await
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, client: &Client, is_wanted: impl Fn(&std::io::Result<Answer>) -> bool) {
        for _ in 0..100 {
            if is_wanted(&self.ask(client, None).await) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it stays as it was: {:?}; {}", self.ask(client, None).await, self.sluice.log());
    }
}

fn is_well(answer: &std::io::Result<Answer>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.text().contains("all is well"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_named_client_is_as_good_as_a_token_and_no_other_is() {
    let denied = "[revocation]\ndeny_list = \"FOLDER/denied.txt\"";
    let place = Place::start(Authority::new(), &[("denied.txt", "# nobody yet\n")], "", denied).await;
    for protocol in PROTOCOLS {
        let known = place.named(protocol, NIGHTLY);
        let answer = place.ask(&known, None).await;
        assert!(is_well(&answer), "{answer:?} {}", place.sluice.log());

        // A token that is brought is what counts, whatever the connection shows.
        assert_eq!(place.ask(&known, Some("nonsense")).await.unwrap().status, 401);
        let token = place.sluice.token("ada@example.org", &["batch"]).await;
        assert!(is_well(&place.ask(&known, Some(&token)).await));

        // A name that is none of the clients' needs one, as nobody's does.
        let other = place.named(protocol, "weekly.report.internal");
        for client in [&other, &place.client(protocol, None)] {
            let refused = place.ask(client, None).await.unwrap();
            assert_eq!(refused.status, 401);
            let metadata = format!("{}/.well-known/oauth-protected-resource/mcp/x", place.sluice.address);
            assert_eq!(refused.header("www-authenticate"), format!("Bearer resource_metadata=\"{metadata}\""));
            assert!(is_well(&place.ask(client, Some(&token)).await));
            let told = client.send(Request::get(metadata).body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(told.message()["resource"], place.sluice.mcp("x"));
        }

        // Strangers who write the right name get nowhere, nor does one whose time is over.
        let forged = place.client(protocol, Some(&Authority::new().issue_for(NIGHTLY)));
        let over = SystemTime::now() - Duration::from_secs(60);
        let stale = place.client(protocol, Some(&place.authority.issue_until(NIGHTLY, over)));
        for client in [forged, stale] {
            assert!(place.ask(&client, Some(&token)).await.is_err());
        }

        // The gateway's own pages are at https, and its API asks for a token.
        for (origin, status) in
            [(place.sluice.address.clone(), 200), (place.sluice.address.replace("https", "http"), 403)]
        {
            let request = post_with(&place.sluice.mcp("x"), None, &ping(), &[("origin", &origin)]);
            assert_eq!(known.send(request).await.unwrap().status, status, "{origin}");
        }
        let api = Request::get(format!("{}/api/v1/sessions", place.sluice.address)).body(Full::default()).unwrap();
        assert_eq!(known.send(api).await.unwrap().status, 401);
    }
    let records = place.sluice.session_records(NIGHTLY).await;
    let opened = (&records[0]["issuer"], &records[0]["kind"]);
    assert_eq!(opened, (&"urn:sluice:client-certificates".into(), &"service".into()));
    assert_eq!(place.sluice.session_records("ada@example.org").await[0]["issuer"], place.sluice.issuer().url);

    // The deny list ends what it began, over the connection that is there as well.
    let mut kept = place.named(b"h2", NIGHTLY).connect(&place.sluice.address).await.unwrap();
    let request = || post(&place.sluice.mcp("x"), None, &ping());
    assert_eq!(kept.send(request()).await.unwrap().status, 200);
    write(place.folder.path(), "denied.txt", &format!("sub urn:sluice:client-certificates {NIGHTLY}\n"));
    place.until(&place.named(b"h2", NIGHTLY), |answer| answer.as_ref().is_ok_and(|answer| answer.status == 401)).await;
    assert_eq!(kept.send(request()).await.unwrap().status, 401);
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_its_authority_has_taken_back_counts_no_longer() {
    let authority = Authority::new();
    let files = [("revoked.crl", authority.revoke(&["nightly.batch.old"], 2999))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let place = Place::start(authority, &files, "client_crl_file = \"FOLDER/revoked.crl\"", "").await;
    let list = |text: &str| write(place.folder.path(), "revoked.crl", text);
    let [old, new] = ["old", "new"].map(|name| place.named(b"http/1.1", &format!("nightly.batch.{name}")));
    assert!(place.ask(&old, None).await.is_err());
    assert!(is_well(&place.ask(&new, None).await));

    // A newer list counts while the gateway runs: for those who connect, and for those who are there and ask for more.
    let mut there = new.connect(&place.sluice.address).await.unwrap();
    let request = |token: Option<&str>| post(&place.sluice.mcp("x"), token, &ping());
    assert_eq!(there.send(request(None)).await.unwrap().status, 200);
    list(&place.authority.revoke(&["nightly.batch.new"], 2999));
    place.until(&new, Result::is_err).await;
    assert_eq!(there.send(request(None)).await.unwrap().status, 401);
    let token = place.sluice.token("ada@example.org", &["batch"]).await;
    assert_eq!(there.send(request(Some(&token))).await.unwrap().status, 200);
    assert!(is_well(&place.ask(&old, None).await));

    // Without a list no certificate counts, and tokens do.
    list("nothing");
    place.until(&old, |answer| answer.as_ref().is_ok_and(|answer| answer.status == 401)).await;
    assert!(is_well(&place.ask(&old, Some(&token)).await));
    list(&place.authority.revoke(&[], 2999));
    place.until(&new, is_well).await;
    assert_eq!(there.send(request(None)).await.unwrap().status, 200);
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_certificate() {
    let place = Place::start(Authority::new(), &[], "", "").await;
    for protocol in PROTOCOLS {
        let end = SystemTime::now() + Duration::from_secs(3);
        let client = place.client(protocol, Some(&place.authority.issue_until(NIGHTLY, end)));
        let mut there = client.connect(&place.sluice.address).await.unwrap();
        let request = || post(&place.sluice.mcp("x"), None, &ping());
        assert_eq!(there.send(request()).await.unwrap().status, 200);
        sleep(Duration::from_millis(4500)).await;
        assert!(there.send(request()).await.is_err(), "it is still there");
        assert!(client.send(request()).await.is_err(), "it is still accepted");
    }
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_shown_by_a_program_of_other_hands() {
    let place = Place::start(Authority::new(), &[], "", "").await;
    let (certificate, key) = place.authority.issue_for(NIGHTLY);
    write(place.folder.path(), "client.pem", &certificate);
    write(place.folder.path(), "client.key", &key);
    let (url, body) = (place.sluice.mcp("x"), ping().to_string());
    for (version, spoken) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl =
            command("curl", ["-sS", version, "--cacert", "ca.pem", "--cert", "client.pem", "--key", "client.key"]);
        curl.args(["-H", "content-type: application/json", "-H", "accept: application/json, text/event-stream"]);
        curl.args(["-d", &body, "-w", " %{http_version} %{http_code}", &url]).current_dir(place.folder.path());
        let done = run(curl, "", PATIENCE).await;
        assert!(done.text().contains("all is well") && done.text().ends_with(&format!(" {spoken} 200")), "{done:?}");
    }
    // Nothing is said in clear text.
    let mut plain = command("curl", ["-sS", "--http1.1", "-w", "%{http_code}"]);
    plain.arg(url.replace("https", "http"));
    assert_eq!(run(plain, "", PATIENCE).await.text(), "000");
    place.sluice.stop().await;
}
