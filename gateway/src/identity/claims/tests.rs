//! Claims as real issuers write them, and claims of the wrong type.

use serde_json::json;

use super::*;

fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

fn claims(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(claims) => claims,
        other => panic!("{other} is no object"),
    }
}

fn require(pairs: &[(&str, &[&str])]) -> ClaimMapping {
    let require = pairs.iter().map(|(name, values)| (path(name), values.iter().map(|v| (*v).to_owned()).collect()));
    ClaimMapping { require: require.collect(), ..ClaimMapping::default() }
}

#[test]
fn groups_and_roles_come_from_several_nested_claims_with_the_issuers_prefix() {
    let mapping = ClaimMapping {
        groups: vec![path("groups"), path("realm_access.roles"), path("https://acme.example/team")],
        roles: vec![path("/resource_access/sluice.gateway/roles")],
        prefix: "idp:".to_owned(),
        everybody: vec!["staff".to_owned()],
        ..ClaimMapping::default()
    };
    let claims = claims(json!({
        "groups": ["b", "a", "a"], "realm_access": { "roles": ["r"] }, "https://acme.example/team": "t",
        "resource_access": { "sluice.gateway": { "roles": ["auditor"] } },
    }));
    assert_eq!(mapping.groups(&claims).unwrap(), ["idp:a", "idp:b", "idp:r", "idp:t", "staff"]);
    assert_eq!(mapping.roles(&claims).unwrap(), ["idp:auditor"]);
}

#[test]
fn claims_of_the_wrong_type_are_refused_not_left_out() {
    let mapping = ClaimMapping {
        user: Some(path("name")),
        roles: vec![path("roles")],
        kind: KindMapping::Claim(path("kind"), vec!["bot".to_owned()]),
        ..ClaimMapping::default()
    };
    for wrong in [json!(1), json!(true), json!({}), json!([1]), json!([["a"]]), json!([""]), json!(["a\nb"]), json!("")]
    {
        let claims = claims(json!({ "groups": wrong, "roles": wrong, "name": wrong, "kind": wrong, "act": wrong }));
        assert_eq!(mapping.groups(&claims), Err(AuthError::Claim("groups")), "{wrong}");
        assert_eq!(mapping.roles(&claims), Err(AuthError::Claim("roles")), "{wrong}");
        assert_eq!(mapping.user(&claims), Err(AuthError::Claim("user")), "{wrong}");
        assert_eq!(mapping.actors(&claims, "https://idp.example"), Err(AuthError::Claim("act")), "{wrong}");
    }
    let empty = claims(json!({}));
    assert_eq!(mapping.groups(&empty), Ok(Vec::new()), "no claim, no groups");
    assert_eq!(mapping.user(&empty), Err(AuthError::Claim("user")), "a claim that is named has to be there");
    assert_eq!(mapping.kind(&empty, "x"), Err(AuthError::Claim("kind")));
}

#[test]
fn a_kind_is_told_by_a_claim_or_is_everybodys() {
    let by_claim = ClaimMapping {
        kind: KindMapping::Claim(path("account.type"), vec!["bot".to_owned()]),
        ..ClaimMapping::default()
    };
    let account = |kind: &str| claims(json!({ "account": { "type": kind } }));
    assert_eq!(by_claim.kind(&account("bot"), "x"), Ok(UserKind::Service));
    assert_eq!(by_claim.kind(&account("human"), "x"), Ok(UserKind::Person));
    let fixed = ClaimMapping { kind: KindMapping::Fixed(UserKind::Service), ..ClaimMapping::default() };
    assert_eq!(fixed.kind(&account("human"), "x"), Ok(UserKind::Service));
}

#[test]
fn what_ci_and_workloads_bring_is_held_to_the_claims_that_are_required() {
    let github = json!({
        "sub": "repo:acme/payments:environment:production", "repository": "acme/payments",
        "repository_owner": "acme", "ref": "refs/heads/main", "ref_protected": "true",
    });
    let gitlab = json!({
        "sub": "project_path:acme/payments:ref_type:branch:ref:main", "namespace_path": "acme", "ref_protected": "true",
    });
    let kubernetes = json!({
        "sub": "system:serviceaccount:payments:reporter",
        "kubernetes.io": { "namespace": "payments", "serviceaccount": { "name": "reporter" } },
    });
    let spiffe = json!({ "sub": "spiffe://acme.example/ns/payments/sa/reporter" });
    for (claims_of, mapping) in [
        (&github, require(&[("repository_owner", &["acme"]), ("ref", &["refs/heads/main", "refs/tags/*"])])),
        (&gitlab, require(&[("namespace_path", &["acme"]), ("ref_protected", &["true"])])),
        (&kubernetes, require(&[("/kubernetes.io/namespace", &["payments"])])),
        (&spiffe, require(&[("sub", &["spiffe://acme.example/ns/payments/*"])])),
    ] {
        assert_eq!(mapping.check_required(&claims(claims_of.clone())), Ok(()), "{claims_of}");
        for other in [&github, &gitlab, &kubernetes, &spiffe].into_iter().filter(|other| *other != claims_of) {
            let refused = mapping.check_required(&claims(other.clone()));
            assert!(matches!(refused, Err(AuthError::Required(_))), "{other}");
        }
    }
    let owner = require(&[("repository_owner", &["acme"])]);
    for wrong in [json!("acme2"), json!("Acme"), json!(["acme"]), json!(null), json!({ "acme": 1 })] {
        let refused = owner.check_required(&claims(json!({ "repository_owner": wrong })));
        assert!(matches!(refused, Err(AuthError::Required(_))), "{wrong}");
    }
}

#[test]
fn who_acts_for_whom_is_read_in_order_and_held_to_the_list() {
    let own = "https://idp.example";
    let delegated = claims(json!({
        "sub": "ada", "act": { "sub": "agent", "iss": own, "act": { "sub": "planner", "iss": "https://other.example" } },
    }));
    let actors = ClaimMapping::default().actors(&delegated, own).unwrap();
    let planner = Actor { subject: "planner".to_owned(), issuer: Some("https://other.example".to_owned()) };
    assert_eq!(actors, [Actor { subject: "agent".to_owned(), issuer: None }, planner]);

    let listed = |actors: &[&str]| ClaimMapping {
        actors: Some(actors.iter().map(|actor| (*actor).to_owned()).collect()),
        ..ClaimMapping::default()
    };
    assert!(listed(&["agent"]).actors(&delegated, own).is_ok());
    assert_eq!(listed(&["planner"]).actors(&delegated, own), Err(AuthError::Actor), "who acted before acts no longer");
    assert_eq!(listed(&[]).actors(&delegated, own), Err(AuthError::Actor));
    assert_eq!(listed(&[]).actors(&claims(json!({ "sub": "ada" })), own), Ok(Vec::new()), "nobody acts");
    let foreign = claims(json!({ "act": { "sub": "agent", "iss": "https://other.example" } }));
    assert_eq!(listed(&["agent"]).actors(&foreign, own), Err(AuthError::Actor), "another issuer's agent of that name");

    let mut chain = json!({ "sub": "last" });
    for _ in 0..9 {
        chain = json!({ "sub": "agent", "act": chain });
    }
    assert_eq!(
        ClaimMapping::default().actors(&claims(json!({ "act": chain })), own),
        Err(AuthError::Claim("act")),
        "no chain without end"
    );
}

#[test]
fn a_path_is_a_name_a_dotted_path_or_a_pointer() {
    for wrong in ["", "/", "/a//b", "/a/"] {
        assert_eq!(ClaimPath::parse(wrong), None, "{wrong}");
    }
    let claims = claims(json!({ "a.b": "name", "a": { "b": "path" }, "c/d": { "e~f": "escaped" } }));
    let found = |text: &str| path(text).find(&claims).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(found("a.b").as_deref(), Some("name"), "the claim of that very name goes first");
    assert_eq!(found("/a/b").as_deref(), Some("path"));
    assert_eq!(found("/c~1d/e~0f").as_deref(), Some("escaped"));
    assert_eq!(found("a.c"), None);
}
