//! Who may come in: `allow` tables of connections, `[purposes]`, `[roles]`.

use std::{ops::Range, sync::Arc};

use jiff::{civil::Date, tz::TimeZone};
use sluice_dsl::UserKind;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Reader;
use crate::{
    authorisation::{Access, Allow, Hours, Pattern, Purposes, Times, day_named},
    identity::{Holders, Roles, is_trustworthy},
    session::Confirm,
};

/// What is accepted as a purpose.
#[derive(Clone, Default)]
pub(super) struct Accepted {
    purposes: Option<Arc<Purposes>>,
    confirm: Option<Arc<Confirm>>,
}

const ALLOW: &[&str] = &["groups", "kinds", "purposes", "days", "hours", "timezone", "until"];
const PURPOSES: &[&str] = &["allowed", "pattern", "check", "check_secret", "check_ca_file"];
const ROLES: &[&str] = &["admin", "approver", "auditor"];

impl Reader<'_> {
    /// What a connection asks besides `groups`. Its own purposes take the place of everybody's.
    pub(super) fn access(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        everywhere: &Accepted,
    ) -> (Access, Option<Arc<Confirm>>) {
        let own = self.purposes(table, &format!("`[connection.{name}.purposes]`"));
        let Accepted { purposes, confirm } = own.unwrap_or_else(|| everywhere.clone());
        (Access { allow: self.allow(table, name), purposes }, confirm)
    }

    fn allow(&mut self, table: &DeTable<'_>, name: &str) -> Option<Arc<[Allow]>> {
        let value = table.get("allow")?;
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), format!("`allow` is a list of tables: write `[[connection.{name}.allow]]`"));
            return None;
        };
        if listed.iter().next().is_none() {
            self.problem(value.span(), "`allow` lets nobody in; leave it out to let in everybody of `groups`");
        }
        let mut tables = Vec::new();
        for (index, value) in listed.iter().enumerate() {
            let Some(table) = self.table(value, "allow") else { continue };
            self.known(table, ALLOW, &format!("`[[connection.{name}.allow]]`"));
            if table.is_empty() {
                self.problem(value.span(), "this `allow` lets everybody in; say whom, when or for what");
            }
            tables.push(Allow {
                number: index + 1,
                groups: self
                    .some_of(table, "groups")
                    .map(|groups| groups.into_iter().map(|(group, _)| group).collect()),
                kinds: self.kinds(table),
                purposes: self.some_of(table, "purposes").map(|texts| self.patterns(texts)),
                times: self.times(table),
            });
        }
        Some(tables.into())
    }

    /// A list that, where it is given, has to name something.
    fn some_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<Vec<(String, Range<usize>)>> {
        let value = table.get(name)?;
        let listed = self.list_of(table, name);
        if listed.is_empty() && value.get_ref().as_array().is_some_and(|array| array.iter().next().is_none()) {
            self.problem(value.span(), format!("`{name}` names nothing, so that it never holds; leave it out for any"));
        }
        Some(listed)
    }

    fn kinds(&mut self, table: &DeTable<'_>) -> Option<Vec<UserKind>> {
        let mut kinds = Vec::new();
        for (text, span) in self.some_of(table, "kinds")? {
            match text.as_str() {
                "person" => kinds.push(UserKind::Person),
                "service" => kinds.push(UserKind::Service),
                _ => self.problem(span, "`kinds` are \"person\" and \"service\""),
            }
        }
        Some(kinds)
    }

    fn patterns(&mut self, texts: Vec<(String, Range<usize>)>) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for (text, span) in texts {
            match Pattern::parse(&text) {
                Some(pattern) => patterns.push(pattern),
                None => self.problem(span, "a purpose is a text; `*` stands for any characters"),
            }
        }
        patterns
    }

    fn times(&mut self, table: &DeTable<'_>) -> Times {
        let days = self.some_of(table, "days").map(|listed| {
            let mut days = Vec::new();
            for (text, span) in listed {
                match day_named(&text) {
                    Some(day) => days.push(day),
                    None => self
                        .problem(span, "`days` are \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" and \"sun\""),
                }
            }
            days
        });
        let hours = self.text_of(table, "hours").and_then(|(text, span)| match Hours::parse(&text) {
            Ok(hours) => Some(hours),
            Err(error) => {
                self.problem(span, format!("`hours`: {error}"));
                None
            }
        });
        let until = self.date_of(table, "until");
        let has_times = ["days", "hours", "until"].into_iter().any(|name| table.contains_key(name));
        let zone = self.text_of(table, "timezone").and_then(|(text, span)| {
            if !has_times {
                self.problem(span.clone(), "`timezone` goes with `days`, `hours` or `until`");
            }
            let zone = TimeZone::get(&text).ok();
            if zone.is_none() {
                self.problem(span, format!("`{text}` is no time zone such as \"Europe/Berlin\" (IANA)"));
            }
            zone
        });
        Times { days, hours, until, zone: zone.unwrap_or(TimeZone::UTC) }
    }

    /// A day: a string, or a date as TOML has it.
    fn date_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<Date> {
        let value = table.get(name)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            _ => {
                self.wrong_type(value, name, "a date");
                return None;
            }
        };
        // Nothing but the date: a time of day would be left out in silence.
        let date = (text.len() == "2027-01-31".len()).then(|| text.parse::<Date>().ok()).flatten();
        if date.is_none() {
            self.problem(value.span(), format!("`{name}` is the last day, such as \"2027-01-31\""));
        }
        date
    }

    /// `[purposes]`, of all connections or of one.
    pub(super) fn purposes(&mut self, parent: &DeTable<'_>, place: &str) -> Option<Accepted> {
        let value = parent.get("purposes")?;
        let table = self.table(value, "purposes")?;
        self.known(table, PURPOSES, place);
        if !["allowed", "pattern", "check"].into_iter().any(|name| table.contains_key(name)) {
            self.problem(
                value.span(),
                format!(
                    "{place} needs `allowed`, a list of purposes, `pattern`, which they fit, or `check`, which is asked"
                ),
            );
        }
        let allowed = self.some_of(table, "allowed").map(|texts| self.patterns(texts)).unwrap_or_default();
        let pattern = self.text_of(table, "pattern");
        let span = pattern.as_ref().map_or(0..0, |(_, span)| span.clone());
        let restricted = !allowed.is_empty() || pattern.is_some();
        let purposes = match Purposes::new(allowed, pattern.as_ref().map(|(text, _)| text.as_str())) {
            Ok(purposes) => restricted.then(|| Arc::new(purposes)),
            Err(error) => {
                self.problem(span, format!("`pattern`: {error}"));
                None
            }
        };
        Some(Accepted { purposes, confirm: self.confirm(table, place).map(Arc::new) })
    }

    /// `check`: who is asked about a purpose.
    fn confirm(&mut self, table: &DeTable<'_>, place: &str) -> Option<Confirm> {
        let span = |name: &str| table.get(name).map_or(0..0, Spanned::span);
        if !table.contains_key("check") {
            for name in ["check_secret", "check_ca_file"].into_iter().filter(|name| table.contains_key(*name)) {
                self.problem(span(name), format!("`{name}` goes with `check`"));
            }
            return None;
        }
        let url = self.url_of(table, "check")?;
        if !is_trustworthy(&url) {
            self.problem(span("check"), "`check` has to be https (http only for loopback)");
        }
        let authorities = self.authorities_of(table, "check_ca_file");
        if !table.contains_key("check_secret") {
            self.problem(span("check"), format!("{place} needs `check_secret`, with which questions are signed"));
        }
        let signer = self.signer(table, "check_secret");
        Some(Confirm::new(url, signer?, authorities))
    }

    /// `[roles]`: who may do what with the gateway itself.
    pub(super) fn roles(&mut self, root: &DeTable<'_>) -> Roles {
        let Some(table) = root.get("roles").and_then(|value| self.table(value, "roles")) else {
            return Roles::default();
        };
        self.known(table, ROLES, "`[roles]`");
        Roles {
            admin: self.holders(table, "admin"),
            approver: self.holders(table, "approver"),
            auditor: self.holders(table, "auditor"),
        }
    }

    fn holders(&mut self, table: &DeTable<'_>, name: &str) -> Vec<Holders> {
        let mut holders = Vec::new();
        for (text, span) in self.list_of(table, name) {
            match Holders::parse(&text) {
                Some(found) => holders.push(found),
                None => self.problem(span, format!("`{name}` names groups, and the issuer's roles as \"role:NAME\"")),
            }
        }
        holders
    }

    /// The purpose of a listener has to be one that its connection accepts.
    pub(super) fn accepted(&mut self, table: &DeTable<'_>, access: &Access) {
        let Some(purposes) = &access.purposes else { return };
        let Some(value) = table.get("purpose") else { return };
        if value.get_ref().as_str().is_some_and(|purpose| !purposes.accepts(purpose.trim())) {
            let message = format!("this `purpose` is none that the connection accepts: {purposes}");
            self.problem(Spanned::span(value), message);
        }
    }
}
