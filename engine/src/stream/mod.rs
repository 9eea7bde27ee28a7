//! One direction of one exchange, inspected while it passes.

pub(crate) mod automaton;

use crate::budget::Budget;
use crate::program::{Program, RuleSet};
use crate::sink::{Decision, Sink};
use bytes::Bytes;
use thiserror::Error;

/// How the bytes of a stream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Text or anything else: inspected as it stands.
    #[default]
    Raw,
    /// JSON texts (RFC 8259), one or several: strings are inspected decoded, and JSON inside strings too.
    Json,
    /// An event stream (WHATWG HTML, server-sent events) whose data is JSON.
    Sse,
}

/// How a stream is opened.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// How the bytes are written.
    pub format: Format,
    /// The rules that hold; None: all of the program.
    pub rules: Option<RuleSet>,
    /// The name of the column whose value this stream is.
    pub column: Option<String>,
}

impl StreamOptions {
    /// Bytes as they stand, all rules.
    #[must_use]
    pub fn raw() -> Self {
        Self::default()
    }

    /// This format, all rules.
    #[must_use]
    pub fn format(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// The same, with these rules alone.
    #[must_use]
    pub fn rules(mut self, rules: RuleSet) -> Self {
        self.rules = Some(rules);
        self
    }
}

/// Why a stream stopped. Nothing that was held back is released, and every later call gives the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Stop {
    /// A rule blocks.
    #[error("blocked by a rule")]
    Blocked(Decision),
    /// The shared budget is used up.
    #[error("the memory budget of {limit} bytes is used up")]
    Budget {
        /// The cap, in bytes.
        limit: usize,
    },
    /// The bytes are not of the stream's format.
    #[error("byte {at} is not valid {format}: {reason}")]
    Undecodable {
        /// Offset from the start of the stream, in bytes.
        at: u64,
        /// The format's name.
        format: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// `push` or `finish` after `finish`.
    #[error("the stream is finished")]
    Finished,
}

/// One direction of one exchange.
#[derive(Debug)]
pub struct Stream {
    _program: Program,
}

impl Stream {
    /// Opens a stream.
    #[must_use]
    pub fn open(program: &Program, _options: StreamOptions, _budget: &Budget) -> Self {
        Self { _program: program.clone() }
    }

    /// Inspects the next bytes and emits all that is decided.
    ///
    /// # Errors
    /// A [`Stop`]: the stream is over and nothing more leaves.
    pub fn push(&mut self, bytes: Bytes, sink: &mut impl Sink) -> Result<(), Stop> {
        sink.clean(bytes);
        Ok(())
    }

    /// Says that no more bytes come, and decides what is left.
    ///
    /// # Errors
    /// A [`Stop`], as for [`Stream::push`].
    pub fn finish(&mut self, _sink: &mut impl Sink) -> Result<(), Stop> {
        Ok(())
    }

    /// Bytes held back now.
    #[must_use]
    pub fn held(&self) -> usize {
        0
    }
}
