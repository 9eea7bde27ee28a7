//! Links by which one person decides once: a page that shows what is asked for, and a form. Looking decides nothing, since programs look
//! at links as well.

use super::approvals::private;
use crate::approval::{Approver, Decision, DeskError, Held, Link, Party};
use crate::gateway::Gateway;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The issuer of those who decide by a link: whoever configured the webhook vouches for them.
const ISSUER: &str = "webhook";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    decision: Decision,
    justification: String,
    hash: String,
}

fn approver(link: &Link) -> Approver {
    let user = link.approver.clone();
    let email = user.contains('@').then(|| user.clone());
    let party = Party { issuer: ISSUER.to_owned(), subject: user.clone(), user, email };
    Approver { party, groups: link.groups.clone(), in_person: true }
}

pub(super) async fn show(State(gateway): State<Arc<Gateway>>, Path(link): Path<String>) -> Response {
    let Some((link, held)) = gateway.desk.of_link(&link) else { return gone() };
    page(StatusCode::OK, &held, &form(&held, &link).await)
}

pub(super) async fn decide(
    State(gateway): State<Arc<Gateway>>,
    Path(link): Path<String>,
    Form(decided): Form<Decided>,
) -> Response {
    let Some((link, held)) = gateway.desk.of_link(&link) else { return gone() };
    let Decided { decision, justification, hash } = decided;
    if decision == Decision::BreakGlass {
        return page(StatusCode::FORBIDDEN, &held, "<p>By a link nobody goes on without an approval.</p>");
    }
    if !held.spend(&link) {
        return page(StatusCode::CONFLICT, &held, "<p>This link has been used.</p>");
    }
    let desk = &gateway.desk;
    match desk.decide(&link.approval, &approver(&link), decision, &justification, &hash).await {
        Ok(_) => page(StatusCode::OK, &held, "<p>Your decision is on record.</p>"),
        Err(error) => {
            held.give_back(&link);
            let status = match &error {
                DeskError::Justification => StatusCode::BAD_REQUEST,
                DeskError::Evidence(_) | DeskError::Full => StatusCode::SERVICE_UNAVAILABLE,
                DeskError::Unknown => StatusCode::NOT_FOUND,
                DeskError::Drift => StatusCode::CONFLICT,
                DeskError::Refused(_) => StatusCode::FORBIDDEN,
            };
            let words = format!("<p>It was not done: {}.</p>", escaped(&error.to_string()));
            page(status, &held, &(words + &form(&held, &link).await))
        }
    }
}

/// The form, where whoever has the link may decide.
async fn form(held: &Held, link: &Link) -> String {
    if held.is_spent(link) {
        return "<p>This link has been used.</p>".to_owned();
    }
    if held.seen().state.is_final() {
        return String::new();
    }
    if let Err(refused) = held.admits(&approver(link)).await {
        return format!("<p>You can't decide: {}.</p>", escaped(&refused.to_string()));
    }
    format!(
        "<form method=\"post\"><input type=\"hidden\" name=\"hash\" value=\"{}\">\
         <p><label>Why, as {}:<br><input name=\"justification\" required maxlength=\"1000\" size=\"60\" autocomplete=\"off\"></label></p>\
         <p><button name=\"decision\" value=\"approve\">Approve</button> <button name=\"decision\" value=\"deny\">Deny</button></p></form>",
        escaped(&held.asked.hash),
        escaped(&link.approver),
    )
}

fn gone() -> Response {
    let page = "<!doctype html><title>Sluice</title><p>This link is none of this gateway's, or its request ended long ago.</p>";
    (StatusCode::NOT_FOUND, private(Html(page))).into_response()
}

fn page(status: StatusCode, held: &Held, below: &str) -> Response {
    let (asked, seen) = (&held.asked, held.seen());
    let mut rows = String::new();
    let acting: Vec<&str> = asked.actors.iter().map(|actor| actor.subject.as_str()).collect();
    for (name, value) in [
        ("State", seen.state.name()),
        ("Requester", &asked.requester.user),
        ("Agent", &acting.join(", ")),
        ("Connection", &asked.connection),
        ("Purpose", asked.purpose.as_deref().unwrap_or("none stated")),
        ("Rule", &asked.rule),
        ("Because", asked.detail.as_deref().unwrap_or_default()),
        ("Command", &format!("{} {}", asked.method, asked.name.as_deref().unwrap_or_default())),
        ("Grants", &asked.grant.map(|grant| format!("the same command for {grant} s")).unwrap_or_default()),
        ("Until", &asked.expires.strftime("%F %T UTC").to_string()),
    ] {
        if !value.is_empty() {
            rows.push_str(&row(name, value));
        }
    }
    rows.extend(asked.facts.iter().map(|(name, value)| row(name, &plain(value))));
    rows.push_str(&row("Hash", &asked.hash));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"same-origin\"><title>{id}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}}th{{text-align:left;padding-right:1rem;\
         vertical-align:top}}td{{overflow-wrap:anywhere}}pre{{background:#f4f4f4;padding:1rem;white-space:pre-wrap;overflow-wrap:anywhere}}button{{font:inherit;padding:.4rem 1rem}}\
         input{{font:inherit;max-width:100%;box-sizing:border-box}}</style><h1>{id}</h1><table>{rows}</table><pre>{command}</pre>{below}</html>",
        id = escaped(&asked.approval),
        command = escaped(&asked.command),
    );
    (status, private(Html(page))).into_response()
}

fn row(name: &str, value: &str) -> String {
    format!("<tr><th>{}<td>{}", escaped(name), escaped(value))
}

/// A fact as people read it.
fn plain(fact: &Value) -> String {
    match fact {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(parts) => {
            parts.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Text of others in HTML: nothing of it is markup, and nothing of it is a control character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            // Such as those that turn the direction of what follows.
            letter
                if letter.is_control()
                    || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push('\u{fffd}');
            }
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_shown_as_people_read_them() {
        let facts =
            json!({ "estimate": { "cost": 9.5, "rows": 40 }, "has_where": true, "verbs": ["select", "delete"] });
        assert_eq!(plain(&facts), "estimate cost 9.5, rows 40, has_where true, verbs select, delete");
        assert_eq!(plain(&json!("the server has none")), "the server has none");
    }

    #[test]
    fn text_of_others_is_no_markup_and_turns_nothing_around() {
        assert_eq!(escaped("<a b=\"c\">&'\u{202e}\u{7}\n"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}\u{fffd}\n");
    }
}
