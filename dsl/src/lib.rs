//! The rule language.

pub mod sql;
