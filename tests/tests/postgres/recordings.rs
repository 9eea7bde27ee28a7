//! Sessions of PostgreSQL are found by what happened in them, and replayed as their users saw them.

use std::time::Duration;

use serde_json::Value;
use sluice_tests::place;
use sluice_tests::postgres::psql;
use sluice_tests::program::{Finished, command, run};
use sluice_tests::sluice::Rules;

use super::scene::{ADA, RULES, Scene};

const HELD: &str = "rule deletes_are_approved { meta { id \"T-2\" severity low }\n on request in db\n when sql.verb == delete\n \
                    then approve by [\"dba\"] count 1 ttl 5m wait 1s }\n";
const LONG: Duration = Duration::from_secs(30);

async fn says(scene: &Scene, args: &[&str]) -> Finished {
    run(scene.sluice.command(&[&["sessions"], args, &["--config", "sluice.toml"]].concat()), "", LONG).await
}

/// The sessions that these filters find, newest first.
async fn found(scene: &Scene, filters: &[&str]) -> Vec<Value> {
    let done = says(scene, &[&["list", "--json"], filters].concat()).await;
    assert_eq!(done.code, Some(0), "{filters:?}: {}", done.stderr);
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One session of ada that reads, is refused, held and told an error, then one of bob that reads something else.
async fn played() -> (Scene, Finished) {
    let scene = Scene::with(Rules::Text(RULES.to_owned() + HELD)).await;
    let script = "SELECT id, email FROM customer WHERE id = 1;\nDROP TABLE customer;\nSELECT 1/0;\n\
                  DELETE FROM public.customer WHERE id = 1;\nSELECT E'a\\x1b[31mb' AS \"letters\";\n";
    let options = "sslmode=disable options='-c sluice.purpose=nightly\\\\ report'";
    let args = ["-At", "-F", "\t"];
    let done = psql(&scene.target(options), &scene.token().await, &args, script).await;
    let bob = scene.sluice.token("bob@example.org", &["sales"]).await;
    let other = psql(&scene.target("sslmode=disable"), &bob, &args, "SELECT count(*) > 0 FROM pg_class;\n").await;
    assert_eq!(other.text(), "t\n", "{}", other.stderr);
    for _ in 0..100 {
        let sessions = found(&scene, &[]).await;
        if sessions.len() == 2 && sessions.iter().all(|session| session["closed"].is_string()) {
            return (scene, done);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the sessions don't end: {}", scene.sluice.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_found_by_who_what_and_what_became_of_it() {
    let (scene, _) = played().await;
    let cases: &[(&[&str], &str)] = &[
        (&["--user", "ada*"], "ada"),
        (&["--user", "ada"], ""),
        (&["--connection", "crm"], "bob ada"),
        (&["--connection", "erp"], ""),
        (&["--group", "sales"], "bob"),
        (&["--group", "finance"], ""),
        (&["--purpose", "nightly*"], "ada"),
        (&["--purpose", "daily*"], ""),
        (&["--tool", "select"], ""),
        (&["--table", "customer"], "ada"),
        (&["--table", "public.customer"], "ada"),
        (&["--table", "pg_class"], "bob"),
        (&["--table", "cust"], ""),
        (&["--verb", "drop"], "ada"),
        (&["--verb", "select"], "bob ada"),
        (&["--verb", "insert"], ""),
        (&["--rule", "no_destructive_sql"], "ada"),
        (&["--rule", "T-1"], "ada"),
        (&["--rule", "T-2"], "ada"),
        (&["--rule", "mask_email"], "ada"),
        (&["--rule", "mask_pan"], ""),
        (&["--entity", "*email"], ""),
        (&["--entity", "tests.pg.email"], "ada"),
        (&["--entity", "std.pii.iban"], ""),
        (&["--outcome", "refused"], "ada"),
        (&["--outcome", "held"], "ada"),
        (&["--outcome", "forwarded"], "bob ada"),
        (&["--since", "24h"], "bob ada"),
        (&["--since", "2999-01-01"], ""),
        (&["--until", "2999-01-01"], "bob ada"),
        (&["--until", "2001-01-01T00:00:00Z"], ""),
        (&["--limit", "1"], "bob"),
        (&["--table", "customer", "--outcome", "refused", "--since", "1h"], "ada"),
        (&["--table", "customer", "--group", "sales"], ""),
    ];
    for (filters, expected) in cases {
        let sessions = found(&scene, filters).await;
        let users: Vec<&str> = sessions.iter().map(|found| found["user"].as_str().unwrap()).collect();
        assert_eq!(users.join(" ").replace("@example.org", ""), *expected, "{filters:?}");
    }
    for (wrong, why) in [
        (&["list", "--since", "yesterday"][..], "such as 24h"),
        (&["list", "--outcome", "lost"], "possible values: refused, held, forwarded"),
        (&["list", "--live", "--user", "ada*"], "cannot be used with"),
        (&["replay", "nonsense"], "`sluice sessions list` names"),
        (&["replay", "01934f2e-0000-7000-8000-000000000000"], "`sluice sessions list` names"),
        (&["replay", "01934f2e-0000-7000-8000-000000000000", "--speed", "0"], "a number above 0"),
        (&["export", "01934f2e-0000-7000-8000-000000000000", "--format", "gif"], "possible values: json, asciicast"),
    ] {
        let done = says(&scene, wrong).await;
        assert_eq!(done.code, Some(2), "{wrong:?}: {}", done.text());
        assert!(done.stderr.contains(why), "{wrong:?}: {}", done.stderr);
    }
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_replayed_and_exported_as_psql_saw_it() {
    let (scene, psql) = played().await;
    let session = found(&scene, &["--user", ADA]).await.remove(0);
    let id = session["session"].as_str().unwrap();
    let replayed = says(&scene, &["replay", id, "--at-once"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let text = replayed.text();
    assert!(psql.text().starts_with("1\t[email]\n"), "{} {}", psql.text(), psql.stderr);
    for line in psql.text().lines() {
        // What psql shows of a control character is its own affair.
        let line = line.replace('\u{1b}', "\u{fffd}");
        assert!(text.lines().any(|shown| shown == line), "{line:?} is in {text}");
    }
    let errors = psql.stderr.lines().filter_map(|line| line.split_once("ERROR:  "));
    let messages: Vec<&str> = errors.map(|(_, message)| message).collect();
    assert!(messages.len() > 2 && messages.contains(&"division by zero"), "{}", psql.stderr);
    for message in messages {
        assert!(text.contains(message), "{message} is in {text}");
    }
    let parts = [
        "ada@example.org opens crm for nightly report (postgres)\n",
        "crm=> SELECT id, email FROM customer WHERE id = 1;\nid\temail\n1\t[email]\nSELECT 1\n",
        "by mask_email: tests.pg.email\n",
        "crm=> DROP TABLE customer;\n-- REFUSED\n--   block by no_destructive_sql (T-1) of tests.pg: Nothing is destroyed here.\n",
        "ERROR 22012: division by zero\n",
        "-- HELD for approval ",
        "letters\na\u{fffd}[31mb\nSELECT 1\n",
        "-- closed: ",
    ];
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} comes in its place in {text}"));
        rest = &rest[at + part.len()..];
    }
    let fast = says(&scene, &["replay", id, "--speed", "1000"]).await;
    assert_eq!(fast.text(), text);
    let second = says(&scene, &["replay", id, "--at-once", "--exchange", "2"]).await;
    assert!(second.text().starts_with("crm=> DROP TABLE customer;\n-- REFUSED\n"), "{}", second.text());
    assert!(!second.text().contains("division"));
    let none = says(&scene, &["replay", id, "--at-once", "--exchange", "99"]).await;
    assert!(none.code == Some(2) && none.stderr.contains("no exchange 99"), "{}", none.stderr);

    let shown = says(&scene, &["show", id, "--json"]).await;
    let exported = says(&scene, &["export", id, "--format", "json"]).await;
    assert_eq!((exported.code, exported.text()), (Some(0), shown.text()));
    let file = scene.sluice.folder().join("session.cast");
    let name = file.to_str().unwrap();
    let cast = says(&scene, &["export", id, "--format", "asciicast", "--output", name]).await;
    assert_eq!((cast.code, cast.text()), (Some(0), ""), "{}", cast.stderr);
    let mut asciinema = command(place::python("asciinema", "asciinema"), ["cat", name]);
    asciinema.env("LC_ALL", "C.UTF-8").env("HOME", scene.sluice.folder());
    let player = run(asciinema, "", LONG).await;
    assert_eq!(player.code, Some(0), "{}", player.stderr);
    let played = player.text().replace("\r\n", "\n").replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    assert_eq!(played, text);
    let again = says(&scene, &["export", id, "--format", "asciicast", "--output", name]).await;
    assert!(again.code == Some(2) && again.stderr.contains("is there already"), "{}", again.stderr);
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_at_an_interrupt_and_names_a_record_that_is_damaged() {
    let (scene, _) = played().await;
    let session = found(&scene, &["--user", ADA]).await.remove(0);
    let id = session["session"].as_str().unwrap();
    let mut slow = scene.sluice.command(&["sessions", "replay", id, "--speed", "0.0001", "--config", "sluice.toml"]);
    let mut child = slow.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = child.id().unwrap().to_string();
    assert!(command("kill", ["-s", "INT", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(LONG, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(0));

    let shown = says(&scene, &["show", id, "--json"]).await;
    let records = shown.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let divided = records.into_iter().find(|record| record["body"] == "SELECT 1/0;").unwrap();
    let segment = scene.sluice.folder().join("store/evidence/segments/00000000000000000000");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(11).position(|window| window == b"SELECT 1/0;").unwrap();
    bytes[at + 9] = b'1';
    std::fs::write(&segment, bytes).unwrap();
    for args in [&["replay", id, "--at-once"][..], &["export", id, "--format", "asciicast"]] {
        let done = says(&scene, args).await;
        assert_eq!((done.code, done.text()), (Some(2), ""), "{}", done.stderr);
        let named = format!("record {} is not readable: its hash is another one", divided["seq"]);
        assert!(done.stderr.contains(&named), "{}", done.stderr);
    }
}
