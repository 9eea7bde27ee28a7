//! A purpose that somebody else has to confirm: a signed question to a service of the operator's own, and its answer for a minute.
//!
//! The question is signed as Standard Webhooks 1.0.0 has it, so that receivers find libraries: HMAC-SHA256 over identifier, time
//! and body. Whatever is no clear yes is a no.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use crate::{
    identity::{Actor, Identity},
    tls::{self, Authorities},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer counts.
const KEPT: Duration = Duration::from_secs(60);
/// Answers that are kept at once.
const MAX_KEPT: usize = 4096;
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// The shortest secret, in bytes.
const MIN_SECRET: usize = 24;

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Asks whether a purpose is somebody's. `Debug` doesn't show the secret.
pub struct Confirm {
    url: Url,
    key: hmac::Key,
    authorities: Option<Authorities>,
    client: OnceLock<HttpClient>,
    kept: Mutex<HashMap<Question, (bool, Instant)>>,
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// Why a purpose is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// The answer was no.
    #[error("the check of purposes doesn't confirm it")]
    Refused,
    /// There was no answer that could be understood.
    #[error("the check of purposes can't be asked: {0}")]
    Unavailable(String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
struct Question {
    user: String,
    issuer: String,
    subject: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actors: Vec<Actor>,
    connection: String,
    purpose: String,
}

/// What is answered.
#[derive(Deserialize)]
struct Answer {
    allowed: bool,
}

impl Confirm {
    /// Asks at this URL, signing with this secret: text, or base64 behind `whsec_`. None where the secret is shorter than 24 bytes.
    #[must_use]
    pub fn new(url: Url, secret: &str, authorities: Option<Authorities>) -> Option<Self> {
        let secret = match secret.strip_prefix("whsec_") {
            Some(encoded) => BASE64.decode(encoded.as_bytes()).ok()?,
            None => secret.as_bytes().to_vec(),
        };
        let key = (secret.len() >= MIN_SECRET).then(|| hmac::Key::new(hmac::HMAC_SHA256, &secret))?;
        Some(Self { url, key, authorities, client: OnceLock::new(), kept: Mutex::default() })
    }

    /// Whether somebody may state this purpose on a connection.
    ///
    /// # Errors
    ///
    /// [`NotConfirmed`]: both mean that they may not.
    pub async fn check(&self, identity: &Identity, connection: &str, purpose: &str) -> Result<(), NotConfirmed> {
        let question = Question {
            user: identity.user_id.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            actors: identity.actors.clone(),
            connection: connection.to_owned(),
            purpose: purpose.to_owned(),
        };
        let allowed = match self.kept(&question) {
            Some(allowed) => allowed,
            None => {
                let asked = timeout(PATIENCE, self.ask(&question)).await;
                let allowed = asked
                    .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
                    .map_err(NotConfirmed::Unavailable)?;
                self.keep(question, allowed);
                allowed
            }
        };
        if allowed { Ok(()) } else { Err(NotConfirmed::Refused) }
    }

    async fn ask(&self, question: &Question) -> Result<bool, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let body = serde_json::to_string(question).map_err(|error| text(&error))?;
        let (id, at) = (format!("msg_{}", Uuid::now_v7().simple()), Timestamp::now().as_second());
        let request = Request::post(self.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", self.sign(&id, at, &body))
            .body(Full::from(body))
            .map_err(|error| text(&error))?;
        let response = self.client()?.request(request).await.map_err(|_| "it can't be reached".to_owned())?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| "its answer is too long, or broke off".to_owned())?.to_bytes();
        let answer = serde_json::from_slice::<Answer>(&body);
        answer.map(|answer| answer.allowed).map_err(|_| "its answer is not {\"allowed\":…}".to_owned())
    }

    fn sign(&self, id: &str, at: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(tag.as_ref()))
    }

    fn client(&self) -> Result<&HttpClient, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let connector = tls::connector(self.authorities.as_ref()).map_err(|error| error.to_string())?;
        Ok(self.client.get_or_init(|| Client::builder(TokioExecutor::new()).build(connector)))
    }

    fn kept(&self, question: &Question) -> Option<bool> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(question).filter(|(_, since)| since.elapsed() < KEPT).map(|(allowed, _)| *allowed)
    }

    fn keep(&self, question: Question, allowed: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (_, since)| since.elapsed() < KEPT);
        }
        // Full of what still counts: some of it is asked again.
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(question, (allowed, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirm(secret: &str) -> Option<Confirm> {
        Confirm::new(Url::parse("https://purposes.example.org/check").unwrap(), secret, None)
    }

    #[test]
    fn a_question_is_signed_as_standard_webhooks_has_it() {
        // The example of the specification and its libraries.
        let signer = confirm("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = "{\"test\": 2432232314}";
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn where_nobody_answers_the_purpose_is_not_confirmed_and_that_is_not_kept() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = Url::parse(&format!("http://{nobody}/check")).unwrap();
        let confirm = Confirm::new(url, "0123456789abcdef01234567", None).unwrap();
        let identity = Identity {
            issuer: "https://login.example.org".to_owned(),
            subject: "ada".to_owned(),
            user_id: "ada".to_owned(),
            email: None,
            kind: crate::identity::UserKind::Person,
            groups: Vec::new(),
            roles: Vec::new(),
            actors: Vec::new(),
            token_id: None,
            expires: Timestamp::MAX,
        };
        let checked = confirm.check(&identity, "crm", "ticket-1").await;
        assert_eq!(checked, Err(NotConfirmed::Unavailable("it can't be reached".to_owned())));
        assert!(confirm.kept.lock().unwrap().is_empty());
    }

    #[test]
    fn a_short_secret_is_none_and_no_secret_is_shown() {
        let long = "0123456789abcdef01234567";
        assert!(confirm("short").is_none() && confirm("whsec_c2hvcnQ=").is_none() && confirm("whsec_%").is_none());
        let shown = format!("{:?}", confirm(long).unwrap());
        assert!(shown.contains("purposes.example.org") && !shown.contains(long), "{shown}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let confirm = confirm("0123456789abcdef01234567").unwrap();
        let question = |number: usize| Question {
            user: number.to_string(),
            issuer: String::new(),
            subject: String::new(),
            actors: Vec::new(),
            connection: String::new(),
            purpose: String::new(),
        };
        (0..=MAX_KEPT).for_each(|number| confirm.keep(question(number), true));
        assert!(confirm.kept.lock().unwrap().len() <= MAX_KEPT);
        assert_eq!((confirm.kept(&question(MAX_KEPT)), confirm.kept(&question(0))), (Some(true), None));
    }
}
