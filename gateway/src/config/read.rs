//! Reads the configuration file: every error at once, each with its place and, for an unknown key, the nearest known one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::Read as _,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use url::Url;

use super::{Config, ConnectionConfig, DEFAULT_LISTEN, MaskKey, UpstreamConfig};
use crate::evidence::SigningKey;
use crate::signing::Signer;
use crate::tls::Authorities;

mod access;
mod certificates;
mod export;
mod issuer;
mod listener;
mod tunnel;
mod webhook;

/// The longest file that is read for a secret, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// One thing that is wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// All that is wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file as it was named.
    pub file: String,
    /// Whether the file could not be read at all.
    pub unreadable: bool,
    /// The problems in the order of their places; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if self.unreadable {
                write!(f, "{}: {}", self.file, problem.message)?;
            } else {
                write!(f, "{}:{}:{}: {}", self.file, problem.line, problem.column, problem.message)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads a configuration file. Relative paths in it are relative to its directory.
///
/// # Errors
///
/// [`ConfigErrors`], with `unreadable` set when there is no such file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors {
        file: name.clone(),
        unreadable: true,
        problems: vec![Problem { line: 0, column: 0, message: unreadable(&error) }],
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse(&name, &text, base, &|variable| std::env::var(variable).ok())
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::InvalidData => "can't be read: it is not UTF-8 text".to_owned(),
        _ => format!("can't be read: {error}"),
    }
}

/// Reads a configuration text. `environment` gives the values of `${NAME}`.
///
/// # Errors
///
/// [`ConfigErrors`]: all problems at once.
pub fn parse(
    file: &str,
    text: &str,
    base: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, base, environment, problems: Vec::new() };
    for error in &syntax {
        reader.problem(error.span().unwrap_or(0..0), error.message());
    }
    let config = reader.config(root.get_ref());
    let mut problems = reader.problems;
    if problems.is_empty()
        && let Some(config) = config
    {
        return Ok(config);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup();
    Err(ConfigErrors { file: file.to_owned(), unreadable: false, problems })
}

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) struct Reader<'a> {
    text: &'a str,
    pub(super) base: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

const ROOT: &[&str] = &[
    "listen",
    "certificate",
    "key",
    "client_ca_file",
    "client_crl_file",
    "client",
    "tunnel",
    "listener",
    "public_url",
    "store",
    "signing_key",
    "rules",
    "issuer",
    "revocation",
    "connection",
    "purposes",
    "roles",
    "mask_keys",
    "allowed_origins",
    "allowed_hosts",
    "postgres",
    "webhook",
    "approvals",
    "export",
];
const RULES: &[&str] = &["files", "trusted_keys"];
/// The kinds of connections, by the key that each begins with, and the keys that go with some of them alone.
const KINDS: &[(&str, &[&str])] = &[
    ("command", &["env", "cwd"]),
    ("url", &["headers", "ca_file", "agents"]),
    ("postgres", &["agents", "user", "password", "tls", "ca_file", "certificate", "key", "on_unmaskable"]),
    ("tcp", &[]),
    ("agents", &[]),
];

const CONNECTION: &[&str] = &[
    "command",
    "env",
    "cwd",
    "url",
    "headers",
    "postgres",
    "tcp",
    "agents",
    "user",
    "password",
    "tls",
    "ca_file",
    "certificate",
    "key",
    "on_unmaskable",
    "require_purpose",
    "groups",
    "allow",
    "purposes",
    "idle",
    "lifetime",
];

impl Reader<'_> {
    fn config(&mut self, root: &DeTable<'_>) -> Option<Config> {
        self.known(root, ROOT, "the configuration");
        let listen = match self.text_of(root, "listen") {
            Some((text, span)) => text.parse::<SocketAddr>().map_err(|_| {
                self.problem(span, "`listen` is an address and a port, such as \"127.0.0.1:7700\"");
            }),
            None => Ok(DEFAULT_LISTEN),
        };
        let identity = self.identity(root);
        let certificates = self.client_certificates(root, "client");
        if identity.is_none() {
            self.shown_over_tls(root);
        }
        let tunnel = self.tunnel(root);
        let public_url = self.url_of(root, "public_url");
        let store = self.text_of(root, "store").map_or_else(|| PathBuf::from("evidence"), |(text, _)| text.into());
        let signing_key = self.signing_key(root);
        let (mut rules, mut trusted_keys) = (Vec::new(), Vec::new());
        match root.get("rules") {
            None => self.problem(0..0, "`[rules]` is missing: say `files = [\"rules/\"]`"),
            Some(value) => {
                if let Some(table) = self.table(value, "rules") {
                    self.known(table, RULES, "`[rules]`");
                    let before = self.problems.len();
                    rules = self.list_of(table, "files").into_iter().map(|(file, _)| self.base.join(file)).collect();
                    let keys = self.list_of(table, "trusted_keys").into_iter();
                    trusted_keys = keys.map(|(file, _)| self.base.join(file)).collect();
                    if rules.is_empty() && before == self.problems.len() {
                        self.problem(value.span(), "`files` names no rules; a gateway without rules protects nothing");
                    }
                }
            }
        }
        let issuers = self.issuers(root);
        let deny_list = self.deny_list(root);
        let connections = self.connections(root);
        let listeners = self.listeners(root, &connections);
        let roles = self.roles(root);
        let mask_keys = self.mask_keys(root);
        let postgres = self.postgres_listen(root);
        let (break_glass, webhooks) = (self.break_glass(root), self.webhooks(root));
        let exports = self.exports(root);
        let allowed_origins = self.list_of(root, "allowed_origins").into_iter().map(|(text, _)| text).collect();
        let allowed_hosts = self.list_of(root, "allowed_hosts").into_iter().map(|(text, _)| text).collect();
        Some(Config {
            listen: listen.ok()?,
            identity,
            certificates,
            tunnel,
            listeners,
            public_url,
            store: self.base.join(store),
            signing_key,
            rules,
            trusted_keys,
            issuers,
            deny_list,
            roles,
            connections,
            allowed_origins,
            allowed_hosts,
            mask_keys,
            break_glass,
            webhooks,
            exports,
            postgres,
            dev: None,
        })
    }

    fn connections(&mut self, root: &DeTable<'_>) -> BTreeMap<String, ConnectionConfig> {
        let mut connections = BTreeMap::new();
        let Some(table) = root.get("connection").and_then(|value| self.table(value, "connection")) else {
            if !root.contains_key("connection") {
                self.problem(0..0, "`[connection.NAME]` is missing: there is nothing to stand in front of");
            }
            return connections;
        };
        let purposes = self.purposes(root, "`[purposes]`").unwrap_or_default();
        for (name, value) in table {
            let named = name.get_ref();
            let is_name = !named.is_empty()
                && named.len() <= 64
                && named.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            if !is_name {
                self.problem(name.span(), "a connection's name is 1 to 64 of A-Z, a-z, 0-9, `-` and `_`");
            }
            let Some(table) = self.table(value, "connection") else { continue };
            self.known(table, CONNECTION, &format!("`[connection.{named}]`"));
            // Everything is read before anything is given up, so that one run says all that is wrong.
            let upstream = self.upstream(table, value.span());
            let agents: Vec<String> = self.list_of(table, "agents").into_iter().map(|(group, _)| group).collect();
            if let (Some(value), true) = (table.get("agents"), agents.is_empty() || agents.iter().any(String::is_empty))
            {
                self.problem(
                    value.span(),
                    "`agents` names the groups whose members may serve the connection: [\"ledger-agents\"]",
                );
            }
            let require_purpose = self.bool_of(table, "require_purpose").unwrap_or(false);
            let groups = self.list_of(table, "groups").into_iter().map(|(text, _)| text).collect();
            let (access, confirm) = self.access(table, named, &purposes);
            let idle = self.duration_of(table, "idle");
            if let Some((_, span)) = idle.clone().filter(|(idle, _)| *idle < Duration::from_secs(1)) {
                self.problem(span, "`idle` is at least \"1s\"");
            }
            let lifetime = self.duration_of(table, "lifetime");
            if let Some((_, span)) = lifetime.clone().filter(|(lifetime, _)| *lifetime < Duration::from_secs(1)) {
                self.problem(
                    span,
                    "`lifetime` is at least \"1s\"; leave it out for sessions that last as long as they are used",
                );
            }
            let Some(upstream) = upstream else { continue };
            let mut connection = ConnectionConfig {
                require_purpose,
                agents,
                groups,
                access,
                confirm,
                ..ConnectionConfig::new(upstream)
            };
            connection.lifetime = lifetime.map(|(lifetime, _)| lifetime);
            if let Some((idle, _)) = idle {
                connection.idle = idle;
            }
            connections.insert(named.to_string(), connection);
        }
        connections
    }

    fn upstream(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<UpstreamConfig> {
        let mut named: Vec<&str> =
            KINDS.iter().map(|(kind, _)| *kind).filter(|kind| table.contains_key(*kind)).collect();
        // A server of these kinds may be one that agents serve.
        if let ["url" | "postgres", "agents"] = named[..] {
            named.pop();
        }
        if let [kind] = named[..] {
            self.foreign(table, kind);
        }
        match named.as_slice() {
            ["tcp"] => self.target(table).map(|address| UpstreamConfig::Tcp { address }),
            ["agents"] => Some(UpstreamConfig::Agents),
            ["command"] => {
                let command: Vec<String> = self.list_of(table, "command").into_iter().map(|(text, _)| text).collect();
                if command.first().is_none_or(String::is_empty) {
                    self.problem(span, "`command` is the program and its arguments: [\"program\", \"argument\"]");
                    return None;
                }
                let env = self.secrets_of(table, "env");
                let cwd = self.text_of(table, "cwd").map(|(text, _)| self.base.join(text));
                Some(UpstreamConfig::Stdio { command, env, cwd })
            }
            ["postgres"] => self.postgres_upstream(table),
            ["url"] => {
                let headers = self.secrets_of(table, "headers");
                let span = table.get("headers").map_or(span, Spanned::span);
                for (name, value) in &headers {
                    let valid = http::HeaderName::try_from(name.as_str()).is_ok()
                        && http::HeaderValue::try_from(value.as_str()).is_ok();
                    if !valid {
                        self.problem(span.clone(), format!("`{name}` is no valid header, or its value is none"));
                    }
                }
                let authorities = self.authorities(table);
                Some(UpstreamConfig::Http { url: self.url_of(table, "url")?, headers, authorities })
            }
            [] => {
                self.problem(
                    span,
                    "a connection needs `command` (stdio), `url` (HTTP), `postgres`, `tcp` or `agents` (bytes)",
                );
                None
            }
            [..] => {
                self.problem(
                    span,
                    "a connection has one of `command` (stdio), `url` (HTTP), `postgres`, `tcp` and `agents` (bytes), not several",
                );
                None
            }
        }
    }

    /// Keys that go with other kinds of connections alone.
    fn foreign(&mut self, table: &DeTable<'_>, kind: &str) {
        let own = |name: &str| KINDS.iter().any(|(other, keys)| *other == kind && keys.contains(&name));
        let keys: BTreeSet<&str> = KINDS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        for name in keys.into_iter().filter(|name| *name != kind && !own(name)) {
            if let Some((key, _)) = table.get_key_value(name) {
                self.problem(key.span(), format!("`{name}` does not go with `{kind}`"));
            }
        }
    }

    /// The certificates of `ca_file`.
    pub(super) fn authorities(&mut self, table: &DeTable<'_>) -> Option<Authorities> {
        let (_, span) = self.text_of(table, "ca_file")?;
        if let Some((url, _)) = self.text_of(table, "url")
            && !url.starts_with("https:")
        {
            self.problem(span, "`ca_file` goes with a URL of https: nothing else has a certificate");
            return None;
        }
        self.authorities_of(table, "ca_file")
    }

    /// The certificate authorities in the file that this key names.
    pub(super) fn authorities_of(&mut self, table: &DeTable<'_>, key: &str) -> Option<Authorities> {
        let (file, span) = self.text_of(table, key)?;
        let read = Authorities::read(&self.base.join(&file));
        read.map_err(|error| self.problem(span, format!("`{key}`: `{file}` {error}"))).ok()
    }

    fn mask_keys(&mut self, root: &DeTable<'_>) -> BTreeMap<String, MaskKey> {
        let mut keys = BTreeMap::new();
        let Some(value) = root.get("mask_keys") else { return keys };
        let spans: BTreeMap<String, Range<usize>> = self
            .table(value, "mask_keys")
            .map(|table| table.iter().map(|(name, value)| (name.get_ref().to_string(), value.span())).collect())
            .unwrap_or_default();
        if let Some(table) = value.get_ref().as_table() {
            for (name, value) in table {
                let written = value.get_ref().as_str().unwrap_or_default();
                let named = name.get_ref().to_string();
                let Some(secret) = self.hidden(written, value.span(), "a key") else { continue };
                match key_bytes(&secret) {
                    Some(bytes) => drop(keys.insert(named, MaskKey::new(bytes))),
                    None => {
                        let span = spans.get(&named).cloned().unwrap_or(0..0);
                        self.problem(span, format!("the key `{named}` is not 32 bytes in hex or base64"));
                    }
                }
            }
        }
        keys
    }

    /// A table of texts whose values may be `${VARIABLE}` (also within a text) or `file:PATH`.
    pub(super) fn secrets_of(&mut self, table: &DeTable<'_>, name: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        let Some(value) = table.get(name) else { return texts };
        let Some(table) = self.table(value, name) else { return texts };
        for (key, value) in table {
            match value.get_ref().as_str() {
                Some(text) => {
                    if let Some(text) = self.secret(text, value.span()) {
                        texts.insert(key.get_ref().to_string(), text);
                    }
                }
                None => self.wrong_type(value, key.get_ref(), "a string"),
            }
        }
        texts
    }

    pub(super) fn secret(&mut self, text: &str, span: Range<usize>) -> Option<String> {
        if let Some(path) = text.strip_prefix("file:") {
            return match read_secret(&self.base.join(path)) {
                Ok(content) => Some(content.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problem(span, format!("can't read the file `{path}`: {error}"));
                    None
                }
            };
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((variable, after)) = after.split_once('}') else {
                self.problem(span, "`${` without `}`");
                return None;
            };
            match (self.environment)(variable) {
                Some(value) => out.push_str(&value),
                None => {
                    self.problem(span, format!("the environment variable `{variable}` is not set"));
                    return None;
                }
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// A secret that stands elsewhere, in a file or the environment: never in the configuration itself. `what`: what it is called.
    pub(super) fn hidden(&mut self, written: &str, span: Range<usize>, what: &str) -> Option<String> {
        if !written.starts_with("file:") && !written.starts_with("${") {
            self.problem(span, format!("{what} is not written here: say \"file:PATH\" or \"${{VARIABLE}}\""));
            return None;
        }
        self.secret(written, span)
    }

    /// What signs the checkpoints of the evidence; a file is made when it is missing.
    fn signing_key(&mut self, table: &DeTable<'_>) -> Option<SigningKey> {
        let (written, span) = self.text_of(table, "signing_key")?;
        if let Some(path) = written.strip_prefix("file:") {
            return Some(SigningKey::File(self.base.join(path)));
        }
        self.hidden(&written, span, "a key").map(SigningKey::Given)
    }

    /// What messages are signed with; None where there is nothing, or nothing good.
    pub(super) fn signer(&mut self, table: &DeTable<'_>, name: &str) -> Option<Signer> {
        let (written, span) = self.text_of(table, name)?;
        let signer = Signer::new(&self.hidden(&written, span.clone(), "a secret")?);
        if signer.is_none() {
            self.problem(span, format!("`{name}` is at least 24 bytes, or `whsec_` and base64 of as many"));
        }
        signer
    }

    pub(super) fn known(&mut self, table: &DeTable<'_>, names: &[&str], place: &str) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if names.contains(&name) {
                continue;
            }
            let nearest = names
                .iter()
                .map(|known| (strsim::damerau_levenshtein(name, known), known))
                .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
                .min_by_key(|(distance, _)| *distance);
            let hint = match nearest {
                Some((_, known)) => format!("; did you mean `{known}`?"),
                None => format!("; known are {}", names.join(", ")),
            };
            self.problem(key.span(), format!("unknown key `{name}` in {place}{hint}"));
        }
    }

    pub(super) fn table<'v, 'i>(&mut self, value: &'v Value<'i>, name: &str) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, name, "a table");
        }
        table
    }

    pub(super) fn text_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<(String, Range<usize>)> {
        let value = table.get(name)?;
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(value, name, "a string");
        }
        text.map(|text| (text, value.span()))
    }

    /// A key that is one of two words; None where it is left out, or another.
    pub(super) fn either(&mut self, table: &DeTable<'_>, name: &str, words: [&'static str; 2]) -> Option<&'static str> {
        let (text, span) = self.text_of(table, name)?;
        let word = words.into_iter().find(|word| *word == text);
        if word.is_none() {
            self.problem(span, format!("`{name}` is \"{}\" or \"{}\"", words[0], words[1]));
        }
        word
    }

    pub(super) fn bool_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<bool> {
        let value = table.get(name)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(value, name, "true or false");
        }
        found
    }

    pub(super) fn url_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<Url> {
        let (text, span) = self.text_of(table, name)?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            _ => {
                self.problem(span, format!("`{name}` is a URL with http or https"));
                None
            }
        }
    }

    pub(super) fn duration_of(&mut self, table: &DeTable<'_>, name: &str) -> Option<(Duration, Range<usize>)> {
        let (text, span) = self.text_of(table, name)?;
        match parse_duration(&text) {
            Some(duration) => Some((duration, span)),
            None => {
                self.problem(span, format!("`{name}` is a duration such as \"30s\", \"15m\" or \"1h\""));
                None
            }
        }
    }

    pub(super) fn list_of(&mut self, table: &DeTable<'_>, name: &str) -> Vec<(String, Range<usize>)> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let Some(listed) = value.get_ref().as_array() else {
            self.wrong_type(value, name, "a list of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for value in listed.iter() {
            match value.get_ref().as_str() {
                Some(text) => texts.push((text.to_owned(), value.span())),
                None => self.wrong_type(value, name, "a list of strings"),
            }
        }
        texts
    }

    pub(super) fn wrong_type(&mut self, value: &Value<'_>, name: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        self.problem(value.span(), format!("`{name}` is {wanted}, not {found}"));
    }

    pub(super) fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.problems.push(Problem {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        });
    }
}

/// The text of a secret's file. A device or a file named by mistake is not read to an end it may not have.
fn read_secret(path: &Path) -> std::io::Result<String> {
    let mut content = String::new();
    File::open(path)?.take(MAX_SECRET + 1).read_to_string(&mut content)?;
    if content.len() as u64 > MAX_SECRET {
        return Err(std::io::Error::other("it is longer than 64 KiB, too long for a secret"));
    }
    Ok(content)
}

/// A duration such as `30s`, `15m` or `1h 30m`; never negative.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok())
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
    let text = text.trim().as_bytes();
    let encodings = [HEXLOWER_PERMISSIVE, BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    encodings.iter().find_map(|encoding| encoding.decode(text).ok()?.try_into().ok())
}
