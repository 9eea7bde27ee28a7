//! `[purposes]`: what somebody may state as the purpose.

use std::fmt;

use regex_automata::{Input, meta::Regex, util::syntax};

use super::Pattern;

/// What a compiled expression may take, in bytes.
const SIZE: usize = 1024 * 1024;

/// Why an expression can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurposesError {
    /// It is no regular expression, or too large a one.
    #[error("this is no regular expression that can be used: {0}")]
    Expression(String),
}

/// The purposes that are accepted: those of a list, those that fit an expression, or both.
#[derive(Debug, Clone, Default)]
pub struct Purposes {
    allowed: Vec<Pattern>,
    expression: Option<(String, Regex)>,
}

impl Purposes {
    /// The purposes of a list, and those that fit a regular expression as a whole. Where nothing is given any will do.
    ///
    /// # Errors
    ///
    /// [`PurposesError`].
    pub fn new(allowed: Vec<Pattern>, expression: Option<&str>) -> Result<Self, PurposesError> {
        let expression = expression.map(|text| compile(text).map(|regex| (text.to_owned(), regex))).transpose()?;
        Ok(Self { allowed, expression })
    }

    /// Whether a purpose is accepted, in time linear in its length.
    #[must_use]
    pub fn accepts(&self, purpose: &str) -> bool {
        let is_any = self.allowed.is_empty() && self.expression.is_none();
        is_any
            || self.allowed.iter().any(|pattern| pattern.fits(purpose))
            || self.expression.as_ref().is_some_and(|(_, regex)| regex.is_match(Input::new(purpose)))
    }
}

/// The whole purpose has to fit, whether the expression says `^` and `$` or not.
fn compile(text: &str) -> Result<Regex, PurposesError> {
    let wrong = |error: String| PurposesError::Expression(error);
    // By itself first: a stray parenthesis must not close the one around it.
    syntax::parse(text).map_err(|error| wrong(last_line(&error.to_string())))?;
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(SIZE)))
        .build(&format!(r"\A(?:{text})\z"))
        .map_err(|error| wrong(last_line(&error.to_string())))
}

/// Messages of the parser draw the place over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl fmt::Display for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.allowed.iter().map(|pattern| format!("`{}`", pattern.as_str())).collect();
        parts.extend(self.expression.as_ref().map(|(text, _)| format!("what fits /{text}/")));
        match parts.as_slice() {
            [] => f.write_str("any"),
            [one] => f.write_str(one),
            [first @ .., last] => write!(f, "{} or {last}", first.join(", ")),
        }
    }
}
