//! End to end, with real parts: the binaries as users run them, official clients and servers on either side.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod agent;
mod approvals;
mod attacks;
mod certificates;
mod clients;
mod conformance;
mod cuts;
mod evidence;
mod examples;
mod explain;
mod export;
mod http3;
mod identity;
mod lifecycle;
mod listener;
mod login;
mod messages;
mod notes;
mod recordings;
mod refusal;
mod roles;
mod scan;
mod service_tokens;
mod tls;
mod tunnel;
mod tunnel_certificates;
mod tunnel_identity;
mod tunnel_limits;
mod tunnel_mcp;
mod tunnel_network;
mod webhooks;
