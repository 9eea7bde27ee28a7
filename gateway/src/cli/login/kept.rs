//! A login that was kept, as a source of tokens: which one is meant, and its token, renewed in time.

use url::Url;

use super::{
    provider::Provider,
    store::{Login, Store},
    web::Web,
};
use crate::cli::gateway::authorities;

/// Stands for the gateway's own API in the place of a connection, none of which has such a name.
pub(crate) const API: &str = "/api";

/// Which login a program means.
#[derive(Debug, Clone)]
pub(crate) struct Meant<'m> {
    /// The issuer, where the user names one.
    pub(crate) issuer: Option<&'m str>,
    /// The gateway that the token goes to: a name or an address, and a port.
    pub(crate) gateway: &'m str,
    /// The connections that it is for.
    pub(crate) connections: &'m [&'m str],
}

/// A login that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    store: Store,
    login: Login,
}

impl Kept {
    /// The login that is meant; None where there is none.
    ///
    /// # Errors
    ///
    /// The file of logins can't be used, or several are as good.
    pub(crate) fn find(meant: &Meant<'_>) -> Result<Option<Self>, String> {
        let Ok(store) = Store::of_user() else { return Ok(None) };
        let mut fitting: Vec<Login> = store.read()?.into_iter().filter(|login| fits(login, meant)).collect();
        // One that was made for the connection is better than one for the gateway.
        if fitting.iter().any(|login| login.connection.is_some()) {
            fitting.retain(|login| login.connection.is_some());
        }
        match fitting.len() {
            0 | 1 => Ok(fitting.pop().map(|login| Self { store, login })),
            _ => Err("several logins fit: say `--login ISSUER`, or `sluice logout` of those that are not meant \
                      (`sluice whoami` shows them)"
                .to_owned()),
        }
    }

    /// A token that counts now, renewed where its time is nearly over. Of several processes one renews it, and all have the new one.
    ///
    /// # Errors
    ///
    /// The login is over.
    pub(crate) async fn token(&self) -> Result<String, String> {
        let issuer = &self.login.issuer;
        let gone = || format!("nobody is logged in at {issuer} any more: run `sluice login`");
        let of = |logins: Vec<Login>| logins.into_iter().find(|login| login.is_same(&self.login)).ok_or_else(gone);
        let login = of(self.store.read()?)?;
        if !login.is_due() {
            return Ok(login.access_token);
        }
        let locked = self.store.lock().await?;
        let mut logins = locked.read()?;
        let login = logins.iter_mut().find(|login| login.is_same(&self.login)).ok_or_else(gone)?;
        if login.is_due() {
            match renew(login).await {
                Ok(()) => {
                    let token = login.access_token.clone();
                    locked.write(logins)?;
                    return Ok(token);
                }
                // The old one does as long as it counts; the issuer may be back by then.
                Err(reason) if login.counts() => eprintln!("sluice: the token can't be renewed: {reason}"),
                Err(reason) => return Err(format!("the login is over ({reason}): run `sluice login`")),
            }
        }
        Ok(login.access_token.clone())
    }
}

async fn renew(login: &mut Login) -> Result<(), String> {
    let Some(refresh) = &login.refresh_token else { return Err("there is no refresh token".to_owned()) };
    let web = web(login)?;
    let provider = Provider::discover(&web, &login.issuer).await?;
    let granted = provider.refresh(&web, &login.wanted(), refresh).await?;
    login.take(granted);
    Ok(())
}

/// A client that believes what the login believed.
pub(super) fn web(login: &Login) -> Result<Web, String> {
    Ok(Web::new(authorities(login.ca.as_deref())?))
}

/// Whether a login may be used there: its token goes to no other gateway than the one that the login names, and to no other
/// connections. A login that names no gateway is used where its issuer is named.
fn fits(login: &Login, meant: &Meant<'_>) -> bool {
    let there = match &login.gateway {
        Some(gateway) => is_at(gateway, meant.gateway),
        None => meant.issuer.is_some(),
    };
    there
        && meant.issuer.is_none_or(|issuer| login.issuer == issuer)
        && login.connection.as_ref().is_none_or(|only| meant.connections.iter().all(|wanted| wanted == only))
}

/// Whether a gateway's URL and where it is dialled have the same host; agents and browsers use different ports of it.
fn is_at(url: &str, address: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let dialled = address.rsplit_once(':').map_or(address, |(host, _)| host);
    !host.is_empty() && host.eq_ignore_ascii_case(dialled)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn login(gateway: Option<&str>, connection: Option<&str>) -> Login {
        Login {
            issuer: "https://idp.example".to_owned(),
            client_id: "sluice".to_owned(),
            gateway: gateway.map(str::to_owned),
            connection: connection.map(str::to_owned),
            resources: Vec::new(),
            audience: None,
            ca: None,
            access_token: "secret".to_owned(),
            refresh_token: None,
            obtained: Timestamp::UNIX_EPOCH,
            expires: None,
        }
    }

    #[test]
    fn a_token_goes_to_the_gateway_and_the_connection_of_its_login_alone() {
        let meant = |issuer, gateway, connections| Meant { issuer, gateway, connections };
        let for_gateway = login(Some("https://gw.example:8443"), None);
        let for_connection = login(Some("https://gw.example"), Some("crm"));
        let for_none = login(None, None);
        for (login, meant, expected) in [
            (&for_gateway, meant(None, "gw.example:7701", &["crm"][..]), true),
            (&for_gateway, meant(None, "GW.example:7701", &["hr"]), true),
            (&for_gateway, meant(None, "evil.example:7701", &["crm"]), false),
            (&for_gateway, meant(Some("https://idp.example"), "evil.example:7701", &["crm"]), false),
            (&for_gateway, meant(Some("https://other.example"), "gw.example:7701", &["crm"]), false),
            (&for_connection, meant(None, "gw.example:7701", &["crm"]), true),
            (&for_connection, meant(None, "gw.example:7701", &["hr"]), false),
            (&for_connection, meant(None, "gw.example:7701", &["crm", "hr"]), false),
            (&for_connection, meant(None, "gw.example:443", &[API]), false),
            (&for_none, meant(None, "gw.example:7701", &["crm"]), false),
            (&for_none, meant(Some("https://idp.example"), "gw.example:7701", &["crm"]), true),
            (&login(Some("https://[::1]:1"), None), meant(None, "[::1]:7701", &["crm"]), true),
        ] {
            assert_eq!(fits(login, &meant), expected, "{:?} {:?}: {meant:?}", login.gateway, login.connection);
        }
        assert!(!format!("{for_gateway:?}").contains("secret"));
    }
}
