//! The gateway: stands between identities and the systems that hold personal data.
//!
//! The folders in the order of the data's way: [`config`] and [`cli`] start it, [`identity`] says who asks, [`session`]
//! binds who and connection to the rules that hold, [`evidence`] records what happened before it happens.

pub mod cli;
pub mod config;
pub mod demo;
pub mod evidence;
pub mod gateway;
pub mod identity;
mod private;
pub mod serve;
pub mod session;
