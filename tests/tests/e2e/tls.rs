//! Issuers and upstreams behind a company's own certificate authority.

use std::path::PathBuf;

use serde_json::json;
use sluice_tests::authority::Authority;
use sluice_tests::http::{Answer, post, send};
use sluice_tests::sluice::{Sluice, Upstream};
use sluice_tests::upstream;
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str, authority: &Authority) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, authority.pem()).unwrap();
    file
}

async fn ping(sluice: &Sluice, connection: &str) -> Answer {
    let token = sluice.token("ada@example.org", &[]).await;
    send(post(&sluice.mcp(connection), Some(&token), &json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_believed_with_the_file_of_its_authority_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream::Upstream::start_tls(&authority).await;
    let private = |file| Upstream::Private(upstream.url.clone(), file);
    let sluice = Sluice::new()
        .connection("known", private(file(&folder, "own.pem", &authority)))
        .connection("foreign", private(file(&folder, "other.pem", &other)))
        .connection("public", Upstream::Http(upstream.url.clone()))
        .start()
        .await;
    for connection in ["foreign", "public"] {
        let answer = ping(&sluice, connection).await;
        assert_eq!(answer.status, 502, "{connection}: {}", answer.text());
        assert!(upstream.received().is_empty(), "nothing is said to a server that nobody vouches for");
    }
    let answer = ping(&sluice, "known").await;
    assert_eq!(answer.message()["result"]["content"][0]["text"], "all is well", "{}", answer.text());
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_believed_with_the_file_of_its_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (is_named, expected) in [(true, 200), (false, 401)] {
        let upstream = upstream::Upstream::start().await;
        let authority = Authority::new();
        let named = format!("ca_file = {:?}", file(&folder, "issuer.pem", &authority));
        let sluice = Sluice::new()
            .issuer(Some(authority), if is_named { &named } else { "" })
            .connection("x", Upstream::Http(upstream.url.clone()))
            .start()
            .await;
        let answer = ping(&sluice, "x").await;
        assert_eq!(answer.status, expected, "{}", answer.text());
        sluice.stop().await;
    }
}
