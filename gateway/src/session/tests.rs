//! Tests of the session table.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluice_dsl::{CompileOptions, UserKind, compile_source};

use super::*;
use crate::{
    authorisation::{Allow, Hours, Times},
    config::UpstreamConfig,
    evidence::Reader,
};

fn alice() -> Identity {
    Identity {
        issuer: "https://login.example.com".to_owned(),
        subject: "00u1".to_owned(),
        user_id: "alice@example.com".to_owned(),
        email: Some("alice@example.com".to_owned()),
        kind: UserKind::Person,
        groups: vec!["support".to_owned()],
        roles: Vec::new(),
        actors: Vec::new(),
        token_id: None,
        expires: jiff::Timestamp::MAX,
    }
}

fn request(identity: Identity) -> NewSession {
    NewSession {
        identity,
        connection: "crm".to_owned(),
        purpose: None,
        client: None,
        ip: None,
        protocol: "mcp".to_owned(),
    }
}

fn connection() -> ConnectionConfig {
    let upstream = UpstreamConfig::Stdio { command: vec!["x".to_owned()], env: BTreeMap::new(), cwd: None };
    ConnectionConfig::new(upstream)
}

struct House {
    sessions: Sessions,
    policy: Policy,
    place: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let rules = "language 1\npattern staff_id = /\\bEMP-[0-9]{6}\\b/\nrule mask_staff { on response match staff_id then mask redact(with: \"[staff]\") }\n";
        let compilation = compile_source("staff.rules", rules, &CompileOptions::for_tests());
        let policy = compilation.policy.clone().unwrap_or_else(|| panic!("{}", compilation.render(false)));
        let evidence = Evidence::open(place.path().join("evidence")).unwrap();
        Self { sessions: Sessions::new(evidence), policy, place }
    }

    async fn open(&self, new: NewSession, config: &ConnectionConfig) -> Result<Arc<Session>, SessionError> {
        self.sessions.open(new, config, &self.policy).await
    }

    fn reason(&self, id: &SessionId) -> Option<String> {
        let reader = Reader::open(&self.place.path().join("evidence")).unwrap();
        reader.sessions().unwrap().into_iter().find(|found| found.session == id.as_str()).unwrap().closed
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_owner_on_its_connection_alone() {
    let house = House::new();
    let session = house.open(request(alice()), &connection()).await.unwrap();
    assert!(house.sessions.find(&session.id, &alice(), "crm").await.is_ok());
    let mallory = Identity { subject: "00u2".to_owned(), ..alice() };
    let elsewhere = Identity { issuer: "https://other.example".to_owned(), ..alice() };
    for identity in [mallory, elsewhere] {
        let found = house.sessions.find(&session.id, &identity, "crm").await;
        assert!(matches!(found, Err(SessionError::Unknown)));
    }
    assert!(matches!(house.sessions.find(&session.id, &alice(), "hr").await, Err(SessionError::Unknown)));
    assert!(house.sessions.find(&session.id, &alice(), "crm").await.is_ok(), "a stranger's try closes nothing");
}

#[tokio::test]
async fn a_revoked_group_ends_the_session() {
    let house = House::new();
    let session = house.open(request(alice()), &connection()).await.unwrap();
    let agent = crate::identity::Actor { subject: "agent".to_owned(), issuer: None };
    let delegated = Identity { actors: vec![agent], ..alice() };
    assert!(matches!(house.sessions.find(&session.id, &delegated, "crm").await, Err(SessionError::Unknown)));
    let fewer = Identity { groups: Vec::new(), ..alice() };
    assert!(matches!(house.sessions.find(&session.id, &fewer, "crm").await, Err(SessionError::Unknown)));
    assert!(session.closed.is_cancelled());
    assert_eq!(house.reason(&session.id).as_deref(), Some("identity changed"));
}

#[tokio::test]
async fn groups_and_purpose_are_required_where_the_connection_says_so() {
    let house = House::new();
    // Of MCP each request is asked, not the session.
    let mut config = ConnectionConfig::new(UpstreamConfig::Tcp { address: "127.0.0.1:9".to_owned() });
    config.groups = vec!["hr".to_owned()];
    assert!(matches!(house.open(request(alice()), &config).await, Err(SessionError::Forbidden)));
    config.groups.push("support".to_owned());
    config.require_purpose = true;
    assert!(matches!(house.open(request(alice()), &config).await, Err(SessionError::PurposeRequired)));
    let purpose = Purpose::of(Some("ticket 4711"), None).unwrap();
    let session = house.open(NewSession { purpose, ..request(alice()) }, &config).await.unwrap();
    assert_eq!(session.purpose.as_ref().map(Purpose::as_str), Some("ticket 4711"));
}

#[tokio::test]
async fn idle_sessions_end_and_say_why() {
    let house = House::new();
    let config = ConnectionConfig { idle: Duration::from_secs(60), ..connection() };
    let session = house.open(request(alice()), &config).await.unwrap();
    let now = std::time::Instant::now();
    assert_eq!(house.sessions.expire(now).await, 0);
    assert_eq!(house.sessions.expire(now + Duration::from_secs(61)).await, 1);
    assert_eq!(house.reason(&session.id).as_deref(), Some("idle"));
    assert!(house.sessions.is_empty());
}

#[tokio::test]
async fn a_session_ends_when_no_table_lets_it_in_any_more_and_only_then() {
    let house = House::new();
    let hours = Times { hours: Some(Hours::parse("00:00-24:00").unwrap()), ..Times::default() };
    let until = Times { until: Some(jiff::civil::date(2400, 1, 1)), ..Times::default() };
    let table = |number, times| Allow { number, groups: None, kinds: None, purposes: None, times };
    let with = |tables: Vec<Allow>| ConnectionConfig {
        access: Access { allow: Some(tables.into()), purposes: None },
        ..connection()
    };
    let always = house.open(request(alice()), &with(vec![table(1, hours)])).await.unwrap();
    let bob = Identity { subject: "00u2".to_owned(), ..alice() };
    let ends = house.open(request(bob), &with(vec![table(1, until)])).await.unwrap();
    let at = |text: &str| text.parse().unwrap();
    assert_eq!(house.sessions.close_outside(at("2400-01-01T23:59:59Z")).await, 0);
    assert_eq!(house.sessions.close_outside(at("2400-01-02T00:00:00Z")).await, 1);
    assert!(ends.closed.is_cancelled() && !always.closed.is_cancelled());
    assert_eq!(house.reason(&ends.id).as_deref(), Some("outside of its allowed times"));
}

#[tokio::test]
async fn who_is_not_let_in_is_on_record_with_the_reason_and_is_no_session() {
    let house = House::new();
    let config = ConnectionConfig { groups: vec!["hr".to_owned()], ..connection() };
    assert!(matches!(house.open(request(alice()), &config).await, Err(SessionError::Forbidden)));
    let reader = Reader::open(&house.place.path().join("evidence")).unwrap();
    let refusals = reader.refusals().unwrap();
    let [stored] = &refusals[..] else { panic!("{refusals:?}") };
    let Event::AccessRefused { user, connection, reason, .. } = &stored.record.event else { panic!("{stored:?}") };
    assert_eq!((user.as_str(), connection.as_str()), ("alice@example.com", "crm"));
    assert_eq!(reason, "in none of the groups that may open the connection");
    assert!(reader.sessions().unwrap().is_empty());
}

#[tokio::test]
async fn requests_without_a_session_share_one_while_nothing_about_them_changes() {
    let house = House::new();
    let implicit = async |new| house.sessions.implicit(new, &connection(), &house.policy).await.unwrap().id.clone();
    let first = implicit(request(alice())).await;
    assert_eq!(implicit(request(alice())).await, first);
    let other = NewSession { client: Some("another".to_owned()), ..request(alice()) };
    assert_ne!(implicit(other).await, first);
    house.sessions.close(&first, "test").await.unwrap();
    assert_ne!(implicit(request(alice())).await, first);
}

#[tokio::test]
async fn draining_closes_all_on_record_and_opens_none() {
    let house = House::new();
    let session = house.open(request(alice()), &connection()).await.unwrap();
    assert_eq!(house.sessions.drain("shutdown").await, 1);
    assert_eq!(house.reason(&session.id).as_deref(), Some("shutdown"));
    assert!(matches!(house.open(request(alice()), &connection()).await, Err(SessionError::Draining)));
}

#[test]
fn a_purpose_that_is_stated_twice_has_to_be_the_same() {
    let parsed = |header, meta| Purpose::of(header, meta).map(|purpose| purpose.map(|p| p.as_str().to_owned()));
    assert_eq!(parsed(Some(" audit "), Some("audit")), Ok(Some("audit".to_owned())));
    assert_eq!(parsed(None, Some("  ")), Ok(None));
    assert_eq!(parsed(Some("audit"), Some("support")), Err(PurposeError::Ambiguous));
    assert_eq!(parsed(Some("a\u{7}"), None), Err(PurposeError::Malformed));
}

#[tokio::test]
async fn a_session_ends_when_it_is_as_old_as_it_may_be_and_when_its_identity_is_revoked() {
    let house = House::new();
    let config = ConnectionConfig { lifetime: Some(Duration::from_secs(60)), ..connection() };
    let aged = house.open(request(alice()), &config).await.unwrap();
    let bob = Identity { subject: "00u2".to_owned(), ..alice() };
    let revoked = house.open(request(bob), &connection()).await.unwrap();
    let now = Instant::now();
    aged.touch();
    assert_eq!(house.sessions.expire(now + Duration::from_secs(30)).await, 0);
    assert_eq!(house.sessions.expire(now + Duration::from_secs(61)).await, 1);
    assert_eq!(house.reason(&aged.id).as_deref(), Some("lifetime"));
    assert_eq!(house.sessions.close_where(|identity| identity.subject == "00u2", "revoked").await, 1);
    assert!(revoked.closed.is_cancelled());
    assert_eq!(house.reason(&revoked.id).as_deref(), Some("revoked"));
}
