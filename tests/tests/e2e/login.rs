//! People who log in with `sluice login` at a real OpenID provider, and what their tokens open.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sluice_tests::http::{post, send};
use sluice_tests::program::{Finished, Server, run};
use sluice_tests::provider::{Browser, End, Provider};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::target::Target;
use sluice_tests::upstream;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// A provider, a gateway that accepts its tokens, and the home of somebody who logs in.
struct Scene {
    provider: Provider,
    upstream: upstream::Upstream,
    _target: Target,
    sluice: Sluice,
    home: TempDir,
}

impl Scene {
    async fn new(seconds: u32) -> Self {
        let provider = Provider::start(seconds).await;
        let (upstream, target) = (upstream::Upstream::start().await, Target::echo().await);
        let sluice = Sluice::new()
            .rules(Rules::None)
            .provider(&provider.url, &format!("ca_file = {:?}", provider.ca()))
            .connection("db", Upstream::Http(upstream.url.clone()))
            .connection("bytes", Upstream::Tcp(target.address))
            .tunnel("")
            .start()
            .await;
        Self { provider, upstream, _target: target, sluice, home: tempfile::tempdir().unwrap() }
    }

    /// `sluice` as this user runs it.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sluice.command(args);
        command.env("XDG_CONFIG_HOME", self.home.path()).env_remove("SLUICE_TOKEN");
        command
    }

    async fn run(&self, args: &[&str]) -> Finished {
        run(self.command(args), "", PATIENCE).await
    }

    /// `sluice login` for this connection, and where it says to go.
    async fn begin(&self, connection: &str, args: &[&str]) -> Begun {
        self.begin_for(&["--connection", connection], args).await
    }

    async fn begin_for(&self, what: &[&str], args: &[&str]) -> Begun {
        let mut command = self.command(&["login", "--json", "--gateway", &self.sluice.address]);
        command.args(what).arg("--ca").arg(self.provider.ca()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.expect("it says where to go").unwrap();
        let Some(first) = first else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
            panic!("it says nothing but {said}");
        };
        Begun { child, lines, told: serde_json::from_str(&first).unwrap() }
    }

    /// Logs in through the browser for this connection; who that is then.
    async fn log_in(&self, user: &str, connection: &str) -> Value {
        let begun = self.begin(connection, &["--no-browser"]).await;
        let mut browser = self.provider.browser(user);
        let back = browser.walk(begun.told["open"].as_str().unwrap()).await.local();
        assert_eq!(browser.send(Method::GET, &back, "").await.status, StatusCode::OK);
        let (code, said, errors) = begun.end().await;
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str(&said).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("sluice/logins.json")
    }

    /// What is kept of the one login, tokens and all.
    fn kept(&self) -> Value {
        let kept: Value = serde_json::from_slice(&std::fs::read(self.file()).unwrap()).unwrap();
        assert_eq!(kept["logins"].as_array().unwrap().len(), 1);
        kept["logins"][0].clone()
    }

    fn token(&self) -> String {
        self.kept()["access_token"].as_str().unwrap().to_owned()
    }

    /// What a gateway answers to this token.
    async fn ping(&self, token: &str) -> StatusCode {
        let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        } });
        send(post(&self.sluice.mcp("db"), Some(token), &ping)).await.status
    }

    /// `sluice connect bytes` with the login, and a local connection through it.
    async fn connect(&self) -> (Server, TcpStream) {
        let server =
            Server::start(self.command(&["connect", "bytes", "--gateway", &self.sluice.tunnel, "--ca", "ca.pem"]))
                .await;
        let socket = TcpStream::connect(&server.address).await.unwrap();
        (server, socket)
    }
}

/// `sluice login` on its way.
struct Begun {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it says to go.
    told: Value,
}

impl Begun {
    /// Its exit code, the rest of what it printed, and its errors.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let ended = async {
            let mut said = Vec::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                said.push(line);
            }
            let mut errors = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
            (self.child.wait().await.unwrap().code(), said.join("\n"), errors)
        };
        timeout(PATIENCE, ended).await.expect("it ends")
    }
}

async fn echoes(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut heard = [0; 5];
    socket.write_all(b"ping\n").await?;
    timeout(PATIENCE, socket.read_exact(&mut heard)).await.expect("an answer")?;
    assert_eq!(&heard, b"ping\n");
    Ok(())
}

fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_through_the_browser_opens_the_connection_that_it_is_for() {
    let scene = Scene::new(3600).await;
    let begun = scene.begin("db", &["--no-browser"]).await;
    let place = begun.told["open"].as_str().unwrap().to_owned();
    assert!(place.starts_with(&scene.provider.url), "{place}");
    for (name, expected) in
        [("response_type", "code"), ("client_id", "sluice"), ("code_challenge_method", "S256"), ("prompt", "consent")]
    {
        assert_eq!(parameter(&place, name), expected);
    }
    assert_eq!(parameter(&place, "resource"), scene.sluice.mcp("db"));
    assert_eq!(parameter(&place, "code_challenge").len(), 43);
    let redirect = parameter(&place, "redirect_uri");
    assert!(redirect.starts_with("http://127.0.0.1:") && redirect.ends_with("/callback"), "{redirect}");

    let mut browser = scene.provider.browser("ada");
    let back = browser.walk(&place).await.local();
    let page = browser.send(Method::GET, &back, "").await;
    assert!(page.text.contains("You are logged in. You can close this page."), "{}", page.text);
    let (code, said, errors) = begun.end().await;
    assert_eq!(code, Some(0), "{errors}");
    let who: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(who["user"], "ada@example.org");
    assert_eq!(who["groups"], json!(["staff", "ada-team"]));
    assert_eq!(who["issuer"], scene.provider.url);

    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(scene.file()), mode(scene.home.path().join("sluice"))), (0o600, 0o700));
    let whoami = scene.run(&["whoami", "--json"]).await;
    assert_eq!((whoami.code, whoami.text().trim()), (Some(0), said.as_str()), "{}", whoami.stderr);
    let plain = scene.run(&["whoami"]).await;
    assert!(plain.text().starts_with(&format!("ada@example.org at {}\n", scene.provider.url)), "{}", plain.text());
    assert!(plain.text().contains("staff, ada-team") && plain.text().contains("until"), "{}", plain.text());
    let kept = scene.kept();
    for secret in ["access_token", "refresh_token"] {
        let secret = kept[secret].as_str().expect("it is kept");
        assert!(secret.len() > 20 && ![&said, &errors, plain.text()].iter().any(|text| text.contains(secret)));
    }

    assert_eq!(scene.ping(&scene.token()).await, StatusCode::OK);
    let elsewhere = send(post(&scene.sluice.mcp("bytes"), Some(&scene.token()), &json!({}))).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED, "the token is for another connection");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_belongs_to_no_login_is_refused_and_the_login_goes_on() {
    let scene = Scene::new(3600).await;
    let begun = scene.begin("db", &["--no-browser"]).await;
    let place = begun.told["open"].as_str().unwrap().to_owned();
    let (redirect, state) = (parameter(&place, "redirect_uri"), parameter(&place, "state"));
    let issuer: String = url::form_urlencoded::byte_serialize(scene.provider.url.as_bytes()).collect();
    let mut stranger = scene.provider.browser("eve");
    for forged in [
        String::new(),
        "?code=forged".to_owned(),
        format!("?code=forged&state=&iss={issuer}"),
        format!("?code=forged&state=wrong&iss={issuer}"),
        format!("?code=forged&state={state}x&iss={issuer}"),
        format!("?code=forged&state={state}&state={state}&iss={issuer}"),
        format!("?code=forged&state={state}"),
        format!("?code=forged&state={state}&iss=https%3A%2F%2Fevil.example"),
        format!("?error=access_denied&state=wrong&iss={issuer}"),
    ] {
        let page = stranger.send(Method::GET, &format!("{redirect}{forged}"), "").await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{forged}: {}", page.text);
    }
    assert_eq!(scene.provider.given("authorization_code").await, 0, "no forged code went to the issuer");
    let mut browser = scene.provider.browser("ada");
    let back = browser.walk(&place).await.local();
    browser.send(Method::GET, &back, "").await;
    let (code, _, errors) = begun.end().await;
    assert_eq!(code, Some(0), "{errors}");

    // A code is good for the login that asked for it alone: the verifier of another one doesn't fit.
    let first = scene.begin("db", &["--no-browser"]).await;
    let second = scene.begin("db", &["--no-browser"]).await;
    let (of_first, of_second) = (first.told["open"].as_str().unwrap(), second.told["open"].as_str().unwrap());
    let stolen = parameter(&browser.walk(of_first).await.local(), "code");
    let injected = format!(
        "{}?code={stolen}&state={}&iss={issuer}",
        parameter(of_second, "redirect_uri"),
        parameter(of_second, "state")
    );
    let page = browser.send(Method::GET, &injected, "").await;
    assert!(page.text.contains("You are not logged in"), "{}", page.text);
    let (code, said, errors) = second.end().await;
    assert_eq!((code, said.as_str()), (Some(2), ""), "{errors}");
    assert!(errors.contains("invalid_grant"), "{errors}");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_on_another_device_waits_until_its_code_was_entered() {
    let scene = Scene::new(3600).await;
    let begun = scene.begin("db", &["--device"]).await;
    let (place, code) = (begun.told["open"].as_str().unwrap(), begun.told["code"].as_str().unwrap());
    assert!(place.starts_with(&scene.provider.url) && code.len() >= 8, "{}", begun.told);
    let mut browser = scene.provider.browser("bob");
    let End::Page(page) = browser.walk(begun.told["open_with_code"].as_str().unwrap()).await else { panic!("no page") };
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let (code, said, errors) = begun.end().await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["user"], "bob@example.org");
    assert_eq!(scene.ping(&scene.token()).await, StatusCode::OK);
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_is_not_logged_in_either_way() {
    let scene = Scene::new(3600).await;
    let begun = scene.begin("db", &["--no-browser"]).await;
    let mut browser = scene.provider.browser("ada").refusing();
    let back = browser.walk(begun.told["open"].as_str().unwrap()).await.local();
    let page = browser.send(Method::GET, &back, "").await;
    assert!(page.text.contains("You are not logged in"), "{}", page.text);
    let (code, said, errors) = begun.end().await;
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(errors.contains("access_denied"), "{errors}");

    let begun = scene.begin("db", &["--device"]).await;
    scene.provider.browser("ada").refusing().walk(begun.told["open_with_code"].as_str().unwrap()).await;
    let (code, said, errors) = begun.end().await;
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(errors.contains("access_denied"), "{errors}");
    let whoami = scene.run(&["whoami"]).await;
    assert_eq!(whoami.code, Some(1), "{}", whoami.stderr);
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_renew_one_login_and_neither_loses_it() {
    let scene = Scene::new(5).await;
    scene.log_in("ada", "bytes").await;
    let first = scene.token();
    let (_one, mut one) = scene.connect().await;
    let (_two, mut two) = scene.connect().await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(13) {
        echoes(&mut one).await.unwrap();
        echoes(&mut two).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    assert_ne!(scene.token(), first);
    let renewed = scene.provider.given("refresh_token").await;
    assert!((2..9).contains(&renewed), "one renews for both: {renewed}");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_takes_the_tokens_back_and_forgets_them() {
    let scene = Scene::new(3600).await;
    scene.log_in("ada", "bytes").await;
    let refresh = scene.kept()["refresh_token"].as_str().unwrap().to_owned();
    let logout = scene.run(&["logout", "--json"]).await;
    assert_eq!(logout.code, Some(0), "{}", logout.stderr);
    assert_eq!(serde_json::from_str::<Value>(logout.text()).unwrap()["revoked"], true);
    let kept = std::fs::read_to_string(scene.file()).unwrap();
    assert!(!kept.contains(&refresh) && !kept.contains("access_token"), "nothing is left");
    let again = format!("grant_type=refresh_token&client_id=sluice&refresh_token={refresh}");
    let mut browser: Browser = scene.provider.browser("ada");
    let page = browser.send(Method::POST, &format!("{}/token", scene.provider.url), &again).await;
    assert!(page.status == StatusCode::BAD_REQUEST && page.text.contains("invalid_grant"), "{}", page.status);
    assert_eq!(scene.run(&["whoami"]).await.code, Some(1));
    assert_eq!(scene.run(&["logout"]).await.code, Some(1), "there is nobody to log out");
    let connect = scene.run(&["connect", "bytes", "--gateway", &scene.sluice.tunnel, "--ca", "ca.pem"]).await;
    assert_eq!(connect.code, Some(2));
    assert!(connect.stderr.contains("sluice login"), "{}", connect.stderr);
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_rotates_away_ends_what_it_signed_and_the_next_one_counts() {
    let scene = Scene::new(3600).await;
    scene.log_in("ada", "db").await;
    let old = scene.token();
    scene.run(&["logout"]).await;
    assert_eq!(scene.ping(&old).await, StatusCode::OK);
    scene.log_in("ada", "bytes").await;
    let (_program, mut live) = scene.connect().await;
    echoes(&mut live).await.unwrap();
    // The gateway asks an issuer again after ten seconds at the earliest, when it sees a key that it doesn't know.
    sleep(Duration::from_millis(10_500)).await;
    scene.provider.turn_keys().await;
    assert_eq!(scene.ping(&old).await, StatusCode::OK, "nobody has told the gateway yet");
    scene.run(&["logout"]).await;
    scene.log_in("bob", "db").await;
    assert_eq!(scene.ping(&scene.token()).await, StatusCode::OK, "the next key counts at once");
    assert_eq!(scene.ping(&old).await, StatusCode::UNAUTHORIZED, "what the old one signed doesn't");
    // The live session ends within a second or so; nobody is logged in any more who could renew it.
    let over = async {
        while echoes(&mut live).await.is_ok() {
            sleep(Duration::from_millis(100)).await
        }
    };
    timeout(Duration::from_secs(5), over).await.expect("the live session ends");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_logins_that_others_can_get_at_is_refused() {
    let scene = Scene::new(3600).await;
    scene.log_in("ada", "bytes").await;
    let chmod = |path: PathBuf, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let folder = scene.home.path().join("sluice");
    let connect = ["connect", "bytes", "--gateway", &scene.sluice.tunnel, "--ca", "ca.pem"];
    for (path, loose, tight) in [
        (scene.file(), 0o640, 0o600),
        (scene.file(), 0o604, 0o600),
        (folder.clone(), 0o755, 0o700),
        (folder, 0o770, 0o700),
    ] {
        chmod(path.clone(), loose);
        for args in [&["whoami"][..], &["logout"], &connect] {
            let refused = scene.run(args).await;
            assert_eq!(refused.code, Some(2), "{args:?} with {loose:o}: {}", refused.stderr);
            assert!(refused.stderr.contains("chmod"), "{}", refused.stderr);
        }
        chmod(path, tight);
    }
    assert_eq!(scene.run(&["whoami"]).await.code, Some(0), "it is as it was");
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_used_for_no_other_connection_and_at_no_other_gateway() {
    let scene = Scene::new(3600).await;
    scene.log_in("ada", "db").await;
    for (connection, gateway) in [("bytes", scene.sluice.tunnel.as_str()), ("db", "localhost:1")] {
        let refused = scene.run(&["connect", connection, "--gateway", gateway, "--ca", "ca.pem"]).await;
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("there is no token"), "{}", refused.stderr);
    }
    // A gateway of another name than the one that is asked may not say what tokens are for.
    let other = scene.sluice.address.replace("127.0.0.1", "localhost");
    let refused = scene.run(&["login", "--gateway", &other, "--connection", "db", "--no-browser"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(scene.upstream.received().is_empty());
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_logs_in_for_the_gateways_own_interface_and_that_token_opens_no_connection() {
    let scene = Scene::new(600).await;
    let list = ["approvals", "list", "--json", "--url", &scene.sluice.address];
    let nobody = scene.run(&list).await;
    assert!(nobody.code == Some(2) && nobody.stderr.contains("run `sluice login`"), "{}", nobody.stderr);
    // A login for a connection is none for the interface.
    scene.log_in("grace", "db").await;
    assert_eq!(scene.run(&list).await.code, Some(2));
    assert_eq!(scene.run(&["logout"]).await.code, Some(0));

    let begun = scene.begin_for(&["--api"], &["--no-browser"]).await;
    let mut browser = scene.provider.browser("grace");
    let back = browser.walk(begun.told["open"].as_str().unwrap()).await.local();
    assert_eq!(browser.send(Method::GET, &back, "").await.status, StatusCode::OK);
    let (code, _, errors) = begun.end().await;
    assert_eq!(code, Some(0), "{errors}");
    let listed = scene.run(&list).await;
    assert_eq!((listed.code, listed.text()), (Some(0), ""), "{}", listed.stderr);
    assert_eq!(scene.ping(&scene.token()).await, StatusCode::UNAUTHORIZED);
    scene.sluice.stop().await;
}
