//! The gateway: stands between identities and the systems that hold personal data.
//!
//! The folders in the order of the data's way: [`config`] and [`cli`] start it, [`listen`] takes requests, [`identity`]
//! says who asks, [`authorisation`] whether they may, [`session`] binds who and connection to the rules that hold, [`protocol`] reads messages, `exchange` takes
//! each request to its `upstream` and back through the inspector, `raw` does the same for bytes, [`evidence`] records
//! what happened before it happens. [`approval`] holds commands that somebody has to approve. [`agents`] are those that serve targets
//! from inside other networks. `export` sends records on to others. [`control`] shows live sessions to whoever runs it, and ends them.

pub mod agents;
pub mod approval;
pub mod authorisation;
mod backoff;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod evidence;
mod exchange;
mod export;
mod fetch;
pub mod gateway;
pub mod identity;
pub mod limits;
pub mod listen;
mod meter;
mod private;
pub mod protocol;
mod raw;
pub mod serve;
pub mod session;
pub mod signing;
mod stamp;
mod strict;
pub mod tls;
mod upstream;
