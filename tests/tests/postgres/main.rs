//! PostgreSQL end to end: the real server, real clients, the gateway as users run it between them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod agents;
mod approvals;
mod binding;
mod certificates;
mod drivers;
mod endings;
mod origins;
mod programs;
mod psql;
mod recordings;
mod scene;
mod wire;
