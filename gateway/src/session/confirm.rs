//! A purpose that somebody else has to confirm: a signed question to a service of the operator's own, and its answer for a minute.
//!
//! Whatever is no clear yes is a no.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::{
    fetch::fetch,
    identity::{Actor, Identity},
    signing::Signer,
    tls::Authorities,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer counts.
const KEPT: Duration = Duration::from_secs(60);
/// Answers that are kept at once.
const MAX_KEPT: usize = 4096;
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// Asks whether a purpose is somebody's. `Debug` doesn't show the secret.
pub struct Confirm {
    url: Url,
    signer: Signer,
    authorities: Option<Authorities>,
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
    /// Asks at this URL.
    #[must_use]
    pub fn new(url: Url, signer: Signer, authorities: Option<Authorities>) -> Self {
        Self { url, signer, authorities, kept: Mutex::default() }
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
                let allowed = self.ask(&question).await.map_err(NotConfirmed::Unavailable)?;
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
        let mut request = Request::post(self.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        for (name, value) in self.signer.headers(&id, at, &body) {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body)).map_err(|error| text(&error))?;
        let answer = fetch(request, self.authorities.as_ref(), MAX_ANSWER, PATIENCE).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}", answer.status().as_u16()));
        }
        let answer = serde_json::from_slice::<Answer>(answer.body());
        answer.map(|answer| answer.allowed).map_err(|_| "its answer is not {\"allowed\":…}".to_owned())
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

    fn confirm(url: &str) -> Confirm {
        Confirm::new(Url::parse(url).unwrap(), Signer::new("0123456789abcdef01234567").unwrap(), None)
    }

    #[tokio::test]
    async fn where_nobody_answers_the_purpose_is_not_confirmed_and_that_is_not_kept() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let confirm = confirm(&format!("http://{nobody}/check"));
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
        assert!(
            matches!(&checked, Err(NotConfirmed::Unavailable(why)) if why.contains("not reachable")),
            "{checked:?}"
        );
        assert!(confirm.kept.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let confirm = confirm("https://purposes.example.org/check");
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
