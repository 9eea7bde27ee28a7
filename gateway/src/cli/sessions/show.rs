//! `sluice sessions show`: the records of a session, for people.

use super::{From, line, recorded};
use crate::{
    approval::Asked,
    cli::shown,
    evidence::{DecisionRecord, Event, RequestOutcome, Search, StoredRecord},
};

pub(super) fn show(id: Option<&str>, from: &From) -> Result<(), String> {
    let reader = from.store.reader()?;
    let id = match id {
        Some(id) => id.to_owned(),
        None => {
            let newest = Search { limit: Some(1), ..Search::default() };
            let sessions = reader.find(&newest).map_err(|error| error.to_string())?;
            sessions.into_iter().next().ok_or("no session is on record")?.session
        }
    };
    let records = recorded(&reader, &id)?;
    if from.json {
        return records.iter().try_for_each(line);
    }
    records.iter().for_each(print_record);
    Ok(())
}

/// Prints a record for people.
pub(crate) fn print_record(stored: &StoredRecord) {
    let StoredRecord { seq, record } = stored;
    print!("{seq:>6}  {:.3}  ", record.at);
    match &record.event {
        Event::SessionOpened { user, groups, actors, connection, purpose, rules_digest, .. } => {
            let purpose = purpose.as_deref().unwrap_or("none stated");
            println!("opened   {} [{}] on {connection}", shown(user), shown(&groups.join(", ")));
            println!("{:36}purpose: {}; rules {rules_digest}", "", shown(purpose));
            if !actors.is_empty() {
                let chain: Vec<String> = actors.iter().map(|actor| shown(&actor.subject)).collect();
                println!("{:36}acted for by {}", "", chain.join(", for whom "));
            }
        }
        Event::Request { exchange, method, name, body, outcome, hits, approval, .. } => {
            let verb = match outcome {
                RequestOutcome::Forwarded => "request ",
                RequestOutcome::Refused => "REFUSED ",
                RequestOutcome::Held => "HELD    ",
            };
            println!("{verb} #{exchange} {} {}", shown(method), shown(name.as_deref().unwrap_or("")));
            for hit in hits {
                let message = hit.message.as_deref().unwrap_or("");
                println!("{:36}{} by {} ({}) {}", "", hit.action, hit.rule, hit.pack, shown(message));
            }
            if let Some(approval) = approval {
                println!("{:36}approval {approval}", "");
            }
            println!("{:36}{}", "", shown(body));
        }
        Event::Response { exchange, status, body, part, decisions, outcome, reason, .. } => {
            // Protocols other than HTTP have none.
            let status = if *status == 0 { String::new() } else { format!(" status {status},") };
            println!(
                "response #{exchange} part {part},{status} {outcome:?} {}",
                shown(reason.as_deref().unwrap_or(""))
            );
            decisions.iter().for_each(|decision| print_decision("", decision));
            println!("{:36}{}", "", shown(body));
        }
        Event::Passed { exchange, sent, received, requests, responses, last, outcome, reason } => {
            let end =
                if *last { format!(", {outcome:?} {}", shown(reason.as_deref().unwrap_or(""))) } else { String::new() };
            println!("passed   #{exchange} {sent} bytes upstream, {received} bytes back{end}");
            requests.iter().for_each(|decision| print_decision("upstream: ", decision));
            responses.iter().for_each(|decision| print_decision("back: ", decision));
        }
        Event::ApprovalRequested(asked) => {
            let Asked { approval, exchange, rule, pack, by, count, expires, hash, .. } = &**asked;
            println!("WAITS    #{exchange} for approval {approval} of {count} in [{}]", shown(&by.join(", ")));
            println!("{:36}by {rule} ({pack}), until {expires:.0}; command {hash}", "");
        }
        Event::ApprovalDecided { approval, approver, decision, justification, refused, .. } => {
            let (said, user) = (decision.name(), shown(&approver.user));
            println!("decided  {approval} {said} by {user}: {}", shown(justification));
            if let Some(refused) = refused {
                println!("{:36}does not count: {refused}", "");
            }
        }
        Event::ApprovalReviewed { approval, reviewer, justification } => {
            println!("reviewed {approval} by {}: {}", shown(&reviewer.user), shown(justification));
        }
        Event::ApprovalClosed { approval, state, reason } => {
            println!("approval {approval} {}: {}", state.name(), shown(reason));
        }
        Event::AccessRefused { user, groups, connection, purpose, reason, .. } => {
            println!("NOT LET IN {} [{}] to {connection}", shown(user), shown(&groups.join(", ")));
            println!("{:36}purpose: {}; {}", "", shown(purpose.as_deref().unwrap_or("none stated")), shown(reason));
        }
        Event::Administered { user, roles, action, about, .. } => {
            println!("administered: {action} by {} ({})", shown(user), roles.join(", "));
            if let Some(about) = about {
                println!("{:36}{}", "", shown(&about.to_string()));
            }
        }
        Event::TailCut { segment, bytes } => {
            println!("the end of the log was torn: {bytes} bytes of segment {segment} were cut off");
        }
        Event::KeyRotated { from, to } => {
            println!("the key of the checkpoints is another one:");
            println!("{:36}from {from}", "");
            println!("{:36}to {to}", "");
        }
        Event::SessionClosed { reason } => println!("closed   {}", shown(reason)),
    }
}

fn print_decision(way: &str, decision: &DecisionRecord) {
    let DecisionRecord { rule, pattern, action, count, .. } = decision;
    println!("{:36}{way}{action} {count} times by {rule} ({pattern})", "");
}
