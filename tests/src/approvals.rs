//! Approvers: what they see of a gateway's requests for approval, and what they decide.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::http::send;
use crate::sluice::Sluice;

/// Asks the gateway's own interface.
pub async fn ask(sluice: &Sluice, token: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let request = match body {
        Some(_) => Request::post(format!("{}{path}", sluice.address)),
        None => Request::get(format!("{}{path}", sluice.address)),
    };
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let answer = send(request.body(Full::new(body)).unwrap()).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// The one request that is open, as this one sees it.
pub async fn waiting(sluice: &Sluice, token: &str) -> Value {
    for _ in 0..200 {
        let (status, open) = ask(sluice, token, "/api/v1/approvals", None).await;
        assert_eq!(status, 200, "{open}");
        if let [one] = open.as_array().unwrap().as_slice() {
            return one.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing waits");
}

/// Decides about a request that was seen, with a justification.
pub async fn decide(sluice: &Sluice, token: &str, view: &Value, decision: &str) -> (u16, Value) {
    let path = format!("/api/v1/approvals/{}/decision", view["approval"].as_str().unwrap());
    let body = json!({ "decision": decision, "justification": "CHG-42: agreed", "hash": view["hash"] });
    ask(sluice, token, &path, Some(&body)).await
}
