//! Wire formats as state machines without sockets: bytes in, messages and bytes out.

pub mod mcp;
pub mod postgres;
