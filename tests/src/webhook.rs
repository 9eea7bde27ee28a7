//! A server that takes messages of the gateway: it keeps them, and refuses the first few where a test wants that.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::authority::{listen, serve};

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Told {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[derive(Debug, Default)]
struct State {
    refuse: usize,
    /// What it says to those that it takes.
    answer: &'static str,
    refused: Vec<Told>,
    taken: Vec<Told>,
}

/// The running server; ended when dropped.
#[derive(Debug)]
pub struct Webhook {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// Starts it; it refuses so many messages before it takes one.
    pub async fn start(refuse: usize) -> Self {
        Self::saying(refuse, "").await
    }

    /// The same; it says this to those that it takes.
    pub async fn saying(refuse: usize, answer: &'static str) -> Self {
        let (listener, tls, url) = listen(None).await;
        let state = Arc::new(Mutex::new(State { refuse, answer, ..State::default() }));
        let shared = Arc::clone(&state);
        let task = serve(listener, tls, move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let mut state = shared.lock().unwrap();
                let told = Told { headers: parts.headers, body };
                let status = if state.refused.len() < state.refuse {
                    state.refused.push(told);
                    503
                } else {
                    state.taken.push(told);
                    200
                };
                Response::builder().status(status).body(Full::new(Bytes::from_static(state.answer.as_bytes()))).unwrap()
            }
        });
        Self { url, state, task }
    }

    /// Waits for so many messages and gives them.
    pub async fn told(&self, count: usize) -> Vec<Told> {
        for _ in 0..300 {
            let taken = self.state.lock().unwrap().taken.clone();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("only {:?}", self.state.lock().unwrap().taken);
    }

    /// The messages that it refused.
    pub fn refused(&self) -> Vec<Told> {
        self.state.lock().unwrap().refused.clone()
    }
}
