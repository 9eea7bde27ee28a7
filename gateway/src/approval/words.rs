//! What the requester is told of a request for approval, in the same words by every protocol. Never anything of the command.

use super::asked::Asked;
use super::held::Held;
use super::machine::State;

/// What people are told about a request that waits.
#[must_use]
pub fn waits_for(asked: &Asked) -> String {
    let by = asked.by.join(", ");
    format!("rule `{}` asks for an approval of {} ({by}); the request is {}", asked.rule, asked.count, asked.approval)
}

/// Where people see how a request stands: `PUBLIC/approvals/ID`.
#[must_use]
pub fn status_url(public: &str, approval: &str) -> String {
    format!("{public}/approvals/{approval}")
}

/// Where whoever has this link decides: `PUBLIC/decide/LINK`.
#[must_use]
pub(super) fn decide_url(public: &str, link: &str) -> String {
    format!("{public}/decide/{link}")
}

/// Why a command does not go on whose request for approval is over.
#[must_use]
pub fn ended(held: &Held) -> String {
    let asked = &held.asked;
    let how = match held.seen().state {
        State::Denied => "was denied",
        State::Expired => "was not approved in time",
        State::Withdrawn => "was withdrawn",
        State::Used => "has been used; each approval counts once",
        State::Void => "does not count any more: what was approved has changed",
        State::Pending | State::Approved => "is no longer approved by enough",
    };
    format!("refused by rule `{}`: the request for approval {} {how}", asked.rule, asked.approval)
}

/// Nobody has decided while the caller could wait.
#[must_use]
pub fn undecided(asked: &Asked) -> String {
    format!(
        "the request for approval {} is not decided yet; it is open until {}: send the same command again once it is approved",
        asked.approval,
        asked.expires.strftime("%FT%TZ")
    )
}
