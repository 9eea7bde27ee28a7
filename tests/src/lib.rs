//! What the end-to-end tests are made of: the real binaries, official MCP clients and servers, the conformance suite, and upstreams that
//! cut their answers wherever a test wants them cut. The tests themselves are in `tests/`.
//!
//! `cargo xtask test` installs the clients and servers first; without them the tests fail and say so.
#![allow(clippy::unwrap_used, reason = "a test that can't set its scene must fail")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` values read better as they are")]

pub mod approvals;
pub mod authority;
pub mod client;
pub mod conformance;
pub mod disk;
pub mod http;
pub mod https;
pub mod issuer;
pub mod ocsf;
pub mod place;
pub mod postgres;
pub mod program;
pub mod provider;
pub mod proxy;
pub mod relay;
pub mod sluice;
pub mod target;
pub mod tunnel;
pub mod upstream;
pub mod webhook;
