//! Tests of the session table.
