//! The gateway loads a bundle, and where keys are trusted nothing but one that is signed by them.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sluice_dsl::bundle::Bundle;
use sluice_dsl::{CompileOptions, compile_source};
use sluice_gateway::config::{Config, parse};
use sluice_gateway::serve::compile;
use std::path::Path;

const RULES: &str =
    "language 1\npattern id = /\\bEMP-[0-9]{4}\\b/\nrule mask { on response match id then mask redact }\n";

fn config(folder: &Path, rules: &str) -> Config {
    let text = format!(
        "[rules]\n{rules}\n[[issuer]]\nurl = \"https://login.example.org\"\naudience = \"sluice\"\n\
         [connection.crm]\nurl = \"https://crm.example.org/mcp\"\n"
    );
    parse("sluice.toml", &text, folder, &|_| None).expect("a good configuration")
}

fn pem(tag: &str, der: &[u8]) -> String {
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", data_encoding::BASE64.encode(der))
}

#[test]
fn a_bundle_is_loaded_and_its_signature_checked_where_keys_are_trusted() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).expect("the key");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    std::fs::write(at("ours.key"), pem("PRIVATE KEY", secret.as_ref())).expect("written");
    std::fs::write(at("ours.pub"), pem("PUBLIC KEY", public.as_ref())).expect("written");

    let compiled = compile_source("staff.rules", RULES, &CompileOptions::for_tests());
    let mut bundle = Bundle::of(&compiled).expect("no errors");
    std::fs::write(at("plain.bundle"), bundle.text()).expect("written");
    bundle.sign(&at("ours.key")).expect("signed");
    std::fs::write(at("signed.bundle"), bundle.text()).expect("written");

    let digest = compiled.policy.expect("no errors").digest().to_owned();
    for rules in [
        "files = [\"plain.bundle\"]",
        "files = [\"signed.bundle\"]",
        "files = [\"signed.bundle\"]\ntrusted_keys = [\"ours.pub\"]",
    ] {
        let policy = compile(&config(folder.path(), rules)).unwrap_or_else(|error| panic!("{rules}: {error}"));
        assert_eq!(policy.digest(), digest, "{rules}");
    }
    let refused = compile(&config(folder.path(), "files = [\"plain.bundle\"]\ntrusted_keys = [\"ours.pub\"]"));
    let refused = refused.expect_err("it isn't signed").to_string();
    assert!(refused.contains("plain.bundle: it isn't signed"), "{refused}");

    let changed = bundle.text().replace("{4}", "{5}");
    std::fs::write(at("signed.bundle"), changed).expect("written");
    let refused =
        compile(&config(folder.path(), "files = [\"signed.bundle\"]")).expect_err("it was changed").to_string();
    assert!(refused.contains("somebody changed it"), "{refused}");
}
