//! `sluice login`, `sluice logout` and `sluice whoami`: tokens of people, kept in a file of theirs.

mod browser;
mod claims;
mod device;
mod kept;
mod provider;
mod store;
mod web;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use oauth2::StandardDeviceAuthorizationResponse;
use serde_json::{Value, json};
use sluice_client::wire::ConnectionName;
use url::Url;

pub(super) use self::kept::{API, Kept, Meant};
use self::{
    provider::{Protected, Provider, Wanted},
    store::{Login, Store},
    web::Web,
};
use super::gateway::{authorities, name};
use super::{Outcome, failed, shown};

/// What this program is called at an issuer unless told otherwise.
const CLIENT_ID: &str = "sluice";

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The gateway that the token is for, such as https://gateway.example.org; it is sent to no other.
    #[arg(long, value_name = "URL")]
    gateway: Option<Url>,
    /// The connection that the token is for; the gateway tells its issuer.
    #[arg(long, value_name = "NAME", value_parser = name, requires = "gateway")]
    connection: Option<ConnectionName>,
    /// The token is for the gateway's own API: approvals and sessions.
    #[arg(long, requires = "gateway", conflicts_with = "connection")]
    api: bool,
    /// The issuer, as it calls itself.
    #[arg(long, value_name = "URL", required_unless_present_any = ["connection", "api"])]
    issuer: Option<String>,
    /// What this program is called at the issuer: a public client.
    #[arg(long, value_name = "ID", default_value = CLIENT_ID)]
    client_id: String,
    /// What is asked for; may be repeated (default: openid, and offline_access unless the issuer says that it has no such thing).
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// What the token is for, as a URL (RFC 8707); may be repeated (default: the connection).
    #[arg(long = "resource", value_name = "URL")]
    resources: Vec<String>,
    /// What the token is for, for issuers that don't know `--resource`.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Log in on another device, with a code.
    #[arg(long)]
    device: bool,
    /// Open no browser; write down where to go.
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    /// The authorities that vouch for the issuer and the gateway, in PEM (default: the web's).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Write one object a line: where to go, then who is logged in.
    #[arg(long)]
    json: bool,
}

/// Which logins are meant; all, where nothing is said.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Those at this issuer.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Those for this gateway.
    #[arg(long, value_name = "URL")]
    gateway: Option<Url>,
    /// Those for this connection.
    #[arg(long, value_name = "NAME", value_parser = name)]
    connection: Option<ConnectionName>,
}

impl Which {
    fn means(&self, login: &Login) -> bool {
        self.issuer.as_ref().is_none_or(|issuer| login.issuer == *issuer)
            && self.gateway.as_ref().is_none_or(|gateway| login.gateway.as_deref() == Some(&written(gateway)))
            && self.connection.as_ref().is_none_or(|name| login.connection.as_deref() == Some(name.as_str()))
    }
}

#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    which: Which,
    /// All of them, where there are several.
    #[arg(long)]
    all: bool,
    /// Write one object for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct WhoamiArgs {
    #[command(flatten)]
    which: Which,
    /// Write one object for each.
    #[arg(long)]
    json: bool,
}

pub(super) async fn login(arguments: LoginArgs) -> Outcome {
    done(Box::pin(log_in(&arguments)).await)
}

pub(super) async fn logout(arguments: LogoutArgs) -> Outcome {
    done(log_out(&arguments).await)
}

pub(super) fn whoami(arguments: &WhoamiArgs) -> Outcome {
    done(who(arguments))
}

fn done(result: Result<Outcome, String>) -> Outcome {
    result.unwrap_or_else(|reason| failed(&reason))
}

async fn log_in(arguments: &LoginArgs) -> Result<Outcome, String> {
    let store = Store::of_user()?;
    // What is wrong with the file is told before the user goes anywhere.
    store.read()?;
    let ca = arguments.ca.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    let web = Web::new(authorities(ca.as_deref())?);
    let (issuer, resources) = Box::pin(find(arguments, &web)).await?;
    let provider = Box::pin(Provider::discover(&web, &issuer)).await?;
    let wanted = Wanted {
        client_id: arguments.client_id.clone(),
        scopes: scopes(&arguments.scopes, &provider),
        resources,
        audience: arguments.audience.clone(),
    };
    let granted = if arguments.device {
        Box::pin(device::login(&web, &provider, &wanted, |details| enter(arguments, details))).await?
    } else {
        let tell = |place: &Url| {
            if arguments.json {
                println!("{}", json!({ "open": place.as_str() }));
            } else {
                eprintln!("sluice: log in here, in a browser on this machine:\n{place}");
            }
        };
        Box::pin(browser::login(&web, &provider, &wanted, !arguments.no_browser, tell)).await?
    };
    if !claims::is_jwt(&granted.access) {
        eprintln!(
            "sluice: the issuer's token is no JWT, so no gateway can check it; say what it is for with `--resource` or `--audience`"
        );
    }
    let mut login = Login {
        issuer,
        client_id: wanted.client_id,
        gateway: arguments.gateway.as_ref().map(written),
        connection: match &arguments.connection {
            None if arguments.api => Some(API.to_owned()),
            connection => connection.as_ref().map(|name| name.as_str().to_owned()),
        },
        resources: wanted.resources,
        audience: wanted.audience,
        ca,
        access_token: String::new(),
        refresh_token: None,
        obtained: Timestamp::now(),
        expires: None,
    };
    login.take(granted);
    let locked = store.lock().await?;
    let mut logins = locked.read()?;
    logins.retain(|other| !other.is_same(&login));
    logins.push(login.clone());
    locked.write(logins)?;
    print(&login, arguments.json);
    Ok(Outcome::Clean)
}

/// What is asked for: as the user says, else to be known, and for a refresh token where there may be one.
fn scopes(wanted: &[String], provider: &Provider) -> Vec<String> {
    if !wanted.is_empty() {
        return wanted.to_vec();
    }
    let usual = ["openid", "offline_access"].into_iter();
    usual.filter(|scope| provider.lists("scopes_supported", scope) != Some(false)).map(str::to_owned).collect()
}

/// The issuer, and what the token is for: as the user says, else as the gateway does.
async fn find(arguments: &LoginArgs, web: &Web) -> Result<(String, Vec<String>), String> {
    let mut resources = arguments.resources.clone();
    let connection = arguments.connection.as_ref().map(ConnectionName::as_str);
    let gateway = arguments.gateway.as_ref().filter(|_| arguments.api || connection.is_some());
    let Some(gateway) = gateway else {
        let issuer = arguments.issuer.clone();
        let issuer = issuer.ok_or("say `--issuer URL`, or `--gateway URL` with `--connection NAME` or `--api`")?;
        return Ok((issuer, resources));
    };
    let protected = Protected::of(web, gateway, connection).await?;
    if resources.is_empty() {
        resources.push(protected.resource);
    }
    let issuers = protected.issuers;
    let listed = || shown(&issuers.join(", "));
    match &arguments.issuer {
        Some(issuer) if issuers.contains(issuer) => Ok((issuer.clone(), resources)),
        Some(issuer) => Err(format!("the gateway doesn't accept {issuer} for this, but {}", listed())),
        None if issuers.len() == 1 => Ok((issuers[0].clone(), resources)),
        None if issuers.is_empty() => Err("the gateway names no issuer".to_owned()),
        None => Err(format!("the gateway accepts several issuers: say `--issuer` with one of {}", listed())),
    }
}

/// Says where to go and what to enter there.
fn enter(arguments: &LoginArgs, details: &StandardDeviceAuthorizationResponse) {
    let place = details.verification_uri().as_str();
    let whole = details.verification_uri_complete().map(|whole| whole.secret().as_str());
    let code = details.user_code().secret();
    if arguments.json {
        let seconds = details.expires_in().as_secs();
        println!("{}", json!({ "open": place, "code": code, "open_with_code": whole, "expires_in": seconds }));
        return;
    }
    eprintln!("sluice: go to {} on any device and enter {}", shown(place), shown(code));
    if let Some(whole) = whole {
        eprintln!("sluice: or go to {}", shown(whole));
    }
}

async fn log_out(arguments: &LogoutArgs) -> Result<Outcome, String> {
    let store = Store::of_user()?;
    let locked = store.lock().await?;
    let (leaving, staying): (Vec<Login>, Vec<Login>) =
        locked.read()?.into_iter().partition(|login| arguments.which.means(login));
    if leaving.len() > 1 && !arguments.all {
        return Err(
            "several logins are meant: say `--all`, or which (`--issuer`, `--gateway`, `--connection`)".to_owned()
        );
    }
    if leaving.is_empty() {
        eprintln!("sluice: nobody is logged in");
        return Ok(Outcome::Findings);
    }
    let mut outcome = Outcome::Clean;
    for login in &leaving {
        let revoked = Box::pin(revoke(login)).await;
        if let Err(reason) = &revoked {
            eprintln!("sluice: the issuer doesn't take the tokens back: {reason}; they count until they expire");
            outcome = Outcome::Findings;
        }
        let revoked = revoked.unwrap_or(false);
        if arguments.json {
            println!("{}", json!({ "issuer": login.issuer, "revoked": revoked }));
        } else {
            println!(
                "logged out at {}{}",
                shown(&login.issuer),
                if revoked { ", and the tokens taken back" } else { "" }
            );
        }
    }
    locked.write(staying)?;
    Ok(outcome)
}

async fn revoke(login: &Login) -> Result<bool, String> {
    let web = kept::web(login)?;
    let provider = Provider::discover(&web, &login.issuer).await?;
    provider.revoke(&web, &login.client_id, &login.access_token, login.refresh_token.as_deref()).await
}

fn who(arguments: &WhoamiArgs) -> Result<Outcome, String> {
    let logins: Vec<Login> =
        Store::of_user()?.read()?.into_iter().filter(|login| arguments.which.means(login)).collect();
    logins.iter().for_each(|login| print(login, arguments.json));
    if logins.is_empty() {
        eprintln!("sluice: nobody is logged in");
    }
    let counts = |login: &Login| login.counts() || login.refresh_token.is_some();
    Ok(if !logins.is_empty() && logins.iter().all(counts) { Outcome::Clean } else { Outcome::Findings })
}

/// Who is logged in, never with what.
fn print(login: &Login, as_json: bool) {
    let told = told(login);
    if as_json {
        println!("{told}");
        return;
    }
    let text = |name: &str| told[name].as_str().map(shown);
    println!("{} at {}", text("user").unwrap_or_else(|| "somebody".to_owned()), shown(&login.issuer));
    let groups: Vec<String> =
        told["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(shown).collect();
    if !groups.is_empty() {
        println!("  groups   {}", groups.join(", "));
    }
    if let Some(gateway) = text("gateway") {
        println!(
            "  gateway  {gateway}{}",
            text("connection").map(|name| format!(", connection {name}")).unwrap_or_default()
        );
    }
    let renewed = if login.refresh_token.is_some() { ", renewed when it is needed" } else { "" };
    println!("  until    {}{renewed}", text("expires").unwrap_or_else(|| "the issuer doesn't say".to_owned()));
}

fn told(login: &Login) -> Value {
    let holder = claims::holder(&login.access_token);
    json!({
        "user": holder.user, "subject": holder.subject, "groups": holder.groups, "issuer": login.issuer,
        "client_id": login.client_id, "gateway": login.gateway, "connection": login.connection,
        "expires": login.expires.map(|expires| expires.to_string()), "counts": login.counts(),
        "renewable": login.refresh_token.is_some(),
    })
}

/// A gateway as it is kept and compared.
fn written(gateway: &Url) -> String {
    gateway.as_str().trim_end_matches('/').to_owned()
}
