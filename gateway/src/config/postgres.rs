//! What the configuration says about PostgreSQL: where clients connect, and how a server is reached.

use std::net::SocketAddr;
use std::sync::Arc;

use toml::{Spanned, de::DeTable};
use url::Url;

use super::read::Reader;
use super::{PostgresListen, PostgresUpstream, UpstreamConfig};

const LISTEN: &[&str] = &["listen", "certificate", "key", "plaintext", "client_ca_file", "client_crl_file", "client"];
const PORT: u16 = 5432;

impl Reader<'_> {
    /// The table `[postgres]`.
    pub(super) fn postgres_listen(&mut self, root: &DeTable<'_>) -> Option<PostgresListen> {
        let value = root.get("postgres")?;
        let table = self.table(value, "postgres")?;
        self.known(table, LISTEN, "`[postgres]`");
        let address = match self.text_of(table, "listen") {
            Some((text, span)) => {
                let address = text.parse::<SocketAddr>().ok();
                if address.is_none() {
                    self.problem(span, "`listen` is an address and a port, such as \"127.0.0.1:5433\"");
                }
                address
            }
            None => {
                if !table.contains_key("listen") {
                    self.problem(value.span(), "`[postgres]` needs `listen`: an address and a port");
                }
                None
            }
        };
        let plaintext = self.bool_of(table, "plaintext").unwrap_or(false);
        let identity = self.identity(table);
        if identity.is_none() && !table.contains_key("certificate") && !table.contains_key("key") && !plaintext {
            let message = "clients send their tokens here: give `certificate` and `key` for TLS, or, for this machine alone, \
                           `plaintext = true`";
            self.problem(value.span(), message);
        }
        let address = address?;
        if plaintext && !address.ip().is_loopback() {
            let span = table.get("plaintext").map_or(value.span(), Spanned::span);
            self.problem(span, "`plaintext` is for loopback addresses alone: tokens would pass in clear text");
        }
        let certificates = self.client_certificates(table, "postgres.client");
        if identity.is_none() {
            self.shown_over_tls(table);
        }
        Some(PostgresListen { address, identity, plaintext, certificates })
    }

    /// The keys of a connection to a server: `postgres`, `user`, `password`, `tls`, `ca_file`, `certificate`,
    /// `key`, `on_unmaskable`.
    pub(super) fn postgres_upstream(&mut self, table: &DeTable<'_>) -> Option<UpstreamConfig> {
        let place = self.text_of(table, "postgres").and_then(|(text, span)| {
            let place = place(&text);
            if place.is_none() {
                let message = "`postgres` is \"HOST/DATABASE\" or \"HOST:PORT/DATABASE\"; the user and the password have keys of their own";
                self.problem(span, message);
            }
            place
        });
        let user = self.text_of(table, "user").map(|(user, _)| user);
        if !table.contains_key("user") {
            let span = table.get("postgres").map_or(0..0, Spanned::span);
            self.problem(span, "`postgres` needs `user`: who the gateway is on the server");
        }
        let password = match self.text_of(table, "password") {
            None => String::new(),
            Some((written, span)) => self.hidden(&written, span, "a password").unwrap_or_default(),
        };
        let tls = self.either(table, "tls", ["verify", "off"]) != Some("off");
        let refuses_unmaskable = self.either(table, "on_unmaskable", ["null", "refuse"]) == Some("refuse");
        let authorities = self.authorities(table);
        let identity = self.identity(table);
        for name in ["ca_file", "certificate"] {
            if let (Some(value), false) = (table.get(name), tls) {
                self.problem(value.span(), format!("`{name}` does not go with `tls = \"off\"`"));
            }
        }
        let ((host, port, database), user) = (place?, user?);
        Some(UpstreamConfig::Postgres(Arc::new(PostgresUpstream {
            host,
            port,
            database,
            user,
            password,
            tls,
            authorities,
            identity,
            refuses_unmaskable,
        })))
    }
}

/// The host, the port and the database.
fn place(text: &str) -> Option<(String, u16, String)> {
    let url = Url::parse(&format!("postgres://{}", text.strip_prefix("postgres://").unwrap_or(text))).ok()?;
    let has_more =
        !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some();
    let database = url.path().strip_prefix('/')?;
    if has_more || database.is_empty() || database.contains(['/', '%']) {
        return None;
    }
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.port().unwrap_or(PORT), database.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigErrors, UpstreamConfig, parse};

    fn read(rest: &str) -> Result<Config, ConfigErrors> {
        let text = format!("rules.files = [\"r\"]\n[[issuer]]\nurl = \"https://i\"\n{rest}");
        parse("sluice.toml", &text, std::path::Path::new(""), &|name| (name == "PW").then(|| "secret".to_owned()))
    }

    fn problems(rest: &str) -> Vec<String> {
        read(rest).unwrap_err().problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_server_is_reached_as_the_configuration_says() {
        let config =
            read("[connection.crm]\npostgres = \"db.internal/crm\"\nuser = \"sluice\"\npassword = \"${PW}\"").unwrap();
        let UpstreamConfig::Postgres(upstream) = &config.connections["crm"].upstream else {
            panic!("it is PostgreSQL")
        };
        let place = (upstream.host.as_str(), upstream.port, upstream.database.as_str(), upstream.user.as_str());
        assert_eq!(place, ("db.internal", 5432, "crm", "sluice"));
        assert!(upstream.tls && !upstream.refuses_unmaskable);
        assert_eq!(upstream.password, "secret");
        assert!(!format!("{config:?}").contains("secret"));
        let config = read(
            "[connection.crm]\npostgres = \"[::1]:5433/crm\"\nuser = \"s\"\ntls = \"off\"\non_unmaskable = \"refuse\"",
        )
        .unwrap();
        let UpstreamConfig::Postgres(upstream) = &config.connections["crm"].upstream else {
            panic!("it is PostgreSQL")
        };
        assert_eq!((upstream.host.as_str(), upstream.port, upstream.tls), ("::1", 5433, false));
        assert!(upstream.refuses_unmaskable);
    }

    #[test]
    fn all_that_is_wrong_with_a_server_is_told_at_once() {
        let found = problems(
            "[connection.a]\npostgres = \"u:p@db/crm\"\npassword = \"plain\"\ntls = \"on\"\non_unmaskable = \"hide\"\ncwd = \"x\"\nusr = \"y\"\n\
             [connection.b]\npostgres = \"db/x\"\nuser = \"u\"\nurl = \"https://x\"",
        );
        let wanted = [
            "HOST/DATABASE",
            "needs `user`",
            "a password is not written here",
            "`tls` is",
            "`on_unmaskable` is \"null\" or \"refuse\"",
            "`cwd` does not go with `postgres`",
            "did you mean `user`?",
            "not several",
        ];
        for part in wanted {
            assert!(found.iter().any(|message| message.contains(part)), "{part} in {found:#?}");
        }
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
    }

    #[test]
    fn clients_connect_over_tls_or_on_loopback() {
        let listen = |lines: &str| format!("[connection.a]\nurl = \"https://x\"\n[postgres]\n{lines}");
        assert!(
            problems(&listen("listen = \"0.0.0.0:5433\""))
                .iter()
                .any(|message| message.contains("`certificate` and `key`"))
        );
        let open = problems(&listen("listen = \"0.0.0.0:5433\"\nplaintext = true"));
        assert!(open.iter().any(|message| message.contains("loopback addresses alone")), "{open:#?}");
        assert!(problems(&listen("plaintext = true")).iter().any(|message| message.contains("needs `listen`")));
        let config = read(&listen("listen = \"127.0.0.1:0\"\nplaintext = true")).unwrap();
        assert!(config.postgres.is_some_and(|postgres| postgres.plaintext && postgres.identity.is_none()));
    }
}
