//! The streaming inspector of Sluice: finds, masks and blocks in bytes while they pass, without copying the clean ones.
//!
//! It is sans-IO: no sockets, no files, no clock, no async runtime. It knows bytes, patterns and masks; it knows neither
//! the text of rules nor protocols. A [`Program`] is compiled once, is immutable and is shared by all streams. A
//! [`Stream`] inspects one direction of one exchange: push [`bytes::Bytes`] in, get slices and masks out through a
//! [`Sink`].
//!
//! ```
//! use bytes::Bytes;
//! use sluice_engine::{Action, Budget, Collected, Mask, PatternSpec, Program, RuleSpec, Stream, StreamOptions};
//!
//! let mut builder = Program::builder();
//! let staff = builder.pattern(PatternSpec::regex("staff_id", r"\bEMP-[0-9]{6}\b"))?;
//! builder.rule(RuleSpec::new("mask_staff", Action::Mask(Mask::redact("[staff]")), [staff]));
//! let program = builder.build()?;
//!
//! let mut out = Collected::default();
//! let mut stream = Stream::open(&program, StreamOptions::raw(), &Budget::unlimited());
//! stream.push(Bytes::from_static(b"badge EMP-00"), &mut out)?;
//! assert_eq!(out.text(), "badge ");           // the rest may belong to a match, so it waits
//! stream.push(Bytes::from_static(b"4711 ok"), &mut out)?;
//! stream.finish(&mut out)?;
//! assert_eq!(out.text(), "badge [staff] ok");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The laws (each is a property test in `tests/laws.rs` and a fuzz target):
//!
//! 1. **Split-invariant**: output and decisions are the same for every chunking of the same bytes.
//! 2. **Nothing undecided leaves**: no byte that may belong to a match is released before the match is decided.
//! 3. **Nothing decided waits**: a byte that no live candidate can claim leaves in the call that brought it.
//! 4. **Clean bytes are not copied**: what leaves is a slice of the `Bytes` that came in.
//! 5. **Bounded**: memory is the hold-back plus a small fixed state, charged to one shared [`Budget`].
//! 6. **Fail closed**: an error poisons the stream; nothing held is flushed.
//! 7. **Linear**: time is linear in the bytes, whatever the bytes.

mod budget;
mod filter;
mod mask;
mod pattern;
mod program;
mod sink;
mod stream;
mod validate;

pub use budget::Budget;
pub use filter::Vectors;
pub use mask::{Keyring, Mask, Strategy};
pub use pattern::{HoldBack, JsonPath, Matcher, Near, PathStep, PatternError, PatternSpec};
pub use program::{Action, BuildError, PatternId, Program, ProgramBuilder, RuleId, RuleSet, RuleSpec};
pub use sink::{ActionKind, Collected, Decision, Sink};
pub use stream::{Column, Costs, Format, Stop, Stream, StreamOptions};
pub use validate::Validator;
