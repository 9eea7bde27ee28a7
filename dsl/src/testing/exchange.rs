//! One direction of one exchange, sent through a policy: what a test does, under each cut of its input.

use super::given::Given;
use super::seen::{Did, Seen};
use crate::policy::{HitAction, RequestFacts, SessionPolicy};
use crate::syntax::tree::Direction;
use bytes::Bytes;
use sluice_engine::{Budget, Format, RuleSet, Sink as _, Stop, Stream, StreamOptions};

/// An input longer than this is cut at this many places, evenly spread, and not at each byte.
const SPLITS: usize = 2048;

/// A way to hand the input over.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    Whole,
    At(usize),
    Bytes,
}

impl Cut {
    pub(super) fn describe(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::At(at) => Some(format!("cut after byte {at}")),
            Self::Bytes => Some("byte by byte".into()),
        }
    }

    fn parts(&self, input: &Bytes) -> Vec<Bytes> {
        match self {
            Self::Whole => vec![input.clone()],
            Self::At(at) => vec![input.slice(..*at), input.slice(*at..)],
            Self::Bytes => (0..input.len()).map(|i| input.slice(i..=i)).collect(),
        }
    }
}

/// Every cut that is tried of so many bytes.
pub(super) fn cuts(length: usize) -> impl Iterator<Item = Cut> {
    let step = (length / SPLITS).max(1);
    std::iter::once(Cut::Whole).chain((1..length).step_by(step).map(Cut::At)).chain((length > 1).then_some(Cut::Bytes))
}

/// One direction, ready to be run under a cut.
pub(crate) struct Exchange<'a> {
    session: &'a SessionPolicy,
    request: RequestFacts,
    decided: bool,
    rules: RuleSet,
    format: Format,
    input: Bytes,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(session: &'a SessionPolicy, given: &Given, direction: Direction, text: &str) -> Self {
        let mut request = given.request.clone();
        let json = serde_json::from_str::<serde_json::Value>(text).ok().filter(serde_json::Value::is_object);
        let native_sql = crate::fields::SQL_PROTOCOLS.contains(&given.session.protocol.as_str());
        let decided = matches!(direction, Direction::Request);
        if decided && native_sql {
            request.sql = Some(text.to_owned());
        }
        if let Some(message) = json.as_ref().filter(|_| decided && given.session.protocol == "mcp") {
            read_message(&mut request, message);
        }
        let rules = if decided { session.request_rules(&request) } else { session.response_rules(&request) };
        let format = if json.is_some() && !native_sql { Format::Json } else { Format::Raw };
        Self { session, request, decided, rules, format, input: Bytes::copy_from_slice(text.as_bytes()) }
    }

    pub(crate) fn run(&self, cut: Cut) -> Seen {
        let mut seen = Seen::of(self.session.policy().clone(), self.input.clone());
        if self.decided {
            for hit in self.session.decide(&self.request) {
                let action = match hit.action {
                    HitAction::Block { .. } => Did::Block,
                    HitAction::Approve { .. } => {
                        seen.approvals.push(hit.action.clone());
                        Did::Approve
                    }
                    HitAction::Alert => Did::Alert,
                };
                seen.note(action, &hit.rule.pack, &hit.rule.name);
            }
        }
        let options = StreamOptions {
            format: self.format,
            rules: Some(self.rules.clone()),
            column: self.request.column.clone(),
            ..StreamOptions::default()
        };
        let mut stream = Stream::open(self.session.policy().program(), options, &Budget::unlimited());
        let mut end = Ok(());
        for part in cut.parts(&self.input) {
            end = end.and_then(|()| stream.push(part, &mut seen));
        }
        match end.and_then(|()| stream.finish(&mut seen)) {
            Ok(()) => {}
            Err(Stop::Blocked(decision)) => seen.decision(&decision),
            Err(stop) => seen.stopped = Some(stop.to_string()),
        }
        seen
    }

    /// The session that the exchange is part of.
    pub(super) fn session(&self) -> &SessionPolicy {
        self.session
    }

    /// What is known of the request.
    pub(super) fn request(&self) -> &RequestFacts {
        &self.request
    }
}

/// Takes the tool, resource or prompt from a JSON-RPC message, where the test sends one whole.
fn read_message(request: &mut RequestFacts, message: &serde_json::Value) {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let Some(method) = text(&message["method"]) else {
        // The arguments alone.
        request.tool_args.get_or_insert_with(|| message.clone());
        return;
    };
    let params = &message["params"];
    match method.as_str() {
        "tools/call" => {
            request.tool_name = text(&params["name"]).or(request.tool_name.take());
            request.tool_args = Some(params["arguments"].clone());
        }
        "resources/read" => request.resource_uri = text(&params["uri"]),
        "prompts/get" => request.prompt_name = text(&params["name"]),
        _ => {}
    }
    request.mcp_method = Some(method);
}
