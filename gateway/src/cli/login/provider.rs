//! The issuer of a login as OpenID Connect Discovery 1.0 tells of it, what is asked of it, and what it gives.

use std::time::Duration;

use oauth2::{
    AccessToken, AuthType, AuthUrl, ClientId, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    ErrorResponse, RefreshToken, RequestTokenError, RevocationUrl, TokenResponse as _, TokenUrl,
    basic::{BasicClient, BasicTokenResponse},
};
use serde_json::Value;
use url::Url;

use super::{
    super::shown,
    web::{Web, WebError},
};
use crate::identity::{is_trustworthy, resource};

/// The grants of an issuer: what it doesn't offer is not set.
pub(super) type Grants = BasicClient<EndpointMaybeSet, EndpointMaybeSet, EndpointNotSet, EndpointMaybeSet, EndpointSet>;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) client_id: String,
    pub(super) scopes: Vec<String>,
    /// What the token is for (RFC 8707).
    pub(super) resources: Vec<String>,
    /// What the token is for, as issuers want it that don't know RFC 8707.
    pub(super) audience: Option<String>,
}

impl Wanted {
    /// The parameters that say what the token is for.
    pub(super) fn purpose(&self) -> Vec<(&'static str, String)> {
        let resources = self.resources.iter().map(|resource| ("resource", resource.clone()));
        resources.chain(self.audience.iter().map(|audience| ("audience", audience.clone()))).collect()
    }
}

/// What an issuer gave.
pub(super) struct Granted {
    pub(super) access: String,
    pub(super) refresh: Option<String>,
    /// How long the access token counts.
    pub(super) lifetime: Option<Duration>,
}

impl From<BasicTokenResponse> for Granted {
    fn from(answer: BasicTokenResponse) -> Self {
        Self {
            access: answer.access_token().secret().clone(),
            refresh: answer.refresh_token().map(|token| token.secret().clone()),
            lifetime: answer.expires_in(),
        }
    }
}

/// An issuer.
pub(super) struct Provider {
    pub(super) issuer: String,
    document: Value,
}

impl Provider {
    /// Asks the issuer where its endpoints are.
    ///
    /// # Errors
    ///
    /// It can't be asked, or answers as another issuer.
    pub(super) async fn discover(web: &Web, issuer: &str) -> Result<Self, String> {
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|_| format!("`{issuer}` is no URL of an issuer"))?;
        let document = web.document(&place).await?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(format!("{place} tells of another issuer; write the issuer exactly as it calls itself"));
        }
        Ok(Self { issuer: issuer.to_owned(), document })
    }

    /// The grants, for this client, which is a public one: a program on a user's machine can keep no secret.
    ///
    /// # Errors
    ///
    /// There is no place for tokens, or one that isn't trustworthy.
    pub(super) fn grants(&self, client_id: &str) -> Result<Grants, String> {
        let token = self.endpoint("token_endpoint")?.ok_or_else(|| format!("{} gives no tokens", self.issuer))?;
        Ok(BasicClient::new(ClientId::new(client_id.to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri_option(self.endpoint("authorization_endpoint")?.map(AuthUrl::from_url))
            .set_device_authorization_url_option(
                self.endpoint("device_authorization_endpoint")?.map(DeviceAuthorizationUrl::from_url),
            )
            .set_revocation_url_option(self.endpoint("revocation_endpoint")?.map(RevocationUrl::from_url))
            .set_token_uri(TokenUrl::from_url(token)))
    }

    /// Whether a list of the issuer's metadata has this value; None where there is no such list.
    pub(super) fn lists(&self, name: &str, value: &str) -> Option<bool> {
        let listed = self.document.get(name)?.as_array()?;
        Some(listed.iter().any(|listed| listed.as_str() == Some(value)))
    }

    /// Whether the issuer's metadata says yes to this.
    pub(super) fn says(&self, name: &str) -> bool {
        self.document.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn endpoint(&self, name: &str) -> Result<Option<Url>, String> {
        let Some(place) = self.document.get(name).and_then(Value::as_str) else { return Ok(None) };
        match Url::parse(place).ok().filter(is_trustworthy) {
            Some(place) => Ok(Some(place)),
            None => Err(format!("`{name}` of {} is not on https, nor on this machine", self.issuer)),
        }
    }

    /// Asks for newer tokens; what they are for stays as it was.
    ///
    /// # Errors
    ///
    /// The issuer gives none.
    pub(super) async fn refresh(&self, web: &Web, wanted: &Wanted, refresh: &str) -> Result<Granted, String> {
        let grants = self.grants(&wanted.client_id)?;
        let refresh = RefreshToken::new(refresh.to_owned());
        let mut request = grants.exchange_refresh_token(&refresh);
        for (name, value) in wanted.purpose() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(web).await;
        answer.map(Granted::from).map_err(|error| self.reason(&error))
    }

    /// Asks the issuer to take its tokens back (RFC 7009). False: it has no place for that.
    ///
    /// # Errors
    ///
    /// It doesn't.
    pub(super) async fn revoke(
        &self,
        web: &Web,
        client_id: &str,
        access: &str,
        refresh: Option<&str>,
    ) -> Result<bool, String> {
        let grants = self.grants(client_id)?;
        if grants.revocation_url().is_none() {
            return Ok(false);
        }
        // With the refresh token an issuer takes back all that came of it; an access token that it can't take back expires.
        let token = match refresh {
            Some(refresh) => RefreshToken::new(refresh.to_owned()).into(),
            None => AccessToken::new(access.to_owned()).into(),
        };
        let request = grants.revoke_token(token).map_err(|error| error.to_string())?;
        request.request_async(web).await.map_err(|error| self.reason(&error))?;
        Ok(true)
    }

    /// Why the issuer gave nothing. Answers that can't be read are not shown: a token may be in them.
    pub(super) fn reason<E: ErrorResponse>(&self, error: &RequestTokenError<WebError, E>) -> String {
        match error {
            RequestTokenError::ServerResponse(said) => format!("{} says: {}", self.issuer, shown(&said.to_string())),
            RequestTokenError::Request(error) => error.to_string(),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                format!("the answer of {} is none of OAuth 2.0's", self.issuer)
            }
        }
    }
}

/// What a gateway says of a connection (RFC 9728): what tokens for it name, and who gives them.
pub(super) struct Protected {
    pub(super) resource: String,
    pub(super) issuers: Vec<String>,
}

impl Protected {
    /// Asks the gateway about a connection, or about its own API.
    ///
    /// # Errors
    ///
    /// It can't be asked, or tells of something else.
    pub(super) async fn of(web: &Web, gateway: &Url, connection: Option<&str>) -> Result<Self, String> {
        let base = gateway.as_str().trim_end_matches('/');
        let (path, own) = match connection {
            Some(connection) => (resource::metadata_path(connection), format!("{base}/mcp/{connection}")),
            None => (resource::API_METADATA.to_owned(), format!("{base}/api")),
        };
        let place = Url::parse(&format!("{base}{path}")).map_err(|_| format!("`{gateway}` is no URL of a gateway"))?;
        let document = web.document(&place).await.map_err(|error| format!("{error}; is there such a connection?"))?;
        let resource = document.get("resource").and_then(Value::as_str).unwrap_or_default();
        // RFC 9728, section 3.3: a gateway that tells of another one's connection would get that one's tokens.
        if resource != own {
            let shown = shown(resource);
            return Err(format!("the gateway calls this {shown}; write `--gateway` as the beginning of that"));
        }
        let issuers = document.get("authorization_servers").and_then(Value::as_array);
        let issuers = issuers.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { resource: resource.to_owned(), issuers })
    }
}
