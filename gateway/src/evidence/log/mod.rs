//! The log: append-only segments in a folder, written by one thread and read by anybody.
//!
//! - `frame`: the bytes of a segment, without files.
//! - `tree`: the Merkle tree over the records.
//! - `folder`: the segments and the lock of a log.
//! - `segment`: reads frames in their order; tells a torn tail from damage.
//! - `tail`: the end, where records are appended.
//! - `writer`: the thread that makes what waits durable together.

pub(super) mod folder;
pub(super) mod frame;
pub(super) mod segment;
pub(super) mod tail;
pub(super) mod tree;
pub(super) mod writer;
