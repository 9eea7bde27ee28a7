//! Which request a line of the child belongs to. No processes, no sockets.

use crate::protocol::mcp::SUBSCRIPTION_META;
use crate::protocol::mcp::message::{Id, Kind, Message, with_member};
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};
use tokio::sync::mpsc;

/// Messages kept for a stream that isn't open yet.
const BACKLOG: usize = 256;
/// Their bytes.
const BACKLOG_BYTES: usize = 1024 * 1024;

/// What comes to an exchange.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The answer to one of its requests.
    Answer {
        /// With the id as the client wrote it.
        bytes: Bytes,
        id: Id,
    },
    /// A notification or a request of the server.
    Other(Bytes),
    /// A line that can't be read; it may have been the answer.
    Broken,
}

/// A request that wants an answer.
pub(super) struct Want {
    pub(super) id: Id,
    pub(super) sender: mpsc::Sender<Incoming>,
    pub(super) token: Option<String>,
    pub(super) json_only: bool,
    pub(super) cancellable: bool,
    pub(super) renumber: bool,
}

struct Pending {
    want: Want,
    order: u64,
    /// The id as the child knows it, as JSON.
    wire: String,
    /// The progress token as the child knows it, as JSON.
    token: Option<String>,
}

impl Pending {
    /// A notification for this request, with its id and its token as the client wrote them.
    fn restore(&self, message: &Message) -> Option<Bytes> {
        let mut bytes = message.raw().clone();
        if message.subscription().is_some() && self.wire != self.want.id.raw() {
            bytes = with_member(&bytes, &["params", "_meta", SUBSCRIPTION_META], self.want.id.raw())?;
        }
        if let (Some(own), true) = (&self.want.token, is_progress(message))
            && self.token != self.want.token
        {
            bytes = with_member(&bytes, &["params", "progressToken"], own)?;
        }
        Some(bytes)
    }
}

fn is_progress(message: &Message) -> bool {
    message.method() == Some("notifications/progress")
}

/// Where a line goes.
pub(super) enum Route {
    /// To this exchange.
    Exchange(mpsc::Sender<Incoming>, Incoming),
    /// To the stream of the session.
    Stream(mpsc::Sender<Bytes>, Bytes),
    /// Nowhere, or kept for later.
    Nowhere,
}

/// The requests of a child that have no answer yet, and its stream.
#[derive(Default)]
pub(super) struct Routes {
    pending: HashMap<String, Pending>,
    /// Ids that were given up; a late answer is dropped and must not meet a new request.
    given_up: HashSet<String>,
    order: u64,
    stream: Option<mpsc::Sender<Bytes>>,
    backlog: VecDeque<Bytes>,
    backlog_bytes: usize,
    closed: bool,
}

impl Routes {
    /// Enters a request; gives the key of its entry and its bytes as they go to the child.
    pub(super) fn register(&mut self, want: Want, bytes: &Bytes) -> Result<(String, Bytes), &'static str> {
        if self.closed {
            return Err("the upstream process has ended");
        }
        self.order += 1;
        let mut key = want.id.key().to_owned();
        let mut wire = want.id.raw().to_owned();
        let mut bytes = bytes.clone();
        if self.pending.contains_key(&key) || self.given_up.contains(&key) {
            if !want.renumber {
                return Err("the id of this request is in use");
            }
            wire = format!("\"sluice-{}\"", self.order);
            key.clone_from(&wire);
            bytes = with_member(&bytes, &["id"], &wire).ok_or("the id of this request is in use")?;
        }
        let mut token = want.token.clone();
        if want.renumber && token.is_some() && self.pending.values().any(|pending| pending.token == token) {
            let own = format!("\"sluice-{}\"", self.order);
            bytes = with_member(&bytes, &["params", "_meta", "progressToken"], &own)
                .ok_or("the progress token of this request is in use")?;
            token = Some(own);
        }
        self.pending.insert(key.clone(), Pending { want, order: self.order, wire, token });
        Ok((key, bytes))
    }

    /// Gives a request up. What the child must be told, where it hasn't answered yet.
    pub(super) fn give_up(&mut self, key: &str) -> Option<Bytes> {
        let pending = self.pending.remove(key)?;
        self.given_up.insert(key.to_owned());
        let id = pending.wire;
        pending.want.cancellable.then(|| {
            let text = r#","reason":"the client went away"}}"#;
            Bytes::from(
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}{text}"#)
                    + "\n",
            )
        })
    }

    /// Where a message of the child belongs.
    pub(super) fn route(&mut self, message: &Message) -> Route {
        if let Kind::Response { id } = message.kind() {
            let Some(id) = id else { return self.broken_route() };
            let Some(pending) = self.pending.remove(id.key()) else {
                self.given_up.remove(id.key());
                return Route::Nowhere;
            };
            let original = pending.want.id;
            let bytes = if pending.wire == original.raw() {
                Some(message.raw().clone())
            } else {
                restore_answer(message.raw(), &original)
            };
            let incoming = bytes.map_or(Incoming::Broken, |bytes| Incoming::Answer { bytes, id: original });
            return Route::Exchange(pending.want.sender, incoming);
        }
        let token = message.progress_token();
        let subscription = message.subscription().map(|id| id.to_string());
        let named = subscription.as_ref().and_then(|key| self.pending.get(key)).or_else(|| {
            let same = |pending: &&Pending| token.is_some() && pending.token == token;
            let found = || self.pending.values().filter(same).max_by_key(|pending| pending.order);
            is_progress(message).then(found).flatten()
        });
        let newest = || self.pending.values().max_by_key(|pending| pending.order);
        match named.or_else(newest).filter(|pending| !pending.want.json_only) {
            Some(pending) => match pending.restore(message) {
                Some(bytes) => Route::Exchange(pending.want.sender.clone(), Incoming::Other(bytes)),
                None => Route::Nowhere,
            },
            None => self.stream_route(message.raw().clone()),
        }
    }

    fn broken_route(&mut self) -> Route {
        // An error without an id answers a request the server could not read: nobody knows which.
        match self.pending.len() {
            1 => {
                let key = self.pending.keys().next().cloned().unwrap_or_default();
                let sender = self.pending.remove(&key).map(|pending| pending.want.sender);
                sender.map_or(Route::Nowhere, |sender| Route::Exchange(sender, Incoming::Broken))
            }
            _ => Route::Nowhere,
        }
    }

    fn stream_route(&mut self, bytes: Bytes) -> Route {
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_closed()) {
            return Route::Stream(stream.clone(), bytes);
        }
        self.backlog_bytes += bytes.len();
        self.backlog.push_back(bytes);
        while self.backlog.len() > BACKLOG || self.backlog_bytes > BACKLOG_BYTES {
            let dropped = self.backlog.pop_front().map_or(0, |bytes| bytes.len());
            self.backlog_bytes -= dropped;
        }
        Route::Nowhere
    }

    /// All that wait: for a line that can't be read.
    pub(super) fn all_waiting(&mut self) -> Vec<mpsc::Sender<Incoming>> {
        self.pending.values().map(|pending| pending.want.sender.clone()).collect()
    }

    /// Opens the stream of the session; what was kept comes first. None where one is open.
    pub(super) fn attach(&mut self) -> Option<mpsc::Receiver<Bytes>> {
        if self.closed || self.stream.as_ref().is_some_and(|stream| !stream.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACKLOG + super::WAITING);
        for bytes in std::mem::take(&mut self.backlog) {
            let _ = sender.try_send(bytes);
        }
        self.backlog_bytes = 0;
        self.stream = Some(sender);
        Some(receiver)
    }

    /// Nothing more comes: who waits learns it by the end of its channel.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.pending.clear();
        self.stream = None;
        self.backlog.clear();
    }
}

/// An answer with the id as the client wrote it; the end of a subscription names it twice.
fn restore_answer(answer: &Bytes, id: &Id) -> Option<Bytes> {
    let answer = with_member(answer, &["id"], id.raw())?;
    let named = with_member(&answer, &["result", "_meta", SUBSCRIPTION_META], id.raw());
    Some(named.unwrap_or(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mcp::message::Body;

    fn message(text: &str) -> Message {
        Body::parse(Bytes::copy_from_slice(text.as_bytes()), 9999).unwrap().messages()[0].clone()
    }

    fn want(text: &str, renumber: bool) -> (Want, Bytes, mpsc::Receiver<Incoming>) {
        let message = message(text);
        let (sender, receiver) = mpsc::channel(8);
        let want = Want {
            id: message.request_id().unwrap().clone(),
            sender,
            token: message.progress_token(),
            json_only: false,
            cancellable: true,
            renumber,
        };
        (want, message.raw().clone(), receiver)
    }

    fn deliver(route: Route) {
        match route {
            Route::Exchange(sender, incoming) => sender.try_send(incoming).unwrap(),
            Route::Stream(sender, bytes) => sender.try_send(bytes).unwrap(),
            Route::Nowhere => {}
        }
    }

    #[test]
    fn answers_and_progress_reach_the_request_they_belong_to() {
        let mut routes = Routes::default();
        let (one, one_bytes, mut one_out) =
            want(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":"p"}}}"#, false);
        let (two, two_bytes, mut two_out) = want(r#"{"jsonrpc":"2.0","id":"1","method":"b"}"#, false);
        routes.register(one, &one_bytes).unwrap();
        routes.register(two, &two_bytes).unwrap();
        let progress =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;
        deliver(routes.route(&message(progress)));
        deliver(routes.route(&message(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#)));
        deliver(routes.route(&message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)));
        assert!(matches!(one_out.try_recv(), Ok(Incoming::Other(_))));
        assert!(matches!(one_out.try_recv(), Ok(Incoming::Answer { id, .. }) if id.raw() == "1"));
        assert!(matches!(two_out.try_recv(), Ok(Incoming::Answer { id, .. }) if id.raw() == "\"1\""));
        assert!(two_out.try_recv().is_err());
    }

    #[test]
    fn an_id_in_use_is_refused_or_renumbered_and_restored() {
        let mut routes = Routes::default();
        let (first, bytes, _out) = want(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, false);
        routes.register(first, &bytes).unwrap();
        let (again, bytes, _again) = want(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, false);
        assert!(routes.register(again, &bytes).is_err());
        let (shared, bytes, mut out) = want(r#"{"jsonrpc":"2.0", "id": 1,"method":"a"}"#, true);
        let (key, wire) = routes.register(shared, &bytes).unwrap();
        assert_eq!(wire, Bytes::from(format!(r#"{{"jsonrpc":"2.0", "id": {key},"method":"a"}}"#)));
        deliver(routes.route(&message(&format!(r#"{{"id":{key},"jsonrpc":"2.0","result":{{"b":1,"a":2}}}}"#))));
        let Ok(Incoming::Answer { bytes, .. }) = out.try_recv() else { panic!("no answer") };
        assert_eq!(&bytes[..], br#"{"id":1,"jsonrpc":"2.0","result":{"b":1,"a":2}}"#);
    }

    #[test]
    fn a_token_and_a_subscription_of_a_shared_child_come_back_as_their_client_wrote_them() {
        let mut routes = Routes::default();
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1}}}"#;
        let (first, bytes, mut first_out) = want(text, true);
        routes.register(first, &bytes).unwrap();
        let (second, bytes, mut second_out) = want(text, true);
        let (key, wire) = routes.register(second, &bytes).unwrap();
        assert_eq!(wire, Bytes::from(text.replace(":1", &format!(":{key}"))), "id and token are told apart");
        for token in [key.as_str(), "1"] {
            let progress = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            );
            deliver(routes.route(&message(&progress)));
        }
        let event = format!(r#"{{"jsonrpc":"2.0","method":"n","params":{{"_meta":{{"{SUBSCRIPTION_META}":{key}}}}}}}"#);
        deliver(routes.route(&message(&event)));
        let end = format!(r#"{{"jsonrpc":"2.0","id":{key},"result":{{"_meta":{{"{SUBSCRIPTION_META}":{key}}}}}}}"#);
        deliver(routes.route(&message(&end)));
        let progress =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
        assert!(matches!(first_out.try_recv(), Ok(Incoming::Other(bytes)) if bytes == progress));
        assert!(first_out.try_recv().is_err());
        assert!(matches!(second_out.try_recv(), Ok(Incoming::Other(bytes)) if bytes == progress));
        let seen = event.replace(&key, "1");
        assert!(matches!(second_out.try_recv(), Ok(Incoming::Other(bytes)) if bytes == seen));
        let seen = end.replace(&key, "1");
        assert!(matches!(second_out.try_recv(), Ok(Incoming::Answer { bytes, .. }) if bytes == seen));
    }

    #[test]
    fn a_request_given_up_is_cancelled_and_its_late_answer_dropped() {
        let mut routes = Routes::default();
        let (one, bytes, mut out) = want(r#"{"jsonrpc":"2.0","id":"x","method":"a"}"#, false);
        let (key, _) = routes.register(one, &bytes).unwrap();
        let told = String::from_utf8(routes.give_up(&key).unwrap().to_vec()).unwrap();
        assert!(told.contains(r#""requestId":"x""#) && told.ends_with("}\n"), "{told}");
        let (reused, bytes, _reused) = want(r#"{"jsonrpc":"2.0","id":"x","method":"a"}"#, false);
        assert!(routes.register(reused, &bytes).is_err());
        deliver(routes.route(&message(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#)));
        assert!(out.try_recv().is_err());
        let (reused, bytes, _reused) = want(r#"{"jsonrpc":"2.0","id":"x","method":"a"}"#, false);
        assert!(routes.register(reused, &bytes).is_ok());
    }

    #[test]
    fn what_belongs_to_no_request_waits_for_the_stream() {
        let mut routes = Routes::default();
        deliver(routes.route(&message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)));
        let mut stream = routes.attach().unwrap();
        assert!(stream.try_recv().is_ok());
        assert!(routes.attach().is_none());
        drop(stream);
        assert!(routes.attach().is_some());
    }
}
