//! Commands that wait for somebody's approval.
//!
//! - `machine`: the life of one request, without clocks, stores or sockets.
//! - `asked`: what a rule wants, and what approvers are shown.
//! - `command`: what is approved, and its hash.
//! - `ticket`: what a client carries back with its retry.
//! - `webhook`: tells people that something waits.
//! - `words`: what the requester is told.
//! - `desk`: all requests of a running gateway, and their records.

mod asked;
mod command;
mod desk;
#[cfg(test)]
mod exploration;
mod held;
mod machine;
mod ticket;
mod webhook;
mod words;

pub use asked::{Asked, Want, party_of};
pub use command::Command;
pub use desk::{Broken, Desk, DeskError};
pub use held::{Held, Seen};
pub use machine::{Approver, Decision, Moment, Party, Refused, Request, State, Terms};
pub use ticket::{Link, is_ticket};
pub use words::{ended, status_url, undecided, waits_for};
