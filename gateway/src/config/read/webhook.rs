//! `[[webhook]]`: who is told what waits for an approval; `[approvals]`: who may go on without one.

use toml::{Spanned, de::DeTable};
use url::Url;

use super::{
    super::{WebhookConfig, WebhookFormat},
    Reader,
};
use crate::identity::is_trustworthy;

const WEBHOOK: &[&str] = &["url", "format", "secret", "groups", "approver", "ca_file"];

impl Reader<'_> {
    /// `[approvals]`: the groups whose members may go on without an approval.
    pub(super) fn break_glass(&mut self, root: &DeTable<'_>) -> Vec<String> {
        let Some(value) = root.get("approvals") else { return Vec::new() };
        let Some(table) = self.table(value, "approvals") else { return Vec::new() };
        self.known(table, &["break_glass"], "`[approvals]`");
        let groups: Vec<String> = self.list_of(table, "break_glass").into_iter().map(|(group, _)| group).collect();
        if groups.is_empty() || groups.iter().any(String::is_empty) {
            self.problem(value.span(), "`break_glass` names the groups whose members may go on without an approval");
        }
        groups
    }

    pub(super) fn webhooks(&mut self, root: &DeTable<'_>) -> Vec<WebhookConfig> {
        let Some(value) = root.get("webhook") else { return Vec::new() };
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), "`webhook` is a list of tables: write `[[webhook]]`");
            return Vec::new();
        };
        let mut webhooks = Vec::new();
        for value in listed.iter() {
            let Some(table) = self.table(value, "webhook") else { continue };
            self.known(table, WEBHOOK, "`[[webhook]]`");
            webhooks.extend(self.webhook(table, value.span()));
        }
        webhooks
    }

    /// Where something is posted: `url`, which may be a secret itself. `missing` is said where there is none.
    pub(super) fn posted_to(
        &mut self,
        table: &DeTable<'_>,
        span: std::ops::Range<usize>,
        missing: &str,
    ) -> Option<Url> {
        let Some((written, span)) = self.text_of(table, "url") else {
            self.problem(span, missing);
            return None;
        };
        match self.secret(&written, span.clone()).map(|text| Url::parse(&text)) {
            Some(Ok(url)) if is_trustworthy(&url) => Some(url),
            Some(_) => {
                self.problem(span, "`url` has to be a URL of https (http only for loopback)");
                None
            }
            None => None,
        }
    }

    fn webhook(&mut self, table: &DeTable<'_>, span: std::ops::Range<usize>) -> Option<WebhookConfig> {
        let url = self.posted_to(table, span.clone(), "`[[webhook]]` needs `url`, where messages are sent");
        let format = match self.text_of(table, "format") {
            None => WebhookFormat::Generic,
            Some((word, span)) => match word.as_str() {
                "generic" => WebhookFormat::Generic,
                "slack" => WebhookFormat::Slack,
                "teams" => WebhookFormat::Teams,
                _ => {
                    self.problem(span, "`format` is \"generic\", \"slack\" or \"teams\"");
                    WebhookFormat::Generic
                }
            },
        };
        let signer = self.signer(table, "secret");
        if format == WebhookFormat::Generic && !table.contains_key("secret") {
            self.problem(span.clone(), "a generic webhook needs `secret`, which signs its messages");
        }
        let groups: Vec<String> = self.list_of(table, "groups").into_iter().map(|(group, _)| group).collect();
        let approver = self.text_of(table, "approver").map(|(approver, _)| approver);
        if approver.is_some() && groups.is_empty() {
            let span = table.get("approver").map_or(span, Spanned::span);
            self.problem(span, "`approver` needs `groups`: those as a member of which they decide");
        }
        let authorities = self.authorities(table);
        Some(WebhookConfig { url: url?, format, signer, groups, approver, authorities })
    }
}
