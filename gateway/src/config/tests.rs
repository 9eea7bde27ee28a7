//! Tests of reading the configuration.

use super::*;
use crate::identity::KindMapping;

mod access;

const GOOD: &str = r#"
listen = "127.0.0.1:0"
store = "log/evidence"

[rules]
files = ["rules/"]

[[issuer]]
url = "https://login.example.com"
audience = "sluice"
groups_claim = "realm_access.roles"
algorithms = ["ES256"]
clock_skew = "10s"

[connection.crm]
url = "https://crm.example.com/mcp"
headers = { Authorization = "Bearer ${CRM_TOKEN}" }
require_purpose = true
groups = ["support"]
idle = "5m"

[connection.files]
command = ["files-mcp", "--root", "/srv"]
env = { HOME = "/srv" }

[mask_keys]
customers = "${MASK_KEY}"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "CRM_TOKEN" => Some("s3cret".to_owned()),
        "MASK_KEY" => Some("00".repeat(32)),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse("sluice.toml", text, std::path::Path::new("/etc/sluice"), &environment)
}

fn messages(text: &str) -> Vec<String> {
    let errors = read(text).expect_err("there is something wrong");
    errors.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_key_of_the_evidence_is_a_file_or_a_variable_and_never_written_out() {
    let with = |line: &str| read(&format!("{line}\n{GOOD}"));
    let file = with("signing_key = \"file:keys/signing.key\"").unwrap();
    assert_eq!(format!("{:?}", file.signing_key()), "File(/etc/sluice/keys/signing.key)");
    let given = with("signing_key = \"${MASK_KEY}\"").unwrap();
    assert_eq!(format!("{:?}", given.signing_key()), "Given(…)");
    assert!(
        with("signing_key = \"PRIVATE+KEY+a+00000000+AQ==\"").unwrap_err().to_string().contains("is not written here")
    );
}

#[test]
fn a_full_configuration_is_read_with_paths_relative_to_it() {
    let config = read(GOOD).unwrap();
    assert_eq!(config.store, PathBuf::from("/etc/sluice/log/evidence"));
    assert_eq!(format!("{:?}", config.signing_key()), "File(/etc/sluice/log/signing.key)");
    assert_eq!(config.rules, [PathBuf::from("/etc/sluice/rules/")]);
    assert_eq!(config.issuers[0].algorithms, [jsonwebtoken::Algorithm::ES256]);
    let crm = &config.connections["crm"];
    assert!(crm.require_purpose && crm.groups == ["support"]);
    let UpstreamConfig::Http { headers, .. } = &crm.upstream else { panic!("crm is reached over HTTP") };
    assert_eq!(headers["Authorization"], "Bearer s3cret");
    assert_eq!(config.mask_keys["customers"].bytes(), [0; 32]);
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let text = format!("{:?}", read(GOOD).unwrap());
    assert!(!text.contains("s3cret") && !text.contains("0, 0, 0"), "{text}");
}

#[test]
fn all_problems_come_at_once_with_their_places_and_the_nearest_key() {
    let broken = GOOD
        .replace("listen =", "lisen =")
        .replace("groups_claim", "group_claim")
        .replace("\"5m\"", "5")
        .replace("require_purpose", "requires_purpose")
        .replace("${CRM_TOKEN}", "${NOT_SET}");
    assert_eq!(
        messages(&broken),
        [
            "sluice.toml:2:1: unknown key `lisen` in the configuration; did you mean `listen`?",
            "sluice.toml:11:1: unknown key `group_claim` in `[[issuer]]`; did you mean `groups_claim`?",
            "sluice.toml:17:29: the environment variable `NOT_SET` is not set",
            "sluice.toml:18:1: unknown key `requires_purpose` in `[connection.crm]`; did you mean `require_purpose`?",
            "sluice.toml:20:8: `idle` is a string, not integer",
        ]
    );
}

#[test]
fn the_meaning_of_claims_is_read_and_wrong_meanings_are_refused() {
    let with = |lines: &str| GOOD.replace("clock_skew = \"10s\"", lines);
    let config = read(&with(
        "roles_claim = [\"roles\", \"/a.b/c\"]\nuser_claim = \"login\"\ngroup_prefix = \"ci:\"\ngroups = [\"ci\"]\n\
         kind = \"service\"\nactors = []\nrequire = { repository_owner = \"acme\", ref = [\"refs/heads/main\", \"refs/tags/*\"] }",
    ))
    .unwrap();
    let claims = &config.issuers[0].claims;
    assert_eq!(claims.kind, KindMapping::Fixed(sluice_dsl::UserKind::Service));
    assert_eq!((claims.roles.len(), claims.require.len()), (2, 2));
    assert_eq!((claims.actors.as_deref(), claims.everybody.as_slice()), (Some(&[][..]), &["ci".to_owned()][..]));
    for (lines, says) in [
        ("kind = \"robot\"", "`kind` is \"person\" or \"service\""),
        ("kind = \"service\"\nkind_claim = \"k\"\nservice_kinds = [\"bot\"]", "not both"),
        ("kind_claim = \"k\"", "needs `service_kinds`"),
        ("service_kinds = [\"bot\"]", "needs `kind_claim`"),
        ("user_claim = \"\"", "`user_claim` is the name of a claim"),
        ("roles_claim = [\"/a//b\"]", "`roles_claim` is the name of a claim"),
        ("roles_claim = 1", "`roles_claim` is a list of strings"),
        ("group_prefix = \"\"", "leave it out for none"),
        ("require = { ref = [] }", "needs the values that are accepted"),
        ("require = { ref = \"*\" }", "needs the values that are accepted"),
        ("require = \"ref\"", "`require` is a table"),
        ("actors = \"agent\"", "`actors` is a list of strings"),
        ("role_claim = \"roles\"", "did you mean `roles_claim`?"),
    ] {
        assert!(
            messages(&with(lines)).iter().any(|message| message.contains(says)),
            "{lines}: {:?}",
            messages(&with(lines))
        );
    }
}

#[test]
fn a_deny_list_is_read_when_the_configuration_is() {
    let place = tempfile::tempdir().unwrap();
    let with = |tables: &str| parse("sluice.toml", &format!("{GOOD}\n{tables}"), place.path(), &environment);
    std::fs::write(place.path().join("good.txt"), "sub * ada\n").unwrap();
    std::fs::write(place.path().join("bad.txt"), "ada\n").unwrap();
    let config = with("[revocation]\ndeny_list = \"good.txt\"").unwrap();
    assert_eq!(config.deny_list, Some(place.path().join("good.txt")));
    for (tables, says) in [
        ("[revocation]\ndeny_list = \"bad.txt\"", "line 1"),
        ("[revocation]\ndeny_list = \"none.txt\"", "`none.txt`"),
        ("[revocation]\n", "needs `deny_list`"),
        ("[revocation]\ndeny_lists = \"good.txt\"", "did you mean `deny_list`?"),
        ("[revocation]\ndeny_list = 1", "`deny_list` is a string"),
    ] {
        let errors = with(tables).expect_err(tables).to_string();
        assert!(errors.contains(says), "{tables}: {errors}");
    }
    for (lines, says) in
        [("keys_max_age = \"48h\"", "\"1m\" to \"24h\""), ("keys_max_age = \"1s\"", "\"1m\" to \"24h\"")]
    {
        let broken = messages(&GOOD.replace("clock_skew = \"10s\"", lines));
        assert!(broken.iter().any(|message| message.contains(says)), "{broken:?}");
    }
    let broken = messages(&GOOD.replace("idle = \"5m\"", "lifetime = \"0s\""));
    assert!(broken.iter().any(|message| message.contains("`lifetime` is at least")), "{broken:?}");
}

#[test]
fn what_would_weaken_the_gateway_is_refused() {
    for (from, to, says) in [
        ("\"ES256\"", "\"HS256\"", "not an accepted algorithm"),
        ("\"ES256\"", "\"none\"", "not an accepted algorithm"),
        ("[\"ES256\"]", "[]", "allows nothing"),
        ("audience =", "clients = []\naudience =", "allows nobody"),
        ("https://login.example.com", "http://login.example.com", "has to be https"),
        ("[\"rules/\"]", "[]", "names no rules"),
        ("\"10s\"", "\"1h\"", "at most"),
        ("${MASK_KEY}", "hunter2", "a key is not written here"),
        ("${MASK_KEY}", "${CRM_TOKEN}", "not 32 bytes"),
        ("connection.files", "connection.'a/b'", "a connection's name"),
        ("url = \"https://crm", "command = [\"x\"]\nurl = \"https://crm", "not several"),
        ("[\"files-mcp\", \"--root\", \"/srv\"]", "[]", "the program and its arguments"),
    ] {
        let found = messages(&GOOD.replace(from, to)).join("\n");
        assert!(found.contains(says), "{to}: {found}");
        assert!(!found.contains("s3cret") && !found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_file_of_authorities_that_gives_none_is_a_problem_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, says) in [
        (folder.path().join("none.pem").display().to_string(), "can't be read"),
        (file("empty.pem", ""), "has no certificate"),
        (file("key.pem", key), "has no certificate"),
        (file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "is not PEM"),
        (file("odd.pem", no_certificate), "can't be used"),
        ("/dev/zero".to_owned(), "too long"),
    ] {
        for place in ["https://login.example.com\"", "https://crm.example.com/mcp\""] {
            let found = messages(&GOOD.replace(place, &format!("{place}\nca_file = {path:?}")));
            assert!(found.len() == 1 && found[0].contains(says) && found[0].contains(&path), "{path}: {found:?}");
        }
    }
    let plain = GOOD.replace("https://crm.example.com/mcp\"", "http://crm.example.com/mcp\"\nca_file = \"ca.pem\"");
    assert!(messages(&plain)[0].contains("https"), "{:?}", messages(&plain));
}

#[test]
fn an_empty_file_and_broken_syntax_are_problems_too() {
    assert_eq!(messages("").len(), 3, "rules, issuer and connection are missing");
    assert!(messages("listen = \n[rules").iter().any(|message| message.starts_with("sluice.toml:1:")));
}

#[test]
fn a_file_without_end_is_no_secret() {
    let broken = GOOD.replace("${MASK_KEY}", "file:/dev/zero");
    assert!(messages(&broken).join("\n").contains("too long for a secret"));
}

#[test]
fn a_listener_for_agents_needs_a_certificate_but_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let certificate = file("c.pem", &made.cert.pem(), 0o644);
    let key = file("k.pem", &made.signing_key.serialize_pem(), 0o600);
    let open = file("open.pem", &made.signing_key.serialize_pem(), 0o644);
    let foreign = file("foreign.pem", &other.signing_key.serialize_pem(), 0o600);
    let with = |lines: &str| format!("{GOOD}\n[tunnel]\n{lines}");
    let pair = |key: &str| format!("listen = \"0.0.0.0:7701\"\ncertificate = {certificate:?}\nkey = {key:?}\n");

    let local = read(&with("listen = \"127.0.0.1:0\"\nstreams = 8")).unwrap().tunnel.unwrap();
    assert!(local.identity.is_none() && local.limits.streams == 8 && local.limits.bytes_per_second.is_none());
    assert!(read(&with(&pair(&key))).unwrap().tunnel.unwrap().identity.is_some());
    assert!(read(GOOD).unwrap().tunnel.is_none());
    for (lines, says) in [
        ("listen = \"0.0.0.0:7701\"".to_owned(), "`certificate` is missing"),
        (pair(&open), "others can read it"),
        (pair(&foreign), "can't be used"),
        (pair("/nowhere/key.pem"), "can't be read"),
        ("listen = \"somewhere\"".to_owned(), "an address and a port"),
        ("streams = 0".to_owned(), "a number from 1 to 1024"),
        ("streams = 1025".to_owned(), "a number from 1 to 1024"),
        ("streams = \"8\"".to_owned(), "`streams` is a number, not string"),
        ("bytes_per_second = 5".to_owned(), "is at least 16384"),
        ("stream = 5".to_owned(), "did you mean `streams`?"),
    ] {
        let found = messages(&with(&lines)).join("\n");
        assert!(found.contains(says), "{lines}: {found}");
        assert!(!found.contains("BEGIN"), "{found}");
    }
}

#[test]
fn a_target_of_bytes_is_a_host_and_a_port_and_nothing_else() {
    let with = |lines: &str| format!("{GOOD}\n[connection.bytes]\n{lines}\n");
    for target in ["ledger.internal:6379", "10.0.0.1:1", "[::1]:6379"] {
        let config = read(&with(&format!("tcp = {target:?}"))).unwrap();
        assert!(matches!(&config.connections["bytes"].upstream, UpstreamConfig::Tcp { address } if address == target));
    }
    for target in ["ledger", "ledger:0", "ledger:70000", ":6379", "::1:6379", "a b:1", "http://ledger:1", ""] {
        let found = messages(&with(&format!("tcp = {target:?}"))).join("\n");
        assert!(found.contains("`tcp` is a name or an address and a port"), "{target}: {found}");
    }
    let both = messages(&with("tcp = \"ledger:1\"\nurl = \"https://ledger.example/mcp\"")).join("\n");
    assert!(both.contains("one of `command` (stdio), `url` (HTTP), `postgres`, `tcp` and `agents` (bytes)"), "{both}");
}

#[test]
fn what_goes_with_one_kind_of_connection_is_refused_by_the_others() {
    for (kind, key) in [
        ("tcp = \"ledger:1\"", "certificate"),
        ("agents = [\"a\"]", "certificate"),
        ("agents = [\"a\"]", "cwd"),
        ("url = \"https://ledger.example/mcp\"", "user"),
        ("command = [\"true\"]", "headers"),
        ("postgres = \"db:5432/crm\"", "env"),
    ] {
        let found = messages(&format!("{GOOD}\n[connection.ledger]\n{kind}\n{key} = \"x\"\n")).join("\n");
        let name = kind.split(' ').next().unwrap();
        assert!(found.contains(&format!("`{key}` does not go with `{name}`")), "{kind}: {found}");
    }
}

#[test]
fn a_listener_stands_for_an_identity_and_says_whom_it_lets_in() {
    let with = |lines: &str| {
        let target = "\n[connection.ledger]\ntcp = \"ledger.internal:6379\"\n";
        format!("{GOOD}{target}\n[[listener]]\nconnection = \"ledger\"\nuser = \"nightly\"\n{lines}\n")
    };
    let listeners = read(&with("listen = \"127.0.0.1:6379\"\ngroups = [\"b\", \"a\"]")).unwrap().listeners;
    let [listener] = &listeners[..] else { panic!("{listeners:?}") };
    assert_eq!(listener.groups, ["a", "b"]);
    assert_eq!(listener.from.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "::1/128"]);
    let listeners =
        read(&with("listen = \"0.0.0.0:6379\"\nfrom = [\"10.1.0.0/16\", \"2001:db8::7\"]")).unwrap().listeners;
    assert_eq!(
        listeners[0].from.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.1.0.0/16", "2001:db8::7/128"]
    );
    for (lines, message) in [
        ("listen = \"0.0.0.0:6379\"", "`from` says which networks may connect"),
        ("listen = \"127.0.0.1:1\"\nfrom = [\"10.1\"]", "`10.1` is no network"),
        ("listen = \"127.0.0.1:1\"\nfrom = []", "`from` names no network"),
        ("listen = \"6379\"", "`listen` is an address and a port"),
        ("listen = \"127.0.0.1:1\"\npurpose_ = \"x\"", "did you mean `purpose`?"),
    ] {
        let found = messages(&with(lines));
        assert!(found.iter().any(|found| found.contains(message)), "{lines}: {found:?}");
    }
    let of_mcp = with("listen = \"127.0.0.1:1\"").replace("connection = \"ledger\"", "connection = \"crm\"");
    assert!(messages(&of_mcp)[0].contains("`crm` is no connection of bytes"), "{:?}", messages(&of_mcp));
}

#[test]
fn a_webhook_is_read_strictly_and_shows_no_secret() {
    let base = "[rules]\nfiles = [\"a\"]\n[[issuer]]\nurl = \"https://i.example\"\n[connection.a]\ntcp = \"h:1\"\n";
    let environment = |name: &str| (name == "HOOK").then(|| "https://hooks.example/T0/very-secret".to_owned());
    let parsed = |lines: &str| parse("a.toml", &format!("{base}{lines}"), std::path::Path::new(""), &environment);
    let good =
        parsed("[[webhook]]\nurl = \"${HOOK}\"\nformat = \"slack\"\ngroups = [\"dba\"]\napprover = \"g@x.example\"\n");
    let good = good.unwrap();
    assert_eq!(good.webhooks[0].url.path(), "/T0/very-secret");
    assert!(!format!("{:?}", good.webhooks).contains("very-secret"));
    for (lines, told) in [
        ("[[webhook]]\nurl = \"${HOOK}\"\n", "needs `secret`"),
        ("[[webhook]]\nurl = \"http://far.example/\"\nformat = \"slack\"\n", "https"),
        ("[[webhook]]\nformat = \"slack\"\n", "needs `url`"),
        ("[[webhook]]\nurl = \"${HOOK}\"\nsecret = \"plain text of a secret that is long\"\n", "not written here"),
        ("[[webhook]]\nurl = \"${HOOK}\"\nformat = \"mail\"\n", "\"generic\", \"slack\" or \"teams\""),
        ("[[webhook]]\nurl = \"${HOOK}\"\nformat = \"slack\"\napprover = \"g\"\n", "needs `groups`"),
        ("[[webhook]]\nurl = \"${HOOK}\"\nformat = \"slack\"\ngroup = [\"a\"]\n", "`groups`"),
        ("[webhook]\nurl = \"${HOOK}\"\n", "[[webhook]]"),
    ] {
        let errors = parsed(lines).unwrap_err().to_string();
        assert!(errors.contains(told) && !errors.contains("very-secret"), "{lines}: {errors}");
    }
}

#[test]
fn an_export_is_read_strictly_and_shows_no_secret() {
    let base = "[rules]\nfiles = [\"a\"]\n[[issuer]]\nurl = \"https://i.example\"\n[connection.a]\ntcp = \"h:1\"\n";
    let environment = |name: &str| (name == "TOKEN").then(|| "very-secret".to_owned());
    let parsed =
        |lines: &str| parse("a.toml", &format!("{base}{lines}"), std::path::Path::new("/etc/sluice"), &environment);
    let all = "[[export]]\nname = \"lake\"\nto = \"file\"\npath = \"events.jsonl\"\nfrom = \"now\"\n\
         [[export]]\nname = \"siem\"\nto = \"splunk\"\nurl = \"https://s.example/services/collector/event\"\ntoken = \"${TOKEN}\"\n\
         [[export]]\nname = \"logs\"\nto = \"syslog\"\nurl = \"tls://[2001:db8::1]\"\nhostname = \"gw1\"\n";
    let good = parsed(all).unwrap().exports;
    assert!(
        matches!(&good[0], ExportConfig { to: ExportTo::File(path), from_now: true, commands: false, .. } if path.ends_with("events.jsonl"))
    );
    assert!(matches!(&good[1].to, ExportTo::Http(to) if to.authorization.as_deref() == Some("Splunk very-secret")));
    assert!(
        matches!(&good[2].to, ExportTo::Syslog(to) if (to.host.as_str(), to.port, to.tls.is_some()) == ("2001:db8::1", 6514, true))
    );
    assert!(!format!("{good:?}").contains("very-secret"));
    let named = |lines: &str| format!("[[export]]\nname = \"n\"\n{lines}\n");
    for (lines, told) in [
        (named(""), "needs `to`, one of \"file\", \"otlp\""),
        (named("to = \"kafka\""), "`to` is one of"),
        ("[[export]]\nto = \"file\"\npath = \"-\"\n".to_owned(), "needs `name`"),
        ("[[export]]\nname = \"../up\"\nto = \"file\"\npath = \"-\"\n".to_owned(), "64 letters"),
        (named("to = \"file\""), "needs `path`"),
        (named("to = \"file\"\npath = \"\""), "needs `path`"),
        (
            named("to = \"file\"\npath = \"-\"\nurl = \"https://x.example\""),
            "`url` doesn't go with an export to \"file\"",
        ),
        (named("to = \"file\"\npath = \"-\"\nfrom = \"then\""), "\"now\""),
        (named("to = \"otlp\"\nurl = \"http://far.example/v1/logs\""), "https"),
        (named("to = \"otlp\"\nurl = \"https://x.example\"\ntoken = \"in plain sight\""), "not written here"),
        (named("to = \"splunk\"\nurl = \"https://x.example\""), "needs `token`"),
        (named("to = \"webhook\"\nurl = \"https://x.example\""), "needs `secret`"),
        (named("to = \"elastic\"\nurls = \"https://x.example\""), "`url`"),
        (named("to = \"syslog\"\nurl = \"tcp://far.example\""), "loopback"),
        (named("to = \"syslog\"\nurl = \"udp://far.example\""), "tls://"),
        (named("to = \"syslog\"\nurl = \"tls://far.example\"\ncertificate = \"a.pem\""), "needs `key`"),
        (named("to = \"syslog\"\nurl = \"tls://far.example\"\nca_file = \"nowhere.pem\""), "nowhere.pem"),
        (named("to = \"file\"\npath = \"-\"") + &named("to = \"file\"\npath = \"-\""), "the name of another export"),
        ("[export]\nname = \"n\"\n".to_owned(), "[[export]]"),
    ] {
        let errors = parsed(&lines).unwrap_err().to_string();
        assert!(errors.contains(told) && !errors.contains("very-secret"), "{lines}: {errors}");
    }
}

#[test]
fn certificates_of_clients_need_who_vouches_and_whom_they_stand_for() {
    let base = "[rules]\nfiles = [\"a\"]\n[[issuer]]\nurl = \"https://i.example\"\n[connection.a]\ntcp = \"h:1\"\n";
    // Where the keys of a listener stand, and what its list of clients is called.
    let listeners = [
        ("", "client"),
        ("[postgres]\nlisten = \"127.0.0.1:0\"\nplaintext = true\n", "postgres.client"),
        ("[tunnel]\n", "tunnel.client"),
    ];
    for (table, list) in listeners {
        let needs_clients = format!("needs `[[{list}]]`");
        for (lines, clients, told) in [
            ("client_ca_file = \"nowhere.pem\"\n", "name = \"a\"\n", "`client_ca_file`: `nowhere.pem` can't be read"),
            ("client_ca_file = \"nowhere.pem\"\n", "name = \"a\"\n", "clients show certificates over TLS alone"),
            ("", "name = \"a\"\n", "needs `client_ca_file`: who vouches"),
            ("client_ca_file = \"nowhere.pem\"\n", "name = \"*\"\n", "has a `name`"),
            ("client_ca_file = \"nowhere.pem\"\n", "names = \"a\"\n", "did you mean `name`?"),
            (
                "client_ca_file = \"nowhere.pem\"\n",
                "name = \"a\"\nkind = \"robot\"\n",
                "`kind` is \"service\" or \"person\"",
            ),
            ("client_crl_file = \"nowhere.crl\"\n", "", "`client_crl_file` needs `client_ca_file`"),
            (
                "client_ca_file = \"nowhere.pem\"\nclient_crl_file = \"nowhere.crl\"\n",
                "",
                "`nowhere.crl` can't be read",
            ),
            ("client = \"a\"\n", "", "is a list of tables"),
            ("client_ca_file = \"nowhere.pem\"\n", "", needs_clients.as_str()),
        ] {
            // Agents speak TLS in any case.
            if list == "tunnel.client" && told.ends_with("over TLS alone") {
                continue;
            }
            let clients = if clients.is_empty() { String::new() } else { format!("[[{list}]]\n{clients}") };
            let text = if table.is_empty() {
                format!("{lines}{base}{clients}")
            } else {
                format!("{base}{table}{lines}{clients}")
            };
            let parsed = parse("a.toml", &text, std::path::Path::new("/nowhere"), &|_| None);
            let errors = parsed.unwrap_err().to_string();
            assert!(errors.contains(told), "{text}: {errors}");
        }
    }
}

#[test]
fn a_listener_believes_certificates_of_clients_but_for_those_that_its_list_takes_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    file("server.pem", &made.cert.pem());
    file("server.key", &made.signing_key.serialize_pem());
    file("empty.crl", "");
    let lines = "certificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca_file = \"server.pem\"\n";
    let client = "[[client]]\nname = \"ada@example.org\"\ngroups = [\"b\", \"a\", \"b\"]\nkind = \"person\"\n";
    let read = |more: &str| {
        let text = format!("{lines}{more}{GOOD}{client}");
        parse("a.toml", &text, folder.path(), &environment)
    };
    let config = read("").unwrap();
    assert_eq!(config.scheme(), "https");
    let certificates = config.certificates.unwrap();
    let expected = CertifiedClient {
        name: "ada@example.org".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
        kind: crate::identity::UserKind::Person,
    };
    assert_eq!((certificates.clients, certificates.revoked), (vec![expected], None));
    let errors = read("client_crl_file = \"empty.crl\"\n").unwrap_err().to_string();
    assert!(errors.contains("`client_crl_file`: `empty.crl` has no list"), "{errors}");
}
