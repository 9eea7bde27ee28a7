//! A session as its user saw it: the texts that a terminal shows, each with its time.
//!
//! What the client sent and what it saw stands as the record has it, but for control characters. What the gateway did stands between, in lines
//! that begin with `--`; on a terminal these are bold, which nothing that was recorded can be.

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use crate::{
    approval::Asked,
    cli::shown,
    evidence::{DecisionRecord, Event, HitRecord, RequestOutcome, ResponseOutcome, StoredRecord},
};

/// What appears at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scene {
    /// How long after the first one.
    pub(super) at: Duration,
    /// The text; its lines end with a line feed.
    pub(super) text: String,
}

/// The scenes of a session, or of one exchange of it, in their order.
///
/// # Errors
///
/// What to ask for, where the session has no such exchange.
pub(super) fn scenes(records: &[StoredRecord], exchange: Option<u64>, bold: bool) -> Result<Vec<Scene>, String> {
    let mut stage = Stage { bold, ..Stage::default() };
    let mut scenes: Vec<Scene> = Vec::new();
    let (mut begin, mut approvals) = (None, HashSet::new());
    for StoredRecord { record, .. } in records {
        let is_asked = exchange.is_none_or(|asked| is_of(&record.event, asked, &mut approvals));
        // How a session was opened says how the rest is shown.
        if !is_asked && !matches!(record.event, Event::SessionOpened { .. }) {
            continue;
        }
        let text = stage.text(&record.event);
        if text.is_empty() || !is_asked {
            continue;
        }
        let begin = *begin.get_or_insert(record.at);
        // Clocks are set back; what comes later doesn't appear before.
        let at = Duration::try_from(record.at.duration_since(begin)).unwrap_or_default();
        let at = scenes.last().map_or(at, |before| before.at.max(at));
        scenes.push(Scene { at, text });
    }
    match exchange {
        Some(exchange) if scenes.is_empty() => {
            Err(format!("the session has no exchange {exchange}; `sluice sessions show` numbers those that it has"))
        }
        _ => Ok(scenes),
    }
}

/// Whether something belongs to an exchange; what is approved for it is found on the way.
fn is_of(event: &Event, asked: u64, approvals: &mut HashSet<String>) -> bool {
    match event {
        Event::Request { exchange, approval, .. } if *exchange == asked => {
            approvals.extend(approval.clone());
            true
        }
        Event::ApprovalRequested(request) if request.exchange == asked => {
            approvals.insert(request.approval.clone());
            true
        }
        Event::Response { exchange, .. } | Event::Passed { exchange, .. } => *exchange == asked,
        Event::ApprovalDecided { approval, .. }
        | Event::ApprovalClosed { approval, .. }
        | Event::ApprovalReviewed { approval, .. } => approvals.contains(approval),
        _ => false,
    }
}

/// What the texts depend on.
#[derive(Default)]
struct Stage {
    bold: bool,
    is_postgres: bool,
    connection: String,
    /// The answer that was shown last ended within a line.
    open: Option<u64>,
    /// What rules did to answers that are not over.
    decided: Vec<(u64, DecisionRecord)>,
}

impl Stage {
    fn text(&mut self, event: &Event) -> String {
        let mut text = String::new();
        if let Some(open) = self.open
            && !matches!(event, Event::Response { exchange, .. } if *exchange == open)
        {
            self.open = None;
            text.push('\n');
        }
        match event {
            Event::SessionOpened { user, connection, purpose, protocol, .. } => {
                (self.is_postgres, self.connection) = (protocol == "postgres", connection.clone());
                let purpose = purpose.as_deref().map(|purpose| format!(" for {purpose}")).unwrap_or_default();
                self.note(&mut text, &format!("{user} opens {connection}{purpose} ({protocol})"));
            }
            Event::Request { method, name, body, outcome, hits, approval, .. } => {
                self.command(&mut text, method, name.as_deref().unwrap_or_default(), body);
                match outcome {
                    RequestOutcome::Forwarded => {}
                    RequestOutcome::Refused => self.note(&mut text, "REFUSED"),
                    RequestOutcome::Held => self.note(&mut text, "HELD"),
                }
                hits.iter().for_each(|hit| self.hit(&mut text, hit));
                if let Some(approval) = approval {
                    self.note(&mut text, &format!("  approval {approval}"));
                }
            }
            Event::Response { exchange, body, last, decisions, outcome, reason, .. } => {
                text.push_str(&lines(body));
                if !body.is_empty() {
                    self.open = Some(*exchange).filter(|_| !body.ends_with('\n'));
                }
                // A part ends anywhere in a line: what was done to it is said behind the last one.
                self.decided.extend(decisions.iter().map(|decision| (*exchange, decision.clone())));
                if *last {
                    self.end(&mut text, *exchange, *outcome, reason.as_deref().unwrap_or_default());
                }
            }
            Event::Passed { sent, received, requests, responses, reason, .. } => {
                let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                self.note(&mut text, &format!("{sent} bytes upstream, {received} bytes back{reason}"));
                requests.iter().for_each(|decision| self.decision(&mut text, "upstream: ", decision));
                responses.iter().for_each(|decision| self.decision(&mut text, "back: ", decision));
            }
            Event::ApprovalRequested(asked) => {
                let Asked { approval, rule, rule_id, pack, by, method, name, command, .. } = &**asked;
                self.command(&mut text, method, name.as_deref().unwrap_or_default(), command);
                self.note(&mut text, &format!("HELD for approval {approval} by [{}]", by.join(", ")));
                let id = rule_id.as_deref().map(|id| format!(" ({id})")).unwrap_or_default();
                self.note(&mut text, &format!("  by {rule}{id} of {pack}"));
            }
            Event::ApprovalDecided { approval, approver, decision, justification, refused, .. } => {
                let void = refused.as_ref().map(|refused| format!("; does not count: {refused}")).unwrap_or_default();
                let (said, user) = (decision.name(), &approver.user);
                self.note(&mut text, &format!("approval {approval}: {said} by {user}: {justification}{void}"));
            }
            Event::ApprovalClosed { approval, state, reason } => {
                self.note(&mut text, &format!("approval {approval} is {}: {reason}", state.name()));
            }
            Event::SessionClosed { reason } => self.note(&mut text, &format!("closed: {reason}")),
            // Nothing of these was seen in the session.
            Event::ApprovalReviewed { .. }
            | Event::AccessRefused { .. }
            | Event::Administered { .. }
            | Event::TailCut { .. }
            | Event::KeyRotated { .. } => {}
        }
        text
    }

    /// An answer is over.
    fn end(&mut self, text: &mut String, exchange: u64, outcome: ResponseOutcome, reason: &str) {
        if self.open.take().is_some() {
            text.push('\n');
        }
        match outcome {
            ResponseOutcome::Complete => {}
            ResponseOutcome::Blocked => self.note(text, &format!("BLOCKED: {reason}")),
            ResponseOutcome::UpstreamError => self.note(text, &format!("the server failed: {reason}")),
            ResponseOutcome::Cancelled => self.note(text, &format!("cancelled: {reason}")),
        }
        let (its, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.decided).into_iter().partition(|(of, _)| *of == exchange);
        self.decided = others;
        its.iter().for_each(|(_, decision)| self.decision(text, "", decision));
    }

    fn command(&self, text: &mut String, method: &str, name: &str, body: &str) {
        match method {
            "query" | "startup" if self.is_postgres => {
                text.push_str(&format!("{}=> {}", shown(&self.connection), lines(body)));
            }
            "parse" | "bind" if self.is_postgres => {
                text.push_str(&format!("{}=> {method} {}", shown(&self.connection), lines(body)));
            }
            "copy_data" if self.is_postgres => text.push_str(&lines(body)),
            _ => {
                text.push_str(format!("> {} {}", shown(method), shown(name)).trim_end());
                text.push('\n');
                text.push_str(&lines(body));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
    }

    fn hit(&self, text: &mut String, hit: &HitRecord) {
        let HitRecord { rule, id, pack, action, message, .. } = hit;
        let id = id.as_deref().map(|id| format!(" ({id})")).unwrap_or_default();
        let message = message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        self.note(text, &format!("  {action} by {rule}{id} of {pack}{message}"));
    }

    fn decision(&self, text: &mut String, way: &str, decision: &DecisionRecord) {
        let DecisionRecord { rule, id, pattern, action, count } = decision;
        let id = id.as_deref().map(|id| format!(" ({id})")).unwrap_or_default();
        self.note(text, &format!("  {way}{action} {count} times by {rule}{id}: {pattern}"));
    }

    /// A line of the gateway's own.
    fn note(&self, text: &mut String, line: &str) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let (on, off) = if self.bold { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{on}-- {}{off}", shown(line));
    }
}

/// Text of others, in which line feeds and tabs may stay.
fn lines(text: &str) -> String {
    let harmless = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\t').map(shown).collect::<Vec<_>>().join("\t")
    };
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}
