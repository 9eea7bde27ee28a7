//! `rules.lock` and bundles from outside: what is pinned stays what it was, and what is changed is refused with what and where.

mod common;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use common::{code, file, run, text};
use pem::Pem;
use serde_json::Value;
use sluice_dsl::CompileOptions;
use sluice_dsl::bundle::{Bundle, BundleError, deploy};
use std::path::PathBuf;
use tempfile::TempDir;

const RULES: &str = r#"language 1
pack acme.crm "1.0.0"
import std.pii "1"
import acme.ids "2"
import "./lists.rules" as lists
rule mask_mail {
  meta { gdpr ["Art. 25"] }
  on response
  when target in lists.hosts
  match std.pii.email, acme.ids.staff
  then mask redact(with: "[x]")
}
test "mail is masked" {
  given response { protocol mcp target "crm" }
  send "ann@example.org EMP-0001"
  expect mask "[x] [x]" by mask_mail
}
"#;
const LISTS: &str = "language 1\nlist hosts = [\"crm\"]\n";
const IDS: &str = "language 1\npack acme.ids \"2.1.0\"\npattern staff = /\\bEMP-[0-9]{4}\\b/\n";

/// A folder of rules, a list that they import, and a pack of their own that is pinned.
fn folder() -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for folder in ["rules", "packs"] {
        std::fs::create_dir(directory.path().join(folder)).expect("folder");
    }
    file(&directory, "rules/crm.rules", RULES);
    file(&directory, "rules/lists.rules", LISTS);
    let ids = file(&directory, "packs/ids.rules", IDS);
    let (root, rules) = (at(&directory, ""), at(&directory, "rules"));
    let added = run(&["pack", "add", &ids, "--to", &root], b"");
    assert_eq!(code(&added), 0, "{}", text(&added.stderr));
    let locked = run(&["pack", "lock", &rules], b"");
    assert_eq!(code(&locked), 0, "{}", text(&locked.stderr));
    directory
}

fn at(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn build(directory: &TempDir, more: &[&str]) -> String {
    let out = at(directory, "crm.bundle");
    let output = run(&[&["build", &at(directory, "rules"), "--out", &out], more].concat(), b"");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    out
}

/// A pair of keys as files: private, public.
fn keys(directory: &TempDir, name: &str) -> (String, String) {
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).expect("the key");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    let pem = |tag: &str, der: &[u8]| pem::encode(&Pem::new(tag, der));
    (
        file(directory, &format!("{name}.key"), &pem("PRIVATE KEY", secret.as_ref())),
        file(directory, &format!("{name}.pub"), &pem("PUBLIC KEY", public.as_ref())),
    )
}

#[test]
fn a_lock_pins_what_is_imported_with_version_digest_and_place() {
    let directory = folder();
    let lock = std::fs::read_to_string(at(&directory, "rules.lock")).expect("written");
    for part in
        ["[pack.\"acme.ids\"]", "version = \"2.1.0\"", "file = \"packs/ids.rules\"", "[pack.\"std.pii\"]", "sha256:"]
    {
        assert!(lock.contains(part), "{part} is missing of\n{lock}");
    }
    assert!(!lock.contains("std.secrets"), "what isn't imported isn't pinned:\n{lock}");
    let again = run(&["pack", "lock", &at(&directory, "rules")], b"");
    assert_eq!(code(&again), 0);
    assert_eq!(std::fs::read_to_string(at(&directory, "rules.lock")).expect("written"), lock);
    let verified = run(&["pack", "verify", &at(&directory, "rules")], b"");
    assert_eq!(
        (code(&verified), text(&verified.stdout)),
        (0, "ok      acme.ids 2.1.0\nok      std.pii 1.0.0\n".into())
    );
    assert_eq!(code(&run(&["test", &at(&directory, "rules")], b"")), 0);
}

#[test]
fn a_pack_that_changed_is_an_error_that_says_what_where_and_how() {
    let directory = folder();
    file(&directory, "packs/ids.rules", &IDS.replace("{4}", "{5}"));
    for command in ["check", "test"] {
        let output = run(&[command, &at(&directory, "rules"), "--format", "full"], b"");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_ne!(code(&output), 0);
        let lock = directory.path().canonicalize().expect("a path").join("rules.lock").display().to_string();
        let differs = format!("pack `acme.ids` is not the one that `{lock}` pins");
        for part in [&differs, "crm.rules:4:8", " is pinned, this is sha256:", "rulec pack lock"] {
            assert!(said.contains(part), "{part} is missing of\n{said}");
        }
    }
    let verified = run(&["pack", "verify", &at(&directory, "rules")], b"");
    assert_eq!(code(&verified), 1);
    assert!(text(&verified.stdout).contains("rules.lock: acme.ids: sha256:"), "{}", text(&verified.stdout));
    // Only the ends of its lines differ: nothing that means anything.
    file(&directory, "packs/ids.rules", &IDS.replace('\n', "\r\n"));
    assert_eq!(code(&run(&["check", &at(&directory, "rules")], b"")), 0);
}

#[test]
fn a_pack_that_is_not_pinned_can_not_be_imported_beside_a_lock() {
    let directory = folder();
    file(&directory, "rules/crm.rules", &RULES.replace("import std.pii", "import std.secrets \"1\"\nimport std.pii"));
    let output = run(&["check", &at(&directory, "rules")], b"");
    assert_eq!(code(&output), 1);
    assert!(text(&output.stdout).contains("pack `std.secrets` is not pinned in"), "{}", text(&output.stdout));
    assert_eq!(code(&run(&["pack", "lock", &at(&directory, "rules")], b"")), 0);
    assert_eq!(code(&run(&["check", &at(&directory, "rules")], b"")), 0);
}

#[test]
fn a_lock_that_can_not_be_read_is_no_reason_to_go_on() {
    let directory = folder();
    let lock = std::fs::read_to_string(at(&directory, "rules.lock")).expect("written");
    for bad in ["nonsense".to_owned(), lock.replace("version = 1\n", "version = 2\n"), lock.replace("digest", "digst")]
    {
        file(&directory, "rules.lock", &bad);
        let output = run(&["check", &at(&directory, "rules")], b"");
        assert_eq!((code(&output), output.stdout.len()), (2, 0));
        assert!(text(&output.stderr).contains("rules.lock: it"), "{}", text(&output.stderr));
    }
    file(&directory, "rules.lock", &lock);
    std::fs::remove_file(at(&directory, "packs/ids.rules")).expect("removed");
    let output = run(&["check", &at(&directory, "rules")], b"");
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("pack `acme.ids` can't be read from `packs/ids.rules`"));
}

#[test]
fn a_bundle_holds_all_that_it_needs_and_decides_the_same() {
    let directory = folder();
    let bundle = build(&directory, &[]);
    let once = std::fs::read(&bundle).expect("written");
    build(&directory, &[]);
    assert_eq!(std::fs::read(&bundle).expect("written"), once, "the same rules give the same bytes");
    let options = CompileOptions::for_tests();
    let rules = [directory.path().join("rules")];
    let before = deploy(&rules, &[], &options).expect("rules").policy.expect("no errors");
    // Nothing of it is left but the bundle.
    let elsewhere = tempfile::tempdir().expect("directory");
    let moved = elsewhere.path().join("moved.bundle");
    std::fs::copy(&bundle, &moved).expect("copied");
    drop(directory);
    let after = deploy(std::slice::from_ref(&moved), &[], &options).expect("a bundle").policy.expect("no errors");
    assert_eq!(after.digest(), before.digest());
    assert!(after.same_as(&before));
    let tested = run(&["test", &moved.display().to_string()], b"");
    assert_eq!((code(&tested), text(&tested.stdout)), (0, "ok      mail is masked\n1 passed, 0 failed\n".into()));
    let args = ["scan", "--rules", &moved.display().to_string(), "--target", "crm", "-"];
    assert_eq!(text(&run(&args, b"to ann@example.org").stdout), "to [x]");
}

#[test]
fn a_bundle_that_was_changed_is_refused() {
    let directory = folder();
    let path = PathBuf::from(build(&directory, &[]));
    let whole = std::fs::read_to_string(&path).expect("written");
    let changes: [(&str, &str); 5] = [
        ("[x]", "[y]"),
        ("EMP-[0-9]{4}", "EMP-[0-9]{5}"),
        ("\"given\": true", "\"given\": false"),
        ("rules/crm.rules", "rules/other.rules"),
        ("\"version\": \"2.1.0\"", "\"version\": \"2.1.1\""),
    ];
    let mut tried = 0;
    for (from, to) in changes {
        let changed = whole.replacen(from, to, 1);
        // The paths are from the folder that holds all files, which may be `rules` itself.
        if changed == whole {
            continue;
        }
        tried += 1;
        std::fs::write(&path, changed).expect("written");
        assert!(matches!(Bundle::read(&path), Err(BundleError::Tampered { .. })), "{from}");
        let verified = run(&["pack", "verify", &path.display().to_string()], b"");
        assert_eq!(code(&verified), 1, "{from}");
        assert!(text(&verified.stdout).contains("somebody changed it"), "{}", text(&verified.stdout));
        assert_eq!(code(&run(&["test", &path.display().to_string()], b"")), 2);
    }
    assert!(tried >= 4);
    let newer = whole.replacen("sluice-rules/1", "sluice-rules/2", 1);
    for bad in ["{}", "", "[[[[", &newer, &whole.replacen("\"files\"", "\"more\": 1,\n  \"files\"", 1)] {
        std::fs::write(&path, bad).expect("written");
        assert!(matches!(Bundle::read(&path), Err(BundleError::Unreadable { .. })), "{bad:.40}");
    }
}

#[test]
fn a_bundle_imports_nothing_that_it_does_not_hold() {
    let directory = folder();
    let path = PathBuf::from(build(&directory, &[]));
    let mut bundle: Value = serde_json::from_slice(&std::fs::read(&path).expect("written")).expect("JSON");
    let compile = |bundle: &Value| {
        let bundle: Bundle = serde_json::from_value(bundle.clone()).expect("a bundle");
        bundle.compile(&CompileOptions::for_tests()).render(false)
    };
    assert_eq!(compile(&bundle), "");
    let packs = bundle["packs"].take();
    bundle["packs"] = Value::Array(Vec::new());
    assert!(compile(&bundle).contains("there is no pack `std.pii`"));
    bundle["packs"] = packs;
    let files = bundle["files"].as_array_mut().expect("a list");
    files.retain(|file| !file["path"].as_str().expect("a path").ends_with("lists.rules"));
    assert!(compile(&bundle).contains("the bundle doesn't hold it"), "{}", compile(&bundle));
}

#[test]
fn a_signature_holds_under_its_own_key_alone() {
    let directory = folder();
    let ((secret, public), (_, other)) = (keys(&directory, "ours"), keys(&directory, "theirs"));
    let (public, other) = (PathBuf::from(public), PathBuf::from(other));
    let path = PathBuf::from(build(&directory, &["--sign", &secret]));
    let options = CompileOptions::for_tests();
    let deployed =
        |trusted: &[PathBuf]| deploy(std::slice::from_ref(&path), trusted, &options).map(|found| found.has_errors());
    assert_eq!(deployed(std::slice::from_ref(&public)).ok(), Some(false));
    assert_eq!(deployed(&[other.clone(), public.clone()]).ok(), Some(false));
    assert!(matches!(deployed(std::slice::from_ref(&other)), Err(BundleError::Untrusted { .. })));
    let shown = [path.display().to_string(), public.display().to_string(), other.display().to_string()];
    assert_eq!(code(&run(&["pack", "verify", &shown[0], "--key", &shown[1]], b"")), 0);
    assert_eq!(code(&run(&["pack", "verify", &shown[0], "--key", &shown[2]], b"")), 1);
    // The signature of one bundle is none of another.
    let signed: Value = serde_json::from_slice(&std::fs::read(&path).expect("written")).expect("JSON");
    file(&directory, "rules/lists.rules", &LISTS.replace("crm", "erp"));
    build(&directory, &[]);
    let mut changed: Value = serde_json::from_slice(&std::fs::read(&path).expect("written")).expect("JSON");
    assert!(matches!(deployed(std::slice::from_ref(&public)), Err(BundleError::Untrusted { .. })), "it isn't signed");
    changed["signature"] = signed["signature"].clone();
    std::fs::write(&path, changed.to_string()).expect("written");
    assert!(Bundle::read(&path).is_ok());
    assert!(matches!(deployed(&[public]), Err(BundleError::Untrusted { .. })), "the signature is of another");
}

#[test]
fn where_keys_are_trusted_nothing_but_a_signed_bundle_is_deployed() {
    let directory = folder();
    let (secret, public) = keys(&directory, "ours");
    let options = CompileOptions::for_tests();
    let trusted = [PathBuf::from(&public)];
    let rules = directory.path().join("rules");
    assert!(matches!(deploy(std::slice::from_ref(&rules), &trusted, &options), Err(BundleError::Untrusted { .. })));
    let bundle = PathBuf::from(build(&directory, &["--sign", &secret]));
    assert!(matches!(deploy(&[bundle.clone(), rules], &trusted, &options), Err(BundleError::NotAlone { .. })));
    for no_key in [&secret, &at(&directory, "rules.lock"), &at(&directory, "missing.pub")] {
        assert!(
            matches!(deploy(std::slice::from_ref(&bundle), &[no_key.into()], &options), Err(BundleError::Key { .. })),
            "{no_key}"
        );
    }
    let out = at(&directory, "other.bundle");
    for no_key in [&public, &at(&directory, "rules.lock")] {
        let output = run(&["build", &at(&directory, "rules"), "--out", &out, "--sign", no_key], b"");
        assert_eq!(code(&output), 2);
        assert!(!PathBuf::from(&out).exists(), "what can't be signed isn't written");
    }
}

#[test]
fn rules_with_errors_are_not_built() {
    let directory = folder();
    file(&directory, "rules/lists.rules", "language 1\nlist hosts = [oops]\n");
    let out = at(&directory, "crm.bundle");
    let output = run(&["build", &at(&directory, "rules"), "--out", &out], b"");
    assert_eq!((code(&output), output.stdout.len()), (2, 0));
    assert!(!PathBuf::from(out).exists());
    assert_eq!(code(&run(&["build", &at(&directory, "rules"), "--out", &at(&directory, "crm.json")], b"")), 2);
}
