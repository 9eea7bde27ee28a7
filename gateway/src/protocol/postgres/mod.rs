//! PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2, as a gateway stands in the middle of it.
//!
//! [`frame`] cuts the stream into messages, [`startup`] reads what comes before the first of them, `conversation` follows
//! both sides and says what may pass. All of it is sans-IO: bytes in, bytes out, no sockets. What nothing changes leaves as the
//! bytes that came in.

mod conversation;
mod copy;
pub mod frame;
mod literal;
pub mod oauth;
pub mod origins;
mod read;
pub mod report;
mod rows;
pub mod startup;
mod texts;
mod types;
mod value;

pub use conversation::{Conversation, Hold, Note, Opened, Out, Sent, Verdict, judge_setting};
pub use read::Malformed;
