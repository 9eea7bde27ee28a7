//! One value sent through a policy's own program under some of its rules: what messages show was seen to happen.

use crate::fields::SQL_PROTOCOLS;
use bytes::Bytes;
use sluice_engine::{Budget, Collected, Decision, Format, Program, RuleId, RuleSet, Stream, StreamOptions};

/// Bytes, and how they would come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) text: String,
    /// The column that the text is the value of.
    pub(crate) column: Option<String>,
}

impl Trial {
    /// What the rules decide, and what comes out. None where the stream stops.
    pub(crate) fn run(
        &self,
        program: &Program,
        rules: impl IntoIterator<Item = RuleId>,
        protocol: &str,
    ) -> Option<(Vec<Decision>, String)> {
        let native = SQL_PROTOCOLS.contains(&protocol);
        let json = !native && self.text.starts_with('{');
        let options = StreamOptions {
            format: if json { Format::Json } else { Format::Raw },
            rules: Some(rules.into_iter().collect::<RuleSet>()),
            column: self.column.clone().filter(|_| native),
            ..StreamOptions::default()
        };
        let mut out = Collected::default();
        let mut stream = Stream::open(program, options, &Budget::unlimited());
        stream.push(Bytes::copy_from_slice(self.text.as_bytes()), &mut out).ok()?;
        stream.finish(&mut out).ok()?;
        let text = out.text().into_owned();
        Some((out.decisions, text))
    }
}
