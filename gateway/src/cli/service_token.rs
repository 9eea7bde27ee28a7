//! `sluice service-token`: tokens that a gateway issues itself, for programs without an issuer.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Outcome, api::Asking, failed, sessions::line, shown};
use crate::{config::parse_duration, identity::ServiceToken};

#[derive(Debug, Args)]
pub(super) struct ServiceTokenArgs {
    #[command(subcommand)]
    command: ServiceTokenCommand,
}

#[derive(Debug, Subcommand)]
enum ServiceTokenCommand {
    /// Issue one, and write it: nobody sees it again.
    Issue {
        /// The program that it is for; rules see it as `service:NAME`.
        name: String,
        /// A connection that it opens; may be repeated.
        #[arg(long = "connection", value_name = "NAME", required = true)]
        connections: Vec<String>,
        /// A group of it; may be repeated.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// How long it counts, at most 366 days.
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = seconds)]
        ttl: u64,
        #[command(flatten)]
        asking: Asking,
    },
    /// Those that count, and when they were last used.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// End one at once, with its sessions.
    Revoke {
        /// The token's identifier.
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
}

fn seconds(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let days = days.and_then(|days| days.checked_mul(24 * 3600));
    let seconds = days.or_else(|| parse_duration(text).map(|duration| duration.as_secs()));
    seconds.ok_or_else(|| "a duration such as 30d, 12h or 15m".to_owned())
}

pub(super) async fn service_token(arguments: &ServiceTokenArgs) -> Outcome {
    let done = match &arguments.command {
        ServiceTokenCommand::Issue { name, connections, groups, ttl, asking } => {
            let wanted = json!({ "name": name, "connections": connections, "groups": groups, "seconds": ttl });
            issue(&wanted, asking).await
        }
        ServiceTokenCommand::List { asking } => list(asking).await,
        ServiceTokenCommand::Revoke { id, asking } => revoke(id, asking).await,
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(reason) => failed(&reason),
    }
}

async fn issue(wanted: &Value, asking: &Asking) -> Result<(), String> {
    let issued = asking.api.open()?.ask(Method::POST, "/api/v1/service-tokens", Some(wanted)).await?;
    if asking.json {
        return line(&issued);
    }
    let (id, expires) = (issued["id"].as_str().unwrap_or_default(), issued["expires"].as_str().unwrap_or_default());
    eprintln!("sluice: {} counts until {}; keep it now, it is not shown again", shown(id), shown(expires));
    println!("{}", issued["token"].as_str().ok_or("the gateway's answer can't be read: no token")?);
    Ok(())
}

async fn list(asking: &Asking) -> Result<(), String> {
    let mut answer = asking.api.open()?.ask(Method::GET, "/api/v1/service-tokens", None).await?;
    let Value::Array(tokens) = answer["service_tokens"].take() else {
        return Err("the gateway's answer can't be read: no list".to_owned());
    };
    if asking.json {
        return tokens.iter().try_for_each(line);
    }
    println!("{:19}  {:20}  {:24}  {:20}  {:20}  issued by", "token", "name", "connections", "expires", "last used");
    for token in tokens {
        let token: ServiceToken =
            serde_json::from_value(token).map_err(|error| format!("the gateway's answer can't be read: {error}"))?;
        let used = token.last_used.map_or_else(|| "never".to_owned(), |at| at.strftime("%FT%TZ").to_string());
        let (id, name, by) = (shown(&token.id), shown(&token.name), shown(&token.issued_by));
        let (connections, expires) = (shown(&token.connections.join(",")), token.expires.strftime("%FT%TZ"));
        println!("{id:19}  {name:20}  {connections:24}  {expires:20}  {used:20}  {by}");
    }
    Ok(())
}

async fn revoke(id: &str, asking: &Asking) -> Result<(), String> {
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_id {
        return Err("that is no identifier of a service token".to_owned());
    }
    asking.api.open()?.ask(Method::DELETE, &format!("/api/v1/service-tokens/{id}"), None).await.map(drop)
}
