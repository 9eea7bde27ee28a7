//! One pattern's anchored automaton.
use crate::pattern::{PatternError, PatternSpec};
use regex_syntax::hir::Hir;

#[derive(Debug)]
pub(crate) struct Automaton;
impl Automaton {
    pub(crate) fn new(_hir: &Hir, _longest: usize, _spec: &PatternSpec) -> Result<Self, PatternError> {
        Ok(Self)
    }
}
