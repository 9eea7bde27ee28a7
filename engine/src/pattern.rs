//! What can be searched for: regular expressions, words, JSON members. Each has a maximum length, computed or declared.

use crate::validate::Validator;
use regex_syntax::hir::{Hir, HirKind, Look};
use thiserror::Error;

/// A pattern, as given to [`crate::ProgramBuilder::pattern`].
#[derive(Clone, Debug, PartialEq)]
pub struct PatternSpec {
    /// Name, as decisions report it.
    pub name: String,
    /// What is searched for.
    pub matcher: Matcher,
    /// Every validator must accept a candidate.
    pub validators: Vec<Validator>,
    /// Words that must stand near a candidate.
    pub near: Option<Near>,
    /// Declared maximum length in bytes; a candidate that is still alive there counts as a match. Needed where none can be
    /// computed.
    pub max: Option<usize>,
    /// It is searched for in base64 (RFC 4648, sections 4 and 5) too: in each run of at least eight characters of one of the
    /// alphabets, as a text of its own. JSON members and columns are not.
    pub base64: bool,
}

/// What a pattern searches for.
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher {
    /// A regular expression in the syntax of the `regex` crate, over bytes: `\d`, `\w`, `\s` and `\b` are ASCII unless
    /// `(?u:…)` says otherwise. Leftmost-first, as Perl has it.
    Regex(String),
    /// Any of these words, as they stand or in any ASCII case. No word boundary is implied.
    Words {
        /// The words; the longest wins where several match.
        words: Vec<String>,
        /// ASCII case is ignored.
        nocase: bool,
    },
    /// The whole value of a JSON member or element at this path, from the root of a document or of a JSON document that
    /// stands in a string.
    Json(JsonPath),
    /// The whole value of a column of one of these names (ASCII case ignored): a database column where the stream has one
    /// ([`crate::StreamOptions::column`]), or a JSON member of that name at any depth.
    Column(Vec<String>),
}

/// Words of which one must stand within `within` bytes before or after a candidate, alone or inside a longer word (`card` in
/// `card_number`). ASCII case is ignored. The structure around a JSON string counts: the name of a member gives context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The words.
    pub words: Vec<String>,
    /// The window on either side, in bytes of decoded text.
    pub within: usize,
}

impl Near {
    /// One of the words stands in this text.
    pub(crate) fn stands_in(&self, text: &[u8]) -> bool {
        let mut words = self.words.iter();
        words.any(|word| text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes())))
    }
}

/// A path such as `$.customer.*.name`, `$.rows[*].email` or `$..email`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    /// The steps from the root.
    pub steps: Vec<PathStep>,
}

/// A step of a [`JsonPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// `.name` or `['name']`
    Key(String),
    /// `[3]`
    Index(usize),
    /// `.*` or `[*]`
    Any,
    /// `..`: any number of steps, none included.
    Descend,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// A sentence that says what is wrong and at which byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').ok_or("a path starts with `$`")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            if let Some(tail) = rest.strip_prefix("..") {
                steps.push(PathStep::Descend);
                // `..name` continues as `.name` would; `..[` as a bracket.
                if tail.is_empty() {
                    return Err("`..` needs a name after it".into());
                }
                if tail.starts_with('[') {
                    rest = tail;
                    continue;
                }
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                steps.push(name_step(&tail[..end], at)?);
                rest = &tail[end..];
            } else if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                steps.push(name_step(&tail[..end], at)?);
                rest = &tail[end..];
            } else if let Some(tail) = rest.strip_prefix('[') {
                let end = tail.find(']').ok_or_else(|| format!("`[` at byte {at} is not closed"))?;
                let inner = &tail[..end];
                let quoted = inner.strip_prefix('\'').and_then(|i| i.strip_suffix('\''));
                steps.push(match (inner, quoted) {
                    (_, Some(name)) => PathStep::Key(name.to_owned()),
                    ("*", _) => PathStep::Any,
                    _ => {
                        PathStep::Index(inner.parse().map_err(|_| {
                            format!("`{inner}` at byte {at} is neither a number, `*` nor a quoted name")
                        })?)
                    }
                });
                rest = &tail[end + 1..];
            } else {
                return Err(format!("expected `.` or `[` at byte {at}"));
            }
        }
        Ok(Self { steps })
    }
}

fn name_step(name: &str, at: usize) -> Result<PathStep, String> {
    match name {
        "" => Err(format!("a name is missing at byte {at}")),
        "*" => Ok(PathStep::Any),
        name => Ok(PathStep::Key(name.to_owned())),
    }
}

/// How many bytes a pattern, or a set of them, can hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldBack {
    /// Longest match, in bytes of decoded text.
    pub longest: usize,
    /// Largest `near` window, in bytes of decoded text.
    pub window: usize,
}

impl HoldBack {
    /// Longest match and window together, in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.longest + self.window
    }

    /// The larger of each part.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { longest: self.longest.max(other.longest), window: self.window.max(other.window) }
    }
}

/// The most that one pattern may hold back, in bytes: the cap on computed and declared maximum lengths.
pub(crate) const MAX_LENGTH: usize = 64 * 1024;

/// The default cap on the value of a JSON member or column that a mask needs whole, in bytes; a longer one is redacted.
pub(crate) const MAX_VALUE: usize = 4 * 1024;

/// Why a pattern can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The regular expression is not valid.
    #[error("{message}")]
    Syntax {
        /// What is wrong, one sentence.
        message: String,
        /// Where, in bytes of the expression.
        span: std::ops::Range<usize>,
    },
    /// The expression matches the empty string, so it would match everywhere.
    #[error("the regular expression matches the empty string")]
    MatchesEmpty,
    /// No maximum length can be computed and none is declared.
    #[error("the regular expression has no maximum length")]
    Unbounded,
    /// The maximum length is over the cap.
    #[error("a match may be {length} bytes long; the most is {MAX_LENGTH}")]
    TooLong {
        /// The computed or declared length, in bytes.
        length: usize,
    },
    /// The expression needs more memory or states than allowed.
    #[error("the regular expression needs too large an automaton: {0}")]
    TooLarge(String),
    /// A Unicode word boundary or a multi-line anchor, which can't be decided on a stream.
    #[error("{0} can't be decided on a stream of bytes")]
    Unsupported(&'static str),
    /// No word, or an empty one.
    #[error("a list of words needs at least one word, and no empty one")]
    NoWords,
}

impl PatternSpec {
    /// A pattern from a regular expression.
    #[must_use]
    pub fn regex(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self::new(name, Matcher::Regex(source.into()))
    }

    /// A pattern without validators or context.
    #[must_use]
    pub fn new(name: impl Into<String>, matcher: Matcher) -> Self {
        Self { name: name.into(), matcher, validators: Vec::new(), near: None, max: None, base64: false }
    }

    /// The same, with a validator more.
    #[must_use]
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }

    /// The same, only near one of these words.
    #[must_use]
    pub fn near(mut self, words: impl IntoIterator<Item = impl Into<String>>, within: usize) -> Self {
        self.near = Some(Near { words: words.into_iter().map(Into::into).collect(), within });
        self
    }

    /// The same, with a declared maximum length in bytes.
    #[must_use]
    pub fn max(mut self, bytes: usize) -> Self {
        self.max = Some(bytes);
        self
    }

    /// The same, searched for in base64 too.
    #[must_use]
    pub fn base64(mut self) -> Self {
        self.base64 = true;
        self
    }

    /// Checks the pattern and computes its hold-back, without compiling it: for a checker's messages.
    ///
    /// # Errors
    /// Every [`PatternError`] but [`PatternError::TooLarge`].
    pub fn check(&self) -> Result<HoldBack, PatternError> {
        let longest = match &self.matcher {
            Matcher::Regex(source) => longest(&parse(source)?, self.max)?,
            Matcher::Words { words, .. } => longest(&words_hir(words, false)?, self.max)?,
            Matcher::Json(_) | Matcher::Column(_) => self.max.unwrap_or(MAX_VALUE),
        };
        if longest > MAX_LENGTH {
            return Err(PatternError::TooLong { length: longest });
        }
        if self.near.as_ref().is_some_and(|near| near.words.is_empty() || near.words.iter().any(String::is_empty)) {
            return Err(PatternError::NoWords);
        }
        Ok(HoldBack { longest, window: self.near.as_ref().map_or(0, |near| near.within) })
    }

    /// The syntax tree of the text this pattern searches for; None for JSON members and columns.
    pub(crate) fn hir(&self) -> Result<Option<Hir>, PatternError> {
        match &self.matcher {
            Matcher::Regex(source) => parse(source).map(Some),
            Matcher::Words { words, nocase } => words_hir(words, *nocase).map(Some),
            Matcher::Json(_) | Matcher::Column(_) => Ok(None),
        }
    }
}

fn parse(source: &str) -> Result<Hir, PatternError> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).nest_limit(64).build();
    let hir = parser.parse(source).map_err(|error| {
        let (message, span) = match &error {
            regex_syntax::Error::Parse(e) => (e.kind().to_string(), *e.span()),
            regex_syntax::Error::Translate(e) => (e.kind().to_string(), *e.span()),
            other => return PatternError::Syntax { message: other.to_string(), span: 0..source.len() },
        };
        PatternError::Syntax { message, span: span.start.offset..span.end.offset }
    })?;
    if hir.properties().minimum_len() == Some(0) {
        return Err(PatternError::MatchesEmpty);
    }
    for look in hir.properties().look_set().iter() {
        match look {
            Look::WordUnicode
            | Look::WordUnicodeNegate
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode => {
                return Err(PatternError::Unsupported("a Unicode word boundary"));
            }
            Look::StartCRLF | Look::EndCRLF => return Err(PatternError::Unsupported("a CRLF line anchor")),
            _ => {}
        }
    }
    Ok(hir)
}

fn words_hir(words: &[String], nocase: bool) -> Result<Hir, PatternError> {
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(PatternError::NoWords);
    }
    // Leftmost-first, so the longest word comes first.
    let mut words: Vec<&String> = words.iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let joined = words.iter().map(|word| regex_syntax::escape(word)).collect::<Vec<_>>().join("|");
    parse(&if nocase { format!("(?i:{joined})") } else { joined })
}

fn longest(hir: &Hir, declared: Option<usize>) -> Result<usize, PatternError> {
    let computed = if matches!(hir.kind(), HirKind::Empty) { Some(0) } else { hir.properties().maximum_len() };
    match (computed, declared) {
        (Some(computed), Some(declared)) => Ok(computed.min(declared)),
        (Some(only), None) | (None, Some(only)) => Ok(only),
        (None, None) => Err(PatternError::Unbounded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_regex_has_its_length_computed() {
        let held = PatternSpec::regex("p", r"\bEMP-[0-9]{6}\b").check().expect("valid");
        assert_eq!(held, HoldBack { longest: 10, window: 0 });
    }

    #[test]
    fn an_unbounded_regex_needs_a_declared_maximum() {
        assert_eq!(PatternSpec::regex("p", "a+").check(), Err(PatternError::Unbounded));
        assert_eq!(PatternSpec::regex("p", "a+").max(9).check(), Ok(HoldBack { longest: 9, window: 0 }));
    }

    #[test]
    fn a_regex_that_matches_nothing_at_all_is_refused() {
        assert_eq!(PatternSpec::regex("p", "a*").check(), Err(PatternError::MatchesEmpty));
    }

    #[test]
    fn a_syntax_error_says_where() {
        let Err(PatternError::Syntax { span, .. }) = PatternSpec::regex("p", "ab(c").check() else {
            panic!("accepted")
        };
        assert_eq!(span, 2..3);
    }

    #[test]
    fn paths_parse_into_steps() {
        let steps = JsonPath::parse("$.a.*[3]['b c']..d[*]").expect("valid").steps;
        let key = |s: &str| PathStep::Key(s.into());
        assert_eq!(
            steps,
            [key("a"), PathStep::Any, PathStep::Index(3), key("b c"), PathStep::Descend, key("d"), PathStep::Any]
        );
        for bad in ["a", "$a", "$.", "$[", "$[x]", "$.."] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
    }
}
