//! Clients of PostgreSQL that show a certificate in the place of a token.

use sluice_tests::authority::Authority;
use sluice_tests::postgres::{Postgres, free_port, psql};
use sluice_tests::program::Finished;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::scene::RULES;

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_named_client_is_as_good_as_a_token_and_no_other_is() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let postgres = Postgres::start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = write(folder.path(), "ca.pem", &authority.pem());
    let (certificate, key) = authority.issue();
    let (certificate, key) =
        (write(folder.path(), "server.pem", &certificate), write(folder.path(), "server.key", &key));
    let list = write(folder.path(), "denied.txt", "# nobody yet\n");
    let port = free_port();
    let tables = format!(
        "\n[postgres]\nlisten = \"127.0.0.1:{port}\"\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca_file = {ca:?}\n\
         \n[[postgres.client]]\nname = \"nightly.batch.*\"\ngroups = [\"batch\"]\n\n[revocation]\ndeny_list = {list:?}\n"
    );
    let sluice = Sluice::new()
        .rules(Rules::Text(RULES.to_owned()))
        .connection("crm", Upstream::Lines(postgres.lines(Path::new(&ca))))
        .further("crm", "groups = [\"batch\"]")
        .tables(&tables)
        .start()
        .await;
    let shows = |name: &str, by: &Authority| {
        let (certificate, key) = by.issue_for(name);
        let certificate = write(folder.path(), &format!("{name}.pem"), &certificate);
        format!("sslcert={certificate} sslkey={}", write(folder.path(), &format!("{name}.key"), &key))
    };
    let ask = async |more: &str, password: &str| -> Finished {
        let target = format!("host=127.0.0.1 port={port} dbname=crm user=anybody sslmode=require {more}");
        psql(&target, password, &["-Atc", "SELECT email FROM customer ORDER BY id LIMIT 1"], "").await
    };
    let known = shows("nightly.batch.internal", &authority);
    let done = ask(&known, "").await;
    assert_eq!(done.text(), "[email]\n", "{} {}", done.stderr, sluice.log());
    let record = sluice.session_records("nightly.batch.internal").await;
    assert_eq!(
        (&record[0]["issuer"], &record[0]["kind"]),
        (&"urn:sluice:client-certificates".into(), &"service".into())
    );
    let fingerprint = record[0]["token_id"].as_str().unwrap();

    // A name that is none of the clients' needs a token, as does nobody's; the token's identity has to be let in.
    let other = shows("weekly.report.internal", &authority);
    let token = sluice.token("ada@example.org", &["batch"]).await;
    assert!(ask(&other, "nonsense").await.stderr.contains("token was not accepted"));
    assert_eq!(ask(&other, &token).await.text(), "[email]\n");
    assert_eq!(ask("", &token).await.text(), "[email]\n");
    // Strangers who write the right name get nowhere.
    let forged = ask(&shows("nightly.batch.forged", &strangers), &token).await;
    assert!(forged.code != Some(0) && forged.text().is_empty(), "{}", forged.stderr);

    std::fs::write(&list, format!("jti urn:sluice:client-certificates {fingerprint}\n")).unwrap();
    let mut refused = ask(&known, "").await;
    for _ in 0..50 {
        if refused.code != Some(0) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        refused = ask(&known, "").await;
    }
    assert!(refused.stderr.contains("certificate was not accepted"), "{}", refused.stderr);
    sluice.stop().await;
}
