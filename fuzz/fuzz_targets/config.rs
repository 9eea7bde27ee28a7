//! The configuration: any text gives a configuration or problems with their places, the same each time; what is accepted
//! is TOML and guards the gateway; no secret of the environment is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_gateway::config::{Config, ExportTo, UpstreamConfig, WebhookFormat, parse};
use std::path::Path;

const SECRET: &str = "pa55-of-the-environment";

fuzz_target!(|text: &str| {
    let environment = |name: &str| match name {
        "TOKEN" => Some(SECRET.to_owned()),
        "KEY" => Some("07".repeat(32)),
        _ => None,
    };
    let read = || parse("fuzz.toml", text, Path::new("/nowhere"), &environment);
    match read() {
        Ok(config) => {
            assert!(toml::from_str::<toml::Table>(text).is_ok(), "accepted what is no TOML");
            guarded(&config);
            let shown = format!("{config:?}");
            assert_eq!(shown, format!("{:?}", read().expect("the same text")));
            assert!(text.contains(SECRET) || !shown.contains(SECRET), "a secret is shown");
        }
        Err(errors) => {
            assert_eq!(read().expect_err("the same text"), errors);
            assert!(!errors.problems.is_empty() && !errors.unreadable);
            assert!(errors.problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
            let lines: Vec<&str> = text.split('\n').collect();
            for problem in &errors.problems {
                let line = lines.get(problem.line - 1).expect("a problem stands on a line of the text");
                assert!((1..=line.chars().count() + 1).contains(&problem.column), "a column of its line");
                assert!(!problem.message.is_empty());
            }
            assert!(text.contains(SECRET) || !errors.to_string().contains(SECRET), "a secret is shown");
        }
    }
});

/// What the documentation promises of every configuration that is accepted.
fn guarded(config: &Config) {
    assert!(!config.rules.is_empty() && !config.issuers.is_empty() && !config.connections.is_empty());
    assert!(config.dev.is_none(), "development mode comes from no file");
    for issuer in &config.issuers {
        assert!(!issuer.algorithms.is_empty());
        assert!(issuer.clock_skew.as_secs() <= 300, "clocks differ by minutes at most");
        for url in [Some(issuer.url.as_str()), issuer.jwks_url.as_ref().map(|url| url.as_str())].into_iter().flatten() {
            let url: url::Url = url.parse().expect("a URL");
            let local = match url.host() {
                Some(url::Host::Domain(name)) => name == "localhost",
                Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
                Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
                None => false,
            };
            assert!(url.scheme() == "https" || url.scheme() == "http" && local, "keys over an open line");
        }
    }
    for (name, connection) in &config.connections {
        assert!(!name.is_empty() && !name.contains(['/', '?', '#', '%']), "a name is a segment of a path");
        assert!(connection.idle.as_secs() >= 1);
        assert!(connection.agents.iter().all(|group| !group.is_empty()));
        match &connection.upstream {
            UpstreamConfig::Stdio { command, .. } => assert!(!command[0].is_empty()),
            UpstreamConfig::Http { url, headers, .. } => {
                assert!(matches!(url.scheme(), "http" | "https"));
                for (name, value) in headers {
                    assert!(http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value).is_ok());
                }
            }
            UpstreamConfig::Postgres(upstream) => assert!(!upstream.host.is_empty() && !upstream.database.is_empty()),
            UpstreamConfig::Agents => assert!(!connection.agents.is_empty(), "nobody may serve it"),
            UpstreamConfig::Tcp { address } => {
                assert!(
                    address
                        .rsplit_once(':')
                        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
                );
            }
        }
    }
    for webhook in &config.webhooks {
        let generic = webhook.format == WebhookFormat::Generic;
        assert!(!generic || webhook.signer.is_some(), "a message that nobody can check");
        assert!(webhook.approver.is_none() || !webhook.groups.is_empty(), "an approver of nothing");
    }
    if let Some(tunnel) = &config.tunnel {
        assert!(tunnel.limits.streams > 0 && (tunnel.identity.is_some() || tunnel.listen.ip().is_loopback()));
    }
    assert!(config.certificates.is_none() || config.identity.is_some(), "certificates of clients without TLS");
    for (at, export) in config.exports.iter().enumerate() {
        assert!(config.exports[..at].iter().all(|other| other.name != export.name), "two places under one name");
        assert!(!export.name.is_empty() && !export.name.contains(['/', '.']), "a place outside of its folder");
        match &export.to {
            ExportTo::Http(to) => assert!(to.url.scheme() == "https" || to.url.scheme() == "http"),
            ExportTo::Syslog(to) => assert!(!to.host.is_empty() && !to.hostname.contains(char::is_whitespace)),
            ExportTo::File(path) => assert!(!path.as_os_str().is_empty()),
        }
    }
}
