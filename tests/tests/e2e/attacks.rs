//! Tokens that were forged, altered, misused or taken back, against the running gateway: each is answered as no token at all is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use sluice_client::wire::{Answer, Code, Frame as _, Opening, Token};
use sluice_tests::http::{Answer as HttpAnswer, post, post_with, send};
use sluice_tests::issuer::{AUDIENCE, Issuer};
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use sluice_tests::tunnel;
use sluice_tests::upstream;
use tokio::time::sleep;

use self::forged::{CLIENT, Keys, now, tokens, with};

mod forged;

/// Attacks that are a way to bring a token, which is good by itself.
fn requests(url: &str, good: &str, list: &Value) -> Vec<(&'static str, Request<Full<Bytes>>)> {
    let headed = |headers: &[(&str, String)]| {
        let mut request = post(url, None, list);
        for (name, value) in headers {
            request
                .headers_mut()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        request
    };
    let authorization =
        |values: &[String]| headed(&values.iter().map(|value| ("authorization", value.clone())).collect::<Vec<_>>());
    let bearer = format!("Bearer {good}");
    let form = Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(format!("access_token={good}"))))
        .unwrap();
    vec![
        ("two Authorization headers", authorization(&[bearer.clone(), bearer.clone()])),
        ("a good Authorization header after a bad one", authorization(&["Bearer opaque".to_owned(), bearer.clone()])),
        ("a bad Authorization header after a good one", authorization(&[bearer.clone(), "Bearer opaque".to_owned()])),
        ("two tokens in one header", authorization(&[format!("{bearer}, {bearer}")])),
        ("another scheme", authorization(&[format!("Basic {good}")])),
        ("no scheme", authorization(&[good.to_owned()])),
        ("two spaces", authorization(&[format!("Bearer  {good}")])),
        ("in the query", post(&format!("{url}?access_token={good}"), None, list)),
        ("in a form", form),
        ("in a cookie", headed(&[("cookie", format!("access_token={good}"))])),
        ("in another header", headed(&[("x-access-token", good.to_owned()), ("proxy-authorization", bearer)])),
        ("as somebody whom a proxy vouches for", headed(&[("x-forwarded-user", "ada@example.org".to_owned())])),
    ]
}

/// What a client sees of an answer, but for the time.
fn seen(answer: &HttpAnswer) -> (u16, HeaderMap, Bytes) {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    (answer.status.as_u16(), headers, answer.body.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_that_does_not_count_is_answered_as_none_is_and_nothing_goes_upstream() {
    let keys = Keys::new();
    let (upstream, evil) = (upstream::Upstream::start().await, Issuer::start(None).await);
    let folder = tempfile::tempdir().unwrap();
    let denied = folder.path().join("denied.txt");
    std::fs::write(&denied, "jti * revoked-before\n").unwrap();
    let sluice = Sluice::new()
        .rules(Rules::None)
        .issuer(None, &format!("clients = [{CLIENT:?}]"))
        .connection("db", Upstream::Http(upstream.url.clone()))
        .tunnel("")
        .tables(&format!("\n[revocation]\ndeny_list = {denied:?}\n"))
        .start()
        .await;
    let issuer = sluice.issuer();
    issuer.publish(keys.published());
    let url = sluice.mcp("db");
    let good = json!({
        "iss": issuer.url, "sub": "ada@example.org", "aud": AUDIENCE, "azp": CLIENT, "groups": ["staff"],
        "iat": now(), "exp": now() + 600, "jti": "good",
    });
    let sign = |claims: &Value| issuer.sign(&issuer.header().to_string(), &claims.to_string());
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let accepted = |answer: &HttpAnswer| answer.status != 401;

    // Both keys count; what is revoked and what is signed with a key that goes away later counted as well.
    let rsa = json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" });
    let [stale, revoked] = ["stale", "revoked-after"].map(|id| sign(&with(good.clone(), "jti", json!(id))));
    for token in [sign(&good), keys.rs256(&rsa, &good), stale.clone(), revoked.clone()] {
        let answer = send(post(&url, Some(&token), &list)).await;
        assert!(accepted(&answer), "{}: {}", answer.text(), sluice.log());
    }
    sleep(Duration::from_millis(10_500)).await;
    issuer.turn_keys();
    std::fs::write(&denied, "jti * revoked-before\njti * revoked-after\n").unwrap();
    let newer = sign(&good);
    assert!(accepted(&send(post(&url, Some(&newer), &list)).await), "a token of the next key");
    sleep(Duration::from_millis(1_500)).await;
    let upstream_before = upstream.received().len();

    let none = send(post(&url, None, &list)).await;
    assert_eq!(none.status, 401);
    let challenge =
        format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp/db\"", sluice.address);
    assert_eq!(none.header("www-authenticate"), challenge);
    let expected = seen(&none);

    let mut attacks = tokens(issuer, &evil, &keys, &good, &url);
    let old = with(good.clone(), "jti", json!("revoked-before"));
    attacks.extend([
        ("signed with a key that was rotated away", stale),
        ("on the deny list from the start", sign(&old)),
        ("replayed after it was revoked", revoked),
    ]);
    assert!(attacks.len() >= 30);
    for (name, token) in &attacks {
        let answer = send(post(&url, Some(token), &list)).await;
        assert_eq!(seen(&answer), expected, "{name}");
    }
    for (name, request) in requests(&url, &newer, &list) {
        assert_eq!(seen(&send(request).await), expected, "{name}");
    }

    // The agents' protocol refuses them with one answer as well.
    let connection = tunnel::quic(&sluice, b"sluice/1").await.unwrap();
    for (name, token) in &attacks {
        let Some(token) = Token::new(token.clone()) else { continue };
        let opening =
            Opening::Session { token: Some(token), connection: tunnel::name("db"), purpose: None, client: None };
        let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
        sender.write_all(&opening.encode().unwrap()).await.unwrap();
        let answer: Answer = sluice_client::stream::read_frame(&mut receiver).await.unwrap();
        let Answer::Refused { code, message } = answer else { panic!("{name} opens a session") };
        assert_eq!((code, message.as_str()), (Code::Unauthenticated, "not authenticated"), "{name}");
    }

    assert_eq!(upstream.received().len(), upstream_before, "nothing went upstream");
    assert_eq!(evil.asked(), 0, "nobody asked the attacker for keys");
    assert!(accepted(&send(post(&url, Some(&newer), &list)).await), "the good one counts as before");
    let log = sluice.log();
    let secrets = attacks.iter().flat_map(|(_, token)| token.split('.')).filter(|part| part.len() > 40);
    assert!(secrets.into_iter().all(|part| !log.contains(part)), "the log tells nothing of tokens");
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_out_of_a_group_can_go_on_with_no_session_of_it() {
    let upstream = upstream::Upstream::start().await;
    let sluice = Sluice::new()
        .rules(Rules::None)
        .connection("db", Upstream::Http(upstream.url.clone()))
        .further("db", "groups = [\"engineering\"]")
        .start()
        .await;
    let session = sluice.open_session("db").await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let url = sluice.mcp("db");
    let with_group = send(post_with(&url, Some(&session.token), &list, &session.headers())).await;
    assert_eq!(with_group.status, 200, "{}", with_group.text());
    let before = upstream.received().len();
    for groups in [&[][..], &["Engineering"], &["engineering "], &["sales"]] {
        let token = sluice.token("ada@example.org", groups).await;
        let refused = send(post_with(&url, Some(&token), &list, &session.headers())).await;
        assert_eq!(refused.status, 403, "{groups:?}: {}", refused.text());
        assert!(refused.header("www-authenticate").starts_with("Bearer error=\"insufficient_scope\""));
    }
    assert_eq!(upstream.received().len(), before, "nothing went upstream");
    sluice.stop().await;
}
