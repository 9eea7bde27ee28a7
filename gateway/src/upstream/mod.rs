//! The systems behind the gateway: servers that speak Streamable HTTP, and child processes that speak over stdio.

mod binding;
pub(crate) mod catalog;
pub(crate) mod estimate;
pub(crate) mod http;
pub(crate) mod postgres;
pub(crate) mod stdio;
pub(crate) mod way;
