//! Runs the `test` items of rule files: each under every way to cut its input, as the rule language promises.

use crate::Compilation;
use crate::diagnostic::{Source, line_column};
use crate::policy::{HitAction, Policy, RequestFacts, SessionFacts, SessionPolicy, UserKind};
use crate::syntax::tree::{Direction, Expect, Field, ItemKind, Span, Test, Value};
use bytes::Bytes;
use sluice_engine::{ActionKind, Budget, Collected, Format, RuleSet, Stop, Stream, StreamOptions};
use std::collections::BTreeSet;

/// An input longer than this is cut at this many places, evenly spread, and not at each byte.
const SPLITS: usize = 2048;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TestOutcome {
    /// The test's sentence.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// True where what was expected happened, under every cut.
    pub passed: bool,
    /// What was expected.
    pub expected: String,
    /// What happened: actions, rules and the bytes that came out.
    pub got: String,
    /// The cut under which it failed; None where it passed, or fails uncut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

/// Runs the tests of the given files, those of their imports not included. `filter` picks the tests whose name contains
/// it. Without a policy there is nothing to run them against, and so no outcome.
#[must_use]
pub fn run(compilation: &Compilation, filter: Option<&str>) -> Vec<TestOutcome> {
    let Some(policy) = &compilation.policy else { return Vec::new() };
    let mut outcomes = Vec::new();
    for file in &compilation.files {
        for item in &file.tree.items {
            let ItemKind::Test(test) = &item.kind else { continue };
            if filter.is_none_or(|part| test.name.value.contains(part)) {
                outcomes.push(run_one(policy, &file.source, &item.span, test));
            }
        }
    }
    outcomes
}

fn run_one(policy: &Policy, source: &Source, span: &Span, test: &Test) -> TestOutcome {
    let given = Given::of(test);
    let session = policy.specialise(&given.session);
    let mut outcome = TestOutcome {
        name: test.name.value.clone(),
        path: source.path.clone(),
        line: line_column(&source.text, span.start).0,
        passed: true,
        expected: expected(test),
        got: String::new(),
        cut: None,
    };
    let directions: &[Direction] = match test.direction.value {
        Direction::Both => &[Direction::Request, Direction::Response],
        Direction::Request => &[Direction::Request],
        Direction::Response => &[Direction::Response],
    };
    for direction in directions {
        let exchange = Exchange::new(&session, &given, *direction, &test.send.value);
        for cut in cuts(test.send.value.len()) {
            let seen = exchange.run(&cut);
            if outcome.got.is_empty() {
                outcome.got = seen.describe();
            }
            if !seen.meets(test) {
                outcome.passed = false;
                outcome.got = seen.describe();
                outcome.cut = cut.describe();
                return outcome;
            }
        }
    }
    outcome
}

fn expected(test: &Test) -> String {
    let what = match &test.expect.value {
        Expect::Pass => "pass".to_owned(),
        Expect::Block => "block".to_owned(),
        Expect::Approve => "approve".to_owned(),
        Expect::Alert => "alert".to_owned(),
        Expect::Mask(text) => format!("mask {:?}", text.value),
    };
    match &test.by {
        Some(rule) => format!("{what} by {}", rule.value),
        None => what,
    }
}

/// A way to hand the input over.
enum Cut {
    Whole,
    At(usize),
    Bytes,
}

impl Cut {
    fn describe(&self) -> Option<String> {
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

fn cuts(length: usize) -> impl Iterator<Item = Cut> {
    let step = (length / SPLITS).max(1);
    std::iter::once(Cut::Whole).chain((1..length).step_by(step).map(Cut::At)).chain((length > 1).then_some(Cut::Bytes))
}

/// What a test gives.
struct Given {
    session: SessionFacts,
    request: RequestFacts,
}

impl Given {
    fn of(test: &Test) -> Self {
        let mut session = SessionFacts { user_id: "tester@example.org".into(), ..SessionFacts::default() };
        let mut request = RequestFacts { size: test.send.value.len() as u64, ..RequestFacts::default() };
        for (field, value) in &test.given {
            let first = || texts(value).into_iter().next().unwrap_or_default();
            match field.name.value.as_str() {
                "protocol" => session.protocol = first(),
                "target" => session.target = first(),
                "user.id" => session.user_id = first(),
                "user.email" => session.user_email = Some(first()),
                "user.kind" if first() == "service" => session.user_kind = UserKind::Service,
                "user.kind" => session.user_kind = UserKind::Person,
                "user.group" => session.user_groups = texts(value),
                "session.purpose" => session.purpose = Some(first()),
                "session.client" => session.client = Some(first()),
                "session.ip" => session.ip = Some(first()),
                "mcp.method" => request.mcp_method = Some(first()),
                "tool.name" => request.tool_name = Some(first()),
                "tool.arg" => argument(&mut request, field, &first()),
                "resource.uri" => request.resource_uri = Some(first()),
                "prompt.name" => request.prompt_name = Some(first()),
                "column" => request.column = Some(first()),
                // The checker names a field that no test can give.
                _ => {}
            }
        }
        Self { session, request }
    }
}

/// Puts a text at the path of `tool.arg("$.name")`, one member deep or more.
fn argument(request: &mut RequestFacts, field: &Field, text: &str) {
    let path = field.path.as_ref().map_or("", |path| path.value.trim_start_matches('$').trim_start_matches('.'));
    let mut at = request.tool_args.get_or_insert_with(|| serde_json::json!({}));
    for name in path.split('.') {
        if !at.is_object() {
            *at = serde_json::json!({});
        }
        at = &mut at[name];
    }
    *at = serde_json::Value::String(text.to_owned());
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Text(text) | Value::Word(text) => vec![text.value.clone()],
        Value::Number(number) => vec![number.value.to_string()],
        Value::Size(number) | Value::Duration(number) => vec![number.value.to_string()],
        Value::List(list) => list.value.iter().flat_map(texts).collect(),
    }
}

/// One direction, ready to be run under a cut.
struct Exchange<'a> {
    session: &'a SessionPolicy,
    request: RequestFacts,
    decided: bool,
    rules: RuleSet,
    format: Format,
    input: Bytes,
}

impl<'a> Exchange<'a> {
    fn new(session: &'a SessionPolicy, given: &Given, direction: Direction, text: &str) -> Self {
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

    fn run(&self, cut: &Cut) -> Seen {
        let mut seen = Seen { input: self.input.clone(), ..Seen::default() };
        if self.decided {
            for hit in self.session.decide(&self.request) {
                let action = match hit.action {
                    HitAction::Block { .. } => Did::Block,
                    HitAction::Approve { .. } => Did::Approve,
                    HitAction::Alert => Did::Alert,
                };
                seen.note(action, &hit.rule.pack, &hit.rule.name);
            }
        }
        let program = self.session.policy().program();
        let options = StreamOptions {
            format: self.format,
            rules: Some(self.rules.clone()),
            column: self.request.column.clone(),
            ..StreamOptions::default()
        };
        let mut out = Collected::default();
        let mut stream = Stream::open(program, options, &Budget::unlimited());
        let mut end = Ok(());
        for part in cut.parts(&self.input) {
            end = end.and_then(|()| stream.push(part, &mut out));
        }
        end = end.and_then(|()| stream.finish(&mut out));
        if let Err(Stop::Budget { .. } | Stop::Undecodable { .. } | Stop::Finished) = &end {
            seen.stopped = end.as_ref().err().map(ToString::to_string);
        }
        let stop = match &end {
            Err(Stop::Blocked(decision)) => Some(decision),
            _ => None,
        };
        for decision in out.decisions.iter().chain(stop) {
            let action = match decision.action {
                ActionKind::Alert => Did::Alert,
                ActionKind::Mask => Did::Mask,
                ActionKind::Block => Did::Block,
            };
            let rule = self.session.policy().rule(decision.rule);
            seen.note(action, &rule.pack, &rule.name);
        }
        seen.output = out.bytes;
        seen
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

/// What a rule did, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Did {
    Alert,
    Mask,
    Approve,
    Block,
}

/// What was seen in one run.
#[derive(Default)]
struct Seen {
    input: Bytes,
    output: Vec<u8>,
    did: BTreeSet<(Did, String, String)>,
    stopped: Option<String>,
}

impl Seen {
    fn note(&mut self, did: Did, pack: &str, rule: &str) {
        self.did.insert((did, pack.to_owned(), rule.to_owned()));
    }

    fn strongest(&self) -> Option<Did> {
        self.did.iter().map(|(did, ..)| *did).max()
    }

    fn by(&self, did: Option<Did>, name: &str) -> bool {
        self.did.iter().any(|(done, pack, rule)| {
            did.is_none_or(|did| did == *done) && (rule == name || format!("{pack}.{rule}") == name)
        })
    }

    fn meets(&self, test: &Test) -> bool {
        let named = |did| test.by.as_ref().is_none_or(|rule| self.by(Some(did), &rule.value));
        if self.stopped.is_some() {
            return false;
        }
        let (strongest, unchanged) = (self.strongest(), self.output == self.input[..]);
        match &test.expect.value {
            // With a rule named, that one did nothing; others may have.
            Expect::Pass => match &test.by {
                Some(rule) => !self.by(None, &rule.value),
                None => strongest.is_none() && unchanged,
            },
            Expect::Block => strongest == Some(Did::Block) && named(Did::Block),
            Expect::Approve => strongest == Some(Did::Approve) && named(Did::Approve),
            Expect::Alert => strongest == Some(Did::Alert) && unchanged && named(Did::Alert),
            Expect::Mask(text) => {
                strongest == Some(Did::Mask) && self.output == text.value.as_bytes() && named(Did::Mask)
            }
        }
    }

    fn describe(&self) -> String {
        let strongest = self.strongest();
        let rules = |did: Did| {
            let names: Vec<&str> =
                self.did.iter().filter(|(done, ..)| *done == did).map(|(_, _, rule)| rule.as_str()).collect();
            names.join(", ")
        };
        let text = match strongest {
            None => "pass".to_owned(),
            Some(Did::Block) => format!("block by {}", rules(Did::Block)),
            Some(Did::Approve) => format!("approve by {}", rules(Did::Approve)),
            Some(Did::Alert) => format!("alert by {}", rules(Did::Alert)),
            Some(Did::Mask) => {
                format!("mask {:?} by {}", String::from_utf8_lossy(&self.output), rules(Did::Mask))
            }
        };
        match &self.stopped {
            Some(reason) => format!("{text}, then the stream stopped: {reason}"),
            None => text,
        }
    }
}
