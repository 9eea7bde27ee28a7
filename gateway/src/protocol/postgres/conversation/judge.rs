//! Whether a command may pass: its facts, its text and its constants under the rules, and what the gateway itself can't follow.

use super::super::copy::{has_utf8, is_readable, is_utf8};
use super::super::report::Report;
use super::super::texts::{Seen, Texts};
use super::{Conversation, Opened};
use crate::approval::Want;
use crate::evidence::{Event, HitRecord, RequestOutcome};
use bytes::Bytes;
use sluice_dsl::sql::{CopyFacts, MAX_SQL, SqlFacts};
use sluice_dsl::{HitAction, Policy, Reading, RequestFacts, RuleInfo};
use sluice_engine::{ActionKind, Decision, Stop};
use std::sync::Arc;

/// The state of what a rule refuses: insufficient_privilege.
const REFUSED: &str = "42501";

/// Verbs that change what the names of statements and portals stand for, or may run such.
const TAINTING: &[&str] = &["prepare", "deallocate", "discard", "declare", "close", "do", "call", "execute"];
/// Verbs whose rows come from a statement that was kept.
const KEPT: &[&str] = &["execute", "fetch", "move"];

/// Verbs that may change what tables and their columns are called, or run something that does.
const DEFINING: &[&str] = &["create", "alter", "drop", "do", "call", "execute", "other"];

/// A text of SQL, judged.
pub(super) struct Judged {
    pub(super) reading: Option<Reading>,
    /// As it may go on.
    pub(super) sql: Bytes,
    /// As it may be stored.
    pub(super) body: String,
    pub(super) hits: Vec<HitRecord>,
    pub(super) refusal: Option<Report>,
    /// What has to be approved before it goes on, unless it is refused.
    pub(super) want: Option<Want>,
    pub(super) copies: Arc<[CopyFacts]>,
    /// It changes what names stand for.
    pub(super) taints: bool,
    /// Its rows come from a statement that was kept.
    pub(super) kept: bool,
    /// It may change what tables are called.
    pub(super) defines: bool,
    /// What it does, for the record.
    pub(super) name: Option<String>,
}

impl Conversation {
    /// Judges a text of SQL.
    pub(super) fn judge(&self, sql: &Bytes) -> Judged {
        let mut judged = Judged {
            reading: None,
            sql: sql.clone(),
            body: String::new(),
            hits: Vec::new(),
            refusal: None,
            want: None,
            copies: Arc::default(),
            taints: true,
            kept: true,
            defines: true,
            name: None,
        };
        let Ok(text) = std::str::from_utf8(sql) else {
            judged.refusal = Some(Report::error("22021", "SQL that is not UTF-8 is refused unread"));
            return judged;
        };
        let Some(reading) = self.read(&mut judged, text) else { return judged };
        let rules = reading.request_rules();
        let mut texts = Texts::new(&self.program, rules, &self.opened.budget);
        let seen = texts.text(sql, None);
        self.count(&mut judged.hits, &texts.decisions);
        match seen {
            Ok(Seen::Same) => judged.body = text.to_owned(),
            Ok(Seen::Changed(masked)) => {
                judged.sql = masked.into();
                match std::str::from_utf8(&judged.sql.clone()) {
                    Ok(masked) => {
                        // What goes on is what is judged.
                        judged.body = masked.to_owned();
                        judged.reading = self.read(&mut judged, masked);
                    }
                    Err(_) => judged.refuse(Report::error(REFUSED, "what a rule masks in this SQL can't be masked")),
                }
            }
            // What led to a match is not kept either: the record of a refused text holds no part of it.
            Err(stop) => judged.refuse(self.stopped(&stop)),
        }
        self.constants(&mut judged, text, &reading, &mut texts);
        if judged.refusal.is_none() && judged.reading.is_none() {
            judged.reading = Some(reading);
        }
        judged
    }

    /// Reads a text and asks the rules about its facts; None where nothing more is to be asked.
    fn read(&self, judged: &mut Judged, text: &str) -> Option<Reading> {
        if text.len() > MAX_SQL {
            let message = format!("SQL of {} bytes is refused unread; the most is {MAX_SQL}", text.len());
            judged.refuse(Report::error("54000", message));
            return None;
        }
        let reading = self.opened.policy.read(RequestFacts {
            sql: Some(text.to_owned()),
            size: text.len() as u64,
            ..RequestFacts::default()
        });
        for hit in reading.decide() {
            let action = match &hit.action {
                HitAction::Block { message } => {
                    judged.refuse(by_rule(&hit.rule, message));
                    "block"
                }
                HitAction::Approve { .. } => {
                    judged.want = judged.want.take().or_else(|| Want::of(&hit));
                    "approve"
                }
                HitAction::Alert if hit.rule.audit => "audit",
                HitAction::Alert => "alert",
            };
            let hit = HitRecord::of(&hit.rule, action, hit.detail.clone());
            if !judged.hits.contains(&hit) {
                judged.hits.push(hit);
            }
        }
        let Some(facts) = reading.sql().next().flatten() else {
            judged.refusal = Some(
                Report::error(
                    "42601",
                    "syntax error: PostgreSQL's parser does not accept this SQL, so it is refused unread",
                )
                .hint("What can't be read can't be checked against the rules."),
            );
            return Some(reading);
        };
        if let Some(want) = judged.want.as_ref().filter(|_| facts.verbs.iter().any(|verb| verb == "prepare")) {
            // What is kept under a name runs as often as somebody likes.
            let report = by_rule(&want.rule, "it needs an approval, and what is prepared can't be approved");
            judged.refuse(report.hint("Run the statement itself, without PREPARE."));
        }
        judged.name = (!facts.verbs.is_empty()).then(|| facts.verbs.join(" "));
        let does = |verbs: &[&str]| facts.verbs.iter().any(|verb| verbs.contains(&verb.as_str()));
        (judged.taints, judged.kept, judged.defines) = (does(TAINTING), does(KEPT), does(DEFINING));
        if let Some(report) = self.not_followed(facts) {
            judged.refuse(report);
        }
        judged.copies = facts.copies.as_slice().into();
        Some(reading)
    }

    /// What the gateway could not follow if it let it through.
    fn not_followed(&self, facts: &SqlFacts) -> Option<Report> {
        for (name, value) in &facts.settings {
            let refused = match (name.as_str(), value.as_deref()) {
                ("client_encoding", Some(value)) => !is_utf8(value),
                ("standard_conforming_strings", Some(value)) => {
                    !["on", "true", "yes", "1"].contains(&value.to_ascii_lowercase().as_str())
                }
                _ => false,
            };
            if refused {
                let message =
                    format!("`{name}` stays as it is: the rules read SQL and data in UTF-8 with standard strings");
                return Some(Report::error("0A000", message));
            }
        }
        let out: Vec<&CopyFacts> = facts.copies.iter().filter(|copy| !copy.from).collect();
        if out.len() > 1 {
            return Some(Report::error(
                "0A000",
                "one `COPY … TO` in a query, so that it is known which one is answered",
            ));
        }
        if facts.copies.iter().filter(|copy| copy.from).count() > 1 {
            return Some(Report::error(
                "0A000",
                "one `COPY … FROM` in a query, so that it is known how the data is written",
            ));
        }
        if facts.copies.iter().any(|copy| !has_utf8(copy)) {
            return Some(Report::error("0A000", "`COPY` in another encoding than UTF-8 can't be read"));
        }
        if out.iter().any(|copy| !is_readable(copy)) && !self.every.is_empty() {
            return Some(
                Report::error("0A000", "`COPY … TO` in this format can't be read").hint("Copy as text or CSV."),
            );
        }
        if out.iter().any(|copy| copy.columns.is_empty()) && !self.claims.is_empty() {
            let report = Report::error("0A000", "a rule masks columns by name, and this `COPY … TO` names none");
            return Some(report.hint("Name the columns: `COPY t (a, b) TO …`, or use SELECT."));
        }
        None
    }

    /// Constants as the server reads them: what a rule finds only there stands behind quotes or escapes.
    fn constants(&self, judged: &mut Judged, text: &str, reading: &Reading, texts: &mut Texts) {
        if texts.is_idle() || judged.refusal.is_some() {
            return;
        }
        let constants = reading.sql().flatten().flat_map(|facts| &facts.constants);
        let hidden: Vec<Bytes> =
            constants.filter(|constant| !text.contains(constant.as_str())).map(|text| text.clone().into()).collect();
        for constant in hidden {
            let seen = texts.text(&constant, None);
            self.count(&mut judged.hits, &std::mem::take(&mut texts.decisions));
            let report = match seen {
                Ok(Seen::Same) => continue,
                Ok(Seen::Changed(_)) => Report::error(REFUSED, "a value that a rule masks stands behind escapes")
                    .hint("Write the value without escapes, or pass it as a parameter."),
                Err(stop) => self.stopped(&stop),
            };
            judged.refuse(report);
            judged.body.clear();
            return;
        }
    }

    /// What a client is told where the inspector stopped.
    pub(super) fn stopped(&self, stop: &Stop) -> Report {
        match stop {
            Stop::Blocked(decision) => {
                let rule = self.policy().rule(decision.rule);
                by_rule(rule, rule.message.as_deref().unwrap_or("it holds what may not pass"))
            }
            Stop::Budget { .. } => Report::error("53200", "the inspector's memory is used up; try again later"),
            Stop::Undecodable { .. } | Stop::Finished => Report::error("XX000", "the inspector stopped"),
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        self.opened.policy.policy()
    }

    /// Adds what the inspector decided, once each.
    pub(super) fn count(&self, hits: &mut Vec<HitRecord>, decisions: &[Decision]) {
        for decision in decisions {
            let rule = self.policy().rule(decision.rule);
            let action = match decision.action {
                ActionKind::Alert if rule.audit => "audit",
                ActionKind::Alert => "alert",
                ActionKind::Mask => "mask",
                ActionKind::Block => "block",
            };
            let pattern = self.program.pattern_name(decision.pattern).to_owned();
            let hit = HitRecord::of(rule, action, Some(pattern));
            if !hits.contains(&hit) {
                hits.push(hit);
            }
        }
    }

    /// What a client is told where a rule masks what can't be changed.
    pub(super) fn unmaskable(&self, decision: Option<&Decision>, what: &str) -> Report {
        let report =
            Report::error(REFUSED, format!("{what} holds a value that a rule masks, and it can't be changed there"));
        match decision {
            Some(decision) => report.hint(named(self.policy().rule(decision.rule))),
            None => report,
        }
    }
}

/// Settings of a session that change neither what is read nor who reads it: rules on `SET` are not asked about them.
const HARMLESS: &[&str] =
    &["application_name", "client_encoding", "datestyle", "intervalstyle", "timezone", "extra_float_digits"];

/// Judges a setting that a session begins with as the `SET` that it stands for: its record, where it needs one, and why it is
/// refused.
#[must_use]
pub fn judge_setting(opened: &Opened, name: &str, value: &str) -> (Option<Event>, Option<Report>) {
    let conversation = Conversation::new(opened.clone());
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    let known = name.to_ascii_lowercase();
    if HARMLESS.contains(&known.as_str()) && (known != "client_encoding" || is_utf8(value)) {
        let mut texts = Texts::new(&conversation.program, opened.policy.every_request_rule(), &opened.budget);
        let refusal = match texts.text(&Bytes::copy_from_slice(value.as_bytes()), None) {
            Ok(Seen::Same) => None,
            Ok(Seen::Changed(_)) => Some(conversation.unmaskable(texts.decisions.last(), "a setting")),
            Err(stop) => Some(conversation.stopped(&stop)),
        };
        return (None, refusal);
    }
    let sql = format!("SET {name} TO '{}'", value.replace('\'', "''"));
    let mut judged = conversation.judge(&Bytes::from(sql));
    if !is_name {
        judged.body.clear();
        judged.refusal = Some(Report::error("22023", "the name of a setting is not one"));
    } else if let (Some(want), None) = (&judged.want, &judged.refusal) {
        let report = by_rule(&want.rule, "it needs an approval, which a session can't wait for while it begins");
        judged.refusal = Some(report.hint("Leave the setting out, and SET it once the session is open."));
    }
    let event = Event::Request {
        exchange: 0,
        method: "startup".to_owned(),
        name: judged.name,
        body: judged.body,
        purpose: opened.purpose.clone(),
        outcome: if judged.refusal.is_some() { RequestOutcome::Refused } else { RequestOutcome::Forwarded },
        hits: judged.hits,
        approval: None,
    };
    (Some(event), judged.refusal)
}

impl Judged {
    /// The first refusal stands: the strictest comes first.
    fn refuse(&mut self, report: Report) {
        self.refusal.get_or_insert(report);
    }
}

pub(super) fn by_rule(rule: &RuleInfo, message: &str) -> Report {
    Report::error(REFUSED, format!("refused by rule `{}`: {message}", rule.name)).hint(named(rule))
}

pub(super) fn named(rule: &RuleInfo) -> String {
    match &rule.id {
        Some(id) => format!("Rule {} ({id}) of pack {}.", rule.name, rule.pack),
        None => format!("Rule {} of pack {}.", rule.name, rule.pack),
    }
}
