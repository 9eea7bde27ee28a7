//! Tests of reading who may come in.

use super::*;

#[test]
fn who_may_open_a_connection_is_read_and_what_would_let_in_nobody_or_everybody_is_refused() {
    let with = |lines: &str| {
        GOOD.replace("idle = \"5m\"", "idle = \"5m\"\n\n[[connection.crm.allow]]\nLINES").replace("LINES", lines)
    };
    let config = read(&with(
        "groups = [\"support\"]\nkinds = [\"person\"]\npurposes = [\"ticket-*\"]\ndays = [\"mon\", \"fri\"]\n\
         hours = \"08:00-18:00\"\ntimezone = \"Europe/Berlin\"\nuntil = 2027-01-31\n\n[[connection.crm.allow]]\ngroups = [\"oncall\"]",
    ))
    .unwrap();
    let allow = config.connections["crm"].access.allow.clone().unwrap();
    assert_eq!(
        allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "groups support; kinds person; purposes ticket-*; mon, fri, 08:00-18:00, until 2027-01-31 (Europe/Berlin)",
            "groups oncall; at any time"
        ]
    );
    assert!(config.connections["files"].access.allow.is_none());
    assert!(read(&with("until = \"2027-01-31\"")).is_ok());
    for (lines, says) in [
        ("", "lets everybody in"),
        (
            "group = [\"a\"]",
            "sluice.toml:23:1: unknown key `group` in `[[connection.crm.allow]]`; did you mean `groups`?",
        ),
        ("groups = []", "sluice.toml:23:10: `groups` names nothing"),
        ("kinds = [\"robot\"]", "`kinds` are \"person\" and \"service\""),
        ("purposes = [\" \"]", "a purpose is a text"),
        ("days = [\"monday\"]", "sluice.toml:23:9: `days` are \"mon\""),
        ("hours = \"8-18\"", "`hours`: hours are two times of day"),
        ("hours = \"08:00-08:00\"", "hours that begin when they end are none"),
        ("hours = 8", "`hours` is a string"),
        ("hours = \"08:00-18:00\"\ntimezone = \"Berlin\"", "`Berlin` is no time zone"),
        ("groups = [\"a\"]\ntimezone = \"UTC\"", "`timezone` goes with"),
        ("until = \"31.1.2027\"", "`until` is the last day"),
        ("until = 2027-01-31T10:00:00Z", "`until` is the last day"),
        ("until = 7", "`until` is a date"),
    ] {
        let found = messages(&with(lines));
        assert!(found.iter().any(|message| message.contains(says)), "{lines}: {found:?}");
    }
    for (lines, says) in
        [("allow = []", "`allow` lets nobody in"), ("allow = { groups = [\"a\"] }", "write `[[connection.crm.allow]]`")]
    {
        let found = messages(&GOOD.replace("idle = \"5m\"", lines));
        assert!(found.iter().any(|message| message.contains(says)), "{lines}: {found:?}");
    }
}

#[test]
fn purposes_are_everybodys_or_a_connections_own() {
    let with = |lines: &str| format!("{GOOD}\n{lines}\n");
    let config =
        read(&with("[purposes]\nallowed = [\"audit\"]\n[connection.files.purposes]\npattern = \"[A-Z]+-[0-9]+\""))
            .unwrap();
    let accepted = |name: &str| config.connections[name].access.purposes.as_ref().unwrap().to_string();
    let checked = read(&with("[purposes]\ncheck = \"https://p.example.org\"\ncheck_secret = \"${MASK_KEY}\"")).unwrap();
    assert!(checked.connections["crm"].confirm.is_some() && config.connections["crm"].confirm.is_none());
    assert_eq!((accepted("crm"), accepted("files")), ("`audit`".to_owned(), "what fits /[A-Z]+-[0-9]+/".to_owned()));
    for (lines, says) in [
        ("[purposes]", "`[purposes]` needs `allowed`"),
        ("[purposes]\nallow = [\"a\"]", "did you mean `allowed`?"),
        ("[purposes]\nallowed = []", "`allowed` names nothing"),
        ("[purposes]\npattern = \"(\"", "`pattern`: this is no regular expression"),
        ("[purposes]\ncheck = \"https://p.example.org\"", "`[purposes]` needs `check_secret`"),
        ("[purposes]\ncheck = \"http://p.example.org\"\ncheck_secret = \"${MASK_KEY}\"", "`check` has to be https"),
        ("[purposes]\ncheck = \"https://p.example.org\"\ncheck_secret = \"here\"", "a secret is not written here"),
        ("[purposes]\ncheck = \"https://p.example.org\"\ncheck_secret = \"${CRM_TOKEN}\"", "at least 24 bytes"),
        ("[purposes]\nallowed = [\"a\"]\ncheck_secret = \"${MASK_KEY}\"", "`check_secret` goes with `check`"),
        ("[connection.files.purposes]\npatern = \"a\"", "in `[connection.files.purposes]`; did you mean `pattern`?"),
        (
            "[connection.old]\ntcp = \"127.0.0.1:9\"\n[purposes]\nallowed = [\"audit\"]\n[[listener]]\nlisten = \"127.0.0.1:0\"\n\
             connection = \"old\"\nuser = \"batch\"\npurpose = \"fun\"",
            "this `purpose` is none that the connection accepts: `audit`",
        ),
    ] {
        let found = messages(&with(lines));
        assert!(found.iter().any(|message| message.contains(says)), "{lines}: {found:?}");
    }
}

#[test]
fn roles_of_the_gateway_are_groups_and_roles_of_issuers() {
    let with = |lines: &str| format!("{GOOD}\n{lines}\n");
    let roles = read(&with("[roles]\nadmin = [\"platform\"]\nauditor = [\"dpo\", \"role:audit\"]")).unwrap().roles;
    assert_eq!((roles.admin.len(), roles.approver.len(), roles.auditor.len()), (1, 0, 2));
    for (lines, says) in [
        ("[roles]\nadmins = [\"a\"]", "unknown key `admins` in `[roles]`; did you mean `admin`?"),
        ("[roles]\nadmin = [\"role:\"]", "`admin` names groups"),
        ("[roles]\nadmin = \"a\"", "`admin` is a list of strings"),
        ("[role]\nadmin = [\"a\"]", "did you mean `roles`?"),
    ] {
        let found = messages(&with(lines));
        assert!(found.iter().any(|message| message.contains(says)), "{lines}: {found:?}");
    }
}
