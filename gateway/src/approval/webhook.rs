//! Tells people what waits for an approval: messages to webhooks, in order, tried again until the request is over.
//!
//! A message never holds the command: it names the tool, and where to look.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::desk::Desk;
use super::held::Held;
use super::machine::State;
use super::words::{decide_url, status_url};
use crate::backoff::Backoff;
use crate::config::{WebhookConfig, WebhookFormat};
use crate::fetch::fetch;

/// Messages that may wait for a slow server; more are lost, which the log says. Requests wait their time all the same.
const WAITING: usize = 1024;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Something that happened to a request.
#[derive(Clone, Debug)]
pub(super) struct News {
    held: Arc<Held>,
    state: State,
    /// How many more have to approve.
    missing: usize,
    /// Who went on without an approval.
    broken: Option<String>,
}

/// Where the news goes.
#[derive(Debug)]
pub(super) struct Outbox {
    config: WebhookConfig,
    sender: mpsc::Sender<News>,
    receiver: std::sync::Mutex<Option<mpsc::Receiver<News>>>,
}

impl Outbox {
    pub(super) fn new(config: WebhookConfig) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { config, sender, receiver: std::sync::Mutex::new(Some(receiver)) }
    }

    /// Puts news there for those whom it concerns.
    pub(super) fn tell(&self, held: &Arc<Held>) {
        let concerns =
            self.config.groups.is_empty() || self.config.groups.iter().any(|group| held.asked.by.contains(group));
        let seen = held.seen();
        // What happens in between is of interest to programs alone.
        let is_news =
            self.config.format == WebhookFormat::Generic || seen.state != State::Pending || seen.approvers.is_empty();
        if !concerns || !is_news {
            return;
        }
        let broken = seen.broken.map(|party| party.user);
        let news = News { held: Arc::clone(held), state: seen.state, missing: seen.missing, broken };
        if self.sender.try_send(news).is_err() {
            tracing::error!(approval = held.asked.approval, "a webhook is not told: too much waits for it");
        }
    }

    /// Delivers news, one after the other; never ends.
    pub(super) async fn deliver(&self, desk: &Desk, public: &str) {
        let receiver = self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return std::future::pending().await };
        let mut number = 0_u64;
        while let Some(news) = receiver.recv().await {
            number += 1;
            let id = format!("{}-{number}", news.held.asked.approval);
            let (mut backoff, host) = (Backoff::new(), self.config.url.host_str().unwrap_or_default());
            while let Err(reason) = send(&self.config, &message(desk, public, &self.config, &news), &id).await {
                tracing::warn!(approval = news.held.asked.approval, host, reason, "a webhook is told again later");
                if news.held.asked.expires <= Timestamp::now() {
                    tracing::error!(approval = news.held.asked.approval, host, "a webhook was not told in time");
                    break;
                }
                backoff.wait().await;
            }
        }
        std::future::pending().await
    }
}

async fn send(config: &WebhookConfig, message: &Value, id: &str) -> Result<(), String> {
    let body = message.to_string();
    let mut request = Request::post(config.url.as_str()).header(header::CONTENT_TYPE, "application/json");
    if let Some(signer) = &config.signer {
        for (name, value) in signer.headers(id, Timestamp::now().as_second(), &body) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let status = fetch(request, config.authorities.as_ref(), MAX_ANSWER, PATIENCE).await?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
}

/// What is told, as the webhook's format has it.
fn message(desk: &Desk, public: &str, config: &WebhookConfig, news: &News) -> Value {
    let asked = &news.held.asked;
    let open = !news.state.is_final();
    let link = match &config.approver {
        Some(approver) if open => decide_url(public, &desk.link(&news.held, approver, &config.groups)),
        _ => status_url(public, &asked.approval),
    };
    let title = match news.state {
        State::Approved if news.broken.is_some() => {
            format!("THE GLASS WAS BROKEN: {} goes on without an approval", asked.approval)
        }
        State::Pending => format!("Approval {} is asked for", asked.approval),
        state => format!("Approval {} is {}", asked.approval, state.name()),
    };
    let acting: Vec<&str> = asked.actors.iter().map(|actor| actor.subject.as_str()).collect();
    let command = format!("{} {}", asked.method, asked.name.as_deref().unwrap_or_default());
    let facts = [
        ("Requester", asked.requester.user.clone()),
        ("Agent", acting.join(", ")),
        ("Connection", asked.connection.clone()),
        ("Command", command.trim_end().to_owned()),
        ("Purpose", asked.purpose.clone().unwrap_or_else(|| "none stated".to_owned())),
        ("Rule", asked.rule.clone()),
        ("Broken by", news.broken.clone().unwrap_or_default()),
        ("Until", asked.expires.strftime("%FT%TZ").to_string()),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    match config.format {
        WebhookFormat::Generic => {
            let kind = match news.state {
                State::Approved if news.broken.is_some() => "approval.broken",
                State::Pending if news.missing == asked.count as usize => "approval.requested",
                State::Pending | State::Approved => "approval.decided",
                _ => "approval.closed",
            };
            json!({ "type": kind, "timestamp": Timestamp::now(), "data": {
                "approval": asked.approval, "state": news.state, "missing": news.missing, "count": asked.count, "by": asked.by,
                "requester": asked.requester.user, "actors": acting, "connection": asked.connection, "purpose": asked.purpose,
                "rule": asked.rule, "pack": asked.pack, "method": asked.method, "name": asked.name, "hash": asked.hash,
                "expires": asked.expires, "broken_by": news.broken, "url": link,
            } })
        }
        WebhookFormat::Slack => {
            let lines: Vec<String> = facts.map(|(name, value)| format!("*{name}:* {}", mrkdwn(&value))).collect();
            json!({ "text": format!("*{}*\n{}\n<{link}|{}>", mrkdwn(&title), lines.join("\n"), if open { "Look and decide" } else { "Look" }) })
        }
        WebhookFormat::Teams => {
            let facts: Vec<Value> = facts.map(|(name, value)| json!({ "title": name, "value": value })).collect();
            json!({ "type": "message", "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
                    "body": [
                        { "type": "TextBlock", "text": title, "weight": "Bolder", "wrap": true },
                        { "type": "FactSet", "facts": facts },
                    ],
                    "actions": [{ "type": "Action.OpenUrl", "title": if open { "Look and decide" } else { "Look" }, "url": link }],
                },
            }] })
        }
    }
}

/// Text of others in Slack's markup: what would be markup is not.
fn mrkdwn(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['*', '_', '~', '`'], "\u{2217}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_no_markup() {
        assert_eq!(mrkdwn("<https://evil.example|click> *a*"), "&lt;https://evil.example|click&gt; \u{2217}a\u{2217}");
    }
}
