//! Clients of PostgreSQL that show a certificate in the place of a token.

use sluice_tests::authority::Authority;
use sluice_tests::postgres::{Postgres, free_port, psql};
use sluice_tests::program::Finished;
use sluice_tests::sluice::{Rules, Sluice, Upstream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

use super::scene::RULES;

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file.to_string_lossy().into_owned()
}

/// A gateway before PostgreSQL to which clients may show certificates of an authority.
struct Place {
    authority: Authority,
    folder: TempDir,
    port: u16,
    sluice: Sluice,
    _postgres: Postgres,
}

impl Place {
    /// With these lines in `[postgres]` and these tables; both may name files of the folder.
    async fn start(files: &[(&str, &str)], lines: &str, tables: &str, authority: Authority) -> Self {
        let postgres = Postgres::start(&authority).await;
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        let ca = write(folder.path(), "ca.pem", &authority.pem());
        let (certificate, key) = authority.issue();
        let (certificate, key) =
            (write(folder.path(), "server.pem", &certificate), write(folder.path(), "server.key", &key));
        let port = free_port();
        let place = folder.path().to_str().unwrap();
        let (lines, tables) = (lines.replace("FOLDER", place), tables.replace("FOLDER", place));
        let tables = format!(
            "\n[postgres]\nlisten = \"127.0.0.1:{port}\"\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca_file = {ca:?}\n{lines}\n\
             \n[[postgres.client]]\nname = \"nightly.batch.*\"\ngroups = [\"batch\"]\n\n{tables}"
        );
        let sluice = Sluice::new()
            .rules(Rules::Text(RULES.to_owned()))
            .connection("crm", Upstream::Lines(postgres.lines(Path::new(&ca))))
            .further("crm", "groups = [\"batch\"]")
            .tables(&tables)
            .start()
            .await;
        Self { authority, folder, port, sluice, _postgres: postgres }
    }

    /// What psql is told to show: a certificate of this name.
    fn shows(&self, name: &str, by: &Authority) -> String {
        let (certificate, key) = by.issue_for(name);
        let certificate = write(self.folder.path(), &format!("{name}.pem"), &certificate);
        format!("sslcert={certificate} sslkey={}", write(self.folder.path(), &format!("{name}.key"), &key))
    }

    async fn ask(&self, more: &str, password: &str) -> Finished {
        let target = format!("host=127.0.0.1 port={} dbname=crm user=anybody sslmode=require {more}", self.port);
        psql(&target, password, &["-Atc", "SELECT email FROM customer ORDER BY id LIMIT 1"], "").await
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, more: &str, is_wanted: impl Fn(&Finished) -> bool) -> Finished {
        let mut done = self.ask(more, "").await;
        for _ in 0..50 {
            if is_wanted(&done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            done = self.ask(more, "").await;
        }
        done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_named_client_is_as_good_as_a_token_and_no_other_is() {
    let files = [("denied.txt", "# nobody yet\n")];
    let denied = "[revocation]\ndeny_list = \"FOLDER/denied.txt\"\n";
    let place = Place::start(&files, "", denied, Authority::new()).await;
    let sluice = &place.sluice;
    let known = place.shows("nightly.batch.internal", &place.authority);
    let done = place.ask(&known, "").await;
    assert_eq!(done.text(), "[email]\n", "{} {}", done.stderr, sluice.log());
    let record = sluice.session_records("nightly.batch.internal").await;
    assert_eq!(
        (&record[0]["issuer"], &record[0]["kind"]),
        (&"urn:sluice:client-certificates".into(), &"service".into())
    );
    let fingerprint = record[0]["token_id"].as_str().unwrap();

    // A name that is none of the clients' needs a token, as does nobody's; the token's identity has to be let in.
    let other = place.shows("weekly.report.internal", &place.authority);
    let token = sluice.token("ada@example.org", &["batch"]).await;
    assert!(place.ask(&other, "nonsense").await.stderr.contains("token was not accepted"));
    assert_eq!(place.ask(&other, &token).await.text(), "[email]\n");
    assert_eq!(place.ask("", &token).await.text(), "[email]\n");
    // Strangers who write the right name get nowhere.
    let forged = place.ask(&place.shows("nightly.batch.forged", &Authority::new()), &token).await;
    assert!(forged.code != Some(0) && forged.text().is_empty(), "{}", forged.stderr);

    write(place.folder.path(), "denied.txt", &format!("jti urn:sluice:client-certificates {fingerprint}\n"));
    let refused = place.until(&known, |done| done.stderr.contains("not accepted")).await;
    assert!(refused.stderr.contains("certificate was not accepted"), "{}", refused.stderr);
    place.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_its_authority_has_taken_back_counts_no_longer() {
    let authority = Authority::new();
    let files = [("revoked.crl", authority.revoke(&["nightly.batch.old"], 2999))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let place = Place::start(&files, "client_crl_file = \"FOLDER/revoked.crl\"", "", authority).await;
    let list = |text: &str| drop(write(place.folder.path(), "revoked.crl", text));
    let [old, new] = ["old", "new"].map(|name| place.shows(&format!("nightly.batch.{name}"), &place.authority));
    let token = place.sluice.token("ada@example.org", &["batch"]).await;
    assert_eq!(place.ask(&new, "").await.text(), "[email]\n");
    let refused = place.ask(&old, &token).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("revoked"), "{}", refused.stderr);

    // A newer list counts while the gateway runs.
    list(&place.authority.revoke(&["nightly.batch.new"], 2999));
    assert!(place.until(&new, |done| done.stderr.contains("revoked")).await.stderr.contains("revoked"));
    assert_eq!(place.ask(&old, "").await.text(), "[email]\n");
    // One that has run out, or of another authority, speaks for nobody.
    for stale in [place.authority.revoke(&[], 2026), Authority::new().revoke(&[], 2999)] {
        list(&place.authority.revoke(&[], 2999));
        assert_eq!(place.until(&new, |done| done.code == Some(0)).await.text(), "[email]\n");
        list(&stale);
        assert_ne!(place.until(&new, |done| done.code != Some(0)).await.code, Some(0));
    }
    // Without a list no certificate counts, and tokens do.
    list("nothing");
    let unasked = place.until(&new, |done| done.stderr.contains("no password supplied")).await;
    assert!(unasked.code != Some(0) && unasked.stderr.contains("no password supplied"), "{}", unasked.stderr);
    assert_eq!(place.ask(&new, &token).await.text(), "[email]\n");
    list(&place.authority.revoke(&[], 2999));
    assert_eq!(place.until(&new, |done| done.code == Some(0)).await.text(), "[email]\n");
    place.sluice.stop().await;
}
