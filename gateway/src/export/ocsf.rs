//! Records as the Open Cybersecurity Schema Framework has them (schema.ocsf.io, version 1.3.0).
//!
//! What a user saw is never part of an event, and what they asked for only where the export says so: a collector is another place
//! with other readers. Events carry the record's number, by which whoever may can look it up.

use serde_json::{Map, Value, json};

use crate::approval::{Decision, State};
use crate::evidence::{Event as Recorded, Record, RequestOutcome, ResponseOutcome, StoredRecord};

/// The version of the schema.
const VERSION: &str = "1.3.0";

/// A class of events, by its number.
#[derive(Clone, Copy)]
enum Class {
    Authentication = 3002,
    EntityManagement = 3004,
    NetworkActivity = 4001,
    ApiActivity = 6003,
    DatastoreActivity = 6005,
}

/// What is done that the schema has no number for.
const OTHER: u64 = 99;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

/// A record as others read it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The record's number.
    pub(super) seq: u64,
    /// When it happened, in nanoseconds since 1970.
    pub(super) nanoseconds: i128,
    /// The kind of the record.
    pub(super) kind: &'static str,
    /// Its session.
    pub(super) session: String,
    pub(super) severity: Severity,
    pub(super) value: Value,
    /// The value as JSON on one line.
    pub(super) text: String,
}

/// What the schema says of an event beside what all of them say.
struct Said {
    class: Class,
    activity: (u64, &'static str),
    severity: Severity,
    /// Whether it came to a good end, where there is an end.
    success: Option<bool>,
    /// Why not.
    detail: Option<String>,
    /// It was let through, or not.
    allowed: Option<bool>,
    fields: Map<String, Value>,
    /// What the schema has no place for.
    unmapped: Map<String, Value>,
}

impl Said {
    fn of(class: Class, activity: u64, name: &'static str) -> Self {
        Self {
            class,
            activity: (activity, name),
            severity: Severity::Informational,
            success: None,
            detail: None,
            allowed: None,
            fields: Map::new(),
            unmapped: Map::new(),
        }
    }

    fn severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    fn ended(self, success: bool, detail: Option<String>) -> Self {
        Self { success: Some(success), detail, ..self }
    }

    fn allowed(self, allowed: bool) -> Self {
        Self { allowed: Some(allowed), ..self }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            self.unmapped.insert(name.to_owned(), value);
        }
        self
    }
}

/// What is known of whoever did it.
#[derive(Default)]
struct Who {
    user: Value,
    ip: Option<String>,
    connection: Option<String>,
    purpose: Option<String>,
    protocol: Option<String>,
    rules: Option<String>,
    actors: Vec<String>,
    issuer: Option<String>,
}

impl Who {
    /// The one who opened the session.
    fn opened(record: &Record) -> Self {
        let Recorded::SessionOpened {
            user,
            email,
            kind,
            groups,
            issuer,
            subject,
            connection,
            purpose,
            ip,
            protocol,
            rules_digest,
            actors,
            ..
        } = &record.event
        else {
            return Self::default();
        };
        Self {
            user: person(user, email.as_deref(), kind, groups, subject),
            ip: ip.clone(),
            connection: Some(connection.clone()),
            purpose: purpose.clone(),
            protocol: Some(protocol.clone()),
            rules: Some(rules_digest.clone()),
            actors: actors.iter().map(|actor| actor.subject.clone()).collect(),
            issuer: Some(issuer.clone()),
        }
    }

    fn is_sql(&self) -> bool {
        self.protocol.as_deref() == Some("postgres")
    }
}

fn person(user: &str, email: Option<&str>, kind: &str, groups: &[String], subject: &str) -> Value {
    // The schema knows users and systems; a program with an identity of its own is the latter.
    let (type_id, type_name) = if kind == "service" { (3, "System") } else { (1, "User") };
    let groups: Vec<Value> = groups.iter().map(|group| json!({ "name": group })).collect();
    let mut person = json!({ "name": user, "uid": subject, "type_id": type_id, "type": type_name, "groups": groups });
    if let Some(email) = email {
        person["email_addr"] = email.into();
    }
    person
}

/// A record as others read it; with what was asked for, where `commands`.
pub(super) fn event(stored: &StoredRecord, opened: Option<&Record>, commands: bool) -> Event {
    let record = &stored.record;
    let who = match &record.event {
        Recorded::SessionOpened { .. } => Who::opened(record),
        Recorded::AccessRefused {
            user,
            kind,
            groups,
            subject,
            issuer,
            connection,
            purpose,
            ip,
            protocol,
            actors,
            ..
        } => Who {
            user: person(user, None, kind, groups, subject),
            ip: ip.clone(),
            connection: Some(connection.clone()),
            purpose: purpose.clone(),
            protocol: Some(protocol.clone()),
            rules: None,
            actors: actors.iter().map(|actor| actor.subject.clone()).collect(),
            issuer: Some(issuer.clone()),
        },
        Recorded::Administered { user, subject, issuer, ip, .. } => Who {
            user: person(user, None, "person", &[], subject),
            ip: ip.clone(),
            issuer: Some(issuer.clone()),
            ..Who::default()
        },
        _ => opened.map(Who::opened).unwrap_or_default(),
    };
    let said = said(&record.event, &who, commands);
    let severity = said.severity;
    let value = written(stored, &who, said);
    Event {
        seq: stored.seq,
        nanoseconds: record.at.as_nanosecond(),
        kind: record.event.name(),
        session: record.session.to_string(),
        severity,
        text: value.to_string(),
        value,
    }
}

fn said(event: &Recorded, who: &Who, commands: bool) -> Said {
    let class = if who.is_sql() { Class::DatastoreActivity } else { Class::ApiActivity };
    match event {
        Recorded::SessionOpened { client, .. } => {
            Said::of(Class::Authentication, 1, "Logon").ended(true, None).allowed(true).and("client", client.clone())
        }
        Recorded::AccessRefused { reason, client, .. } => Said::of(Class::Authentication, 1, "Logon")
            .severity(Severity::Medium)
            .ended(false, Some(reason.clone()))
            .allowed(false)
            .and("client", client.clone()),
        Recorded::TailCut { segment, bytes } => Said::of(Class::EntityManagement, OTHER, "Tail cut")
            .severity(Severity::Medium)
            .with("entity", json!({ "name": "evidence", "type": "log" }))
            .and("segment", *segment)
            .and("bytes", *bytes),
        Recorded::KeyRotated { from, to } => Said::of(Class::EntityManagement, 3, "Update")
            .severity(Severity::Medium)
            .with("entity", json!({ "name": "evidence", "type": "signing_key" }))
            .and("from", from.as_str())
            .and("to", to.as_str()),
        Recorded::SessionClosed { reason } => {
            Said::of(Class::Authentication, 2, "Logoff").ended(true, Some(reason.clone()))
        }
        Recorded::Request { exchange, method, name, body, outcome, hits, approval, purpose } => {
            let (severity, allowed) = match outcome {
                RequestOutcome::Forwarded => (Severity::Informational, true),
                RequestOutcome::Held => (Severity::Low, false),
                RequestOutcome::Refused => (Severity::Medium, false),
            };
            let hits: Vec<Value> = hits
                .iter()
                .map(|hit| json!({ "rule": hit.rule, "id": hit.id, "pack": hit.pack, "action": hit.action }))
                .collect();
            let (id, activity) = if who.is_sql() { stored_activity(name.as_deref()) } else { api_activity(method) };
            let said = Said::of(class, id, activity).severity(severity).allowed(allowed);
            let said = command(said, who, method, name.as_deref());
            let said = if commands { said.and("command", body.as_str()) } else { said };
            said.and("exchange", *exchange)
                .and("outcome", json!(outcome))
                .and("rules", hits)
                .and("approval", approval.clone())
                .and("command_purpose", purpose.clone())
        }
        Recorded::Response { exchange, status, body, part, last, decisions, outcome, reason } => {
            let good = *outcome == ResponseOutcome::Complete;
            let said = Said::of(class, OTHER, "Response")
                .severity(if *outcome == ResponseOutcome::Blocked { Severity::Medium } else { Severity::Informational })
                .ended(good, reason.clone())
                .allowed(*outcome != ResponseOutcome::Blocked);
            command(said, who, "response", None)
                .and("exchange", *exchange)
                .and("http_status", (*status != 0).then_some(*status))
                .and("bytes", body.len())
                .and("part", *part)
                .and("last", *last)
                .and("decisions", json!(decisions))
        }
        Recorded::Passed { exchange, sent, received, requests, responses, last, outcome, reason } => {
            Said::of(Class::NetworkActivity, 6, "Traffic")
                .ended(*outcome == ResponseOutcome::Complete, reason.clone())
                .allowed(*outcome != ResponseOutcome::Blocked)
                .with("traffic", json!({ "bytes_out": sent, "bytes_in": received, "bytes": sent + received }))
                .and("exchange", *exchange)
                .and("last", *last)
                .and("decisions_out", json!(requests))
                .and("decisions_in", json!(responses))
        }
        Recorded::ApprovalRequested(asked) => {
            let said = Said::of(Class::ApiActivity, OTHER, "Approval requested").severity(Severity::Low).allowed(false);
            operation(said, "approval.requested")
                .and("approval", asked.approval.as_str())
                .and("exchange", asked.exchange)
                .and("rule", asked.rule.as_str())
                .and("pack", asked.pack.as_str())
                .and("by", json!(asked.by))
                .and("count", asked.count)
                .and("command_hash", asked.hash.as_str())
        }
        Recorded::ApprovalDecided { approval, approver, decision, justification, refused, .. } => {
            let severity = if *decision == Decision::BreakGlass { Severity::High } else { Severity::Low };
            let said = Said::of(Class::ApiActivity, OTHER, "Approval decided")
                .severity(severity)
                .ended(refused.is_none(), refused.clone());
            operation(said, "approval.decided")
                .and("approval", approval.as_str())
                .and("approver", approver.user.as_str())
                .and("decision", decision.name())
                .and("justification", justification.as_str())
        }
        Recorded::ApprovalReviewed { approval, reviewer, justification } => {
            operation(Said::of(Class::ApiActivity, OTHER, "Approval reviewed"), "approval.reviewed")
                .and("approval", approval.as_str())
                .and("reviewer", reviewer.user.as_str())
                .and("justification", justification.as_str())
        }
        Recorded::ApprovalClosed { approval, state, reason } => {
            let said = Said::of(Class::ApiActivity, OTHER, "Approval closed");
            operation(said.ended(*state == State::Used, Some(reason.clone())), "approval.closed")
                .and("approval", approval.as_str())
                .and("state", state.name())
        }
        Recorded::Administered { action, about, roles, .. } => {
            let (id, activity) = match action.split('_').next() {
                Some("issue") => (1, "Create"),
                Some("revoke" | "end") => (4, "Delete"),
                _ => (OTHER, "Other"),
            };
            let entity = action.split_once('_').map_or(action.as_str(), |(_, entity)| entity);
            Said::of(Class::EntityManagement, id, activity)
                .severity(Severity::Low)
                .ended(true, None)
                .with("entity", json!({ "name": entity, "type": entity, "data": about }))
                .and("action", action.as_str())
                .and("roles", json!(roles))
        }
    }
}

/// What was asked for, without its text.
fn command(said: Said, who: &Who, method: &str, name: Option<&str>) -> Said {
    if who.is_sql() {
        let database = json!({ "name": who.connection, "type_id": 1, "type": "Relational" });
        return said.with("database", database).and("method", method).and("verbs", name);
    }
    operation(said, &name.map_or_else(|| method.to_owned(), |name| format!("{method} {name}")))
}

fn operation(said: Said, operation: &str) -> Said {
    said.with("api", json!({ "operation": operation, "service": { "name": "sluice" } }))
}

/// What SQL does, by its verbs: what changes most stands for all of it.
fn stored_activity(verbs: Option<&str>) -> (u64, &'static str) {
    let verbs: Vec<&str> = verbs.unwrap_or_default().split(' ').collect();
    let does = |any: &[&str]| verbs.iter().any(|verb| any.contains(verb));
    if does(&["delete", "drop", "truncate"]) {
        (7, "Delete")
    } else if does(&["update", "merge", "alter", "grant", "revoke", "alter_system"]) {
        (2, "Update")
    } else if does(&["insert", "copy", "copy_program", "copy_file"]) {
        (5, "Write")
    } else if does(&["create"]) {
        (6, "Create")
    } else if does(&["select", "explain", "fetch", "execute"]) {
        (4, "Query")
    } else {
        (OTHER, "Other")
    }
}

/// What a method of MCP does, where its name says so. A tool may do anything.
fn api_activity(method: &str) -> (u64, &'static str) {
    match method.rsplit('/').next() {
        Some("list" | "read" | "get" | "complete") => (2, "Read"),
        _ => (OTHER, "Other"),
    }
}

/// The event as the schema wants it.
fn written(stored: &StoredRecord, who: &Who, said: Said) -> Value {
    let record = &stored.record;
    let Said { class, activity: (id, activity), severity, success, detail, allowed, fields, mut unmapped } = said;
    let class = class as u64;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            out.insert(name.to_owned(), value);
        }
    };
    put("class_uid", class.into());
    put("category_uid", (class / 1000).into());
    put("activity_id", id.into());
    put("activity_name", activity.into());
    put("type_uid", (class * 100 + id).into());
    put("time", record.at.as_millisecond().into());
    put("severity_id", (severity as u64).into());
    put("severity", severity.name().into());
    put(
        "metadata",
        json!({
            "version": VERSION, "uid": stored.seq.to_string(), "sequence": stored.seq, "log_name": "evidence",
            "event_code": record.event.name(), "correlation_uid": record.session, "profiles": ["security_control"],
            "product": { "name": "Sluice", "vendor_name": "Sluice", "version": env!("CARGO_PKG_VERSION") },
        }),
    );
    if let Some(success) = success {
        put("status_id", if success { 1 } else { 2 }.into());
        put("status", if success { "Success" } else { "Failure" }.into());
        put("status_detail", json!(detail));
    }
    if let Some(allowed) = allowed {
        put("action_id", if allowed { 1 } else { 2 }.into());
        put("action", if allowed { "Allowed" } else { "Denied" }.into());
    }
    if class == Class::Authentication as u64 {
        // Here it is the user whom it is about.
        put("user", if who.user.is_null() { json!({ "name": "unknown" }) } else { who.user.clone() });
        put("service", json!({ "name": "sluice" }));
    }
    let session = json!({ "uid": record.session, "issuer": who.issuer });
    put("actor", json!({ "user": who.user, "session": session, "invoked_by": who.actors.first() }));
    put("src_endpoint", who.ip.as_ref().map_or_else(|| json!({ "name": "unknown" }), |ip| json!({ "ip": ip })));
    put("dst_endpoint", who.connection.as_ref().map_or(Value::Null, |name| json!({ "svc_name": name })));
    for (name, value) in fields {
        put(&name, value);
    }
    let beside = [
        ("connection", json!(who.connection)),
        ("protocol", json!(who.protocol)),
        ("purpose", json!(who.purpose)),
        ("rules_digest", json!(who.rules)),
        ("acting", if who.actors.is_empty() { Value::Null } else { json!(who.actors) }),
    ];
    unmapped
        .extend(beside.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)));
    put("unmapped", unmapped.into());
    without_nulls(out.into())
}

/// The schema has no null: what isn't known isn't there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        leaf => leaf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of a person by an agent, and records of every kind in it; what must not leave is marked.
    fn records(protocol: &str) -> Vec<StoredRecord> {
        let session = "01900000-0000-7000-8000-000000000000";
        let party = json!({ "user": "dba@example.org", "issuer": "i", "subject": "d" });
        let decisions = json!([{ "rule": "r", "pattern": "p", "action": "mask", "count": 3 }]);
        let events = [
            json!({ "event": "session_opened", "user": "ada@example.org", "email": "ada@example.org", "kind": "person", "groups": ["dev"],
                "actors": [{ "subject": "agent-7" }], "issuer": "i", "subject": "a", "connection": "crm", "purpose": "p", "client": null,
                "ip": "192.0.2.7", "protocol": protocol, "rules_digest": "d" }),
            json!({ "event": "request", "exchange": 1, "method": "query", "name": "select delete", "body": "SECRET", "purpose": null,
                "outcome": "refused", "hits": [{ "rule": "r", "id": null, "pack": "k", "action": "block", "message": "SECRET", "detail": "SECRET" }] }),
            json!({ "event": "response", "exchange": 1, "status": 200, "body": "SECRET", "part": 0, "last": true, "decisions": decisions,
                "outcome": "blocked", "reason": "a rule" }),
            json!({ "event": "passed", "exchange": 1, "sent": 5, "received": 6, "requests": [], "responses": decisions, "last": true,
                "outcome": "complete", "reason": null }),
            json!({ "event": "approval_decided", "approval": "ap-1", "approver": party, "groups": ["dba"], "decision": "break_glass",
                "justification": "down" }),
            json!({ "event": "approval_reviewed", "approval": "ap-1", "reviewer": party, "justification": "fine" }),
            json!({ "event": "approval_closed", "approval": "ap-1", "state": "used", "reason": "done" }),
            json!({ "event": "access_refused", "user": "bob", "kind": "service", "groups": [], "issuer": "i", "subject": "b",
                "connection": "crm", "purpose": null, "client": null, "ip": null, "protocol": protocol, "reason": "hours" }),
            json!({ "event": "administered", "user": "root", "issuer": "control", "subject": "0", "roles": ["admin"],
                "action": "revoke_service_token", "about": { "name": "ci" }, "ip": null }),
            json!({ "event": "session_closed", "reason": "idle" }),
        ];
        let stored = events.into_iter().zip(1..).map(|(mut event, seq)| {
            event["session"] = session.into();
            event["at"] = "2026-09-21T14:13:20.123456Z".into();
            StoredRecord { seq, record: serde_json::from_value(event).unwrap() }
        });
        stored.collect()
    }

    #[test]
    fn every_kind_of_record_has_what_its_class_asks_for_and_nothing_of_what_was_asked_or_seen() {
        for protocol in ["postgres", "mcp"] {
            let records = records(protocol);
            let opened = Some(&records[0].record);
            for (stored, opened) in records.iter().flat_map(|stored| [(stored, opened), (stored, None)]) {
                let told = event(stored, opened, false);
                let value = &told.value;
                assert!(!told.text.contains("SECRET") && !told.text.contains("null"), "{}", told.text);
                let class = value["class_uid"].as_u64().unwrap();
                assert_eq!(value["type_uid"], class * 100 + value["activity_id"].as_u64().unwrap());
                assert_eq!(
                    (&value["time"], &value["category_uid"]),
                    (&json!(1_790_000_000_123_u64), &json!(class / 1000))
                );
                let wanted: &[&str] = match class {
                    3002 => &["user", "service"],
                    3004 => &["entity"],
                    4001 => &["src_endpoint", "traffic"],
                    6003 => &["actor", "api", "src_endpoint"],
                    6005 => &["actor", "database", "src_endpoint"],
                    other => panic!("{other}"),
                };
                assert!(wanted.iter().all(|name| value[*name].is_object()), "{wanted:?} of {value}");
            }
        }
    }

    #[test]
    fn an_event_says_who_did_what_for_whom_and_how_it_ended() {
        let records = records("postgres");
        let opened = Some(&records[0].record);
        let told = |at: usize| event(&records[at], opened, true).value;
        let request = told(1);
        assert_eq!(
            (&request["activity_name"], &request["action"], &request["severity"]),
            (&json!("Delete"), &json!("Denied"), &json!("Medium"))
        );
        assert_eq!(
            (&request["actor"]["user"]["name"], &request["actor"]["invoked_by"]),
            (&json!("ada@example.org"), &json!("agent-7"))
        );
        assert_eq!(
            (&request["database"]["name"], &request["unmapped"]["command"]),
            (&json!("crm"), &json!("SECRET")),
            "where it is asked for"
        );
        assert_eq!((&told(2)["status"], &told(2)["unmapped"]["bytes"]), (&json!("Failure"), &json!(6)));
        assert_eq!(told(4)["severity"], "High", "the glass was broken");
        assert_eq!(
            (&told(7)["user"]["name"], &told(7)["status_detail"]),
            (&json!("bob"), &json!("hours")),
            "not whoever opened the session"
        );
        assert_eq!(
            (&told(8)["activity_name"], &told(8)["entity"]["type"]),
            (&json!("Delete"), &json!("service_token"))
        );
    }
}
