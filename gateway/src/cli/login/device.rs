//! Logging in on another device: the device code (RFC 8628), for machines without a browser.

use std::time::Duration;

use oauth2::{Scope, StandardDeviceAuthorizationResponse};

use super::{
    provider::{Granted, Provider, Wanted},
    web::Web,
};

/// The issuer is asked no more often than this, whatever it says.
const PACE: Duration = Duration::from_secs(1);

/// Logs in: `tell` shows the user where to go and what to enter there.
///
/// # Errors
///
/// The issuer can't do this, the user says no or lets the code expire, or there are no tokens.
pub(super) async fn login(
    web: &Web,
    provider: &Provider,
    wanted: &Wanted,
    tell: impl FnOnce(&StandardDeviceAuthorizationResponse),
) -> Result<Granted, String> {
    let grants = provider.grants(&wanted.client_id)?;
    let request = grants.exchange_device_code();
    let mut request = request.map_err(|_| format!("{} has no login on other devices", provider.issuer))?;
    request = request.add_scopes(wanted.scopes.iter().cloned().map(Scope::new));
    for (name, value) in wanted.purpose() {
        request = request.add_extra_param(name, value);
    }
    let details: StandardDeviceAuthorizationResponse =
        request.request_async(web).await.map_err(|error| provider.reason(&error))?;
    tell(&details);

    let mut request = grants.exchange_device_access_token(&details);
    for (name, value) in wanted.purpose() {
        request = request.add_extra_param(name, value);
    }
    // It waits as long as the issuer says, five seconds longer after each `slow_down`, until the code expires.
    let sleep = |pause: Duration| tokio::time::sleep(pause.max(PACE));
    request.request_async(web, sleep, None).await.map(Granted::from).map_err(|error| provider.reason(&error))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Instant,
    };

    use axum::{
        Json, Router,
        http::StatusCode,
        routing::{get, post},
    };
    use serde_json::{Value, json};

    use super::*;

    /// An issuer whose codes count for so many seconds, which answers these errors one after the other and then a token; and when
    /// it was asked.
    async fn issuer(seconds: u64, errors: &'static [&'static str]) -> (String, Arc<Mutex<Vec<Instant>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let discovery = json!({
            "issuer": url, "token_endpoint": format!("{url}/token"), "device_authorization_endpoint": format!("{url}/device"),
        });
        let device = json!({
            "device_code": "d", "user_code": "ABCD", "verification_uri": format!("{url}/enter"), "expires_in": seconds,
            "interval": 1,
        });
        let times = Arc::clone(&asked);
        let token = move || {
            let mut times = times.lock().unwrap();
            times.push(Instant::now());
            let answer =
                match errors.get(times.len() - 1).or(errors.last().filter(|last| **last == "authorization_pending")) {
                    Some(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
                    None => (StatusCode::OK, json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 60 })),
                };
            std::future::ready((answer.0, Json::<Value>(answer.1)))
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(discovery)))
            .route("/device", post(async move || Json(device)))
            .route("/token", post(token));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (url, asked)
    }

    async fn log_in(url: &str) -> Result<Granted, String> {
        let web = Web::new(None);
        let provider = Provider::discover(&web, url).await.unwrap();
        let wanted =
            Wanted { client_id: "sluice".to_owned(), scopes: Vec::new(), resources: Vec::new(), audience: None };
        login(&web, &provider, &wanted, |_| {}).await
    }

    #[tokio::test]
    async fn an_issuer_that_says_slow_down_is_asked_five_seconds_later_each_time() {
        let (url, asked) = issuer(60, &["authorization_pending", "slow_down"]).await;
        assert_eq!(log_in(&url).await.map(|granted| granted.access).unwrap(), "t");
        let asked = asked.lock().unwrap();
        let pauses: Vec<Duration> = asked.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses.len(), 2);
        assert!(pauses[0] >= Duration::from_secs(1) && pauses[1] >= Duration::from_secs(6), "{pauses:?}");
    }

    #[tokio::test]
    async fn a_code_that_nobody_enters_expires() {
        let (url, asked) = issuer(2, &["authorization_pending"]).await;
        let reason = log_in(&url).await.map(drop).unwrap_err();
        assert!(reason.contains("expired_token"), "{reason}");
        assert!(asked.lock().unwrap().len() <= 4, "nobody is asked after that");
    }
}
