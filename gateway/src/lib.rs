//! The gateway of Sluice: sockets, identity, protocols, evidence.

pub mod protocol;
