//! `sluice access explain`: what holds for somebody, and why.

use serde_json::{Value, json};
use sluice_tests::sluice::{Rules, Sluice, Upstream};

use crate::access::{ADA, allow, sluice_says};

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_somebody_is_explained_and_the_exit_code_says_whether_they_may() {
    const RULES: &str = r#"language 1
pack t.access "1.0.0" { owner "tests" reviewed 2026-08-01 }
pattern staff = /\bEMP-[0-9]{6}\b/
rule mask_staff { meta { id "ACC-1" severity low gdpr ["Art. 25"] } on response match staff then mask redact(with: "[staff]") }
rule no_drop { meta { id "ACC-2" severity high } on request when tool.name == "drop" then block "No." }
rule not_here { meta { id "ACC-3" severity low } on request when target == "hr" and tool.name == "dump" then alert }
"#;
    let tables =
        allow("db", "groups = [\"support\"]\nhours = \"08:00-18:00\"\ntimezone = \"Europe/Berlin\"\ndays = [\"mon\"]")
            + &allow("db", "kinds = [\"service\"]")
            + "\n[purposes]\nallowed = [\"ticket-*\"]\n\n[roles]\nauditor = [\"support\"]\n";
    let sluice = Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("db", Upstream::Http("http://127.0.0.1:9/mcp".to_owned()))
        .further("db", "require_purpose = true")
        .tables(&tables)
        .start()
        .await;
    let explain = async |args: &[&str]| {
        let all = [&["access", "explain", "--user", ADA, "--connection", "db", "--json"], args].concat();
        let done = sluice_says(&sluice, &all).await;
        let said: Value = serde_json::from_str(done.text()).unwrap_or_else(|_| panic!("{}", done.stderr));
        (done.code, said)
    };
    let monday = "2026-11-30T16:59:00Z";
    let (code, said) = explain(&["--group", "support", "--purpose", "ticket-1", "--at", monday]).await;
    assert_eq!((code, &said["let_in"]), (Some(0), &true.into()), "{said:#}");
    assert_eq!((&said["allow"][0]["holds"], &said["allow"][1]["unmet"]), (&true.into(), &json!(["kinds"])));
    assert_eq!((&said["purpose_accepted"], &said["roles"]["auditor"]), (&true.into(), &true.into()));
    let rules = said["rules"].as_array().unwrap();
    let shown: Vec<Value> =
        rules.iter().map(|rule| json!([rule["name"], rule["id"], rule["pack"], rule["when"]])).collect();
    let expected = [
        json!(["mask_staff", "ACC-1", "t.access", "always"]),
        json!(["no_drop", "ACC-2", "t.access", "depends_on_request"]),
    ];
    assert_eq!(shown, expected);
    assert!(rules[0]["does"].as_str().unwrap().contains("looks for `staff`"), "{rules:#?}");

    // An hour later in Berlin, on the command line of people.
    for (args, why) in [
        (
            &["--group", "support", "--purpose", "ticket-1", "--at", "2026-11-30T18:00[Europe/Berlin]"][..],
            "outside of its hours",
        ),
        (&["--group", "support", "--purpose", "fun", "--at", monday], "none that is accepted"),
        (&["--group", "support", "--at", monday], "no purpose was stated"),
        (&["--purpose", "ticket-1", "--at", monday], "in none of its groups"),
    ] {
        let (code, said) = explain(args).await;
        assert_eq!(code, Some(1), "{said:#}");
        assert!(said["reason"].as_str().unwrap().contains(why), "{why}: {said:#}");
    }
    let people =
        ["access", "explain", "--user", "job", "--kind", "service", "--connection", "db", "--purpose", "ticket-1"];
    let done = sluice_says(&sluice, &people).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for part in [
        "job may open db",
        "allow 2: holds: kinds service",
        "`ticket-1` is accepted",
        "no_drop ACC-2 (t.access), depends",
    ] {
        assert!(done.text().contains(part), "{part}: {}", done.text());
    }
    let done = sluice_says(&sluice, &["access", "explain", "--user", ADA, "--connection", "nowhere"]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("no connection `nowhere`; known are db"), "{}", done.stderr);
    sluice.stop().await;
}
