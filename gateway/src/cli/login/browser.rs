//! Logging in through the browser: the authorisation code with PKCE (RFC 7636), which comes back to this machine (RFC 8252).

use std::{borrow::Cow, collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use oauth2::{AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use url::Url;

use super::{
    super::shown,
    provider::{Granted, Provider, Wanted},
    web::Web,
};

/// How long a user may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long the browser has for the last page.
const FAREWELL: Duration = Duration::from_secs(2);
/// Where the browser comes back to.
const PATH: &str = "/callback";

/// What the browser brought back, and where to say what came of it.
type Returned = (Result<String, String>, oneshot::Sender<bool>);

/// What an answer is held against.
struct Expected {
    state: String,
    issuer: String,
    /// The issuer says who it is in its answers (RFC 9207).
    names_itself: bool,
    returned: mpsc::Sender<Returned>,
}

/// Logs in: `tell` shows the user where to go, `open` sends their browser there.
///
/// # Errors
///
/// The issuer can't do this, the user says no or takes too long, or there are no tokens.
pub(super) async fn login(
    web: &Web,
    provider: &Provider,
    wanted: &Wanted,
    open: bool,
    tell: impl FnOnce(&Url),
) -> Result<Granted, String> {
    if provider.lists("code_challenge_methods_supported", "S256") == Some(false) {
        return Err(format!("{} doesn't know PKCE with S256", provider.issuer));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|error| format!("can't listen on this machine for the browser: {error}"))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let redirect = RedirectUrl::new(format!("http://127.0.0.1:{port}{PATH}")).map_err(|error| error.to_string())?;

    let grants = provider.grants(&wanted.client_id)?.set_redirect_uri(redirect.clone());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let request = grants.authorize_url(CsrfToken::new_random);
    let mut request = request.map_err(|_| format!("{} has no login by the browser", provider.issuer))?;
    request = request.set_pkce_challenge(challenge).add_scopes(wanted.scopes.iter().cloned().map(Scope::new));
    if wanted.scopes.iter().any(|scope| scope == "offline_access") {
        // OpenID Connect Core 1.0, section 11: without it no refresh token is promised.
        request = request.add_extra_param("prompt", "consent");
    }
    for (name, value) in wanted.purpose() {
        request = request.add_extra_param(name, value);
    }
    let (place, state) = request.url();
    tell(&place);
    if open {
        show(&place);
    }

    let (sender, mut answers) = mpsc::channel(1);
    let expected = Expected {
        state: state.secret().clone(),
        issuer: provider.issuer.clone(),
        names_itself: provider.says("authorization_response_iss_parameter_supported"),
        returned: sender,
    };
    let router = Router::new().route(PATH, get(callback)).with_state(Arc::new(expected));
    let (over, ended) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(ended.await) });
    let mut serving = tokio::spawn(serving.into_future());

    let returned = tokio::time::timeout(PATIENCE, answers.recv()).await;
    let granted = match returned {
        Ok(Some((Ok(code), page))) => {
            let mut request = grants.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
            request = request.set_redirect_uri(Cow::Borrowed(&redirect));
            for (name, value) in wanted.purpose() {
                request = request.add_extra_param(name, value);
            }
            let granted = request.request_async(web).await;
            let _ = page.send(granted.is_ok());
            granted.map(Granted::from).map_err(|error| provider.reason(&error))
        }
        Ok(Some((Err(reason), page))) => {
            let _ = page.send(false);
            Err(reason)
        }
        Ok(None) => Err("nobody listens for the browser any more".to_owned()),
        Err(_) => Err("nobody logged in within ten minutes".to_owned()),
    };
    drop(over);
    if tokio::time::timeout(FAREWELL, &mut serving).await.is_err() {
        serving.abort();
    }
    granted
}

/// The browser comes back. What doesn't belong to this login is refused and changes nothing: any page can send a browser here.
async fn callback(State(expected): State<Arc<Expected>>, uri: Uri) -> Response {
    let mut answer = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if answer.insert(name.into_owned(), value.into_owned()).is_some() {
            return page(StatusCode::BAD_REQUEST, "This answer says something twice.");
        }
    }
    let state = answer.get("state").map_or("", String::as_str);
    if aws_lc_rs::constant_time::verify_slices_are_equal(state.as_bytes(), expected.state.as_bytes()).is_err() {
        return page(StatusCode::BAD_REQUEST, "This answer belongs to no login that is under way.");
    }
    // RFC 9207: an answer of another issuer would take the code to the wrong one.
    if answer.get("iss").map_or(expected.names_itself, |issuer| *issuer != expected.issuer) {
        return page(StatusCode::BAD_REQUEST, "This answer is another issuer's.");
    }
    let code = match (answer.remove("code"), answer.get("error")) {
        (Some(code), None) => Ok(code),
        (_, Some(error)) => {
            let told = answer.get("error_description").map(|told| format!(": {told}")).unwrap_or_default();
            Err(format!("{} says: {}", expected.issuer, shown(&format!("{error}{told}"))))
        }
        (None, None) => return page(StatusCode::BAD_REQUEST, "This answer has no code."),
    };
    let (sender, outcome) = oneshot::channel();
    if expected.returned.try_send((code, sender)).is_err() {
        return page(StatusCode::CONFLICT, "This login is over already.");
    }
    match outcome.await {
        Ok(true) => page(StatusCode::OK, "You are logged in. You can close this page."),
        _ => page(StatusCode::OK, "You are not logged in; your terminal says why. You can close this page."),
    }
}

/// A page of ours: one sentence, nothing of what came.
fn page(status: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let body = format!("<!doctype html><html lang=\"en\"><title>Sluice</title><p>{text}</p></html>\n");
    (status, headers, body).into_response()
}

/// Sends the user's browser there, where there is one; the user has the place in writing in any case.
fn show(place: &Url) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut opener = tokio::process::Command::new(program);
    opener.arg(place.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut opener) = opener.spawn() {
        tokio::spawn(async move { opener.wait().await });
    }
}
