//! What the checker claims about a rule set holds for requests that it never saw: random rules, random requests, the policy
//! itself.

use proptest::prelude::*;
use sluice_dsl::{Code, CompileOptions, HitAction, RequestFacts, SessionFacts, UserKind, compile_source};

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "ab", "abc", "b", "bc"])
}

fn test() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec!["target", "user.id", "session.purpose", "tool.name", "resource.uri"]);
    let glob = prop::sample::select(vec!["a*", "*b", "*", "?", "*c*"]);
    prop_oneof![
        (text.clone(), word()).prop_map(|(field, word)| format!("{field} == \"{word}\"")),
        (text.clone(), word()).prop_map(|(field, word)| format!("not {field} == \"{word}\"")),
        (text, glob).prop_map(|(field, glob)| format!("{field} matches \"{glob}\"")),
        word().prop_map(|word| format!("user.group has \"{word}\"")),
        word().prop_map(|word| format!("not user.group has \"{word}\"")),
        prop::sample::select(vec![
            "user.kind == person",
            "user.kind == service",
            "protocol == mcp",
            "size > 5",
            "size <= 5"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "sql.verb == drop",
            "not sql.verb == drop",
            "sql.has_where",
            "sql.verb in [drop, select]"
        ])
        .prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::collection::vec(test(), 1..3), 1..3).prop_map(|all| {
        let parts =
            all.into_iter().map(|any| if any.len() > 1 { format!("({})", any.join(" or ")) } else { any.join("") });
        parts.collect::<Vec<_>>().join(" and ")
    })
}

fn rules() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec!["block", "block", "approve by [\"x\"]", "alert"]);
    let rule = (condition(), prop::option::of(condition()), action, prop::option::of(condition()));
    prop::collection::vec(rule, 2..5).prop_map(|rules| {
        let mut text = "language 1\n".to_owned();
        for (n, (when, unless, action, except)) in rules.into_iter().enumerate() {
            let unless = unless.map(|unless| format!(" unless {unless}")).unwrap_or_default();
            text += &format!("rule r{n} {{ on request when {when}{unless} then {action} }}\n");
            if let Some(except) = except {
                text += &format!("except r{n} {{ when {except} until 2027-01-01 reason \"r\" approved_by \"a\" }}\n");
            }
        }
        text
    })
}

fn requests() -> impl Strategy<Value = Vec<(SessionFacts, RequestFacts)>> {
    let words = prop::collection::vec(word(), 0..3);
    let protocol = prop::sample::select(vec!["mcp", "postgres", "mysql", "ssh"]);
    let session = (protocol, word(), word(), words, any::<bool>(), prop::option::of(word())).prop_map(
        |(protocol, target, user, groups, service, purpose)| SessionFacts {
            protocol: protocol.into(),
            target: target.into(),
            user_id: user.into(),
            user_kind: if service { UserKind::Service } else { UserKind::Person },
            user_groups: groups.into_iter().map(str::to_owned).collect(),
            purpose: purpose.map(str::to_owned),
            ..SessionFacts::default()
        },
    );
    let sql = vec![
        "SELECT 1",
        "DROP TABLE t",
        "DELETE FROM t; SELECT 1",
        "DELETE FROM t WHERE id = 1",
        "DORP",
        "SELECT 1; DROP TABLE t",
    ];
    let request = (0..3_u8, word(), prop::sample::select(sql), 0..10_u64);
    prop::collection::vec((session, request), 40).prop_map(|list| {
        let build = |(session, (kind, name, sql, size)): (SessionFacts, (u8, &str, &str, u64))| {
            let now = "2026-11-23T12:00:00+00:00[UTC]".parse().expect("a time");
            let mut request = RequestFacts { size, now: Some(now), ..RequestFacts::default() };
            match (session.protocol.as_str(), kind) {
                ("mcp", 0) => {
                    request.mcp_method = Some("tools/call".into());
                    request.tool_name = Some(name.into());
                }
                ("mcp", 1) => {
                    request.mcp_method = Some("resources/read".into());
                    request.resource_uri = Some(name.into());
                }
                ("mcp", _) => request.mcp_method = Some("tools/list".into()),
                ("postgres" | "mysql", _) => request.sql = Some(sql.into()),
                _ => {}
            }
            (session, request)
        };
        list.into_iter().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_to_do_nothing_does_nothing(text in rules(), requests in requests()) {
        let compilation = compile_source("test.rules", &text, &CompileOptions::for_tests());
        let Some(policy) = &compilation.policy else { return Ok(()) };
        let claimed = |code: Code| -> Vec<String> {
            let found = compilation.diagnostics.iter().filter(|found| found.code == code);
            found.map(|found| found.message.split('`').nth(1).expect("the rule's name").to_owned()).collect()
        };
        let (never, shadowed, off) = (claimed(Code::Unreachable), claimed(Code::Shadowed), claimed(Code::SwitchedOff));
        for (session, request) in &requests {
            let hits = policy.specialise(session).decide(request);
            // SQL that can't be parsed counts as a match of everything, also of what contradicts itself.
            let parsed = request.sql.as_deref() != Some("DORP");
            for hit in &hits {
                let name = &hit.rule.name;
                prop_assert!(!parsed || !never.contains(name), "{name} acts on {session:?} {request:?}\n{text}");
                prop_assert!(!parsed || !off.contains(name), "{name} acts on {session:?} {request:?}\n{text}");
                if shadowed.contains(name) {
                    let blocked = matches!(hits[0].action, HitAction::Block { .. });
                    prop_assert!(blocked, "{name} has its say on {session:?} {request:?}\n{text}");
                }
            }
        }
    }
}
