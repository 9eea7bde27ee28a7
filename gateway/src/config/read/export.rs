//! `[[export]]`: where records of the evidence are sent.

use std::ops::Range;

use toml::de::DeTable;
use url::Url;

use super::{
    super::{ExportConfig, ExportHttp, ExportSyslog, ExportTo, HttpEnvelope},
    Reader,
};
use crate::tls;

/// The kinds of destinations, and the keys that go with each.
const KINDS: &[(&str, &[&str])] = &[
    ("file", &["path"]),
    ("otlp", &["url", "token", "ca_file"]),
    ("splunk", &["url", "token", "ca_file"]),
    ("elastic", &["url", "token", "index", "ca_file"]),
    ("webhook", &["url", "secret", "ca_file"]),
    ("syslog", &["url", "ca_file", "certificate", "key", "hostname"]),
];
const EXPORT: &[&str] = &[
    "name",
    "to",
    "commands",
    "from",
    "path",
    "url",
    "token",
    "secret",
    "index",
    "ca_file",
    "certificate",
    "key",
    "hostname",
];
/// The port of syslog over TLS, and of syslog over TCP.
const SYSLOG_TLS: u16 = 6514;
const SYSLOG_TCP: u16 = 514;

impl Reader<'_> {
    pub(super) fn exports(&mut self, root: &DeTable<'_>) -> Vec<ExportConfig> {
        let Some(value) = root.get("export") else { return Vec::new() };
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), "`export` is a list of tables: write `[[export]]`");
            return Vec::new();
        };
        let mut exports: Vec<ExportConfig> = Vec::new();
        for value in listed.iter() {
            let Some(table) = self.table(value, "export") else { continue };
            self.known(table, EXPORT, "`[[export]]`");
            let Some(export) = self.export(table, value.span()) else { continue };
            if exports.iter().any(|other| other.name == export.name) {
                self.problem(value.span(), format!("`{}` is the name of another export", export.name));
            }
            exports.push(export);
        }
        exports
    }

    fn export(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<ExportConfig> {
        let name = match self.text_of(table, "name") {
            Some((name, span)) => {
                let is_name = (1..=64).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
                if !is_name {
                    self.problem(span, "`name` is of up to 64 letters, digits, `-` and `_`");
                }
                is_name.then_some(name)
            }
            None => {
                self.problem(span.clone(), "`[[export]]` needs `name`: its place in the records is kept under it");
                None
            }
        };
        let commands = self.bool_of(table, "commands").unwrap_or(false);
        let from_now = self.either(table, "from", ["start", "now"]) == Some("now");
        let words = || KINDS.iter().map(|(kind, _)| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
        let Some((kind, kind_span)) = self.text_of(table, "to") else {
            if !table.contains_key("to") {
                self.problem(span, format!("`[[export]]` needs `to`, one of {}", words()));
            }
            return None;
        };
        let Some((kind, own)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            self.problem(kind_span, format!("`to` is one of {}", words()));
            return None;
        };
        for (key, value) in table {
            let key: &str = key.get_ref();
            if !own.contains(&key) && KINDS.iter().any(|(_, keys)| keys.contains(&key)) {
                self.problem(value.span(), format!("`{key}` doesn't go with an export to {kind:?}"));
            }
        }
        let to = match *kind {
            "file" => match self.text_of(table, "path") {
                Some((path, _)) if path == "-" => Some(ExportTo::File(path.into())),
                Some((path, _)) if !path.is_empty() => Some(ExportTo::File(self.base.join(path))),
                _ => {
                    self.problem(span, "an export to a file needs `path`; `-` is the standard output");
                    None
                }
            },
            "syslog" => self.syslog(table, span).map(ExportTo::Syslog),
            kind => self.collector(table, kind, span).map(ExportTo::Http),
        };
        Some(ExportConfig { name: name?, to: to?, commands, from_now })
    }

    /// A collector over HTTP.
    fn collector(&mut self, table: &DeTable<'_>, kind: &str, span: Range<usize>) -> Option<ExportHttp> {
        let url = self.posted_to(table, span.clone(), "this export needs `url`, where records are posted");
        let token = match self.text_of(table, "token") {
            Some((written, span)) => Some(self.hidden(&written, span, "a token")?),
            None => None,
        };
        let scheme = match kind {
            "splunk" => "Splunk",
            "elastic" => "ApiKey",
            _ => "Bearer",
        };
        if kind == "splunk" && token.is_none() {
            self.problem(span.clone(), "an export to Splunk needs `token`, that of its HTTP event collector");
        }
        let envelope = match kind {
            "otlp" => Some(HttpEnvelope::Otlp),
            "splunk" => Some(HttpEnvelope::Splunk),
            "elastic" => {
                let index =
                    self.text_of(table, "index").map_or_else(|| "sluice-evidence".to_owned(), |(index, _)| index);
                Some(HttpEnvelope::Elastic { index })
            }
            _ => {
                if !table.contains_key("secret") {
                    self.problem(span, "an export to a webhook needs `secret`, which signs its messages");
                }
                self.signer(table, "secret").map(HttpEnvelope::Webhook)
            }
        };
        let authorities = self.authorities(table);
        let authorization = token.map(|token| format!("{scheme} {token}"));
        Some(ExportHttp { url: url?, envelope: envelope?, authorization, authorities })
    }

    fn syslog(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<ExportSyslog> {
        let Some((written, span)) = self.text_of(table, "url") else {
            self.problem(span, "an export to syslog needs `url`, such as \"tls://logs.example.org:6514\"");
            return None;
        };
        let url = Url::parse(&written).ok();
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            self.problem(span, "`url` is such as \"tls://logs.example.org:6514\"");
            return None;
        };
        // Brackets are of the URL.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let own = self.identity(table);
        let authorities = self.authorities_of(table, "ca_file");
        let (port, tls) = match url.scheme() {
            "tls" => match tls::client(authorities.as_ref(), own.as_ref()) {
                Ok(config) => (SYSLOG_TLS, Some(config)),
                Err(error) => {
                    self.problem(span, error.to_string());
                    return None;
                }
            },
            "tcp" if is_loopback => (SYSLOG_TCP, None),
            "tcp" => {
                self.problem(span, "`tcp` is for a collector on loopback alone: records go over TLS, `tls://…`");
                return None;
            }
            _ => {
                self.problem(span, "`url` begins with `tls://`, or with `tcp://` on loopback");
                return None;
            }
        };
        let hostname = match self.text_of(table, "hostname") {
            Some((name, _))
                if !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                name
            }
            Some(_) => {
                self.problem(span, "`hostname` is of up to 255 letters, digits and signs, without blanks");
                return None;
            }
            None => this_host(),
        };
        Some(ExportSyslog { host, port: url.port().unwrap_or(port), tls, hostname })
    }
}

/// What this machine is called; `-` where it doesn't say.
fn this_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) { name } else { "-".to_owned() }
}
