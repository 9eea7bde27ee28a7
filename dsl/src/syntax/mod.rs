//! From text to tree.

mod parse;
pub mod tree;
mod walk;

pub use parse::{KEYWORDS, Parsed, Token, TokenKind, parse, tokens};
