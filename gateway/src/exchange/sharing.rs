//! Answers that a client may keep for others (`cacheScope`, revision 2026-07-28). One that the rules changed for this caller,
//! or would change for another one, is nobody else's: it says `private`.

use super::inspect::{Inspector, Released};
use crate::protocol::mcp::message::Body;
use bytes::{Bytes, BytesMut};
use sluice_dsl::Policy;
use sluice_engine::{Action, Budget, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSet, RuleSpec};
use sluice_engine::{Stop, StreamOptions};
use std::sync::LazyLock;

/// The requests whose answers say who may keep them.
const CACHEABLE: [&str; 6] =
    ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

/// Whatever an answer says about who may keep it becomes `private`.
static PRIVATE: LazyLock<Program> = LazyLock::new(|| {
    let path = JsonPath::parse("$.result.cacheScope").expect("the path is well formed");
    let mut builder = Program::builder();
    let scope = builder.pattern(PatternSpec::new("scope", Matcher::Json(path))).expect("a path is always a pattern");
    builder.rule(RuleSpec::new("private", Action::Mask(Mask::redact("private")), [scope]));
    builder.build().expect("one rule of one pattern is a program")
});

/// Who else may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The answer doesn't say, or no rule could change it.
    AsSaid,
    /// Whoever the upstream says, unless it was masked: every rule has looked at it.
    UnlessMasked,
    /// Nobody: other rules hold for other callers.
    Private,
}

impl Sharing {
    /// Who may keep the answers to `body`, which these rules inspect.
    pub(crate) fn of(body: &Body, rules: &RuleSet, policy: &Policy) -> Self {
        let cacheable = |method: Option<&str>| method.is_some_and(|method| CACHEABLE.contains(&method));
        let all = policy.response_patterns();
        if all.is_empty() || !body.messages().iter().any(|message| cacheable(message.method())) {
            return Self::AsSaid;
        }
        let mut others = policy.program().rules().filter(|rule| all.contains(*rule) && !rules.contains(*rule));
        if others.next().is_some() { Self::Private } else { Self::UnlessMasked }
    }

    /// A whole answer as it may be kept.
    ///
    /// # Errors
    /// A [`Stop`]: the budget of all streams is used up.
    pub(crate) fn whole(self, answer: Bytes, masked: bool, budget: &Budget) -> Result<Bytes, Stop> {
        if self == Self::AsSaid || (self == Self::UnlessMasked && !masked) {
            return Ok(answer);
        }
        let options = StreamOptions { format: Format::Json, ..StreamOptions::default() };
        let released = Inspector::open(&PRIVATE, options, budget).whole(answer);
        released.stop.map_or(Ok(released.bytes), Err)
    }

    /// An answer that leaves while it comes, so that nobody knows yet whether something of it will be masked.
    pub(crate) fn stream(self, format: Format, budget: &Budget) -> Narrowing {
        let narrows = self != Self::AsSaid && format != Format::Raw;
        let options = StreamOptions { format, ..StreamOptions::default() };
        Narrowing(narrows.then(|| Inspector::open(&PRIVATE, options, budget)))
    }
}

/// A stream whose answers become private.
pub(crate) struct Narrowing(Option<Inspector>);

impl Narrowing {
    /// Lets pass what the rules released; `last`: nothing follows.
    pub(crate) fn pass(&mut self, released: &mut Released, last: bool) {
        let Some(inspector) = &mut self.0 else { return };
        let mut out = BytesMut::new();
        let mut take = |narrowed: Released| {
            out.extend_from_slice(&narrowed.bytes);
            released.stop = released.stop.take().or(narrowed.stop);
        };
        take(inspector.push(std::mem::take(&mut released.bytes)));
        if inspector.awaits_event() {
            // No value of this kind goes on in another event.
            take(inspector.decide());
        }
        if last {
            take(inspector.finish());
        }
        released.bytes = out.freeze();
    }
}
