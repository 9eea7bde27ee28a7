//! From text to tree.

pub(crate) mod lookalike;
mod parse;
pub mod tree;
mod walk;

pub use parse::{KEYWORDS, Parsed, Token, TokenKind, parse, tokens};
