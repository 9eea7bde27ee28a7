//! rulec
fn main() {}
