//! Values that a server spreads over notes of its progress and its log: official clients never get to see one whole.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Target, call, with_notes};
use sluice_tests::conformance::{Suite, fixture_over_http, fixture_over_stdio};
use sluice_tests::sluice::{Rules, Sluice, Upstream};

const MAIL: &str = "bob@example.com";
/// Those that can tell what they heard.
const CLIENTS: [Client; 4] = [Client::TypeScript1, Client::TypeScript2, Client::Python1, Client::Python2];

/// Two notes for each place to cut the address.
fn plan() -> Vec<Value> {
    let cut = |at: usize| {
        let (head, tail) = MAIL.split_at(at);
        let pieces = json!({ "pieces": [format!("ask {head}"), format!("{tail} for help")] });
        with_notes(call("say_in_pieces", pieces))
    };
    (1..MAIL.len()).map(cut).collect()
}

/// What the notes of one kind say together.
fn heard(answer: &Value, kind: &str) -> String {
    let notes = answer["notes"].as_array().unwrap_or_else(|| panic!("no notes in {answer}"));
    notes.iter().filter_map(|note| note[kind].as_str()).collect()
}

/// Every client hears the whole address without the gateway, and never through it.
async fn assert_never_whole(upstream: Upstream) {
    let directly = Target::stdio(&fixture_over_stdio(Suite::Stable));
    let sluice = Sluice::new().rules(Rules::Standard).connection("pieces", upstream).start().await;
    let token = sluice.token("ada@example.org", &[]).await;
    let through = Target::url(&sluice.mcp("pieces"), Some(&token));
    for client in CLIENTS {
        for answer in client.carry_out(&plan(), &directly).await {
            for kind in ["log", "progress"] {
                assert_eq!(heard(&answer, kind), format!("ask {MAIL} for help"), "{client:?}, {kind}");
            }
        }
        for (cut, answer) in (1..).zip(client.carry_out(&plan(), &through).await) {
            for kind in ["log", "progress"] {
                let said = heard(&answer, kind);
                assert!(!said.contains(MAIL), "{client:?}, {kind}, cut after {cut} bytes: {said}");
                // A word at the end of a note waits for nothing: then the rest of the value is what doesn't come.
                let is_hidden = said.contains("[email]") || said.contains("[redacted]");
                assert!(is_hidden, "{client:?}, {kind}, cut after {cut} bytes: nothing is masked in {said}");
                assert!(
                    said.starts_with("ask ") && said.ends_with(" for help"),
                    "{client:?}, {kind}: the rest stays: {said}"
                );
            }
            assert_eq!(answer["result"]["content"][0]["text"], "All is said.", "{client:?}: {answer}");
        }
    }
    sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_never_hear_a_value_whole_that_two_notes_share_over_http() {
    let server = fixture_over_http(Suite::Stable).await;
    assert_never_whole(Upstream::Http(server.address.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_never_hear_a_value_whole_that_two_notes_share_over_stdio() {
    assert_never_whole(Upstream::Stdio(fixture_over_stdio(Suite::Stable))).await;
}
