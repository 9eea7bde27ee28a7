//! `[[issuer]]`: whose tokens are accepted, and what their claims mean.

use std::{ops::Range, path::PathBuf, time::Duration};

use sluice_dsl::UserKind;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{super::IssuerConfig, Reader};
use crate::identity::{ClaimMapping, ClaimPath, DenyList, KindMapping, algorithm_named, is_trustworthy};

const ISSUER: &[&str] = &[
    "url",
    "audience",
    "audiences",
    "clients",
    "jwks_url",
    "ca_file",
    "groups_claim",
    "roles_claim",
    "user_claim",
    "group_prefix",
    "groups",
    "kind",
    "kind_claim",
    "service_kinds",
    "require",
    "actors",
    "algorithms",
    "clock_skew",
    "keys_max_age",
];

impl Reader<'_> {
    pub(super) fn issuers(&mut self, root: &DeTable<'_>) -> Vec<IssuerConfig> {
        let Some(value) = root.get("issuer") else {
            self.problem(0..0, "`[[issuer]]` is missing: without an issuer nobody can authenticate");
            return Vec::new();
        };
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), "`issuer` is a list of tables: write `[[issuer]]`");
            return Vec::new();
        };
        let mut issuers: Vec<IssuerConfig> = Vec::new();
        for value in listed.iter() {
            let Some(table) = self.table(value, "issuer") else { continue };
            self.known(table, ISSUER, "`[[issuer]]`");
            let Some(url) = self.url_of(table, "url") else {
                if !table.contains_key("url") {
                    self.problem(value.span(), "an issuer needs its `url`");
                }
                continue;
            };
            // As written: issuers are compared byte for byte.
            let written = self.text_of(table, "url").map_or_else(|| url.to_string(), |(text, _)| text);
            if issuers.iter().any(|other| other.url == written) {
                self.problem(value.span(), "this issuer is listed twice");
            }
            let mut issuer = IssuerConfig::new(written);
            for name in ["url", "jwks_url"] {
                if let Some(url) = self.url_of(table, name)
                    && !is_trustworthy(&url)
                {
                    let span = table.get(name).map_or(0..0, Spanned::span);
                    self.problem(span, format!("`{name}` has to be https (http only for loopback)"));
                }
            }
            issuer.jwks_url = self.url_of(table, "jwks_url");
            for name in ["audience", "audiences"] {
                issuer.audiences.extend(self.one_or_more(table, name));
            }
            issuer.clients = self.list_of(table, "clients").into_iter().map(|(text, _)| text).collect();
            if let (Some(value), []) = (table.get("clients"), &issuer.clients[..]) {
                self.problem(value.span(), "`clients` allows nobody; leave it out to take tokens of any client");
            }
            issuer.authorities = self.authorities(table);
            issuer.claims = self.claims(table);
            if table.contains_key("algorithms") {
                let named = self.list_of(table, "algorithms");
                issuer.algorithms.clear();
                for (name, span) in named {
                    match algorithm_named(&name) {
                        Some(algorithm) => issuer.algorithms.push(algorithm),
                        None => self.problem(
                            span,
                            "not an accepted algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
                        ),
                    }
                }
                if issuer.algorithms.is_empty() {
                    self.problem(value.span(), "`algorithms` allows nothing; leave it out for the default");
                }
            }
            if let Some((skew, span)) = self.duration_of(table, "clock_skew") {
                if skew > Duration::from_secs(300) {
                    self.problem(span, "`clock_skew` is at most \"5m\"");
                }
                issuer.clock_skew = skew;
            }
            if let Some((age, span)) = self.duration_of(table, "keys_max_age") {
                if age < Duration::from_secs(60) || age > Duration::from_secs(24 * 3600) {
                    self.problem(span, "`keys_max_age` is \"1m\" to \"24h\"");
                }
                issuer.keys_max_age = age;
            }
            issuers.push(issuer);
        }
        issuers
    }

    /// `[revocation]`: the file of those who are refused although their tokens are good.
    pub(super) fn deny_list(&mut self, root: &DeTable<'_>) -> Option<PathBuf> {
        let value = root.get("revocation")?;
        let table = self.table(value, "revocation")?;
        self.known(table, &["deny_list"], "`[revocation]`");
        let Some((file, span)) = self.text_of(table, "deny_list") else {
            if !table.contains_key("deny_list") {
                self.problem(value.span(), "`[revocation]` needs `deny_list`, the file that names who is refused");
            }
            return None;
        };
        let path = self.base.join(&file);
        if let Err(reason) = DenyList::open(&path) {
            self.problem(span, format!("`deny_list`: `{file}`: {reason}"));
        }
        Some(path)
    }

    fn claims(&mut self, table: &DeTable<'_>) -> ClaimMapping {
        let mut mapping = ClaimMapping::default();
        if table.contains_key("groups_claim") {
            mapping.groups = self.paths(table, "groups_claim");
        }
        mapping.roles = self.paths(table, "roles_claim");
        if let Some((text, span)) = self.text_of(table, "user_claim") {
            mapping.user = self.path(&text, span, "user_claim");
        }
        if let Some((prefix, span)) = self.text_of(table, "group_prefix") {
            if prefix.is_empty() || prefix.len() > 64 || prefix.chars().any(char::is_control) {
                self.problem(span, "`group_prefix` is a short text such as \"github:\"; leave it out for none");
            }
            mapping.prefix = prefix;
        }
        mapping.everybody = self.list_of(table, "groups").into_iter().map(|(group, _)| group).collect();
        mapping.kind = self.kind(table);
        mapping.require = self.required(table);
        if table.contains_key("actors") {
            mapping.actors = Some(self.list_of(table, "actors").into_iter().map(|(actor, _)| actor).collect());
        }
        mapping
    }

    fn kind(&mut self, table: &DeTable<'_>) -> KindMapping {
        let fixed = self.text_of(table, "kind");
        let claim = self.text_of(table, "kind_claim");
        let services: Vec<String> = self.list_of(table, "service_kinds").into_iter().map(|(value, _)| value).collect();
        match (fixed, claim) {
            (Some(_), Some((_, span))) => {
                self.problem(span, "either all are of one `kind`, or `kind_claim` tells; not both");
            }
            (Some((kind, span)), None) => match kind.as_str() {
                "person" => return KindMapping::Fixed(UserKind::Person),
                "service" => return KindMapping::Fixed(UserKind::Service),
                _ => self.problem(span, "`kind` is \"person\" or \"service\""),
            },
            (None, Some((path, span))) => {
                if services.is_empty() {
                    self.problem(span.clone(), "`kind_claim` needs `service_kinds`: the values that are programs");
                }
                if let Some(path) = self.path(&path, span, "kind_claim") {
                    return KindMapping::Claim(path, services);
                }
            }
            (None, None) => {
                if let Some(value) = table.get("service_kinds") {
                    self.problem(value.span(), "`service_kinds` needs `kind_claim`: the claim that has them");
                }
            }
        }
        KindMapping::Standard
    }

    fn required(&mut self, table: &DeTable<'_>) -> Vec<(ClaimPath, Vec<String>)> {
        let mut required = Vec::new();
        let Some(value) = table.get("require") else { return required };
        let Some(claims) = self.table(value, "require") else { return required };
        for (name, value) in claims {
            let accepted = self.one_or_more(claims, name.get_ref());
            let is_value = |value: &String| !value.is_empty() && value != "*";
            if accepted.is_empty() || !accepted.iter().all(is_value) {
                self.problem(value.span(), "a claim that is required needs the values that are accepted");
            }
            if let Some(path) = self.path(name.get_ref(), name.span(), "require") {
                required.push((path, accepted));
            }
        }
        required
    }

    /// Paths of claims: a list, or one.
    fn paths(&mut self, table: &DeTable<'_>, name: &str) -> Vec<ClaimPath> {
        let span = table.get(name).map_or(0..0, Spanned::span);
        self.one_or_more(table, name).iter().filter_map(|path| self.path(path, span.clone(), name)).collect()
    }

    fn path(&mut self, text: &str, span: Range<usize>, name: &str) -> Option<ClaimPath> {
        let path = ClaimPath::parse(text);
        if path.is_none() {
            self.problem(
                span,
                format!("`{name}` is the name of a claim, a dotted path to one, or a JSON Pointer (`/kubernetes.io/namespace`)"),
            );
        }
        path
    }

    /// A list of strings, or one string.
    fn one_or_more(&mut self, table: &DeTable<'_>, name: &str) -> Vec<String> {
        match table.get(name).map(Spanned::get_ref) {
            Some(DeValue::String(one)) => vec![one.to_string()],
            _ => self.list_of(table, name).into_iter().map(|(text, _)| text).collect(),
        }
    }
}
